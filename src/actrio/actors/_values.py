"""The frozen types of this room: specs that go in, snapshots and notices that come out."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal

import attrs

from actrio.actors._restart_window import Backoff
from actrio.errors import InvalidRequest, NotSupported

if TYPE_CHECKING:
    from actrio.actors._actor import Actor
    from actrio.actors._ref import Ref

__all__ = [
    "ActorSnapshot",
    "ActorState",
    "ChildSpec",
    "DeadLetter",
    "DeadLetterReason",
    "ExitReason",
    "MailboxSpec",
    "MailboxStatistics",
    "Restart",
    "SupervisorSpec",
    "Terminated",
    "WhenFull",
]

WhenFull = Literal["wait", "reject", "drop_oldest", "drop_newest"]
Restart = Literal["permanent", "transient", "temporary"]
ExitReason = Literal["normal", "shutdown", "killed", "error"]
ActorState = Literal["starting", "running", "stopping", "restarting", "quarantined", "dead"]
DeadLetterReason = Literal["stopped", "dropped", "failed", "stuck", "quarantined"]


def _plain_name(_instance: Any, _attribute: Any, value: Any) -> None:
    if not isinstance(value, str) or not value or "/" in value:
        raise InvalidRequest(
            f"{value!r} cannot be an actor's name.", remedy="Use a non-empty string without '/'."
        )


def _whole(minimum: int) -> Callable[[Any, attrs.Attribute[Any], Any], None]:
    def check(instance: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
        if not isinstance(value, int) or isinstance(value, bool) or value < minimum:
            raise InvalidRequest(
                f"{type(instance).__name__}.{attribute.name} is {value!r}.",
                remedy=f"Use a whole number of at least {minimum}; there is no 'unlimited'.",
            )

    return check


def _one_of(*known: str) -> Callable[[Any, attrs.Attribute[Any], Any], None]:
    def check(instance: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
        if value not in known:
            raise InvalidRequest(
                f"{type(instance).__name__}.{attribute.name} is {value!r}.",
                remedy=f"Use one of {', '.join(known)}.",
            )

    return check


def _no_size(_message: Any) -> int:
    return 0


@attrs.frozen(slots=True)
class MailboxSpec:
    """How much may wait, and what happens to what no longer fits.

    Args:
        capacity: Messages that may wait. 64 covers a burst of a scheduler pass; deeper queues
            only add latency (the peers' defaults are 16 to unbounded).
        when_full: ``wait`` parks the sender in FIFO order; ``reject`` raises `MailboxFull`;
            ``drop_oldest`` and ``drop_newest`` turn a message into a dead letter.
        bytes_max: Bytes that may wait, measured by ``size_of``; ``None`` counts items only.
        size_of: Size of one message in bytes.
    """

    capacity: int = attrs.field(default=64, validator=_whole(1))
    when_full: WhenFull = attrs.field(
        default="wait", validator=_one_of("wait", "reject", "drop_oldest", "drop_newest")
    )
    bytes_max: int | None = None
    size_of: Callable[[Any], int] = _no_size


@attrs.frozen(slots=True)
class ChildSpec:
    """How to make an actor, how much it may hold, and when it comes back.

    Args:
        name: Last part of its path; unique below its supervisor.
        factory: Makes a fresh instance for each activation. What must survive a restart lives
            behind the factory (a store, a journal), never in the instance.
        restart: ``permanent`` always, ``transient`` after a crash, ``temporary`` never.
        concurrency: How many deferred handlings may run at once (see `Context.defer`).
        intensity: Restarts allowed within ``period_seconds``.
        shutdown_seconds: How long a stop may wait for what is being handled.
    """

    name: str = attrs.field(validator=_plain_name)
    factory: Callable[[], Actor[Any]]
    restart: Restart = attrs.field(
        default="permanent", validator=_one_of("permanent", "transient", "temporary")
    )
    mailbox: MailboxSpec = MailboxSpec()
    concurrency: int = attrs.field(default=1, validator=_whole(1))
    backoff: Backoff = Backoff()
    intensity: int = attrs.field(default=3, validator=_whole(0))
    period_seconds: float = 5.0
    shutdown_seconds: float = 5.0


@attrs.frozen(slots=True)
class SupervisorSpec:
    """How a group of actors is looked after.

    Args:
        name: Last part of its path.
        strategy: ``one_for_one``: a crash concerns only the child that crashed.
        on_exceeded: A child out of restarts either takes the supervisor down with it
            (``escalate``) or is set aside (``quarantine``), for pools whose members have nothing
            to do with each other.
        stop_order: ``reverse`` stops children one after the other, last started first;
            ``together`` stops them all at once.
        children_max: Most live children; a pool is bounded like everything else.
    """

    name: str = attrs.field(validator=_plain_name)
    strategy: Literal["one_for_one"] = attrs.field(default="one_for_one")
    on_exceeded: Literal["escalate", "quarantine"] = attrs.field(
        default="escalate", validator=_one_of("escalate", "quarantine")
    )
    stop_order: Literal["reverse", "together"] = attrs.field(
        default="reverse", validator=_one_of("reverse", "together")
    )
    children_max: int = attrs.field(default=100_000, validator=_whole(1))

    @strategy.validator
    def _known_strategy(self, _attribute: Any, value: Any) -> None:
        if value in ("one_for_all", "rest_for_one"):
            raise NotSupported(
                f"The strategy {value} is not there yet.",
                remedy="Use one_for_one, and let dependants watch what they depend on.",
            )
        _one_of("one_for_one")(self, _attribute, value)


@attrs.frozen(slots=True)
class Terminated:
    """Told once to each watcher, on its control lane, when an actor is gone for good."""

    ref: Ref[Any]
    reason: ExitReason


@attrs.frozen(slots=True)
class DeadLetter:
    """A message that nobody handled, with the reason; ``at`` is Trio time in seconds."""

    path: str
    message: Any
    reason: DeadLetterReason
    at: float
    detail: str = ""


@attrs.frozen(slots=True)
class MailboxStatistics:
    """How full a mailbox is and was."""

    depth: int
    peak_depth: int
    capacity: int
    bytes: int
    peak_bytes: int
    waiting_senders: int
    oldest_age_seconds: float


@attrs.frozen(slots=True)
class ActorSnapshot:
    """One node of the live tree.

    ``accepted`` equals the sum of ``outcomes`` plus what waits in the mailbox plus what is being
    handled. ``current`` names the messages in work, with the age of the oldest.
    """

    path: str
    kind: str
    state: ActorState
    generation: int = 0
    restarts: int = 0
    last_error: str | None = None
    mailbox: MailboxStatistics | None = None
    accepted: int = 0
    outcomes: Mapping[str, int] = attrs.field(factory=dict)
    current: tuple[str, ...] = ()
    current_age_seconds: float = 0.0
    waits_on: tuple[str, ...] = ()
    children: tuple[ActorSnapshot, ...] = ()

    def walk(self) -> list[ActorSnapshot]:
        """Return this node and all below it, parents first."""
        found = [self]
        for child in self.children:
            found.extend(child.walk())
        return found


NEVER = math.inf
