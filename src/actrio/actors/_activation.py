"""One activation: a task, an instance, and the loop that gives it one message at a time.

What ends it, and what is then true::

    stop requested     what is handled now ends (at most shutdown_seconds), then on_stop
    a crash            everything in work is cancelled, its askers get ActorFailed, then on_stop
    a kill, or the     everything in work is cancelled, its askers get ActorStopped, then on_stop
    whole tree's end

No exception of the actor's code leaves here: the supervisor is told as a value. Only Trio's own
`Cancelled`, and what is not an `Exception` at all, passes through.

Two things that would be natural are too dear to have for every message and every actor (measured:
a cancel scope 8 µs, an empty nursery 18 µs and 1.5 KB):

* one *handling scope* stands around the whole loop. An asker's cancel cancels it, which ends the
  message in work; the loop then goes on in a new one. Its deadline is the deadline of the message
  in work, set only where it differs from the last one;
* deferred handlings and background tasks have no nursery of ours. They run in the supervisor's,
  each in a scope that the activation keeps; it cancels these, and waits for their end, on every way
  out.

Longer than 400 lines, because the loop, the settling of what it handled and the ways out of it are one
argument: each message has one outcome whatever interrupts it.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

import attrs
import trio

from actrio.actors._actor import Context, Deferred
from actrio.actors._slot import Slot
from actrio.actors._timers import Timers
from actrio.actors._values import NEVER
from actrio.actors._waits import current_handler
from actrio.errors import ActorFailed, ActorStopped, ActrioError, BugError, DeadlineExceeded

if TYPE_CHECKING:
    from actrio.actors._actor import Actor
    from actrio.actors._cell import Cell, Settled
    from actrio.actors._envelope import Envelope, Exchange
    from actrio.actors._values import ExitReason

__all__ = ["Activation", "Exit"]

BATCH: Final = 64
"""Messages handled in a row before other tasks get their turn: a scheduler pass costs about
5 µs, so this makes it a tenth of a microsecond per message and still bounds the wait …"""

BATCH_SECONDS: Final = 0.001
"""… and so does this, for handlers that burn time: looked at with every eighth message."""


_NOBODY: Final[dict[Cell, None]] = {}
"""What an activation that never watched anybody watches; never written to."""


@attrs.frozen(slots=True)
class Exit:
    """Why an activation ended."""

    reason: ExitReason
    error: Exception | None = None


class Activation(Slot):
    """The running side of a cell. The loop parks in it, whatever it waits for."""

    __slots__ = (
        "_armed",
        "_base",
        "_deferred",
        "_ended",
        "_handling",
        "_tasks",
        "_timers",
        "actor",
        "alerted",
        "cell",
        "error",
        "receive",
        "scope",
        "stop_reason",
        "task",
        "watched",
    )

    def __init__(self, cell: Cell) -> None:
        self.parked = None
        self.cell = cell
        self.scope = trio.CancelScope()
        self.actor: Actor[Any] | None = None
        self.receive: Callable[[Any, Context], Awaitable[Any]]
        self.error: Exception | None = None  # the first crash; later ones are its consequences
        self.stop_reason: ExitReason | None = None
        # Something but a message wants the loop's attention; set together with what it is.
        # True at first: control may have come, or a suspension, while nothing ran.
        self.alerted = True
        self.task: trio.lowlevel.Task | None = None
        self._base = Context(self, None)
        self._handling: trio.CancelScope
        self._armed = NEVER  # the deadline that the handling scope has now
        # The scopes of the tasks that run beside the loop; None before the first one.
        self._tasks: set[trio.CancelScope] | None = None
        self._deferred = 0  # deferred handlings in work
        self._timers: Timers | None = None
        self.watched: dict[Cell, None] = _NOBODY  # a dict of its own only once it watches
        self._ended = False  # what is left is on_stop

    async def run(self) -> Exit:
        """Live until the end and say why it ended. Raises nothing but Trio's own Cancelled."""
        current_handler.set(self.cell)
        self.task = trio.lowlevel.current_task()
        try:
            try:
                with self.scope:
                    await self._live()
            except BaseExceptionGroup as group:
                self._crash_of(group)
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
            self.receive = self._chained()
            await self.actor.on_start(self._base)
            self.cell.supervisor.came_up(self.cell)
            while not self._over():
                self._armed = NEVER
                with trio.CancelScope() as self._handling:
                    await self._receive_some()
            while self._deferred and self.error is None:
                await self.park()
        except Exception as error:
            self.crash(error)

    def _chained(self) -> Callable[[Any, Context], Awaitable[Any]]:
        """Return `Actor.receive` with the receive filters around it, the first one outermost."""
        assert self.actor is not None
        chain: Callable[[Any, Context], Awaitable[Any]] = self.actor.receive
        for each in reversed(self.cell.spec.receive_filters):
            chain = functools.partial(_through, each, chain)
        return chain

    async def _clean_up(self) -> None:
        # Level-triggered cancellation would stop on_stop at its first schedule point; it gets its
        # own bounded time instead, also when the whole tree is being torn down.
        await self._end_tasks()
        self._ended = True
        self._end_timers()
        self.cell.end_watches(self.watched)
        if self.actor is None:
            return
        grace = trio.current_time() + self.cell.system.cancel_grace_seconds
        with trio.CancelScope(shield=True, deadline=grace) as scope:
            try:
                await self.actor.on_stop(self._base, self._why())
            except Exception as error:
                self.error = self.error or error
            except BaseExceptionGroup as group:
                self._crash_of(group)
            finally:
                self._end_timers()  # those that on_stop set
        if scope.cancelled_caught:
            self.cell.system.dead_letters.add(
                self.cell.path, "on_stop", "stuck", "on_stop did not end within its grace period."
            )

    def let_go(self) -> None:
        """It has ended: drop what leads back here, or all of it would wait for the collector."""
        self.task = self.actor = None
        del self._base
        if hasattr(self, "receive"):
            del self.receive

    def _end_timers(self) -> None:
        if self._timers is not None:
            self._timers.end()

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
            self.alerted = True

    def _crash_of(self, group: BaseExceptionGroup[BaseException]) -> None:
        """Crash by what failed beside a cancel; pass on the cancel, and what is no `Exception`."""
        failed, rest = group.split(Exception)
        if failed is not None:
            self.crash(failed)
        if rest is not None:
            raise rest

    def stop(self) -> None:
        """End this activation normally, after what is being handled."""
        self.cell.request_stop("normal")

    def watch(self, target: Cell) -> None:
        if self._ended:
            return  # nobody would be told
        if target.dead:
            self.cell.tell_terminated(target, "normal")
            return
        if not self.watched:
            self.watched = {}
        self.watched[target] = None
        target.watch(self.cell)

    def unwatch(self, target: Cell) -> None:
        self.watched.pop(target, None)
        target.unwatch(self.cell)

    def timers_of(self) -> Timers:
        if self._timers is None:
            self._timers = Timers(self.cell)
        return self._timers

    # -- the loop --------------------------------------------------------------------------------

    def _over(self) -> bool:
        return self.error is not None or self.stop_reason is not None

    async def _receive_some(self) -> None:
        """Handle messages until something ends the loop, or the handling scope is used up."""
        cell, mailbox = self.cell, self.cell.mailbox
        concurrency = cell.spec.concurrency
        receive, base, now = self.receive, self._base, cell.system.now
        envelope: Envelope | None
        in_a_row, began = 0, 0.0  # handled since the last schedule point, and when the first began
        while True:
            if self.alerted:
                if self._armed != NEVER:
                    if self._handling.cancel_called:
                        return
                    self._handling.deadline = self._armed = NEVER
                if await self._attend_alert():
                    return
            if not mailbox.ring or self._deferred >= concurrency:
                envelope = result = None  # an idle actor keeps nothing alive
                self._ran_dry()
                await self.park()
                in_a_row = 0
                continue
            if self._armed != NEVER and now() >= self._armed:
                return  # the deadline of a message that is over: the next needs a fresh scope
            envelope = mailbox.take()
            assert envelope is not None
            if envelope.exchange is not None:
                if await self._answer(envelope, envelope.exchange):
                    return
            else:
                if self._armed != NEVER:
                    self._handling.deadline = self._armed = NEVER
                cell.inline, cell.inline_since = envelope, now()
                if cell.tracer is not None:
                    cell.tell_trace("begun", envelope)
                try:
                    result = await receive(envelope.message, base)
                except Exception as error:
                    self._settle_tell(envelope, error)
                except BaseException:
                    self._settle_tell(envelope, None)
                    raise
                else:
                    cell.inline = None
                    if isinstance(result, Deferred):
                        self._defer(envelope, result)
                    elif cell.tracer is None:
                        cell.handled += 1
                    else:
                        cell.settle(envelope, "handled", None)
            if not in_a_row:
                began = cell.inline_since
            in_a_row += 1
            if in_a_row >= BATCH or (not in_a_row & 7 and now() - began > BATCH_SECONDS):
                await trio.lowlevel.checkpoint()
                in_a_row = 0

    async def _attend_alert(self) -> bool:
        """Look at everything but the mailbox; return whether the loop is to end."""
        cell = self.cell
        while True:
            self.alerted = False
            if self.stop_reason == "passivated" and not cell.quiet:
                self.stop_reason = None  # something came after all
            if self._over():
                return True
            if cell.control:
                assert self.actor is not None
                self.alerted = True  # until the lane is seen to be empty
                await self.actor.on_control(cell.control.popleft(), self._base)
            elif cell.suspended:
                await self.park()
            else:
                return False

    def _ran_dry(self) -> None:
        cell = self.cell
        cell.mailbox.forget()
        if cell.supervisor.tracks_use:
            cell.last_active = cell.system.now()
            cell.supervisor.ran_dry(cell)
        if cell.system.draining:
            cell.system.note_dry()

    async def _answer(self, envelope: Envelope, exchange: Exchange) -> bool:
        """Handle an asked message inline; return whether the handling scope is used up."""
        cell = self.cell
        deadline = envelope.deadline
        if exchange.abandoned:
            cell.settle(envelope, "skipped", None)
            return False
        if deadline != self._armed:
            if deadline <= cell.system.now():
                error = DeadlineExceeded(f"{cell.path} came to this message after its deadline.")
                cell.settle(envelope, "skipped", error)
                return False
            self._handling.deadline = self._armed = deadline
        exchange.begin(self._handling)
        cell.inline, cell.inline_since = envelope, cell.system.now()
        if cell.tracer is not None:
            cell.tell_trace("begun", envelope)
        outcome: Settled = "interrupted"
        told: ActrioError | None = None
        deferred: Deferred | None = None
        try:
            result = await self.receive(envelope.message, Context(self, envelope))
            if isinstance(result, Deferred):
                deferred = result
            else:
                exchange.resolve(result)
            outcome = "handled"
        except Exception as error:
            outcome = "failed"
            told = self._failed(envelope, error)
        finally:
            cell.inline = None
            if deferred is not None:
                self._defer(envelope, deferred)
            else:
                if outcome == "interrupted":
                    told = self._interrupted()
                cell.settle(envelope, outcome, told)
        return exchange.abandoned

    def _settle_tell(self, envelope: Envelope, error: Exception | None) -> None:
        self.cell.inline = None
        if error is None:
            self.cell.settle(envelope, "interrupted", None)
        else:
            self._failed(envelope, error)
            self.cell.settle(envelope, "failed", None)

    def _failed(self, envelope: Envelope, error: Exception) -> ActrioError:
        """Decide between a result and a crash; return what the asker is told."""
        if isinstance(error, ActrioError) and not isinstance(error, BugError):
            if envelope.exchange is None:
                self.cell.system.dead_letters.add(
                    self.cell.path, envelope.message, "failed", str(error)
                )
            return error
        self.crash(error)
        return self._interrupted()

    def _interrupted(self) -> ActrioError:
        """Return what an asker is told whose message did not come to its end."""
        if self.error is None:
            return ActorStopped(f"{self.cell.path} stopped while it handled this message.")
        told = ActorFailed(
            f"{self.cell.path} crashed while it handled this message: "
            f"{type(self.error).__name__}: {self.error}"
        )
        told.__cause__ = self.error
        return told

    # -- tasks of the activation -----------------------------------------------------------------

    def start_task(self, fn: Callable[..., Awaitable[Any]], args: tuple[Any, ...]) -> None:
        if self._ended:
            raise ActorStopped(
                f"{self.cell.path} ends; nothing would wait for a task started now.",
                remedy="Await it in on_stop instead.",
            )
        self._start(self._background, fn, args)

    def _start(self, fn: Callable[..., Awaitable[None]], *args: Any) -> None:
        """Run a task in a scope of its own, which it is given first, until it or we end."""
        scope = trio.CancelScope()
        if self._tasks is None:
            self._tasks = set()
        self._tasks.add(scope)
        self.cell.supervisor.start_beside(
            functools.partial(self._within, scope, fn, args), f"{self.cell.path} {fn.__name__}"
        )

    async def _within(
        self, scope: trio.CancelScope, fn: Callable[..., Awaitable[None]], args: tuple[Any, ...]
    ) -> None:
        current_handler.set(None)  # what runs here never keeps the actor from receiving
        assert self._tasks is not None
        try:
            with scope:
                await fn(scope, *args)
        except BaseExceptionGroup as group:
            self._crash_of(group)
        finally:
            self._tasks.discard(scope)
            self.wake()

    async def _end_tasks(self) -> None:
        if not self._tasks:
            return
        with trio.CancelScope(shield=True):  # as a nursery's end would be: it waits for its tasks
            while self._tasks:
                for scope in self._tasks:  # each time: what ends may have started another
                    scope.cancel(reason="the activation ended")
                await self.park()

    async def _background(
        self, _: trio.CancelScope, fn: Callable[..., Awaitable[Any]], args: tuple[Any, ...]
    ) -> None:
        try:
            await fn(*args)
        except Exception as error:
            self.crash(error)

    def _defer(self, envelope: Envelope, deferred: Deferred) -> None:
        cell = self.cell
        if cell.deferred is None:
            cell.deferred = {}
        cell.deferred[envelope] = cell.system.now()
        self._deferred += 1
        if envelope.exchange is not None:
            # An asker that leaves before the task runs must not cancel the loop in its place.
            envelope.exchange.scope = None
        self._start(self._attend, envelope, deferred)

    async def _attend(
        self, scope: trio.CancelScope, envelope: Envelope, deferred: Deferred
    ) -> None:
        """Run the deferred rest of a handling and settle it, whatever happens."""
        outcome: Settled = "interrupted"
        told: ActrioError | None = None
        exchange = envelope.exchange
        try:
            if exchange is None:
                await deferred.fn(*deferred.args)
                outcome = "handled"
            else:
                exchange.task = trio.lowlevel.current_task()
                if envelope.deadline != NEVER:
                    scope.deadline = envelope.deadline
                exchange.begin(scope)
                exchange.resolve(await deferred.fn(*deferred.args))
                outcome = "handled"
        except Exception as error:
            outcome = "failed"
            told = self._failed(envelope, error)
        except BaseExceptionGroup as group:
            self._crash_of(group)  # before it is settled: the asker is told why
        finally:
            self._settle_deferred(envelope, outcome, told)

    def _settle_deferred(
        self, envelope: Envelope, outcome: Settled, told: ActrioError | None
    ) -> None:
        assert self.cell.deferred is not None
        del self.cell.deferred[envelope]
        self._deferred -= 1
        if outcome == "interrupted":
            told = self._interrupted()
        self.cell.settle(envelope, outcome, told)
        self.wake()


async def _through(
    each: Callable[..., Awaitable[Any]],
    inner: Callable[[Any, Context], Awaitable[Any]],
    message: Any,
    ctx: Context,
) -> Any:
    async def proceed(changed: Any) -> Any:
        return await inner(changed, ctx)

    return await each(message, ctx, proceed)
