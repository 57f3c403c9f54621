"""What has been measured so far: counts, histograms, and the second that is running. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

import attrs

from actrio.stress._histogram import Histogram
from actrio.stress._turns import Asked, Ending, Listener

__all__ = ["LATENCIES_OF_TURNS", "Tally", "Window"]

LATENCIES_OF_TURNS: Final = ("ttft", "itl", "tpot", "e2e", "effective", "wait")

LABELS_MAX: Final = 64
"""Different failures that are told apart; a target that makes up words is not worth more."""

LATE_SECONDS: Final = 0.01
"""A turn that begins this long after it was to begin counts as late: a timer's ordinary error
is a tenth of it."""


@attrs.define(slots=True)
class Window:
    """What happened in the second that is running."""

    started: int = 0
    ok: int = 0
    cancelled: int = 0
    failed: int = 0
    injected: int = 0
    rejected: int = 0
    tokens: int = 0
    ttft: Histogram = attrs.field(factory=Histogram)
    e2e: Histogram = attrs.field(factory=Histogram)
    effective: Histogram = attrs.field(factory=Histogram)


class Tally:
    """Everything that is known of the turns of a run, or of one stage; its size does not grow.

    Latencies are those of turns that ended well and were not made to suffer: what a slow, a
    leaving or a failing party took says nothing about the target. All ends are counted.

    Args:
        bounds: What a single turn must keep to count as good, by latency, in seconds.
    """

    def __init__(self, bounds: Mapping[str, float] | None = None) -> None:
        self._bounds = dict(bounds or {})
        self.histograms = {name: Histogram() for name in LATENCIES_OF_TURNS}
        self.retry_after = Histogram()
        self.counts: Counter[str] = Counter()
        self.labels: Counter[str] = Counter()
        self.examples: dict[str, str] = {}
        self.tokens = 0
        self.good = 0
        self.judged = 0  # turns that goodput is a share of

    @property
    def gaps(self) -> Histogram:
        """Where gaps between pieces are counted."""
        return self.histograms["itl"]

    def offered(self) -> None:
        """A turn was to begin."""
        self.counts["offered"] += 1

    def began(self) -> None:
        """A turn is handed to the target."""
        self.counts["started"] += 1

    def dropped(self, count: int = 1) -> None:
        """Turns were to begin and never did."""
        self.counts["dropped"] += count
        self.judged += count

    def unfinished(self) -> None:
        """A turn was at work when the run was ended; nobody knows what would have become of it."""
        self.counts["unfinished"] += 1

    def ended(
        self, asked: Asked, heard: Listener, ending: Ending, now: float, window: Window
    ) -> str:
        """Count a turn that has ended, here and in the running second; return as what."""
        outcome = _outcome(asked, heard, ending)
        self.counts[outcome] += 1
        self.tokens += ending.tokens
        window.tokens += ending.tokens
        name = _WINDOW_NAMES[outcome]
        setattr(window, name, getattr(window, name) + 1)
        if outcome in {"failed", "truncated", "lost", "rejected"}:
            self._label(outcome, ending)
        if ending.kind == "rejected" and ending.retry_after_seconds is not None:
            self.retry_after.record(ending.retry_after_seconds)
        if asked.fate.unharmed and asked.counted and outcome not in {"killed", "cancelled"}:
            self.judged += 1
            if outcome == "ok":
                self._measure(asked, heard, ending, now, window)
        return outcome

    def _measure(
        self, asked: Asked, heard: Listener, ending: Ending, now: float, window: Window
    ) -> None:
        found = {
            "e2e": now - heard.begun,
            "effective": now - asked.intended,
            "wait": heard.begun - asked.intended,
        }
        self.counts["late"] += found["wait"] > LATE_SECONDS
        if heard.first is not None:
            found["ttft"] = heard.first - heard.begun
            window.ttft.record(found["ttft"])
            if ending.tokens > 1:
                found["tpot"] = (heard.last - heard.first) / (ending.tokens - 1)
        for name, seconds in found.items():
            self.histograms[name].record(seconds)
        window.e2e.record(found["e2e"])
        window.effective.record(found["effective"])
        self.good += all(found.get(name, 0.0) <= most for name, most in self._bounds.items())

    def _label(self, outcome: str, ending: Ending) -> None:
        label = ending.label or outcome
        if label in self.labels or len(self.labels) < LABELS_MAX:
            self.labels[label] += 1
            self.examples.setdefault(label, ending.detail[:300])
        else:
            self.labels["others"] += 1

    def add(self, other: Tally) -> None:
        """Add what another one has counted."""
        for name, histogram in other.histograms.items():
            self.histograms[name].add(histogram)
        self.retry_after.add(other.retry_after)
        self.counts.update(other.counts)
        self.labels.update(other.labels)
        self.examples = {**other.examples, **self.examples}
        self.tokens += other.tokens
        self.good += other.good
        self.judged += other.judged

    def summaries(self) -> dict[str, dict[str, Any]]:
        """Return each latency's summary, in seconds."""
        return {name: each.summary() for name, each in self.histograms.items()}


def _outcome(asked: Asked, heard: Listener, ending: Ending) -> str:
    match ending.kind:
        case "completed":
            short = asked.promised is not None and heard.chars != asked.promised
            return "truncated" if short else "ok"
        case "cancelled":
            # A target that gives up a turn that nobody left has failed it.
            return "cancelled" if asked.fate.cancel_after is not None else "failed"
        case "failed":
            if asked.fate.fault is not None:
                return "injected"
            return "killed" if ending.crashed else "failed"
        case kind:
            return kind


_WINDOW_NAMES: Final[Mapping[str, str]] = {
    "ok": "ok",
    "cancelled": "cancelled",
    "injected": "injected",
    "killed": "injected",
    "rejected": "rejected",
    "failed": "failed",
    "truncated": "failed",
    "lost": "failed",
}
