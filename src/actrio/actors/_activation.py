"""One activation: a task, an instance, and the loop that gives it one message at a time.

What ends it, and what is then true::

    stop requested     what is handled now ends (at most shutdown_seconds), then on_stop
    a crash            everything in work is cancelled, its askers get ActorFailed, then on_stop
    a kill, or the     everything in work is cancelled, its askers get ActorStopped, then on_stop
    whole tree's end

No exception of the actor's code leaves here: the supervisor is told as a value. Only Trio's own
`Cancelled`, and what is not an `Exception` at all, passes through.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

import attrs
import trio

from actrio.actors._actor import Context, Deferred
from actrio.actors._mailbox import WAKE
from actrio.actors._slot import Slot
from actrio.actors._waits import current_handler
from actrio.errors import ActorFailed, ActorStopped, ActrioError, BugError, DeadlineExceeded

if TYPE_CHECKING:
    from actrio.actors._actor import Actor
    from actrio.actors._cell import Cell, Settled
    from actrio.actors._envelope import Envelope
    from actrio.actors._values import ExitReason

__all__ = ["Activation", "Exit"]

BATCH: Final = 64
"""Messages handled in a row before other tasks get their turn: a scheduler pass costs about
5 µs, so this makes it a tenth of a microsecond per message and still bounds the wait."""


@attrs.frozen(slots=True)
class Exit:
    """Why an activation ended."""

    reason: ExitReason
    error: Exception | None = None


class Activation:
    """The running side of a cell."""

    __slots__ = ("_deferred", "_nursery", "actor", "cell", "error", "room", "scope", "stop_reason")

    def __init__(self, cell: Cell) -> None:
        self.cell = cell
        self.scope = trio.CancelScope()
        self.actor: Actor[Any] | None = None
        self.error: Exception | None = None  # the first crash; later ones are its consequences
        self.stop_reason: ExitReason | None = None
        self.room = Slot()  # where the loop waits for a deferred handling to end
        self._deferred = 0  # deferred handlings in work
        self._nursery: trio.Nursery

    async def run(self) -> Exit:
        """Live until the end and say why it ended. Raises nothing but Trio's own Cancelled."""
        current_handler.set(self.cell)
        try:
            with self.scope:
                async with trio.open_nursery() as self._nursery:
                    await self._live()
        finally:
            await self._clean_up()
        if self.error is not None:
            return Exit("error", self.error)
        if self.scope.cancelled_caught:
            return Exit("killed")
        return Exit(self.stop_reason or "normal")

    async def _live(self) -> None:
        try:
            self.actor = self.cell.spec.factory()
            await self.actor.on_start(Context(self, None))
            self.cell.supervisor.came_up(self.cell)
            await self._receive_loop()
            while self._deferred and self.error is None:
                await self.room.park()
        except Exception as error:
            self.crash(error)
        self._nursery.cancel_scope.cancel(reason="the activation ended")

    async def _clean_up(self) -> None:
        # Level-triggered cancellation would stop on_stop at its first schedule point; it gets its
        # own bounded time instead, also when the whole tree is being torn down.
        if self.actor is None:
            return
        grace = trio.current_time() + self.cell.system.cancel_grace_seconds
        with trio.CancelScope(shield=True, deadline=grace) as scope:
            try:
                await self.actor.on_stop(Context(self, None), self._why())
            except Exception as error:
                self.error = self.error or error
        if scope.cancelled_caught:
            self.cell.system.dead_letters.add(
                self.cell.path, "on_stop", "stuck", "on_stop did not end within its grace period."
            )

    def _why(self) -> ExitReason:
        if self.error is not None:
            return "error"
        if self.stop_reason is None or self.scope.cancelled_caught:
            return "killed"
        return self.stop_reason

    def crash(self, error: Exception) -> None:
        """End this activation because of ``error``."""
        if self.error is None:
            self.error = error
            self.scope.cancel(reason=f"{self.cell.path} crashed")

    def stop(self) -> None:
        """End this activation normally, after what is being handled."""
        self.cell.request_stop("normal")

    def start_task(self, fn: Callable[..., Awaitable[Any]], args: tuple[Any, ...]) -> None:
        self._nursery.start_soon(self._background, fn, args)

    async def _background(self, fn: Callable[..., Awaitable[Any]], args: tuple[Any, ...]) -> None:
        current_handler.set(None)
        try:
            await fn(*args)
        except Exception as error:
            self.crash(error)

    # -- the loop --------------------------------------------------------------------------------

    async def _receive_loop(self) -> None:
        cell, mailbox = self.cell, self.cell.mailbox
        in_a_row = 0
        while self.error is None and self.stop_reason is None:
            if cell.control:
                await self._hear(cell.control.popleft())
            elif self._deferred >= cell.spec.concurrency:
                in_a_row = 0
                await self.room.park()
            elif (envelope := mailbox.take_nowait()) is not None:
                await self._handle(envelope)
                in_a_row += 1
                if in_a_row >= BATCH:
                    in_a_row = 0
                    await trio.lowlevel.checkpoint()
            else:
                in_a_row = 0
                item = await mailbox.take()
                if item is not WAKE:
                    # Handed over before this task ran: the world may have changed since.
                    mailbox.put_back(item)  # type: ignore[arg-type]

    async def _hear(self, message: Any) -> None:
        assert self.actor is not None
        await self.actor.on_control(message, Context(self, None))

    async def _handle(self, envelope: Envelope) -> None:
        exchange = envelope.exchange
        if exchange is not None and exchange.abandoned:
            self.cell.settle(envelope, "skipped", None)
        elif exchange is not None and envelope.deadline <= trio.current_time():
            error = DeadlineExceeded(f"{self.cell.path} came to this message after its deadline.")
            self.cell.settle(envelope, "skipped", error)
        else:
            assert self.actor is not None
            self.cell.current[envelope] = trio.current_time()
            args = (envelope.message, Context(self, envelope))
            await self._attend(envelope, self.actor.receive, args)

    async def _attend(
        self, envelope: Envelope, fn: Callable[..., Awaitable[Any]], args: tuple[Any, ...]
    ) -> None:
        """Run a handling, or the deferred rest of one, and settle it, whatever happens."""
        outcome: Settled = "interrupted"
        told: ActrioError | None = None
        handed_over = False
        try:
            result = await self._call(envelope, fn, args)
            if isinstance(result, Deferred):
                handed_over = True
                self._defer(envelope, result)
            outcome = "handled"
        except _Interrupted:
            told = DeadlineExceeded(f"{self.cell.path} was interrupted: its asker left.")
        except Exception as error:
            outcome = "failed"
            told = self._failed(envelope, error)
        finally:
            if not handed_over:
                if outcome == "interrupted" and told is None:
                    told = self._ended_meanwhile()
                self.cell.settle(envelope, outcome, told)

    async def _call(
        self, envelope: Envelope, fn: Callable[..., Awaitable[Any]], args: tuple[Any, ...]
    ) -> Any:
        exchange = envelope.exchange
        if exchange is None:
            return await fn(*args)
        with trio.CancelScope(deadline=envelope.deadline) as scope:
            exchange.begin(scope)
            result = await fn(*args)
            if not isinstance(result, Deferred):
                exchange.resolve(result)
            return result
        raise _Interrupted

    def _failed(self, envelope: Envelope, error: Exception) -> ActrioError:
        """Decide between a result and a crash; return what the asker is told."""
        if isinstance(error, ActrioError) and not isinstance(error, BugError):
            if envelope.exchange is None:
                self.cell.system.dead_letters.add(
                    self.cell.path, envelope.message, "failed", str(error)
                )
            return error
        self.crash(error)
        return self._ended_meanwhile()

    def _ended_meanwhile(self) -> ActrioError:
        if self.error is None:
            return ActorStopped(f"{self.cell.path} stopped while it handled this message.")
        told = ActorFailed(
            f"{self.cell.path} crashed while it handled this message: "
            f"{type(self.error).__name__}: {self.error}"
        )
        told.__cause__ = self.error
        return told

    # -- deferred handlings ----------------------------------------------------------------------

    def _defer(self, envelope: Envelope, deferred: Deferred) -> None:
        self._deferred += 1
        self._nursery.start_soon(self._attend_deferred, envelope, deferred)

    async def _attend_deferred(self, envelope: Envelope, deferred: Deferred) -> None:
        current_handler.set(None)  # the actor goes on receiving: nobody can deadlock on this task
        try:
            await self._attend(envelope, deferred.fn, deferred.args)
        finally:
            self._deferred -= 1
            self.room.wake()


class _Interrupted(Exception):
    """The handling's own scope was cancelled: the asker left, or its deadline passed."""
