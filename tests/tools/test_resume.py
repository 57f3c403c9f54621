"""A step that was cut off goes on: calls with a result are not run again."""

from __future__ import annotations

import pytest
import trio

from actrio.errors import InvalidRequest
from actrio.messages import ToolCall, ToolResult
from actrio.tools import CallLedger, Leave, ToolBox, run_calls, seal, tool

IDS = {"session": "s", "turn": "t", "agent": "a"}


class Watch:
    def __init__(self):
        self.heard = []

    async def started(self, index, call):
        await trio.lowlevel.checkpoint()
        self.heard.append(("started", index, call.id))

    def finished(self, index, call, result, run_seconds):
        self.heard.append(("finished", index, result.state, run_seconds))


@pytest.fixture
def spend():
    """A tool that takes its time and says in ``ran`` what ran, and one of it that runs alone."""

    @tool
    async def spend(seconds: float) -> float:
        ran.append(("begins", seconds))
        await trio.sleep(seconds)
        ran.append(("ends", seconds))
        return seconds

    @tool(exclusive=True)
    async def alone(seconds: float) -> float:
        return await spend.function(seconds)

    ran = []
    return ToolBox([spend, alone]), ran


def calls_of(*names):
    return [ToolCall(f"c{i}", name, f'{{"seconds":{i + 1}}}') for i, name in enumerate(names)]


async def test_only_calls_without_a_result_run(spend, make_desk, autojump_clock):
    """Results still come in call order, and observer and desk hear only of what runs."""
    box, ran = spend
    calls = calls_of("spend", "spend", "spend")
    kept = ToolResult("c1", "spend", "from the journal", "sealed")
    ledger = CallLedger(calls, {1: kept})
    assert ledger.states == ("waiting", "finished", "waiting")
    watch, desk = Watch(), make_desk()
    results = await run_calls(calls, box, **IDS, ledger=ledger, watch=watch, desk=desk)
    assert [each.text for each in results] == ["1.0", "from the journal", "3.0"]
    assert results[1] is kept
    assert sorted(ran) == [("begins", 1), ("begins", 3), ("ends", 1), ("ends", 3)]
    assert sorted(desk.heard) == [("begun", 0, "spend"), ("begun", 2, "spend")]
    assert watch.heard[2:] == [("finished", 0, "success", 1), ("finished", 2, "success", 3)]
    assert sorted(watch.heard[:2]) == [("started", 0, "c0"), ("started", 2, "c2")]


async def test_a_finished_exclusive_call_still_parts_its_neighbours(spend, autojump_clock):
    """Who stood after an exclusive call was meant to begin after all before it had ended."""
    box, ran = spend
    calls = calls_of("spend", "alone", "spend")
    ledger = CallLedger(calls, {1: ToolResult("c1", "alone", "done")})
    await run_calls(calls, box, **IDS, ledger=ledger)
    assert ran == [("begins", 1), ("ends", 1), ("begins", 3), ("ends", 3)]


async def test_a_step_with_all_results_runs_nothing(spend):
    """What is complete is complete."""
    box, ran = spend
    calls = calls_of("spend", "spend")
    kept = {i: ToolResult(f"c{i}", "spend", "kept") for i in range(2)}
    ledger = CallLedger(calls, kept)
    assert await run_calls(calls, box, **IDS, ledger=ledger) == (kept[0], kept[1])
    assert ran == []


async def test_a_call_that_was_waiting_for_leave_asks_again(make_desk):
    """Resumed with the decision that came meanwhile, it runs at once."""

    @tool(approval="ask")
    async def pay() -> str:
        return "paid"

    calls = [ToolCall("c0", "pay"), ToolCall("c1", "pay")]
    ledger = CallLedger(calls, {0: ToolResult("c0", "pay", "paid before")})
    results = await run_calls(
        calls, ToolBox([pay]), **IDS, ledger=ledger, desk=make_desk(call1=Leave(True))
    )
    assert [each.text for each in results] == ["paid before", "paid"]


@pytest.mark.parametrize(
    "results", [{1: ToolResult("c0", "x", "")}, {2: ToolResult("c2", "x", "")}]
)
def test_a_result_of_another_call_is_refused(results):
    """A provider would refuse the history, far from here."""
    with pytest.raises(InvalidRequest, match="not the call there"):
        CallLedger([ToolCall("c0", "x"), ToolCall("c1", "x")], results)


@pytest.mark.parametrize("move", ["begin", "ask"])
async def test_a_step_that_was_begun_is_not_begun_again(spend, move):
    """Its calls may have had effects: seal them first."""
    box, ran = spend
    ledger = CallLedger(calls_of("spend", "spend"))
    getattr(ledger, move)(1)
    with pytest.raises(InvalidRequest, match="was begun") as caught:
        await run_calls(ledger.calls, box, **IDS, ledger=ledger)
    assert "CallLedger(calls, results)" in caught.value.remedy
    assert ran == []
    assert len(seal(ledger)) == 2


async def test_a_step_has_one_observer(spend):
    """Two would hear everything twice."""
    box, _ = spend
    with pytest.raises(InvalidRequest, match="two observers"):
        await run_calls([], box, **IDS, observe=Watch(), watch=Watch())


async def test_run_seconds_are_those_of_the_function(make_desk, autojump_clock):
    """Neither the person nor the line for a place counts, and what did not run took nothing."""

    @tool(approval="ask", timeout_seconds=3)
    async def act() -> None:
        await trio.sleep_forever()

    calls = [ToolCall("c0", "act"), ToolCall("c1", "nope"), ToolCall("c2", "act")]
    watch = Watch()
    desk = make_desk(call2=Leave(False))
    async with trio.open_nursery() as nursery:

        async def person():
            await trio.sleep(50)
            desk.answer(0, Leave(True))

        nursery.start_soon(person)
        await run_calls(calls, ToolBox([act]), **IDS, watch=watch, desk=desk)
    finished = sorted(each for each in watch.heard if each[0] == "finished")
    assert finished == [
        ("finished", 0, "timeout", 3),
        ("finished", 1, "error", 0),
        ("finished", 2, "error", 0),
    ]
