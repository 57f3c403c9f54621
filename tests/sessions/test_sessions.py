"""Turns and sessions as a program uses them, on the scripted provider in process."""

from __future__ import annotations

import subprocess
import sys

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actrio import (
    Agent,
    ItemCompleted,
    ItemDelta,
    ItemStarted,
    StepStarted,
    ToolMessage,
    TurnCancelled,
    TurnCompleted,
    TurnFailed,
    TurnStarted,
    around_agent,
    around_model,
    before_model,
    open_runtime,
    tool,
)
from actrio.errors import (
    ActorFailed,
    Conflict,
    ContextWindowExceeded,
    DeadlineExceeded,
    FilterFailed,
    InvalidRequest,
    LimitExceeded,
    NotConfigured,
    NotFound,
    OutputInvalid,
    Overloaded,
    ProviderError,
    StreamTruncated,
    TurnAborted,
)
from actrio.messages import AssistantMessage, ModelOutput, Text, TurnResult
from actrio.runtime import Limits, Settings
from actrio.testing import cancel_at_each_step, history_problems, live_tasks

TERMINAL = (TurnCompleted, TurnFailed, TurnCancelled)


@tool
async def weather(city: str) -> str:
    """Current weather in a city."""
    await trio.sleep(0.1)
    return f"rain in {city}"


GUIDE = Agent("guide", model="scripted:demo", tools=[weather])


async def events_of(session, prompt, **kw):
    async with session.turn(prompt, **kw) as turn:
        return [event async for event in turn], turn


def assert_event_rules(events):
    """seq without a gap, n counting between, started before deltas before completed, one terminal."""
    seq, n = events[0].seq - 1, 0
    begun, done = set(), set()
    for event in events:
        if event.recorded:
            seq, n = seq + 1, 0
            assert (event.seq, event.n) == (seq, None)
        else:
            assert event.seq == seq
            assert event.n > n
            n = event.n
        match event:
            case ItemStarted(item=item):
                begun.add(item)
            case ItemDelta(item=item):
                assert item in begun - done
            case ItemCompleted(item=item):
                assert item in begun - done
                done.add(item)
    assert begun == done
    assert isinstance(events[-1], TERMINAL)
    assert sum(isinstance(event, TERMINAL) for event in events) == 1


async def test_a_turn_with_a_tool_streams_and_ends_once(autojump_clock):
    """The whole order of events, the tool's real result in the answer, and a valid history."""
    async with open_runtime(env={}) as runtime, runtime.session(GUIDE) as session:
        events, turn = await events_of(session, "weather in Oslo?")
        assert_event_rules(events)
        kinds = [type(event) for event in events if event.recorded]
        assert kinds == [
            TurnStarted,
            StepStarted,
            ItemCompleted,
            StepStarted,
            ItemCompleted,
            TurnCompleted,
        ]
        assert "rain in" in turn.result.text
        assert turn.result.steps == 2
        assert turn.result.usage.total_tokens > 0
        assert history_problems(session.history) == []
        assert [message.role for message in session.history] == [
            "user",
            "assistant",
            "tool",
            "assistant",
        ]
        again, _ = await events_of(session, "and again?")
        assert again[0].seq == events[-1].seq + 1


async def test_ask_returns_the_result_or_raises_its_error(autojump_clock):
    """The short form has one way to fail."""
    async with open_runtime(env={}) as runtime:
        async with runtime.session(GUIDE) as session:
            assert (await session.ask("hello")).outcome == "completed"
        async with runtime.session(Agent("bad", model="scripted:demo?fault=status429")) as session:
            with pytest.raises(ProviderError) as caught:
                await session.ask("hello")
            assert caught.value.category == "rate_limit"


@pytest.mark.parametrize(
    ("model", "error"),
    [
        ("scripted:demo?fault=cut@3", StreamTruncated),
        ("scripted:demo?fault=status401", ProviderError),
        ("scripted:demo?fault=context", ContextWindowExceeded),
        ("openai:gpt-4o", NotConfigured),
        ("nosuch:model", NotFound),
        ("nonsense", InvalidRequest),
    ],
)
async def test_a_failing_turn_is_a_result_and_the_session_goes_on(model, error, autojump_clock):
    """Iteration never raises; result tells; the actor was not restarted and others never notice."""
    async with open_runtime(env={}) as runtime:
        async with (
            runtime.session(Agent("a", model=model)) as session,
            runtime.session(GUIDE) as other,
        ):
            events, turn = await events_of(session, "hello")
            assert turn.result.outcome == "failed"
            assert isinstance(turn.result.error, error)
            assert turn.result.error.remedy or isinstance(turn.result.error, ProviderError)
            assert isinstance(events[-1], TurnFailed)
            assert history_problems(session.history) == []
            assert (await other.ask("hi")).outcome == "completed"
            assert runtime.statistics().restarts == 0
            assert runtime.statistics().dead_letters == {}


@pytest.mark.parametrize("fault", ["badargs", "unknowntool"])
async def test_a_wrong_tool_call_goes_back_to_the_model(fault, autojump_clock):
    """Invalid arguments and unknown tools are results that the model reads; the turn completes."""
    agent = Agent("a", model=f"scripted:demo?fault={fault}", tools=[weather])
    async with open_runtime(env={}) as runtime, runtime.session(agent) as session:
        _, turn = await events_of(session, "weather?")
        results = [r for m in session.history if isinstance(m, ToolMessage) for r in m.results]
        assert results[0].state == "error"
        assert turn.result.outcome == "completed"


async def test_a_hanging_tool_times_out_and_the_turn_goes_on(autojump_clock):
    """The tool's own deadline ends it; the model is told."""

    @tool(timeout_seconds=5)
    async def stuck() -> str:
        """Never returns."""
        await trio.sleep_forever()

    async with open_runtime(env={}) as runtime:
        async with runtime.session(Agent("a", tools=[stuck])) as session:
            result = await session.ask("go")
            results = [r for m in session.history if isinstance(m, ToolMessage) for r in m.results]
            assert results[0].state == "timeout"
            assert result.outcome == "completed"


SLOW = Agent("slow", model="scripted:tokens?tokens=100&itl=100ms")


async def test_leaving_the_block_cancels_the_turn_and_keeps_what_was_said(autojump_clock):
    """Partial text stays in the history; the next message is taken at once."""
    async with open_runtime(env={}) as runtime, runtime.session(SLOW) as session:
        with trio.move_on_after(1.05):
            async with session.turn("count") as turn:
                async for _ in turn:
                    pass
        assert turn.result.outcome == "cancelled"
        assert turn.result.stop_reason == "cancelled"
        assert turn.result.text.startswith("w1 w2")
        assert session.history[-1] == AssistantMessage((Text(turn.result.text),))
        started = trio.current_time()
        assert (await session.ask("count again")).outcome == "completed"
        assert trio.current_time() - started < 11


async def test_a_cancel_by_id_ends_the_turn_for_its_owner(autojump_clock):
    """The owner sees its items completed as cancelled, then turn.cancelled with the reason."""
    async with open_runtime(env={}) as runtime, runtime.session(SLOW) as session:
        async with session.turn("count") as turn:
            events = []
            async for event in turn:
                events.append(event)
                if len(events) == 8:
                    session.cancel(turn.id, reason="enough")
        assert_event_rules(events)
        assert isinstance(events[-1], TurnCancelled)
        assert [e.status for e in events if isinstance(e, ItemCompleted)] == ["cancelled"]
        assert isinstance(turn.result.error, TurnAborted)
        assert turn.result.error.reason == "enough"
        session.cancel("no such turn")
        session.cancel()


async def test_cancelling_while_a_tool_runs_seals_its_call(autojump_clock):
    """The call gets a result that says that its effects are unknown."""

    @tool
    async def launch() -> str:
        """Launch."""
        await trio.sleep_forever()

    async with open_runtime(env={}) as runtime:
        async with runtime.session(Agent("a", tools=[launch])) as session:
            with trio.move_on_after(1):
                await session.ask("go")
            sealed = session.history[-1].results[0]
            assert sealed.state == "sealed"
            assert "unknown" in sealed.text
            assert history_problems(session.history) == []


async def test_messages_queue_in_order_or_are_refused(autojump_clock):
    """One turn at a time, first come first served; a full line is Overloaded, reject is Conflict."""
    agent = attrs.evolve(SLOW, name="q", queue_max=2)
    async with open_runtime(env={}) as runtime, runtime.session(agent) as session:
        order = []

        async def one(name):
            await session.ask(name)
            order.append(name)

        async with trio.open_nursery() as nursery:
            for name in ("a", "b", "c"):
                nursery.start_soon(one, name)
                await wait_all_tasks_blocked()
            with pytest.raises(Overloaded):
                await session.ask("d")
            events, refused = await events_of(session, "e", if_busy="reject")
            assert events == []
            assert isinstance(refused.result.error, Conflict)
        assert order == ["a", "b", "c"]
        users = [m.text for m in session.history if m.role == "user"]
        assert users == ["a", "b", "c"]


async def test_turns_keep_the_order_in_which_they_were_accepted(autojump_clock):
    """Trio starts tasks in no order; the line is the order of acceptance all the same."""
    agent = attrs.evolve(SLOW, name="fifo", model="scripted:echo?ttft=1ms")
    for _ in range(10):
        async with open_runtime(env={}) as runtime, runtime.session(agent) as session:
            async with trio.open_nursery() as nursery:
                turns = [session.turn(str(n)) for n in range(8)]
                for turn in turns:
                    await turn.__aenter__()
                for turn in turns:
                    nursery.start_soon(_read_to_the_end, turn)
            assert [m.text for m in session.history if m.role == "user"] == list("01234567")


async def _read_to_the_end(turn):
    async for _ in turn:
        pass
    await turn.__aexit__(None, None, None)


async def test_a_queued_turn_whose_owner_leaves_has_a_result_and_leaves_no_trace(autojump_clock):
    """Cancelled in the line: nothing was said, the others go on, result is there."""
    async with open_runtime(env={}) as runtime, runtime.session(SLOW) as session:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(session.ask, "first")
            await wait_all_tasks_blocked()
            turn = session.turn("second")
            with trio.move_on_after(1):
                async with turn:
                    async for _ in turn:
                        pass
            assert turn.result.outcome == "cancelled"
        assert [m.text for m in session.history if m.role == "user"] == ["first"]


async def test_result_is_there_when_entry_itself_was_cancelled():
    """A scope that is cancelled already lets nothing begin; the turn still tells its outcome."""
    async with open_runtime(env={}) as runtime, runtime.session(GUIDE) as session:
        turn = session.turn("hello")
        with pytest.raises(Conflict):
            _ = turn.result
        with trio.CancelScope() as scope:
            scope.cancel()
            async with turn:
                pass
        assert turn.result.outcome == "cancelled"
        assert session.history == ()


async def test_iterating_a_turn_that_was_not_entered_says_so():
    """It would wait for ever; it raises instead and says what to write."""
    async with open_runtime(env={}) as runtime, runtime.session(GUIDE) as session:
        with pytest.raises(Conflict, match="not entered"):
            async for _ in session.turn("hello"):
                pass


async def test_turns_wait_for_a_slot_of_the_runtime(autojump_clock):
    """Limits.turns bounds what runs at once; the peak shows it."""
    settings = Settings(limits=Limits(turns=3))
    async with open_runtime(settings, env={}) as runtime, trio.open_nursery() as nursery:

        async def one():
            async with runtime.session(SLOW) as session:
                await session.ask("x")

        for _ in range(9):
            nursery.start_soon(one)
        await trio.sleep(1)
        assert runtime.statistics().turns_running == 3
        assert runtime.statistics().turns_waiting == 6


async def test_an_agents_name_is_free_again_when_no_session_uses_it(autojump_clock):
    """Another definition may take the name; equal ones made twice are one."""

    def same():
        return Agent("same", tools=[tool(weather.function)])

    async with open_runtime(env={}) as runtime:
        async with runtime.session(same()) as one, runtime.session(same()) as two:
            assert one.agent == two.agent
        async with runtime.session(Agent("same", instructions="other")) as session:
            assert (await session.ask("hi")).outcome == "completed"


async def test_a_turn_id_is_used_once_at_a_time(autojump_clock):
    """A second turn under the id of a running one is refused and does not touch the first."""
    async with open_runtime(env={}) as runtime, runtime.session(SLOW) as session:
        async with session.turn("one", id="t") as turn:
            async with session.turn("two", id="t") as twin:
                assert [event async for event in twin] == []
            assert isinstance(twin.result.error, Conflict)
            async for _ in turn:
                pass
        assert turn.result.outcome == "completed"


async def test_sessions_have_names_that_can_be_opened_again(autojump_clock):
    """A named session keeps its history between blocks; two blocks share it; names are checked."""
    settings = Settings(limits=Limits(sessions=2))
    async with open_runtime(settings, env={}) as runtime:
        async with runtime.session(GUIDE, id="s") as session:
            await session.ask("one")
        async with (
            runtime.session(GUIDE, id="s") as session,
            runtime.session(GUIDE, id="s") as same,
        ):
            await same.ask("two")
            assert [m.text for m in session.history if m.role == "user"] == ["one", "two"]
            with pytest.raises(Conflict):
                await runtime.open_session(SLOW, id="s")
            with pytest.raises(Conflict, match="Another agent"):
                await runtime.open_session(attrs.evolve(GUIDE, instructions="other"), id="t")
            await runtime.open_session(GUIDE)
            with pytest.raises(Overloaded):
                await runtime.open_session(GUIDE)


@attrs.frozen
class Report:
    """An output type."""

    city: str
    degrees: int


async def test_an_output_type_is_validated(autojump_clock):
    """The value arrives typed; an answer that never fits fails as such after its retries."""
    agent = Agent("typed", model="scripted:json", output=Report)
    async with open_runtime(env={}) as runtime:
        async with runtime.session(agent) as session:
            result = await session.ask("report")
            assert isinstance(result.output, Report)
        wrong = Agent("wrong", model="scripted:echo?text=never", output=Report, output_retries=2)
        wrong = attrs.evolve(wrong, filters=(around_model(not_json),))
        async with runtime.session(wrong) as session:
            with pytest.raises(OutputInvalid):
                await session.ask("report")
            assert len([m for m in session.history if m.role == "assistant"]) == 3
            assert history_problems(session.history) == []


async def not_json(_payload, _proceed):
    return ModelOutput(AssistantMessage((Text("no json"),)), "stop")


async def test_filters_stand_on_the_paths(autojump_clock):
    """Runtime's outside agent's; a model filter sees typed payloads; agent filters can answer."""
    seen = []

    @before_model
    def look(payload):
        seen.append(payload.messages[-1].text)

    @around_agent
    async def outer(payload, proceed):
        seen.append("in")
        result = await proceed(payload)
        seen.append(result.outcome)
        return result

    @around_agent
    async def closed(_payload, _proceed):
        return TurnResult(outcome="completed", stop_reason="short_circuit", text="we are closed")

    async with open_runtime(filters=[outer], env={}) as runtime:
        async with runtime.session(Agent("a", filters=[look])) as session:
            await session.ask("hi")
            assert seen == ["in", "hi", "completed"]
        async with runtime.session(Agent("b", filters=[closed])) as session:
            result = await session.ask("hi")
            assert (result.text, result.steps) == ("we are closed", 0)
            assert [m.role for m in session.history] == ["user", "assistant"]


async def test_a_broken_filter_fails_the_turn_not_the_session(autojump_clock):
    """FilterFailed is the turn's error; the session lives."""

    @before_model
    def broken(_payload):
        raise KeyError("oops")

    async with open_runtime(env={}) as runtime:
        async with runtime.session(Agent("a", filters=[broken])) as session:
            with pytest.raises(FilterFailed, match="broken"):
                await session.ask("hi")
            assert runtime.statistics().restarts == 0


async def test_a_crash_of_the_session_actor_restarts_it_with_its_history(autojump_clock):
    """A bug in the shell fails the turn, and the session comes back with what it had."""
    async with open_runtime(env={}) as runtime, runtime.session(GUIDE) as session:
        await session.ask("one")
        before = session.history
        session.ref.control("nonsense")  # not a CancelTurn: an invariant of ours is broken
        await trio.sleep(1)
        assert runtime.statistics().restarts == 1
        assert session.history == before
        assert (await session.ask("two")).outcome == "completed"


def test_an_embedding_program_without_a_log_keeps_its_stdout():
    """A crash inside is told on standard error, where structlog was not configured."""
    program = """
import trio
from actrio import Agent, open_runtime

async def main():
    async with open_runtime(env={}) as runtime, runtime.session(Agent("a")) as session:
        session.ref.control("nonsense")
        await trio.sleep(0.5)

trio.run(main)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stdout == ""
    assert "actor crashed" in done.stderr


async def test_a_tool_can_be_switched_off(autojump_clock):
    """From the next turn on it is not offered."""
    async with open_runtime(env={}) as runtime, runtime.session(GUIDE) as session:
        await runtime.set_tool(GUIDE, "weather", enabled=False)
        await session.ask("weather?")
        assert [m.role for m in session.history] == ["user", "assistant"]
        with pytest.raises(NotFound, match="weather"):
            await runtime.set_tool(GUIDE, "nosuch", enabled=True)


async def test_a_prompt_of_ten_megabytes_is_refused_before_anything_happens():
    """The error names size and limit; the session is untouched."""
    async with open_runtime(env={}) as runtime, runtime.session(GUIDE) as session:
        with pytest.raises(LimitExceeded, match="bytes"):
            session.turn("x" * 10_000_000)
        for wrong in ("", "  ", 3, [None]):
            with pytest.raises(InvalidRequest):
                session.turn(wrong)


async def test_a_slow_reader_loses_nothing_and_paces_the_turn(autojump_clock):
    """Deltas merge while the reader is behind; the text is whole; few events wait."""
    agent = Agent("fast", model="scripted:tokens?tokens=2000")
    async with open_runtime(env={}) as runtime, runtime.session(agent) as session:
        text = ""
        async with session.turn("go") as turn:
            async for event in turn:
                if isinstance(event, ItemDelta):
                    text += event.text
                    await trio.sleep(0.01)
        assert text == turn.result.text
        assert text.split()[-1].rstrip(".") == "w2000"


async def test_an_asker_with_a_deadline_is_not_told_something_else(autojump_clock):
    """fail_after is the only timeout there is."""
    async with open_runtime(env={}) as runtime, runtime.session(SLOW) as session:
        with pytest.raises(trio.TooSlowError):
            with trio.fail_after(1):
                await session.ask("count")
        assert not isinstance(trio.TooSlowError, (DeadlineExceeded, ActorFailed))


async def test_cancelling_at_every_schedule_point_of_a_tool_turn_leaves_a_usable_session(
    autojump_clock,
):
    """The sweep: no task is left, the history is valid, the next turn completes."""
    agent = Agent("swept", model="scripted:demo?ttft=1ms&itl=1ms", tools=[weather])
    async with open_runtime(env={}) as runtime, runtime.session(agent, id="swept") as session:
        await session.ask("warm up")
        before = live_tasks()
        length = len(session.history)

        async def turn():
            async with session.turn("weather in Oslo?") as turn:
                async for _ in turn:
                    pass

        async def check():
            nonlocal length
            assert history_problems(session.history) == []
            assert len(session.history) >= length
            length = len(session.history)
            assert live_tasks() == before
            assert runtime.statistics().turns_running == 0

        runs = await cancel_at_each_step(turn, check=check)
        assert runs > 20
        assert (await session.ask("still there?")).outcome == "completed"
        assert runtime.statistics().dead_letters == {}
        assert runtime.statistics().restarts == 0


async def test_leaving_the_runtime_in_the_middle_of_everything_ends_everything(autojump_clock):
    """Cancelled from outside with turns in flight: nothing survives the block."""
    before = live_tasks()
    with trio.move_on_after(2):
        async with open_runtime(env={}) as runtime, trio.open_nursery() as nursery:

            async def one():
                async with runtime.session(SLOW) as session:
                    await session.ask("x")

            for _ in range(20):
                nursery.start_soon(one)
    assert live_tasks() == before
