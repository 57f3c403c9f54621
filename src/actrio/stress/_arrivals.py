"""When turns are to begin: plans that are known before the first of them runs. Pure, seeded.

A *closed* stage has so many sessions, and each begins its next turn when the last has ended: what
the target does slows the load down, as a fixed crowd of people would. An *open* stage begins turns
at times that do not depend on the target, as the public does; only there can a queue be seen to
grow. Each turn of an open stage has an intended start. Whoever measures from the actual start
instead forgives the target for every moment in which it kept turns from starting at all
(coordinated omission), so both are measured.

Rates may change within a stage, linearly. All arrival processes are first made at the rate of one
per unit of *work*, and then stretched over time by inverting the integral of the rate; so a
Poisson ramp needs no thinning and a constant ramp has no steps.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator, Sequence
from typing import Any, Final, Literal, get_args

import attrs
import msgspec

from actrio.errors import InvalidRequest, LimitExceeded

__all__ = [
    "ARRIVALS",
    "Arrival",
    "ArrivalKind",
    "Segment",
    "Stage",
    "closed",
    "open_loop",
    "planned",
    "ramp",
    "read_replay",
    "replayed",
    "sweep",
]

ArrivalKind = Literal["constant", "poisson", "burst"]
ARRIVALS: Final = get_args(ArrivalKind)

BURST: Final = 10
"""Turns that begin together in a burst: enough to be seen in a queue, few enough to be ordinary."""

RAMP_STEPS: Final = 20
"""Steps of a linear ramp of sessions: a session is whole, and twenty look like a line."""

REPLAY_MAX: Final = 1_000_000
"""Arrivals in a file: they are kept in memory, at some 100 bytes each."""


@attrs.frozen(slots=True)
class Arrival:
    """One turn to begin, ``at`` seconds after its stage has."""

    at: float
    prompt: str | None = None


@attrs.frozen(slots=True)
class Segment:
    """``seconds`` in which the rate, in turns per second, goes from one value to another."""

    seconds: float
    rate_from: float
    rate_to: float

    @property
    def turns(self) -> float:
        return self.seconds * (self.rate_from + self.rate_to) / 2

    def when(self, work: float) -> float:
        """Return after how many seconds the rate has added up to ``work``."""
        slope = (self.rate_to - self.rate_from) / self.seconds
        # The root of a quadratic in the form that is exact for a slope near zero as well.
        root = math.sqrt(max(0.0, self.rate_from**2 + 2 * slope * work))
        bottom = self.rate_from + root
        return min(self.seconds, 2 * work / bottom) if bottom else 0.0


@attrs.frozen(slots=True, kw_only=True)
class Stage:
    """A part of a run under one load.

    Attributes:
        name: For the report.
        seconds: How long it lasts.
        sessions: How many sessions may be at work.
        segments: Its rates, where it is open; none where it is closed.
        kind: How the turns of an open stage are spread.
        arrivals: A recorded stage: when each turn begins.
        measured: Whether it is a result of its own, with nothing left over from the one before.
        seed: Of what is drawn by chance.
    """

    name: str
    seconds: float
    sessions: int
    segments: tuple[Segment, ...] = ()
    kind: ArrivalKind = "constant"
    arrivals: tuple[Arrival, ...] = ()
    measured: bool = False
    seed: int = 0

    @property
    def is_open(self) -> bool:
        """Whether turns begin at times of their own."""
        return bool(self.segments or self.arrivals)

    @property
    def offered_per_second(self) -> float | None:
        """The rate that is asked for, on average; None where the target sets it."""
        if self.arrivals:
            return len(self.arrivals) / self.seconds
        if self.segments:
            return sum(each.turns for each in self.segments) / self.seconds
        return None


# -- profiles --------------------------------------------------------------------------------------


def closed(sessions: int, seconds: float, *, ramp_seconds: float = 0.0) -> tuple[Stage, ...]:
    """Return a closed run: ``sessions`` at work for ``seconds``, after a linear ramp."""
    rising: tuple[Stage, ...] = ()
    if ramp_seconds > 0:
        counts = sorted({math.ceil(sessions * k / RAMP_STEPS) for k in range(1, RAMP_STEPS)})
        each = ramp_seconds / len(counts) if counts else 0.0
        rising = tuple(Stage(name="ramp", seconds=each, sessions=count) for count in counts)
    return (*rising, Stage(name="hold", seconds=seconds, sessions=sessions))


def open_loop(
    rate: float,
    seconds: float,
    *,
    sessions: int,
    kind: ArrivalKind = "constant",
    ramp_seconds: float = 0.0,
    seed: int = 0,
) -> tuple[Stage, ...]:
    """Return an open run: turns begin at ``rate`` per second, after a linear ramp from nothing.

    Args:
        rate: Turns per second.
        seconds: How long the full rate lasts.
        sessions: Turns that may be at work at once; later ones wait, and the wait is measured.
        kind: How they are spread.
        ramp_seconds: How long the rate rises before.
        seed: Of the chance in ``poisson``.
    """
    segments: tuple[Segment, ...] = (Segment(seconds, rate, rate),)
    if ramp_seconds > 0:
        segments = (Segment(ramp_seconds, 0.0, rate), *segments)
    return (
        Stage(
            name="hold",
            seconds=seconds + ramp_seconds,
            sessions=sessions,
            segments=segments,
            kind=kind,
            seed=seed,
        ),
    )


def ramp(steps: Sequence[tuple[float, float]], *, sessions: int, rates: bool) -> tuple[Stage, ...]:
    """Return the stages of ``steps``: each a level and how many seconds it lasts.

    Args:
        steps: Levels and seconds.
        sessions: Turns that may be at work at once, where levels are rates.
        rates: Whether levels are turns per second; else they are sessions.
    """
    if rates:
        return tuple(
            Stage(
                name=f"{level:g}/s",
                seconds=seconds,
                sessions=sessions,
                segments=(Segment(seconds, level, level),),
            )
            for level, seconds in steps
        )
    return tuple(
        Stage(name=f"{level:g} sessions", seconds=seconds, sessions=max(1, round(level)))
        for level, seconds in steps
    )


def sweep(
    levels: Sequence[float], seconds: float, *, sessions: int, rates: bool
) -> tuple[Stage, ...]:
    """Return a stage for each of ``levels``, each measured by itself; see `ramp`."""
    stages = ramp([(level, seconds) for level in levels], sessions=sessions, rates=rates)
    return tuple(attrs.evolve(stage, measured=True) for stage in stages)


def replayed(arrivals: Sequence[Arrival], *, sessions: int) -> tuple[Stage, ...]:
    """Return the stage in which turns begin as they did when ``arrivals`` were recorded."""
    last = max((each.at for each in arrivals), default=0.0)
    ordered = tuple(sorted(arrivals, key=lambda each: each.at))
    return (Stage(name="replay", seconds=max(last, 0.001), sessions=sessions, arrivals=ordered),)


# -- arrivals --------------------------------------------------------------------------------------


def planned(stage: Stage) -> Iterator[Arrival]:
    """Return every arrival of an open stage, in order; the same each time it is asked."""
    if stage.arrivals:
        return iter(stage.arrivals)
    return _stretched(stage.segments, _work(stage.kind, stage.seed))


def _stretched(segments: Sequence[Segment], work: Iterator[float]) -> Iterator[Arrival]:
    begun, done = 0.0, 0.0
    done_at = next(work)
    for segment in segments:
        while done_at < done + segment.turns:
            yield Arrival(begun + segment.when(done_at - done))
            done_at = next(work)
        begun += segment.seconds
        done += segment.turns


def _work(kind: ArrivalKind, seed: int) -> Iterator[float]:
    """Return arrivals at the rate of one per unit, without end."""
    match kind:
        case "constant":
            yield from itertools.count(0.0)
        case "burst":
            for begun in itertools.count(0, BURST):
                yield from itertools.repeat(float(begun), BURST)
        case "poisson":
            rng = random.Random(seed)
            at = 0.0
            while True:
                at += rng.expovariate(1.0)
                yield at


class _ReplayLine(msgspec.Struct, frozen=True):
    at: float
    prompt: str | None = None


def read_replay(content: bytes, *, source: str) -> tuple[Arrival, ...]:
    """Return the arrivals of a file: on each line seconds, or ``{"at": seconds, "prompt": text}``.

    Raises:
        InvalidRequest: A line is neither, or there is none.
        LimitExceeded: There are more than a million.
    """
    found: list[Arrival] = []
    for number, line in enumerate(content.splitlines(), 1):
        if not line.strip():
            continue
        found.append(_replay_line(line, f"{source}:{number}"))
        if len(found) > REPLAY_MAX:
            raise LimitExceeded(
                f"{source} has more than {REPLAY_MAX:,} arrivals.", remedy="Cut it into parts."
            )
    if not found:
        raise InvalidRequest(f"{source} has no arrivals.", remedy="Write one time on each line.")
    return tuple(found)


def _replay_line(line: bytes, place: str) -> Arrival:
    try:
        told: Any = msgspec.json.decode(line)
        read = msgspec.convert(
            {"at": told} if isinstance(told, (int, float)) else told, _ReplayLine
        )
    except msgspec.MsgspecError as error:
        raise InvalidRequest(
            f"{place} is no arrival: {error}.",
            remedy='Write seconds, or {"at": 1.5, "prompt": "…"}.',
        ) from error
    if not 0 <= read.at < 1e7:
        raise InvalidRequest(
            f"{place}: {read.at:g} is no time.", remedy="Write seconds since the first arrival."
        )
    return Arrival(read.at, read.prompt)
