from __future__ import annotations

import attrs
import pytest

from actrio.messages import (
    AssistantMessage,
    ModelInput,
    ModelOptions,
    Text,
    Thinking,
    ToolCall,
    ToolMessage,
    ToolResult,
    ToolSpec,
    UserMessage,
    user_message,
)
from actrio.providers.local._constrained import constrain, offered_tools

WEATHER = ToolSpec(
    "get_weather",
    "Get the current\n  weather for a city.",
    {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
)
ADD = ToolSpec(
    "add",
    "Add two amounts.",
    {
        "type": "object",
        "properties": {"a": {"type": "number"}, "b": {"type": "number"}},
        "required": ["a", "b"],
    },
)
QUESTION = user_message("What is the weather in Paris?")
CALL = AssistantMessage((Thinking("hm"), ToolCall("call_0", "get_weather", '{"city":"Paris"}')))
RESULT = ToolMessage((ToolResult("call_0", "get_weather", "14°C, light rain"),))


def request(*messages, tools=(WEATHER,), instructions="Be kind.", **options) -> ModelInput:
    return ModelInput("m", messages or (QUESTION,), instructions, tools, ModelOptions(**options))


def alternatives(constrained: ModelInput) -> list[str]:
    """The first key of each form the answer may take."""
    schema = constrained.options.response_schema
    assert schema is not None
    return [next(iter(choice["properties"])) for choice in schema["anyOf"]]


def texts(constrained: ModelInput) -> list[tuple[str, str]]:
    return [(m.role, m.text) for m in constrained.messages]


def test_tools_become_instructions_and_a_schema():
    """The tools are told in words, and the answer is one of their calls or an answer."""
    out = constrain(request(tools=(WEATHER, ADD)), tool_rounds=1)
    assert out.tools == ()
    assert out.instructions.startswith("Be kind. You can call")
    assert "- get_weather: Get the current weather for a city. Parameters: " in out.instructions
    assert alternatives(out) == ["tool", "tool", "answer"]
    first = out.options.response_schema["anyOf"][0]
    assert first["properties"]["tool"] == {"const": "get_weather"}
    assert first["properties"]["arguments"] == WEATHER.parameters
    assert first["additionalProperties"] is False


def test_without_tools_nothing_is_bound():
    """A request without tools keeps its instructions and its own response schema."""
    schema = {"type": "integer"}
    out = constrain(request(tools=(), response_schema=schema), tool_rounds=1)
    assert (out.instructions, out.options.response_schema) == ("Be kind.", schema)


def test_a_required_call_leaves_no_way_to_answer():
    """tool_choice "required" offers calls only; "none" offers none."""
    required = constrain(request(tool_choice="required"), tool_rounds=1)
    assert alternatives(required) == ["tool"]
    assert '"answer"' not in required.instructions
    assert required.options.tool_choice == "auto"
    assert constrain(request(tool_choice="none"), tool_rounds=1).options.response_schema is None


def test_an_own_response_schema_bounds_the_answer():
    """With tools and a response schema, the answer has that schema."""
    out = constrain(request(response_schema={"type": "integer"}), tool_rounds=1)
    answer = out.options.response_schema["anyOf"][-1]
    assert answer["properties"] == {"answer": {"type": "integer"}}


def test_after_its_rounds_the_model_must_answer_in_words():
    """Rounds are counted from the last user message; then no tool is offered."""
    used = request(QUESTION, CALL, RESULT)
    assert offered_tools(used, tool_rounds=1) == ()
    assert offered_tools(used, tool_rounds=2) == (WEATHER,)
    assert constrain(used, tool_rounds=1).instructions == "Be kind."
    later = request(QUESTION, CALL, RESULT, AssistantMessage((Text("Rain."),)), QUESTION)
    assert offered_tools(later, tool_rounds=1) == (WEATHER,)
    assert offered_tools(request(), tool_rounds=0) == ()


def test_history_is_told_in_words():
    """Calls and results become sentences; thinking is left out; roles alternate."""
    out = constrain(request(QUESTION, CALL, RESULT), tool_rounds=1)
    assert texts(out) == [
        ("user", "What is the weather in Paris?"),
        ("assistant", "I will call get_weather."),
        (
            "user",
            "The result is: 14°C, light rain\nNow answer my question: What is the weather in Paris?",
        ),
    ]


def test_several_results_are_told_apart():
    """With more than one result each is named; a very long question is not repeated."""
    long = user_message("weather? " * 100)
    both = ToolMessage((*RESULT.results, ToolResult("call_1", "add", "42")))
    out = constrain(request(long, CALL, both), tool_rounds=1)
    assert texts(out)[2][1] == (
        "The result of get_weather is: 14°C, light rain\n"
        "The result of add is: 42\n"
        "Now answer my question."
    )


def test_a_focused_choice_sees_the_question_alone():
    """What was said before is hidden while tools are offered, and back for the answer."""
    before = (user_message("Hello"), AssistantMessage((Text("Hi"),)))
    choosing = constrain(request(*before, QUESTION), tool_rounds=1, focused=True)
    assert texts(choosing) == [("user", QUESTION.text)]
    answering = constrain(request(*before, QUESTION, CALL, RESULT), tool_rounds=1, focused=True)
    assert [role for role, _ in texts(answering)] == ["user", "assistant"] * 2 + ["user"]


def test_a_failed_result_is_told_as_an_error():
    """The model can tell an error from a result."""
    failed = attrs.evolve(RESULT.results[0], text="no such city", state="error")
    out = constrain(request(QUESTION, CALL, ToolMessage((failed,))), tool_rounds=1)
    assert "The call of get_weather failed: no such city" in texts(out)[2][1]


def test_neighbours_of_one_role_are_joined():
    """Chat templates that demand alternating roles are content."""
    silent = AssistantMessage((Thinking("…"),))
    out = constrain(
        request(
            QUESTION,
            silent,
            user_message("Hello?"),
            AssistantMessage((Text("Yes"),)),
            AssistantMessage((Text("?"),)),
            tools=(),
        ),
        tool_rounds=1,
    )
    assert texts(out) == [
        ("user", "What is the weather in Paris?\n\nHello?"),
        ("assistant", "Yes\n?"),
    ]


def test_references_move_with_their_schema():
    """A schema with $ref is placed under $defs and its references follow it."""
    point = {"type": "object", "properties": {"next": {"$ref": "#/$defs/P"}}}
    tool = ToolSpec("go", "", {"properties": {"to": {"$ref": "#/$defs/P"}}, "$defs": {"P": point}})
    out = constrain(request(tools=(WEATHER, tool), response_schema={"$ref": "#"}), tool_rounds=1)
    schema = out.options.response_schema
    assert schema["anyOf"][1]["properties"]["arguments"] == {"$ref": "#/$defs/t1"}
    moved = schema["$defs"]["t1"]
    assert moved["properties"]["to"] == {"$ref": "#/$defs/t1/$defs/P"}
    assert moved["$defs"]["P"]["properties"]["next"] == {"$ref": "#/$defs/t1/$defs/P"}
    assert schema["$defs"]["answer"] == {"$ref": "#/$defs/answer"}


def test_arguments_are_an_object_even_if_unsaid():
    """A tool without a stated type still takes an object."""
    out = constrain(request(tools=(ToolSpec("go", "", {}),)), tool_rounds=1)
    arguments = out.options.response_schema["anyOf"][0]["properties"]["arguments"]
    assert arguments == {"type": "object"}


@pytest.mark.parametrize(
    ("question", "offered"),
    [
        ("What is the weather in Paris?", ["get_weather"]),
        ("Which CITIES do you know?", []),
        ("What is 17 + 25?", ["add"]),
        ("Please add the weather", ["get_weather", "add"]),
        ("Thank you!", []),
        ("", []),
    ],
)
def test_matching_offers_what_shares_a_word(question, offered):
    """For the bundled model a tool is offered where it shares a word, or needs a number."""
    messages = (UserMessage((Text(question),)),)
    asked = request(*messages, tools=(WEATHER, ADD))
    names = [tool.name for tool in offered_tools(asked, tool_rounds=1, focused=True)]
    assert names == offered


def test_a_required_call_is_not_matched_away():
    """Whoever demands a call gets every tool offered."""
    asked = request(user_message("Thank you!"), tool_choice="required")
    assert offered_tools(asked, tool_rounds=1, focused=True) == (WEATHER,)
