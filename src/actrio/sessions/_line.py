"""Turns in memory: those of one session in their line, and the slots of the whole runtime."""

from __future__ import annotations

import trio

from actrio.agents import TurnRun
from actrio.messages import TurnResult

__all__ = ["TurnInLine", "TurnSlots"]


class TurnSlots:
    """Turns in flight in the whole runtime, bounded and first come, first served."""

    def __init__(self, turns_max: int) -> None:
        self._limiter = trio.CapacityLimiter(turns_max)
        self.peak = 0

    async def __aenter__(self) -> None:
        await self._limiter.acquire_on_behalf_of(trio.lowlevel.current_task())
        self.peak = max(self.peak, self.taken)

    async def __aexit__(self, *_exc: object) -> None:
        self._limiter.release_on_behalf_of(trio.lowlevel.current_task())

    @property
    def taken(self) -> int:
        return int(self._limiter.borrowed_tokens)

    @property
    def waiting(self) -> int:
        return int(self._limiter.statistics().tasks_waiting)


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
        "suspended",
    )

    def __init__(self, turn_id: str, *, owned: bool) -> None:
        self.id = turn_id
        self.owned = owned
        self.scope = trio.CancelScope()
        self.cancel_reason = "owner"  # overwritten by whoever cancels; else its owner left
        self.kept = True  # False: it is rolled back
        self.suspended = False  # put aside to wait for a person; it has not ended
        self.run: TurnRun | None = None  # once it has come to the head of the line
        self.ready = trio.Event()  # it is the first in line, or another turn took it in
        self.into = ""  # the turn that took it in
        self.done = trio.Event()
        self.result: TurnResult | None = None

    def cancel(self, reason: str, *, kept: bool = True) -> None:
        """End it; the first call counts."""
        if not self.scope.cancel_called:
            self.cancel_reason, self.kept = reason, kept
            self.scope.cancel(reason=reason)
