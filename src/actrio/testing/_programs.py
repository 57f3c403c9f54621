"""Programs for the simulated kernel, as data: who there is, who sends what, and what goes wrong.

A `Program` is drawn, never run, here. One generator serves a plain seed (`random_program`, for
sweeps) and hypothesis (`programs`, so that a failing program shrinks): it asks a `Draw`.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, Final, Literal, Protocol, TypeVar

import attrs

from actrio.actors import Restart, WhenFull
from actrio.errors import NotSupported

__all__ = [
    "ActorPlan",
    "Draw",
    "Ending",
    "Fault",
    "Program",
    "RoutePlan",
    "Send",
    "Step",
    "SupervisorPlan",
    "programs",
    "random_program",
]

T = TypeVar("T")

StepKind = Literal[
    "pause", "sleep", "shield", "refuse", "crash", "messy", "emit", "resolve", "defer", "task",
    "once", "every", "cancel_timer", "watch", "unwatch", "stop", "send",
]  # fmt: skip
SendKind = Literal["tell", "tell_nowait", "ask", "stream", "control", "thread"]
FaultKind = Literal[
    "kill", "crash_soon", "stop", "respawn", "spawn", "suspend", "resume", "jump",
    "cancel_supervisor", "cancel_senders", "look",
]  # fmt: skip
Strategy = Literal["one_for_one", "one_for_all", "rest_for_one"]
EndingKind = Literal["leave", "drain", "leave_now", "cancel", "raise"]

TIMES: Final = (0.0, 0.0, 0.05, 0.1, 0.1, 0.2, 0.5, 1.0, 2.0)
"""Virtual times come from a few values, so that things often happen at the same instant."""


@attrs.frozen(slots=True)
class Step:
    """One thing that a handler does. ``count`` and ``seconds`` mean what the kind makes of them."""

    kind: StepKind
    seconds: float = 0.0
    count: int = 0
    steps: tuple[Step, ...] = ()
    send: Send | None = None


@attrs.frozen(slots=True)
class Send:
    """One message sent: by what verb, to whom, and what its handling does.

    Args:
        cancel_seconds: When the sender gives up; None: never.
        by_deadline: Whether that travels with the message, or comes as a surprise.
        bulk: Whether it is of the class that has a policy of its own in some mailboxes.
        take: Items of a stream to read before leaving it; 0 reads all.
        between: What is sent after the first item of a stream, before the next is read.
    """

    kind: SendKind
    target: int
    steps: tuple[Step, ...] = ()
    before_seconds: float = 0.0
    cancel_seconds: float | None = None
    by_deadline: bool = True
    bulk: bool = False
    size: int = 1
    key: int = 0
    credit: int = 2
    take: int = 0
    merge: bool = False
    between: Send | None = None


@attrs.frozen(slots=True)
class ActorPlan:
    """One actor. ``start_fails`` lists the activations whose ``on_start`` crashes."""

    parent: int
    restart: Restart
    capacity: int
    when_full: WhenFull
    bulk_policy: WhenFull | None
    bytes_max: int | None
    concurrency: int
    intensity: int
    backoff_seconds: float
    shutdown_seconds: float
    filters: bool
    start: tuple[Step, ...]
    stop: tuple[Step, ...]
    start_fails: tuple[int, ...]


@attrs.frozen(slots=True)
class SupervisorPlan:
    """One supervisor; ``parent`` is the index of another one, or -1 for the root."""

    parent: int
    strategy: Strategy
    on_exceeded: Literal["escalate", "quarantine"]
    stop_order: Literal["reverse", "together"]
    intensity: int
    static: bool


@attrs.frozen(slots=True)
class RoutePlan:
    """A route with a few addresses, each of them a target after the actors."""

    addresses: int
    idle_seconds: float
    resident_max: int
    starts_max: int
    actor: ActorPlan


@attrs.frozen(slots=True)
class Fault:
    """One thing done to the system from outside."""

    at: float
    kind: FaultKind
    target: int
    count: int = 0
    seconds: float = 0.0


@attrs.frozen(slots=True)
class Ending:
    """How the system's block is left: after everything is done, or at a time in the middle."""

    kind: EndingKind
    at: float


@attrs.frozen(slots=True)
class Program:
    """One simulation, whole."""

    supervisors: tuple[SupervisorPlan, ...]
    actors: tuple[ActorPlan, ...]
    route: RoutePlan | None
    senders: tuple[tuple[Send, ...], ...]
    faults: tuple[Fault, ...]
    ending: Ending
    grace_seconds: float

    @property
    def targets(self) -> int:
        """How many addresses there are to send to."""
        return len(self.actors) + (self.route.addresses if self.route is not None else 0)


class Draw(Protocol):
    """Where a generator's choices come from."""

    def whole(self, low: int, high: int) -> int:
        """Return a whole number from ``low`` to ``high``, both included."""

    def pick(self, among: Sequence[T]) -> T:
        """Return one of ``among``; shrinking goes towards the first."""


class _RandomDraw:
    def __init__(self, rng: random.Random) -> None:
        self._random = rng.random

    def whole(self, low: int, high: int) -> int:
        return low + int(self._random() * (high - low + 1))

    def pick(self, among: Sequence[T]) -> T:
        return among[int(self._random() * len(among))]


def random_program(seed: int) -> Program:
    """Return the program of ``seed``."""
    return _program(_RandomDraw(random.Random(seed)))


def programs() -> Any:
    """Return a hypothesis strategy of programs.

    Raises:
        NotSupported: hypothesis is not installed.
    """
    try:
        from hypothesis import strategies as st
    except ImportError as error:
        raise NotSupported(
            "programs() needs hypothesis.", remedy="Install it, or use random_program(seed)."
        ) from error

    @st.composite
    def drawn(draw: Any) -> Program:
        class Drawn:
            def whole(self, low: int, high: int) -> int:
                return int(draw(st.integers(low, high)))

            def pick(self, among: Sequence[T]) -> T:
                found: T = draw(st.sampled_from(among))
                return found

        return _program(Drawn())

    return drawn()


# -- the generator -----------------------------------------------------------------------------------


def _one_in(draw: Draw, many: int) -> bool:
    return draw.whole(1, many) == many


def _program(draw: Draw) -> Program:
    supervisors = tuple(_supervisor(draw, index) for index in range(draw.whole(0, 3)))
    actors = tuple(_actor(draw, len(supervisors)) for _ in range(draw.whole(1, 4)))
    route = _route(draw) if _one_in(draw, 2) else None
    targets = len(actors) + (route.addresses if route is not None else 0)
    senders = tuple(
        tuple(_outside(_send(draw, targets, 2)) for _ in range(draw.whole(1, 7)))
        for _ in range(draw.whole(1, 4))
    )
    faults = tuple(_fault(draw, targets) for _ in range(draw.whole(0, 5)))
    ending = Ending(
        draw.pick(("leave", "leave", "leave_now", "cancel", "drain", "raise")), _time(draw)
    )
    return Program(supervisors, actors, route, senders, faults, ending, draw.pick((1.0, 0.3, 3.0)))


def _time(draw: Draw) -> float:
    return draw.pick(TIMES)


_STRATEGIES: Final[tuple[Strategy, ...]] = ("one_for_one", "one_for_all", "rest_for_one")


def _supervisor(draw: Draw, index: int) -> SupervisorPlan:
    strategy = draw.pick(_STRATEGIES)
    quarantine = strategy == "one_for_one" and _one_in(draw, 2)
    return SupervisorPlan(
        parent=draw.whole(-1, index - 1),
        strategy=strategy,
        on_exceeded="quarantine" if quarantine else "escalate",
        stop_order=draw.pick(("reverse", "together")),
        intensity=draw.whole(0, 3),
        static=_one_in(draw, 2),
    )


_POLICIES: Final[tuple[WhenFull, ...]] = (
    "wait", "wait", "reject", "drop_oldest", "drop_newest", "conflate",
)  # fmt: skip


def _actor(draw: Draw, supervisors: int) -> ActorPlan:
    return ActorPlan(
        parent=draw.whole(-1, supervisors - 1),
        restart=draw.pick(("permanent", "permanent", "transient", "temporary")),
        capacity=draw.pick((1, 2, 3, 64)),
        when_full=draw.pick(_POLICIES),
        bulk_policy=draw.pick(_POLICIES) if _one_in(draw, 3) else None,
        bytes_max=draw.pick((4, 6, 9)) if _one_in(draw, 3) else None,
        concurrency=draw.whole(1, 3),
        intensity=draw.whole(0, 4),
        backoff_seconds=draw.pick((0.1, 0.0, 0.5)),
        shutdown_seconds=draw.pick((1.0, 0.2, 0.0)),
        filters=_one_in(draw, 3),
        start=_steps(draw, _START_KINDS, draw.whole(0, 2), 1, 1) if _one_in(draw, 3) else (),
        stop=_steps(draw, ("sleep", "shield", "crash", "pause"), 1, 1, 0)
        if _one_in(draw, 4)
        else (),
        start_fails=(draw.whole(1, 3),) if _one_in(draw, 6) else (),
    )


def _route(draw: Draw) -> RoutePlan:
    return RoutePlan(
        addresses=draw.whole(1, 4),
        idle_seconds=draw.pick((0.4, 2.0, 0.2)),
        resident_max=draw.whole(1, 3),
        starts_max=draw.whole(1, 2),
        actor=_actor(draw, 0),
    )


_START_KINDS: Final[tuple[StepKind, ...]] = (
    "sleep", "pause", "task", "every", "once", "watch", "shield",
)  # fmt: skip
_KINDS: Final[tuple[StepKind, ...]] = (
    "pause", "sleep", "send", "emit", "sleep", "defer", "crash", "emit", "refuse", "send", "shield",
    "task", "once", "every", "cancel_timer", "watch", "unwatch", "stop", "resolve", "defer",
    "messy", "send", "watch", "crash",
)  # fmt: skip


def _steps(
    draw: Draw, kinds: Sequence[StepKind], count: int, targets: int, depth: int
) -> tuple[Step, ...]:
    return tuple(_step(draw, draw.pick(kinds), targets, depth) for _ in range(count))


def _step(draw: Draw, kind: StepKind, targets: int, depth: int) -> Step:
    match kind:
        case "pause" | "crash" | "emit" | "messy":
            return Step(kind, count=draw.whole(0, 5))
        case "sleep" | "shield":
            return Step(kind, seconds=_time(draw))
        case "defer" | "task" if depth:
            inner = _steps(draw, _KINDS, draw.whole(0, 2), targets, depth - 1)
            return Step(kind, steps=_bounded(inner))
        case "once" | "every":
            seconds = draw.pick((0.1, 0.5, 1.0)) if kind == "once" else draw.pick((0.3, 1.0))
            inner = _steps(draw, ("pause", "sleep", "crash"), draw.whole(0, 1), targets, 0)
            return Step(kind, seconds=seconds, count=draw.whole(0, 1), steps=inner)
        case "cancel_timer" | "watch" | "unwatch":
            return Step(kind, count=draw.whole(0, targets - 1))
        case "send" if depth:
            return Step(kind, send=_send(draw, targets, depth - 1))
        case "defer" | "task" | "send":
            return Step("pause", count=1)
        case _:
            return Step(kind)


def _bounded(steps: tuple[Step, ...]) -> tuple[Step, ...]:
    """Let every wait in ``steps`` end: deferred handlings are not in the kernel's graph of waits."""
    return tuple(
        step if step.send is None else attrs.evolve(step, send=_given_up(step.send))
        for step in steps
    )


def _outside(send: Send) -> Send:
    """Let a sender that is no actor, and so not in the graph either, give up what it sends between."""
    if send.between is None:
        return send
    return attrs.evolve(send, between=_given_up(send.between))


def _given_up(send: Send) -> Send:
    between = _given_up(send.between) if send.between is not None else None
    seconds = 1.0 if send.cancel_seconds is None else send.cancel_seconds
    return attrs.evolve(send, cancel_seconds=seconds, between=between)


_SENDS: Final[tuple[SendKind, ...]] = (
    "tell", "ask", "tell_nowait", "stream", "ask", "tell", "ask", "control", "stream", "tell",
    "thread",
)  # fmt: skip


def _send(draw: Draw, targets: int, depth: int) -> Send:
    kind = draw.pick(_SENDS)
    streams = kind == "stream"
    return Send(
        kind,
        target=draw.whole(0, targets - 1),
        steps=_steps(draw, _KINDS, draw.whole(0, 3), targets, depth),
        before_seconds=_time(draw) if _one_in(draw, 3) else 0.0,
        cancel_seconds=_time(draw) if _one_in(draw, 3) else None,
        by_deadline=_one_in(draw, 2),
        bulk=_one_in(draw, 4),
        size=draw.pick((1, 2, 4)),
        key=draw.whole(0, 2),
        credit=draw.whole(1, 3) if streams else 2,
        take=draw.whole(0, 3) if streams else 0,
        merge=streams and _one_in(draw, 3),
        between=_send(draw, targets, depth - 1) if streams and depth and _one_in(draw, 2) else None,
    )


_FAULTS: Final[tuple[FaultKind, ...]] = (
    "look", "kill", "crash_soon", "stop", "respawn", "kill", "suspend", "resume", "jump", "spawn",
    "cancel_senders", "cancel_supervisor", "crash_soon",
)  # fmt: skip


def _fault(draw: Draw, targets: int) -> Fault:
    return Fault(
        at=_time(draw),
        kind=draw.pick(_FAULTS),
        target=draw.whole(0, targets - 1),
        count=draw.whole(0, 4),
        seconds=_time(draw),
    )
