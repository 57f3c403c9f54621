"""The one tool path: order, parallelism, results, filters, observer, bounds."""

from __future__ import annotations

import attrs
import msgspec
import pytest
import trio
import trio.testing

from actrio.errors import FilterFailed, InvalidRequest, TurnAborted
from actrio.filters import after_tool, around_tool, before_model, before_tool
from actrio.messages import ToolCall, ToolResult
from actrio.tools import CallLedger, ToolBox, ToolContext, ToolLimits, run_calls, tool


@tool
async def sleep(seconds: float) -> float:
    await trio.sleep(seconds)
    return seconds


@tool
async def echo(text: str) -> str:
    return text


@tool
async def fail(text: str = "") -> None:
    raise LookupError(text)


async def test_calls_run_in_parallel_and_answer_in_call_order(run, autojump_clock):
    """Two seconds-long calls take one second, and the later one to end is not later in line."""
    results = await run([sleep], ("sleep", '{"seconds":1}'), ("sleep", '{"seconds":0.5}'))
    assert trio.current_time() == 1
    assert results == (ToolResult("c0", "sleep", "1.0"), ToolResult("c1", "sleep", "0.5"))


async def test_exclusive_calls_run_alone_in_program_order(run, autojump_clock):
    """An exclusive call waits for those before it and holds back those after it."""
    times = []

    @tool(exclusive=True)
    async def alone() -> None:
        times.append(trio.current_time())
        await trio.sleep(1)
        times.append(trio.current_time())

    one = ("sleep", '{"seconds":1}')
    results = await run([sleep, alone], one, one, ("alone", ""), ("alone", ""), one, one)
    assert times == [1, 2, 2, 3]
    assert trio.current_time() == 4
    assert [each.call_id for each in results] == [f"c{i}" for i in range(6)]


async def test_parallel_calls_are_bounded_across_turns(autojump_clock):
    """All turns that share a box share its places; the statistics tell."""
    box = ToolBox([sleep], limits=ToolLimits(parallel_max=2))
    calls = [ToolCall(str(i), "sleep", '{"seconds":1}') for i in range(4)]

    async def step():
        await run_calls(calls, box, session="s", turn="t", agent="a")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(step)
        nursery.start_soon(step)
        await trio.testing.wait_all_tasks_blocked()
        now = box.statistics()
        assert (now.running, now.waiting, now.peak, now.parallel_max) == (2, 6, 2, 2)
    assert trio.current_time() == 4
    after = box.with_disabled(["sleep"]).statistics()
    assert (after.running, after.waiting, after.peak, after.finished) == (0, 0, 2, 8)


async def test_the_context_is_injected():
    """A ToolContext parameter gets the facts of its call, and the model never sees it."""
    seen = []

    @tool(timeout_seconds=5)
    async def look(context: ToolContext, a: int) -> None:
        seen.append((context, trio.current_time()))

    await run_calls(
        [ToolCall("id", "look", '{"a":1}')], ToolBox([look]), session="s", turn="t", agent="g"
    )
    ((context, now),) = seen
    assert (context.session, context.turn, context.agent) == ("s", "t", "g")
    assert (context.call_id, context.tool) == ("id", "look")
    assert 4 < context.deadline - now <= 5


async def test_the_context_cannot_be_given_by_the_model(run):
    """An injected name is an unknown argument."""

    @tool
    async def look(context: ToolContext) -> None: ...

    (result,) = await run([look], ("look", '{"context":{"session":"other"}}'))
    assert result.state == "error"
    assert "$.context: unknown argument" in result.text


async def test_unknown_and_disabled_tools_are_results(run):
    """The model is told what there is, and the step goes on."""
    box = ToolBox([echo, sleep, fail], disabled=["fail"])
    results = await run(
        box, ("ecko", "{}"), ("fail", "{}"), ("echo", '{"text":"x"}'), ("z" * 9999, "")
    )
    assert [each.state for each in results] == ["error", "disabled", "success", "error"]
    assert results[0].text == (
        "There is no tool 'ecko'. Did you mean 'echo'? The tools are: echo, sleep."
    )
    assert results[1].text == "The tool 'fail' is switched off. The tools are: echo, sleep."
    assert len(results[3].text) < 200
    assert results[3].name == "z" * 9999


async def test_bad_arguments_are_results_and_nothing_runs(run):
    """A call whose arguments do not match is answered, never begun."""
    ran = []

    @tool
    async def act(n: int) -> None:
        ran.append(n)

    (result,) = await run([act], ("act", '{"n":"1"}'))
    assert (result.state, ran) == ("error", [])
    assert "$.n: expected integer" in result.text


async def test_a_raising_tool_is_a_result(run, logs):
    """The model gets type and message; the traceback goes to the log only."""
    results = await run([fail, echo], ("fail", '{"text":"no such row"}'), ("echo", '{"text":"x"}'))
    assert results == (
        ToolResult("c0", "fail", "LookupError: no such row", "error"),
        ToolResult("c1", "echo", "x"),
    )
    assert [(log["event"], log["tool"], log["log_level"]) for log in logs] == [
        ("tool raised", "fail", "debug")
    ]
    assert isinstance(logs[0]["exc_info"], LookupError)


async def test_groups_and_exits_are_results_too(run):
    """What a nursery of the tool raises is told by its members; SystemExit ends only the call."""

    @tool
    async def nursery() -> None:
        async with trio.open_nursery() as inner:
            for i in range(5):
                inner.start_soon(fail.function, str(i))

    @tool
    def leave() -> None:
        raise SystemExit(2)

    results = await run([nursery, leave], ("nursery", ""), ("leave", ""))
    assert results[0].text.count("LookupError: ") == 3
    assert results[0].text.endswith("; and 2 more")
    assert results[1] == ToolResult("c1", "leave", "SystemExit: 2", "error")


async def test_a_tool_past_its_deadline_is_a_result(run, autojump_clock):
    """Its own deadline ends it, and only it."""

    @tool(timeout_seconds=2)
    async def hang() -> None:
        await trio.sleep_forever()

    results = await run([hang, sleep], ("hang", ""), ("sleep", '{"seconds":3}'))
    assert [each.state for each in results] == ["timeout", "success"]
    assert "did not end within 2 s" in results[0].text
    assert trio.current_time() == 3


@attrs.frozen
class Row:
    id: int
    tags: frozenset[str] = frozenset({"a"})


@pytest.mark.parametrize(
    ("value", "state", "text"),
    [
        ("plain", "success", "plain"),
        ("", "success", ""),
        (None, "success", "done"),
        (True, "success", "true"),
        ([Row(1)], "success", '[{"id":1,"tags":["a"]}]'),
        (
            msgspec.UNSET,
            "error",
            "TypeError: The tool returned a value of type UnsetType, which has",
        ),
        (
            object(),
            "error",
            "TypeError: The tool returned a value of type object, which has no JSON",
        ),
        ("\ud800", "success", "?"),
    ],
)
async def test_what_comes_back_is_text(run, value, state, text):
    """Strings stay, None is done, the rest is JSON, and what has no JSON form is named."""

    @tool
    async def give():
        return value

    (result,) = await run([give], ("give", ""))
    assert result.state == state
    assert result.text.startswith(text)


async def test_output_is_bounded(run):
    """A long result is cut at a character, with a line that says how much is missing."""

    @tool(output_bytes_max=5)
    async def much() -> str:
        return "ü" * 100

    @tool
    async def huge() -> str:
        return "x" * 100_000

    @tool(output_bytes_max=5)
    async def loud() -> str:
        raise ValueError("advice that must stay readable")

    results = await run([much, huge, loud], ("much", ""), ("huge", ""), ("loud", ""))
    assert results[0].text == "üü\n[196 of 200 bytes left out here; ask for less at once]"
    assert results[1].text.endswith("\n[34464 of 100000 bytes left out here; ask for less at once]")
    assert results[2].text == "ValueError: advice that must stay readable"


async def test_calls_of_a_step_are_bounded(run):
    """Calls beyond the bound get an answer instead of a run."""
    box = ToolBox([echo], limits=ToolLimits(calls_max=2))
    results = await run(box, *[("echo", '{"text":"x"}')] * 4)
    assert [each.state for each in results] == ["success", "success", "error", "error"]
    assert "at most 2 calls" in results[3].text


async def test_no_calls_are_a_schedule_point():
    """Without calls there are no results, but others get their turn."""
    with trio.testing.assert_checkpoints():
        assert await run_calls([], ToolBox(), session="s", turn="t", agent="a") == ()


# --- observer and ledger ----------------------------------------------------------------------


class Listener:
    def __init__(self):
        self.heard = []

    def started(self, call):
        self.heard.append(("started", call.id, trio.lowlevel.current_task()))

    async def finished(self, call, result):
        await trio.lowlevel.checkpoint()
        self.heard.append(("finished", call.id, trio.lowlevel.current_task()))


async def test_the_observer_hears_each_call_in_its_own_task(run):
    """Sync or async, started then finished, also for a call that never ran."""
    listener = Listener()
    await run([echo], ("echo", '{"text":"x"}'), ("nope", ""), observe=listener)
    for call_id in ("c0", "c1"):
        mine = [(what, task) for what, each, task in listener.heard if each == call_id]
        assert [what for what, _ in mine] == ["started", "finished"]
        assert len({task for _, task in mine}) == 1
    assert len({task for _, _, task in listener.heard}) == 2


async def test_a_broken_observer_ends_the_step(run):
    """Its error is raised as it is, once, and the other calls are gone."""

    class Broken(Listener):
        async def finished(self, call, result):
            raise ZeroDivisionError("observer")

    with pytest.raises(ZeroDivisionError, match="observer"):
        await run(
            [echo, sleep], ("echo", '{"text":"x"}'), ("sleep", '{"seconds":99}'), observe=Broken()
        )


async def test_a_ledger_for_other_calls_is_refused():
    """A ledger that is not for these calls could seal the wrong ones."""
    with pytest.raises(InvalidRequest, match="other calls"):
        await run_calls(
            [ToolCall("1", "echo")],
            ToolBox([echo]),
            session="s",
            turn="t",
            agent="a",
            ledger=CallLedger([]),
        )


# --- filters ----------------------------------------------------------------------------------


async def test_filters_stand_around_the_whole_call(run):
    """What a before filter changes is validated; an after filter sees the bounded result."""
    seen = []

    def rewrite(call):
        return attrs.evolve(call, arguments='{"text":5}' if call.id == "c1" else '{"text":"new"}')

    def note(result):
        seen.append(result.state)
        return attrs.evolve(result, text=result.text.upper(), call_id="wrong")

    results = await run(
        [echo],
        ("echo", "{}"),
        ("echo", '{"text":"fine"}'),
        filters=[before_tool(rewrite), before_model(lambda given: None), after_tool(note)],
    )
    assert results[0] == ToolResult("c0", "echo", "NEW")
    assert results[1].state == "error"
    assert "$.TEXT: EXPECTED STRING; GOT 5" in results[1].text
    assert sorted(seen) == ["error", "success"]


async def test_a_filter_may_refuse_one_call(run):
    """A CallerError out of a filter is the result of that call, and the others go on."""

    def guard(call):
        if "secret" in call.arguments:
            raise InvalidRequest("Not that file.", remedy="Ask for another.")

    results = await run(
        [echo],
        ("echo", '{"text":"secret"}'),
        ("echo", '{"text":"x"}'),
        filters=[before_tool(guard)],
    )
    assert results[0] == ToolResult("c0", "echo", "Not that file. Ask for another.", "error")
    assert results[1].text == "x"


@pytest.mark.parametrize("error", [ZeroDivisionError("bug"), TurnAborted("Enough.")])
async def test_a_filter_may_end_the_step(run, error):
    """A broken filter, or one that asks for the end, ends all calls with one plain error."""

    def end(call):
        if call.name == "echo":
            raise error

    ledger = CallLedger([ToolCall("c0", "sleep", '{"seconds":99}'), ToolCall("c1", "echo", "{}")])
    with pytest.raises((FilterFailed, TurnAborted)) as caught:
        await run(
            [echo, sleep],
            ("sleep", '{"seconds":99}'),
            ("echo", "{}"),
            filters=[before_tool(end)],
            ledger=ledger,
        )
    assert error in (caught.value, caught.value.__cause__)
    assert ledger.states[1] == "waiting"


async def test_a_filter_may_answer_for_a_tool(run):
    """A short-circuited call is finished without having begun."""

    async def cached(call, proceed):
        return ToolResult(call.id, call.name, "from the cache")

    ledger = CallLedger([ToolCall("c0", "fail", "{}")])
    (result,) = await run([fail], ("fail", "{}"), filters=[around_tool(cached)], ledger=ledger)
    assert result.text == "from the cache"
    assert ledger.results == (result,)
