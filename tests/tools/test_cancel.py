"""Cancellation: at every schedule point, and with threads that cannot be stopped."""

from __future__ import annotations

import threading

import pytest
import trio
import trio.testing

from actrio.filters import after_tool, around_tool, before_tool
from actrio.messages import ToolCall
from actrio.tools import CallLedger, ToolBox, ToolLimits, run_calls, seal, tool


async def look(value):
    await trio.lowlevel.checkpoint()


async def stand_around(call, proceed):
    await trio.lowlevel.checkpoint()
    return await proceed(call)


FILTERS = (before_tool(look), around_tool(deadline_seconds=9)(stand_around), after_tool(look))


class Listener:
    async def started(self, call):
        await trio.lowlevel.checkpoint()

    async def finished(self, call, result):
        await trio.lowlevel.checkpoint()


async def test_cancel_at_every_schedule_point():
    """Wherever a step is cancelled, nothing is left running and every call can be sealed."""
    alive = 0
    effects = []

    @tool
    async def work(label: str) -> str:
        nonlocal alive
        alive += 1
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.lowlevel.checkpoint)
                await trio.lowlevel.checkpoint()
            effects.append(label)
            return label
        finally:
            alive -= 1

    @tool(exclusive=True)
    async def alone(label: str) -> str:
        return await work.function(label)

    box = ToolBox([work, alone], limits=ToolLimits(parallel_max=2))
    calls = [ToolCall(n, "alone" if n == "c" else "work", f'{{"label":"{n}"}}') for n in "abcd"]
    states = set()
    ticks, done = 0, False
    while not done:
        effects.clear()
        ledger = CallLedger(calls)
        async with trio.open_nursery() as nursery:

            async def step(ledger=ledger):
                await run_calls(
                    calls,
                    box,
                    session="s",
                    turn="t",
                    agent="a",
                    filters=FILTERS,
                    observe=Listener(),
                    ledger=ledger,
                )

            nursery.start_soon(step)
            for _ in range(ticks):
                await trio.lowlevel.checkpoint()
            done = not nursery.child_tasks
            nursery.cancel_scope.cancel()
        assert alive == 0
        assert not nursery.child_tasks
        statistics = box.statistics()
        assert (statistics.running, statistics.waiting) == (0, 0)
        sealed = seal(ledger, reason="the turn was cancelled")
        assert [each.call_id for each in sealed] == list("abcd")
        for call, state in zip(calls, ledger.states, strict=True):
            # What is told as having had no effect had none; what is told as ended did.
            assert not (state == "waiting" and call.id in effects)
            assert not (state in ("returned", "finished") and call.id not in effects)
        states.update(ledger.states)
        ticks += 1
    assert ledger.states == ("finished",) * 4
    assert states == {"waiting", "running", "returned", "finished"}
    assert ticks > 20


async def test_an_error_during_cancellation_does_not_stop_it(autojump_clock, logs):
    """A tool that breaks while it is cancelled is logged; the cancel goes on alone."""

    @tool
    async def breaks() -> None:
        async def break_at_the_end():
            try:
                await trio.sleep_forever()
            finally:
                raise ValueError("while cleaning up")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(break_at_the_end)
            await trio.sleep_forever()

    calls = [ToolCall("1", "breaks"), ToolCall("2", "breaks")]
    ledger = CallLedger(calls)
    with trio.move_on_after(1) as scope:
        await run_calls(calls, ToolBox([breaks]), session="s", turn="t", agent="a", ledger=ledger)
    assert scope.cancelled_caught
    assert ledger.states == ("running", "running")
    assert len(logs) == 2


# --- threads: real ones, held by events -------------------------------------------------------


class Gate:
    """A sync tool that stays in its thread until it is let out."""

    def __init__(self, timeout_seconds=60.0):
        self.entered = threading.Semaphore(0)
        self.out = threading.Event()

        @tool(timeout_seconds=timeout_seconds)
        def hold() -> str:
            self.entered.release()
            self.out.wait(30)
            return "late"

        self.tool = hold


async def entered(gate, times=1):
    for _ in range(times):
        await trio.to_thread.run_sync(gate.entered.acquire)


async def until(condition):
    """Wait for threads to come to an end; their end reaches Trio by itself, not through a wait."""
    with trio.fail_after(30):
        while not condition():
            await trio.sleep(0.001)


async def test_sync_tools_run_in_threads_beside_each_other(run):
    """Two calls that wait for each other meet, off Trio's own thread."""
    meeting = threading.Barrier(2, timeout=30)
    main = threading.get_ident()

    @tool
    def meet() -> bool:
        meeting.wait()
        return threading.get_ident() != main

    box = ToolBox([meet])
    results = await run(box, ("meet", ""), ("meet", ""))
    assert [each.text for each in results] == ["true", "true"]
    assert box.statistics().finished == 2


async def test_a_hidden_coroutine_is_awaited(run):
    """A sync function that gives a coroutine is an async tool in disguise."""

    async def real(x):
        await trio.lowlevel.checkpoint()
        return x + 1

    @tool
    def disguised(x: int):
        return real(x)

    (result,) = await run([disguised], ("disguised", '{"x":1}'))
    assert result.text == "2"


async def test_a_cancelled_thread_is_abandoned_and_counted():
    """The cancel returns at once; the thread keeps its place, and its late result is discarded."""
    gate = Gate()
    box = ToolBox([gate.tool], limits=ToolLimits(threads_max=2))
    ledger = CallLedger([ToolCall("1", "hold")])
    async with trio.open_nursery() as nursery:

        async def step():
            await run_calls(ledger.calls, box, session="s", turn="t", agent="a", ledger=ledger)

        nursery.start_soon(step)
        await entered(gate)
        nursery.cancel_scope.cancel()
    assert ledger.states == ("running",)
    left = box.statistics()
    assert (left.running, left.threads, left.abandoned, left.late) == (0, 1, 1, 0)
    gate.out.set()
    await until(lambda: box.statistics().threads == 0)
    after = box.statistics()
    assert (after.abandoned, after.late, after.finished) == (0, 1, 1)
    assert "unknown" in seal(ledger)[0].text


async def test_a_late_coroutine_is_closed():
    """A coroutine that nobody can await any more does not warn from nowhere."""
    out = threading.Event()
    inside = threading.Event()

    async def never():
        raise AssertionError

    @tool(timeout_seconds=0.01)
    def disguised():
        inside.set()
        out.wait(30)
        return never()

    box = ToolBox([disguised])
    (result,) = await run_calls([ToolCall("1", "disguised")], box, session="s", turn="t", agent="a")
    assert result.state == "timeout"
    out.set()
    await until(lambda: box.statistics().threads == 0)
    assert box.statistics().late == int(inside.is_set())


async def test_hung_threads_are_bounded_and_said():
    """When every thread hangs, a further call says that it was not started."""
    gate = Gate(timeout_seconds=0.05)
    box = ToolBox([gate.tool], limits=ToolLimits(threads_max=1))
    call = [ToolCall("1", "hold")]

    async with trio.open_nursery() as nursery:
        ledger = CallLedger(call)

        async def hang():
            (result,) = await run_calls(call, box, session="s", turn="t", agent="a", ledger=ledger)
            assert result.state == "timeout"
            assert "cannot be stopped" in result.text

        nursery.start_soon(hang)
        await entered(gate)
    second = CallLedger(call)
    (result,) = await run_calls(call, box, session="s", turn="t", agent="a", ledger=second)
    assert result.state == "timeout"
    assert "was not started" in result.text
    assert "none of the 1 threads" in result.text
    assert (box.statistics().abandoned, box.statistics().threads) == (1, 1)
    gate.out.set()
    await until(lambda: box.statistics().threads == 0)
    (result,) = await run_calls(call, box, session="s", turn="t", agent="a")
    assert result.text == "late"


@pytest.mark.parametrize("error", [ValueError("x"), KeyError("y")])
async def test_a_raising_thread_is_a_result(run, error):
    """A sync tool's exception is told as an async one's."""

    @tool
    def broken() -> None:
        raise error

    (result,) = await run([broken], ("broken", ""))
    assert (result.state, result.text) == ("error", f"{type(error).__name__}: {error}")
