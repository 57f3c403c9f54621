"""The actor system: a tree of supervisors inside one nursery, opened and closed as a block."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import attrs
import trio

from actrio.actors._cell import Cell
from actrio.actors._dead_letters import DeadLetters
from actrio.actors._ref import Ref
from actrio.actors._supervisor import Supervisor
from actrio.actors._values import ActorSnapshot, ChildSpec, SupervisorSpec
from actrio.errors import ActorFailed, ActrioError, NotFound

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
        self.dead_letters = DeadLetters(keep_max=dead_letters_max, clock=trio.current_time)
        self._observers: list[Callable[[ActorCrashed], None]] = []
        self._steps = 0
        self.root = Supervisor(SupervisorSpec(name), "/", self)

    async def spawn(self, spec: ChildSpec, *, under: SupervisorRef | None = None) -> Ref[Any]:
        """Start an actor and return its address when it is ready.

        *Cancellation*: an actor that is not ready yet is stopped again.
        *Failure*: an error of the first ``on_start`` is raised here and nothing stays.

        Raises:
            Conflict: The name is taken.
            ActorFailed: ``on_start`` crashed; the cause is chained.
        """
        supervisor = under.supervisor if under is not None else self.root
        cell = supervisor.start_child(spec)
        try:
            while cell.state == "starting":
                await cell.start_slot.park()
        except trio.Cancelled:
            with trio.CancelScope(shield=True, deadline=self._stop_deadline(cell)):
                cell.activation and cell.activation.scope.cancel(reason="spawn was cancelled")
                await self.stop(cell.ref)
            raise
        if cell.dead and cell.running_since is None:
            error = cell.last_error
            if isinstance(error, ActrioError):
                raise error
            raise ActorFailed(f"{cell.path} did not start: {error!r}") from error
        return cell.ref

    async def supervise(
        self, spec: SupervisorSpec, *, under: SupervisorRef | None = None
    ) -> SupervisorRef:
        """Start a supervisor and return its address."""
        parent = under.supervisor if under is not None else self.root
        child = await parent.start_supervisor(spec)
        return SupervisorRef(child.path, child)

    async def stop(self, ref: Ref[Any]) -> None:
        """Stop an actor for good and return when it is gone.

        What it handles may end within ``shutdown_seconds``; what waits becomes dead letters.
        """
        if not ref.cell.dead:
            ref.cell.supervisor.stop_child(ref.cell)
        await ref.cell.gone.wait()

    def whereis(self, path: str) -> Ref[Any] | None:
        """Return the live actor at ``path``, or None."""
        found = self.root.find(path.strip("/").split("/"))
        return found.ref if isinstance(found, Cell) and not found.dead else None

    def ref(self, path: str) -> Ref[Any]:
        """Return the live actor at ``path``.

        Raises:
            NotFound: There is none.
        """
        found = self.whereis(path)
        if found is None:
            raise NotFound(f"There is no actor at {path}.", remedy="Look at system.tree().")
        return found

    def tree(self) -> ActorSnapshot:
        """Return the whole tree as it is now."""
        return self.root.snapshot(trio.current_time())

    def observe(self, told: Callable[[ActorCrashed], None]) -> None:
        """Call ``told`` (plain, quick, not raising) at each crash."""
        self._observers.append(told)

    def notify_crash(
        self, cell: Cell, error: Exception | None, restart_in_seconds: float | None
    ) -> None:
        notice = ActorCrashed(cell.path, error, restart_in_seconds)
        for told in self._observers:
            told(notice)

    async def breathe(self) -> None:
        """Be a schedule point at every sixteenth call: a sender in a loop must not starve others.

        Shielded, because what was sent is accepted and the sender must learn of it.
        """
        self._steps += 1
        if self._steps % 16 == 0:
            await trio.lowlevel.cancel_shielded_checkpoint()

    def _stop_deadline(self, cell: Cell) -> float:
        return trio.current_time() + cell.spec.shutdown_seconds + self.cancel_grace_seconds


@asynccontextmanager
async def open_actor_system(
    name: str = "actrio",
    *,
    cancel_grace_seconds: float = 5.0,
    rng: random.Random | None = None,
    dead_letters_max: int = DEAD_LETTERS_KEPT,
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
    """
    system = ActorSystem(
        name=name,
        cancel_grace_seconds=cancel_grace_seconds,
        rng=rng or random.Random(),
        dead_letters_max=dead_letters_max,
    )
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(_run_root, system)
            try:
                yield system
            finally:
                system.root.request_shutdown()
                with trio.CancelScope(shield=True):  # each child's stop is bounded, so this is too
                    await system.root.finished.wait()
    except BaseExceptionGroup as group:
        raise _only_one(group) from None


async def _run_root(
    system: ActorSystem, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    failure = await system.root.run(task_status)
    if failure is not None:
        raise failure


def _only_one(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the one exception in ``group``, where there is only one."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
