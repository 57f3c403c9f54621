"""The histogram: exact where it says so, near where it says so, and additive."""

from __future__ import annotations

import json
import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actrio.errors import InvalidRequest
from actrio.stress import Histogram

seconds = st.floats(min_value=1e-8, max_value=1e6, allow_nan=False)


def histogram_of(values):
    made = Histogram()
    for value in values:
        made.record(value)
    return made


@given(st.lists(seconds, min_size=1, max_size=200), st.floats(min_value=0.0, max_value=1.0))
def test_a_quantile_is_within_half_a_thousandth(values, share):
    """Each quantile is that of the values themselves, to 0.05 %."""
    ordered = sorted(values)
    exact = ordered[min(len(ordered), max(1, math.ceil(share * len(ordered)))) - 1]
    assert histogram_of(values).quantile(share) == pytest.approx(exact, rel=0.0005)


@given(st.lists(seconds, min_size=1, max_size=200))
def test_count_least_greatest_and_mean_are_exact(values):
    """They are kept beside the buckets."""
    made = histogram_of(values)
    assert (made.count, made.minimum, made.maximum) == (len(values), min(values), max(values))
    assert made.mean == pytest.approx(math.fsum(values) / len(values), rel=1e-9)


@given(st.lists(seconds, max_size=100), st.lists(seconds, max_size=100))
def test_two_added_are_one_that_saw_both(first, second):
    """Runs, stages and processes can be put together."""
    added, together = histogram_of(first), histogram_of(first + second)
    added.add(histogram_of(second))
    assert added.spread() == together.spread()
    assert added.summary() == pytest.approx(together.summary())


@given(st.lists(seconds, max_size=100))
def test_it_survives_its_outside_form(values):
    """What a report holds is the whole histogram."""
    made = histogram_of(values)
    again = Histogram.from_dict(json.loads(json.dumps(made.to_dict())))
    assert again.to_dict() == made.to_dict()
    assert again.summary() == made.summary()


def test_values_beyond_its_range_count_at_its_ends():
    """Nothing is lost, nothing breaks: not zero, not a negative clock step, not infinity."""
    made = histogram_of([0.0, -1.0, math.inf, 1.0])
    assert made.count == 4
    assert made.quantile(0.75) == pytest.approx(1.0, rel=0.0005)


def test_nothing_measured_is_nothing_told():
    """An empty one has no numbers, rather than zeros."""
    assert set(Histogram().summary().values()) == {0, None}
    assert math.isnan(Histogram().quantile(0.5))


@pytest.mark.parametrize("told", [{}, {"sub_buckets": 7}, {"sub_buckets": 2048, "buckets": 3}])
def test_what_is_no_histogram_is_refused(told):
    """A report that somebody has edited is told as such."""
    with pytest.raises(InvalidRequest):
        Histogram.from_dict(told)


def test_the_text_export_reads_like_hdrhistograms():
    """Four columns that rise, and the three lines at the end that its tools look for."""
    text = histogram_of(k / 1000 for k in range(1, 1001)).hdr_text()
    rows = [line.split() for line in text.splitlines()[2:] if not line.startswith("#")]
    values, shares, counts = zip(
        *[(float(r[0]), float(r[1]), int(r[2])) for r in rows], strict=True
    )
    assert list(values) == sorted(values)
    assert list(shares) == sorted(set(shares))
    assert (shares[-1], counts[-1]) == (1.0, 1000)
    assert values[-1] == pytest.approx(1000.0)
    assert re.search(r"#\[Mean +=\s+500\.500, StdDeviation +=\s+288\.\d+\]", text)
    assert re.search(r"#\[Max +=\s+1000\.000, Total count +=\s+1000\]", text)
