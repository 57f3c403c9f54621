"""Sync tools in Trio's threads, honestly counted.

A Python thread cannot be stopped from outside. So when a call of a sync tool is cancelled, Trio
lets go of its thread, which runs on by itself; only then is the call over for its turn. Such a
thread keeps its place at the limiter until it really ends: the number of threads is bounded even
when every one of them hangs, and then further calls say so instead of waiting without end.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Awaitable, Callable
from typing import Any, cast

import trio

__all__ = ["ThreadCall", "ThreadCounts"]


class ThreadCounts:
    """What became of threads that were left behind; written from threads, under a lock."""

    __slots__ = ("abandoned", "late", "lock")

    def __init__(self) -> None:
        self.lock = threading.Lock()
        # Threads left behind that still run.
        self.abandoned = 0
        # Threads left behind that ended since; their results were discarded.
        self.late = 0


class ThreadCall:
    """One call in a thread.

    ``waiting`` becomes ``running`` when the thread enters the function and ``ended`` when it
    leaves it; ``_left`` says that nobody waits for it any more.
    """

    __slots__ = ("_counts", "_function", "_left", "_limiter", "_on_start", "_state", "abandoned")

    def __init__(
        self,
        function: Callable[[], Any],
        limiter: trio.CapacityLimiter,
        counts: ThreadCounts,
        on_start: Callable[[], Awaitable[None]],
    ) -> None:
        self._function = function
        self._limiter = limiter
        self._counts = counts
        self._on_start = on_start
        self._state = "waiting"
        self._left = False
        # Whether the thread was in the function when nobody waited for it any more.
        self.abandoned = False

    async def run(self) -> Any:
        """Run the function in a thread and return what it returns.

        *Backpressure*: waits for a free thread.

        *Cancellation*: returns at once; a thread that has begun is left behind and counted.
        """
        try:
            # Trio asks of a limiter only the two methods below.
            limiter = cast("trio.CapacityLimiter", self)
            (value,) = await trio.to_thread.run_sync(
                self._in_thread, abandon_on_cancel=True, limiter=limiter
            )
            return value
        finally:
            with self._counts.lock:
                self._left = True
                if self._state == "running":
                    self.abandoned = True
                    self._counts.abandoned += 1

    async def acquire_on_behalf_of(self, borrower: object) -> None:
        """Wait for a free thread, and tell the moment from which effects are possible."""
        await self._limiter.acquire_on_behalf_of(borrower)
        try:
            await self._on_start()
        except BaseException:
            self._limiter.release_on_behalf_of(borrower)
            raise

    def release_on_behalf_of(self, borrower: object) -> None:
        """Give the thread's place back; Trio calls it when the thread has really ended."""
        self._limiter.release_on_behalf_of(borrower)

    def _in_thread(self) -> tuple[Any]:
        """Call the function; its value comes in a tuple, because Trio refuses a bare coroutine."""
        with self._counts.lock:
            if self._left:
                return (None,)
            self._state = "running"
        value = None
        try:
            value = self._function()
        finally:
            with self._counts.lock:
                self._state = "ended"
                if self._left:
                    self._counts.abandoned -= 1
                    self._counts.late += 1
                    if inspect.iscoroutine(value):
                        value.close()
        return (value,)
