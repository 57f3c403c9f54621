"""Plots as inline SVG: lines, stacked columns and a distribution. Pure; every text is escaped.

Colours are classes (``c1`` …) that the page's style sheet gives a value for light and for dark.
Each moment has an invisible column with a ``<title>``, so a browser shows all values of it where
the pointer is, without a script.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from html import escape
from typing import Final

import attrs

__all__ = ["Curve", "Format", "columns_plot", "distribution_plot", "figure", "lines_plot", "ticks"]

WIDTH: Final = 560
HEIGHT: Final = 220
LEFT: Final = 58
RIGHT: Final = 12
TOP: Final = 10
BOTTOM: Final = 26

BINS: Final = 72
"""Columns of a distribution: narrow enough to show two humps, wide enough to be seen."""

LINEAR_BELOW: Final = 4.0
"""Of a logarithmic axis, the span below which round values stand evenly."""

Format = Callable[[float], str]


@attrs.frozen(slots=True)
class Curve:
    """A named row of values; None is a gap. ``css`` is its colour's class."""

    name: str
    values: Sequence[float | None]
    css: str


@attrs.frozen(slots=True)
class _Scale:
    """From values to places on the paper."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)


def figure(name: str, title: str, about: str, svg: str, curves: Sequence[Curve] = ()) -> str:
    """Return a plot with its title, an explanation and a legend where there is a choice."""
    keys = "".join(
        f'<span class="key"><i class="{curve.css}"></i>{escape(curve.name)}</span>'
        for curve in curves
    )
    legend = f'<div class="legend">{keys}</div>' if len(curves) > 1 else ""
    return (
        f'<figure id="plot-{escape(name)}"><figcaption><h3>{escape(title)}</h3>'
        f"<p>{escape(about)}</p></figcaption>{legend}{svg}</figure>"
    )


# -- over time -------------------------------------------------------------------------------------


def lines_plot(
    title: str,
    at: Sequence[float],
    curves: Sequence[Curve],
    *,
    y: Format,
    x: Format,
    bands: Sequence[tuple[float, str]] = (),
    x_ticks: Sequence[float] = (),
) -> str:
    """Return lines over ``at``.

    Args:
        title: For who hears the page instead of seeing it.
        at: Moments, or whatever the lines go over.
        curves: The lines; later ones are drawn over earlier ones.
        y: How a value is written.
        x: How a moment is written.
        bands: Moments with a name, drawn as thin upright lines.
        x_ticks: Which moments are written below; round ones where none are given.
    """
    most = max((v for curve in curves for v in curve.values if v is not None), default=None)
    if most is None or not at:
        return _nothing(title)
    up = _Scale(0.0, _roof(most), HEIGHT - BOTTOM, TOP)
    right = _across(at)
    drawn = [*_y_axis(up, y), *_x_axis(right, x, x_ticks)]
    for moment, name in bands:
        if right.low < moment < right.high:
            place = right(moment)
            drawn.append(
                f'<line class="band" x1="{place:.1f}" x2="{place:.1f}" y1="{TOP}" '
                f'y2="{HEIGHT - BOTTOM}"><title>{escape(name)}</title></line>'
            )
    for curve in curves:
        drawn += _line(curve, at, right, up)
    drawn += _columns_of_titles(at, right, curves, y, x)
    return _svg(title, drawn)


def _line(curve: Curve, at: Sequence[float], right: _Scale, up: _Scale) -> Iterator[str]:
    piece: list[str] = []
    for moment, value in (*zip(at, curve.values, strict=True), (0.0, None)):
        if value is not None:
            piece.append(f"{right(moment):.1f},{up(value):.1f}")
            continue
        if len(piece) > 1:
            yield f'<polyline class="line {curve.css}" points="{" ".join(piece)}"/>'
        elif piece:
            place = piece[0].split(",")
            yield f'<circle class="dot {curve.css}" cx="{place[0]}" cy="{place[1]}" r="2.5"/>'
        piece = []


def columns_plot(
    title: str,
    at: Sequence[float],
    curves: Sequence[Curve],
    *,
    y: Format,
    x: Format,
) -> str:
    """Return columns that stand on each other, one stack per moment."""
    stacks = [
        sum(v or 0.0 for v in values) for values in zip(*(c.values for c in curves), strict=True)
    ]
    if not stacks:
        return _nothing(title)
    most = max(stacks)
    up = _Scale(0.0, _roof(most or 1.0), HEIGHT - BOTTOM, TOP)
    right = _across(at)
    drawn = [*_y_axis(up, y), *_x_axis(right, x)]
    wide = max(1.0, _step(at, right) - 1)
    for index, moment in enumerate(at):
        base = 0.0
        for curve in curves:
            value = curve.values[index] or 0.0
            if value:
                top, bottom = up(base + value), up(base)
                drawn.append(
                    f'<rect class="bar {curve.css}" x="{right(moment) - wide / 2:.1f}" y="{top:.1f}" '
                    f'width="{wide:.1f}" height="{bottom - top:.1f}"/>'
                )
            base += value
    if not most:
        drawn.append(
            f'<text class="none" x="{(LEFT + WIDTH) / 2}" y="{HEIGHT / 2}">none at all</text>'
        )
    drawn += _columns_of_titles(at, right, curves, y, x)
    return _svg(title, drawn)


def _columns_of_titles(
    at: Sequence[float], right: _Scale, curves: Sequence[Curve], y: Format, x: Format
) -> Iterator[str]:
    wide = _step(at, right)
    for index, moment in enumerate(at):
        told = [x(moment)]
        for curve in curves:
            value = curve.values[index]
            told.append(f"{curve.name}: {y(value) if value is not None else '–'}")
        yield (
            f'<rect class="touch" x="{right(moment) - wide / 2:.1f}" y="{TOP}" '
            f'width="{wide:.1f}" height="{HEIGHT - TOP - BOTTOM}">'
            f"<title>{escape(chr(10).join(told))}</title></rect>"
        )


def _across(at: Sequence[float]) -> _Scale:
    """Return the scale of moments, with room for half a column at both ends."""
    half = (at[-1] - at[0]) / (len(at) - 1) / 2 if len(at) > 1 else 0.5
    low = at[0] - half
    low = 0.0 if low < half else low  # what begins near nothing begins at nothing
    return _Scale(min(low, at[0]), at[-1] + half, LEFT, WIDTH - RIGHT)


def _step(at: Sequence[float], right: _Scale) -> float:
    """Return how wide the column of one moment is."""
    if len(at) < 2:
        return right.end - right.start
    return right(at[1]) - right(at[0])


# -- a distribution --------------------------------------------------------------------------------


def distribution_plot(
    title: str,
    spread: Sequence[tuple[float, float, int]],
    marks: Sequence[tuple[str, float]],
    *,
    x: Format,
) -> str:
    """Return how often which value came, over a logarithmic axis.

    Args:
        title: For who hears the page instead of seeing it.
        spread: Low end, high end and count of each bucket, rising.
        marks: Names and values to be marked, for example percentiles.
        x: How a value is written.
    """
    if not spread:
        return _nothing(title)
    low, high = math.log(spread[0][0]), math.log(spread[-1][1])
    if high - low < 0.2:  # all the same, nearly: a bell needs some room beside it
        low, high = low - 0.1, high + 0.1
    counts = [0] * BINS
    total = 0
    for begin, end, count in spread:
        place = (math.log((begin + end) / 2) - low) / (high - low)
        counts[min(BINS - 1, max(0, int(place * BINS)))] += count
        total += count
    up = _Scale(0.0, _roof(max(counts) / total), HEIGHT - BOTTOM, TOP + 20)
    right = _Scale(low, high, LEFT, WIDTH - RIGHT)
    drawn = list(
        _y_axis(up, lambda share: f"{share:.0%}" if share >= 0.01 or not share else f"{share:.1%}")
    )
    drawn += [
        _x_label(right(math.log(value)), x(value))
        for value in _log_ticks(math.exp(low), math.exp(high))
    ]
    wide = (WIDTH - LEFT - RIGHT) / BINS
    for index, count in enumerate(counts):
        if count:
            top = up(count / total)
            begin = math.exp(low + (high - low) * index / BINS)
            end = math.exp(low + (high - low) * (index + 1) / BINS)
            told = f"{x(begin)} to {x(end)}\n{count:,} of {total:,} ({count / total:.1%})"
            drawn.append(
                f'<rect class="bar c2" x="{LEFT + index * wide + 0.5:.1f}" y="{top:.1f}" '
                f'width="{wide - 1:.1f}" height="{HEIGHT - BOTTOM - top:.1f}">'
                f"<title>{escape(told)}</title></rect>"
            )
    drawn += _marks(marks, right, x)
    return _svg(title, drawn)


def _marks(marks: Sequence[tuple[str, float]], right: _Scale, x: Format) -> Iterator[str]:
    ends = [-math.inf, -math.inf]  # of the names in the two rows above the plot
    for name, value in marks:
        place = right(math.log(max(value, 1e-9)))
        told = f"<title>{escape(name)}: {escape(x(value))}</title>"
        yield (
            f'<line class="mark" x1="{place:.1f}" x2="{place:.1f}" y1="{TOP + 17}" '
            f'y2="{HEIGHT - BOTTOM}">{told}</line>'
        )
        row = 0 if place - ends[0] > 26 else 1
        if place - ends[row] > 26:  # else it would stand on another one
            yield f'<text class="mark" x="{place:.1f}" y="{TOP + 14 - 12 * row}">{escape(name)}</text>'
            ends[row] = place


# -- axes ------------------------------------------------------------------------------------------


def ticks(most: float, count: int = 4) -> list[float]:
    """Return about ``count`` round values from 0 to at least ``most``."""
    if most <= 0:
        return [0.0, 1.0]
    rough = most / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * each for each in (1, 2, 2.5, 5, 10) if power * each >= rough * 0.999)
    return [step * k for k in range(math.ceil(most / step - 1e-9) + 1)]


def _roof(most: float) -> float:
    return ticks(most)[-1]


def _log_ticks(low: float, high: float) -> list[float]:
    if high / low < LINEAR_BELOW:
        return [
            value for value in ticks(high, round(5 * high / (high - low))) if low <= value <= high
        ]
    found = [
        factor * 10.0**power
        for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        for factor in (1, 2, 5)
    ]
    inside = [value for value in found if low <= value <= high]
    return inside[:: math.ceil(len(inside) / 7)]


def _y_axis(up: _Scale, told: Format) -> Iterator[str]:
    for value in ticks(up.high):
        place = up(value)
        yield (
            f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{place:.1f}" y2="{place:.1f}"/>'
            f'<text class="y" x="{LEFT - 6}" y="{place + 3.5:.1f}">{escape(_round(value, told))}</text>'
        )


def _x_axis(right: _Scale, told: Format, wanted: Sequence[float] = ()) -> Iterator[str]:
    for value in wanted or ticks(right.high, 6):
        if right.low <= value <= right.high:
            yield _x_label(right(value), told(value))


def _round(value: float, told: Format) -> str:
    """Return a tick's value without the digits that are always nought."""
    return _NOUGHTS.sub("", told(value)) if value else "0"


_NOUGHTS: Final = re.compile(r"\.0+(?=\D|$)|(?<=\.\d)0+(?=\D|$)")


def _x_label(place: float, text: str) -> str:
    return f'<text class="x" x="{place:.1f}" y="{HEIGHT - 8}">{escape(text)}</text>'


def _svg(title: str, drawn: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title, quote=True)}">'
        + "".join(drawn)
        + "</svg>"
    )


def _nothing(title: str) -> str:
    return _svg(title, [f'<text class="none" x="{WIDTH / 2}" y="{HEIGHT / 2}">not measured</text>'])
