"""References: how everybody else talks to an actor."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

import trio

from actrio.actors._envelope import ENDED, Envelope, Exchange, SinkExchange, StreamExchange
from actrio.actors._waits import begin_wait, current_handler, end_wait
from actrio.errors import ActrioError, Conflict, InvalidRequest

if TYPE_CHECKING:
    from actrio.actors._cell import Cell

__all__ = ["Ref", "ReplyStream"]

M = TypeVar("M", contravariant=True)  # noqa: PLC0105 - who takes more can stand in for who takes less


class Ref(Generic[M]):
    """An address. Cheap, hashable, and never a reason for an actor to stay alive."""

    __slots__ = ("_cell",)

    def __init__(self, cell: Cell) -> None:
        self._cell = cell

    @property
    def cell(self) -> Cell:
        """The cell it stands for; for this package only."""
        return self._cell

    @property
    def path(self) -> str:
        """Where the actor is, for example ``/sessions/s_1``."""
        return self.cell.path

    def __repr__(self) -> str:
        return f"<Ref {self.path} {self.cell.state}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ref) and other.cell is self.cell

    def __hash__(self) -> int:
        return hash(id(self.cell))

    def tell_nowait(self, message: M) -> None:
        """Send ``message`` at once.

        Raises:
            MailboxFull: There is no room, and the policy does not drop.
            ActorStopped: The actor is gone.
        """
        cell = self.cell
        if cell.spec.send_filters:
            message = cell.filtered(message)
            if message is None:
                return
        cell.accept_nowait(cell.envelope(message))

    async def tell(self, message: M) -> None:
        """Send ``message`` as soon as there is room.

        *Backpressure*: waits in FIFO order with other senders (policies ``wait``, ``conflate``).
        *Cancellation*: either it was accepted and this returns, or it was not and leaves no trace.

        Raises:
            MailboxFull: The policy is ``reject``.
            ActorStopped: The actor is gone.
            DeadlockError: A handler waits here for something that waits for it.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        cell = self.cell
        if cell.spec.send_filters:
            message = cell.filtered(message)
            if message is None:
                return
        envelope = cell.envelope(message)
        if cell.accept_or_not(envelope):
            # Accepted at once: give others their turn now and then, but never lose what is accepted.
            await cell.system.breathe()
        else:
            await cell.accept_in_line(envelope)

    async def ask(self, message: M, *, each: Callable[[Any], Awaitable[None]] | None = None) -> Any:
        """Send ``message`` and wait for the answer.

        The caller's cancel scopes are the deadline; it travels with the message.

        With ``each`` the handling can emit, as for `stream`; but ``each`` is called with every
        item at once, in the task of the handling, while this one goes on waiting. That spares a
        task switch per item. Its context variables are the handling's.

        *Backpressure*: the handling goes on when ``each`` has returned.
        *Cancellation*: cancels the handling, ``each`` included, and returns when it has ended; a
        handling that does not end within the system's ``cancel_grace_seconds`` becomes a dead
        letter ``stuck``.
        *Failure*: what ``each`` raises ends the handling as a cancel would, is no crash of the
        actor, and is raised here as it is.

        Args:
            message: What to send.
            each: Takes one item.

        Raises:
            ActorFailed: The actor crashed on this message; the cause is chained.
            ActrioError: What the handler raised as a result.
            MailboxFull, ActorStopped, DeadlockError: As in `tell`.
        """
        cell = self.cell
        waiter = current_handler.get()
        exchange = Exchange() if each is None else SinkExchange(each, waiter)
        if waiter is not None:
            begin_wait(waiter, cell, exchange)
        try:
            envelope = _stamped(cell, message, exchange)
            if envelope.deadline == -math.inf:
                await trio.lowlevel.checkpoint_if_cancelled()
            if not cell.accept_or_not(envelope):
                await cell.accept_in_line(envelope)
            try:
                while not exchange.resolved:
                    await exchange.park()
                if isinstance(exchange, SinkExchange):
                    while exchange.at_work:  # it was answered from another task of the handling
                        await exchange.park()
            except trio.Cancelled:
                await cell.leave(envelope)
                raise
            if isinstance(exchange, SinkExchange) and exchange.failure is not None:
                if exchange.abandoned:
                    await cell.leave(envelope)
                raise exchange.failure
        finally:
            if waiter is not None:
                end_wait(waiter, exchange)
        if exchange.error is not None:
            await exchange.raise_error()
        return exchange.value

    def stream(
        self,
        message: M,
        *,
        credit: int = 32,
        merge: Callable[[Any, Any], Any | None] | None = None,
    ) -> ReplyStream:
        """Send ``message`` on entry and read what its handling emits.

        ``async with ref.stream(m) as items: async for item in items: …``; afterwards
        ``items.result`` is what the handler returned.

        *Backpressure*: the handler runs at most ``credit`` items ahead of the reader.
        *Cancellation*: leaving the block early cancels the handling and waits for its end.

        Args:
            message: What to send.
            credit: Items that may wait between the two. 32 hides a scheduler pass.
            merge: Given the last waiting item and a new one, returns one in their place without
                loss, or None to keep them apart. Asked only while the reader is behind.
        """
        if credit < 1:
            raise InvalidRequest(f"credit is {credit}.", remedy="Use at least 1.")
        return ReplyStream(self, message, StreamExchange(credit, merge))

    def control(self, message: Any) -> None:
        """Send ``message`` on the control lane: never waits, overtakes all data.

        Raises:
            MailboxFull: Hundreds of control messages wait already; the actor does not run.
            ActorStopped: The actor is gone.
        """
        self.cell.accept_control(message)


def _stamped(cell: Cell, message: Any, exchange: Exchange) -> Envelope:
    """Return the envelope of an ask or stream, with the caller's deadline on it."""
    if cell.spec.send_filters:
        message = cell.filtered(message)
        if message is None:
            raise Conflict(
                f"A send filter of {cell.path} dropped this message.",
                remedy="Nobody will answer it; send what the filter lets pass.",
            )
    envelope = cell.envelope(message)
    envelope.exchange = exchange
    envelope.deadline = trio.current_effective_deadline()
    return envelope


class ReplyStream:
    """The items of one streamed reply; made by `Ref.stream`."""

    def __init__(self, ref: Ref[Any], message: Any, exchange: StreamExchange) -> None:
        self._ref = ref
        self._cell: Cell
        self._exchange = exchange
        self._message = message
        self._envelope: Envelope | None = None

    async def __aenter__(self) -> Self:
        # Only now: an idle address is forgotten, and made anew, while nobody is inside.
        self._cell = self._ref.cell
        waiter = current_handler.get()
        if waiter is not None:
            begin_wait(waiter, self._cell, self._exchange)
            self._exchange.reader = waiter
        try:
            await trio.lowlevel.checkpoint_if_cancelled()
            envelope = _stamped(self._cell, self._message, self._exchange)
            if not self._cell.accept_or_not(envelope):
                await self._cell.accept_in_line(envelope)
        finally:
            if waiter is not None:
                end_wait(waiter, self._exchange)
        self._envelope = envelope
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._exchange.stage != ENDED:
            assert self._envelope is not None
            await self._cell.leave(self._envelope)

    def __aiter__(self) -> Self:
        return self

    def __anext__(self) -> Awaitable[Any]:
        return self._exchange.receive(self._cell)

    @property
    def open(self) -> bool:
        """Whether the message was accepted and its handling has not ended."""
        return self._envelope is not None and self._exchange.stage != ENDED

    @property
    def result(self) -> Any:
        """What the handler returned; None before its end, or if it left no answer."""
        return self._exchange.value

    @property
    def error(self) -> ActrioError | None:
        """Why the stream failed, if it did."""
        return self._exchange.error
