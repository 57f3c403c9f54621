"""The course of time in bounded memory, and what memory does over it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actrio.stress._course import Knee
from actrio.stress._sample import MemoryTrend, process_sample, slope_per_second
from actrio.stress._series import Point, Series


def point(at, **values):
    return Point(at=at, seconds=1.0, **values)


@given(st.lists(st.integers(0, 50), min_size=1, max_size=300), st.integers(2, 20))
def test_a_long_run_keeps_its_sums_and_its_worst(counts, points_max):
    """Whatever is put together, nothing is lost of counts, and no peak is smoothed away."""
    series = Series(points_max)
    for at, count in enumerate(counts):
        series.add(point(float(at), ok=count, e2e_p99=count / 10))
    points = series.points()
    assert len(points) <= points_max
    assert sum(each.ok for each in points) == sum(counts)
    assert max(each.e2e_p99 for each in points) == max(counts) / 10
    assert sum(each.seconds for each in points) == pytest.approx(len(counts))
    assert [each.at for each in points] == sorted(each.at for each in points)


def test_what_was_not_measured_does_not_pull_down():
    """A second without a value has no say in what both are put together to."""
    joined = point(0.0, cpu=0.5, rss_bytes=None).joined(point(1.0, cpu=None, rss_bytes=7))
    assert (joined.cpu, joined.rss_bytes, joined.lag) == (0.5, 7, None)
    assert point(0.0, cpu=0.5).joined(point(1.0, cpu=0.7)).cpu == pytest.approx(0.6)


def test_columns_are_as_long_as_the_points():
    """A table can be made of them at once."""
    series = Series()
    series.add(point(0.0, ok=3))
    series.add(point(1.0, ok=4))
    columns = series.columns()
    assert columns["ok"] == [3, 4]
    assert {len(column) for column in columns.values()} == {2}


def test_a_leak_has_a_slope_and_a_warm_up_has_none():
    """What was taken before the warm-up's end does not count as growth."""
    steady = [(float(t), 50_000_000 if t > 10 else t * 5_000_000) for t in range(60)]
    assert MemoryTrend.of(steady, after=11).slope_bytes_per_minute == pytest.approx(0, abs=1)
    leaking = [(float(t), 50_000_000 + 100_000 * t) for t in range(60)]
    trend = MemoryTrend.of(leaking, after=10)
    assert trend.slope_bytes_per_minute == pytest.approx(6_000_000)
    assert trend.peak_bytes == 55_900_000


def test_a_short_run_has_no_slope():
    """A line through a few seconds would tell of the allocator."""
    assert MemoryTrend.of([(0.0, 1), (1.0, 2), (2.0, 3)], after=0).slope_bytes_per_minute is None
    assert MemoryTrend.of([], after=0) == MemoryTrend()
    assert slope_per_second([(1.0, 1.0)] * 9) is None


def test_a_process_that_is_gone_is_unknown():
    """Whoever has no pid, or is no more, has no figures."""
    assert process_sample(None).rss_bytes is None
    assert process_sample(2**22 - 1).rss_bytes is None


@given(st.integers(1, 1000), st.integers(1, 2000))
def test_the_knee_is_found(most, capacity):
    """For a target that takes up to ``capacity`` sessions, the search ends just below it."""
    search = Knee(min(10, most), most, 1.0, sessions=most, rates=False)
    levels = []
    while (stage := search.next()) is not None:
        levels.append(stage.sessions)
        search.note(stage.sessions <= capacity)
    assert len(levels) <= 20
    assert all(1 <= level <= most for level in levels)
    if capacity >= most:
        assert search.best == most
    else:
        assert search.best is not None
        assert search.best <= capacity
        assert (
            search.best * 1.1 >= capacity
            or search.worst - search.best <= 1
            or search.worst / search.best <= 1.1
        )
