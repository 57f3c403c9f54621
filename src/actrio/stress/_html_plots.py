"""The plots of a report: which there are, and what each shows. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import attrs

from actrio.stress._histogram import Histogram
from actrio.stress._plots import Curve, Format, columns_plot, distribution_plot, figure, lines_plot
from actrio.stress._series import Point, Series
from actrio.stress._text import amount, size, span

__all__ = ["PLOTS", "level_of", "plots_of", "stage_plots"]

PLOTTED_MAX: Final = 180
"""Points in a plot: one for three pixels; the report's JSON and CSV have them all."""


@attrs.frozen(slots=True)
class _OverTime:
    """A plot over time: its curves are columns of the series.

    Attributes:
        curves: Legend, column and colour of each; later ones are drawn over earlier ones.
        y: How a value is written.
        per_second: Whether counts are divided by the length of their point.
        stacked: Whether they stand on each other.
    """

    name: str
    title: str
    about: str
    curves: tuple[tuple[str, str, str], ...]
    y: Format
    per_second: bool = False
    stacked: bool = False


def _core(share: float) -> str:
    return f"{share:.0%}"


_OVER_TIME: Final = (
    _OverTime(
        "latency",
        "Turn latency",
        "From a turn's start to its last word; effective is from when it was to start.",
        (
            ("effective p99", "effective_p99", "c7"),
            ("p99", "e2e_p99", "c3"),
            ("p95", "e2e_p95", "c2"),
            ("p50", "e2e_p50", "c1"),
        ),
        span,
    ),
    _OverTime(
        "ttft",
        "Time to first token",
        "What a person waits before anything moves.",
        (("p95", "ttft_p95", "c2"), ("p50", "ttft_p50", "c1")),
        span,
    ),
    _OverTime(
        "throughput",
        "Turns per second",
        "Begun, and ended well.",
        (("begun", "started", "c8"), ("ended well", "ok", "c2")),
        amount,
        per_second=True,
    ),
    _OverTime(
        "tokens",
        "Tokens per second",
        "Of turns as they end.",
        (("tokens", "tokens", "c4"),),
        amount,
        per_second=True,
    ),
    _OverTime(
        "errors",
        "What did not end well, per second",
        "Failed is the target's fault, refused is overload told honestly, the rest was on purpose.",
        (
            ("failed", "failed", "c6"),
            ("refused", "rejected", "c7"),
            ("made to fail", "injected", "c5"),
            ("cancelled", "cancelled", "c8"),
        ),
        amount,
        per_second=True,
        stacked=True,
    ),
    _OverTime(
        "in-flight",
        "Turns at work",
        "At the end of each second.",
        (("turns", "in_flight", "c2"),),
        amount,
    ),
    _OverTime(
        "memory",
        "Memory",
        "Resident, of the process under load.",
        (("resident", "rss_bytes", "c4"),),
        size,
    ),
    _OverTime(
        "cpu",
        "Processor",
        "Of one core; where target and generator share a process, the lines are one.",
        (("generator", "generator_cpu", "c8"), ("target", "cpu", "c2")),
        _core,
    ),
    _OverTime(
        "lag",
        "Event loop late by",
        "The worst of each second, in the process that measures.",
        (("late", "lag", "c5"),),
        span,
    ),
    _OverTime(
        "mailboxes",
        "What waits",
        "The fullest mailbox, turns without a slot, calls without a connection.",
        (
            ("fullest mailbox", "mailbox_depth", "c2"),
            ("turns waiting", "turns_waiting", "c7"),
            ("calls waiting", "provider_waiting", "c5"),
        ),
        amount,
    ),
)

PLOTS: Final = (
    *(each.name for each in _OVER_TIME[:2]),
    "distribution",
    "percentiles",
    *(each.name for each in _OVER_TIME[2:]),
)
"""The plots that every report has, in their order."""


def plots_of(report: Mapping[str, Any]) -> Iterator[str]:
    """Return every plot of a report."""
    columns, bands = _thinned(report["series"]), _bands(report)
    drawn = {each.name: _over_time(each, columns, bands) for each in _OVER_TIME}
    drawn["distribution"] = _distribution(report)
    drawn["percentiles"] = _percentiles(report)
    for name in PLOTS:
        yield drawn[name]


def _over_time(
    plot: _OverTime, columns: Mapping[str, Sequence[Any]], bands: Sequence[tuple[float, str]]
) -> str:
    seconds = columns["seconds"]
    at = [begun + length / 2 for begun, length in zip(columns["at"], seconds, strict=True)]
    curves = [
        Curve(name, _rates(columns[column], seconds) if plot.per_second else columns[column], css)
        for name, column, css in plot.curves
    ]
    if plot.stacked:
        svg = columns_plot(plot.title, at, curves, y=plot.y, x=_moment)
    else:
        svg = lines_plot(plot.title, at, curves, y=plot.y, x=_moment, bands=bands)
    return figure(plot.name, plot.title, plot.about, svg, curves)


def _rates(counts: Sequence[int], seconds: Sequence[float]) -> list[float]:
    return [count / length for count, length in zip(counts, seconds, strict=True)]


def _thinned(columns: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
    series = Series(PLOTTED_MAX)
    for values in zip(*columns.values(), strict=True):
        series.add(Point(**dict(zip(columns, values, strict=True))))
    return series.columns()


def _bands(report: Mapping[str, Any]) -> list[tuple[float, str]]:
    """Return where stages begin, and where the warm-up ends."""
    found = []
    begun = 0.0
    for stage in report["stages"]:
        if begun and stage["name"] != "ramp":
            found.append((begun, stage["name"]))
        begun += stage["seconds"]
    found.append((begun, "end of the load"))
    warm = report["plan"]["warmup_seconds"]
    return [*found, (warm, "end of the warm-up")] if warm else found


def _distribution(report: Mapping[str, Any]) -> str:
    histogram = Histogram.from_dict(report["histograms"]["e2e"])
    marks = [
        (name, value)
        for name in ("p50", "p95", "p99", "max")
        if (value := report["latency"]["e2e"][name]) is not None
    ]
    title = "Turn latency, how often"
    svg = distribution_plot(title, histogram.spread(), marks, x=span)
    return figure("distribution", title, "Share of turns; the axis is logarithmic.", svg)


def _percentiles(report: Mapping[str, Any]) -> str:
    """Draw latency over the share of turns, so that each nine takes as much room as the last."""
    found = [Histogram.from_dict(report["histograms"][name]) for name in ("e2e", "effective")]
    nines = [k / 10 for k in range(41)]
    most = max((each.count for each in found), default=0)
    nines = [nine for nine in nines if 10.0**nine <= max(most, 1)]
    curves = [
        Curve(
            name,
            each.quantiles(*(1 - 10.0**-nine for nine in nines))
            if each.count
            else [None] * len(nines),
            css,
        )
        for name, each, css in zip(
            ("effective", "service"), reversed(found), ("c7", "c2"), strict=True
        )
    ]
    title = "Turn latency by percentile"
    about = "Effective counts the time in which a turn could not even begin."
    svg = lines_plot(title, nines, curves, y=span, x=_nines, x_ticks=_NINES)
    return figure("percentiles", title, about, svg, curves)


_NINES: Final = (0.0, 0.30103, 1.0, 2.0, 3.0, 4.0)  # 0 %, 50 %, 90 %, 99 % …


def _nines(nine: float) -> str:
    share = 100 * (1 - 10.0**-nine)
    return f"{share:.4g} %"


def _moment(seconds: float) -> str:
    if seconds < 120:
        return (
            f"{seconds:.0f} s" if seconds >= 10 or seconds == int(seconds) else f"{seconds:.1f} s"
        )
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def stage_plots(stages: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Return the plots over load, where several loads were measured; ``stages`` rise."""
    levels = [level_of(stage) for stage in stages]
    latency = [
        Curve("first token", [stage["latency"]["ttft"]["p95"] for stage in stages], "c1"),
        Curve("turn", [stage["latency"]["e2e"]["p95"] for stage in stages], "c2"),
    ]
    turns = [Curve("turns/s", [stage["rates"]["turns_per_second"] for stage in stages], "c4")]
    if len(stages) < 2:
        return
    yield '<div class="plots">'
    svg = lines_plot("p95 by load", levels, latency, y=span, x=_plain)
    yield figure(
        "stages-latency",
        "p95 by load",
        "Over sessions, or turns offered per second.",
        svg,
        latency,
    )
    svg = lines_plot("Turns per second by load", levels, turns, y=amount, x=_plain)
    yield figure(
        "stages-throughput",
        "Turns per second by load",
        "Where it bends is the knee.",
        svg,
        turns,
    )
    yield "</div>"


def _plain(value: float) -> str:
    return f"{value:,g}"


def level_of(stage: Mapping[str, Any]) -> float:
    """Return the load of a stage: turns offered per second, or sessions."""
    return float(stage["offered_per_second"] or stage["sessions"])
