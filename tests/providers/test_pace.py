"""Streams rest while the loop is late, and only then."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from actrio.providers._pace import COALESCED_BYTES, PASS_MAX, PERIOD_MAX, PERIOD_MIN, ReadPace

LATE = 10 * PASS_MAX


def late(pace: ReadPace, looks: int = 20) -> ReadPace:
    """Return ``pace`` after so many looks at a loop that is late."""
    for _ in range(looks):
        pace.note(LATE)
    return pace


@given(st.lists(st.floats(0, 10), max_size=60))
def test_the_period_stays_within_its_bounds(passes):
    """Whatever the loop does, a stream is read ten times a second, or rests not at all."""
    pace = ReadPace()
    for seconds in passes:
        pace.note(seconds)
        assert pace.period == 0 or PERIOD_MIN <= pace.period <= PERIOD_MAX


def test_one_hiccup_is_no_load():
    """A single pass that was a little long lets nobody rest."""
    pace = ReadPace()
    pace.note(PASS_MAX * 1.9)
    assert pace.period == 0


def test_a_late_loop_lets_streams_rest_longer_and_longer_and_a_calm_one_shorter():
    """Up to the longest rest within ten looks, and down to none within as many seconds."""
    pace = late(ReadPace(), 10)
    assert pace.period == PERIOD_MAX
    periods = []
    for _ in range(20):
        pace.note(0)
        periods.append(pace.period)
    assert periods == sorted(periods, reverse=True)
    assert periods[-1] == 0


def test_a_loop_that_is_neither_keeps_its_period():
    """Between late and calm nothing changes, so that it does not swing."""
    pace = late(ReadPace(), 4)
    for _ in range(30):
        pace.note(PASS_MAX * 0.75)
    before = pace.period
    pace.note(PASS_MAX * 0.75)
    assert pace.period == before > 0


def test_a_large_read_is_not_put_off():
    """It is worth its wake-up; a small one rests."""
    pace = late(ReadPace())
    pace._look_at = 1e9  # no look is due
    assert pace.wants_rest(0, 100)
    assert not pace.wants_rest(0, COALESCED_BYTES)


async def test_nobody_rests_while_the_loop_keeps_up(autojump_clock):
    """A look takes one pass of the loop and no time."""
    pace = ReadPace()
    began = trio.current_time()
    for _ in range(100):
        if pace.wants_rest(trio.current_time(), 100):
            await pace.rest(trio.current_time())
    assert (trio.current_time(), pace.rests) == (began, 0)


@pytest.mark.parametrize("streams", [1, 40])
async def test_all_rest_for_the_period_and_share_their_timers(autojump_clock, streams):
    """Each wakes within a slot of its time; nothing is left behind."""
    pace = late(ReadPace())
    pace._look_at = 1e9
    woke: list[float] = []

    async def stream(began: float) -> None:
        await trio.sleep(began)
        await pace.rest(trio.current_time())
        woke.append(trio.current_time() - began - start)

    start = trio.current_time()
    async with trio.open_nursery() as nursery:
        for number in range(streams):
            nursery.start_soon(stream, number * 0.0001)
        await trio.sleep(0.05)
        assert len(pace._slots) <= 3
    assert len(woke) == pace.rests == streams
    assert 0.89 * PERIOD_MAX < min(woke) <= max(woke) < 1.001 * PERIOD_MAX
    assert not pace._slots


async def test_streams_that_began_together_are_soon_read_apart(autojump_clock):
    """A pass of the loop reads about as many as any other; nobody rests for longer because of it."""
    pace = late(ReadPace())
    pace._look_at = 1e9
    crowds: list[int] = []
    rests: list[float] = []

    async def stream() -> None:
        while True:
            began = trio.current_time()
            await pace.rest(began)
            rests.append(trio.current_time() - began)

    async with trio.open_nursery() as nursery:
        for _ in range(500):
            nursery.start_soon(stream)
        for _ in range(50):
            await trio.sleep(0.0501)
            crowds.append(max(len(slot) for slot in pace._slots.values()))
        nursery.cancel_scope.cancel()
    assert crowds[0] > 150  # of those who came at once, a third and no more
    assert max(crowds[-10:]) < 80  # of ten timers' 50 on average
    assert 0.65 * PERIOD_MAX < min(rests) < max(rests) < 1.001 * PERIOD_MAX


async def test_who_leaves_wakes_those_whose_timer_it_kept(autojump_clock):
    """A cancelled rest ends at once; the others of its slot read early instead of never."""
    pace = late(ReadPace())
    pace._look_at = 1e9
    woke = []

    async def stream() -> None:
        await pace.rest(trio.current_time())
        woke.append(trio.current_time())

    async with trio.open_nursery() as nursery:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as leader:
                leader.start_soon(stream)
                await trio.testing.wait_all_tasks_blocked()
                nursery.start_soon(stream)
                nursery.start_soon(stream)
                await trio.testing.wait_all_tasks_blocked()
                scope.cancel()
        cancelled_at = trio.current_time()
    assert woke == [cancelled_at] * 2
    assert not pace._slots
