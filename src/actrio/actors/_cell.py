"""The cell: an address with what waits there, what watches it, and what became of its messages.

The cell stays while activations come and go. So a restart loses nothing that is queued, and
there is at most one activation per address because there is one cell per address.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING, Any, Final, Literal

import trio

from actrio.actors._mailbox import Mailbox
from actrio.actors._ref import Ref
from actrio.actors._restart_window import RestartWindow
from actrio.actors._slot import Slot
from actrio.actors._values import (
    ActorSnapshot,
    ActorState,
    ChildSpec,
    DeadLetterReason,
    ExitReason,
    Terminated,
)
from actrio.actors._waits import waiting_on
from actrio.errors import ActorStopped, ActrioError, MailboxFull

if TYPE_CHECKING:
    from actrio.actors._activation import Activation
    from actrio.actors._envelope import Envelope
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
        "activation",
        "control",
        "current",
        "generation",
        "gone",
        "last_error",
        "mailbox",
        "outcomes",
        "path",
        "ref",
        "restart_attempt",
        "restarts",
        "running_since",
        "spec",
        "start_slot",
        "state",
        "stop_wanted",
        "supervisor",
        "system",
        "waits_on",
        "watchers",
        "window",
    )

    def __init__(self, spec: ChildSpec, path: str, supervisor: Supervisor) -> None:
        self.spec = spec
        self.path = path
        self.supervisor = supervisor
        self.system: ActorSystem = supervisor.system
        self.ref: Ref[Any] = Ref(self)
        self.mailbox = Mailbox(path, spec.mailbox)
        self.control: deque[Any] = deque()
        self.activation: Activation | None = None
        self.state: ActorState = "starting"
        self.generation = 0
        self.restarts = 0
        # Restarts since it last stayed up long enough; what the backoff counts.
        self.restart_attempt = 0
        self.running_since: float | None = None
        self.window = RestartWindow(spec.intensity, spec.period_seconds)
        self.stop_wanted = False  # by the supervisor: whatever its end looks like, it is the last
        self.last_error: Exception | None = None
        self.outcomes: Counter[Settled] = Counter()
        # What is in work now, with the time it was begun; insertion order is age.
        self.current: dict[Envelope, float] = {}
        self.waits_on: dict[Cell, int] = {}
        self.watchers: dict[Cell, None] = {}
        self.start_slot = Slot()
        self.gone = trio.Event()

    @property
    def dead(self) -> bool:
        return self.state in ("dead", "quarantined")

    # -- accepting -------------------------------------------------------------------------------

    def stamp(self, message: Any) -> dict[str, Any]:
        """Return what an envelope for ``message`` is marked with on acceptance."""
        return {
            "deadline": trio.current_effective_deadline(),
            "size_bytes": self.spec.mailbox.size_of(message),
            "accepted_at": trio.current_time(),
        }

    def accept_nowait(self, envelope: Envelope) -> None:
        for dropped in self.mailbox.offer_nowait(envelope):
            error = MailboxFull(f"{self.path} dropped this message to make room.")
            self.bury_message(dropped, "dropped", error)

    async def accept(self, envelope: Envelope) -> bool:
        """Accept ``envelope``; return whether that took a wait (and so a schedule point)."""
        try:
            self.accept_nowait(envelope)
        except MailboxFull:
            if self.spec.mailbox.when_full != "wait":
                raise
            with waiting_on(self):
                await self.mailbox.offer(envelope)
            return True
        return False

    def accept_control(self, message: Any) -> None:
        if self.dead:
            raise ActorStopped(f"{self.path} has stopped.", remedy="Look it up again or start it.")
        if len(self.control) >= CONTROL_MAX:
            raise MailboxFull(
                f"{CONTROL_MAX} control messages wait for {self.path}.",
                remedy="Its current handling never ends; look at its snapshot and stop it.",
            )
        self.control.append(message)
        self.rouse()

    def rouse(self) -> None:
        """Let the receive loop look at control, wherever it is parked."""
        self.mailbox.wake()
        if self.activation is not None:
            self.activation.room.wake()

    # -- settling --------------------------------------------------------------------------------

    def settle(self, envelope: Envelope, outcome: Settled, error: ActrioError | None) -> None:
        """Give an accepted message its one outcome; ``error`` is what an asker is told."""
        self.outcomes[outcome] += 1
        self.current.pop(envelope, None)
        exchange = envelope.exchange
        if exchange is None or exchange.stage == "ended":
            return
        if error is not None:
            exchange.fail(error)
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
                f"Its handler did not end within {grace_seconds} s of being cancelled; "
                "look for a shielded scope or a loop without a schedule point.",
            )

    # -- ending ----------------------------------------------------------------------------------

    def request_stop(self, reason: ExitReason) -> None:
        """Let the activation end after what it handles now, within ``shutdown_seconds``."""
        activation = self.activation
        if activation is None or activation.stop_reason is not None:
            return
        self.state = "stopping"
        activation.stop_reason = reason
        activation.scope.deadline = min(
            activation.scope.deadline, trio.current_time() + self.spec.shutdown_seconds
        )
        self.rouse()

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
        for message in self.control:
            if not isinstance(message, Terminated):
                self.system.dead_letters.add(self.path, message, why)
        self.control.clear()
        watchers, self.watchers = self.watchers, {}
        for watcher in watchers:
            if not watcher.dead:
                watcher.accept_control(Terminated(self.ref, reason))
        self.gone.set()
        self.start_slot.wake()

    def watch(self, watcher: Cell) -> None:
        if self.dead:
            watcher.accept_control(Terminated(self.ref, "normal"))
        else:
            self.watchers[watcher] = None

    # -- showing ---------------------------------------------------------------------------------

    def snapshot(self, now: float) -> ActorSnapshot:
        mailbox = self.mailbox.statistics(now)
        actor = self.activation.actor if self.activation is not None else None
        return ActorSnapshot(
            path=self.path,
            kind=type(actor).__name__ if actor is not None else "-",
            state=self.state,
            generation=self.generation,
            restarts=self.restarts,
            last_error=repr(self.last_error) if self.last_error is not None else None,
            mailbox=mailbox,
            accepted=self.mailbox.accepted,
            outcomes={str(name): count for name, count in self.outcomes.items()},
            current=tuple(envelope.label for envelope in self.current),
            current_age_seconds=now - next(iter(self.current.values())) if self.current else 0.0,
            waits_on=tuple(cell.path for cell in self.waits_on),
        )
