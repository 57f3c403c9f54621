"""Supervision: one serial control task per supervisor decides what becomes of its children.

Children run in the supervisor's nursery and report their end as a value. The control task takes
the ends one by one, decides, and never sleeps: a restart after a backoff is an entry in a heap,
so one child's delay never holds up another's.

::

    child ends ──► passivated? ──yes──► something waits? activate : forget
                      │ no
                   restart wanted? ──no──► bury
                      │ yes
                   budget left? ──no──► quarantine the child, or escalate
                      │ yes
                   one_for_one: the child is due at now + backoff
                   otherwise:   stop those that go with it, then all are due together

A supervisor that gives up stops its children but keeps their cells, so that its own supervisor can
start it again with everything that waits; at the root there is nobody, and the system ends.

Longer than 400 lines, because what a child's end, a due restart, a group and a stop decide is decided
on the same few fields; in several files they could not be read against each other.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any, Literal

import trio

from actrio.actors._activation import Activation, Exit
from actrio.actors._cell import Cell
from actrio.actors._restart_window import RestartWindow
from actrio.actors._slot import Slot
from actrio.actors._values import NEVER, ActorSnapshot, ActorState, ChildSpec, SupervisorSpec
from actrio.errors import ActorStopped, Conflict, Overloaded, RestartBudgetExceeded

if TYPE_CHECKING:
    from actrio.actors._system import ActorSystem

__all__ = ["Supervisor"]


class Supervisor:
    """Looks after children: actors, and supervisors below it."""

    tracks_use = False  # whether `ran_dry` does anything

    def __init__(self, spec: SupervisorSpec, path: str, system: ActorSystem) -> None:
        self.spec = spec
        self.name = spec.name
        self.path = path
        self.system = system
        self.state: ActorState = "starting"
        self.finished = trio.Event()
        self.restarts = 0
        self.last_error: Exception | None = None
        self._nursery: trio.Nursery | None = None
        self._open = False  # its control task runs
        # In start order, which is the order of the tree and, backwards, of stopping.
        self._children: dict[str, Cell | Supervisor] = {}
        self._ends: deque[tuple[Cell | Supervisor, Exit]] = deque()
        self._due: list[tuple[float, int, list[Cell | Supervisor]]] = []
        self._ticket = itertools.count()
        self._control = Slot()
        self._window = RestartWindow(spec.intensity, spec.period_seconds)  # of the group
        self.window = RestartWindow(spec.intensity, spec.period_seconds)  # its own, for its parent
        self.restart_attempt = 0
        self.running_since: float | None = None
        self.parent: Supervisor | None = None
        self._group: list[Cell | Supervisor] = []  # being restarted together, in start order
        self._group_attempt = 0
        self._group_back_at = 0.0
        # Each of these starts when the one before it is through its start.
        self._lined_up: deque[Cell | Supervisor] = deque()
        self._before: Cell | Supervisor | None = None
        self._stopping: Literal["no", "keep", "bury"] = "no"
        self._failure: RestartBudgetExceeded | None = None
        self._tasks: list[Callable[[], Awaitable[None]]] = []

    # -- for the system --------------------------------------------------------------------------

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> Exit:
        """Look after children until shutdown, or until it gives up; say which."""
        if self.state == "dead":  # stopped before it came to run
            task_status.started()
            return Exit("shutdown")
        try:
            async with trio.open_nursery() as self._nursery:
                self.running_since = trio.current_time()
                self._start_kept()
                for fn in self._tasks:
                    self._nursery.start_soon(fn)
                task_status.started()
                self._open = True
                try:
                    await self._control_loop()
                finally:
                    self._open = False
                self._nursery.cancel_scope.cancel(reason=f"{self.path} ended")
        finally:
            self._nursery = None
            if self._stopping != "keep":
                self.end()
        if self._failure is not None:
            return Exit("error", self._failure)
        return Exit("restart" if self._stopping == "keep" else "shutdown")

    def begin_again(self) -> None:
        """Be as new, but for what it keeps; its next run is scheduled now."""
        self.state = "starting"
        self._stopping, self._failure = "no", None
        self._due.clear()
        self._group.clear()
        self._lined_up.clear()
        self._before = None

    @property
    def up(self) -> bool:
        """Whether its task runs, or is about to."""
        return self._nursery is not None or self.state == "starting"

    @property
    def open(self) -> bool:
        """Whether something may be started below it: its control task will see to its end."""
        return self._open and self._stopping == "no"

    def _going(self) -> bool:
        return self._stopping != "no"

    def end(self) -> None:
        """Be dead, with everything below."""
        self.state = "dead"
        for child in list(self._children.values()):
            if isinstance(child, Supervisor):
                child.end()
            elif not child.dead:
                self._bury(child, "dead", Exit("killed"))
        self._ends.clear()
        self.finished.set()

    def request_shutdown(self, *, keep: bool = False) -> None:
        """Stop all children in order, then end; ``keep`` their cells for the next run."""
        if self._stopping == "no" or not keep:
            self._stopping = "keep" if keep else "bury"
        if self._nursery is None and not keep and self.state != "dead":
            self.end()  # it waits for its restart
        self._control.wake()

    def run_beside(self, fn: Callable[[], Awaitable[None]]) -> None:
        """Run a task of the kernel's own beside the children, in each run that begins from now on."""
        self._tasks.append(fn)

    def start_beside(self, fn: Callable[[], Awaitable[None]], name: str) -> None:
        """Run a task of a child's own; the child sees to its end."""
        assert self._nursery is not None, "a child runs inside its supervisor's nursery"
        self._nursery.start_soon(fn, name=name)

    async def start_static(self) -> None:
        """Start the children of its spec, in order, each when the one before is ready."""
        for spec in self.spec.children:
            if isinstance(spec, SupervisorSpec):
                await (await self.start_supervisor(spec)).start_static()
            else:
                await self.system.ready(self.start_child(spec))

    def start_child(self, spec: ChildSpec) -> Cell:
        """Start an actor below this supervisor; it is starting when this returns.

        Raises:
            Conflict: The name is taken.
            Overloaded: ``children_max`` is reached.
            ActorStopped: The supervisor is going.
        """
        cell = Cell(spec, spec.name, self)
        self._admit(spec.name, cell)
        self._activate(cell)
        return cell

    async def start_supervisor(self, spec: SupervisorSpec) -> Supervisor:
        """Start a supervisor below this one."""
        return await self.start(
            Supervisor(spec, f"{self.path.rstrip('/')}/{spec.name}", self.system)
        )

    async def start(self, child: Supervisor) -> Supervisor:
        """Start ``child`` below this one."""
        self._admit(child.name, child)
        child.parent = self
        assert self._nursery is not None
        await self._nursery.start(self._run_supervisor, child)
        return child

    def stop_child(self, cell: Cell) -> None:
        """Stop one child for good; `Cell.gone` tells when it is."""
        cell.stop_wanted = True
        if cell.state == "quarantined":
            self._forget(cell)
            cell.state = "dead"
        elif cell.activation is None and not cell.dead:
            self._bury(cell, "dead", Exit("shutdown"))
        else:
            cell.request_stop("shutdown")

    def came_up(self, cell: Cell) -> None:
        """An activation is through on_start."""
        cell.running_since = cell.last_active = trio.current_time()
        if cell.state == "starting":
            cell.state = "running"
        if cell.start_slot is not None:
            cell.start_slot.wake()
        self.child_is_up(cell)

    def child_is_up(self, child: Cell | Supervisor) -> None:
        """A child is through its start."""
        if child is self._before:
            self._control.wake()

    def ran_dry(self, cell: Cell) -> None:
        """A child has handled all it had; only routes care."""

    def demand(self, cell: Cell) -> None:
        """Something waits in a cell without an activation; only routes act on it."""

    def snapshot(self, now: float) -> ActorSnapshot:
        return ActorSnapshot(
            path=self.path,
            kind=type(self).__name__,
            state=self.state,
            restarts=self.restarts,
            last_error=repr(self.last_error) if self.last_error is not None else None,
            children=tuple(child.snapshot(now) for child in self._children.values()),
        )

    def cells(self) -> list[Cell]:
        """Return all cells below."""
        found: list[Cell] = []
        for child in self._children.values():
            found.extend([child] if isinstance(child, Cell) else child.cells())
        return found

    def find(self, parts: list[str]) -> Any:
        """Return the child at a relative path, or None."""
        child = self._children.get(parts[0])
        if child is None or len(parts) == 1:
            return child
        return child.find(parts[1:]) if isinstance(child, Supervisor) else None

    # -- the children's tasks ----------------------------------------------------------------------

    def _admit(self, name: str, child: Cell | Supervisor) -> None:
        if not self.open:
            raise ActorStopped(f"{self.path} is stopping.", remedy="Start nothing below it now.")
        present = self._children.get(name)
        if present is not None and not (isinstance(present, Supervisor) and _gone(present)):
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
        assert cell.activation is None, "at most one activation per address"
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
            self._ended(cell, end)
            activation.let_go()

    def _ended(self, cell: Cell, end: Exit) -> None:
        cell.activation = None
        self._ends.append((cell, end))
        self._control.wake()

    async def _run_supervisor(
        self, child: Supervisor, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        end = Exit("killed")
        try:
            end = await child.run(task_status)
        finally:
            self._ends.append((child, end))
            self._control.wake()

    def _start_kept(self) -> None:
        """Start again what an earlier run kept: all at once where the order of stopping is no matter."""
        kept = list(self._children.values())
        if self.spec.stop_order == "together":
            for child in kept:
                self._restart(child)
            kept = []
        self._start_in_order(kept)

    def _start_in_order(self, children: Iterable[Cell | Supervisor]) -> None:
        """Start again what is down, each when the one before is through its start."""
        self._lined_up.extend(children)
        self._start_next()

    def _start_next(self) -> None:
        while self._before is None or self._before.state != "starting":
            if not self._lined_up:
                self._before = None
                if self.state == "starting":
                    self.state = "running"
                    if self.parent is not None:
                        self.parent.child_is_up(self)
                return
            self._before = self._lined_up.popleft()
            self._restart(self._before)

    def _restart(self, child: Cell | Supervisor) -> None:
        assert self._nursery is not None
        if child.state != "restarting":
            return  # stopped meanwhile
        if isinstance(child, Supervisor):
            child.begin_again()
            self._nursery.start_soon(self._run_supervisor, child, name=child.path)
        else:
            self._activate(child)

    # -- the control task --------------------------------------------------------------------------

    async def _control_loop(self) -> None:
        while not self._going():
            self._take_ends()
            self._restart_due()
            self._start_next()
            if self._going() or self._ends:
                continue
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
                self._after_supervisor(child, end)
        if self._group:
            self._go_on_with_group()

    def _after_end(self, cell: Cell, end: Exit) -> None:
        if end.error is not None:
            cell.last_error = end.error
        if self._stopping == "bury" or cell.stop_wanted:
            self._bury(cell, "dead", end)
        elif cell in self._group or self._stopping == "keep":
            self._keep_or_bury(cell, end)
        elif end.reason == "passivated":
            self.passivated(cell)
        elif not self._restart_wanted(cell, end):
            self._bury(cell, "dead", end)
        elif self.spec.strategy != "one_for_one":
            self._crashed_in_group(cell, end)
        elif self._window_of(cell).allow(trio.current_time()):
            self._schedule(cell, end)
        elif self.spec.on_exceeded == "quarantine":
            self._bury(cell, "quarantined", end)
        else:
            self._mark_restarting(cell)
            self._give_up(cell, end.error)

    def _restart_wanted(self, cell: Cell, end: Exit) -> bool:
        if cell.running_since is None and cell.generation == 1:
            return False  # it never came up: that is for whoever spawns it
        match cell.spec.restart:
            case "permanent":
                return True
            case "transient":
                return end.reason in ("error", "killed")
            case "temporary":
                return False

    def passivated(self, cell: Cell) -> None:
        """A child went to sleep; only routes ask for that."""
        raise AssertionError(f"nobody asked {cell.path} to passivate")

    def _after_supervisor(self, child: Supervisor, end: Exit) -> None:
        if self._stopping == "bury" or end.reason in ("shutdown", "killed"):
            self._forget(child)
            child.end()
        elif child in self._group or self._stopping == "keep":
            child.state = "restarting"
        elif self.spec.strategy != "one_for_one":
            self._crashed_in_group(child, end)
        elif child.window.allow(trio.current_time()):
            self._schedule(child, end)
        else:
            child.state = "restarting"
            self._give_up(child, end.error)

    def _window_of(self, cell: Cell) -> RestartWindow:
        if cell.window is None:
            cell.window = RestartWindow(cell.spec.intensity, cell.spec.period_seconds)
        return cell.window

    def _schedule(self, child: Cell | Supervisor, end: Exit) -> None:
        now = trio.current_time()
        backoff = child.spec.backoff
        up = child.running_since
        if up is not None and now - up >= backoff.reset_after_seconds:
            child.restart_attempt = 0
        delay = backoff.delay_seconds(child.restart_attempt, self.system.random)
        child.restart_attempt += 1
        child.last_error = end.error or child.last_error
        self._mark_restarting(child)
        heapq.heappush(self._due, (now + delay, next(self._ticket), [child]))
        self.system.notify_crash(child.path, end.error, delay)

    def _mark_restarting(self, child: Cell | Supervisor) -> None:
        child.restarts += 1
        child.state = "restarting"

    def _restart_due(self) -> None:
        now = trio.current_time()
        while self._due and self._due[0][0] <= now:
            _, _, children = heapq.heappop(self._due)
            if len(children) == 1:
                self._restart(children[0])
            else:
                self._start_in_order(children)

    def _give_up(self, child: Cell | Supervisor, cause: Exception | None) -> None:
        spec = child.spec if isinstance(child, Cell) else self.spec
        error = RestartBudgetExceeded(
            f"{child.path} crashed more than {spec.intensity} times within "
            f"{spec.period_seconds} s, the last time with {cause!r}.",
            remedy="Mend what crashes it, or give it a larger intensity or a longer backoff.",
        )
        error.__cause__ = cause
        self.system.notify_crash(child.path, cause, None)
        self._failure = error
        self._stopping = "keep"

    # -- restarting a group --------------------------------------------------------------------------

    def _crashed_in_group(self, child: Cell | Supervisor, end: Exit) -> None:
        self._mark_restarting(child)
        child.last_error = end.error or child.last_error
        if not self._window.allow(trio.current_time()):
            self._give_up(child, end.error)
            return
        order = list(self._children.values())
        after = order.index(child) if self.spec.strategy == "rest_for_one" else 0
        # Together with a group that is on its way down already: none of it may be forgotten.
        self._group = [
            each
            for at, each in enumerate(order)
            if (at >= after or each in self._group) and not _gone(each)
        ]
        self._call_off(self._group)
        self.system.notify_crash(child.path, end.error, 0.0)

    def _call_off(self, group: list[Cell | Supervisor]) -> None:
        """Drop earlier plans to start any of ``group``: they start together, later."""
        for _, _, children in self._due:
            children[:] = [child for child in children if child not in group]
        self._lined_up = deque(child for child in self._lined_up if child not in group)

    def _keep_or_bury(self, cell: Cell, end: Exit) -> None:
        if cell.spec.restart == "temporary":
            self._bury(cell, "dead", end)
        else:
            cell.state = "restarting"

    def _go_on_with_group(self) -> None:
        """Stop the next one, last started first; when all are down, make them due together."""
        self._group = [child for child in self._group if not _gone(child)]
        for child in reversed(self._group):
            if child.state != "restarting":
                if isinstance(child, Supervisor):
                    child.request_shutdown(keep=True)
                else:
                    child.request_stop("restart")
                return
        heapq.heappush(self._due, (self._group_due_at(), next(self._ticket), self._group))
        self._group = []

    def _group_due_at(self) -> float:
        now, backoff = trio.current_time(), self.spec.backoff
        if now - self._group_back_at >= backoff.reset_after_seconds:
            self._group_attempt = 0
        self._group_back_at = now + backoff.delay_seconds(self._group_attempt, self.system.random)
        self._group_attempt += 1
        return self._group_back_at

    # -- stopping ------------------------------------------------------------------------------------

    async def _stop_children(self) -> None:
        children = list(self._children.values())
        groups = (
            [children] if self.spec.stop_order == "together" else [[c] for c in reversed(children)]
        )
        for group in groups:
            for child in group:
                self._stop(child)
            self._take_ends()
            while any(_up(child) for child in group):
                await self._control.park()
                self._take_ends()

    def _stop(self, child: Cell | Supervisor) -> None:
        keep = self._stopping == "keep"
        if isinstance(child, Supervisor):
            child.request_shutdown(keep=keep)
            if not keep and child.state == "dead":
                self._forget(child)
        elif keep:
            child.request_stop("restart")
        elif not child.dead:
            self.stop_child(child)

    def _forget(self, child: Cell | Supervisor) -> None:
        if self._children.get(child.name) is child:
            del self._children[child.name]
            if isinstance(child, Cell):
                self.system.handled_by_gone += child.handled

    def _bury(self, cell: Cell, state: Literal["dead", "quarantined"], end: Exit) -> None:
        if state == "dead":
            # A quarantined child stays in the tree, to be looked at and to keep its name taken.
            self._forget(cell)
        if end.error is not None:
            cell.last_error = end.error
            self.system.notify_crash(cell.path, end.error, None)
        cell.bury(state, end.reason)


def _up(child: Cell | Supervisor) -> bool:
    """Whether a child still has to come down."""
    return child.activation is not None if isinstance(child, Cell) else child.up


def _gone(child: Cell | Supervisor) -> bool:
    return child.dead if isinstance(child, Cell) else child.state == "dead"
