"""A session's feed: numbers, live events, subscribers that are slow, late or gone, a turn's owner."""

from __future__ import annotations

import attrs
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from actrio.errors import Overloaded, StorageUnavailable
from actrio.feeds import (
    MERGED_TEXT_MAX,
    Outlet,
    Replayed,
    SessionFeed,
    Subscription,
    TurnFeed,
    merge_deltas,
)
from actrio.messages import Gap, ItemCompleted, ItemDelta, ItemStarted

RING_MAX = 256
PACE_AT = 64


class Journal:
    """What was recorded, read in steps, as the sessions room reads its journal."""

    def __init__(self, *, step: int = 50, seconds: float = 0.0) -> None:
        self.events: list[ItemCompleted] = []
        self.first = 1
        self.reads = 0
        self.step = step
        self.seconds = seconds
        self.broken = False

    def add(self, count: int = 1, turn: str = "t") -> list[ItemCompleted]:
        seq = self.events[-1].seq if self.events else 0
        new = [
            ItemCompleted(
                session="s", turn=turn, seq=seq + n, ts=0.0, item=f"i{seq + n}", kind="message"
            )
            for n in range(1, count + 1)
        ]
        self.events += new
        return new

    async def replay(self, after: int) -> Replayed:
        self.reads += 1
        await trio.lowlevel.checkpoint()
        await trio.sleep(self.seconds)
        if self.broken:
            raise StorageUnavailable("The disk is gone.")
        found = self.events[max(after, self.first - 1) :]
        return Replayed(found[: self.step], self.first, len(found) <= self.step)


def feed_of(journal: Journal, **more) -> SessionFeed:
    return SessionFeed("s", replay=journal.replay, clock=lambda: 0.0, **more)


async def delta(feed: SessionFeed, text: str, turn: str = "t", item: str = "i") -> None:
    await feed.tell(ItemDelta, turn, {"item": item, "kind": "message", "text": text})


async def take(events: Subscription, count: int) -> list:
    with trio.fail_after(60):
        return [await events.__anext__() for _ in range(count)]


def text_of(events) -> str:
    return "".join(each.text for each in events if isinstance(each, ItemDelta))


# --- numbers


async def test_live_events_carry_the_last_number_and_a_counter_that_starts_again():
    """(seq, n) orders everything a reader sees; recorded events have no n."""
    journal = Journal()
    feed = feed_of(journal)
    feed.begin_at(0)
    async with feed.subscribe(None, pace=False) as events:
        await delta(feed, "a")
        await delta(feed, "b", item="j")
        feed.publish(journal.add())
        await delta(feed, "c")
        seen = await take(events, 4)
    assert [(each.seq, each.n) for each in seen] == [(0, 1), (0, 2), (1, None), (1, 1)]


async def test_nobody_listens_to_a_turn_without_owner_and_subscriber():
    """Then live-only events need not be made; any listener changes that at once."""
    feed = feed_of(Journal())
    feed.begin_at(0)
    turn = TurnFeed(feed, "t")
    assert not turn.live
    async with feed.subscribe(None, pace=False):
        assert turn.live
    assert not turn.live
    feed.own("t", Outlet(emit=None, emit_nowait=lambda _: True, stall_seconds=1))
    assert turn.live
    assert not TurnFeed(feed, "other").live
    feed.disown("t")
    assert not turn.live


async def test_a_session_has_so_many_subscribers_and_no_more():
    """The 65th is told on entry; a place is free again when one leaves; statistics show it."""
    feed = feed_of(Journal())
    async with trio.open_nursery() as nursery:

        async def listen():
            async with feed.subscribe(None, pace=False) as events:
                await events.__anext__()

        for _ in range(64):
            nursery.start_soon(listen)
        await wait_all_tasks_blocked()
        with pytest.raises(Overloaded) as caught:
            async with feed.subscribe(None, pace=False):
                pass
        assert caught.value.data == {"limit": 64}
        assert feed.statistics().subscribers == feed.statistics().subscribers_max == 64
        nursery.cancel_scope.cancel()
    assert feed.statistics().subscribers == 0
    async with feed.subscribe(None, pace=False):
        pass


async def test_the_last_subscriber_to_leave_is_told_of():
    """So whoever keeps feeds can drop those that nobody uses."""
    told = []
    feed = feed_of(Journal(), on_unused=lambda: told.append(1))
    async with feed.subscribe(None, pace=False):
        async with feed.subscribe(None, pace=False):
            pass
        assert told == []
    assert told == [1]


# --- replay, then live


async def test_a_bookmark_is_replayed_and_goes_live_without_gap_or_duplicate():
    """Everything behind it once, whatever was written before, during and after the reading."""
    journal = Journal(step=10)
    feed = feed_of(journal)
    feed.publish(journal.add(35))
    async with feed.subscribe(5, pace=False) as events:
        first = await take(events, 3)
        feed.publish(journal.add(5))
        rest = await take(events, 32)
        feed.publish(journal.add(1))
        last = await take(events, 1)
    assert [each.seq for each in (*first, *rest, *last)] == list(range(6, 42))


async def test_what_is_written_while_the_journal_is_read_is_told_once(autojump_clock):
    """It may be in what was read, and it is told live; also when it is told before it is read."""
    journal = Journal(seconds=1.0)
    feed = feed_of(journal)
    feed.publish(journal.add(3))
    async with feed.subscribe(0, pace=False) as events, trio.open_nursery() as nursery:
        seen = []

        async def read():
            seen.extend(await take(events, 5))

        nursery.start_soon(read)
        await trio.sleep(0.5)
        feed.publish(journal.add(1))  # is read, and waits as live already
        await trio.sleep(1)
        feed.publish(journal.add(1))
    assert [each.seq for each in seen] == [1, 2, 3, 4, 5]


async def test_without_a_bookmark_only_what_comes_is_told():
    """Also where the session was not in memory yet, and its reader falls behind at once."""
    journal = Journal()
    journal.add(100)
    feed = feed_of(journal)  # its number is not known yet
    async with feed.subscribe(None, pace=False) as events:
        feed.begin_at(100)
        feed.publish(journal.add(RING_MAX + 50))
        seen = await take(events, RING_MAX + 50)
        assert [each.seq for each in seen] == list(range(101, 101 + RING_MAX + 50))
    async with feed.subscribe(None, pace=False) as events:
        feed.publish(journal.add())
        assert [each.seq for each in await take(events, 1)] == [101 + RING_MAX + 50]


async def test_a_trimmed_past_is_told_as_a_gap():
    """First what is missing, then what is still there."""
    journal = Journal()
    feed = feed_of(journal)
    feed.publish(journal.add(20))
    journal.first = 15
    async with feed.subscribe(3, pace=False) as events:
        gap, *rest = await take(events, 7)
    assert isinstance(gap, Gap)
    assert (gap.first_available, gap.seq, gap.recorded) == (15, 14, False)
    assert [each.seq for each in rest] == list(range(15, 21))
    async with feed.subscribe(14, pace=False) as events:
        assert [each.seq for each in await take(events, 1)] == [15]


@pytest.mark.parametrize("pace", [True, False])
async def test_a_cancelled_wait_loses_nothing(pace, autojump_clock):
    """A reader with a heartbeat cancels its wait in the middle of a replay, and goes on."""
    journal = Journal(step=4, seconds=1.0)
    feed = feed_of(journal)
    feed.publish(journal.add(10))
    seen = []
    async with feed.subscribe(0, pace=pace) as events:
        for beat in range(40):
            with trio.move_on_after(0.5 if beat % 2 else 1.5):
                while True:
                    seen.append(await events.__anext__())
    assert [each.seq for each in seen] == list(range(1, 11))


async def test_a_replay_that_fails_is_told_and_can_be_tried_again():
    """The reader gets the store's error; what it missed is still before it."""
    journal = Journal()
    feed = feed_of(journal)
    feed.publish(journal.add(3))
    journal.broken = True
    async with feed.subscribe(0, pace=False) as events:
        with pytest.raises(StorageUnavailable):
            await events.__anext__()
        journal.broken = False
        assert [each.seq for each in await take(events, 3)] == [1, 2, 3]


async def test_readers_of_one_subscription_share_it(autojump_clock):
    """Each event goes to one of them, and none waits while there is something to read."""
    journal = Journal(seconds=1.0)
    feed = feed_of(journal)
    feed.publish(journal.add(2))
    seen = []
    async with feed.subscribe(0, pace=False) as events, trio.open_nursery() as nursery:

        async def read():
            seen.append((await events.__anext__()).seq)

        nursery.start_soon(read)
        nursery.start_soon(read)
    assert sorted(seen) == [1, 2]


async def test_closing_ends_subscriptions_once_they_have_read_what_waits():
    """StopAsyncIteration, for those who wait and for those who come later."""
    journal = Journal()
    feed = feed_of(journal)
    feed.begin_at(0)
    async with feed.subscribe(None, pace=False) as events:
        feed.publish(journal.add(2))
        feed.close()
        assert [each.seq async for each in events] == [1, 2]
    async with feed.subscribe(0, pace=False) as events:
        assert [each async for each in events] == []


async def test_what_another_writer_told_is_caught_up():
    """A session that comes back with a higher number was written elsewhere meanwhile."""
    journal = Journal()
    feed = feed_of(journal)
    feed.publish(journal.add(2))
    async with feed.subscribe(0, pace=False) as events:
        await take(events, 2)
        journal.add(3)  # by somebody else
        feed.begin_at(5)
        feed.publish(journal.add(1))
        assert [each.seq for each in await take(events, 4)] == [3, 4, 5, 6]
        feed.begin_at(6)  # read again, nothing missed
        feed.publish(journal.add(1))
        reads = journal.reads
        assert [each.seq for each in await take(events, 1)] == [7]
        assert journal.reads == reads


# --- slow readers


async def test_a_reader_that_falls_behind_gets_recorded_events_and_loses_deltas_only():
    """Nobody waits for it; what waits for it is bounded; deltas that wait are merged."""
    journal = Journal()
    feed = feed_of(journal)
    feed.begin_at(0)
    async with feed.subscribe(None, pace=False) as events:
        for number in range(RING_MAX * 2):
            await delta(feed, f"{number} ", item=f"i{number}")
            feed.publish(journal.add())
        assert feed.waiting_peak <= RING_MAX
        assert feed.statistics().left_behind == 1
        seen = []
        with trio.move_on_after(0):
            while True:
                seen.append(await events.__anext__())
        while len(seen) < RING_MAX * 2 or seen[-1].seq < RING_MAX * 2:
            seen.append(await events.__anext__())
        feed.publish(journal.add())
        seen += await take(events, 1)
    recorded = [each.seq for each in seen if each.n is None]
    assert recorded == list(range(1, RING_MAX * 2 + 2))


@pytest.mark.parametrize("pace", [True, False])
async def test_deltas_of_a_slow_reader_merge_without_loss(pace, autojump_clock):
    """One item's text is whole for a reader that is far behind, in few events."""
    feed = feed_of(Journal())
    feed.begin_at(0)
    async with feed.subscribe(None, pace=pace) as events:
        for number in range(5000):
            await delta(feed, f"w{number} ")
        seen = []
        with trio.move_on_after(1):
            while True:
                seen.append(await events.__anext__())
    assert text_of(seen) == "".join(f"w{number} " for number in range(5000))
    assert len(seen) <= 2
    assert [each.n for each in seen] == sorted(each.n for each in seen)


def test_a_merged_delta_has_a_largest_size_and_one_item():
    """Beyond it, and over a change of item, kind or attempt, deltas stay apart."""
    one = ItemDelta(session="s", turn="t", seq=0, ts=0, n=1, item="i", kind="message", text="ab")
    two = attrs.evolve(one, n=2, text="cd")
    assert merge_deltas(one, two) == attrs.evolve(two, text="abcd")
    for other in (
        attrs.evolve(two, item="j"),
        attrs.evolve(two, kind="thinking"),
        attrs.evolve(two, attempt=2),
        attrs.evolve(two, text="x" * MERGED_TEXT_MAX),
        ItemStarted(session="s", turn="t", seq=0, ts=0, n=2, item="i", kind="message"),
    ):
        assert merge_deltas(one, other) is None


async def test_a_pacing_reader_is_waited_for_and_loses_nothing(autojump_clock):
    """The writer runs at most so far ahead; a reader that does not pace never slows it."""
    journal = Journal()
    feed = feed_of(journal)
    feed.begin_at(0)
    seen = []
    async with trio.open_nursery() as nursery:

        async def read():
            async with feed.subscribe(None, pace=True) as events:
                while len(seen) < 400:
                    seen.append(await events.__anext__())
                    await trio.sleep(0.1)

        async with feed.subscribe(None, pace=False):
            nursery.start_soon(read)
            await wait_all_tasks_blocked()
            for number in range(400):
                await delta(feed, "x", item=f"i{number}")
                assert number - len(seen) <= PACE_AT
            assert trio.current_time() > 30
    assert len(seen) == 400


async def test_a_pacing_reader_that_takes_nothing_is_waited_for_so_long_and_no_longer(
    autojump_clock,
):
    """After stall_seconds the turn goes on without it; it catches up from the journal."""
    journal = Journal()
    feed = feed_of(journal, stall_seconds=7.0)
    feed.begin_at(0)
    async with feed.subscribe(None, pace=True) as events:
        began = trio.current_time()
        for _ in range(300):
            feed.publish(journal.add())
            await feed.settle("t")
        assert trio.current_time() - began == pytest.approx(7.0)
        assert [each.seq for each in await take(events, 300)] == list(range(1, 301))
        feed.publish(journal.add())
        await feed.settle("t")
        assert [each.seq for each in await take(events, 1)] == [301]


async def test_a_pacing_reader_that_leaves_lets_the_turn_go_on(autojump_clock):
    """At once, not after the stall."""
    feed = feed_of(Journal())
    feed.begin_at(0)
    async with trio.open_nursery() as nursery:
        async with feed.subscribe(None, pace=True):

            async def write():
                for number in range(200):
                    await delta(feed, "x", item=f"i{number}")

            nursery.start_soon(write)
            await wait_all_tasks_blocked()
            began = trio.current_time()
    assert trio.current_time() == began


# --- any schedule

moves = st.lists(
    st.tuples(
        st.sampled_from(["record", "delta", "burst", "rest", "other writer", "trim"]),
        st.integers(1, 120),
    ),
    min_size=1,
    max_size=25,
)


@settings(max_examples=30, deadline=None)
@given(
    moves=moves,
    after=st.sampled_from([0, 7, None]),
    pace=st.booleans(),
    step=st.sampled_from([20, 300]),
    read_seconds=st.sampled_from([0.0, 0.01, 0.3]),
    patience=st.sampled_from([None, 0.6]),
    replay_seconds=st.sampled_from([0.0, 0.02, 0.5]),
)
def test_whatever_the_schedule_a_subscriber_gets_each_recorded_event_once_and_in_order(
    moves, after, pace, step, read_seconds, patience, replay_seconds
):
    """Slow readers, heartbeats, bursts, other writers, trimmed pasts: no gap that is not told."""

    async def main():
        journal = Journal(step=step, seconds=replay_seconds)
        feed = feed_of(journal, stall_seconds=2.0)
        feed.publish(journal.add(10))
        seen = []
        async with (
            feed.subscribe(after, pace=pace) as events,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(_read, events, seen, read_seconds, patience)
            await _write(moves, feed, journal)
            await trio.sleep(500)
            nursery.cancel_scope.cancel()
        _check(seen, 10 if after is None else after, journal.events[-1].seq)

    trio.run(main, clock=MockClock(autojump_threshold=0))


async def _read(events, seen, read_seconds, patience):
    while True:
        with trio.move_on_after(patience if patience is not None else 1e6):
            while True:
                seen.append(await events.__anext__())
                await trio.lowlevel.checkpoint()
                if read_seconds:
                    with trio.CancelScope(shield=True):
                        await trio.sleep(read_seconds)
        await trio.sleep(0.01)


async def _write(moves, feed, journal):
    for kind, count in moves:
        match kind:
            case "record":
                feed.publish(journal.add(1 + count % 3))
                await feed.settle("t")
            case "delta":
                for number in range(count):
                    await delta(feed, "x", item=f"i{number % 5}")
            case "burst":
                feed.publish(journal.add(count * 3))
            case "rest":
                await trio.sleep(count / 50)
            case "other writer":
                journal.add(count)
                feed.begin_at(journal.events[-1].seq)
            case "trim":
                journal.first = max(1, journal.events[-1].seq - count)


def _check(seen, position, last):
    n = 0
    for event in seen:
        if isinstance(event, Gap):
            assert event.first_available > position + 1
            position, n = event.seq, 0
        elif event.n is None:
            assert event.seq == position + 1, "each recorded event once, in order"
            position, n = event.seq, 0
        else:
            assert event.seq == position, "a live event belongs where the reader is"
            assert event.n > n
            n = event.n
    assert position == last, "nothing is left"


# --- the owner of a turn


class Owner:
    """A reader with so much credit."""

    def __init__(self, credit: int) -> None:
        self.credit = credit
        self.got: list = []
        self._lot = trio.lowlevel.ParkingLot()

    def emit_nowait(self, event) -> bool:
        if self.credit <= 0:
            return False
        self.credit -= 1
        self.got.append(event)
        return True

    async def emit(self, event) -> None:
        await trio.lowlevel.checkpoint()
        while not self.emit_nowait(event):
            await self._lot.park()

    def give(self, credit: int) -> None:
        self.credit += credit
        self._lot.unpark_all()


async def test_an_owner_gets_everything_of_its_turn_in_order(autojump_clock):
    """Whichever of the turn's tasks sends, and whoever waits for room."""
    journal = Journal()
    feed = feed_of(journal)
    feed.begin_at(0)
    owner = Owner(credit=3)
    outlet = Outlet(owner.emit, owner.emit_nowait, stall_seconds=30)
    feed.own("t", outlet)
    async with trio.open_nursery() as nursery:

        async def send(name):
            for number in range(50):
                await delta(feed, f"{name}{number}", item=name)
                feed.publish(journal.add())
                await feed.settle("t")
                await delta(feed, "-", turn="other")

        async def read():
            while len(owner.got) < 400:
                await trio.sleep(0.1)
                owner.give(2)

        for name in "abcd":
            nursery.start_soon(send, name)
        nursery.start_soon(read)
    assert not outlet.detached
    assert {each.turn for each in owner.got} == {"t"}
    assert [each.seq for each in owner.got if each.n is None] == list(range(1, 201))
    for name in "abcd":
        texts = [e.text for e in owner.got if isinstance(e, ItemDelta) and e.item == name]
        assert texts == [f"{name}{number}" for number in range(50)]


async def test_an_owner_that_stalls_is_left_behind_and_catches_up_at_its_pace(autojump_clock):
    """The turn waits stall_seconds once; then the owner gets its recorded events from the journal."""
    journal = Journal(step=7)
    feed = feed_of(journal)
    feed.begin_at(0)
    owner = Owner(credit=2)
    outlet = Outlet(owner.emit, owner.emit_nowait, stall_seconds=5)
    feed.own("t", outlet)
    began = trio.current_time()
    for number in range(40):
        feed.publish(journal.add(turn="t" if number % 4 else "other"))
        await feed.settle("t")
    assert outlet.detached
    assert trio.current_time() - began == pytest.approx(5)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(outlet.catch_up, journal.replay, "t")
        for _ in range(40):
            await trio.sleep(1)
            owner.give(1)
    wanted = [each.seq for each in journal.events if each.turn == "t"]
    assert [each.seq for each in owner.got] == wanted


async def test_a_cancelled_flush_sends_the_same_event_next_time(autojump_clock):
    """What was not sent stays, and goes first."""
    journal = Journal()
    feed = feed_of(journal)
    feed.begin_at(0)
    owner = Owner(credit=1)
    feed.own("t", Outlet(owner.emit, owner.emit_nowait, stall_seconds=30))
    with trio.move_on_after(1):
        feed.publish(journal.add(4))
        await feed.settle("t")
    owner.give(10)
    await feed.settle("t")
    assert [each.seq for each in owner.got] == [1, 2, 3, 4]
