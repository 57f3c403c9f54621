"""The frozen types of this room: specs that go in, snapshots and notices that come out."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping
from typing import TYPE_CHECKING, Any, Literal

import attrs

from actrio.actors._restart_window import Backoff
from actrio.errors import InvalidRequest

if TYPE_CHECKING:
    from actrio.actors._actor import Actor
    from actrio.actors._ref import Ref

__all__ = [
    "ActorSnapshot",
    "ActorState",
    "ChildSpec",
    "DeadLetter",
    "DeadLetterReason",
    "DrainReport",
    "ExitReason",
    "MailboxSpec",
    "MailboxStatistics",
    "Restart",
    "RouteSpec",
    "SupervisorSpec",
    "Terminated",
    "Trace",
    "WhenFull",
]

WhenFull = Literal["wait", "reject", "drop_oldest", "drop_newest", "conflate"]
Restart = Literal["permanent", "transient", "temporary"]
ExitReason = Literal["normal", "shutdown", "killed", "error", "passivated", "restart"]
"""``restart``: it did not fail itself, but its supervisor restarts it together with one that did."""

ActorState = Literal[
    "starting", "running", "suspended", "stopping", "restarting", "passive", "quarantined", "dead"
]
DeadLetterReason = Literal[
    "stopped", "dropped", "replaced", "failed", "filtered", "stuck", "quarantined"
]


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


def _more_than_zero(instance: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    if value is not None and not value > 0:  # also refuses nan
        raise InvalidRequest(
            f"{type(instance).__name__}.{attribute.name} is {value!r}.", remedy="Use more than 0."
        )


def _not_negative(instance: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    if not value >= 0:
        raise InvalidRequest(
            f"{type(instance).__name__}.{attribute.name} is {value!r}.", remedy="Use 0 or more."
        )


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


def _pairs(given: Any) -> tuple[tuple[type, WhenFull], ...]:
    return tuple(given.items()) if isinstance(given, Mapping) else tuple(given)


def _known_policies(_instance: Any, _attribute: Any, value: Any) -> None:
    for kind, policy in value:
        if not isinstance(kind, type) or policy not in _POLICIES:
            raise InvalidRequest(
                f"per_class has {kind!r}: {policy!r}.",
                remedy=f"Map message classes to one of {', '.join(_POLICIES)}.",
            )


_POLICIES = ("wait", "reject", "drop_oldest", "drop_newest", "conflate")


@attrs.frozen(slots=True)
class MailboxSpec:
    """How much may wait, and what happens to what no longer fits.

    Args:
        capacity: Messages that may wait. 64 covers a burst of a scheduler pass; deeper queues
            only add latency (the peers' defaults are 16 to unbounded).
        when_full: ``wait`` parks the sender in FIFO order; ``reject`` raises `MailboxFull`;
            ``drop_oldest`` and ``drop_newest`` turn a message into a dead letter; ``conflate``
            replaces what waits under the same ``conflate_key``, full or not, and else waits.
        bytes_max: Bytes that may wait, measured by ``size_of``; ``None`` counts items only.
        size_of: Size of one message in bytes.
        per_class: Policies for single message classes; the first that fits counts.
        conflate_key: What a message is about, where a newer one replaces an older one; None for
            messages that are about nothing in particular.
    """

    capacity: int = attrs.field(default=64, validator=_whole(1))
    when_full: WhenFull = attrs.field(default="wait", validator=_one_of(*_POLICIES))
    bytes_max: int | None = attrs.field(default=None, validator=_more_than_zero)
    size_of: Callable[[Any], int] = _no_size
    per_class: tuple[tuple[type, WhenFull], ...] = attrs.field(
        default=(), converter=_pairs, validator=_known_policies
    )
    conflate_key: Callable[[Any], Hashable | None] | None = None

    def __attrs_post_init__(self) -> None:
        policies = {self.when_full, *(policy for _, policy in self.per_class)}
        if "conflate" in policies and self.conflate_key is None:
            raise InvalidRequest(
                "The policy conflate needs conflate_key.",
                remedy="Say what a message is about: MailboxSpec(conflate_key=lambda m: m.key).",
            )


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
        accepts: Classes of messages that it takes; anything else is refused where it is sent.
            None: whatever comes.
        send_filters: Plain functions ``(message) -> message | None`` that see what is sent, in
            the sender's task; None drops it (a dead letter ``filtered``), an error refuses it.
        receive_filters: ``async (message, ctx, proceed) -> answer`` around `Actor.receive`, the
            first listed outermost.
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
    period_seconds: float = attrs.field(default=5.0, validator=_not_negative)
    shutdown_seconds: float = attrs.field(default=5.0, validator=_not_negative)
    accepts: type | tuple[type, ...] | None = None
    send_filters: tuple[Callable[[Any], Any], ...] = ()
    receive_filters: tuple[Callable[..., Any], ...] = ()


@attrs.frozen(slots=True)
class RouteSpec:
    """Actors that exist by their address: made at the first message, passivated when idle.

    Args:
        template: For example ``/agents/{agent}/sessions/{id}``; its first part is a supervisor.
        make: Returns a fresh instance for the values of the template's names.
        idle_seconds: How long an actor may be idle before it is passivated.
        resident_max: Actors in memory; beyond it the least recently used idle ones go first.
            A soft bound: busy actors stay, because waiting for room could wait for oneself.
        starts_max: Activations that may be in ``on_start`` at once, so that a burst of messages to
            sleeping addresses does not become a burst of loads.
        child: Everything else (mailbox, budget, filters); its name and factory are not used.
    """

    template: str
    make: Callable[[Mapping[str, str]], Actor[Any]]
    idle_seconds: float = attrs.field(default=300.0, validator=_more_than_zero)
    resident_max: int = attrs.field(default=10_000, validator=_whole(1))
    starts_max: int = attrs.field(default=64, validator=_whole(1))
    child: ChildSpec | None = None


@attrs.frozen(slots=True)
class SupervisorSpec:
    """How a group of actors is looked after.

    Args:
        name: Last part of its path.
        strategy: ``one_for_one``: a crash concerns only the child that crashed; ``rest_for_one``
            restarts those started after it too; ``one_for_all`` restarts all.
        on_exceeded: A child out of restarts either takes the supervisor down with it
            (``escalate``) or is set aside (``quarantine``), for pools whose members have nothing
            to do with each other.
        stop_order: ``reverse`` stops children one after the other, last started first;
            ``together`` stops them all at once.
        children_max: Most live children; a pool is bounded like everything else.
        children: Started with it, in this order.
        intensity: Restarts of the group under the other two strategies, and of this supervisor
            by its own, within ``period_seconds``.
        backoff: Delay before these.
    """

    name: str = attrs.field(validator=_plain_name)
    strategy: Literal["one_for_one", "one_for_all", "rest_for_one"] = attrs.field(
        default="one_for_one", validator=_one_of("one_for_one", "one_for_all", "rest_for_one")
    )
    on_exceeded: Literal["escalate", "quarantine"] = attrs.field(
        default="escalate", validator=_one_of("escalate", "quarantine")
    )
    stop_order: Literal["reverse", "together"] = attrs.field(
        default="reverse", validator=_one_of("reverse", "together")
    )
    children_max: int = attrs.field(default=1_000_000, validator=_whole(1))
    children: tuple[ChildSpec | SupervisorSpec, ...] = ()
    intensity: int = attrs.field(default=3, validator=_whole(0))
    period_seconds: float = attrs.field(default=5.0, validator=_not_negative)
    backoff: Backoff = Backoff()

    def __attrs_post_init__(self) -> None:
        if self.strategy != "one_for_one" and self.on_exceeded == "quarantine":
            raise InvalidRequest(
                f"Supervisor {self.name!r} has strategy {self.strategy} and on_exceeded "
                "quarantine.",
                remedy="Quarantine needs children that do not depend on each other: one_for_one.",
            )


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
    handled. ``current`` names the messages in work, with the age of the oldest. ``facts`` is what
    the actor tells of itself (`Actor.facts`).
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
    facts: Mapping[str, Any] = attrs.field(factory=dict)
    children: tuple[ActorSnapshot, ...] = ()

    def walk(self) -> list[ActorSnapshot]:
        """Return this node and all below it, parents first."""
        found = [self]
        for child in self.children:
            found.extend(child.walk())
        return found


@attrs.frozen(slots=True)
class Trace:
    """One step in a message's life, told to `ActorSystem.trace`; ``at`` is Trio time."""

    path: str
    step: Literal["accepted", "begun", "handled", "failed", "interrupted", "skipped", "dead"]
    message: Any
    at: float


@attrs.frozen(slots=True)
class DrainReport:
    """What became of the work while the system drained.

    Attributes:
        handled: Messages handled since the drain began.
        unfinished: Paths of actors that still had something in work or waiting at its end.
        dead_letters: New dead letters since it began.
    """

    handled: int
    unfinished: tuple[str, ...]
    dead_letters: int


NEVER = math.inf
