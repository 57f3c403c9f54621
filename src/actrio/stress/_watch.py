"""Looks on while a run goes: the running second, the processes, and what the target tells."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Any, Final, Protocol

import attrs
import trio

from actrio.stress._histogram import Histogram
from actrio.stress._measure import Tally, Window
from actrio.stress._sample import LoopLag, ProcessSample, cpu_share, process_sample, tasks_alive
from actrio.stress._series import Point, Series
from actrio.stress._targets import Look, MailboxLook, Target

__all__ = ["Live", "Mark", "Watch"]

LOOK_SECONDS: Final = 1.0

LOOK_SHARE: Final = 0.01
"""Of the time, how much may go into looking: a tree of thousands is looked at less often."""

BROKEN_SECONDS: Final = 0.2
"""A shorter rest of a second has too few turns in it to be shown."""

LOOK_PAUSE_SECONDS_MAX: Final = 10.0
"""However much it costs: a run without a look has no peaks to tell."""

LOOK_SECONDS_MAX: Final = 5.0
"""How long a busy target may take to tell of itself before it is left in peace."""


class _HasTally(Protocol):
    tally: Tally


@attrs.frozen(slots=True)
class Mark:
    """How far everything was at one moment."""

    at: float
    ok: int
    tokens: int
    ended: int
    target: ProcessSample
    generator: ProcessSample
    provider: ProcessSample


@attrs.frozen(slots=True, kw_only=True)
class Live:
    """One second of a run, for whoever looks on.

    Attributes:
        elapsed_seconds: Since the run began.
        stage: The stage's name.
        point: The second.
        counts: Ends of turns so far.
        tokens: Tokens so far.
    """

    elapsed_seconds: float
    stage: str
    point: Point
    counts: dict[str, int]
    tokens: int


class Watch:
    """What is seen of one run.

    Args:
        target: What is under load.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self._begun = 0.0
        self.stage = ""
        self.stage_begun = 0.0
        self.window = Window()
        self.series = Series()
        self.lag = LoopLag()
        self.in_flight = 0
        self.in_flight_peak = 0
        self.kills = 0
        self.tasks_peak = 0
        self.descriptors_peak: int | None = None
        self.look = Look()
        self.mailboxes: dict[str, MailboxLook] = {}
        self.turns_waiting_peak: int | None = None
        self.provider_waiting_peak: int | None = None
        self._ok = self._tokens = self._ended = 0
        self._first: Mark | None = None
        self._last: Mark | None = None
        self.warm: Mark | None = None
        self.end: Mark | None = None
        self._scope = trio.CancelScope()

    # -- its own tasks -----------------------------------------------------------------------------

    async def run(self) -> None:
        """Measure the event loop and look at the target until `stop`."""
        with self._scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.lag.run)
                nursery.start_soon(self._look_again_and_again)

    def stop(self) -> None:
        self._scope.cancel()

    async def _look_again_and_again(self) -> None:
        while True:
            begun, used = trio.current_time(), time.process_time()
            with trio.move_on_after(LOOK_SECONDS_MAX):
                self._see(await self._target.look())
            self.tasks_peak = max(self.tasks_peak, tasks_alive())
            taken = trio.current_time() - begun
            # What others used meanwhile counts as well, so this is at most what it cost.
            cost = min(taken, time.process_time() - used)
            pause = max(LOOK_SECONDS - taken, cost / LOOK_SHARE)
            await trio.sleep(min(pause, LOOK_PAUSE_SECONDS_MAX))

    def _see(self, look: Look) -> None:
        self.look = look
        for kind, seen in look.mailboxes.items():
            before = self.mailboxes.get(kind, seen)
            self.mailboxes[kind] = MailboxLook(
                max(before.actors, seen.actors),
                max(before.depth, seen.depth),
                max(before.peak_depth, seen.peak_depth),
                max(before.capacity, seen.capacity),
                max(before.waiting_senders, seen.waiting_senders),
            )
        self.turns_waiting_peak = _most(self.turns_waiting_peak, look.turns_waiting)
        peak = look.provider_peak if look.provider_peak is not None else look.provider_waiting
        self.provider_waiting_peak = _most(self.provider_waiting_peak, peak)

    # -- told by the run ---------------------------------------------------------------------------

    def begin_stage(self, name: str) -> Mark:
        """A stage begins; returns how far everything was."""
        mark = self.mark()
        self.stage, self.stage_begun = name, mark.at
        return mark

    def begin(self, now: float) -> float:
        """The clock starts; returns its zero."""
        self._begun = self.stage_begun = now
        self.lag.histogram = Histogram()  # what the start took is not the run's
        self.lag.take_worst()
        self._first = self._last = self.mark()
        return now

    def began(self) -> None:
        self.window.started += 1
        self.in_flight += 1
        self.in_flight_peak = max(self.in_flight_peak, self.in_flight)

    def left(self) -> None:
        self.in_flight -= 1

    def ended(self, outcome: str, tokens: int) -> None:
        self._ended += 1
        self._ok += outcome == "ok"
        self._tokens += tokens

    def mark(self) -> Mark:
        """Return how far everything is now."""
        return Mark(
            trio.current_time(),
            self._ok,
            self._tokens,
            self._ended,
            process_sample(self._target.pid),
            process_sample(os.getpid()),
            process_sample(self._target.provider_pid),
        )

    def mark_warm(self) -> None:
        """The warm-up is over."""
        self.warm = self.mark()

    def mark_end(self) -> None:
        """The load is over; what comes now only ends."""
        self.end = self.mark()

    def finish(self, stages: Sequence[_HasTally]) -> None:
        """Take the last, broken second, and the marks that an early end left out."""
        if self._last is None:
            self.begin(trio.current_time())
        assert self._last is not None
        if trio.current_time() - self._last.at > BROKEN_SECONDS or not self.series.points():
            self.second(stages)
        self.warm = self.warm or self._first
        self.end = self.end or self.mark()

    # -- each second -------------------------------------------------------------------------------

    def second(self, stages: Sequence[_HasTally]) -> Live:
        """Close the running second and return it."""
        assert self._last is not None
        now, last = self.mark(), self._last
        self._last = now
        point = self._point(last, now)
        self.series.add(point)
        counts: dict[str, int] = {}
        for stage in stages:
            for name, count in stage.tally.counts.items():
                counts[name] = counts.get(name, 0) + count
        return Live(
            elapsed_seconds=now.at - self._begun,
            stage=self.stage,
            point=point,
            counts=counts,
            tokens=self._tokens,
        )

    def _point(self, last: Mark, now: Mark) -> Point:
        window, self.window = self.window, Window()
        seconds = now.at - last.at
        self.descriptors_peak = _most(self.descriptors_peak, now.target.descriptors)
        ttft = window.ttft.quantiles(0.5, 0.95)
        e2e = window.e2e.quantiles(0.5, 0.95, 0.99)
        return Point(
            at=last.at - self._begun,
            seconds=seconds,
            started=window.started,
            ok=window.ok,
            cancelled=window.cancelled,
            failed=window.failed,
            injected=window.injected,
            rejected=window.rejected,
            tokens=window.tokens,
            ttft_p50=_known(ttft[0]),
            ttft_p95=_known(ttft[1]),
            e2e_p50=_known(e2e[0]),
            e2e_p95=_known(e2e[1]),
            e2e_p99=_known(e2e[2]),
            effective_p99=_known(window.effective.quantile(0.99)),
            in_flight=self.in_flight,
            cpu=cpu_share(last.target, now.target, seconds),
            generator_cpu=cpu_share(last.generator, now.generator, seconds),
            rss_bytes=now.target.rss_bytes,
            lag=self.lag.take_worst(),
            mailbox_depth=max((box.depth for box in self.look.mailboxes.values()), default=None),
            turns_waiting=self.look.turns_waiting,
            provider_waiting=self.look.provider_waiting,
        )


def _known(value: float) -> float | None:
    return value if value == value else None  # noqa: PLR0124 - NaN is what nothing gives


def _most(one: Any, two: Any) -> Any:
    known = [value for value in (one, two) if value is not None]
    return max(known, default=None)
