"""The world of one simulated program: its actor system, built from the plan, and its senders."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import trio

from actrio.actors import (
    ActorSystem,
    Backoff,
    ChildSpec,
    Context,
    MailboxSpec,
    Ref,
    RouteSpec,
    SupervisorRef,
    SupervisorSpec,
    WhenFull,
)
from actrio.errors import ActrioError
from actrio.testing._invariants import Fate, Ledger
from actrio.testing._programs import ActorPlan, Program, Send
from actrio.testing._simulation_actor import Bulk, Order, SimulatedActor, SimulatedCrash

__all__ = ["PERIOD_SECONDS", "World", "merge_items"]

PERIOD_SECONDS = 1.0
"""The period of every restart budget in a simulated program."""


class World:
    """One program's system, its addresses, and the ledger."""

    def __init__(self, program: Program, system: ActorSystem, ledger: Ledger) -> None:
        self.program = program
        self.system = system
        self.ledger = ledger
        self.calm = False  # nothing is injected any more
        self.refs: list[Ref[Any] | None] = []
        self.supervisors: list[SupervisorRef | None] = []
        self._crash_in: dict[str, int] = {}
        self._door = system.threads()
        system.observe(ledger.crashed)
        system.dead_letters.subscribe(ledger.letter)

    # -- building ------------------------------------------------------------------------------------

    async def build(self) -> None:
        """Start everything that the program has."""
        for index in range(len(self.program.supervisors)):
            self.supervisors.append(await self._supervise(index))
        for index in range(len(self.program.actors)):
            self.refs.append(None)
            await self.spawn(index)
        route = self.program.route
        if route is None:
            return
        await self.system.route(
            RouteSpec(
                "/r/{key}",
                lambda values: SimulatedActor(self, route.actor),  # noqa: ARG005
                idle_seconds=route.idle_seconds,
                resident_max=route.resident_max,
                starts_max=route.starts_max,
                child=self._spec("r", route.actor),
            )
        )
        self.refs.extend(self.system.ref(f"/r/{key}") for key in range(route.addresses))

    def path(self, index: int) -> str:
        """Return the path of the actor ``index``."""
        return f"{self._supervisor_path(self.program.actors[index].parent)}/a{index}"

    def _supervisor_path(self, index: int) -> str:
        if index < 0:
            return ""
        return f"{self._supervisor_path(self.program.supervisors[index].parent)}/s{index}"

    async def _supervise(self, index: int) -> SupervisorRef | None:
        plan = self.program.supervisors[index]
        above = self.supervisors[plan.parent] if plan.parent >= 0 else None
        if plan.parent >= 0 and above is None:
            return None
        children = tuple(
            self._spec(f"a{number}", actor)
            for number, actor in enumerate(self.program.actors)
            if plan.static and actor.parent == index
        )
        spec = SupervisorSpec(
            f"s{index}",
            strategy=plan.strategy,
            on_exceeded=plan.on_exceeded,
            stop_order=plan.stop_order,
            children=children,
            intensity=plan.intensity,
            period_seconds=PERIOD_SECONDS,
            backoff=Backoff(initial_seconds=0.1, maximum_seconds=0.4),
        )
        try:
            return await self.system.supervise(spec, under=above)
        except (ActrioError, SimulatedCrash) as error:
            self.ledger.note("no supervisor", index, type(error).__name__)
            return None

    async def spawn(self, index: int, *, cancel_seconds: float | None = None) -> None:
        """Start actor ``index``, or find it where its supervisor has started it."""
        plan, path = self.program.actors[index], self.path(index)
        if plan.parent >= 0 and self.supervisors[plan.parent] is None:
            return
        under = self.supervisors[plan.parent] if plan.parent >= 0 else None
        found = self.system.whereis(path)
        if found is None:
            self.ledger.traced.discard(path)
            self.ledger.suspended.discard(path)
            with trio.CancelScope() as scope:
                if cancel_seconds is not None:
                    scope.deadline = trio.current_time() + cancel_seconds
                try:
                    found = await self.system.spawn(self._spec(f"a{index}", plan), under=under)
                except ActrioError as error:
                    self.ledger.note("no actor", index, type(error).__name__)
        if found is not None:
            self.refs[index] = found
            self.system.trace(found, self.ledger.trace)
            self.ledger.traced.add(path)

    def _spec(self, name: str, plan: ActorPlan) -> ChildSpec:
        per_class: dict[type, WhenFull] = (
            {Bulk: plan.bulk_policy} if plan.bulk_policy is not None else {}
        )
        return ChildSpec(
            name,
            lambda: SimulatedActor(self, plan),
            restart=plan.restart,
            mailbox=MailboxSpec(
                capacity=plan.capacity,
                when_full=plan.when_full,
                bytes_max=plan.bytes_max,
                size_of=lambda order: int(order.size),
                per_class=tuple(per_class.items()),
                conflate_key=lambda order: order.key or None,
            ),
            concurrency=plan.concurrency,
            backoff=Backoff(initial_seconds=plan.backoff_seconds, maximum_seconds=2.0),
            intensity=plan.intensity,
            period_seconds=PERIOD_SECONDS,
            shutdown_seconds=plan.shutdown_seconds,
            send_filters=(_send_filter(0), _send_filter(1)) if plan.filters else (),
            receive_filters=(_receive_filter(0), _receive_filter(1)) if plan.filters else (),
        )

    # -- crashing ------------------------------------------------------------------------------------

    def crash_soon(self, path: str, count: int) -> None:
        """Let the actor at ``path`` crash at its ``count``-th step from now."""
        self._crash_in[path] = count

    def maybe_crash(self, path: str) -> None:
        """Crash, if it is time to."""
        left = self._crash_in.get(path)
        if left is not None and not self.calm:
            if left == 0:
                del self._crash_in[path]
                raise SimulatedCrash("injected")
            self._crash_in[path] = left - 1

    # -- sending -------------------------------------------------------------------------------------

    async def send(self, plan: Send) -> None:
        """Send one message as planned, and write down what became of it."""
        await trio.sleep(plan.before_seconds)
        ref = self.refs[plan.target]
        if ref is None:
            return
        fate = self.ledger.order(plan.kind, ref.path)
        order = (Bulk if plan.bulk else Order)(fate, plan.steps, plan.size, plan.key)
        if plan.cancel_seconds is None:
            with self._recorded(fate):
                await self._send(plan, ref, order)
            return
        due = trio.current_time() + plan.cancel_seconds
        with trio.CancelScope() as scope:
            if plan.by_deadline:
                scope.deadline = due
                with self._recorded(fate):
                    await self._send(plan, ref, order)
            else:
                await self._send_beside(scope, due, plan, ref, order)
        if scope.cancelled_caught:
            self.ledger.counts["cancels"] += 1
            late = trio.current_time() - due
            if late > self.program.grace_seconds + self.jumped(due) + 1e-6:
                self.ledger.wrong("I8", f"a cancelled {plan.kind} took {late:.3f} s to return")

    async def _send_beside(
        self, scope: trio.CancelScope, due: float, plan: Send, ref: Ref[Any], order: Order
    ) -> None:
        """Send while another task is about to cancel ``scope``."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_cancel_later, scope, due)
            with self._recorded(order.fate):
                await self._send(plan, ref, order)
            nursery.cancel_scope.cancel(reason="it was sent")

    def jumped(self, since: float) -> float:
        """Return by how much the clock was set forward since then."""
        return sum(seconds for at, seconds in self.ledger.jumps if at + seconds >= since)

    @contextmanager
    def _recorded(self, fate: Fate) -> Iterator[None]:
        try:
            yield
        except (
            trio.Cancelled,
            BaseExceptionGroup,
        ):  # a group where what is sent between has a nursery
            self.ledger.ended(fate, "cancelled")
            raise
        except ActrioError as error:
            fate.error = type(error).__name__
            self.ledger.counts[f"error {fate.error}"] += 1
            self.ledger.ended(fate, "refused" if fate.kind not in ("ask", "stream") else "error")

    async def _send(self, plan: Send, ref: Ref[Any], order: Order) -> None:
        fate = order.fate
        match plan.kind:
            case "tell":
                await ref.tell(order)
                self.ledger.ended(fate, "accepted")
            case "tell_nowait":
                ref.tell_nowait(order)
                self.ledger.ended(fate, "accepted")
            case "thread":
                fate.sender = -1
                self._door.tell(ref, order)
                fate.sent = "door"
            case "control":
                up = fate.path in self.ledger.live and not self.ledger.live[fate.path].over
                ref.control(order)
                self.ledger.control[fate.path] += up
                fate.sent = "told"
            case "ask":
                answer = await ref.ask(order)
                if answer != ("answer", fate.number):
                    self.ledger.wrong("I3", f"message {fate.number} is answered with {answer}")
                self.ledger.ended(fate, "answered")
            case "stream":
                await self._stream(plan, ref, order)

    async def _stream(self, plan: Send, ref: Ref[Any], order: Order) -> None:
        fate = order.fate
        fate.credit = 0 if plan.merge else plan.credit
        merge = merge_items if plan.merge else None
        async with ref.stream(order, credit=plan.credit, merge=merge) as items:
            async for first, last in items:
                fate.got.append((first, last))
                if first != (fate.got[-2][1] + 1 if len(fate.got) > 1 else 0):
                    self.ledger.wrong("I10", f"message {fate.number} streams {fate.got}")
                if plan.take and len(fate.got) >= plan.take:
                    break
                await trio.sleep(plan.before_seconds)
                if plan.between is not None and len(fate.got) == 1:
                    await self.send(plan.between)
            else:
                if items.result != ("answer", fate.number):
                    self.ledger.wrong("I10", f"stream {fate.number} ends with {items.result}")
        self.ledger.ended(fate, "left" if items.error is None and plan.take else "answered")

    def emitted(self, fate: Fate) -> None:
        """One more item was sent."""
        if fate.credit and fate.emitted - len(fate.got) > fate.credit:
            self.ledger.wrong("I10", f"message {fate.number} runs ahead of its credit")


async def _cancel_later(scope: trio.CancelScope, due: float) -> None:
    await trio.sleep_until(due)
    scope.cancel(reason="the sender gives up")


def merge_items(waiting: tuple[int, int], new: tuple[int, int]) -> tuple[int, int] | None:
    """Join two items into one that stands for both."""
    return (waiting[0], new[1]) if waiting[1] + 1 == new[0] else None


def _send_filter(number: int) -> Callable[[Any], Any]:
    def seen(order: Order) -> Order:
        if order.every is None:
            order.fate.filters.append(f"send {number}")
        return order

    return seen


def _receive_filter(number: int) -> Callable[..., Awaitable[Any]]:
    async def seen(order: Order, ctx: Context, proceed: Callable[[Any], Awaitable[Any]]) -> Any:  # noqa: ARG001
        if order.every is not None:
            return await proceed(order)
        order.fate.filters.append(f"in {number}")
        try:
            return await proceed(order)
        finally:
            order.fate.filters.append(f"out {number}")

    return seen
