"""What listeners get: owners, subscribers early and late, slow and gone, and a replay."""

from __future__ import annotations

import attrs
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from actrio import Agent, ItemCompleted, ItemDelta, ItemStarted, TurnCompleted, open_runtime, tool
from actrio.errors import TurnAborted
from actrio.messages import Gap, StateUpdated, TurnCancelled
from actrio.runtime import Limits, Settings
from actrio.sessions import oldest_records, replayed


@tool
async def dig(depth: int) -> str:
    """Dig a hole."""
    await trio.sleep(0.5)
    return "dug " * 20


DIGGER = Agent("digger", model="scripted:demo?ttft=100ms&itl=10ms&tools=2", tools=[dig])
TALKER = Agent("talker", model="scripted:tokens?tokens=50&itl=10ms")


async def collect(session, into, *, count=None, **how):
    """Put a session's events into a list; end with so many turns, or with the session."""
    async with session.subscribe(**how) as events:
        async for event in events:
            into.append(event)
            if isinstance(event, (TurnCompleted, TurnCancelled)) and count is not None:
                count -= 1
                if not count:
                    return


async def test_owner_subscriber_and_replay_tell_the_same(
    autojump_clock, check_order, check_journal, plain
):
    """Recorded events are equal, times too, whoever got them and whenever; live ones are alike."""
    async with open_runtime(env={}) as runtime:
        session = await runtime.open_session(DIGGER, id="s")
        first, paced, owned = [], [], []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: collect(session, first, from_seq=0, count=3))
            nursery.start_soon(lambda: collect(session, paced, from_seq=0, pace=True, count=3))
            await wait_all_tasks_blocked()
            for _ in range(2):
                async with session.turn("dig") as turn:
                    owned += [event async for event in turn]
            await session.change_state({"x": 1})
            await session.submit("dig on")
        check_order(first)
        check_order(paced)
        check_order(owned)
        told = await runtime.events("s")
        assert plain(first) == plain(paced) == plain(told)
        stored = await oldest_records(runtime.store, "s")
        assert plain(replayed("s", stored)) == plain(told)
        turns = {each.turn for each in owned}
        assert plain(owned) == plain([each for each in told if each.turn in turns])
        assert sum(isinstance(each, StateUpdated) for each in first) == 1
        late = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: collect(session, late, from_seq=0, count=3))
        assert plain(late) == plain(told)
        assert not any(isinstance(each, (ItemStarted, ItemDelta)) for each in late)


async def test_deltas_make_the_text_that_the_completed_item_repeats(autojump_clock, check_order):
    """For a reader that keeps up; the completed item is what counts."""
    async with open_runtime(env={}) as runtime, runtime.session(TALKER) as session:
        seen = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: collect(session, seen, count=1))
            await wait_all_tasks_blocked()
            result = await session.ask("go")
        check_order(seen)
        deltas = [each for each in seen if isinstance(each, ItemDelta)]
        assert len(deltas) == 50
        (item,) = [each for each in seen if isinstance(each, ItemCompleted)]
        assert "".join(each.text for each in deltas) == item.text == result.text
        assert [each.n for each in seen if each.n] == list(range(1, 52))


async def test_nobody_pays_for_live_events_that_nobody_hears(autojump_clock, monkeypatch):
    """Without owner and subscriber no live-only event is made; recorded ones are as always."""
    made = []
    original = ItemDelta.__init__

    def counted(self, *args, **more):
        made.append(1)
        original(self, *args, **more)

    monkeypatch.setattr(ItemDelta, "__init__", counted)
    async with open_runtime(env={}) as runtime, runtime.session(TALKER, id="s") as session:
        accepted = await session.submit("go")
        assert (await session.wait(accepted.turn)).text
        assert made == []
        assert (await runtime.events("s"))[-1].result.text
        seen = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: collect(session, seen, count=1))
            await wait_all_tasks_blocked()
            await session.submit("go")
        assert len(made) == 50


async def test_a_subscriber_of_a_sleeping_session_wakes_nothing_and_misses_nothing(
    autojump_clock, check_order, plain
):
    """It reads the journal, waits, and hears the session when it comes back."""
    settings = Settings(limits=Limits(idle_seconds=60))
    async with open_runtime(settings, env={}) as runtime:
        session = await runtime.open_session(DIGGER, id="s")
        await session.ask("dig")
        first = await runtime.events("s")
        await trio.sleep(1000)
        all_of_it, from_now = [], []
        early = session.subscribe(0)  # made now, entered when the session has come and gone
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: collect(session, all_of_it, from_seq=0, count=3))
            nursery.start_soon(lambda: collect(session, from_now, count=2))
            await trio.sleep(1000)
            assert runtime.statistics().sessions_resident == 0
            await session.ask("dig")
            await trio.sleep(1000)
            assert runtime.statistics().sessions_resident == 0
            await session.ask("dig")
        told = await runtime.events("s")
        assert plain(all_of_it) == plain(told)
        assert plain(from_now) == plain([e for e in told if e.seq >= from_now[0].seq])
        check_order(all_of_it[len(first) :])
        async with early:
            await session.ask("more")
            seen = []
            while len(seen) < len(await runtime.events("s")):
                seen.append(await early.__anext__())
        assert plain(seen) == plain(await runtime.events("s"))


async def test_subscribers_live_through_a_crash_of_the_session(autojump_clock, plain):
    """The numbers go on; what was written and not told is told."""
    async with open_runtime(env={}) as runtime, runtime.session(DIGGER, id="s") as session:
        seen = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: collect(session, seen, from_seq=0))
            await session.ask("dig")
            await session.submit("dig")
            await trio.sleep(0.3)
            session.ref.control("nonsense")  # an invariant of ours is broken
            await trio.sleep(20)
            await session.ask("dig")
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        assert runtime.statistics().restarts == 1
        told = await runtime.events("s")
        assert plain(seen) == plain(told)
        assert [each.seq for each in told] == list(range(1, len(told) + 1))


async def test_subscriptions_end_with_the_session_and_with_the_runtime(autojump_clock):
    """No reader waits for what cannot come."""
    ended = []

    async def listen(session, name):
        seen = []
        await collect(session, seen, from_seq=0)
        ended.append(name)

    async with trio.open_nursery() as nursery:
        async with open_runtime(env={}) as runtime:
            gone = await runtime.open_session(TALKER, id="gone")
            stays = await runtime.open_session(TALKER, id="stays")
            nursery.start_soon(listen, gone, "gone")
            nursery.start_soon(listen, stays, "stays")
            await stays.ask("go")
            await wait_all_tasks_blocked()
            await runtime.delete_session("gone")
            await wait_all_tasks_blocked()
            assert ended == ["gone"]
        await wait_all_tasks_blocked()
        assert ended == ["gone", "stays"]
        await listen(stays, "late")
    assert ended[-1] == "late"


async def test_a_pacing_subscriber_is_waited_for_and_a_stalled_one_is_left(autojump_clock, plain):
    """It slows the turn down; once it reads nothing for stall_seconds, the turn goes on."""
    settings = Settings(limits=Limits(stall_seconds=20))
    agent = attrs.evolve(DIGGER, model="scripted:demo?tools=64", steps_max=3)
    async with open_runtime(settings, env={}) as runtime:
        session = await runtime.open_session(agent, id="s")
        began = trio.current_time()
        await session.ask("go")
        alone = trio.current_time() - began
        at = (await session.view()).seq
        seen = []
        async with session.subscribe(at, pace=True) as events:
            seen.append(await _first(events, session))
            began = trio.current_time()
            result = await session.ask("again")
            assert trio.current_time() - began == pytest.approx(alone + 20, abs=1)
            assert result.outcome == "completed"
            while not isinstance(seen[-1], TurnCompleted):
                seen.append(await events.__anext__())
        assert plain(seen) == plain(await runtime.events("s", from_seq=at))


async def _first(events, session):
    await session.change_state({"x": 1})
    return await events.__anext__()


async def test_an_owner_that_stalls_gets_its_events_from_the_journal(
    autojump_clock, plain, check_journal
):
    """Its slot is freed, others go on, and when it reads again nothing recorded is missing."""
    settings = Settings(limits=Limits(stall_seconds=20, turns=1))
    agent = attrs.evolve(DIGGER, model="scripted:demo?tools=64&itl=1ms", steps_max=3)
    async with open_runtime(settings, env={}) as runtime:
        session = await runtime.open_session(agent, id="s")
        other = await runtime.open_session(TALKER, id="other")
        owned = []
        async with session.turn("go") as turn:
            owned.append(await turn.__anext__())
            began = trio.current_time()
            assert (await other.ask("hi")).outcome == "completed"
            assert trio.current_time() - began < 120
            second = await session.submit("next")
            assert (await session.wait(second.turn)).outcome == "completed"
            owned += [event async for event in turn]
        assert turn.result.outcome == "completed"
        told = [each for each in await runtime.events("s") if each.turn == turn.id]
        assert plain(owned) == plain(told)
        await check_journal(runtime, "s")


async def test_a_trimmed_past_is_a_gap(autojump_clock):
    """A subscriber from the beginning is told where it begins; a replay begins there too."""
    async with open_runtime(env={}) as runtime:
        session = await runtime.open_session(TALKER, id="s")
        for _ in range(60):
            await session.ask("go")
        last = (await session.view()).seq
        await runtime.close_session("s")
        entry = (await runtime.sessions())[0]
        claim = await runtime.store.claim("s", "housekeeper")
        await runtime.store.trim(claim, entry.checkpoint_seq)
        await runtime.store.release(claim)
        session = await runtime.open_session(TALKER, id="s")
        async with session.subscribe(3) as events:
            gap = await events.__anext__()
            assert isinstance(gap, Gap)
            assert 4 < gap.first_available <= last + 1
            await session.ask("more")
            seen = [await events.__anext__()]
            while not isinstance(seen[-1], TurnCompleted) or seen[-1].seq <= last:
                seen.append(await events.__anext__())
        assert next(e.seq for e in seen if e.n is None) == gap.first_available
        assert (await runtime.events("s"))[0].seq == gap.first_available


async def test_a_cancelled_turn_tells_its_end_to_all(autojump_clock, check_order, plain):
    """Items complete as cancelled, then the end with its reason; for owner and subscribers."""
    async with open_runtime(env={}) as runtime, runtime.session(TALKER, id="s") as session:
        seen, owned = [], []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: collect(session, seen, from_seq=0, count=1))
            async with session.turn("go") as turn:
                async for event in turn:
                    owned.append(event)
                    if len(owned) == 10:
                        session.cancel(reason="enough")
        check_order(owned)
        check_order(seen)
        assert plain(owned) == plain(seen) == plain(await runtime.events("s"))
        assert isinstance(seen[-1].result.error, TurnAborted)
        assert seen[-2].status == "cancelled"
        deltas = "".join(each.text for each in seen if isinstance(each, ItemDelta))
        assert seen[-2].text == deltas == seen[-1].result.text


# --- any schedule

listener = st.fixed_dictionaries(
    {
        "after": st.sampled_from([0, 5, None]),
        "pace": st.booleans(),
        "joins": st.floats(0, 6),
        "reads": st.sampled_from([0.0, 0.005, 0.1, 1.0, 40.0]),
        "leaves": st.sampled_from([1e6, 3.0]),
    }
)
act = st.tuples(
    st.sampled_from(["submit", "own", "cancel", "interrupt", "state", "sleep", "crash"]),
    st.floats(0, 2),
)


def survivable(acts):
    """Tell whether the session lives: a fourth crash in a row would be its last."""
    return [kind for kind, _ in acts].count("crash") <= 3


@settings(max_examples=15, deadline=None)
@given(
    listeners=st.lists(listener, min_size=1, max_size=4),
    acts=st.lists(act, max_size=8).filter(survivable),
)
def test_every_listener_of_a_live_session_gets_each_recorded_event_once(listeners, acts):
    """Whatever the session goes through and however slowly they read."""

    async def main():
        limits = Limits(stall_seconds=5, idle_seconds=30)
        async with open_runtime(Settings(limits=limits), env={}) as runtime:
            session = await runtime.open_session(DIGGER, id="s")
            heard = [[] for _ in listeners]
            async with trio.open_nursery() as nursery:
                for how, seen in zip(listeners, heard, strict=True):
                    nursery.start_soon(_listen, session, how, seen)
                for kind, pause in acts:
                    await _act(session, kind, nursery)
                    await trio.sleep(pause)
                await trio.sleep(50_000)
                nursery.cancel_scope.cancel()
            told = await runtime.events("s", limit=100_000)
            assert [each.seq for each in told] == list(range(1, len(told) + 1))
            for how, seen in zip(listeners, heard, strict=True):
                _check_heard(how, seen, told)

    trio.run(main, clock=MockClock(autojump_threshold=0))


async def _listen(session, how, seen):
    await trio.sleep(how["joins"])
    async with session.subscribe(how["after"], pace=how["pace"]) as events:
        with trio.move_on_after(how["leaves"]):
            async for event in events:
                seen.append(event)
                await trio.sleep(how["reads"])


async def _act(session, kind, nursery):
    match kind:
        case "submit":
            await session.submit("dig", if_busy="steer")
        case "own":
            nursery.start_soon(_own, session)
        case "cancel":
            session.cancel()
        case "interrupt":
            await session.submit("dig", if_busy="interrupt")
        case "state":
            await session.change_state({"x": trio.current_time()})
        case "sleep":
            await trio.sleep(500)
        case "crash":
            session.ref.control("nonsense")


async def _own(session):
    async with session.turn("dig") as turn:
        async for _ in turn:
            pass


def _check_heard(how, seen, told):
    recorded = [each.seq for each in seen if each.n is None]
    if recorded:
        begins = recorded[0] if how["after"] is None else how["after"] + 1
        assert recorded == list(range(begins, begins + len(recorded)))
    if how["leaves"] > 10 and how["after"] is not None and len(told) > how["after"]:
        assert recorded[-1] == len(told)
    position = None
    for event in seen:
        key = (event.seq, event.n or 0)
        assert position is None or key > position, "in order, none twice"
        position = key
