"""Approval: a person's leave before a tool runs, and what waiting for it must not cost."""

from __future__ import annotations

import attrs
import pytest
import trio
import trio.testing

from actrio.errors import SessionFenced, StorageFull
from actrio.filters import around_tool, before_tool
from actrio.messages import ToolCall, ToolResult
from actrio.tools import CallLedger, Leave, ToolBox, ToolLimits, run_calls, seal, tool

IDS = {"session": "s", "turn": "t", "agent": "a"}


@tool
async def sleep(seconds: float) -> float:
    await trio.sleep(seconds)
    return seconds


@pytest.fixture
def pay():
    """A tool that needs leave, and says in ``ran`` with what and when it ran."""

    @tool(approval="ask", timeout_seconds=5)
    async def pay(euros: int) -> str:
        ran.append((euros, trio.current_time()))
        await trio.sleep(1)
        return "paid"

    ran = []
    return pay, ran


async def test_a_call_runs_with_leave_and_only_then(run, pay, make_desk, autojump_clock):
    """Permission comes after the schema and before the record; the days do not count."""
    tool, ran = pay
    desk = make_desk()
    async with trio.open_nursery() as nursery:

        async def decide():
            await trio.sleep(3 * 86400)
            assert ran == []
            desk.answer(0, Leave(True, by="ada"))

        nursery.start_soon(decide)
        (result,) = await run([tool], ("pay", '{"euros":5}'), desk=desk)
    assert result == ToolResult("c0", "pay", "paid")
    assert desk.heard == [("permit", 0, '{"euros":5}'), ("begun", 0, "pay")]
    assert ran == [(5, 3 * 86400)]


async def test_wrong_arguments_are_not_put_before_a_person(run, pay, make_desk):
    """What could not run anyway is answered without asking."""
    tool, ran = pay
    desk = make_desk()
    results = await run(
        ToolBox([tool], limits=ToolLimits(calls_max=1)),
        ("pay", '{"euros":"5"}'),
        ("pay", '{"euros":5}'),
        desk=desk,
    )
    assert [each.state for each in results] == ["error", "error"]
    assert (desk.heard, ran) == ([], [])


@pytest.mark.parametrize(
    ("leave", "text"),
    [
        (
            Leave(False, by="ada", note="no"),
            "Not run: this call of 'pay' was denied by ada, with the note: no\nIt had no effect.",
        ),
        (Leave(False), "Not run: this call of 'pay' was not approved.\nIt had no effect."),
    ],
)
async def test_a_denied_call_tells_who_and_why(run, pay, make_desk, leave, text):
    """The model reads who denied and the note; nothing ran and nothing was recorded as begun."""
    tool, ran = pay
    desk = make_desk(call0=leave)
    (result,) = await run([tool], ("pay", '{"euros":5}'), desk=desk)
    assert result == ToolResult("c0", "pay", text, "error")
    assert [what for what, *_ in desk.heard] == ["permit"]
    assert ran == []


async def test_without_a_desk_such_a_call_is_not_run(run, pay):
    """Where nobody can be asked, the result says so, and other calls go on."""
    tool, ran = pay
    results = await run([tool, sleep], ("pay", '{"euros":5}'), ("sleep", '{"seconds":0}'))
    assert results[0].state == "error"
    assert results[0].text.startswith("Not run: 'pay' needs a person's approval, and nobody can")
    assert results[1].state == "success"
    assert ran == []


async def test_filters_come_before_the_person(run, pay, make_desk):
    """The person is shown the call as it will run, and a filter's answer needs no leave."""
    tool, ran = pay
    desk = make_desk(call0=Leave(True))

    @before_tool
    def halve(call):
        if call.id == "c1":
            return ToolResult(call.id, call.name, "from a filter")
        return attrs.evolve(call, arguments='{"euros":2}')

    results = await run(
        [tool], ("pay", '{"euros":5}'), ("pay", '{"euros":5}'), desk=desk, filters=[halve]
    )
    assert [each.text for each in results] == ["paid", "from a filter"]
    assert desk.heard[0] == ("permit", 0, '{"euros":2}')
    assert [euros for euros, _ in ran] == [2]


async def test_two_calls_ask_at_once_and_others_run(pay, make_desk, autojump_clock):
    """Who waits for a person holds no place: with one place, others run, and answers may cross."""
    tool, ran = pay
    desk = make_desk()
    box = ToolBox([tool, sleep], limits=ToolLimits(parallel_max=1))
    calls = [
        ToolCall("1", "pay", '{"euros":1}'),
        ToolCall("2", "pay", '{"euros":2}'),
        ToolCall("3", "sleep", '{"seconds":10}'),
    ]
    ledger = CallLedger(calls)
    results = []
    async with trio.open_nursery() as nursery:

        async def step():
            results.extend(await run_calls(calls, box, **IDS, ledger=ledger, desk=desk))

        nursery.start_soon(step)
        await trio.testing.wait_all_tasks_blocked()
        now = box.statistics()
        assert (now.running, now.waiting, now.asking) == (1, 0, 2)
        assert ledger.states == ("asking", "asking", "running")
        await trio.sleep(20)
        assert ledger.states == ("asking", "asking", "finished")
        desk.answer(1, Leave(False, by="ada"))
        desk.answer(0, Leave(True))
    assert [each.text[:4] for each in results] == ["paid", "Not ", "10.0"]
    assert ran == [(1, 20)]
    after = box.statistics()
    assert (after.running, after.asking, after.peak) == (0, 0, 1)


async def test_with_leave_a_call_still_waits_for_its_place(pay, make_desk, autojump_clock):
    """Leave is no way around the bound; until it has its place the call counts as not started."""
    tool, ran = pay
    desk = make_desk(call0=Leave(True))
    box = ToolBox([tool, sleep], limits=ToolLimits(parallel_max=1))
    ledger = CallLedger([ToolCall("1", "pay", '{"euros":1}')])
    async with trio.open_nursery() as nursery:

        async def other():
            await run_calls([ToolCall("9", "sleep", '{"seconds":9}')], box, **IDS)

        nursery.start_soon(other)
        await trio.testing.wait_all_tasks_blocked()

        async def step():
            await run_calls(ledger.calls, box, **IDS, ledger=ledger, desk=desk)

        nursery.start_soon(step)
        await trio.testing.wait_all_tasks_blocked()
        assert ledger.states == ("waiting",)
        assert ledger.progress(0) == "not_started"
    # Nine seconds in line are more than its deadline of five, which is for its own work.
    assert ran == [(1, 9)]
    assert ledger.states == ("finished",)


async def test_an_exclusive_call_that_asks_holds_back_those_after_it(make_desk, autojump_clock):
    """Program order stands: those before it have ended, those after it wait for the person too."""

    @tool(approval="ask", exclusive=True)
    async def alone() -> None:
        times.append(trio.current_time())

    times = []
    desk = make_desk()
    calls = [
        ToolCall("0", "sleep", '{"seconds":1}'),
        ToolCall("1", "alone"),
        ToolCall("2", "sleep", '{"seconds":1}'),
    ]
    ledger = CallLedger(calls)
    async with trio.open_nursery() as nursery:

        async def step():
            await run_calls(calls, ToolBox([sleep, alone]), **IDS, ledger=ledger, desk=desk)

        nursery.start_soon(step)
        await trio.sleep(0.5)
        assert ledger.states == ("running", "waiting", "waiting")
        await trio.sleep(9.5)
        assert ledger.states == ("finished", "asking", "waiting")
        desk.answer(1, Leave(True))
    assert times == [10]
    assert trio.current_time() == 11


async def test_cancelled_while_asking(pay, make_desk):
    """The question is withdrawn, nothing ran, and the seal says what the call waited for."""
    tool, ran = pay
    desk = make_desk()
    box = ToolBox([tool])
    ledger = CallLedger([ToolCall("1", "pay", '{"euros":1}')])
    async with trio.open_nursery() as nursery:

        async def step():
            await run_calls(ledger.calls, box, **IDS, ledger=ledger, desk=desk)

        nursery.start_soon(step)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert (desk.withdrawn, ran) == ([0], [])
    assert ledger.states == ("asking",)
    assert ledger.progress(0) == "awaiting_approval"
    (sealed,) = seal(ledger, reason="the user cancelled")
    assert sealed.state == "sealed"
    assert sealed.text.startswith("Not run: it was waiting for approval when the user cancelled")
    assert box.statistics().asking == 0


async def test_a_filter_may_give_up_waiting_for_a_person(run, pay, make_desk, autojump_clock):
    """A filter that cancels the rest of the path answers in the person's place."""
    tool, ran = pay
    desk = make_desk()

    @around_tool
    async def impatient(call, proceed):
        with trio.move_on_after(60):
            return await proceed(call)
        return ToolResult(call.id, call.name, "nobody answered", "error")

    (result,) = await run([tool], ("pay", '{"euros":5}'), desk=desk, filters=[impatient])
    assert result.text == "nobody answered"
    assert (trio.current_time(), desk.withdrawn, ran) == (60, [0], [])


@pytest.mark.parametrize("at", ["permit", "begun"])
@pytest.mark.parametrize(
    "error", [StorageFull("No room."), SessionFenced("Claimed by another."), OSError("bug")]
)
async def test_a_desk_that_fails_ends_the_step(run, make_desk, at, error):
    """Also where the error could be read as a refusal, and where a filter would hide it."""

    class Broken(make_desk):
        async def begun(self, index, call, tool):
            raise error

    @tool(approval="ask" if at == "permit" else "never")
    async def act() -> None:
        ran.append("async")

    @tool(approval="ask" if at == "permit" else "never")
    def act_in_thread() -> None:
        ran.append("sync")

    @around_tool
    async def hide(call, proceed):
        try:
            return await proceed(call)
        except Exception:
            return ToolResult(call.id, call.name, "all is well")

    ran = []
    box = ToolBox([act, act_in_thread])
    for name in ("act", "act_in_thread"):
        for filters in ([], [hide]):
            ledger = CallLedger([ToolCall("c0", name, "")])
            desk = Broken(call0=error if at == "permit" else Leave(True))
            with pytest.raises(type(error)) as caught:
                await run(box, (name, ""), desk=desk, filters=filters, ledger=ledger)
            assert caught.value is error
            assert ledger.states == ("asking" if at == "permit" else "waiting",)
    assert ran == []
    assert (box.statistics().threads, box.statistics().running) == (0, 0)


async def test_recording_does_not_use_the_deadline(run, make_desk, autojump_clock):
    """A slow disk is not the tool's fault."""

    class Slow(make_desk):
        async def begun(self, index, call, tool):
            await trio.sleep(100)

    @tool(timeout_seconds=5)
    async def act() -> float:
        start = trio.current_time()
        await trio.sleep(4)
        return start

    (result,) = await run([act], ("act", ""), desk=Slow())
    assert result.text == "100.0"


async def test_a_step_with_a_desk_cancelled_at_every_schedule_point(make_desk):
    """Wherever the cancel comes, what ran had leave and was on record, and nothing is left."""

    @tool(approval="ask")
    async def act(label: str) -> str:
        await trio.lowlevel.checkpoint()
        effects.append(label)
        await trio.lowlevel.checkpoint()
        return label

    effects = []
    box = ToolBox([act], limits=ToolLimits(parallel_max=1))
    calls = [ToolCall(n, "act", f'{{"label":"{n}"}}') for n in "ab"]
    states = set()
    ticks, done = 0, False
    while not done:
        effects.clear()
        desk = make_desk(call0=Leave(True), call1=Leave(True))
        ledger = CallLedger(calls)
        async with trio.open_nursery() as nursery:

            async def step(ledger=ledger, desk=desk):
                await run_calls(calls, box, **IDS, ledger=ledger, desk=desk)

            nursery.start_soon(step)
            for _ in range(ticks):
                await trio.lowlevel.checkpoint()
            done = not nursery.child_tasks
            nursery.cancel_scope.cancel()
        now = box.statistics()
        assert (now.running, now.waiting, now.asking) == (0, 0, 0)
        begun = {calls[index].id for what, index, _ in desk.heard if what == "begun"}
        assert begun.issuperset(effects)
        for call, state in zip(calls, ledger.states, strict=True):
            assert not (state in ("waiting", "asking") and call.id in effects)
        assert [each.call_id for each in seal(ledger)] == ["a", "b"]
        states.update(ledger.states)
        ticks += 1
    assert ledger.states == ("finished", "finished")
    assert {"asking", "waiting", "running"} < states
