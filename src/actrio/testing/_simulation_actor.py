"""The actor of simulated programs: it does what each message tells it to, and writes it down."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import trio

from actrio.actors import Actor, Context, ExitReason, Terminated
from actrio.errors import NotFound
from actrio.testing._invariants import Fate, Life
from actrio.testing._programs import ActorPlan, Step

if TYPE_CHECKING:
    from actrio.testing._simulation_world import World

__all__ = ["Bulk", "Order", "SimulatedActor", "SimulatedCrash"]


_STORMY: Final = ("crash", "messy", "refuse", "stop", "once", "every")
"""Steps left out once nothing is injected any more: with them an actor could go on for ever."""


class SimulatedCrash(Exception):
    """What simulated actors crash with."""


class Order:
    """A message that says what its handling does. Compared by identity."""

    __slots__ = ("every", "fate", "key", "life", "size", "steps")

    def __init__(self, fate: Fate, steps: Sequence[Step], size: int = 1, key: int = 0) -> None:
        self.fate = fate
        self.steps = steps
        self.size = size
        self.key = key
        self.every: int | None = None  # the key of the periodic timer it comes from
        self.life: Life | None = None  # whose timer it is

    def __repr__(self) -> str:
        return f"<Order {self.fate.number}>"


class Bulk(Order):
    """A message of the class that has a policy of its own in some mailboxes."""

    __slots__ = ()


class SimulatedActor(Actor[Order]):
    """Walks through the steps of its messages."""

    def __init__(self, world: World, plan: ActorPlan) -> None:
        self.world = world
        self.plan = plan
        self.life: Life

    async def on_start(self, ctx: Context) -> None:
        """Begin a life."""
        ledger = self.world.ledger
        if ctx.generation == 1:  # a new cell: what was at this path before does not count
            ledger.budgets.append((ctx.path, ledger.restarts.pop(ctx.path, [])))
        self.life = ledger.start(ctx.path, self.plan.concurrency)
        if ctx.generation in self.plan.start_fails and not self.world.calm:
            raise SimulatedCrash("on_start")
        await self._walk(self.plan.start, ctx, None)

    async def receive(self, message: Order, ctx: Context) -> Any:
        """Do what the message says."""
        ledger, fate = self.world.ledger, message.fate
        if message.every is not None:  # sent again and again: each delivery counts on its own
            fate = ledger.order("tick", ctx.path, timer=True)
        ledger.begin(fate, self.life)
        how = "cancelled"
        try:
            deferred = await self._walk(message.steps, ctx, fate)
            how = "returned"
        except Exception:
            how = "raised"
            raise
        finally:
            ledger.leave(fate, self.life, how)
        if message.every is not None and self.world.calm and message.life is self.life:
            ctx.timers.cancel(message.every)
            self.life.timers.pop(message.every, None)
        if deferred is not None:
            self.life.deferred.add(fate.number)
            return ctx.defer(self._deferred, deferred, ctx, fate)
        return self._answer(fate)

    async def on_control(self, message: Any, ctx: Context) -> None:
        """Note what is told; do what an order says."""
        ledger = self.world.ledger
        if isinstance(message, Terminated):
            ledger.terminated(message, self.life)
            return
        ledger.note("control", message.fate.number)
        ledger.control[self.life.path] = max(0, ledger.control[self.life.path] - 1)
        message.fate.begun += 1
        self.life.controls += 1
        try:
            await self._walk(message.steps, ctx, None)
        finally:
            self.life.controls -= 1

    async def on_stop(self, ctx: Context, reason: ExitReason) -> None:
        """End the life."""
        ledger = self.world.ledger
        ledger.note("reason", reason)
        ledger.stopping(self.life)
        try:
            await self._walk(self.plan.stop, ctx, None)
        finally:
            ledger.stopped(self.life)

    # -- the steps -----------------------------------------------------------------------------------

    def _answer(self, fate: Fate) -> Any:
        fate.answers += 1
        return ("answer", fate.number)

    async def _deferred(self, steps: Sequence[Step], ctx: Context, fate: Fate) -> Any:
        fate.running = True
        try:
            await self._walk(steps, ctx, fate)
        finally:
            fate.running = False
            self.life.deferred.discard(fate.number)
        return self._answer(fate)

    async def _task(self, steps: Sequence[Step], ctx: Context) -> None:
        self.life.tasks += 1
        try:
            await self._walk(steps, ctx, None)
        finally:
            self.life.tasks -= 1

    async def _walk(
        self, steps: Sequence[Step], ctx: Context, fate: Fate | None
    ) -> Sequence[Step] | None:
        """Do ``steps``; return those that are to be deferred, if there are any."""
        for step in steps:
            self.world.maybe_crash(self.life.path)
            if self.world.calm and step.kind in _STORMY:
                continue
            match step.kind:
                case "refuse":
                    raise NotFound("simulated")
                case "crash":
                    await self._pause(step.count)
                    raise SimulatedCrash("planned")
                case "defer":
                    if fate is not None and not fate.running:
                        continue
                    if fate is not None and self.life.inline is fate:
                        return step.steps
                case "resolve":
                    if fate is not None:
                        ctx.resolve(self._answer(fate))
                case "emit":
                    if fate is not None and ctx.is_stream:
                        await self._emit(step.count, ctx, fate)
                case "send":
                    assert step.send is not None
                    await self.world.send(step.send)
                case _:
                    await self._do(step, ctx)
        return None

    async def _do(self, step: Step, ctx: Context) -> None:
        match step.kind:
            case "pause":
                await self._pause(step.count)
            case "sleep":
                await trio.sleep(step.seconds)
            case "shield":
                with trio.CancelScope(shield=True):
                    await trio.sleep(step.seconds)
            case "messy":
                await _messy(step.count)
            case "task":
                ctx.start_task(self._task, step.steps, ctx)
            case "once" | "every":
                self._timer(step, ctx)
            case "cancel_timer":
                ctx.timers.cancel(step.count & 1)
                self.life.timers.pop(step.count & 1, None)
            case "watch" | "unwatch":
                self._watch(step, ctx)
            case "stop":
                ctx.stop()

    async def _pause(self, count: int) -> None:
        for _ in range(count):
            await trio.lowlevel.checkpoint()
            self.world.maybe_crash(self.life.path)

    async def _emit(self, count: int, ctx: Context, fate: Fate) -> None:
        for _ in range(count):
            await ctx.emit((fate.emitted, fate.emitted))
            fate.emitted += 1
            self.world.emitted(fate)
            self.world.maybe_crash(self.life.path)

    def _timer(self, step: Step, ctx: Context) -> None:
        if self.life.over:
            return
        order = Order(self.world.ledger.order(step.kind, ctx.path, timer=True), step.steps)
        order.life = self.life
        if step.kind == "once":
            ctx.timers.once(step.count, step.seconds, order)
        else:
            order.every = step.count
            ctx.timers.every(step.count, step.seconds, order)
        self.life.timers[step.count] = order

    def _watch(self, step: Step, ctx: Context) -> None:
        ref = self.world.refs[step.count]
        if ref is None or self.life.over:
            return
        watches, dead = self.life.watches, ref.cell.dead
        if step.kind == "watch":
            # What has ended already is told of at once, as often as it is asked.
            watches[ref] = watches.get(ref, 0) + 1 if dead else 1
            ctx.watch(ref)
        else:
            if not dead:
                watches[ref] = 0
            ctx.unwatch(ref)


async def _messy(count: int) -> None:
    """Fail while being cancelled, beside others that are only cancelled."""

    async def fails() -> None:
        try:
            await trio.sleep(0.1)
        finally:
            raise SimulatedCrash("in the middle of a cancel")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(fails)
        for _ in range(count):
            nursery.start_soon(trio.sleep, 0.2)
