"""The run itself: seats that take turns from the stage that is on, and a clock that looks on.

::

    course ──► stage ──► closed: each seat asks again when its turn has ended
                         open:   a pacer puts intended starts into a bounded line, seats take them
    each second: close the window, look at the processes, add a point, show it

Every seat is a task with a session of its own for the whole run. Between stages that are measured
by themselves the seats run dry first. Nothing here grows with the length of the run: latencies are
in histograms, the course of time in a bounded series, and waiting arrivals in a bounded line.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import trio

from actrio.errors import ActrioError, ProviderUnreachable
from actrio.stress._arrivals import Arrival, Stage, planned
from actrio.stress._course import Course, Fixed, Knee
from actrio.stress._measure import Tally
from actrio.stress._objectives import judge, per_turn_bounds
from actrio.stress._plan import StressPlan
from actrio.stress._provider import Promise
from actrio.stress._report import StageFacts, build_report, stage_report
from actrio.stress._sample import tasks_alive
from actrio.stress._targets import Seat, Target
from actrio.stress._turn_lines import TurnLines
from actrio.stress._turns import Asked, Ending, Listener, ending_of_error, unwrapped
from actrio.stress._watch import Live, Watch

__all__ = ["StressRun"]

BACKLOG_MAX: Final = 10_000
"""Turns that were to begin and wait for a free seat; beyond it they are dropped, and counted. A
queue of ten thousand has told what there is to tell."""

PAUSE_SECONDS: Final = 0.05
"""How long a seat waits after a refusal or failure that names no time, as a decent client does."""

PAUSE_SECONDS_MAX: Final = 5.0
"""A refusal that names a longer time is not waited out: the run would measure the waiting."""

SPREAD_SECONDS_MAX: Final = 1.0
"""Over how much of the warm-up the first turns of a closed stage are spread."""

PROVIDER_SECONDS: Final = 5.0
"""How long the scripted provider may take to tell what it has seen."""

LEAVE_SECONDS: Final = 2.0
"""How long what the last turns left behind may take to end, before it counts as left for good."""

STORE_SECONDS: Final = 60.0
"""How long looking through the store may take: some hundred megabytes after a long run."""

PROBE_SECONDS: Final = 60.0
"""How long the first turn may take, which shows that there is something to measure."""


class StressRun:
    """A run that is going on; lets it be ended early.

    Args:
        plan: What to do.
        target: What to do it to.
        show: Told once a second how it goes.
        environment: Where it takes place, for the report.
        lines: Where turns are written one by one.
    """

    def __init__(
        self,
        plan: StressPlan,
        target: Target,
        show: Callable[[Live], Awaitable[None]],
        *,
        environment: Mapping[str, Any],
        lines: TurnLines,
    ) -> None:
        self.environment = environment
        self.lines = lines
        self.stored: Mapping[str, int] = {}
        self.tasks_left = 0
        self._tasks_before: int | None = None  # not known before the first turn
        self.plan = plan
        self.target = target
        self.interrupted = False
        self._show = show
        self._promise = Promise(plan.model)
        self._rng = random.Random(plan.seed)
        self._course: Course = self._planned_course()
        self._stage: Stage | None = None
        self._line: trio.MemoryReceiveChannel[tuple[float, str | None]] | None = None
        self._change = trio.Event()
        self._over = False
        self._numbers = 0
        self._begun = 0.0
        # A crowd in step would be served in bursts for ever, and real crowds are not in step.
        self._spread = min(plan.warmup_seconds, SPREAD_SECONDS_MAX)
        self._bounds = per_turn_bounds(plan.objectives)
        self._load = trio.CancelScope()
        self._dry = trio.Event()
        self.tally = Tally(self._bounds)
        self.stages: list[StageFacts] = []
        self.watch = Watch(target)

    def _planned_course(self) -> Course:
        found = self.plan.knee
        if found is None:
            return Fixed(self.plan.stages)
        sessions = self.plan.sessions_max
        return Knee(found.start, found.most, found.seconds, sessions, found.rates)

    def interrupt(self) -> None:
        """End it now; what is known is still reported."""
        self.interrupted = True
        self._end()

    def _end(self) -> None:
        self._over = True
        self._load.cancel(reason="the run was ended")

    # -- the whole ---------------------------------------------------------------------------------

    async def run(self) -> dict[str, Any]:
        """Run to the end and return the report.

        Raises:
            ProviderUnreachable: The first turn fails: there is nothing to measure.
        """
        with unwrapped():
            seen = await self._measured()
        self.tasks_left = await self._left_over()
        return build_report(self, seen)

    async def _left_over(self) -> int:
        """Return how many tasks there are in this process that were not there before the load."""
        before = self._tasks_before
        if before is None:
            return 0
        with trio.move_on_after(LEAVE_SECONDS):
            while self._passing_tasks() > before:  # noqa: ASYNC110 - no task tells of its end
                await trio.sleep(PAUSE_SECONDS)
        return max(0, self._passing_tasks() - before)

    def _passing_tasks(self) -> int:
        return tasks_alive() - self.target.residents

    async def _measured(self) -> Mapping[str, int]:
        async with trio.open_nursery() as nursery:
            with self._load:
                await self._probe()
                self._tasks_before = self._passing_tasks()
                async with trio.open_nursery() as seats:
                    await self._take_seats(seats)
                    nursery.start_soon(self.watch.run)
                    await self._drive(nursery)
                    seats.cancel_scope.cancel(reason="the run is over")
            self.watch.finish(self.stages)
            self.watch.stop()
            await self.lines.flush()
            with trio.move_on_after(STORE_SECONDS):
                self.stored = await self.target.stored()
            seen = await self._provider_saw()
            nursery.cancel_scope.cancel()
        return seen

    async def _provider_saw(self) -> Mapping[str, int]:
        with trio.move_on_after(PROVIDER_SECONDS):
            try:
                return await self.target.ended()
            except ActrioError:
                return {}  # it is gone, which the turns have told already
        return {}

    async def _probe(self) -> None:
        """Run one turn before the clock starts: it warms up and shows that all is in place."""
        asked = Asked(self._prompt(None), trio.current_time(), counted=False)
        ending = Ending("failed", "stalled", f"no answer within {PROBE_SECONDS:g} s")
        with trio.move_on_after(PROBE_SECONDS):
            try:
                async with self.target.seat() as seat:
                    ending = await seat.turn(asked, Listener(asked, self.tally.gaps))
            except ActrioError as error:
                ending = ending_of_error(error)
        if ending.kind != "completed":
            raise ProviderUnreachable(
                f"{self.target.name} did not answer a first turn: {ending.label} {ending.detail}",
                provider=self.target.name,
                category="network",
                remedy="See that the target runs and knows the model, and try again.",
            )

    async def _take_seats(self, nursery: trio.Nursery) -> None:
        for index in range(self.plan.sessions_max):
            await nursery.start(self._sit, index)

    async def _drive(self, nursery: trio.Nursery) -> None:
        """Go through the stages while the watch looks on."""
        self._begun = self.watch.begin(trio.current_time())
        nursery.start_soon(self._each_second)
        if self.plan.chaos.kill_actor:
            nursery.start_soon(self._kill_now_and_then)
        warm = self.plan.warmup_seconds
        nursery.start_soon(self._mark_warm, warm)
        while not self._over and (stage := self._course.next()) is not None:
            await self._run_stage(stage)
            if stage.measured:
                told = stage_report(self.stages[-1])
                self._course.note(all(each.holds for each in judge(self._on_stage(), told)))
        self.watch.mark_end()
        await self._run_dry()

    def _on_stage(self) -> list[Any]:
        """Return the objectives that a single stage can be held to."""
        return [
            each
            for each in self.plan.objectives
            if not each.metric.startswith(("rss", "cpu", "loop_lag", "restarts"))
        ]

    async def _mark_warm(self, seconds: float) -> None:
        await trio.sleep(seconds)
        self.watch.mark_warm()

    async def _run_stage(self, stage: Stage) -> None:
        facts = StageFacts(stage, Tally(self._bounds), self.watch.begin_stage(stage.name))
        self.stages.append(facts)
        self.tally = facts.tally
        end = trio.current_time() + stage.seconds
        try:
            if stage.is_open:
                await self._pace(stage, end)
            else:
                self._begin(stage)
                await trio.sleep_until(end)
        finally:
            facts.end = self.watch.mark()
        if stage.measured:
            self._begin(None)
            await self._run_dry()

    def _begin(self, stage: Stage | None) -> None:
        """Let the seats take their turns from ``stage``."""
        self._stage = stage
        self._change.set()
        self._change = trio.Event()

    async def _run_dry(self) -> None:
        """Wait for the turns at work; those that take too long are cut off."""
        self._begin(None)
        with trio.move_on_after(self.plan.grace_seconds) as grace:
            while self.watch.in_flight:
                self._dry = trio.Event()
                await self._dry.wait()
        if grace.cancelled_caught:
            self._end()

    async def _pace(self, stage: Stage, end: float) -> None:
        """Put the intended starts of an open stage into the line, each at its time."""
        begun = trio.current_time()
        send, self._line = trio.open_memory_channel[tuple[float, str | None]](BACKLOG_MAX)
        with send, self._line:
            self._begin(stage)
            for arrival in planned(stage):
                at = begun + arrival.at
                if at > trio.current_time():
                    await trio.sleep_until(at)
                self._offer(send, arrival, at)
            await trio.sleep_until(end)
            left = self._line.statistics().current_buffer_used
            self.tally.dropped(left)
            self._begin(None)

    def _offer(
        self,
        send: trio.MemorySendChannel[tuple[float, str | None]],
        arrival: Arrival,
        at: float,
    ) -> None:
        self.tally.offered()
        try:
            send.send_nowait((at, arrival.prompt))
        except trio.WouldBlock:
            self.tally.dropped()

    # -- a seat ------------------------------------------------------------------------------------

    async def _sit(self, index: int, task_status: trio.TaskStatus[None]) -> None:
        async with self.target.seat() as seat:
            task_status.started()
            free_at = 0.0
            while (asked := await self._next(index, free_at)) is not None:
                pause = await self._turn(seat, asked)
                if pause:
                    await trio.sleep(pause)
                free_at = trio.current_time()

    async def _next(self, index: int, free_at: float) -> Asked | None:
        """Wait until this seat has a turn to run."""
        while not self._over:
            stage = self._stage
            if stage is None or index >= stage.sessions:
                await self._change.wait()
            elif stage.is_open:
                assert self._line is not None
                try:
                    intended, prompt = await self._line.receive()
                except (trio.EndOfChannel, trio.ClosedResourceError):
                    if self._stage is stage:
                        await self._change.wait()
                    continue
                return self._asked(intended, prompt)
            else:
                if not free_at and self._spread:
                    await trio.sleep(self._spread * index / stage.sessions)
                    free_at = trio.current_time()
                    continue
                self.tally.offered()
                return self._asked(max(free_at, self.watch.stage_begun), None)
        return None

    def _asked(self, intended: float, prompt: str | None) -> Asked:
        text = self._prompt(prompt)
        fate = self.plan.chaos.fate(self._rng)
        counted = intended >= self._begun + self.plan.warmup_seconds
        return Asked(text, intended, fate, self._promise.characters(text), counted)

    def _prompt(self, prompt: str | None) -> str:
        self._numbers += 1
        return prompt or self.plan.prompt.replace("{turn}", str(self._numbers))

    async def _turn(self, seat: Seat, asked: Asked) -> float:
        """Run a turn, count it, and return how long to wait before the next."""
        tally, watch = self.tally, self.watch
        heard = Listener(asked, tally.gaps)
        tally.began()
        watch.began()
        try:
            ending = await seat.turn(asked, heard)
        except ActrioError as error:
            ending = ending_of_error(error)
        except trio.Cancelled:
            tally.unfinished()
            raise
        finally:
            watch.left()
            if not watch.in_flight:
                self._dry.set()
        now = trio.current_time()
        outcome = tally.ended(asked, heard, ending, now, watch.window)
        watch.ended(outcome, ending.tokens)
        self.lines.add(
            asked,
            heard,
            ending,
            outcome=outcome,
            stage=watch.stage,
            zero=self._begun,
            now=now,
        )
        if self.target.gone:
            self._end()
        if outcome in {"failed", "rejected", "lost"}:
            return min(ending.retry_after_seconds or PAUSE_SECONDS, PAUSE_SECONDS_MAX)
        return 0.0

    # -- beside it ---------------------------------------------------------------------------------

    async def _each_second(self) -> None:
        due = trio.current_time()
        while True:
            due += 1.0
            await trio.sleep_until(due)
            await self._show(self.watch.second(self.stages))
            await self.lines.flush()

    async def _kill_now_and_then(self) -> None:
        rng = random.Random(self.plan.seed + 1)
        while True:
            await trio.sleep(rng.expovariate(self.plan.chaos.kill_actor))
            self.watch.kills += await self.target.kill(rng.random())
