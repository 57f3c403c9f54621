"""Arrival plans are known beforehand: how many, when, and the same each time."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actrio.errors import InvalidRequest
from actrio.stress import (
    Arrival,
    Segment,
    Stage,
    closed,
    open_loop,
    planned,
    ramp,
    read_replay,
    replayed,
    sweep,
)

rates = st.floats(min_value=0.0, max_value=200.0)
segments = st.lists(
    st.builds(Segment, st.floats(min_value=0.01, max_value=5.0), rates, rates),
    min_size=1,
    max_size=4,
)
kinds = st.sampled_from(["constant", "poisson", "burst"])


def stage_of(parts, kind="constant", seed=0):
    total = sum(part.seconds for part in parts)
    return Stage(name="x", seconds=total, sessions=1, segments=tuple(parts), kind=kind, seed=seed)


@given(segments, kinds, st.integers(0, 5))
def test_arrivals_rise_stay_inside_and_repeat(parts, kind, seed):
    """Every arrival has its intended time, in order, within its stage, the same at each asking."""
    stage = stage_of(parts, kind, seed)
    times = [arrival.at for arrival in planned(stage)]
    assert times == [arrival.at for arrival in planned(stage)]
    assert times == sorted(times)
    assert all(0 <= at <= stage.seconds + 1e-9 for at in times)


@given(segments)
def test_a_constant_plan_has_as_many_turns_as_its_rate_adds_up_to(parts):
    """Also while the rate rises or falls."""
    offered = sum(part.turns for part in parts)
    assert abs(len(list(planned(stage_of(parts)))) - offered) <= 1


def test_a_constant_rate_is_evenly_spaced():
    """Ten per second come every tenth of a second, the first at once."""
    times = [arrival.at for arrival in planned(open_loop(10, 1, sessions=5)[0])]
    assert times == pytest.approx([k / 10 for k in range(10)])


def test_a_ramp_gets_denser():
    """While the rate rises, no gap is longer than the one before it."""
    (stage,) = open_loop(50, 0.1, sessions=5, ramp_seconds=4)
    times = [arrival.at for arrival in planned(stage) if arrival.at < 4]
    gaps = [after - before for before, after in itertools.pairwise(times)]
    assert all(later <= earlier + 1e-9 for earlier, later in itertools.pairwise(gaps))
    assert len(times) == pytest.approx(100, abs=1)


def test_poisson_has_its_rate_and_its_spread():
    """Over many seconds the rate is right, and gaps vary as much as they are long."""
    times = [
        each.at for each in planned(open_loop(100, 100, sessions=5, kind="poisson", seed=3)[0])
    ]
    gaps = [after - before for before, after in itertools.pairwise(times)]
    mean = sum(gaps) / len(gaps)
    deviation = (sum((gap - mean) ** 2 for gap in gaps) / len(gaps)) ** 0.5
    assert len(times) == pytest.approx(10_000, rel=0.05)
    assert deviation / mean == pytest.approx(1.0, rel=0.1)


def test_bursts_come_together():
    """Ten turns at one moment, and the rate is kept on average."""
    times = [each.at for each in planned(open_loop(20, 2, sessions=5, kind="burst")[0])]
    assert len(times) == 40
    assert len(set(times)) == 4


def test_a_closed_run_ramps_by_whole_sessions():
    """The ramp's stages rise to the full number, and last as long as was asked."""
    *rising, hold = closed(50, 10, ramp_seconds=4)
    assert [stage.sessions for stage in rising] == sorted({stage.sessions for stage in rising})
    assert sum(stage.seconds for stage in rising) == pytest.approx(4)
    assert (hold.sessions, hold.seconds, hold.is_open) == (50, 10, False)
    assert len(closed(1, 10, ramp_seconds=4)) <= 2


def test_sweeps_are_measured_and_ramps_are_not():
    """A sweep's stages are results of their own."""
    assert all(stage.measured for stage in sweep([1, 2], 3, sessions=9, rates=False))
    stages = ramp([(5, 1), (10, 2)], sessions=9, rates=True)
    assert [stage.offered_per_second for stage in stages] == [5, 10]
    assert not any(stage.measured for stage in stages)


def test_a_replay_is_read_line_by_line():
    """Numbers and objects, blank lines in between, in whatever order."""
    content = b'0.5\n\n{"at": 0.25, "prompt": "hello"}\n1\n'
    (stage,) = replayed(read_replay(content, source="x"), sessions=3)
    assert list(planned(stage)) == [Arrival(0.25, "hello"), Arrival(0.5), Arrival(1.0)]
    assert stage.is_open
    assert stage.offered_per_second == 3


@pytest.mark.parametrize("content", [b"", b"x\n", b"-1\n", b'{"at": "soon"}\n', b"[]\n", b"1e9\n"])
def test_what_is_no_replay_names_its_line(content):
    """The message says where to look."""
    with pytest.raises(InvalidRequest, match="file"):
        read_replay(content, source="file")
