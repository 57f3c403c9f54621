"""A run while it goes: one JSON line, or a panel of a few lines for a terminal. Pure."""

from __future__ import annotations

from typing import Any, Final

import attrs

from actrio.stress._text import amount, percent, size, span
from actrio.stress._watch import Live

__all__ = ["PANEL_LINES", "live_json", "panel"]

PANEL_LINES: Final = 5
BARS: Final = "▁▂▃▄▅▆▇█"


def live_json(live: Live) -> dict[str, Any]:
    """Return one second as JSON values."""
    return {
        "type": "stress.second",
        "elapsed_seconds": round(live.elapsed_seconds, 3),
        "stage": live.stage,
        "turns": live.counts,
        "tokens": live.tokens,
        "second": attrs.asdict(live.point),
    }


def panel(live: Live, rates: list[float], *, color: bool) -> list[str]:
    """Return the lines of the panel.

    Args:
        live: The last second.
        rates: Turns per second so far, of which the last are drawn.
        color: Whether to use colours.
    """
    point, counts = live.point, live.counts
    bold, dim, red, plain = ("\x1b[1m", "\x1b[2m", "\x1b[31m", "\x1b[0m") if color else ("",) * 4
    seconds = point.seconds or 1.0
    wrong = sum(counts.get(name, 0) for name in ("failed", "lost", "truncated"))
    ends = [
        f"{counts.get(name, 0):,} {name}"
        for name in ("rejected", "cancelled", "injected", "killed", "dropped")
        if counts.get(name)
    ]
    errors = f"{red if wrong else ''}{wrong:,} errors{plain if wrong else ''}"
    return [
        (
            f"{bold}actrio stress{plain}  {live.elapsed_seconds:6.0f} s  {live.stage}  "
            f"{point.in_flight or 0:,} turns at work"
        ),
        (
            f"  {amount(point.ok / seconds):>8} turns/s  {amount(point.tokens / seconds):>9} tokens/s  "
            f"{dim}{sparkline(rates[-40:])}{plain}"
        ),
        (
            f"  ttft p50 {span(point.ttft_p50):>8}  turn p50 {span(point.e2e_p50):>8}  "
            f"p95 {span(point.e2e_p95):>8}  p99 {span(point.e2e_p99):>8}"
        ),
        (
            f"  cpu {percent(point.cpu):>8}  memory {size(point.rss_bytes):>10}  "
            f"loop late {span(point.lag):>8}"
        ),
        f"  {counts.get('ok', 0):,} ok  {errors}  {'  '.join(ends)}",
    ]


def sparkline(values: list[float]) -> str:
    """Return values as a row of bars, from nothing to the greatest."""
    most = max(values, default=0.0)
    if most <= 0:
        return ""
    return "".join(BARS[min(7, int(value / most * 7.999))] for value in values)
