"""A histogram of latencies that is small, exact where it can be, and can be added to another.

Log-linear, like HdrHistogram: each octave (a factor of two) is cut into 2048 equal buckets, so a
bucket is at most 1/2048 of its value wide and its middle is never more than 0.025 % off. The
buckets are a dict, because a real run fills a few hundred of the many there could be; recording is
one ``frexp`` and one dict update, which measured three times as fast as the C-backed package.
Count, least, greatest and mean are kept beside the buckets and are exact.

Two histograms of the same kind add up to what one would have seen, so runs, stages and processes
can be put together afterwards. Percentiles cannot: they are only ever read at the end.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final, Self

from actrio.errors import InvalidRequest

__all__ = ["PERCENTILES", "SUB_BUCKETS", "Histogram"]

SUB_BUCKETS: Final = 2048
"""Buckets per octave: 0.049 % of the value at the octave's low end, half of it to the middle."""

LEAST: Final = 1e-9
MOST: Final = 1e9
"""Values beyond these count as these: sixty octaves, so at most 122,880 buckets ever."""

PERCENTILES: Final[Mapping[str, float]] = {
    "p50": 0.50,
    "p90": 0.90,
    "p95": 0.95,
    "p99": 0.99,
    "p99.9": 0.999,
}

_TICKS_PER_HALVING: Final = 5
"""Lines of the text export between two halvings of what is left above; HdrHistogram's default."""


class Histogram:
    """Counts of positive values, to 0.05 %.

    Attributes:
        count: How many values there are.
        total: Their sum.
        minimum: The least; NaN of none.
        maximum: The greatest; NaN of none.
    """

    __slots__ = ("_buckets", "count", "maximum", "minimum", "total")

    def __init__(self) -> None:
        self._buckets: dict[int, int] = {}
        self.count = 0
        self.total = 0.0
        self.minimum = math.nan
        self.maximum = math.nan

    def record(self, value: float, count: int = 1) -> None:
        """Count ``value``, ``count`` times; what is below `LEAST` counts as that."""
        if not LEAST <= value <= MOST:
            value = MOST if value > MOST else LEAST
        mantissa, exponent = math.frexp(value)
        key = exponent * SUB_BUCKETS + int(mantissa * (2 * SUB_BUCKETS)) - SUB_BUCKETS
        buckets = self._buckets
        buckets[key] = buckets.get(key, 0) + count
        if not self.count:
            self.minimum = self.maximum = value
        elif value < self.minimum:
            self.minimum = value
        elif value > self.maximum:
            self.maximum = value
        self.count += count
        self.total += value * count

    def add(self, other: Histogram) -> None:
        """Add what ``other`` has seen, as if this one had seen it."""
        if not other.count:
            return
        for key, count in other._buckets.items():
            self._buckets[key] = self._buckets.get(key, 0) + count
        if self.count:
            self.minimum = min(self.minimum, other.minimum)
            self.maximum = max(self.maximum, other.maximum)
        else:
            self.minimum, self.maximum = other.minimum, other.maximum
        self.count += other.count
        self.total += other.total

    @property
    def mean(self) -> float:
        """The mean; NaN of nothing."""
        return self.total / self.count if self.count else math.nan

    def quantiles(self, *shares: float) -> list[float]:
        """Return for each share (0 to 1) the value that so many of the values do not exceed."""
        if not self.count:
            return [math.nan] * len(shares)
        found: dict[float, float] = {}
        waiting = sorted(set(shares), reverse=True)
        seen = 0
        for key in sorted(self._buckets):
            seen += self._buckets[key]
            while waiting and seen >= max(1, math.ceil(waiting[-1] * self.count)):
                found[waiting.pop()] = self._within(_middle(key))
        for share in waiting:  # a share of 1 and a rounding upwards
            found[share] = self.maximum
        return [found[share] for share in shares]

    def quantile(self, share: float) -> float:
        """Return one of `quantiles`."""
        return self.quantiles(share)[0]

    def _within(self, value: float) -> float:
        return min(max(value, self.minimum), self.maximum)

    def summary(self) -> dict[str, float | int | None]:
        """Return count, min, mean, percentiles and max; None where there is nothing."""
        if not self.count:
            return {"count": 0, **dict.fromkeys(("min", "mean", *PERCENTILES, "max"))}
        values = self.quantiles(*PERCENTILES.values())
        return {
            "count": self.count,
            "min": self.minimum,
            "mean": self.mean,
            **dict(zip(PERCENTILES, values, strict=True)),
            "max": self.maximum,
        }

    def spread(self) -> list[tuple[float, float, int]]:
        """Return low end, high end and count of each bucket that holds something, rising."""
        return [(*_ends(key), self._buckets[key]) for key in sorted(self._buckets)]

    # -- outside forms -----------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values; `from_dict` gives it back."""
        return {
            "sub_buckets": SUB_BUCKETS,
            "count": self.count,
            "total": self.total,
            "min": self.minimum if self.count else None,
            "max": self.maximum if self.count else None,
            "buckets": [[key, self._buckets[key]] for key in sorted(self._buckets)],
        }

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> Self:
        """Return the histogram that `to_dict` wrote.

        Raises:
            InvalidRequest: It is none of ours, or not of this resolution.
        """
        made = cls()
        try:
            if told["sub_buckets"] != SUB_BUCKETS:
                raise InvalidRequest(
                    f"A histogram has {told['sub_buckets']} buckets per octave, not {SUB_BUCKETS}.",
                    remedy="Compare reports of the same schema.",
                )
            made._buckets = {int(key): int(count) for key, count in told["buckets"]}
            made.count = sum(made._buckets.values())
            made.total = float(told["total"])
            if made.count:
                made.minimum, made.maximum = float(told["min"]), float(told["max"])
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidRequest(
                f"This is no histogram: {error!r}.", remedy="Read it from a report as written."
            ) from error
        return made

    def hdr_text(self, *, unit_seconds: float = 0.001) -> str:
        """Return the percentile table that HdrHistogram's tools write and plot.

        Args:
            unit_seconds: What one of the table's units is; milliseconds by default.
        """
        lines = [
            f"{'Value':>12} {'Percentile':>14} {'TotalCount':>10} {'1/(1-Percentile)':>14}",
            "",
        ]
        for share in _ticks(self.count):
            value = self.quantile(share) / unit_seconds
            upto = min(self.count, max(1, math.ceil(share * self.count)))
            above = f"{1 / (1 - share):>14.2f}" if share < 1 else ""
            lines.append(f"{value:>12.3f} {share:>14.12f} {upto:>10} {above}".rstrip())
        mean, most = self.mean / unit_seconds, self.maximum / unit_seconds
        deviation = self._deviation() / unit_seconds
        lines += [
            f"#[Mean    = {mean:>12.3f}, StdDeviation   = {deviation:>12.3f}]",
            f"#[Max     = {most:>12.3f}, Total count    = {self.count:>12}]",
            f"#[Buckets = {len(self._buckets):>12}, SubBuckets     = {SUB_BUCKETS:>12}]",
        ]
        return "\n".join(lines) + "\n"

    def _deviation(self) -> float:
        if not self.count:
            return math.nan
        mean = self.mean
        squares = sum(count * (_middle(key) - mean) ** 2 for key, count in self._buckets.items())
        return math.sqrt(squares / self.count)


def _ends(key: int) -> tuple[float, float]:
    exponent, sub = divmod(key, SUB_BUCKETS)
    low = math.ldexp((sub + SUB_BUCKETS) / (2 * SUB_BUCKETS), exponent)
    return low, math.ldexp((sub + SUB_BUCKETS + 1) / (2 * SUB_BUCKETS), exponent)


def _middle(key: int) -> float:
    low, high = _ends(key)
    return (low + high) / 2


def _ticks(count: int) -> list[float]:
    """Return the shares of the text export: five between two halvings of what is left above."""
    if not count:
        return []
    shares, share, halvings = [], 0.0, 0
    while (1 - share) * count >= 1 and halvings < 64:  # a finer tick would name no value of its own
        shares.append(share)
        halvings = math.floor(-math.log2(1 - share) + 1e-9)
        share += 2.0 ** -(halvings + 1) / _TICKS_PER_HALVING
    return [*shares, 1.0]
