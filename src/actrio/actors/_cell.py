"""The cell: an address with what waits there, what watches it, and what became of its messages.

The cell stays while activations come and go. So a restart loses nothing that is queued, and there
is at most one activation per address because there is one cell per address. It is kept small
(slots, nothing allocated before it is needed): there may be a hundred thousand.

Longer than 400 lines by its list of slots, each with what holds for it.
"""

from __future__ import annotations

import functools
import traceback
from collections import deque
from typing import TYPE_CHECKING, Any, Final, Literal, NoReturn

import trio

from actrio.actors._envelope import ENDED, Envelope
from actrio.actors._mailbox import InLine, Mailbox
from actrio.actors._ref import Ref
from actrio.actors._slot import Slot
from actrio.actors._values import (
    NEVER,
    ActorSnapshot,
    ActorState,
    ChildSpec,
    DeadLetterReason,
    ExitReason,
    Terminated,
    Trace,
)
from actrio.actors._waits import Place, begin_wait, current_handler, end_wait, waited_for
from actrio.errors import ActorStopped, ActrioError, InvalidRequest, MailboxFull, Overloaded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from actrio.actors._activation import Activation
    from actrio.actors._restart_window import RestartWindow
    from actrio.actors._supervisor import Supervisor
    from actrio.actors._system import ActorSystem

__all__ = ["Cell", "Settled"]

Settled = Literal["handled", "failed", "interrupted", "skipped", "dead"]
"""The one outcome of an accepted message."""

CONTROL_MAX: Final = 256
"""Control messages that may wait. They are few and short-lived; hundreds mean a stuck actor."""


class Cell:
    """An address and its mailbox. Compared by identity."""

    __slots__ = (
        "__weakref__",
        "_gone",
        "activation",
        "control",
        "dead_count",
        "deferred",
        "failed",
        "generation",
        "handled",
        "inline",
        "inline_since",
        "interrupted",
        "last_active",
        "last_error",
        "mailbox",
        "name",
        "ref",
        "restart_attempt",
        "restarts",
        "running_since",
        "skipped",
        "spec",
        "start_slot",
        "state",
        "stop_wanted",
        "supervisor",
        "suspended",
        "system",
        "tracer",
        "waits_on",
        "watchers",
        "window",
    )

    def __init__(self, spec: ChildSpec, name: str, supervisor: Supervisor) -> None:
        self.spec = spec
        self.name = name
        self.supervisor = supervisor
        self.system: ActorSystem = supervisor.system
        self.ref: Ref[Any] = Ref(self)
        self.mailbox = Mailbox(spec.mailbox)
        self.control: deque[Any] | None = None
        self.activation: Activation | None = None
        self.state: ActorState = "starting"
        self.generation = 0
        self.restarts = 0
        # Restarts since it last stayed up long enough; what the backoff counts.
        self.restart_attempt = 0
        self.running_since: float | None = None
        self.window: RestartWindow | None = None  # made at the first crash
        self.stop_wanted = False  # by the supervisor: whatever its end looks like, it is the last
        self.suspended = False
        self.last_error: Exception | None = None
        self.last_active = 0.0  # when the receive loop last ran dry
        self.handled = self.failed = self.interrupted = self.skipped = self.dead_count = 0
        # In work: in the receive loop itself, and in deferred tasks (with when each was begun).
        self.inline: Envelope | None = None
        self.inline_since = 0.0
        self.deferred: dict[Envelope, float] | None = None
        self.waits_on: dict[Place, Cell] | None = None
        self.watchers: dict[Cell, None] | None = None
        self.tracer: Callable[[Trace], None] | None = None
        self.start_slot: Slot | None = None
        self._gone: trio.Event | None = None

    @property
    def path(self) -> str:
        return f"{self.supervisor.path.rstrip('/')}/{self.name}"

    @property
    def dead(self) -> bool:
        return self.mailbox.closed

    async def gone(self) -> None:
        """Wait until the address is gone for good."""
        if not self.dead:
            if self._gone is None:
                self._gone = trio.Event()
            await self._gone.wait()

    # -- accepting -------------------------------------------------------------------------------

    def envelope(self, message: Any) -> Envelope:
        """Return ``message`` as a tell of it is accepted."""
        accepts = self.spec.accepts
        if accepts is not None and not isinstance(message, accepts):
            self._refuse_type(message, accepts)
        size_bytes = 0
        spec = self.mailbox.spec
        if spec.bytes_max is not None:
            size_bytes = spec.size_of(message)
        return Envelope(message, None, NEVER, size_bytes, self.system.now())

    def _refuse_type(self, message: Any, accepts: type | tuple[type, ...]) -> NoReturn:
        kinds = accepts if isinstance(accepts, tuple) else (accepts,)
        raise InvalidRequest(
            f"{self.path} takes no {type(message).__name__}.",
            remedy=f"Send {' or '.join(kind.__name__ for kind in kinds)}.",
        )

    def filtered(self, message: Any) -> Any:
        """Return ``message`` as the send filters leave it; None: dropped, and counted as such."""
        for each in self.spec.send_filters:
            changed = each(message)
            if changed is None:
                self.system.dead_letters.add(self.path, message, "filtered", _name(each))
                return None
            message = changed
        return message

    def accept_nowait(self, envelope: Envelope) -> None:
        """Accept ``envelope`` at once, or raise; whatever it pushes out becomes a dead letter."""
        if self.system.draining:
            self._refuse_while_draining()
        dropped = self.mailbox.offer(self, envelope)
        if self.tracer is not None:
            self.tell_trace("accepted", envelope)
        for each in dropped:
            self._bury_dropped(each, envelope)
        activation = self.activation
        if activation is None:
            self.supervisor.demand(self)
        elif activation.parked is not None:
            activation.wake()

    def _bury_dropped(self, dropped: Envelope, newcomer: Envelope) -> None:
        replaced = (
            dropped is not newcomer and self.mailbox.policy_for(newcomer.message) == "conflate"
        )
        self.bury_message(
            dropped,
            "replaced" if replaced else "dropped",
            MailboxFull(f"{self.path} had no room for this message any more."),
        )

    def accept_or_not(self, envelope: Envelope) -> bool:
        """Accept ``envelope`` at once, or return False where it has to wait for room."""
        try:
            self.accept_nowait(envelope)
        except MailboxFull:
            if self.mailbox.policy_for(envelope.message) not in ("wait", "conflate"):
                raise
            return False
        return True

    async def accept_in_line(self, envelope: Envelope) -> None:
        """Accept ``envelope`` as soon as there is room, behind those who wait already."""
        waiter = current_handler.get()
        place = InLine(self.mailbox, trio.lowlevel.current_task())
        if waiter is not None:
            begin_wait(waiter, self, place)
        try:
            await self.mailbox.wait_for_room(self, envelope)
        finally:
            if waiter is not None:
                end_wait(waiter, place)
        self.rouse()

    def accept_control(self, message: Any) -> None:
        if self.dead:
            raise ActorStopped(f"{self.path} has stopped.", remedy="Look it up again or start it.")
        if self.control is None:
            self.control = deque()
        if len(self.control) >= CONTROL_MAX:
            raise MailboxFull(
                f"{CONTROL_MAX} control messages wait for {self.path}.",
                remedy="Its current handling never ends; look at its snapshot and stop it.",
            )
        self.control.append(message)
        if self.activation is None:
            self.supervisor.demand(self)
        self.alert()

    def rouse(self) -> None:
        """Let the receive loop look at its mailbox, if it is parked."""
        if self.activation is not None:
            self.activation.wake()

    def alert(self) -> None:
        """Let the receive loop look at everything but its mailbox, before the next message."""
        if self.activation is not None:
            self.activation.alerted = True
            self.activation.wake()

    def _refuse_while_draining(self) -> None:
        if not self.system.inside():
            raise Overloaded(
                f"{self.path} takes nothing new: the system drains.",
                remedy="Send it to another instance, or later.",
            )

    # -- settling --------------------------------------------------------------------------------

    def settle(self, envelope: Envelope, outcome: Settled, error: ActrioError | None) -> None:
        """Give an accepted message its one outcome; ``error`` is what an asker is told."""
        match outcome:
            case "handled":
                self.handled += 1
            case "failed":
                self.failed += 1
            case "interrupted":
                self.interrupted += 1
            case "skipped":
                self.skipped += 1
            case "dead":
                self.dead_count += 1
        if self.tracer is not None:
            self.tell_trace(outcome, envelope)
        exchange = envelope.exchange
        if exchange is None or exchange.stage == ENDED:
            return
        if error is not None:
            exchange.fail(error)
        if exchange.late:
            self.system.late_replies += exchange.late
        exchange.end()

    def bury_message(
        self, envelope: Envelope, reason: DeadLetterReason, error: ActrioError
    ) -> None:
        """Make a dead letter of an accepted message."""
        if envelope.exchange is not None and envelope.exchange.abandoned:
            self.settle(envelope, "skipped", error)
            return
        self.system.dead_letters.add(self.path, envelope.message, reason, str(error))
        self.settle(envelope, "dead", error)

    async def leave(self, envelope: Envelope) -> None:
        """Let the asker of ``envelope`` go: its handling ends first, or is named as stuck."""
        assert envelope.exchange is not None
        grace_seconds = self.system.cancel_grace_seconds
        if not await envelope.exchange.leave(grace_seconds=grace_seconds):
            self.system.dead_letters.add(
                self.path,
                envelope.message,
                "stuck",
                f"Its handler did not end within {grace_seconds} s of being cancelled; look for a "
                f"shielded scope or a loop without a schedule point. It waits at:\n{self.stack(envelope.exchange.task)}",
            )

    def trace(self, told: Callable[[Trace], None] | None) -> None:
        """Tell ``told`` of each step from now on; None: nobody."""
        self.tracer = told
        # A message that stood in line is accepted by whoever makes room, not by its sender.
        self.mailbox.admitted = None if told is None else self._admitted

    def _admitted(self, envelope: Envelope) -> None:
        self.tell_trace("accepted", envelope)

    def tell_trace(self, step: Any, envelope: Envelope) -> None:
        assert self.tracer is not None
        self.tracer(Trace(self.path, step, envelope.message, self.system.now()))

    # -- ending ----------------------------------------------------------------------------------

    def request_stop(self, reason: ExitReason) -> None:
        """Let the activation end after what it handles now, within ``shutdown_seconds``."""
        activation = self.activation
        if activation is None or activation.stop_reason not in (None, "passivated"):
            return
        if reason != "passivated":
            self.state = "stopping"
            activation.scope.deadline = min(
                activation.scope.deadline, trio.current_time() + self.spec.shutdown_seconds
            )
        activation.stop_reason = reason
        self.alert()

    def bury(self, state: Literal["dead", "quarantined"], reason: ExitReason) -> None:
        """The address is gone for good: nothing is accepted, what waited is dead, watchers know."""
        self.state = state
        why: DeadLetterReason = "quarantined" if state == "quarantined" else "stopped"
        for envelope in self.mailbox.close():
            self.bury_message(
                envelope,
                why,
                ActorStopped(f"{self.path} stopped before it came to this message."),
            )
        for message in self.control or ():
            if not isinstance(message, Terminated):
                self.system.dead_letters.add(self.path, message, why)
        self.control = None
        watchers, self.watchers = self.watchers, None
        for watcher in watchers or ():
            watcher.tell_terminated(self, reason)
        if self._gone is not None:
            self._gone.set()
        if self.start_slot is not None:
            self.start_slot.wake()
        if self.system.draining:
            self.system.note_dry()

    def tell_terminated(self, target: Cell, reason: ExitReason) -> None:
        """Tell the running activation, which watches ``target``, of its end.

        Not counted against `CONTROL_MAX`: there is at most one for each watch, and the end of
        what is watched must not fail because a watcher is busy.
        """
        assert self.activation is not None, "watches end with the activation"
        self.activation.watched.pop(target, None)
        if self.control is None:
            self.control = deque()
        self.control.append(Terminated(target.ref, reason))
        self.alert()

    def end_watches(self, watched: Iterable[Cell]) -> None:
        """Its activation ends, and with it what that watches and was not told of yet."""
        for target in watched:
            target.unwatch(self)
        if self.control:
            self.control = deque(each for each in self.control if not isinstance(each, Terminated))

    def watch(self, watcher: Cell) -> None:
        if self.watchers is None:
            self.watchers = {}
        self.watchers[watcher] = None

    def unwatch(self, watcher: Cell) -> None:
        if self.watchers is not None:
            self.watchers.pop(watcher, None)

    # -- showing ---------------------------------------------------------------------------------

    @property
    def quiet(self) -> bool:
        """Nothing waits and nothing is in work."""
        return (
            not self.mailbox.depth
            and self.inline is None
            and not self.deferred
            and not self.control
            and not self.mailbox.waiting_senders
        )

    def stack(self, task: trio.lowlevel.Task | None = None) -> str:
        """Return where ``task``, or else the receive loop, waits, innermost last."""
        if task is None and self.activation is not None:
            task = self.activation.task
        if task is None:
            return "(not running)"
        lines: list[str] = []
        for frame, line in task.iter_await_frames():
            code = frame.f_code
            lines += traceback.format_list(
                [traceback.FrameSummary(code.co_filename, line, code.co_name)]
            )
        return "".join(lines)

    def snapshot(self, now: float) -> ActorSnapshot:
        actor = self.activation.actor if self.activation is not None else None
        in_work = list((self.deferred or {}).items())
        if self.inline is not None:
            in_work.append((self.inline, self.inline_since))
        counts = {
            "handled": self.handled,
            "failed": self.failed,
            "interrupted": self.interrupted,
            "skipped": self.skipped,
            "dead": self.dead_count,
        }
        state: ActorState = self.state
        if state == "running" and self.suspended:
            state = "suspended"
        return ActorSnapshot(
            path=self.path,
            kind=type(actor).__name__ if actor is not None else "-",
            state=state,
            generation=self.generation,
            restarts=self.restarts,
            last_error=repr(self.last_error) if self.last_error is not None else None,
            mailbox=self.mailbox.statistics(now),
            accepted=self.mailbox.accepted,
            outcomes={name: count for name, count in counts.items() if count},
            current=tuple(envelope.label for envelope, _ in in_work),
            current_age_seconds=max((now - since for _, since in in_work), default=0.0),
            waits_on=tuple(dict.fromkeys(cell.path for cell in waited_for(self))),
            facts=dict(actor.facts()) if actor is not None else {},
        )


def _name(function: Any) -> str:
    if isinstance(function, functools.partial):
        return _name(function.func)
    return str(getattr(function, "__qualname__", type(function).__name__))
