"""The waiting side of admission: wakes tasks and keeps one timer. It decides nothing."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import trio

from actrio.errors import ActrioError
from actrio.providers._admission import Admission, AdmissionStatistics, Ticket

__all__ = ["Gate"]


class Gate:
    """Where the calls of one connection wait for their attempt.

    Args:
        admission: Decides.
        start_task: Runs a task for as long as the connection lives.
    """

    def __init__(
        self, admission: Admission, start_task: Callable[[Callable[[], Awaitable[None]]], None]
    ) -> None:
        self._admission = admission
        self._start_task = start_task
        self._waiting: dict[Ticket, trio.Event] = {}
        self._at = math.inf  # when to decide again
        self._timer: trio.CancelScope | None = None

    async def enter(self, caller: str, *, again: bool = False) -> Ticket:
        """Wait for a place in work; every ticket given has to `leave`.

        *Backpressure*: waits in the caller's line, the lines are served in turns.
        *Cancellation*: the place in the line is given up.

        Raises:
            Overloaded: Too many wait.
            ProviderError: The circuit is open, or the provider asked for a long pause.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        ticket = self._admission.join(caller, again=again)
        self._settle()
        if ticket.state == "waiting":
            event = self._waiting[ticket] = trio.Event()
            try:
                await event.wait()
            except trio.Cancelled:
                self._waiting.pop(ticket, None)
                self.leave(ticket)
                raise
        if ticket.refusal is not None:
            raise ticket.refusal
        return ticket

    def leave(self, ticket: Ticket) -> None:
        """The attempt is over."""
        self._admission.leave(ticket)
        self._settle()

    def accepted(self, ticket: Ticket) -> None:
        """The provider began to answer."""
        if not ticket.accepted:
            self._admission.accepted(ticket, trio.current_time())
            self._settle()

    def failed(self, ticket: Ticket, error: ActrioError, stated: float | None) -> None:
        """The provider was called and failed."""
        self._admission.failed(ticket, trio.current_time(), error, stated)
        self._settle()

    def guess(self, tokens: float) -> float:
        """Spend what a call may cost; return how much that is."""
        return self._admission.guess(trio.current_time(), tokens)

    def spend(self, tokens: float) -> None:
        """Tokens are used up, or (negative) were less than was thought."""
        self._admission.spend(trio.current_time(), tokens)

    @contextmanager
    def parked(self) -> Iterator[bool]:
        """Keep a place for a call between two attempts; gives False where there is none."""
        kept = self._admission.park()
        try:
            yield kept
        finally:
            if kept:
                self._admission.unpark()

    def statistics(self) -> AdmissionStatistics:
        return self._admission.statistics(trio.current_time())

    def _settle(self) -> None:
        decision = self._admission.decide(trio.current_time())
        for ticket in (*decision.started, *decision.refused):
            event = self._waiting.pop(ticket, None)
            if event is not None:
                event.set()
        self._at = math.inf if decision.at is None else decision.at
        if self._timer is not None:
            if decision.at is None:
                self._timer.cancel(reason="nobody waits for a time")
            self._timer.deadline = self._at
        elif decision.at is not None:
            self._timer = trio.CancelScope(deadline=self._at)
            self._start_task(self._look_again)

    async def _look_again(self) -> None:
        """Decide again when it is time; ends when nobody waits for a time."""
        while self._at < math.inf:
            with trio.CancelScope(deadline=self._at) as self._timer:
                await trio.sleep_forever()
            self._settle()
        self._timer = None
