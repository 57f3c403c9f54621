"""Supervision: one serial control task per supervisor decides what becomes of its children.

Children run in the supervisor's nursery and report their end as a value. The control task takes
the ends one by one, decides, and never sleeps: a restart after a backoff is an entry in a heap,
so one child's delay never holds up another's.

::

    child ends ──► restart wanted? ──no──► bury
                      │ yes
                   budget left? ──no──► quarantine the child, or escalate
                      │ yes
                   due at now + backoff ──► same cell, fresh activation
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from typing import TYPE_CHECKING, Any, Literal

import trio

from actrio.actors._activation import Activation, Exit
from actrio.actors._cell import Cell
from actrio.actors._slot import Slot
from actrio.actors._values import NEVER, ActorSnapshot, ActorState, ChildSpec, SupervisorSpec
from actrio.errors import ActorStopped, Conflict, Overloaded, RestartBudgetExceeded

if TYPE_CHECKING:
    from actrio.actors._system import ActorSystem

__all__ = ["Supervisor"]


class Supervisor:
    """Looks after children: actors, and supervisors below it."""

    def __init__(self, spec: SupervisorSpec, path: str, system: ActorSystem) -> None:
        self.spec = spec
        self.path = path
        self.system = system
        self.state: ActorState = "starting"
        self.finished = trio.Event()
        self._nursery: trio.Nursery | None = None
        # In start order, which is the order of the tree and, backwards, of stopping.
        self._children: dict[str, Cell | Supervisor] = {}
        self._ends: deque[tuple[Cell | Supervisor, Exit]] = deque()
        self._due: list[tuple[float, int, Cell]] = []
        self._ticket = itertools.count()
        self._control = Slot()
        self._stopping = False
        self._failure: RestartBudgetExceeded | None = None

    # -- for the system --------------------------------------------------------------------------

    async def run(
        self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> RestartBudgetExceeded | None:
        """Look after children until shutdown; return why it gave up, if it did."""
        try:
            async with trio.open_nursery() as self._nursery:
                self.state = "running"
                task_status.started()
                await self._control_loop()
        finally:
            self.state = "dead"
            self._bury_the_rest()
            self.finished.set()
        return self._failure

    def request_shutdown(self) -> None:
        """Stop all children in order, then end."""
        self._stopping = True
        self._control.wake()

    def start_child(self, spec: ChildSpec) -> Cell:
        """Start an actor below this supervisor; it is starting when this returns.

        Raises:
            Conflict: The name is taken.
            Overloaded: ``children_max`` is reached.
            ActorStopped: The supervisor is going.
        """
        cell = Cell(spec, f"{self.path.rstrip('/')}/{spec.name}", self)
        self._admit(spec.name, cell)
        self._activate(cell)
        return cell

    async def start_supervisor(self, spec: SupervisorSpec) -> Supervisor:
        """Start a supervisor below this one."""
        child = Supervisor(spec, f"{self.path.rstrip('/')}/{spec.name}", self.system)
        self._admit(spec.name, child)
        assert self._nursery is not None
        await self._nursery.start(self._run_supervisor, child)
        return child

    def stop_child(self, cell: Cell) -> None:
        """Stop one child for good; `Cell.gone` is set when it is."""
        cell.stop_wanted = True
        if cell.state == "quarantined":
            del self._children[cell.spec.name]
            cell.state = "dead"
        if cell.activation is None and not cell.dead:
            self._bury(cell, "dead", Exit("shutdown"))
        else:
            cell.request_stop("shutdown")

    def came_up(self, cell: Cell) -> None:
        """An activation is through on_start."""
        cell.running_since = trio.current_time()
        if cell.state == "starting":
            cell.state = "running"
        cell.start_slot.wake()

    def snapshot(self, now: float) -> ActorSnapshot:
        return ActorSnapshot(
            path=self.path,
            kind="Supervisor",
            state=self.state,
            children=tuple(child.snapshot(now) for child in self._children.values()),
        )

    # -- the children's tasks ----------------------------------------------------------------------

    def _admit(self, name: str, child: Cell | Supervisor) -> None:
        if self._nursery is None or self._stopping or self.state != "running":
            raise ActorStopped(f"{self.path} is stopping.", remedy="Start nothing below it now.")
        if (present := self._children.get(name)) is not None:
            raise Conflict(
                f"{present.path} exists already.",
                remedy="Use system.whereis() to find it, or another name.",
            )
        if len(self._children) >= self.spec.children_max:
            raise Overloaded(
                f"{self.path} has its {self.spec.children_max} children.",
                remedy="Stop some, or raise children_max.",
            )
        self._children[name] = child

    def _activate(self, cell: Cell) -> None:
        assert self._nursery is not None
        cell.state = "starting"
        cell.generation += 1
        cell.running_since = None
        cell.activation = Activation(cell)
        self._nursery.start_soon(self._run_child, cell, cell.activation, name=cell.path)

    async def _run_child(self, cell: Cell, activation: Activation) -> None:
        end = Exit("killed")
        try:
            end = await activation.run()
        finally:
            cell.activation = None
            self._ends.append((cell, end))
            self._control.wake()

    async def _run_supervisor(
        self, child: Supervisor, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        end = Exit("killed")
        try:
            failure = await child.run(task_status)
            end = Exit("error", failure) if failure is not None else Exit("shutdown")
        finally:
            self._ends.append((child, end))
            self._control.wake()

    # -- the control task --------------------------------------------------------------------------

    async def _control_loop(self) -> None:
        while not self._stopping:
            self._take_ends()
            self._restart_due()
            if self._failure is not None:
                break
            wake_at = self._due[0][0] if self._due else NEVER
            with trio.CancelScope(deadline=wake_at):
                await self._control.park()
        await self._stop_children()

    def _take_ends(self) -> None:
        while self._ends:
            child, end = self._ends.popleft()
            if isinstance(child, Cell):
                self._after_end(child, end)
            else:
                del self._children[child.spec.name]
                if isinstance(end.error, RestartBudgetExceeded) and not self._stopping:
                    self._give_up(end.error)

    def _after_end(self, cell: Cell, end: Exit) -> None:
        if end.error is not None:
            cell.last_error = end.error
        started = cell.running_since is not None
        wanted = {
            "permanent": True,
            "transient": end.reason in ("error", "killed"),
            "temporary": False,
        }[cell.spec.restart]
        first_start_failed = not started and cell.generation == 1
        if self._stopping or cell.stop_wanted or not wanted or first_start_failed:
            self._bury(cell, "dead", end)
        elif cell.window.allow(trio.current_time()):
            self._schedule_restart(cell, end)
        elif self.spec.on_exceeded == "quarantine":
            self._bury(cell, "quarantined", end)
        else:
            self._bury(cell, "dead", end)
            error = RestartBudgetExceeded(
                f"{cell.path} crashed more than {cell.spec.intensity} times within "
                f"{cell.spec.period_seconds} s, the last time with {end.error!r}.",
                remedy="Mend what crashes it, or give it a larger intensity or a longer backoff.",
            )
            error.__cause__ = end.error
            self._give_up(error)

    def _schedule_restart(self, cell: Cell, end: Exit) -> None:
        now = trio.current_time()
        backoff = cell.spec.backoff
        if (
            cell.running_since is not None
            and now - cell.running_since >= backoff.reset_after_seconds
        ):
            cell.restart_attempt = 0
        delay = backoff.delay_seconds(cell.restart_attempt, self.system.random)
        cell.restart_attempt += 1
        cell.restarts += 1
        cell.state = "restarting"
        heapq.heappush(self._due, (now + delay, next(self._ticket), cell))
        self.system.notify_crash(cell, end.error, delay)

    def _restart_due(self) -> None:
        now = trio.current_time()
        while self._due and self._due[0][0] <= now:
            _, _, cell = heapq.heappop(self._due)
            if cell.state == "restarting":  # it may have been stopped meanwhile
                self._activate(cell)

    def _give_up(self, error: RestartBudgetExceeded) -> None:
        self._failure = error
        self._stopping = True

    async def _stop_children(self) -> None:
        if self.spec.stop_order == "together":
            groups = [list(self._children.values())]
        else:
            groups = [[child] for child in reversed(self._children.values())]
        for group in groups:
            for child in group:
                if isinstance(child, Supervisor):
                    child.request_shutdown()
                else:
                    self.stop_child(child)
            while any(self._alive(child) for child in group):
                self._take_ends()
                if any(self._alive(child) for child in group):
                    await self._control.park()

    def _alive(self, child: Cell | Supervisor) -> bool:
        if isinstance(child, Supervisor):
            return child.spec.name in self._children
        return not child.dead

    def _bury(self, cell: Cell, state: Literal["dead", "quarantined"], end: Exit) -> None:
        if state == "dead":
            # A quarantined child stays in the tree, to be looked at and to keep its name taken.
            self._children.pop(cell.spec.name, None)
        if end.error is not None and cell.generation >= 1:
            self.system.notify_crash(cell, end.error, None)
        cell.bury(state, end.reason)

    def _bury_the_rest(self) -> None:
        """After a teardown from outside the control task had no say; nothing may stay half alive."""
        for child in list(self._children.values()):
            if isinstance(child, Cell) and not child.dead:
                self._bury(child, "dead", Exit("killed"))
        self._ends.clear()

    def find(self, parts: list[str]) -> Any:
        """Return the child at a relative path, or None."""
        child = self._children.get(parts[0])
        if child is None or len(parts) == 1:
            return child
        return child.find(parts[1:]) if isinstance(child, Supervisor) else None
