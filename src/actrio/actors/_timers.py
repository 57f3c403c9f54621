"""Timers: one task and one heap for the whole system.

A sleeping task per timer would cost three kilobytes, an entry here costs 200 bytes. An entry
carries the generation of the activation that made it, so a timer never outlives a restart, and
cancelling only marks: the entry is dropped when it comes up.
"""

from __future__ import annotations

import heapq
import itertools
from typing import TYPE_CHECKING, Any, Final

import trio

from actrio.actors._slot import Slot
from actrio.actors._values import NEVER
from actrio.errors import InvalidRequest, LimitExceeded

if TYPE_CHECKING:
    from collections.abc import Hashable

    from actrio.actors._cell import Cell

__all__ = ["TimerHeap", "Timers"]

TIMERS_MAX: Final = 1024
"""Timers of one actor. One per conversation partner or request is many; more is a leak."""


class _Entry:
    __slots__ = ("cell", "every_seconds", "generation", "key", "live", "message")

    def __init__(
        self, cell: Cell, key: Hashable, message: Any, every_seconds: float | None
    ) -> None:
        self.cell = cell
        self.generation = cell.generation
        self.key = key
        self.message = message
        self.every_seconds = every_seconds
        self.live = True


class TimerHeap:
    """All timers of a system, soonest first."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, _Entry]] = []
        self._ticket = itertools.count()
        self._slot = Slot()
        self._dead = 0  # cancelled entries still in the heap

    def __len__(self) -> int:
        return len(self._heap) - self._dead

    def add(self, entry: _Entry, at: float) -> None:
        heapq.heappush(self._heap, (at, next(self._ticket), entry))
        if self._heap[0][2] is entry:
            self._slot.wake()

    def drop(self, entry: _Entry) -> None:
        entry.live = False
        self._dead += 1
        # Mostly dead: rebuild, so that set-and-cancel in a loop does not grow the heap.
        if self._dead > 64 and self._dead * 2 > len(self._heap):
            self._heap = [item for item in self._heap if item[2].live]
            heapq.heapify(self._heap)
            self._dead = 0

    async def run(self) -> None:
        """Deliver what is due until cancelled."""
        while True:
            now = trio.current_time()
            while self._heap and self._heap[0][0] <= now:
                _, _, entry = heapq.heappop(self._heap)
                if entry.live:
                    self._deliver(entry, now)
                else:
                    self._dead -= 1
            wake_at = self._heap[0][0] if self._heap else NEVER
            with trio.CancelScope(deadline=wake_at):
                await self._slot.park()

    def _deliver(self, entry: _Entry, now: float) -> None:
        cell = entry.cell
        activation = cell.activation
        if activation is None or cell.generation != entry.generation:
            return
        if entry.every_seconds is not None:
            # From now, not from when it was due: after a clock jump one tick comes, not hundreds.
            self.add(entry, now + entry.every_seconds)
        else:
            activation.timers_of().forget(entry.key)
        try:
            cell.ref.tell_nowait(entry.message)
        # Also what a send filter raises: here it would end the timers of all actors.
        except Exception as error:
            cell.system.dead_letters.add_refused(cell.path, entry.message, error)


class Timers:
    """The timers of one activation, by key; all end with it.

    A due timer's message joins the mailbox like any other; where there is no room it becomes a
    dead letter, because nobody can wait for it.
    """

    __slots__ = ("_cell", "_entries")

    def __init__(self, cell: Cell) -> None:
        self._cell = cell
        self._entries: dict[Hashable, _Entry] = {}

    def once(self, key: Hashable, seconds: float, message: Any) -> None:
        """Send ``message`` to oneself in ``seconds``; replaces the timer with the same key."""
        self._set(key, seconds, message, None)

    def every(self, key: Hashable, seconds: float, message: Any) -> None:
        """Send ``message`` to oneself every ``seconds``; replaces the timer with the same key."""
        if not seconds > 0:
            raise InvalidRequest(f"every {seconds} s is no period.", remedy="Use more than 0.")
        self._set(key, seconds, message, seconds)

    def cancel(self, key: Hashable) -> bool:
        """End the timer with ``key``; False if there is none (any more)."""
        entry = self._entries.pop(key, None)
        if entry is None:
            return False
        self._cell.system.timers.drop(entry)
        return True

    def forget(self, key: Hashable) -> None:
        self._entries.pop(key, None)

    def end(self) -> None:
        """End all of them."""
        for key in list(self._entries):
            self.cancel(key)

    def _set(self, key: Hashable, seconds: float, message: Any, every: float | None) -> None:
        self.cancel(key)
        if len(self._entries) >= TIMERS_MAX:
            raise LimitExceeded(
                f"{self._cell.path} has {TIMERS_MAX} timers.",
                remedy="Reuse keys, or keep one timer and a list of what is due.",
            )
        entry = self._entries[key] = _Entry(self._cell, key, message, every)
        self._cell.system.timers.add(entry, trio.current_time() + seconds)
