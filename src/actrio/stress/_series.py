"""How a run went over time, in bounded memory however long it takes.

One point per second, until there are too many; then neighbours are put together and the points to
come are twice as long. Counts add up; of measured values the worst stands for both, so a bad second
in a long run stays to be seen. Pure.
"""

from __future__ import annotations

from typing import Any, Final

import attrs

__all__ = ["POINTS_MAX", "Point", "Series"]

POINTS_MAX: Final = 600
"""Points that are kept: ten minutes second by second; more than a plot has pixels for."""


def _sum() -> Any:
    return attrs.field(default=0, metadata={"merge": "sum"})


def _worst() -> Any:
    return attrs.field(default=None, metadata={"merge": "worst"})


def _mean() -> Any:
    return attrs.field(default=None, metadata={"merge": "mean"})


@attrs.frozen(slots=True, kw_only=True)
class Point:
    """What happened in ``seconds`` from ``at`` on, and how things stood. Times are in seconds.

    Attributes:
        at: Since the run began.
        seconds: How long it is.
        started: Turns that began.
        ok: Turns that ended well.
        cancelled: Turns whose client left.
        failed: Turns that failed, lost and truncated ones included.
        injected: Turns that failed because they were made to.
        rejected: Turns that the target refused as too many.
        tokens: Tokens that arrived.
        e2e_p50: Of turns that ended, from their start.
        effective_p99: The same from the intended start.
        in_flight: Turns at work at the end.
        cpu: Of one core, of the process under test; ``generator_cpu`` of the one that measures.
        rss_bytes: Of the process under test.
        lag: The longest that the event loop was late.
        mailbox_depth: Of the fullest mailbox.
        turns_waiting: Turns that wait for a slot of the runtime.
        provider_waiting: Calls that wait for a connection.
    """

    at: float
    seconds: float
    started: int = _sum()
    ok: int = _sum()
    cancelled: int = _sum()
    failed: int = _sum()
    injected: int = _sum()
    rejected: int = _sum()
    tokens: int = _sum()
    ttft_p50: float | None = _mean()
    ttft_p95: float | None = _worst()
    e2e_p50: float | None = _mean()
    e2e_p95: float | None = _worst()
    e2e_p99: float | None = _worst()
    effective_p99: float | None = _worst()
    in_flight: int | None = _worst()
    cpu: float | None = _mean()
    generator_cpu: float | None = _mean()
    rss_bytes: int | None = _worst()
    lag: float | None = _worst()
    mailbox_depth: int | None = _worst()
    turns_waiting: int | None = _worst()
    provider_waiting: int | None = _worst()

    def joined(self, later: Point) -> Point:
        """Return this point and the one after it as one."""
        merged: dict[str, Any] = {"at": self.at, "seconds": self.seconds + later.seconds}
        for field in attrs.fields(Point):
            rule = field.metadata.get("merge")
            one, two = getattr(self, field.name), getattr(later, field.name)
            if rule == "sum":
                merged[field.name] = one + two
            elif rule is not None:
                merged[field.name] = _both(rule, one, two, self.seconds, later.seconds)
        return Point(**merged)


def _both(rule: str, one: Any, two: Any, weight_one: float, weight_two: float) -> Any:
    if one is None or two is None:
        return two if one is None else one
    if rule == "worst":
        return max(one, two)
    return (one * weight_one + two * weight_two) / (weight_one + weight_two)


class Series:
    """Points in order, never more than ``points_max``."""

    def __init__(self, points_max: int = POINTS_MAX) -> None:
        assert points_max >= 2
        self._points_max = points_max
        self._points: list[Point] = []
        self._pending: Point | None = None
        self._joins = 1  # additions that make one point
        self._pending_joins = 0

    def add(self, point: Point) -> None:
        """Add the next point."""
        self._pending = point if self._pending is None else self._pending.joined(point)
        self._pending_joins += 1
        if self._pending_joins >= self._joins:
            self._points.append(self._pending)
            self._pending, self._pending_joins = None, 0
        if len(self._points) >= self._points_max:
            self._halve()

    def _halve(self) -> None:
        points = self._points
        self._points = [
            points[i].joined(points[i + 1]) if i + 1 < len(points) else points[i]
            for i in range(0, len(points), 2)
        ]
        self._joins *= 2

    def points(self) -> list[Point]:
        """Return all points, the unfinished last one included."""
        return [*self._points, *([self._pending] if self._pending is not None else [])]

    def columns(self) -> dict[str, list[Any]]:
        """Return them as one list per field, which is what a table and a plot want."""
        points = self.points()
        return {
            field.name: [_short(getattr(point, field.name)) for point in points]
            for field in attrs.fields(Point)
        }


def _short(value: Any) -> Any:
    """Microseconds are enough for a plot, and a report is read by people as well."""
    return round(value, 6) if isinstance(value, float) else value
