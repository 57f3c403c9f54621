"""What once went wrong when two things happened at a time; each was found by a simulated program."""

from __future__ import annotations

import pytest
import trio

from actrio import Agent, ToolContext, open_runtime, tool
from actrio.errors import Conflict, NotFound
from actrio.journal import MemoryStore, TurnEnded
from actrio.runtime import Limits, Settings, StoreSettings
from actrio.sessions import read_state
from actrio.sessions._journal import SessionJournal
from actrio.testing import history_problems

RAN = []


@tool
async def slow(what: str) -> str:
    """Take a second."""
    RAN.append(what)
    await trio.sleep(1)
    return what


@tool(approval="ask")
async def risk(ctx: ToolContext, what: str) -> str:
    """Do something that a person must allow."""
    RAN.append(ctx.call_id)
    return what


SLOW = Agent("slow", model="scripted:demo?tools=3", tools=[slow])
RISKY = Agent("risky", model="scripted:demo", tools=[risk])
ECHO = Agent("echo", model="scripted:echo")
ASIDE = Settings(limits=Limits(approval_seconds=1.0))


@pytest.fixture
def slow_writes(monkeypatch):
    """Let each append take a tenth of a second, in which other things happen."""
    append = MemoryStore.append

    async def appended(self, *args, **more):
        last = await append(self, *args, **more)
        with trio.CancelScope(shield=True):
            await trio.sleep(0.1)
        return last

    monkeypatch.setattr(MemoryStore, "append", appended)


async def asked(runtime):
    """Return what a person is asked, once somebody is."""
    while not (found := await runtime.approvals()):
        await trio.sleep(0.01)
    return found[0]


async def records_of(runtime, session="s1"):
    return [stored.record for stored in await runtime.store.read(session, 1)]


async def test_a_cancel_among_several_tools_is_on_record(autojump_clock):
    """Out of a nursery a cancel comes in a group; the ending is written all the same."""
    async with open_runtime(env={}) as runtime:
        session = await runtime.open_session(SLOW, id="s1")
        with trio.move_on_after(0.5):
            await session.ask("go")
        view = await session.view()
        assert [(each.state, each.reason) for each in view.turns] == [("cancelled", "owner")]
        assert [each.state for each in view.history[-1].results] == ["sealed"] * 3
        assert history_problems(view.history) == []


async def test_whoever_waits_for_a_turn_that_is_put_aside_is_told_its_end(autojump_clock):
    """The turn has no task meanwhile, and another one when the person has decided."""
    async with open_runtime(ASIDE, env={}) as runtime, trio.open_nursery() as nursery:
        session = await runtime.open_session(RISKY, id="s1")
        accepted = await session.submit("go")
        found = []

        async def wait():
            found.append(await session.wait(accepted.turn))

        approval = await asked(runtime)
        await trio.sleep(5)
        nursery.start_soon(wait)
        await trio.sleep(5)
        assert not found
        await session.answer(approval.approval, "approved")
        await trio.sleep(5)
        assert [result.outcome for result in found] == ["completed"]


@pytest.mark.parametrize("late_seconds", [0.9, 0.95, 0.99, 1.0, 1.01, 1.05, 1.1])
async def test_a_decision_while_the_turn_is_put_aside_wakes_it(
    late_seconds, slow_writes, autojump_clock
):
    """Whatever comes first, the turn goes on, and its tool runs once."""
    RAN.clear()
    async with open_runtime(ASIDE, env={}) as runtime:
        session = await runtime.open_session(RISKY, id="s1")
        accepted = await session.submit("go")
        approval = await asked(runtime)
        await trio.sleep(late_seconds)
        await session.answer(approval.approval, "approved")
        with trio.fail_after(30):
            assert (await session.wait(accepted.turn)).outcome == "completed"
    assert len(RAN) == 1


@pytest.mark.parametrize("first", ["answer", "cancel"])
async def test_a_decision_and_a_cancel_at_once_are_one_decision(first, slow_writes, autojump_clock):
    """Whichever is written second finds the approval decided, and its journal can be read."""
    async with open_runtime(env={}) as runtime, trio.open_nursery() as nursery:
        session = await runtime.open_session(RISKY, id="s1")
        accepted = await session.submit("go")
        approval = await asked(runtime)
        await trio.sleep(0.3)

        async def answer():
            try:
                await session.answer(approval.approval, "approved")
            except NotFound:
                assert first == "cancel"

        if first == "answer":
            nursery.start_soon(answer)
            await trio.sleep(0.05)
        session.cancel(accepted.turn)
        await trio.sleep(0.05)
        if first == "cancel":
            nursery.start_soon(answer)
        await trio.sleep(5)
        kinds = [record.kind for record in await records_of(runtime)]
        assert kinds.count("approval.decided") == 1
        assert (await read_state(runtime.store, "s1")).pending == {}
        assert (await session.view()).status == "idle"


async def test_an_input_that_is_cancelled_while_it_is_taken_in_ends_once(
    slow_writes, autojump_clock
):
    """At every moment of the step that takes it in."""
    for number in range(30):
        async with open_runtime(env={}) as runtime:
            session = await runtime.open_session(SLOW, id="s1")
            host = await session.submit("go")
            await trio.sleep(0.5)
            steer = await session.submit("and this", if_busy="steer")
            await trio.sleep(1 + number / 50)
            session.cancel(steer.turn)
            await session.wait(host.turn)
            await session.wait(steer.turn)
            ended = [each.turn for each in await records_of(runtime) if type(each) is TurnEnded]
            taken = [name for each in await records_of(runtime) for name in _taken(each)]
            assert sorted([*ended, *taken]) == sorted([host.turn, steer.turn])
            assert history_problems((await session.view()).history) == []


def _taken(record):
    return getattr(record, "taken", ())


async def test_a_checkpoint_loses_nothing_that_is_written_beside_it(
    slow_writes, autojump_clock, monkeypatch
):
    """The snapshot is taken when it is its turn to be written, not when it was due."""
    monkeypatch.setattr(SessionJournal, "checkpoint_records", 1)
    async with open_runtime(env={}) as runtime, trio.open_nursery() as nursery:
        session = await runtime.open_session(ECHO, id="s1")
        for number in range(20):
            nursery.start_soon(session.change_state, {f"k{number}": number})
            if number < 8:
                nursery.start_soon(session.ask, f"{number}")
            await trio.sleep(0.03)
        await trio.sleep(30)
        live = await session.view()
        assert len(live.state) == 20
        assert (await read_state(runtime.store, "s1")).view() == live


async def test_two_turns_never_run_at_once(slow_writes, autojump_clock):
    """One that takes another's place waits until the other has ended."""
    async with open_runtime(env={}) as runtime:
        session = await runtime.open_session(SLOW, id="s1")
        accepted = [await session.submit("one")]
        for policy in ("rollback", "interrupt", "rollback", "interrupt"):
            accepted.append(await session.submit(policy, if_busy=policy))
        for each in accepted:
            await session.wait(each.turn)
        running = set()
        for record in await records_of(runtime):
            if record.kind == "turn.begun":
                assert not running
                running.add(record.turn)
            elif record.kind == "turn.ended":
                running.discard(record.turn)


async def test_a_fork_does_not_take_a_session_from_its_holder():
    """An id that is taken is refused, and whoever has it writes on."""
    async with open_runtime(env={}) as runtime:
        parent = await runtime.open_session(ECHO, id="parent")
        await parent.ask("hello")
        taken = await runtime.open_session(ECHO, id="taken")
        with pytest.raises(Conflict, match="taken"):
            await runtime.fork("parent", new_id="taken")
        assert (await taken.ask("still here?")).outcome == "completed"


async def test_a_fork_outlives_its_parent(tmp_path):
    """Open or asleep when the parent is removed, of a kept parent or a passing one."""
    settings = Settings(store=StoreSettings(kind="embedded", folder=str(tmp_path)))
    async with open_runtime(settings, env={}) as runtime:
        parent = await runtime.open_session(ECHO, id="parent")
        await parent.ask("hello")
        for name in ("open", "asleep"):
            await runtime.fork("parent", new_id=name)
        child = await runtime.open_session(ECHO, id="open")
        await child.ask("and you?")
        async with runtime.session(ECHO) as passing:
            await passing.ask("not kept")
            await runtime.fork(passing.id, new_id="kept")
        await runtime.delete_session("parent")
        assert (await child.ask("alone?")).outcome == "completed"
        texts = [message.text for message in child.history]
        assert texts == ["hello", "hello", "and you?", "and you?", "alone?", "alone?"]
        assert [message.text for message in (await runtime.view("asleep")).history] == texts[:2]
        assert (await runtime.view("kept")).history[0].text == "not kept"
        assert [event.seq for event in await runtime.events("open")] == list(range(1, 9))
    async with open_runtime(settings, env={}) as runtime:
        assert [message.text for message in (await runtime.view("open")).history] == texts
        for name in ("asleep", "kept"):
            assert (await (await runtime.open_session(ECHO, id=name)).ask("on")).text == "on"


async def test_a_session_that_there_is_not_has_no_view():
    """Also right after somebody asked it something."""
    async with open_runtime(env={}) as runtime:
        for _ in range(2):
            with pytest.raises(NotFound, match="no session ghost"):
                await runtime.answer("ghost", "a_1", "approved")
            with pytest.raises(NotFound, match="no session ghost"):
                await runtime.view("ghost")
