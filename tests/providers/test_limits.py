"""The pure machines behind admission, by their invariants."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actrio.errors import ConfigError
from actrio.providers import ConnectionLimits
from actrio.providers._limits import Bucket, ConcurrencyLimit, Pause

STEPS = st.lists(
    st.tuples(st.sampled_from(["accepted", "refused", "paused", "late"]), st.integers(1, 200)),
    max_size=200,
)


@given(st.integers(1, 200), STEPS)
def test_the_limit_stays_within_its_bounds(maximum, steps):
    """Whatever happens, at least one call may run and at most the maximum."""
    limit = ConcurrencyLimit(maximum)
    for what, running in steps:
        before, epoch = limit.limit, limit.epoch
        if what == "accepted":
            limit.accepted(limit.epoch, running)
            assert before <= limit.limit <= before + 1
        elif what == "late":
            limit.accepted(limit.epoch - 1, running)
            assert not limit.refused(limit.epoch - 1, running, slow_start=True)
            assert (limit.limit, limit.epoch) == (before, epoch)
        else:
            assert limit.refused(limit.epoch, running, slow_start=what == "paused")
            assert limit.epoch == epoch + 1
            assert limit.limit <= max(1, before // 2 + 1)
        assert 1 <= limit.limit <= maximum


@given(st.integers(2, 100), st.integers(0, 50))
def test_refusals_of_one_wave_are_one_piece_of_news(running, more):
    """Fifty calls refused together cut the limit once."""
    limit = ConcurrencyLimit(100)
    epoch = limit.epoch
    assert limit.refused(epoch, running, slow_start=False)
    after = limit.limit
    for _ in range(more):
        assert not limit.refused(epoch, running, slow_start=False)
    assert limit.limit == after == max(1, running // 2)


def test_unused_room_proves_nothing():
    """Without calls that use the limit up it does not grow."""
    limit = ConcurrencyLimit(100)
    limit.refused(0, 40, slow_start=False)
    for _ in range(100):
        limit.accepted(limit.epoch, 5)
    assert limit.limit == 20


def test_after_a_pause_it_grows_quickly_to_half_and_then_slowly():
    """An eighth starts at once; each call adds one up to the threshold, then a fraction."""
    limit = ConcurrencyLimit(100)
    limit.refused(0, 80, slow_start=True)
    assert limit.limit == 10
    for _ in range(30):
        limit.accepted(limit.epoch, limit.limit)
    assert limit.limit == 40
    for _ in range(40):
        limit.accepted(limit.epoch, limit.limit)
    assert limit.limit in {40, 41}


@given(st.integers(1, 90))
def test_it_finds_what_the_provider_takes(capacity):
    """Against a provider that takes so many calls, the limit swings between half and one more."""
    limit = ConcurrencyLimit(100)
    seen = []
    for turn in range(4000):
        running = limit.limit
        if running > capacity:
            limit.refused(limit.epoch, running, slow_start=False)
        else:
            limit.accepted(limit.epoch, running)
        if turn > 2000:
            seen.append(running)
    assert max(seen) <= capacity + 1
    assert min(seen) >= capacity // 2


@given(
    st.integers(1, 600),
    st.lists(st.floats(0, 5, allow_nan=False), min_size=1, max_size=400),
)
def test_no_minute_has_more_requests_than_the_quota(per_minute, gaps):
    """However the requests come, no 60 seconds see more than the quota."""
    bucket = Bucket(per_minute)
    now = 0.0
    taken: list[float] = []
    for gap in gaps:
        now += gap
        wait = bucket.wait_seconds(now)
        assert wait >= 0
        now += wait
        assert bucket.wait_seconds(now) < 1e-6
        bucket.take(now, 1)
        taken.append(now)
    for first, start in enumerate(taken):
        window = [at for at in taken[first:] if at < start + 60 - 1e-6]
        assert len(window) <= per_minute


@given(st.floats(100, 1e6), st.lists(st.floats(0, 1e5), min_size=1, max_size=50))
def test_tokens_may_be_owed_and_are_paid_back(per_minute, costs):
    """Costs known afterwards are spent all the same: over time no more than the quota flows."""
    bucket = Bucket(per_minute, 1 / 6)
    now = 0.0
    for cost in costs:
        now += bucket.wait_seconds(now)
        bucket.take(now, cost)
    allowed = per_minute / 6 + now * per_minute / 60 + max(costs)
    assert sum(costs) <= allowed * (1 + 1e-6) + 1


def test_a_guess_that_was_too_high_is_given_back():
    """A negative amount fills the bucket, and never beyond its burst."""
    bucket = Bucket(600, 1 / 6)
    bucket.take(0, 100)
    assert bucket.wait_seconds(0) > 0
    bucket.take(0, -1000)
    assert bucket.wait_seconds(0, 100) == 0
    bucket.take(0, 100)
    assert bucket.wait_seconds(0) > 0


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(-1, 300), st.floats(0, 1)), max_size=50))
def test_a_pause_only_grows(extensions):
    """It never ends before anything that was stated, and at most five seconds after."""
    pause = Pause()
    now = 0.0
    latest = 0.0
    for gap, seconds, chance in extensions:
        now += gap
        pause.extend(now, seconds, chance)
        if seconds > 0:
            latest = max(latest, now + seconds)
        assert pause.remaining(now) >= latest - now - 1e-9
        assert pause.remaining(now) <= max(0.0, latest - now) + 5.0 + 1e-9


def test_one_pause_stated_by_many_is_one():
    """What all calls in work are told at the same time counts once."""
    pause = Pause()
    for _ in range(50):
        pause.extend(10.0, 30.0, 0.5)
    assert pause.count == 1
    assert pause.until == pytest.approx(41.5)


@pytest.mark.parametrize(
    "wrong",
    [
        {"retries_max": -1},
        {"retries_max": 1.5},
        {"queue_max": 0},
        {"requests_per_minute": 0},
        {"total_seconds": float("nan")},
        {"circuit_failures": True},
        {"fallback": ("gpt-4o",)},
    ],
)
def test_settings_without_sense_are_refused(wrong):
    """A number out of range names the key and the range."""
    with pytest.raises(ConfigError, match=next(iter(wrong))) as caught:
        ConnectionLimits(**wrong)
    assert caught.value.remedy
