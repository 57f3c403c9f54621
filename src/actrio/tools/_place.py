"""The place of one call among those that run, and its deadline; both rest while a person is asked.

A person may take days. A call that waited for one on its place would keep others from running,
and its deadline, which is for the tool's own work, would end it long before the answer. So while
any question of a call is open, its place is free for others and its clock stands still; with the
last answer it stands in line for a place again.

Giving up is different: who stops waiting (a scope of the tool's own, a cancel) must not be made to
wait for a place, because then no scope could bound it. Such a call goes on at once, with a place
where one is free and without one otherwise: ``parallel_max`` may then be passed by that call.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self, TypeVar

import trio

from actrio.tools._box import Slots

__all__ = ["Place"]

T = TypeVar("T")


class Place:
    """One call's place; entered before the call's function begins, left when it has ended.

    Args:
        slots: Where places are taken from.
        timeout_seconds: How long the call may take, from the moment of its place.
    """

    __slots__ = (
        "_asking",
        "_held",
        "_left_seconds",
        "_paused",
        "_slots",
        "_stopped_at",
        "over",
        "scope",
        "stood_seconds",
    )

    def __init__(self, slots: Slots, timeout_seconds: float) -> None:
        self._slots = slots
        self._left_seconds = timeout_seconds
        # How many reasons there are for the clock to stand; it runs only at zero.
        self._paused = 0
        self._stopped_at = 0.0
        # For how long it has stood.
        self.stood_seconds = 0.0
        # How many of the call's questions are open. At zero the place is held.
        self._asking = 0
        self._held = False
        self.over = False
        self.scope = trio.CancelScope()

    async def __aenter__(self) -> Self:
        await self._take()
        self.scope.deadline = trio.current_time() + self._left_seconds
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.over = True
        self._slots.finished += 1
        if self._held:
            self._release()

    @contextmanager
    def clock_stopped(self) -> Iterator[None]:
        """Let the deadline stand still for the time of the block."""
        if self._paused == 0:
            self._stopped_at = trio.current_time()
            self._left_seconds = self.scope.deadline - self._stopped_at
            self.scope.deadline = math.inf
        self._paused += 1
        try:
            yield
        finally:
            self._paused -= 1
            if self._paused == 0:
                now = trio.current_time()
                self.stood_seconds += now - self._stopped_at
                self.scope.deadline = now + self._left_seconds

    async def aside(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Wait for a person without place and without clock, then with the answer for a place.

        *Cancellation*: goes on at once, see above.
        """
        with self.clock_stopped():
            self._asking += 1
            if self._held:
                self._release()
            try:
                with self._slots.person_asked():
                    answer = await ask()
                await self._step_back()
            finally:
                self._close_question()
        return answer

    async def _step_back(self) -> None:
        """Take the place again if this was the last open question."""
        if self._asking == 1 and not self.over:
            await self._take()
            if self._asking > 1 or self.over:
                # While it stood in line, another task of the tool asked, or the call ended.
                self._release()

    def _close_question(self) -> None:
        self._asking -= 1
        if self._asking == 0 and not self._held and not self.over:
            # Only who gave up, or whose question failed, comes here without a place.
            try:
                self._slots.parallel.acquire_on_behalf_of_nowait(self)
            except trio.WouldBlock:
                return
            self._held = True

    async def _take(self) -> None:
        parallel = self._slots.parallel
        await parallel.acquire_on_behalf_of(self)
        self._held = True
        self._slots.peak = max(self._slots.peak, int(parallel.borrowed_tokens))

    def _release(self) -> None:
        self._slots.parallel.release_on_behalf_of(self)
        self._held = False
