"""Where a session lives: in memory, asleep, after a crash, and what closing does to its turns."""

from __future__ import annotations

import time

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actrio import Agent, before_model, open_runtime, tool
from actrio.errors import ActorFailed, Conflict, NotFound, Overloaded, TurnAborted
from actrio.journal import Checkpoint, TurnEnded
from actrio.runtime import Limits, Settings, StoreSettings
from actrio.sessions import oldest_records
from actrio.testing import history_problems, live_tasks

ECHO = Agent("echo", model="scripted:echo")
SLOW = Agent("slow", model="scripted:tokens?tokens=100&itl=100ms")
RAN: list[str] = []


@tool
async def dig(depth: int) -> str:
    """Dig a hole."""
    RAN.append("dig")
    await trio.sleep(10)
    return "dug"


DIGGER = Agent("digger", model="scripted:demo?ttft=1s", tools=[dig])
SETTINGS = Settings(limits=Limits(idle_seconds=60))


@pytest.fixture(autouse=True)
def nothing_ran():
    RAN.clear()


def resident(runtime):
    return runtime.statistics().sessions_resident


# --- asleep


async def test_an_idle_session_leaves_memory_and_comes_back_as_it_was(
    autojump_clock, check_journal, users
):
    """With its history, state, metrics and numbers; its claim is given back meanwhile."""
    async with open_runtime(SETTINGS, env={}) as runtime:
        session = await runtime.open_session(DIGGER, id="s")
        await session.ask("dig")
        await session.change_state({"x": 1})
        before = await session.view()
        assert resident(runtime) == 1
        for _ in range(3):
            await trio.sleep(200)
            assert resident(runtime) == 0
            assert (await runtime.sessions())[0].owner is None
            view = await session.view()
            assert resident(runtime) == 1
            assert attrs.evolve(view, updated_at=0, last_seq=0) == attrs.evolve(
                before, updated_at=0, last_seq=0
            )
        await trio.sleep(200)
        await session.ask("again")
        assert users((await check_journal(runtime, "s")).history) == ["dig", "again"]
        assert (await session.view()).seq > before.seq


async def test_a_session_at_work_or_held_stays(autojump_clock):
    """While a turn runs, somebody waits, or a block holds it."""
    agent = Agent("long", model="scripted:echo?ttft=3000s")
    async with open_runtime(SETTINGS, env={}) as runtime:
        working = await runtime.open_session(agent, id="working")
        await working.submit("x")
        async with runtime.session(ECHO, id="held") as held:
            await trio.sleep(1000)
            assert resident(runtime) == 2
            assert held.history == ()
            async with runtime.session(ECHO, id="held") as twice:
                pass
            await trio.sleep(1000)
            assert twice.history == ()
        await trio.sleep(500)
        assert resident(runtime) == 1
        await trio.sleep(2000)
        assert resident(runtime) == 0


async def test_no_more_sessions_are_in_memory_than_may_be(autojump_clock, check_journal):
    """Beyond the bound the longest idle ones leave; all of them answer whenever they are asked."""
    settings = Settings(limits=Limits(sessions_resident=5))
    async with open_runtime(settings, env={}) as runtime:
        sessions = [await runtime.open_session(ECHO, id=f"s{n}") for n in range(20)]
        for round_ in range(3):
            for session in sessions:
                await session.ask(str(round_))
                await wait_all_tasks_blocked()
                assert resident(runtime) <= 6
        assert runtime.statistics().sessions_open == 20
        for session in sessions:
            view = await check_journal(runtime, session.id)
            assert view.metrics.runs == 3
        async with trio.open_nursery() as nursery:  # all at once
            for session in sessions:
                nursery.start_soon(session.ask, "and now")
        assert {(await runtime.view(each.id)).metrics.runs for each in sessions} == {4}


async def test_coming_back_takes_milliseconds():
    """From a checkpoint, however long the session is (indicative: the machine is shared)."""
    settings = Settings(limits=Limits(sessions_resident=1))
    async with open_runtime(settings, env={}) as runtime:
        session = await runtime.open_session(ECHO, id="s")
        other = await runtime.open_session(ECHO, id="other")
        for number in range(100):
            await session.ask(str(number))
        times = []
        for _ in range(9):
            await other.view()
            while session.id in {e.session for e in await runtime.sessions() if e.owner}:
                await trio.sleep(0.001)
            began = time.perf_counter()
            await session.view()
            times.append(time.perf_counter() - began)
        assert sorted(times)[4] < 0.05
        records = await runtime.store.read("s")
        assert isinstance(records[0].record, Checkpoint)


# --- crashes


@pytest.mark.parametrize("after", [0.5, 1.5, 5.0, 11.5, 13.0])
async def test_a_crash_in_the_middle_of_everything(after, autojump_clock, check_journal, users):
    """What ran is sealed and can be continued, what waited runs, what was owned is told."""
    calls = []

    @before_model
    def count(_payload):
        calls.append(1)

    async with open_runtime(SETTINGS, env={}, filters=[count]) as runtime:
        session = await runtime.open_session(DIGGER, id="s")
        first = await session.submit("first")
        owned = []

        async def own():
            async with session.turn("owned") as turn:
                async for _ in turn:
                    pass
            owned.append(turn.result)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(own)
            await wait_all_tasks_blocked()
            second = await session.submit("second")
            await trio.sleep(after)
            session.ref.control("nonsense")  # an invariant of ours is broken
            await wait_all_tasks_blocked()
        result = await session.wait(first.turn)
        if after < 12.5:
            assert result.outcome == "cancelled"
            assert result.error.reason == "crash"
        assert (await session.wait(second.turn)).outcome == "completed"
        assert isinstance(owned[0].error, (ActorFailed, TurnAborted))
        assert runtime.statistics().restarts == 1
        view = await check_journal(runtime, "s")
        said = users(view.history)
        assert said[0] == "first"
        assert said[-1] == "second"
        by_turn = {each.turn: each for each in view.turns}
        if after < 12.5:
            assert by_turn[first.turn].resumable
            again = await session.resume(first.turn)
            assert (await session.wait(again.turn)).outcome == "completed"
        stored = await oldest_records(runtime.store, "s")
        ends = [each.record.turn for each in stored if isinstance(each.record, TurnEnded)]
        assert len(ends) == len(set(ends))


async def test_a_session_that_crashes_harms_no_other(autojump_clock):
    """Its neighbours' turns never notice."""
    async with open_runtime(SETTINGS, env={}) as runtime:
        sick = await runtime.open_session(SLOW, id="sick")
        well = await runtime.open_session(SLOW, id="well")
        accepted = await well.submit("go")
        await sick.submit("go")
        await trio.sleep(1)
        sick.ref.control("nonsense")
        assert (await well.wait(accepted.turn)).outcome == "completed"


async def test_a_held_session_is_there_again_after_a_crash(autojump_clock, users):
    """Nothing has to be asked first."""
    async with open_runtime(SETTINGS, env={}) as runtime:
        for how in ({"id": "s"}, {}):
            async with runtime.session(ECHO, **how) as session:
                await session.ask("one")
                session.ref.control("nonsense")
                await trio.sleep(5)
                assert users(session.history) == ["one"]
                assert (await session.ask("two")).text == "two"
                assert session.turns == 2


# --- closing


@pytest.mark.parametrize("mode", ["detach", "after_turn", "cancel"])
async def test_closing_does_with_turns_what_its_mode_says(
    mode, autojump_clock, check_journal, users
):
    """They go on, are waited for, or end; the session can be opened again at once."""
    agent = Agent("slow", model="scripted:echo?ttft=100s")
    async with open_runtime(SETTINGS, env={}) as runtime:
        session = await runtime.open_session(agent, id="s")
        first = await session.submit("first")
        second = await session.submit("second")
        await trio.sleep(1)
        began = trio.current_time()
        await runtime.close_session("s", mode=mode)
        took = trio.current_time() - began
        assert runtime.statistics().sessions_open == 0
        if mode == "detach":
            assert took == 0
            assert (await runtime.view("s")).status == "running"
            await trio.sleep(300)
            assert (await runtime.view("s")).metrics.runs == 2
        elif mode == "after_turn":
            assert took == pytest.approx(199)
            assert (await runtime.view("s")).metrics.runs == 2
        else:
            assert took == 0
            assert resident(runtime) == 0
            view = await runtime.view("s")
            assert [each.state for each in view.turns] == ["queued", "cancelled"] or [
                each.state for each in view.turns
            ] == ["cancelled", "queued"]
        session = await runtime.open_session(agent, id="s")
        results = [await session.wait(each.turn) for each in (first, second)]
        if mode == "cancel":
            assert results[0].outcome == "cancelled"
            assert (await session.view()).turns[-2].resumable
        else:
            assert results[0].text == "first"
        assert results[1].text == "second"
        assert users((await check_journal(runtime, "s")).history) == ["first", "second"]


async def test_what_a_user_cancelled_stays_cancelled_when_its_session_stops(
    autojump_clock, check_journal
):
    """A tool that takes long to let go is cut off by the stop; the reason is the user's."""

    @tool
    async def clinging() -> str:
        """Cling."""
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(8)

    agent = Agent("a", model="scripted:demo", tools=[clinging])
    async with open_runtime(SETTINGS, env={}) as runtime:
        session = await runtime.open_session(agent, id="s")
        await session.submit("go")
        await trio.sleep(1)
        session.cancel(reason="enough")
        await trio.sleep(1)
        await runtime.close_session("s")
        (turn,) = (await check_journal(runtime, "s")).turns
        assert (turn.state, turn.reason, turn.resumable) == ("cancelled", "enough", False)


async def test_closing_after_turn_does_not_wait_for_a_person(autojump_clock):
    """Who knows when they come; what waits for them is kept and goes on when they do."""

    @tool(approval="ask")
    async def launch() -> str:
        """Launch."""
        return "launched"

    agent = Agent("a", model="scripted:demo", tools=[launch])
    async with open_runtime(SETTINGS, env={}) as runtime:
        session = await runtime.open_session(agent, id="s")
        accepted = await session.submit("go")
        while not (asked := await runtime.approvals()):
            await trio.sleep(0.1)
        await runtime.close_session("s", mode="after_turn")
        session = await runtime.open_session(agent, id="s")
        await session.answer(asked[0].approval, "approved")
        assert (await session.wait(accepted.turn)).outcome == "completed"


async def test_a_session_that_is_opened_again_while_it_is_closed_goes_on(autojump_clock):
    """Closing after its turns lets go of it; whoever opens it meanwhile holds it, turns and all."""
    async with open_runtime(SETTINGS, env={}) as runtime, trio.open_nursery() as nursery:
        session = await runtime.open_session(SLOW, id="s")
        accepted = await session.submit("go")
        await trio.sleep(1)
        nursery.start_soon(lambda: runtime.close_session("s", mode="after_turn"))
        await trio.sleep(1)
        again = await runtime.open_session(SLOW, id="s")
        assert (await again.wait(accepted.turn)).outcome == "completed"
        assert (await again.ask("more")).outcome == "completed"
        assert runtime.statistics().sessions_open == 1


async def test_a_session_ends_with_its_last_holder(autojump_clock):
    """Two openings are closed twice; unknown and closed ones are left as they are."""
    async with open_runtime(SETTINGS, env={}) as runtime:
        session = await runtime.open_session(SLOW, id="s")
        await runtime.open_session(SLOW, id="s")
        accepted = await session.submit("go")
        await runtime.close_session("s")
        assert (await session.wait(accepted.turn)).outcome == "completed"
        await runtime.close_session("s")
        await runtime.close_session("s")
        await runtime.close_session("nosuch")
        assert resident(runtime) == 0


async def test_an_opening_that_is_cancelled_holds_nothing(autojump_clock):
    """The bound of open sessions counts only those that somebody got."""
    settings = Settings(limits=Limits(sessions=3))
    async with open_runtime(settings, env={}) as runtime:
        for step in range(30):
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:

                    async def give_up(scope=scope, step=step):
                        for _ in range(step):
                            await trio.lowlevel.checkpoint()
                        scope.cancel()

                    nursery.start_soon(give_up)
                    async with runtime.session(ECHO, id="s"):
                        await trio.sleep(1)
        assert runtime.statistics().sessions_open == 0
        for number in range(3):
            await runtime.open_session(ECHO, id=f"s{number}")
        with pytest.raises(Overloaded):
            await runtime.open_session(ECHO, id="s4")


async def test_a_deleted_session_is_gone_and_its_name_is_free(autojump_clock, check_journal):
    """Its turns end, whoever waits is told, and another may begin under its name, at once."""
    async with open_runtime(SETTINGS, env={}) as runtime:
        session = await runtime.open_session(SLOW, id="s")
        accepted = await session.submit("go")
        results = []
        async with trio.open_nursery() as nursery:

            async def wait():
                results.append(await session.wait(accepted.turn))

            nursery.start_soon(wait)
            await trio.sleep(1)
            await runtime.delete_session("s")
        assert results[0].outcome == "cancelled"
        assert await runtime.sessions() == ()
        for ask in (session.view, lambda: runtime.view("s"), lambda: runtime.delete_session("s")):
            with pytest.raises(NotFound):
                await ask()
        again = await runtime.open_session(ECHO, id="s")
        assert (await again.ask("new")).text == "new"
        view = await check_journal(runtime, "s")
        assert (view.agent, view.metrics.runs) == ("echo", 1)
        await trio.sleep(1000)
        await runtime.delete_session("s")  # asleep
        assert await runtime.sessions() == ()


async def test_a_session_without_a_name_leaves_nothing(autojump_clock):
    """No record, no feed, no claim, no task; also where a turn of its own still ran."""
    async with open_runtime(SETTINGS, env={}) as runtime:
        async with runtime.session(SLOW) as session:
            await session.ask("warm up")
        before = live_tasks()
        for _ in range(20):
            async with runtime.session(SLOW) as session:
                await session.submit("go")
                await trio.sleep(0.3)
        assert await runtime.sessions() == ()
        assert runtime.statistics().sessions_open == resident(runtime) == 0
        assert live_tasks() == before
        with pytest.raises((NotFound, Conflict)):
            await session.ask("still there?")


async def test_asking_for_unknown_sessions_keeps_nothing(autojump_clock):
    """Neither a record, nor a claim, nor a place in memory."""
    async with open_runtime(SETTINGS, env={}) as runtime:
        for number in range(5):
            with pytest.raises(NotFound):
                await runtime.answer(f"no{number}", "a", "approved")
            with pytest.raises(NotFound):
                await runtime.rewind(f"no{number}", 1)
            with pytest.raises(NotFound):
                await runtime.reopen(f"no{number}")
            assert (await runtime.store.claim(f"no{number}", "another")).last_seq == 0
        assert resident(runtime) == 0
        await trio.sleep(200)
        assert await runtime.sessions() == ()


# --- the next runtime


async def test_everything_is_there_in_the_next_runtime(
    autojump_clock, tmp_path, check_journal, users, plain
):
    """History, state, labels, summary, metrics, numbers, events: over the same folder."""
    settings = attrs.evolve(
        SETTINGS, store=StoreSettings(kind="embedded", folder=str(tmp_path), durability="always")
    )
    async with open_runtime(settings, env={}) as runtime:
        session = await runtime.open_session(ECHO, id="s", user="ann", labels={"a": "b"})
        for number in range(30):
            await session.ask(str(number))
        await session.compact("twenty numbers", messages=40)
        await session.change_state({"x": {"y": [1]}})
        before = await session.view()
        told = await runtime.events("s")
    async with open_runtime(settings, env={}) as runtime:
        runtime.register(ECHO)
        assert plain(await runtime.events("s")) == plain(told)
        session = await runtime.reopen("s")
        view = await check_journal(runtime, "s")
        same = {"updated_at": 0, "last_seq": 0}
        assert attrs.evolve(view, **same) == attrs.evolve(before, **same)
        assert history_problems(view.history) == []
        await session.ask("more")
        assert (await runtime.events("s"))[-1].seq == (await session.view()).seq > before.seq
