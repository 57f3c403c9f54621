"""Many sessions at once, measured: what the second half of the demo does and reports."""

from __future__ import annotations

import math
import resource
import sys
from collections.abc import Awaitable, Callable, Iterator

import attrs
import trio

from actrio.agents import Agent
from actrio.messages import ItemDelta, TurnResult
from actrio.runtime import Runtime, Session

__all__ = ["Crowd", "Tally", "peak_memory_bytes", "percentile", "tasks_alive"]


def percentile(values: list[float], share: float) -> float:
    """Return the value below which ``share`` (0 to 1) of ``values`` lie; NaN of nothing."""
    if not values:
        return math.nan
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, math.ceil(share * len(ordered)) - 1))]


def peak_memory_bytes() -> int:
    """Return the most memory this process has held; Linux counts kilobytes, macOS bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def tasks_alive() -> int:
    """Return how many Trio tasks there are in this process, Trio's own included."""
    return sum(1 for _ in _tasks(trio.lowlevel.current_root_task()))


def _tasks(task: trio.lowlevel.Task | None) -> Iterator[trio.lowlevel.Task]:
    if task is None:
        return
    yield task
    for nursery in task.child_nurseries:
        for child in nursery.child_tasks:
            yield from _tasks(child)


@attrs.define(slots=True)
class Tally:
    """What has been seen. Two numbers per turn are kept, so an hour's run stays in megabytes.

    Attributes:
        latency_seconds: From asking to the terminal event, of each completed turn.
        first_token_seconds: From asking to the first piece of text.
        failures: What each turn that did not complete said.
    """

    running: int = 0
    turns: int = 0
    tokens: int = 0
    latency_seconds: list[float] = attrs.field(factory=list)
    first_token_seconds: list[float] = attrs.field(factory=list)
    failures: list[str] = attrs.field(factory=list)

    def count(self, result: TurnResult, begun: float, first: float | None, now: float) -> None:
        """Count one finished turn; times are Trio's clock."""
        if result.outcome != "completed":
            self.failures.append(str(result.error))
            return
        self.turns += 1
        self.tokens += result.usage.output_tokens
        self.latency_seconds.append(now - begun)
        if first is not None:
            self.first_token_seconds.append(first - begun)


class Crowd:
    """``sessions`` sessions that each ask again and again for ``seconds``.

    Each session ends the turn it is in, so that nothing is cut off when the time is over.
    """

    def __init__(self, runtime: Runtime, agent: Agent, *, sessions: int, seconds: float) -> None:
        self._runtime = runtime
        self._agent = agent
        self._sessions = sessions
        self._seconds = seconds
        self.tally = Tally()
        self.elapsed_seconds = 0.0

    async def run(self, show: Callable[[Tally, float], Awaitable[None]]) -> None:
        """Run until the time is over; ``show`` is told how it goes, twice a second."""
        begun = trio.current_time()
        until = begun + self._seconds
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._show, begun, show)
            async with trio.open_nursery() as members:
                for number in range(self._sessions):
                    members.start_soon(self._member, number, until)
            nursery.cancel_scope.cancel()
        self.elapsed_seconds = trio.current_time() - begun

    async def _show(self, begun: float, show: Callable[[Tally, float], Awaitable[None]]) -> None:
        while True:
            await trio.sleep(0.5)
            await show(self.tally, trio.current_time() - begun)

    async def _member(self, number: int, until: float) -> None:
        async with self._runtime.session(self._agent) as session:
            self.tally.running += 1
            question = 1
            while trio.current_time() < until:
                await self._turn(session, f"session {number}, question {question}")
                question += 1
            self.tally.running -= 1

    async def _turn(self, session: Session, prompt: str) -> None:
        begun = trio.current_time()
        first: float | None = None
        async with session.turn(prompt) as turn:
            async for event in turn:
                if first is None and isinstance(event, ItemDelta):
                    first = trio.current_time()
        self.tally.count(turn.result, begun, first, trio.current_time())
