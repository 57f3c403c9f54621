"""Objectives, assertions, goodput's interval, and the grammar of chaos."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actrio.errors import InvalidRequest
from actrio.stress import CHAOS_DEFAULT, Chaos, Objective
from actrio.stress._objectives import judge, metric_of, per_turn_bounds, wilson

REPORT = {
    "latency": {"ttft": {"p95": 0.25}, "e2e": {"p95": 1.5, "p99.9": 3.0}},
    "rates": {"error_rate": 0.001, "turns_per_second": 80.0},
    "memory": {"peak_bytes": 64e6, "slope_bytes_per_minute": None},
    "turns": {"lost": 0},
}


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("ttft.p95<300ms", True),
        ("ttft.p95 < 250ms", False),
        ("ttft.p95<=0.25s", True),
        ("p95<=1.5", True),
        ("e2e.p99.9<3s", False),
        ("error_rate<0.2%", True),
        ("turns_per_second>=80/s", True),
        ("rss<64MB", False),
        ("rss<=64MB", True),
        ("lost==0", True),
        ("rss_slope<1MB/min", False),
    ],
)
def test_an_objective_is_judged_in_its_unit(text, holds):
    """Units are part of the number; what was not measured is never good."""
    (judged,) = judge([Objective.parse(text)], REPORT)
    assert judged.holds is holds


@pytest.mark.parametrize(
    "text",
    ["", "p95", "p42<1s", "ttft<1s", "ttft.p95<fast", "ttft.p95<1parsec", "p95<=0.7x", "x<1"],
)
def test_what_is_no_objective_is_refused(text):
    """The remedy shows how one is written, or which metrics there are."""
    with pytest.raises(InvalidRequest) as caught:
        Objective.parse(text)
    assert caught.value.remedy


@pytest.mark.parametrize(("text", "holds"), [("p95<=0.75x", True), ("p95<=0.7x", False)])
def test_an_assertion_is_a_factor_of_the_other_report(text, holds):
    """0.75x is three quarters of the first one's value."""
    other = {"latency": {"e2e": {"p95": 2.0}}}
    (judged,) = judge([Objective.parse(text, relative=True)], REPORT, other)
    assert (judged.holds, judged.other) == (holds, 2.0)


def test_metrics_that_are_not_there_are_none():
    """A report of another kind of run has gaps, not errors."""
    assert metric_of({}, "p95") is None
    assert metric_of({"latency": {"e2e": {"p95": float("nan")}}}, "p95") is None


def test_bounds_of_single_turns_come_from_upper_bounds_of_latencies():
    """The strictest counts; rates and lower bounds bind no single turn."""
    parsed = [
        Objective.parse(text)
        for text in (
            "ttft.p95<300ms",
            "ttft.p50<100ms",
            "e2e.p99<=2s",
            "error_rate<1%",
            "itl.p50<1s",
        )
    ]
    assert per_turn_bounds(parsed) == {"ttft": pytest.approx(0.1), "e2e": 2.0}


@given(st.integers(0, 500), st.integers(0, 500))
def test_wilsons_interval_holds_the_share_and_stays_inside(good, bad):
    """Also where all or none were good."""
    total = good + bad
    low, high = wilson(good, total)
    assert 0 <= low <= high <= 1
    if total:
        assert low - 1e-9 <= good / total <= high + 1e-9


def test_wilsons_interval_as_in_the_books():
    """Nine of ten good: 0.596 to 0.982."""
    assert wilson(9, 10) == (pytest.approx(0.5958, abs=5e-4), pytest.approx(0.9821, abs=5e-4))


# -- chaos -----------------------------------------------------------------------------------------


def test_the_usual_chaos_is_read():
    """Shares as per cent, kills per second."""
    assert Chaos.parse(CHAOS_DEFAULT) == Chaos(0.01, 0.005, 0.05, 0.1, 1.0)
    assert Chaos.parse("") == Chaos()


@pytest.mark.parametrize(
    "text",
    ["cancel", "cancel=1", "cancel=200%", "kill_actor=1%", "dragons=1%", "cancel=60%,stall=60%"],
)
def test_other_chaos_is_refused(text):
    """Names, units and sums are checked."""
    with pytest.raises(InvalidRequest):
        Chaos.parse(text)


@given(st.integers(0, 1000))
def test_a_turn_has_one_fate(seed):
    """What happened to a turn can be told from its end, so at most one thing happens."""
    rng = random.Random(seed)
    fates = [Chaos.parse(CHAOS_DEFAULT).fate(rng) for _ in range(50)]
    for fate in fates:
        assert sum([fate.fault is not None, fate.cancel_after is not None, fate.slow]) <= 1
        assert fate.unharmed == (fate.fault is None and fate.cancel_after is None and not fate.slow)


def test_fates_come_as_often_as_was_asked():
    """Over many turns the shares are right."""
    rng = random.Random(1)
    fates = [Chaos.parse(CHAOS_DEFAULT).fate(rng) for _ in range(20_000)]
    assert sum(fate.cancel_after is not None for fate in fates) == pytest.approx(2000, rel=0.1)
    assert sum(fate.slow for fate in fates) == pytest.approx(1000, rel=0.1)
    assert sum(fate.fault == "status500" for fate in fates) == pytest.approx(200, rel=0.3)
