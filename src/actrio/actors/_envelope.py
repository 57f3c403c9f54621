"""A message on its way, and the exchange that an ask or a stream opens around it.

An `Exchange` is what asker and handler share. Its life::

    queued ──► running ──► ended            the handling is over (or will never begin)
       └──────────────────►  ▲
    unresolved ──► resolved                 there is an answer; the first one wins

Resolved and ended are apart because a handler may answer early (`Context.resolve`) and because an
asker who left must wait for *ended*: when a cancelled ask returns, the work has stopped.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, NoReturn

import trio

from actrio.actors._slot import Slot
from actrio.actors._waits import begin_wait, current_handler, end_wait, note_wait
from actrio.errors import ActrioError, Conflict, DeadlineExceeded

if TYPE_CHECKING:
    from actrio.actors._cell import Cell

__all__ = [
    "ENDED",
    "QUEUED",
    "RUNNING",
    "Envelope",
    "Exchange",
    "ItemExchange",
    "SinkExchange",
    "StreamExchange",
]

QUEUED: Final = 0
RUNNING: Final = 1
ENDED: Final = 2


class Envelope:
    """One message as it is accepted. Compared by identity."""

    __slots__ = ("accepted_at", "deadline", "exchange", "message", "refused", "size_bytes")

    def __init__(
        self,
        message: Any,
        exchange: Exchange | None,
        deadline: float,
        size_bytes: int,
        accepted_at: float,
    ) -> None:
        self.message = message
        self.exchange = exchange
        self.deadline = deadline
        self.size_bytes = size_bytes
        self.accepted_at = accepted_at
        self.refused = False  # its sender stood in line when the mailbox closed

    @property
    def label(self) -> str:
        return type(self.message).__name__


class Exchange(Slot):
    """What one asker and one handling share; the asker parks in it."""

    __slots__ = ("abandoned", "error", "late", "resolved", "scope", "stage", "task", "value")

    def __init__(self) -> None:
        self.parked = None
        self.stage = QUEUED
        self.resolved = False
        self.abandoned = False  # the asker left before the end
        self.value: Any = None
        self.error: ActrioError | None = None
        self.late = 0  # answers after the first; each is counted by the system
        # The scope of the handling while it runs; what an asker's cancel reaches.
        self.scope: trio.CancelScope | None = None
        # The task of a deferred handling; to show where it waits.
        self.task: trio.lowlevel.Task | None = None

    @property
    def waiting(self) -> bool:
        """Whether its asker waits: from the first step to the answer, in line and in the queue."""
        return not self.resolved

    def begin(self, scope: trio.CancelScope) -> None:
        """The handling runs in ``scope`` from now on (called again when it moves to a task)."""
        self.stage = RUNNING
        self.scope = scope
        if self.abandoned:
            scope.cancel(reason="the asker left")

    def resolve(self, value: Any) -> bool:
        """Give the answer; False if there was one already."""
        if self.resolved:
            self.late += 1
            return False
        self.resolved = True
        self.value = value
        self.wake()
        return True

    def fail(self, error: ActrioError) -> bool:
        """Give an error for an answer; False if there was an answer already."""
        if self.resolved:
            return False
        self.error = error
        return self.resolve(None)

    def detach(self, value: Any) -> None:
        """Answer, and let the handling go on where the asker's cancel and deadline end."""
        self.resolve(value)
        if self.scope is not None:
            self.scope.deadline = math.inf
            self.scope = None

    def end(self) -> None:
        """The handling is over."""
        assert self.resolved, "a handling ends with an answer"
        self.stage = ENDED
        self.scope = self.task = None
        if self.parked is not None:  # an asker who left, and waits for this
            self.wake()

    async def raise_error(self) -> NoReturn:
        """Raise the error that is the answer, as the asker."""
        assert self.error is not None
        if isinstance(self.error, DeadlineExceeded):
            # The asker's own scopes passed that deadline too: they tell it, by their Cancelled.
            await trio.lowlevel.checkpoint_if_cancelled()
        raise self.error

    async def leave(self, *, grace_seconds: float) -> bool:
        """Give up, as the asker: cancel the handling and wait until it has ended.

        Returns False if it had not ended after ``grace_seconds``; then it goes on alone.
        """
        self.abandoned = True
        if self.stage == QUEUED:
            self.stage = ENDED  # the receive loop will skip it
            return True
        if self.stage == RUNNING and self.scope is not None:
            self.scope.cancel(reason="the asker left")
        deadline = trio.current_time() + grace_seconds
        with trio.CancelScope(shield=True, deadline=deadline):
            while self.stage != ENDED:
                await self.park()
        return self.stage == ENDED


class ItemExchange(Exchange):
    """An exchange whose handling also emits items on the way to its answer."""

    __slots__ = ("_steps",)

    def __init__(self) -> None:
        super().__init__()
        self._steps = 0

    async def emit(self, item: Any) -> None:
        """Give one item to the asker, as the handler; wait until it is taken."""
        raise NotImplementedError

    def emit_nowait(self, item: Any) -> bool:
        """Give one item to the asker if that needs no wait; return whether it was taken."""
        raise NotImplementedError

    async def _breathe(self) -> None:
        # A schedule point at every item would cost ten times the item. Cancellation is looked at
        # each time, the scheduler gets its turn at every sixteenth.
        self._steps += 1
        if self._steps & 15:
            await trio.lowlevel.checkpoint_if_cancelled()
        else:
            await trio.lowlevel.checkpoint()


class StreamExchange(ItemExchange):
    """An exchange whose handling also sends items, as many ahead as there is credit for."""

    __slots__ = ("_credit", "_items", "_merge", "_producer", "reader")

    def __init__(self, credit: int, merge: Callable[[Any, Any], Any | None] | None) -> None:
        super().__init__()
        self._credit = credit
        self._merge = merge
        # Sent and not yet read; never longer than the credit.
        self._items: deque[Any] = deque()
        self._producer = Slot()
        # The actor whose handler reads, if one does; what a producer without credit waits on.
        self.reader: Cell | None = None

    @property
    def waiting(self) -> bool:
        """Whether its reader waits for the next item; between items it does not."""
        return self.parked is not None

    @property
    def buffered(self) -> int:
        return len(self._items)

    async def emit(self, item: Any) -> None:
        """Send one item, as the handler, as soon as there is credit."""
        await self._breathe()
        while not self.emit_nowait(item):
            await self._wait_for_credit()

    def emit_nowait(self, item: Any) -> bool:
        """Send one item if there is credit for it; return whether it was sent."""
        items = self._items
        if items and self._merge is not None:
            # Only with what still waits, so a reader that keeps up sees every item on its own.
            joined = self._merge(items[-1], item)
            if joined is not None:
                items[-1] = joined
                return True
        if len(items) >= self._credit:
            return False
        items.append(item)
        if self.parked is not None:
            self.wake()
        return True

    async def _wait_for_credit(self) -> None:
        producer = current_handler.get()
        if producer is None or self.reader is None:
            await self._producer.park()
            return
        begin_wait(producer, self.reader, self._producer)
        try:
            await self._producer.park()
        finally:
            end_wait(producer, self._producer)

    async def receive(self, producer: Cell) -> Any:
        """Return the next item, as the asker; raise the stream's error or StopAsyncIteration."""
        await self._breathe()
        items = self._items
        while not items:
            if self.resolved:
                if self.error is not None:
                    await self.raise_error()
                raise StopAsyncIteration
            if current_handler.get() is None:
                await self.park()
            else:
                await self._wait_for_item(producer)
        item = items.popleft()
        if self._producer.parked is not None:
            self._producer.wake()
        return item

    async def _wait_for_item(self, producer: Cell) -> None:
        """Wait as a handler does: in the graph."""
        reader = current_handler.get()
        assert reader is not None
        begin_wait(reader, producer, self)
        try:
            await self.park()
        finally:
            end_wait(reader, self)


class _SinkAtWork:
    """Where a producer's handler waits while the asker's function has an item."""

    waiting = True


class SinkExchange(ItemExchange):
    """An exchange whose items the asker's own function takes, in the producer's task.

    That saves a task switch per item, which is most of what passing one on costs. The function
    stays the asker's code wherever it runs: what it waits for the asker waits for, and what it
    raises is raised there. To the producer its failure is an asker that left.
    """

    __slots__ = ("_asker", "_sink", "at_work", "failure")

    def __init__(self, sink: Callable[[Any], Awaitable[None]], asker: Cell | None) -> None:
        super().__init__()
        self._sink = sink
        self._asker = asker  # the actor whose handler asks, if one does
        self.at_work = False
        self.failure: Exception | None = None

    @property
    def waiting(self) -> bool:
        """Whether its asker waits for the producer; while its function works it is waited for."""
        return not (self.resolved or self.at_work)

    async def emit(self, item: Any) -> None:
        """Have the asker's function take one item."""
        await self._breathe()
        if self.resolved or self.abandoned:
            return  # nobody asks any more
        if self.at_work:
            raise Conflict(
                "Two tasks of one handling emit at once.", remedy="Emit from one of them."
            )
        self.at_work = True
        try:
            if self._asker is None:
                await self._sink(item)
            else:
                await self._sink_of(self._asker, item)
        except Exception as error:  # whatever it is, it is the asker's
            self._fail(error)
        except BaseExceptionGroup as group:
            failed, cancelled = group.split(Exception)
            if failed is not None:
                self._fail(failed)
            assert cancelled is not None
            raise cancelled from None
        finally:
            self.at_work = False
            if self.resolved:
                self.wake()
        if self.failure is not None:
            await trio.lowlevel.checkpoint()  # the handling ends here, unless it is shielded

    def emit_nowait(self, item: Any) -> bool:  # noqa: ARG002 - nobody knows without calling it
        return False

    def _fail(self, error: Exception) -> None:
        self.failure = error
        if not self.resolved:
            self.abandoned = True
            if self.scope is not None:
                self.scope.cancel(reason="the asker's function failed")
            self.resolve(None)

    async def _sink_of(self, asker: Cell, item: Any) -> None:
        """Call the function as ``asker``'s handler would: it waits, and the producer for it."""
        producer = current_handler.get()
        token = current_handler.set(asker)
        place = _SinkAtWork()
        if producer is not None:
            # Not looked at for a cycle: whether the function waits at all is not known yet, and
            # where it does it is looked at then.
            note_wait(producer, asker, place)
        try:
            await self._sink(item)
        finally:
            current_handler.reset(token)
            if producer is not None:
                end_wait(producer, place)
