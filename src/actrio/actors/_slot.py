"""A place where at most one task waits.

Trio's `Event` costs an object with a parking lot per use and cannot be re-armed; a memory channel
costs three kilobytes. Everything in this room that has exactly one waiter (an asker, a stream's
two ends, a receive loop) shares this instead. It is `ParkingLot` for one.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

import trio

__all__ = ["Slot"]


class Slot:
    """Parks one task until somebody calls `wake`.

    A wake with nobody parked is not remembered: the condition waited for must be a plain
    attribute that the waker sets first and the waiter checks first (both sides run without a
    schedule point between check and park, so no wake-up is lost).
    """

    __slots__ = ("parked",)

    def __init__(self) -> None:
        # The parked task, or None. Cleared by whoever ends the wait: wake() or the abort function.
        self.parked: trio.lowlevel.Task | None = None

    @property
    def waiting(self) -> bool:
        """Whether a task is parked, for the graph of waits."""
        return self.parked is not None

    def park(self) -> Awaitable[Any]:
        """Wait for the next `wake`: ``await slot.park()``, at once.

        It returns Trio's own awaitable, because each message parks twice and a coroutine around it
        would cost a tenth of what the parking costs.

        *Cancellation*: nothing is consumed; the slot is free again.
        """
        assert self.parked is None, "a slot holds one task"
        self.parked = trio.lowlevel.current_task()
        return trio.lowlevel.wait_task_rescheduled(self._abort)  # noqa: ASYNC105 - by the caller

    def _abort(self, _: trio.lowlevel.RaiseCancelT) -> trio.lowlevel.Abort:
        self.parked = None
        return trio.lowlevel.Abort.SUCCEEDED

    def wake(self) -> None:
        """Let the parked task go on, if there is one."""
        task = self.parked
        if task is not None:
            self.parked = None
            trio.lowlevel.reschedule(task)
