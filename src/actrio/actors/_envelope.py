"""A message on its way, and the exchange that an ask or a stream opens around it.

An `Exchange` is what asker and handler share. Its life::

    queued ──► running ──► ended            the handling is over (or will never begin)
       └──────────────────►  ▲
    unresolved ──► resolved                 there is an answer; the first one wins

Resolved and ended are apart because a handler may answer early (`Context.resolve`) and because an
asker who left must wait for *ended*: when a cancelled ask returns, the work has stopped.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Literal

import trio

from actrio.actors._slot import Slot
from actrio.errors import ActrioError

__all__ = ["Envelope", "Exchange", "StreamExchange"]


class Envelope:
    """One accepted message. Compared by identity."""

    __slots__ = ("accepted", "accepted_at", "deadline", "exchange", "message", "size_bytes")

    def __init__(
        self,
        message: Any,
        exchange: Exchange | None,
        *,
        deadline: float,
        size_bytes: int,
        accepted_at: float,
    ) -> None:
        self.message = message
        self.exchange = exchange
        self.deadline = deadline
        self.size_bytes = size_bytes
        self.accepted_at = accepted_at
        self.accepted = False  # set by the mailbox for a sender that waited in line

    @property
    def label(self) -> str:
        return type(self.message).__name__


class Exchange:
    """What one asker and one handling share."""

    __slots__ = ("_asker", "_cancelled", "_scope", "error", "resolved", "stage", "value")

    def __init__(self) -> None:
        self.stage: Literal["queued", "running", "ended"] = "queued"
        self.resolved = False
        self.value: Any = None
        self.error: ActrioError | None = None
        self._asker = Slot()
        # The scope of the handling while it runs; what an asker's cancel reaches.
        self._scope: trio.CancelScope | None = None
        self._cancelled = False

    @property
    def abandoned(self) -> bool:
        """Whether the asker left before the end."""
        return self._cancelled

    def begin(self, scope: trio.CancelScope) -> None:
        """The handling runs in ``scope`` from now on (called again when it moves to a task)."""
        self.stage = "running"
        self._scope = scope
        if self._cancelled:
            scope.cancel(reason="the asker left")

    def resolve(self, value: Any) -> bool:
        """Give the answer; False if there was one already."""
        if self.resolved:
            return False
        self.resolved = True
        self.value = value
        self._asker.wake()
        return True

    def fail(self, error: ActrioError) -> bool:
        """Give an error for an answer; False if there was an answer already."""
        if self.resolved:
            return False
        self.error = error
        return self.resolve(None)

    def end(self) -> None:
        """The handling is over."""
        assert self.resolved, "a handling ends with an answer"
        self.stage = "ended"
        self._scope = None
        self._asker.wake()

    async def answer(self) -> Any:
        """Wait for the answer, as the asker."""
        while not self.resolved:
            await self._asker.park()
        if self.error is not None:
            raise self.error
        return self.value

    async def leave(self, *, grace_seconds: float) -> bool:
        """Give up, as the asker: cancel the handling and wait until it has ended.

        Returns False if it had not ended after ``grace_seconds``; then it goes on alone.
        """
        self._cancelled = True
        if self.stage == "queued":
            self.stage = "ended"  # the receive loop will skip it
            return True
        if self._scope is not None:
            self._scope.cancel(reason="the asker left")
        deadline = trio.current_time() + grace_seconds
        with trio.CancelScope(shield=True, deadline=deadline):
            while self.stage != "ended":
                await self._asker.park()
        return self.stage == "ended"


class StreamExchange(Exchange):
    """An exchange whose handling also sends items, as many ahead as there is credit for."""

    __slots__ = ("_credit", "_items", "_merge", "_producer", "_steps")

    def __init__(self, credit: int, merge: Callable[[Any, Any], Any | None] | None) -> None:
        super().__init__()
        self._credit = credit
        self._merge = merge
        # Sent and not yet read; never longer than the credit.
        self._items: deque[Any] = deque()
        self._producer = Slot()
        self._steps = 0

    async def emit(self, item: Any) -> None:
        """Send one item, as the handler, as soon as there is credit."""
        await self._breathe()
        if self._merged(item):
            return
        while len(self._items) >= self._credit:
            await self._producer.park()
        self._items.append(item)
        self._asker.wake()

    def _merged(self, item: Any) -> bool:
        # Only with what still waits, so a reader that keeps up sees every item on its own.
        if self._merge is None or not self._items:
            return False
        joined = self._merge(self._items[-1], item)
        if joined is None:
            return False
        self._items[-1] = joined
        return True

    async def receive(self) -> Any:
        """Return the next item, as the asker; raise the stream's error or StopAsyncIteration."""
        await self._breathe()
        while not self._items:
            if self.resolved:
                if self.error is not None:
                    raise self.error
                raise StopAsyncIteration
            await self._asker.park()
        item = self._items.popleft()
        self._producer.wake()
        return item

    async def _breathe(self) -> None:
        # A schedule point at every item would cost ten times the item. Cancellation is looked at
        # each time, the scheduler gets its turn at every sixteenth.
        self._steps += 1
        if self._steps % 16:
            await trio.lowlevel.checkpoint_if_cancelled()
        else:
            await trio.lowlevel.checkpoint()
