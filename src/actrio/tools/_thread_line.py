"""The line from a sync tool's thread back to Trio, by which it asks a person or changes the state.

Trio has a way back of its own, `trio.from_thread.run`; but for a thread that may be left behind it
runs what is asked in a system task, which no cancel of the turn would reach. So what a thread asks
runs in a nursery around its call: when the call is cut off, the question is withdrawn with it, and
the thread, which waits in a plain queue, learns of that and ends.
"""

from __future__ import annotations

import queue
from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

import attrs
import trio

from actrio.errors import InvalidRequest, TurnAborted

__all__ = ["ThreadLine", "with_line"]

T = TypeVar("T")


@attrs.frozen(slots=True)
class _Answer(Generic[T]):
    value: T


_Outcome = _Answer[Any] | Exception | None
"""What came of a question; ``None``: nobody waits for its call any more."""


class ThreadLine:
    """The line of one call; made by `with_line`."""

    __slots__ = ("_closed", "_nursery", "_token")

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._token = trio.lowlevel.current_trio_token()
        self._closed = False

    def close(self) -> None:
        """Withdraw what is asked, and let nothing more be asked."""
        self._closed = True
        self._nursery.cancel_scope.cancel(reason="the call of the tool has ended")

    def wait_for(self, asked: Callable[[], Awaitable[T]]) -> T:
        """Run ``asked`` in Trio, from a thread, and return its value or raise its error.

        Raises:
            InvalidRequest: Called from Trio's own thread.

        *Cancellation*: raises `trio.Cancelled`, or `TurnAborted` in a thread that Trio does not
        know.
        """
        if _in_trio(self._token):
            raise InvalidRequest(
                "A tool asked in Trio's own thread with a call that blocks.",
                remedy="There, await the form without _sync.",
            )
        outcomes: queue.SimpleQueue[_Outcome] = queue.SimpleQueue()
        try:
            # Once this has returned, Trio calls it in any case.
            self._token.run_sync_soon(self._begin, asked, outcomes)
        except trio.RunFinishedError:
            outcomes.put(None)
        outcome = outcomes.get()
        if isinstance(outcome, _Answer):
            value: T = outcome.value
            return value
        raise _cut_off() if outcome is None else outcome

    def _begin(
        self, asked: Callable[[], Awaitable[Any]], outcomes: queue.SimpleQueue[_Outcome]
    ) -> None:
        if self._closed:
            outcomes.put(None)
        else:
            self._nursery.start_soon(self._carry, asked, outcomes)

    async def _carry(
        self, asked: Callable[[], Awaitable[Any]], outcomes: queue.SimpleQueue[_Outcome]
    ) -> None:
        outcome: _Outcome = None
        try:
            outcome = _Answer(await asked())
        except Exception as error:
            # Not handled here: it is raised in the thread that asked.
            outcome = error
        finally:
            outcomes.put(outcome)


async def with_line(work: Callable[[ThreadLine], Awaitable[T]]) -> T:
    """Run ``work`` with a line for its thread, and return its value or raise its error as it is.

    *Cancellation*: what the thread asked is withdrawn before this returns.
    """
    outcome: _Answer[T] | BaseException
    async with trio.open_nursery() as nursery:
        line = ThreadLine(nursery)
        try:
            outcome = _Answer(await work(line))
        except (Exception, SystemExit) as error:
            # Raised below: the nursery must not make a group of it.
            outcome = error
        finally:
            line.close()
    if isinstance(outcome, _Answer):
        return outcome.value
    raise outcome


def _in_trio(token: trio.lowlevel.TrioToken) -> bool:
    try:
        return trio.lowlevel.current_trio_token() is token
    except RuntimeError:
        return False


def _cut_off() -> BaseException:
    """Return what ends a thread that nobody waits for: Trio's own exception where there is one."""
    try:
        trio.from_thread.check_cancelled()
    except trio.Cancelled as cancelled:
        return cancelled
    except RuntimeError:
        # A thread that the tool started by itself.
        pass
    return TurnAborted("The call of this tool was cut off while it waited.", reason="cut off")
