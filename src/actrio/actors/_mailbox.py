"""The mailbox: what waits for an actor.

It belongs to the cell, not to the activation, so a restart loses nothing that waits. The ring is a
bounded Trio memory channel, because its FIFO, its parking of the receiver and its cancellation are
proven; what a channel cannot do is added around it:

* a sender that finds no room waits in *our* line, with its envelope, and the take that makes room
  moves the first envelope over in the same step. So a newcomer can never overtake a waiter, and
  room counts bytes as well as items;
* a channel that is closed discards what it holds, so this one is never closed: leftovers are taken
  out and returned, for the dead letters;
* control must reach a receiver that is parked on an empty ring: it gets a token.

Both fast paths (room, something there) use the channel's ``_nowait`` forms: an ``await`` per
message costs ten times as much.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Any, Final

import trio

from actrio.actors._values import MailboxSpec, MailboxStatistics
from actrio.errors import ActorStopped, LimitExceeded, MailboxFull

if TYPE_CHECKING:
    from actrio.actors._envelope import Envelope

__all__ = ["WAKE", "Mailbox"]


class _Wake:
    def __repr__(self) -> str:
        return "WAKE"


WAKE: Final = _Wake()
"""Received instead of an envelope when control arrived while the receiver was parked."""


class Mailbox:
    """A bounded FIFO of envelopes with one receiver."""

    __slots__ = (
        "_bytes",
        "_closed",
        "_depth",
        "_head",
        "_line",
        "_peak_bytes",
        "_peak_depth",
        "_receive",
        "_send",
        "_times",
        "accepted",
        "owner",
        "spec",
    )

    def __init__(self, owner: str, spec: MailboxSpec) -> None:
        self.owner = owner
        self.spec = spec
        self._send: trio.MemorySendChannel[Any] | None = None
        self._receive: trio.MemoryReceiveChannel[Any] | None = None
        self._head: Envelope | None = None  # put back; older than all in the ring
        self._depth = 0  # envelopes in the ring, plus the head; never above spec.capacity
        self._times: deque[float] = deque()  # when each of them was accepted, oldest first
        self._bytes = 0
        self._peak_depth = 0
        self._peak_bytes = 0
        # Senders without room, in order of arrival, each with what it wants to put in.
        # Invariant: the line is empty, or the first in it does not fit.
        self._line: OrderedDict[trio.lowlevel.Task, Envelope] = OrderedDict()
        self._closed = False
        self.accepted = 0  # ever

    def _fits(self, envelope: Envelope) -> bool:
        bytes_max = self.spec.bytes_max
        return self._depth < self.spec.capacity and (
            bytes_max is None or self._bytes + envelope.size_bytes <= bytes_max
        )

    def _refuse_closed_and_oversized(self, envelope: Envelope) -> None:
        if self._closed:
            raise ActorStopped(f"{self.owner} has stopped.", remedy="Look it up again or start it.")
        bytes_max = self.spec.bytes_max
        if bytes_max is not None and envelope.size_bytes > bytes_max:
            raise LimitExceeded(
                f"A message of {envelope.size_bytes} bytes can never fit the mailbox of "
                f"{self.owner}, which holds {bytes_max}.",
                remedy="Send it in parts, or raise bytes_max of its MailboxSpec.",
            )

    def _put(self, envelope: Envelope) -> None:
        if self._send is None:
            self._send, self._receive = trio.open_memory_channel[Any](self.spec.capacity)
        self._send.send_nowait(envelope)
        self._times.append(envelope.accepted_at)
        self.accepted += 1
        self._depth += 1
        self._bytes += envelope.size_bytes
        self._peak_depth = max(self._peak_depth, self._depth)
        self._peak_bytes = max(self._peak_bytes, self._bytes)

    def offer_nowait(self, envelope: Envelope) -> list[Envelope]:
        """Put ``envelope`` in, or raise; return what was dropped to make room, or for lack of it.

        Raises:
            MailboxFull: No room, and the policy is ``wait`` or ``reject``.
            ActorStopped: The actor is gone.
            LimitExceeded: It is larger than the whole mailbox.
        """
        self._refuse_closed_and_oversized(envelope)
        if not self._line and self._fits(envelope):
            self._put(envelope)
            return []
        match self.spec.when_full:
            case "drop_newest":
                return [envelope]
            case "drop_oldest":
                return self._replace_oldest(envelope)
            case _:
                raise MailboxFull(
                    f"The mailbox of {self.owner} is full ({self._depth} messages).",
                    remedy="Wait with `await ref.tell(…)`, or send less.",
                    data={"capacity": self.spec.capacity},
                )

    def _replace_oldest(self, envelope: Envelope) -> list[Envelope]:
        dropped: list[Envelope] = []
        while not self._fits(envelope):
            oldest = self.take_nowait()
            if oldest is None:  # what fills it is already on its way to the receiver
                return [*dropped, envelope]
            dropped.append(oldest)
        self._put(envelope)
        return dropped

    async def offer(self, envelope: Envelope) -> None:
        """Put ``envelope`` in as soon as there is room, in FIFO order among waiting senders.

        Only for the policy ``wait``; the others decide at once in `offer_nowait`.

        *Cancellation*: the envelope was not accepted and leaves no trace.
        """
        task = trio.lowlevel.current_task()
        self._line[task] = envelope

        def abort(_: trio.lowlevel.RaiseCancelT) -> trio.lowlevel.Abort:
            del self._line[task]
            self._admit()  # the one that left may have been all that held up the line
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)
        if self._closed and not envelope.accepted:
            self._refuse_closed_and_oversized(envelope)

    def _admit(self) -> None:
        while self._line:
            task, envelope = next(iter(self._line.items()))
            if not self._fits(envelope):
                return
            del self._line[task]
            envelope.accepted = True
            self._put(envelope)
            trio.lowlevel.reschedule(task)

    def take_nowait(self) -> Envelope | None:
        """Take the oldest envelope, or return None."""
        if self._head is not None:
            envelope, self._head = self._head, None
        elif self._receive is None:
            return None
        else:
            try:
                envelope = self._receive.receive_nowait()
            except trio.WouldBlock:
                return None
        self._taken(envelope)
        return envelope

    def put_back(self, envelope: Envelope) -> None:
        """Return an envelope that was taken and not begun; it is the next one taken.

        The channel hands an item to a parked receiver before that task runs. If the activation is
        ended in between, the message must not go with it.
        """
        assert self._head is None, "one receiver takes one envelope at a time"
        self._head = envelope
        self._depth += 1
        self._bytes += envelope.size_bytes
        self._times.appendleft(envelope.accepted_at)

    async def take(self) -> Envelope | _Wake:
        """Wait for an envelope, or for a wake token.

        *Cancellation*: nothing was taken.
        """
        if self._receive is None:
            self._send, self._receive = trio.open_memory_channel[Any](self.spec.capacity)
        item: Envelope | _Wake = await self._receive.receive()
        if not isinstance(item, _Wake):
            self._taken(item)
        return item

    def _taken(self, envelope: Envelope) -> None:
        self._depth -= 1
        self._bytes -= envelope.size_bytes
        self._times.popleft()
        if self._line:
            self._admit()

    def wake(self) -> None:
        """Send a parked receiver a token; without one there is nothing to do."""
        if self._send is not None and self._send.statistics().tasks_waiting_receive:
            self._send.send_nowait(WAKE)

    def close(self) -> list[Envelope]:
        """Refuse everything from now on and return what waited, oldest first."""
        self._closed = True
        left: list[Envelope] = []
        while (envelope := self.take_nowait()) is not None:
            left.append(envelope)
        while self._line:
            task, _ = self._line.popitem(last=False)
            trio.lowlevel.reschedule(task)
        return left

    def statistics(self, now: float) -> MailboxStatistics:
        oldest = now - self._times[0] if self._times else 0.0
        return MailboxStatistics(
            depth=self._depth,
            peak_depth=self._peak_depth,
            capacity=self.spec.capacity,
            bytes=self._bytes,
            peak_bytes=self._peak_bytes,
            waiting_senders=len(self._line),
            oldest_age_seconds=oldest,
        )
