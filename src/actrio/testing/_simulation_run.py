"""Run one simulated program from its beginning to its end, and report what was wrong with it."""

from __future__ import annotations

import time
import traceback
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

import attrs
import trio
import trio.testing

from actrio.actors import ActorSystem, open_actor_system
from actrio.errors import ActrioError, RestartBudgetExceeded
from actrio.testing._invariants import ASKS, Ledger
from actrio.testing._ports import Ports
from actrio.testing._programs import Fault, Program, Send
from actrio.testing._simulation import SimulationStuck, simulate
from actrio.testing._simulation_checks import at_rest, check_budgets, shutdown_bound, unquiet
from actrio.testing._simulation_world import World
from actrio.testing._sweep import live_tasks

__all__ = ["ProgramReport", "run_program"]

REST_SECONDS: Final = 400.0
"""Virtual time in which everything must come to rest: many times what all steps take together."""


@attrs.frozen(slots=True)
class ProgramReport:
    """What one run of a program showed.

    Attributes:
        problems: Invariants that did not hold, each with what was seen; empty for a clean run.
        trace_hash: Equal for two runs in which the same happened at the same virtual times.
        counts: Messages, restarts, kills, cancels, passivations, dead letters and errors by kind.
    """

    seed: int
    problems: tuple[str, ...]
    trace_hash: str
    counts: Mapping[str, int]
    virtual_seconds: float
    cpu_seconds: float


class _Raised(Exception):
    """What the block of a simulated program ends with, under the ending ``raise``."""


def run_program(program: Program, *, seed: int, hang_seconds: float = 5.0) -> ProgramReport:
    """Run ``program`` once, on the scheduling of ``seed``, and check every invariant.

    Nothing of the program raises here: what goes wrong is in the report.
    """
    ledger = Ledger()
    run = _Run(program, ledger)
    began = time.process_time()
    try:
        simulate(run.main, seed=seed, hang_seconds=hang_seconds)
    except SimulationStuck as stuck:
        ledger.problems.append(f"I9: {stuck}")
    except Exception as error:  # whatever it is, it is the finding
        ledger.problems.append(f"unexpected: {_flat(error)}")
    return ProgramReport(
        seed,
        tuple(ledger.problems),
        ledger.digest,
        dict(ledger.counts),
        run.virtual_seconds,
        time.process_time() - began,
    )


def _flat(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))


class _Run:
    """The tasks of one run: senders, faults, and whoever opens and leaves the system."""

    def __init__(self, program: Program, ledger: Ledger) -> None:
        self.program = program
        self.ledger = ledger
        self.virtual_seconds = 0.0
        self.world: World
        self._senders_left = 0
        self._sender_scopes: list[trio.CancelScope] = []
        self._over = False  # the system has ended

    async def main(self, ports: Ports) -> None:
        began, before = trio.current_time(), live_tasks()
        self.ports = ports
        self._idle = trio.Event()
        async with trio.open_nursery() as outside:
            await self._live_through(outside)
            self._over = True
            await self._senders_end(outside)
            await trio.testing.wait_all_tasks_blocked()  # what came in by the threads' door
            self.ledger.close()
            outside.cancel_scope.cancel(reason="the run is over")
        if live_tasks() != before:
            self.ledger.wrong("I6", f"tasks are left: {live_tasks()}")
        self.virtual_seconds = trio.current_time() - began

    async def _live_through(self, outside: trio.Nursery) -> None:
        """Open the system, let things happen, leave it; check what must hold afterwards."""
        system: ActorSystem | None = None
        asked_at = trio.current_time()
        block = trio.CancelScope()
        try:
            with block:
                async with open_actor_system(
                    rng=self.ports.random, cancel_grace_seconds=self.program.grace_seconds
                ) as system:
                    self.world = World(self.program, system, self.ledger)
                    try:
                        await self._inside(outside, block)
                    finally:
                        asked_at = trio.current_time()
        except* _Raised:
            pass
        except* RestartBudgetExceeded:
            self.ledger.counts["escalations"] += 1
        assert system is not None
        self._check_end(system, asked_at)

    async def _inside(self, outside: trio.Nursery, block: trio.CancelScope) -> None:
        with trio.move_on_after(REST_SECONDS) as limit:
            try:
                await self.world.build()
            except ActrioError as error:  # the root gave up already
                self.ledger.note("not built", type(error).__name__)
                return
        if limit.cancelled_caught:  # crashes of one member keep another one from coming up
            self.ledger.note("not built in time")
            return
        self._senders_left = len(self.program.senders)
        for sends in self.program.senders:
            outside.start_soon(self._send_all, sends)
        for fault in self.program.faults:
            outside.start_soon(self._do_fault, fault)
        ending = self.program.ending
        if ending.kind not in ("leave", "drain"):
            await trio.sleep(ending.at)
            self.ledger.note("ending", ending.kind)
            if ending.kind == "cancel":
                block.cancel(reason="the program's ending")
                await trio.lowlevel.checkpoint()
            if ending.kind == "raise":
                raise _Raised
            return
        if ending.kind == "drain":
            await trio.sleep(ending.at)
            await self._drain()
        await self._come_to_rest()

    # -- senders and faults --------------------------------------------------------------------------

    async def _send_all(self, sends: tuple[Send, ...]) -> None:
        try:
            with trio.CancelScope() as scope:
                self._sender_scopes.append(scope)
                for send in sends:
                    if self._over:
                        break
                    await self.world.send(send)
        finally:
            self._senders_left -= 1
            if not self._senders_left:
                self._idle.set()

    async def _senders_end(self, outside: trio.Nursery) -> None:
        """All that is asked of a system that is gone has come back, without any further wait."""
        if not self._senders_left:
            return
        with trio.move_on_after(REST_SECONDS) as limit:
            await self._idle.wait()
        if limit.cancelled_caught:
            self.ledger.wrong("I6", f"{self._senders_left} senders never came back")
            outside.cancel_scope.cancel(reason="they hang")

    async def _do_fault(self, fault: Fault) -> None:
        await trio.sleep(fault.at)
        if self._over or self.world.calm:
            return
        self.ledger.note("fault", fault.kind, fault.target)
        self.ledger.counts[f"fault {fault.kind}"] += 1
        try:
            await self._fault(fault)
        except ActrioError as error:
            self.ledger.note("fault refused", type(error).__name__)

    async def _fault(self, fault: Fault) -> None:
        world, ledger = self.world, self.ledger
        ref = world.refs[fault.target]
        match fault.kind:
            case "look":
                ledger.look(world.system.tree())
            case "jump":
                ledger.jumps.append((trio.current_time(), fault.seconds))
                self.ports.clock.jump(fault.seconds)
            case "cancel_senders":
                self._sender_scopes[fault.count % len(self._sender_scopes)].cancel(reason="fault")
            case "cancel_supervisor":
                self._cancel_supervisor(fault.count)
            case "spawn":
                if fault.target < len(self.program.actors):
                    await world.spawn(fault.target, cancel_seconds=fault.seconds)
            case _ if ref is not None:
                await self._fault_at(fault, ref)

    async def _fault_at(self, fault: Fault, ref: Any) -> None:
        world, ledger = self.world, self.ledger
        match fault.kind:
            case "kill":
                activation = ref.cell.activation
                if activation is not None:
                    ledger.counts["kills"] += 1
                    activation.scope.cancel(reason="killed by a fault")
            case "crash_soon":
                world.crash_soon(ref.path, fault.count)
            case "stop" | "respawn":
                await self._stop(ref)
                if fault.kind == "respawn" and fault.target < len(self.program.actors):
                    await world.spawn(fault.target)
            case "suspend" if ref.path in ledger.traced:
                world.system.suspend(ref)
                ledger.suspended.add(ref.path)
            case "resume":
                ledger.suspended.discard(ref.path)
                world.system.resume(ref)

    async def _stop(self, ref: Any) -> None:
        began = trio.current_time()
        bound = shutdown_bound(self.world)
        await self.world.system.stop(ref)
        took = trio.current_time() - began - self.world.jumped(began)
        if took > bound:
            self.ledger.wrong("I6", f"stopping {ref.path} took {took:.3f} s")

    def _cancel_supervisor(self, number: int) -> None:
        there = [each for each in self.world.supervisors if each is not None]
        if not there:
            return
        supervisor = there[number % len(there)].supervisor
        nursery = supervisor._nursery  # noqa: SLF001 - there is no other way, and there should be none
        if nursery is not None:
            self.ledger.counts["kills"] += 1
            nursery.cancel_scope.cancel(reason="fault")

    # -- coming to rest, and the end -----------------------------------------------------------------

    async def _drain(self) -> None:
        with trio.move_on_after(REST_SECONDS):
            while self.ledger.suspended:
                self._resume_all()
            report = await self.world.system.drain()
            self.ledger.note("drained", report.handled, report.unfinished)
            if report.unfinished:
                self.ledger.wrong("I9", f"the drain never ended: {unquiet(self.world)}")

    def _resume_all(self) -> None:
        self.ledger.suspended.clear()
        for ref in self.world.refs:
            if ref is not None:
                with suppress(ActrioError):  # its route ends
                    self.world.system.resume(ref)

    async def _come_to_rest(self) -> None:
        """Inject nothing more; everything must end by itself, and nobody may be left waiting."""
        await trio.sleep(2.5)  # the last fault is injected at 2
        self.world.calm = True
        self._resume_all()
        with trio.move_on_after(REST_SECONDS) as limit:
            await self._idle.wait()
            while True:
                await trio.sleep(0.25)
                await trio.testing.wait_all_tasks_blocked()  # what happens at the same instant
                if at_rest(self.world):
                    break
        self.ledger.look(self.world.system.tree())
        if limit.cancelled_caught:
            self.ledger.wrong(
                "I9", f"no rest: {self._senders_left} senders wait, {unquiet(self.world)}"
            )
        self.ledger.note("rest")

    def _check_end(self, system: ActorSystem, asked_at: float) -> None:
        ledger = self.ledger
        if hasattr(self, "world"):
            check_budgets(self.world)
            took = trio.current_time() - asked_at - self.world.jumped(asked_at)
            if took > shutdown_bound(self.world):
                ledger.wrong("I6", f"the end took {took:.3f} s of {shutdown_bound(self.world):.3f}")
        if len(system.timers):
            ledger.wrong("I11", f"{len(system.timers)} timers are left")
        alive = [node.path for node in system.tree().walk() if node.state not in _OVER]
        if alive:
            ledger.wrong("I6", f"{alive} are not dead after the end")
        for statistics in system.route_statistics().values():
            ledger.counts["passivations"] += statistics.passivations
            ledger.counts["activations"] += statistics.activations
        late = sum(max(0, fate.answers - 1) for fate in ledger.fates if fate.kind in ASKS)
        if late != system.late_replies:
            ledger.wrong("I3", f"{late} late answers were given, {system.late_replies} counted")


_OVER: Final = ("dead", "quarantined")
