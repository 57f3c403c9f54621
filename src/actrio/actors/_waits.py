"""Who waits for whom, so that a cycle of waits is an error at once and not a hang.

An edge exists only while a *handler itself* waits, in ask, in a stream or for room: an actor whose
handling goes on in a deferred task still receives, so nothing can deadlock on it. In one process
the graph is exact; looking for a cycle means following the edges from whom we are about to wait for.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Protocol

from actrio.errors import DeadlockError

if TYPE_CHECKING:
    from actrio.actors._cell import Cell

__all__ = ["Place", "begin_wait", "current_handler", "end_wait", "note_wait", "waited_for"]

current_handler: ContextVar[Cell | None] = ContextVar("actrio_current_handler", default=None)
"""The cell whose receive loop this task is, or belongs to; None elsewhere and in deferred tasks."""


class Place(Protocol):
    """What a task waits in: an ask, a stream's end, a mailbox's line."""

    @property
    def waiting(self) -> bool:
        """Whether the wait goes on; it is over with its reason, though the task has yet to run."""


def begin_wait(waiter: Cell, target: Cell, place: Place) -> None:
    """Note that ``waiter``'s handler is about to wait for ``target`` at ``place``.

    Raises:
        DeadlockError: ``target`` waits, directly or through others, for ``waiter``.
    """
    chain = _chain(target, waiter)
    if chain is not None:
        names = " -> ".join(cell.path for cell in (waiter, *chain))
        raise DeadlockError(
            f"Waiting here could never end: {names}.",
            remedy="Use tell instead of ask on one of these edges, or let the handler go on with "
            "ctx.defer so that the actor keeps receiving.",
        )
    note_wait(waiter, target, place)


def note_wait(waiter: Cell, target: Cell, place: Place) -> None:
    """Note that ``waiter``'s handler waits for ``target``, whatever cycle that closes."""
    edges = waiter.waits_on
    if edges is None:
        edges = waiter.waits_on = {}
    edges[place] = target


def end_wait(waiter: Cell, place: Place) -> None:
    """Note that the task has gone on from ``place``."""
    assert waiter.waits_on is not None
    del waiter.waits_on[place]


def waited_for(cell: Cell) -> list[Cell]:
    """Return whom the handler of ``cell`` waits for at this moment."""
    edges = cell.waits_on
    return [each for at, each in edges.items() if at.waiting] if edges else []


def _chain(start: Cell, goal: Cell) -> list[Cell] | None:
    """Return the cells from ``start`` to ``goal`` along the edges, or None."""
    if start is not goal and not start.waits_on:
        return None
    stack: list[tuple[Cell, list[Cell]]] = [(start, [start])]
    seen: set[Cell] = set()
    while stack:
        cell, path = stack.pop()
        if cell is goal:
            return path
        if cell not in seen:
            seen.add(cell)
            stack.extend((following, [*path, following]) for following in waited_for(cell))
    return None
