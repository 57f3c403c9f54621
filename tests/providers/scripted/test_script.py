from __future__ import annotations

import json

import pytest

from actrio.messages import (
    AssistantMessage,
    Delta,
    ModelInput,
    ModelOptions,
    ModelOutput,
    ToolMessage,
    ToolResult,
    ToolSpec,
    fold,
    user_message,
)
from actrio.providers.scripted import Fault, ScriptSpec, Timed, script

WEATHER = ToolSpec(
    "weather",
    "Tells the weather.",
    {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
)
CLOCK = ToolSpec("clock", "Tells the time.", {"type": "object", "properties": {}})


def plan(spec: str, prompt: str = "Hi", **more) -> list[Timed]:
    return list(script(ScriptSpec.parse(spec), ModelInput(spec, (user_message(prompt),), **more)))


def deltas(timed: list[Timed]) -> list[Delta]:
    return [one.item for one in timed if not isinstance(one.item, Fault)]


def output(spec: str, prompt: str = "Hi", **more) -> ModelOutput:
    return fold(deltas(plan(spec, prompt, **more)))


def test_the_demo_says_that_it_is_scripted() -> None:
    """It never pretends to be intelligent."""
    assert "scripted" in output("demo").message.text


@pytest.mark.parametrize("prompt", ["one", "  two  spaces \n", "ü\u2028 \U0001f600", ""])
def test_echo_says_the_same(prompt: str) -> None:
    """The user's last text comes back to the letter, in several deltas where it has words."""
    request = ModelInput("echo", (user_message(prompt or "x"),))
    answer = fold(deltas(list(script(ScriptSpec.parse("echo"), request))))
    assert answer.message.text == (prompt or "x")


@pytest.mark.parametrize("count", [0, 1, 5, 100])
@pytest.mark.parametrize("kind", ["demo", "echo", "tokens"])
def test_the_number_of_tokens_is_exact(kind: str, count: int) -> None:
    """``tokens=N`` is N text deltas, whatever the text."""
    answer = output(f"{kind}?tokens={count}", "a b c")
    assert answer.usage.output_tokens == count


def test_max_tokens_cuts_with_its_reason() -> None:
    """The bound of the call holds for scripts, too."""
    answer = output("tokens", options=ModelOptions(max_tokens=3))
    assert answer.message.text == "w1 w2 w3 "
    assert answer.finish_reason == "length"


def test_a_tool_is_called_once_per_turn() -> None:
    """The demo calls the first offered tool, then answers with what it said."""
    answer = output("demo", tools=(WEATHER, CLOCK))
    (call,) = answer.message.tool_calls
    assert (call.name, list(json.loads(call.arguments))) == ("weather", ["city"])
    assert answer.finish_reason == "tool_calls"
    request = ModelInput(
        "demo",
        (
            user_message("Hi"),
            answer.message,
            ToolMessage((ToolResult(call.id, "weather", "sunny"),)),
        ),
        tools=(WEATHER, CLOCK),
    )
    after = fold(deltas(list(script(ScriptSpec(), request))))
    assert after.message.tool_calls == ()
    assert "weather answered: sunny" in after.message.text
    assert "scripted" in after.message.text
    again = ModelInput("demo", (*request.messages, after.message, user_message("And now?")))
    assert not fold(deltas(list(script(ScriptSpec(), again)))).message.tool_calls


def test_ids_differ_between_steps_and_turns() -> None:
    """A later call never has the id of an earlier one."""
    first = ModelInput("demo", (user_message("Hi"),), tools=(WEATHER,))
    answer = fold(deltas(list(script(ScriptSpec(), first))))
    second = ModelInput(
        "demo",
        (user_message("Hi"), answer.message, AssistantMessage(()), user_message("Hi")),
        tools=(WEATHER,),
    )
    later = fold(deltas(list(script(ScriptSpec(), second))))
    assert later.message.tool_calls[0].id != answer.message.tool_calls[0].id


@pytest.mark.parametrize(
    ("spec", "choice", "names"),
    [
        ("tokens", "auto", []),
        ("tokens?tool=clock", "auto", ["clock"]),
        ("tokens?tools=3", "auto", ["weather", "clock", "weather"]),
        ("demo?tools=2&tool=clock", "auto", ["clock", "clock"]),
        ("demo?tools=0", "auto", []),
        ("demo?tool=hammer", "auto", []),
        ("demo", "none", []),
        ("echo", "required", ["weather"]),
        ("demo?fault=unknowntool", "auto", ["no_such_tool"]),
    ],
)
def test_which_tools_are_called(spec: str, choice, names: list[str]) -> None:
    """Parameters and the call's tool_choice decide which tools are called, and how often."""
    options = ModelOptions(tool_choice=choice)
    answer = output(spec, tools=(WEATHER, CLOCK), options=options)
    assert [call.name for call in answer.message.tool_calls] == names


def test_bad_arguments_are_no_json() -> None:
    """``badargs`` gives what small models give."""
    (call,) = output("demo?fault=badargs", tools=(WEATHER,)).message.tool_calls
    with pytest.raises(ValueError, match="Expecting"):
        json.loads(call.arguments)


def test_a_response_schema_gets_an_instance() -> None:
    """Any kind answers a schema with an instance of it, after its tools."""
    schema = {"type": "object", "properties": {"n": {"const": 7}}, "required": ["n"]}
    options = ModelOptions(response_schema=schema)
    assert json.loads(output("demo", options=options).message.text) == {"n": 7}
    assert output("demo", options=options, tools=(CLOCK,)).message.tool_calls


def test_the_same_plan_every_time() -> None:
    """Spec and call decide everything; another seed makes other ids."""
    assert plan("demo?seed=7", tools=(WEATHER,)) == plan("demo?seed=7", tools=(WEATHER,))
    assert plan("demo?seed=7", tools=(WEATHER,)) != plan("demo?seed=8", tools=(WEATHER,))


def test_delays_stand_before_their_deltas() -> None:
    """The first delta waits for ttft, each further one for itl, the end for nothing."""
    delays = [one.delay_seconds for one in plan("tokens?ttft=80ms&itl=12ms&tokens=3")]
    assert delays == pytest.approx([0.08, 0.012, 0.012, 0, 0])
    assert plan("tokens?fault=slow&tokens=2")[1].delay_seconds == 1.0


@pytest.mark.parametrize("kind", ["cut", "stall", "reset", "badjson"])
@pytest.mark.parametrize("place", [0, 3, 10_000])
def test_a_placed_fault_ends_the_plan(kind: str, place: int) -> None:
    """After N deltas comes the fault and nothing else; beyond the end it comes at the end."""
    timed = plan(f"tokens?tokens=5&fault={kind}@{place}")
    assert timed[-1].item == Fault(kind)
    assert len(timed) == min(place, 7) + 1
