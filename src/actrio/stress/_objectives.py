"""What a run has to reach: the grammar of ``--slo`` and ``--assert``, and the judging. Pure.

Both speak of the same metrics, read from a report as written, so an objective can also be judged
later. An objective compares with a number (``ttft.p95<300ms``), an assertion also with the other
report (``p95<=0.7x``: at most seven tenths of the first one's).
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import attrs

from actrio.errors import InvalidRequest
from actrio.stress._histogram import PERCENTILES

__all__ = [
    "METRICS",
    "Judged",
    "Objective",
    "judge",
    "metric_of",
    "per_turn_bounds",
    "unit_of",
    "wilson",
]

LATENCIES: Final = ("ttft", "itl", "tpot", "e2e", "effective", "wait", "loop_lag")
STATISTICS: Final = ("min", "mean", *PERCENTILES, "max")

_PLACES: Final[Mapping[str, str]] = {
    "turns_per_second": "rates.turns_per_second",
    "tokens_per_second": "rates.tokens_per_second",
    "error_rate": "rates.error_rate",
    "overload_rate": "rates.overload_rate",
    "goodput": "goodput.share",
    "lost": "turns.lost",
    "truncated": "turns.truncated",
    "failed": "turns.failed",
    "rejected": "turns.rejected",
    "dropped": "turns.dropped",
    "rss": "memory.peak_bytes",
    "rss_steady": "memory.steady_bytes",
    "rss_slope": "memory.slope_bytes_per_minute",
    "cpu": "cpu.share",
    "cpu_per_turn": "cpu.seconds_per_turn",
    "restarts": "actors.restarts",
}

_MEASURED_IN: Final[Mapping[str, str]] = {
    "turns_per_second": "/s",
    "tokens_per_second": "/s",
    "error_rate": "%",
    "overload_rate": "%",
    "goodput": "%",
    "rss": "B",
    "rss_steady": "B",
    "rss_slope": "B/min",
    "cpu": "%",
    "cpu_per_turn": "s",
}

METRICS: Final = (*(f"{name}.<{'|'.join(STATISTICS)}>" for name in LATENCIES), *_PLACES)
"""Every metric there is, for messages and pages. A bare percentile means that of ``e2e``."""

_UNITS: Final[Mapping[str, float]] = {
    "": 1.0,
    "us": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "%": 0.01,
    "/s": 1.0,
    "kB": 1e3,
    "MB": 1e6,
    "GB": 1e9,
    "MB/min": 1e6,
    "x": math.nan,  # of the other report's value
}

_OPERATORS: Final[Mapping[str, Callable[[float, float], bool]]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
    "==": operator.eq,
}

_GRAMMAR: Final = re.compile(
    r"\s*([a-z0-9_.]+?)\s*(<=|>=|==|<|>)\s*(-?\d+(?:\.\d+)?)\s*([a-zA-Z%/]*)\s*"
)


@attrs.frozen(slots=True)
class Objective:
    """One line: a metric, a comparison, a number in the metric's own unit.

    Attributes:
        text: As it was written.
        metric: What is measured.
        comparison: ``<``, ``<=``, ``>``, ``>=`` or ``==``.
        bound: The number; with ``relative`` a factor of the other report's value.
        relative: Whether it needs another report.
    """

    text: str
    metric: str
    comparison: str
    bound: float
    relative: bool = False

    @classmethod
    def parse(cls, text: str, *, relative: bool = False) -> Objective:
        """Read ``ttft.p95<300ms``; where another report is at hand also ``p95<=0.7x``.

        Raises:
            InvalidRequest: It is no comparison, or the metric or unit is not known.
        """
        found = _GRAMMAR.fullmatch(text)
        if found is None:
            example = "p95<=0.7x" if relative else "ttft.p95<300ms"
            raise InvalidRequest(f"{text[:80]!r} is no objective.", remedy=f"Write {example}.")
        metric, comparison, number, unit = found.groups()
        if unit not in _UNITS or (unit == "x" and not relative):
            raise InvalidRequest(
                f"{text[:80]!r} has the unit {unit!r}, which is not known here.",
                remedy=f"Use one of {', '.join(name for name in _UNITS if name and name != 'x')}"
                + (", or x for a factor of the first report's." if relative else "."),
            )
        _place(metric)
        bound = float(number) * (1.0 if unit == "x" else _UNITS[unit])
        return cls(text.strip(), metric, comparison, bound, unit == "x")

    def holds(self, value: float | None, other: float | None = None) -> bool:
        """Return whether ``value`` is as it should be; nothing measured is never good."""
        bound = self.bound
        if self.relative:
            if other is None:
                return False
            bound *= other
        return value is not None and _OPERATORS[self.comparison](value, bound)


@attrs.frozen(slots=True)
class Judged:
    """An objective with what was measured; ``other`` is the value it is compared with."""

    objective: Objective
    value: float | None
    other: float | None
    holds: bool

    def told(self) -> dict[str, Any]:
        return {
            "text": self.objective.text,
            "unit": unit_of(self.objective.metric),
            "value": self.value,
            "other": self.other,
            "holds": self.holds,
        }


def judge(
    objectives: Sequence[Objective],
    report: Mapping[str, Any],
    other: Mapping[str, Any] | None = None,
) -> list[Judged]:
    """Return each objective with its value in ``report``, and in ``other`` where there is one."""
    judged = []
    for objective in objectives:
        value = metric_of(report, objective.metric)
        beside = metric_of(other, objective.metric) if other is not None else None
        judged.append(Judged(objective, value, beside, objective.holds(value, beside)))
    return judged


def metric_of(report: Mapping[str, Any], name: str) -> float | None:
    """Return a metric's value in a report; None where nothing was measured.

    Raises:
        InvalidRequest: There is no such metric.
    """
    found: Any = report
    for key in _place(name):
        found = found.get(key) if isinstance(found, Mapping) else None
    return float(found) if isinstance(found, (int, float)) and math.isfinite(found) else None


def unit_of(metric: str) -> str:
    """Return what a metric is measured in: ``s``, ``B``, ``B/min``, ``/s``, ``%`` or nothing."""
    return "s" if _place(metric)[0] == "latency" else _MEASURED_IN.get(metric, "")


def per_turn_bounds(objectives: Sequence[Objective]) -> dict[str, float]:
    """Return the upper bounds that each single turn is held to, for goodput.

    A bound on a percentile of a latency is also what one turn must keep to count as good.
    """
    bounds: dict[str, float] = {}
    for objective in objectives:
        place = _place(objective.metric)
        name = place[1] if place[0] == "latency" else ""
        if name in {"ttft", "tpot", "e2e", "effective"} and objective.comparison in {"<", "<="}:
            bounds[name] = min(objective.bound, bounds.get(name, math.inf))
    return bounds


def wilson(good: int, total: int, *, z: float = 1.959964) -> tuple[float, float]:
    """Return the interval that the true share lies in, 95 times of 100, by Wilson's score.

    It does not leave 0 to 1 and is honest where all or none were good, as the usual one is not.
    """
    if not total:
        return 0.0, 1.0
    share = good / total
    middle = share + z * z / (2 * total)
    spread = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    bottom = 1 + z * z / total
    return max(0.0, (middle - spread) / bottom), min(1.0, (middle + spread) / bottom)


def _place(name: str) -> tuple[str, ...]:
    if name in STATISTICS:
        name = f"e2e.{name}"
    if name in _PLACES:
        return tuple(_PLACES[name].split("."))
    head, _, statistic = name.partition(".")
    if head in LATENCIES and statistic in STATISTICS:
        return ("latency", head, statistic)
    raise InvalidRequest(
        f"There is no metric {name[:80]!r}.", remedy=f"Use one of {', '.join(METRICS)}."
    )
