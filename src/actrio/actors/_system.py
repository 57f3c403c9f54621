"""The actor system: a tree of supervisors inside one nursery, opened and closed as a block."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final, Literal

import attrs
import trio

from actrio.actors._activation import Exit
from actrio.actors._cell import Cell
from actrio.actors._dead_letters import DeadLetters
from actrio.actors._ref import Ref
from actrio.actors._routes import Route, RouteStatistics
from actrio.actors._slot import Slot
from actrio.actors._supervisor import Supervisor
from actrio.actors._threads import ThreadDoor
from actrio.actors._timers import TimerHeap
from actrio.actors._values import (
    ActorSnapshot,
    ChildSpec,
    DrainReport,
    RouteSpec,
    SupervisorSpec,
    Trace,
)
from actrio.actors._watchdog import LoopStalled, Watchdog
from actrio.errors import ActorFailed, ActrioError, Conflict, NotFound

__all__ = ["ActorCrashed", "ActorSystem", "SupervisorRef", "open_actor_system"]

DEAD_LETTERS_KEPT: Final = 256
"""Dead letters kept to look at; they hold their messages, and the latest tell the story."""


@attrs.frozen(slots=True)
class ActorCrashed:
    """Told to observers: what crashed, why, and in how many seconds it comes back (None: never)."""

    path: str
    error: Exception | None
    restart_in_seconds: float | None


@attrs.frozen(slots=True)
class SupervisorRef:
    """The address of a supervisor, to spawn below it."""

    path: str
    supervisor: Supervisor = attrs.field(repr=False)


class ActorSystem:
    """A running tree of actors; made by `open_actor_system`."""

    def __init__(
        self, *, name: str, cancel_grace_seconds: float, rng: random.Random, dead_letters_max: int
    ) -> None:
        self.name = name
        self.cancel_grace_seconds = cancel_grace_seconds
        self.random = rng
        self.now = trio.lowlevel.current_clock().current_time
        self.dead_letters = DeadLetters(keep_max=dead_letters_max, clock=self.now)
        self.timers = TimerHeap()
        self.late_replies = 0
        self.draining = False
        self.stalls = 0
        self.root = Supervisor(SupervisorSpec(name), "/", self)
        self._task: trio.lowlevel.Task | None = None  # of the root; all actors are below it
        self._observers: list[Callable[[ActorCrashed], None]] = []
        self._routes: dict[str, Route] = {}
        self._dry = trio.Event()  # a new one each time; several may drain at once
        self._drain_began = 0, 0  # how many were handled and how many dead then
        self.handled_by_gone = 0  # by cells that are gone
        self._steps = 0

    # -- starting and stopping -------------------------------------------------------------------

    async def spawn(self, spec: ChildSpec, *, under: SupervisorRef | None = None) -> Ref[Any]:
        """Start an actor and return its address when it is ready.

        *Cancellation*: an actor that is not ready yet is stopped again.
        *Failure*: an error of the first ``on_start`` is raised here and nothing stays.

        Raises:
            Conflict: The name is taken.
            Overloaded: The supervisor has all the children it may have.
            ActorFailed: ``on_start`` crashed; the cause is chained.
        """
        supervisor = under.supervisor if under is not None else self.root
        cell = supervisor.start_child(spec)
        await self.ready(cell)
        return cell.ref

    async def ready(self, cell: Cell) -> None:
        """Wait until a cell that was just started is ready; see `spawn`."""
        try:
            while cell.state == "starting":
                cell.start_slot = cell.start_slot or Slot()
                await cell.start_slot.park()
        except trio.Cancelled:
            bound = cell.spec.shutdown_seconds + self.cancel_grace_seconds
            with trio.CancelScope(shield=True, deadline=trio.current_time() + bound):
                if cell.activation is not None:
                    cell.activation.scope.cancel(reason="its spawn was cancelled")
                await self.stop(cell.ref)
            raise
        if cell.dead and cell.running_since is None:
            error = cell.last_error
            if isinstance(error, ActrioError):
                raise error
            raise ActorFailed(f"{cell.path} did not start: {error!r}") from error

    async def supervise(
        self, spec: SupervisorSpec, *, under: SupervisorRef | None = None
    ) -> SupervisorRef:
        """Start a supervisor with its static children and return its address.

        *Cancellation*, *Failure*: as of `spawn`; what was started of it is stopped again.
        """
        parent = under.supervisor if under is not None else self.root
        child = await parent.start_supervisor(spec)
        try:
            await child.start_static()
        except BaseException:
            child.request_shutdown()
            with trio.CancelScope(shield=True):  # each child's stop is bounded, so this is too
                await child.finished.wait()
            raise
        return SupervisorRef(child.path, child)

    async def route(self, spec: RouteSpec) -> None:
        """Let actors exist by their address: see `RouteSpec`. Find them with `ref`.

        Raises:
            Conflict: The first part of the template is taken.
        """
        route = Route(spec, self)
        if route.name in self._routes:
            raise Conflict(f"There is a route at {route.path}.", remedy="Use another first part.")
        route.run_beside(route.sweep)
        await self.root.start(route)
        self._routes[route.name] = route

    async def stop(self, ref: Ref[Any]) -> None:
        """Stop an actor for good and return when it is gone.

        What it handles may end within ``shutdown_seconds``; what waits becomes dead letters.
        """
        cell = ref.cell
        if not cell.dead or cell.state == "quarantined":
            cell.supervisor.stop_child(cell)
        await cell.gone()

    async def drain(self) -> DrainReport:
        """Take nothing new from outside and wait until all work has ended.

        Actors go on sending to each other; whoever is not an actor gets `Overloaded`. Leave the
        system's block afterwards. The caller's cancel scopes are the deadline.

        *Cancellation*: the system stays closed to new messages; `drain_report` tells how far it
        came.
        """
        if not self.draining:
            self._drain_began = self._handled(), len(self.dead_letters)
            self.draining = True
        busy = True
        while busy:
            busy = False
            for cell in self.root.cells():
                while not cell.quiet:
                    busy = True
                    await self._dry.wait()
        return self.drain_report()

    def drain_report(self) -> DrainReport:
        """Return how far the drain is, or how far it came."""
        handled, dead = self._drain_began
        unfinished = tuple(cell.path for cell in self.root.cells() if not cell.quiet)
        return DrainReport(self._handled() - handled, unfinished, len(self.dead_letters) - dead)

    def note_dry(self) -> None:
        """An actor has handled all it had, or is gone; the drain looks again."""
        self._dry.set()
        self._dry = trio.Event()

    def _handled(self) -> int:
        return self.handled_by_gone + sum(cell.handled for cell in self.root.cells())

    # -- finding ---------------------------------------------------------------------------------

    def whereis(self, path: str) -> Ref[Any] | None:
        """Return the live actor at ``path``, or None."""
        found = self.root.find(path.strip("/").split("/"))
        return found.ref if isinstance(found, Cell) and not found.dead else None

    def ref(self, path: str) -> Ref[Any]:
        """Return the address ``path``: of a live actor, or of one that a route would make.

        Raises:
            NotFound: There is neither.
            InvalidRequest: The path does not fit its route.
        """
        head, _, rest = path.strip("/").partition("/")
        if (route := self._routes.get(head)) is not None:
            return route.ref(rest)
        found = self.whereis(path)
        if found is None:
            raise NotFound(f"There is no actor at {path}.", remedy="Look at system.tree().")
        return found

    # -- looking ---------------------------------------------------------------------------------

    def tree(self) -> ActorSnapshot:
        """Return the whole tree as it is now."""
        return self.root.snapshot(trio.current_time())

    def inspect(self, path: str) -> ActorSnapshot:
        """Return one node of the tree, with everything below it.

        Raises:
            NotFound: There is none.
        """
        found = self.root.find(path.strip("/").split("/")) if path.strip("/") else self.root
        if not isinstance(found, (Cell, Supervisor)):
            raise NotFound(f"There is nothing at {path}.", remedy="Look at system.tree().")
        return found.snapshot(trio.current_time())

    def top(
        self, by: Literal["depth", "handled", "restarts", "age"] = "depth", *, limit: int = 20
    ) -> tuple[ActorSnapshot, ...]:
        """Return the actors that have most of something, most first."""
        now = trio.current_time()
        keys: dict[str, Callable[[ActorSnapshot], float]] = {
            "depth": lambda node: node.mailbox.depth if node.mailbox else 0,
            "handled": lambda node: node.outcomes.get("handled", 0),
            "restarts": lambda node: node.restarts,
            "age": lambda node: node.current_age_seconds,
        }
        nodes = [cell.snapshot(now) for cell in self.root.cells()]
        return tuple(sorted(nodes, key=keys[by], reverse=True)[:limit])

    def route_statistics(self) -> dict[str, RouteStatistics]:
        """Return how full each route is."""
        return {route.path: route.statistics() for route in self._routes.values()}

    def suspend(self, ref: Ref[Any]) -> None:
        """Let an actor take no further message until `resume`; control is still heard."""
        ref.cell.suspended = True
        ref.cell.alert()

    def resume(self, ref: Ref[Any]) -> None:
        """Let a suspended actor go on."""
        ref.cell.suspended = False
        ref.cell.alert()

    def trace(self, ref: Ref[Any], told: Callable[[Trace], None] | None) -> None:
        """Call ``told`` (plain, quick, not raising) at each step of each message; None ends it."""
        ref.cell.trace(told)

    def observe(self, told: Callable[[ActorCrashed], None]) -> None:
        """Call ``told`` (plain, quick, not raising) at each crash."""
        self._observers.append(told)

    def notify_crash(
        self, path: str, error: Exception | None, restart_in_seconds: float | None
    ) -> None:
        for told in self._observers:
            told(ActorCrashed(path, error, restart_in_seconds))

    def note_stall(self, stall: LoopStalled) -> None:
        """The watchdog saw the Trio thread held up."""
        self.stalls += 1
        self.dead_letters.add(
            "/",
            stall,
            "stuck",
            f"Nothing ran for {stall.seconds:g} s: a handler burns time or blocks at\n{stall.stack}",
        )

    # -- for the kernel and for threads ------------------------------------------------------------

    def threads(self) -> ThreadDoor:
        """Return a door through which other threads can send. Call it inside Trio."""
        return ThreadDoor(self)

    def enter(self) -> None:
        """Mark this task, and those below it, as the system's own."""
        self._task = trio.lowlevel.current_task()

    def inside(self) -> bool:
        """Whether the running task is the system's own."""
        task: trio.lowlevel.Task | None = trio.lowlevel.current_task()
        while task is not None and task is not self._task:
            nursery = task.parent_nursery
            task = nursery.parent_task if nursery is not None else None
        return task is not None

    async def breathe(self) -> None:
        """Be a schedule point at every sixteenth call: a sender in a loop must not starve others.

        Shielded, because what was sent is accepted and the sender must learn of it.
        """
        self._steps += 1
        if not self._steps & 15:
            await trio.lowlevel.cancel_shielded_checkpoint()


@asynccontextmanager
async def open_actor_system(
    name: str = "actrio",
    *,
    cancel_grace_seconds: float = 5.0,
    rng: random.Random | None = None,
    dead_letters_max: int = DEAD_LETTERS_KEPT,
    watchdog_seconds: float | None = None,
) -> AsyncIterator[ActorSystem]:
    """Open an actor system; leaving the block stops every actor, in order, within its bounds.

    *Cancellation*: everything is cancelled at once and has ended when the block is left.
    *Failure*: a supervisor that gives up at the root raises `RestartBudgetExceeded` out of the
    block; an error of the block itself passes through unchanged.

    Args:
        name: For snapshots.
        cancel_grace_seconds: How long a cancelled handling or an ``on_stop`` may take.
        rng: Randomness of the backoff's jitter; seed it to repeat a run.
        dead_letters_max: Dead letters kept to look at.
        watchdog_seconds: Report when nothing ran for so long, in real time; None: no watchdog.
    """
    system = ActorSystem(
        name=name,
        cancel_grace_seconds=cancel_grace_seconds,
        rng=rng or random.Random(),
        dead_letters_max=dead_letters_max,
    )
    watchdog = Watchdog(watchdog_seconds, system.note_stall) if watchdog_seconds else None
    try:
        async with trio.open_nursery() as nursery:
            system.root.run_beside(system.timers.run)
            await nursery.start(_run_root, system)
            if watchdog is not None:
                watchdog.start()
            try:
                yield system
            finally:
                system.root.request_shutdown()
                with trio.CancelScope(shield=True):  # each child's stop is bounded, so this is too
                    await system.root.finished.wait()
                nursery.cancel_scope.cancel(reason="the actor system ended")
    except BaseExceptionGroup as group:
        raise _only_one(group) from None
    finally:
        if watchdog is not None:
            watchdog.stop()


async def _run_root(
    system: ActorSystem, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    system.enter()
    end = Exit("killed")
    try:
        end = await system.root.run(task_status)
    finally:
        system.root.end()  # nobody is above it: what it kept for a restart ends too
    if end.error is not None:
        raise end.error


def _only_one(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the one exception in ``group``, where there is only one."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
