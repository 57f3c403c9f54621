"""The tools of one agent, which of them are switched on, and how much may run at once."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterable, Iterator
from typing import Final

import attrs
import trio

from actrio.errors import Conflict, InvalidRequest, NotFound
from actrio.messages import ToolSpec
from actrio.tools._threads import ThreadCounts
from actrio.tools._tool import Tool

__all__ = ["Slots", "ToolBox", "ToolBoxStatistics", "ToolLimits"]

PARALLEL_MAX: Final = 16
"""Models ask for two to ten calls in a step; a few steps of several sessions fit beside them."""

THREADS_MAX: Final = 8
"""Threads cost stack memory and cannot be stopped; Trio's own default of 40 is for a whole program."""

CALLS_MAX: Final = 128
"""Calls of one step. More is a model in a loop; each would be queued, run and sent back."""


def _positive(instance: object, attribute: attrs.Attribute[int], value: int) -> None:
    if value < 1:
        raise InvalidRequest(
            f"{type(instance).__name__}.{attribute.name} is {value}.", remedy="Give at least 1."
        )


@attrs.frozen(slots=True, kw_only=True)
class ToolLimits:
    """What is bounded, for all turns that use one `ToolBox` together.

    Attributes:
        parallel_max: Calls that run at once; others wait.
        threads_max: Threads for sync tools, abandoned ones included.
        calls_max: Calls of one step; those beyond it get an error as their result.
    """

    parallel_max: int = attrs.field(default=PARALLEL_MAX, validator=_positive)
    threads_max: int = attrs.field(default=THREADS_MAX, validator=_positive)
    calls_max: int = attrs.field(default=CALLS_MAX, validator=_positive)


@attrs.frozen(slots=True, kw_only=True)
class ToolBoxStatistics:
    """A look at what runs.

    Attributes:
        running: Calls that run now.
        waiting: Calls that wait for their place.
        asking: Questions to persons that are open; calls that wait for one hold no place.
        peak: Most calls that ever ran at once.
        parallel_max: The configured bound of these.
        finished: Calls that ran and ended, in whatever way.
        threads: Threads in use, abandoned ones included.
        threads_max: The configured bound of these.
        abandoned: Threads left behind that still run.
        late: Threads left behind that have ended since; their results were discarded.
    """

    running: int
    waiting: int
    asking: int
    peak: int
    parallel_max: int
    finished: int
    threads: int
    threads_max: int
    abandoned: int
    late: int


class Slots:
    """The places and counts that every view of a box shares."""

    __slots__ = ("asking", "finished", "parallel", "peak", "thread_counts", "threads")

    def __init__(self, limits: ToolLimits) -> None:
        self.parallel = trio.CapacityLimiter(limits.parallel_max)
        self.threads = trio.CapacityLimiter(limits.threads_max)
        self.thread_counts = ThreadCounts()
        self.asking = 0
        self.peak = 0
        self.finished = 0

    @contextlib.contextmanager
    def person_asked(self) -> Iterator[None]:
        """Count one open question for the time of the block."""
        self.asking += 1
        try:
            yield
        finally:
            self.asking -= 1


class ToolBox:
    """The tools of one agent, by name.

    Args:
        tools: Made by `tool`.
        disabled: Names of those that are switched off: not offered to the model, and refused.
        limits: How much may run at once.

    Raises:
        Conflict: Two tools have one name.
        NotFound: A disabled name is no tool's.
        InvalidRequest: Something is not a tool, or a method that no instance was given for.
    """

    __slots__ = ("_slots", "_tools", "disabled", "limits")

    def __init__(
        self,
        tools: Iterable[Tool] = (),
        *,
        disabled: Iterable[str] = frozenset(),
        limits: ToolLimits | None = None,
    ) -> None:
        self.limits = limits or ToolLimits()
        self._tools: dict[str, Tool] = {}
        for each in tools:
            self._add(each)
        self.disabled: frozenset[str] = self._known(disabled)
        self._slots = Slots(self.limits)

    def _add(self, each: Tool) -> None:
        if not isinstance(each, Tool):
            raise InvalidRequest(
                f"{each!r} is not a tool.", remedy="Decorate the function with @tool."
            )
        if each.needs_instance:
            raise InvalidRequest(
                f"The tool {each.name!r} is a method without its instance.",
                remedy=f"Take it from an instance, as in `instance.{each.name}`.",
            )
        other = self._tools.setdefault(each.name, each)
        if other is not each:
            raise Conflict(
                f"Two tools are called {each.name!r}: {_origin(other)} and {_origin(each)}.",
                remedy="Rename one of them: @tool(name=…).",
            )

    def _known(self, names: Iterable[str]) -> frozenset[str]:
        wanted = frozenset(names)
        for name in sorted(wanted - self._tools.keys()):
            raise NotFound(f"There is no tool {name!r} to disable.", remedy=self.suggestion(name))
        return wanted

    @property
    def tools(self) -> tuple[Tool, ...]:
        """All tools, in the order given, switched off or not."""
        return tuple(self._tools.values())

    @property
    def specs(self) -> tuple[ToolSpec, ...]:
        """What a model is told: the specs of the tools that are switched on."""
        return tuple(each.spec for each in self._tools.values() if each.name not in self.disabled)

    def find(self, name: str) -> Tool | None:
        """Return the tool of that name, switched off or not."""
        return self._tools.get(name)

    def suggestion(self, name: str) -> str:
        """Return the closest names and the whole list, for somebody who asked for ``name``."""
        import difflib  # late: for a model that asks for what is not there

        there = [each for each in self._tools if each not in self.disabled]
        close = difflib.get_close_matches(name, there, n=1)
        hint = f"Did you mean {close[0]!r}? " if close else ""
        return f"{hint}The tools are: {', '.join(there) or 'none'}."

    def with_disabled(self, names: Iterable[str]) -> ToolBox:
        """Return a view of this box with exactly ``names`` switched off.

        Places and statistics are shared, so a switch in the middle of a turn loosens no limit.

        Raises:
            NotFound: A name is no tool's.
        """
        view = copy.copy(self)
        view.disabled = self._known(names)
        return view

    def statistics(self) -> ToolBoxStatistics:
        """Return what runs now, and what did."""
        slots = self._slots
        parallel = slots.parallel.statistics()
        return ToolBoxStatistics(
            running=parallel.borrowed_tokens,
            waiting=parallel.tasks_waiting,
            asking=slots.asking,
            peak=slots.peak,
            parallel_max=self.limits.parallel_max,
            finished=slots.finished,
            threads=slots.threads.borrowed_tokens,
            threads_max=self.limits.threads_max,
            abandoned=slots.thread_counts.abandoned,
            late=slots.thread_counts.late,
        )


def _origin(each: Tool) -> str:
    module = getattr(each.function, "__module__", "?")
    return f"{module}.{getattr(each.function, '__qualname__', type(each.function).__name__)}"
