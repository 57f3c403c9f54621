"""Turns in memory: those of one session in their line, and the slots of the whole runtime."""

from __future__ import annotations

from typing import Final

import trio

from actrio.agents import TurnRun
from actrio.errors import Overloaded
from actrio.messages import TurnResult

__all__ = ["TurnInLine", "TurnSlots"]


RATE_WEIGHT: Final = 0.05
"""What one more turn's end counts in the measured rate: about the last twenty decide."""

RETRY_SECONDS_MAX: Final = 60.0
"""Longest advice to come back later: within a minute the load is another one."""


class TurnSlots:
    """Turns in flight in the whole runtime, bounded and first come, first served.

    Args:
        turns_max: Turns in flight.
        waiting_max: Turns that may wait for one to end; more are refused.
    """

    def __init__(self, turns_max: int, waiting_max: int) -> None:
        self._turns_max = turns_max
        self._free = trio.Semaphore(turns_max)
        self._waiting_max = waiting_max
        # Seconds between two ends, lately; 0 before there were two.
        self._between = 0.0
        self._ended_at: float | None = None
        self.peak = 0
        self.refused = 0

    def check_room(self) -> None:
        """Refuse a turn that would stand in a line that is full.

        Raises:
            Overloaded: With the time in which the line will have moved on, by the rate at which
                turns have ended lately.
        """
        waiting = self.waiting
        if waiting < self._waiting_max:
            return
        self.refused += 1
        raise Overloaded(
            f"{waiting} turns wait already for one of {self._turns_max} slots.",
            remedy="Come back after the time that is told, or raise limits.turns.",
            data={"limit": self._waiting_max, "in_flight": self.taken},
            retry_after_seconds=self.retry_after_seconds,
        )

    @property
    def retry_after_seconds(self) -> float:
        """How long the line as it is takes to get by; a quarter of a second where nothing ended."""
        seconds = self._between * max(1, self.waiting) if self._between else 0.25
        return round(min(max(seconds, 0.05), RETRY_SECONDS_MAX), 3)

    async def __aenter__(self) -> None:
        try:
            self._free.acquire_nowait()  # without a pass of the loop, as nearly always
        except trio.WouldBlock:
            await self._free.acquire()
        self.peak = max(self.peak, self.taken)

    async def __aexit__(self, *_exc: object) -> None:
        self._free.release()
        now = trio.current_time()
        if self._ended_at is not None:
            gap = now - self._ended_at
            self._between += RATE_WEIGHT * (gap - self._between) if self._between else gap
        self._ended_at = now

    @property
    def taken(self) -> int:
        return self._turns_max - self._free.value

    @property
    def waiting(self) -> int:
        return self._free.statistics().tasks_waiting


class TurnInLine:
    """The task of a turn that was accepted and has not ended."""

    __slots__ = (
        "cancel_reason",
        "done",
        "id",
        "into",
        "kept",
        "owned",
        "ready",
        "result",
        "run",
        "scope",
        "stopped",
        "suspended",
    )

    def __init__(self, turn_id: str, *, owned: bool) -> None:
        self.id = turn_id
        self.owned = owned
        self.scope = trio.CancelScope()
        self.cancel_reason = "owner"  # overwritten by whoever cancels; else its owner left
        self.kept = True  # False: it is rolled back
        self.stopped = False  # its session is closed: what has not begun stays in line
        self.suspended = False  # put aside to wait for a person; it has not ended
        self.run: TurnRun | None = None  # once it has come to the head of the line
        self.ready = trio.Event()  # it is the first in line, or another turn took it in
        self.into = ""  # the turn that took it in
        self.done = trio.Event()
        self.result: TurnResult | None = None

    def stop(self) -> None:
        """Cut it off, or let it stand in line until the session is opened again."""
        if not self.scope.cancel_called:
            self.stopped = True
            self.scope.cancel(reason="the session is closed")

    def cancel(self, reason: str, *, kept: bool = True) -> None:
        """End it; the first call counts."""
        if not self.scope.cancel_called:
            self.cancel_reason, self.kept = reason, kept
            self.scope.cancel(reason=reason)
