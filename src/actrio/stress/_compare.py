"""Two reports side by side: what changed, what was asserted, and what to tune. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs
import msgspec

from actrio.errors import InvalidRequest
from actrio.stress._objectives import Judged, Objective, judge, metric_of, unit_of
from actrio.stress._report import SCHEMA

__all__ = ["COMPARED", "Comparison", "Row", "compare", "read_report", "tuning_hints"]

CHANGE_TOLD: Final = 0.10
"""A change of tokens per second beyond this is no noise of a quiet machine."""

COMPARED: Final = (
    "turns_per_second",
    "tokens_per_second",
    "ttft.p50",
    "ttft.p95",
    "itl.p95",
    "tpot.p50",
    "e2e.p50",
    "e2e.p95",
    "e2e.p99",
    "e2e.max",
    "effective.p95",
    "effective.p99",
    "error_rate",
    "overload_rate",
    "lost",
    "truncated",
    "goodput",
    "cpu",
    "cpu_per_turn",
    "rss",
    "rss_steady",
    "rss_slope",
    "loop_lag.p99",
    "restarts",
)
"""What is compared."""


@attrs.frozen(slots=True)
class Row:
    """One metric in both reports; ``ratio`` is the second through the first."""

    metric: str
    unit: str
    first: float | None
    second: float | None

    @property
    def ratio(self) -> float | None:
        if self.first is None or self.second is None or not self.first:
            return None
        return self.second / self.first


@attrs.frozen(slots=True)
class Comparison:
    """What a comparison found.

    Attributes:
        rows: Every metric that one of the two has.
        judged: The assertions.
        remarks: What makes the two hard to compare.
        hints: What to tune, where the second is slower.
    """

    rows: tuple[Row, ...]
    judged: tuple[Judged, ...]
    remarks: tuple[str, ...]
    hints: tuple[str, ...]

    @property
    def holds(self) -> bool:
        """Whether everything asserted is so."""
        return all(each.holds for each in self.judged)


def read_report(content: bytes, *, source: str) -> dict[str, Any]:
    """Return a report that was written before.

    Raises:
        InvalidRequest: It is none, or of another schema.
    """
    try:
        report = msgspec.json.decode(content, type=dict[str, Any])
    except msgspec.MsgspecError as error:
        raise InvalidRequest(
            f"{source} is no report: {error}.", remedy="Name a report.json of actrio stress."
        ) from error
    if report.get("schema") != SCHEMA:
        raise InvalidRequest(
            f"{source} is of schema {str(report.get('schema'))[:40]!r}, not {SCHEMA}.",
            remedy="Name a report.json of this version of actrio stress.",
        )
    return report


def compare(
    first: Mapping[str, Any], second: Mapping[str, Any], assertions: Sequence[Objective] = ()
) -> Comparison:
    """Compare two reports; assertions speak of the second, factors are of the first."""
    remarks = _plan_remarks(first, second)
    rows = tuple(
        Row(name, unit_of(name), metric_of(first, name), metric_of(second, name))
        for name in COMPARED
    )
    return Comparison(
        tuple(row for row in rows if row.first is not None or row.second is not None),
        tuple(judge(assertions, second, first)),
        (*remarks, *_remarks(first, second)),
        () if remarks else tuple(tuning_hints(second, first)),
    )


def _plan_remarks(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    """Return how the two loads differ; where they do, a change says nothing of the target."""
    remarks = []
    for name in ("model", "profile", "target"):
        one, two = first["plan"].get(name), second["plan"].get(name)
        if one != two:
            remarks.append(f"the {name} differs: {one} and {two}")
    if first["plan"].get("digest") != second["plan"].get("digest") and not remarks:
        remarks.append("the plans differ in their numbers")
    return remarks


def _remarks(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    remarks = []
    for name in ("machine", "cores_usable", "python"):
        one, two = first["environment"].get(name), second["environment"].get(name)
        if one != two:
            remarks.append(f"{name} differs: {one} and {two}")
    for place, report in (("first", first), ("second", second)):
        if report["generator"]["state"] == "saturated":
            remarks.append(f"the generator of the {place} was saturated")
        if report["interrupted"]:
            remarks.append(f"the {place} was interrupted")
    return remarks


# -- what to tune ----------------------------------------------------------------------------------


def tuning_hints(report: Mapping[str, Any], baseline: Mapping[str, Any]) -> list[str]:
    """Return what to look at where ``report`` moves more than 10 % fewer or more tokens."""
    now = metric_of(report, "tokens_per_second")
    before = metric_of(baseline, "tokens_per_second")
    if not now or not before or abs(now / before - 1) <= CHANGE_TOLD:
        return []
    hints = [f"tokens/s changed by {now / before - 1:+.0%} ({before:,.0f} to {now:,.0f})"]
    if now > before:
        return [*hints, "nothing to tune: take this report as the new baseline"]
    hints += _waiting_hints(report)
    hints += _grown_hints(report, baseline)
    if len(hints) == 1:
        hints.append("no metric explains it: repeat both runs, and look at the machine's load")
    return hints


def _waiting_hints(report: Mapping[str, Any]) -> list[str]:
    hints = []
    if report["generator"]["state"] == "saturated":
        hints.append("the generator is saturated: lower the load, or run it on another core")
    if (report["actors"].get("turns_waiting_peak") or 0) > 0:
        hints.append("turns waited for a slot: raise limits.turns")
    if (report["provider"].get("waiting_peak") or 0) > 0:
        hints.append("calls waited for a connection: raise providers.NAME.max_connections")
    if report["turns"]["rejected"]:
        hints.append("turns were refused: raise providers.NAME.limits.queue_max, or send less")
    return hints


def _grown_hints(report: Mapping[str, Any], baseline: Mapping[str, Any]) -> list[str]:
    hints = []
    for name, what in _CAUSES.items():
        grown = _growth(report, baseline, name)
        if grown is not None and grown > 1 + CHANGE_TOLD:
            hints.append(f"{name} is {grown:.2f} times what it was: {what}")
    return hints


def _growth(report: Mapping[str, Any], baseline: Mapping[str, Any], name: str) -> float | None:
    now, before = metric_of(report, name), metric_of(baseline, name)
    if not now or not before:
        return None
    return now / before if math.isfinite(now / before) else None


_CAUSES: Final[Mapping[str, str]] = {
    "cpu_per_turn": "the hot path costs more; profile it (py-spy), look at filters and log level",
    "loop_lag.p99": "something blocks the event loop; run with a watchdog, look at sync tools",
    "ttft.p50": "turns begin late; look at filters before the model, admission and connections",
    "itl.p50": "the stream comes slowly; look at the provider, or at processor time",
    "rss_steady": "more memory is held; look at sessions kept open and at the history's length",
}
