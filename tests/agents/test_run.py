"""How turns end in the history and on record, whatever ended them: a row for each way out."""

from __future__ import annotations

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from actrio import Agent, around_model, before_agent, open_runtime, tool
from actrio.errors import Conflict, ContextWindowExceeded, StepLimitExceeded, StreamTruncated
from actrio.journal import ModelOutcome, StepBegun, ToolFinished, ToolStarted, TurnEnded
from actrio.messages import (
    AssistantMessage,
    ItemCompleted,
    ModelOutput,
    Refusal,
    Text,
    ToolCall,
    Usage,
)
from actrio.sessions import oldest_records, read_state
from actrio.testing import history_problems


@tool
async def look() -> str:
    """Look."""
    await trio.sleep(0.2)
    return "seen"


def said(text="", *, calls=0, finish="stop"):
    parts = ([Text(text)] if text else []) + [ToolCall(f"c{n}", "look", "{}") for n in range(calls)]
    return ModelOutput(AssistantMessage(tuple(parts)), finish, Usage(1, 2))


def saying(*outputs):
    """Return a filter that answers in the model's place, each time with the next one."""
    left = list(outputs)

    @around_model
    async def answer(_payload, _proceed):
        await trio.sleep(0.1)
        return left.pop(0)

    return answer


async def turn_of(agent, runtime, session_id="s"):
    """Run one turn; return its result, the history and the records."""
    async with runtime.session(agent, id=session_id) as session:
        async with session.turn("hi") as turn:
            async for _ in turn:
                pass
        stored = await oldest_records(runtime.store, session_id)
        assert (await read_state(runtime.store, session_id)).view() == await session.view()
        assert history_problems(session.history) == []
        return turn.result, session.history, [each.record for each in stored]


async def test_a_plain_answer_is_kept_as_it_was_said(autojump_clock):
    """The user's message and the model's, usage and steps; one record for each thing."""
    agent = Agent("a", tools=[look], filters=[saying(said(calls=1), said("done"))])
    async with open_runtime(env={}) as runtime:
        result, history, records = await turn_of(agent, runtime)
    assert (result.outcome, result.text, result.steps) == ("completed", "done", 2)
    assert result.usage == Usage(2, 4)
    assert [m.role for m in history] == ["user", "assistant", "tool", "assistant"]
    kinds = [type(each).__name__ for each in records[2:]]
    assert kinds == [
        "TurnBegun",
        "StepBegun",
        "ModelOutcome",
        "ToolStarted",
        "ToolFinished",
        "StepBegun",
        "ModelOutcome",
        "TurnEnded",
    ]


async def test_the_step_limit_seals_the_calls_that_no_step_is_left_for(autojump_clock):
    """The turn fails; its calls are answered as never started."""
    agent = Agent("a", tools=[look], steps_max=1, filters=[saying(said("so", calls=2))])
    async with open_runtime(env={}) as runtime:
        result, history, records = await turn_of(agent, runtime)
    assert isinstance(result.error, StepLimitExceeded)
    assert [r.state for r in history[-1].results] == ["sealed", "sealed"]
    assert not any(isinstance(each, ToolStarted) for each in records)


@pytest.mark.parametrize(
    ("finish", "outcome"), [("content_filter", "completed"), ("error", "failed")]
)
async def test_calls_of_an_answer_that_was_stopped_are_sealed(finish, outcome, autojump_clock):
    """They never run, and the history is valid for the next request."""
    agent = Agent("a", tools=[look], filters=[saying(said(calls=2, finish=finish))])
    async with open_runtime(env={}) as runtime:
        result, history, records = await turn_of(agent, runtime)
    assert result.outcome == outcome
    assert [r.state for r in history[-1].results] == ["sealed", "sealed"]
    assert not any(isinstance(each, ToolStarted) for each in records)


@pytest.mark.parametrize("place", [0, 1, 2, 3, 5])
async def test_a_cut_answer_keeps_its_text_but_not_its_calls(place, autojump_clock):
    """Half a tool call was never made; half a sentence was said."""
    for tools, roles in (([look], ["user"]), ([], ["user", "assistant"])):
        agent = Agent(f"a{len(tools)}", model=f"scripted:demo?fault=cut@{place}", tools=tools)
        async with open_runtime(env={}) as runtime:
            result, history, records = await turn_of(agent, runtime)
        if not result.text:
            roles = ["user"]
        assert isinstance(result.error, StreamTruncated)
        assert [m.role for m in history] == roles
        (outcome,) = [each for each in records if isinstance(each, ModelOutcome)]
        assert (outcome.status, outcome.output) == ("failed", None)
        assert outcome.partial == result.text
        if len(history) > 1:
            assert history[-1] == AssistantMessage((Text(result.text),))


async def test_nothing_is_kept_of_a_turn_that_outgrew_the_window(autojump_clock):
    """Otherwise every later turn would outgrow it too; its record stays."""
    agent = Agent("a", model="scripted:demo?fault=context")
    async with open_runtime(env={}) as runtime:
        result, history, records = await turn_of(agent, runtime)
    assert isinstance(result.error, ContextWindowExceeded)
    assert history == ()
    assert not records[-1].kept


async def test_a_turn_that_a_filter_refuses_is_whole_on_record(autojump_clock):
    """No model is called; what the user said stays, with the reason."""

    @before_agent
    def closed(_payload):
        raise Conflict("We are closed.")

    async with open_runtime(env={}) as runtime:
        result, history, records = await turn_of(Agent("a", filters=[closed]), runtime)
    assert (result.outcome, result.steps) == ("failed", 0)
    assert [m.role for m in history] == ["user"]
    assert not any(isinstance(each, StepBegun) for each in records)
    assert "closed" in records[-1].reason


async def test_a_refusal_is_an_item_with_its_text(autojump_clock):
    """What the person is shown is what the record repeats."""
    refusal = ModelOutput(AssistantMessage((Refusal("I will not."),)), "content_filter")
    async with open_runtime(env={}) as runtime:
        result, _, _ = await turn_of(Agent("a", filters=[saying(refusal)]), runtime)
        items = [e for e in await runtime.events("s") if isinstance(e, ItemCompleted)]
    assert (result.text, result.stop_reason) == ("I will not.", "refusal")
    assert [(each.kind, each.text) for each in items] == [("message", "I will not.")]


answers = st.lists(
    st.tuples(
        st.sampled_from(["", "7", "words"]),
        st.integers(0, 3),
        st.sampled_from(["stop", "tool_calls", "length", "content_filter", "error", "other"]),
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=40, deadline=None)
@given(answers, st.integers(1, 4), st.booleans(), st.floats(0.01, 2.0))
def test_any_turn_cancelled_at_any_moment_leaves_a_valid_history(given_answers, steps, typed, at):
    """Whatever the model says and whenever its owner leaves; and the next turn is taken."""

    async def main():
        outputs = [said(text, calls=n, finish=finish) for text, n, finish in given_answers]
        agent = Agent(
            "a",
            tools=[look],
            steps_max=steps,
            output=int if typed else None,
            filters=[saying(*outputs, *[said("7")] * 20)],
        )
        async with open_runtime(env={}) as runtime, runtime.session(agent, id="s") as session:
            with trio.move_on_after(at):
                async with session.turn("hi") as turn:
                    async for _ in turn:
                        pass
            assert history_problems(session.history) == []
            assert (await read_state(runtime.store, "s")).view() == await session.view()
            async with session.turn("again") as turn:
                async for _ in turn:
                    pass
            assert turn.result.steps <= steps
            assert history_problems(session.history) == []
            stored = await oldest_records(runtime.store, "s")
            ends = [each.record for each in stored if isinstance(each.record, TurnEnded)]
            assert len(ends) == 2
            runs = [each.record for each in stored if isinstance(each.record, ToolFinished)]
            begun = [each.record for each in stored if isinstance(each.record, ToolStarted)]
            assert len(runs) <= len(begun)

    trio.run(main, clock=MockClock(autojump_threshold=0))
