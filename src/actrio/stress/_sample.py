"""What the machine says: processor time, memory, files, tasks, and how late the event loop is."""

from __future__ import annotations

import math
import os
import resource
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import attrs
import trio

from actrio.stress._histogram import Histogram

__all__ = [
    "LoopLag",
    "MemoryTrend",
    "ProcessSample",
    "cpu_share",
    "process_sample",
    "slope_per_second",
    "starved_share",
    "tasks_alive",
]

LAG_PERIOD_SECONDS: Final = 0.01
"""How often the event loop is asked for a sign of life: costs a thousandth of a core."""

_PAGE_BYTES: Final = resource.getpagesize()
_TICKS_PER_SECOND: Final = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100


@attrs.frozen(slots=True)
class ProcessSample:
    """How a process stands; None where this system does not tell.

    Attributes:
        cpu_seconds: Processor time used so far, in user and system.
        rss_bytes: Memory that it holds now.
        descriptors: Files and sockets that it has open.
        starved_seconds: How long its first thread, where the event loop is, could have run and had
            no core, because others did.
    """

    cpu_seconds: float | None = None
    rss_bytes: int | None = None
    descriptors: int | None = None
    starved_seconds: float | None = None


def process_sample(pid: int | None) -> ProcessSample:
    """Return how a process of this machine stands; of one that is gone nothing is known."""
    if pid is None:
        return ProcessSample()
    if Path("/proc/self/stat").exists():
        return _from_proc(pid)
    return _from_rusage() if pid == os.getpid() else ProcessSample()


def _from_proc(pid: int) -> ProcessSample:
    folder = Path("/proc") / str(pid)
    try:
        # The second field is the program's name, in brackets, and may hold anything.
        fields = folder.joinpath("stat").read_text().rpartition(")")[2].split()
        pages = int(folder.joinpath("statm").read_text().split()[1])
        descriptors = sum(1 for _ in folder.joinpath("fd").iterdir())
    except (OSError, IndexError, ValueError):
        return ProcessSample()
    cpu_seconds = (int(fields[11]) + int(fields[12])) / _TICKS_PER_SECOND
    if pid == os.getpid():
        cpu_seconds = _own_cpu_seconds()  # to the microsecond instead of the tick
    return ProcessSample(cpu_seconds, pages * _PAGE_BYTES, descriptors, _starved_seconds(folder))


def _starved_seconds(folder: Path) -> float | None:
    try:
        return int(folder.joinpath("schedstat").read_text().split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return None  # a kernel without scheduler statistics


def _from_rusage() -> ProcessSample:
    """Without /proc (macOS) only the peak of the own memory is known, and stands for it."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return ProcessSample(_own_cpu_seconds(), peak if sys.platform == "darwin" else peak * 1024)


def _own_cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def cpu_share(before: ProcessSample, after: ProcessSample, seconds: float) -> float | None:
    """Return which part of a core a process used between two samples."""
    if before.cpu_seconds is None or after.cpu_seconds is None or seconds <= 0:
        return None
    return (after.cpu_seconds - before.cpu_seconds) / seconds


def starved_share(before: ProcessSample, after: ProcessSample, seconds: float) -> float | None:
    """Return for which part of the time a process had work and no core."""
    if before.starved_seconds is None or after.starved_seconds is None or seconds <= 0:
        return None
    return (after.starved_seconds - before.starved_seconds) / seconds


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


class LoopLag:
    """How late the event loop of this process is."""

    def __init__(self) -> None:
        self.histogram = Histogram()
        self.worst = 0.0  # since it was last taken

    async def run(self) -> None:
        """Ask again and again, until cancelled."""
        while True:
            due = trio.current_time() + LAG_PERIOD_SECONDS
            await trio.sleep_until(due)
            late = trio.current_time() - due
            self.histogram.record(late)
            self.worst = max(self.worst, late)

    def take_worst(self) -> float:
        """Return the worst since the last time."""
        worst, self.worst = self.worst, 0.0
        return worst


# -- memory over time ------------------------------------------------------------------------------


@attrs.frozen(slots=True)
class MemoryTrend:
    """How memory went.

    Attributes:
        peak_bytes: The most.
        steady_bytes: The middle value after the warm-up.
        slope_bytes_per_minute: How fast it grew after the warm-up, by least squares.
    """

    peak_bytes: int | None = None
    steady_bytes: int | None = None
    slope_bytes_per_minute: float | None = None

    @classmethod
    def of(cls, points: Sequence[tuple[float, int | None]], *, after: float) -> MemoryTrend:
        """Read it off samples in time; what was before ``after`` counts for the peak only."""
        known = [(at, value) for at, value in points if value is not None]
        if not known:
            return cls()
        late = [(at, float(value)) for at, value in known if at >= after]
        ordered = sorted(value for _, value in late)
        long_enough = late and late[-1][0] - late[0][0] >= SLOPE_SECONDS_MIN
        slope = slope_per_second(late) if long_enough else None
        return cls(
            max(value for _, value in known),
            int(ordered[len(ordered) // 2]) if ordered else None,
            slope * 60 if slope is not None else None,
        )

    def told(self) -> dict[str, Any]:
        return attrs.asdict(self)


SLOPE_SECONDS_MIN: Final = 20.0
"""In a shorter time, memory that is taken once looks like memory that grows."""

SLOPE_POINTS_MIN: Final = 5
"""A line through fewer points tells of the allocator, not of a leak."""


def slope_per_second(points: Sequence[tuple[float, float]]) -> float | None:
    """Return the slope of the straight line nearest to ``points``; None of too few."""
    if len(points) < SLOPE_POINTS_MIN:
        return None
    mean_x = math.fsum(x for x, _ in points) / len(points)
    mean_y = math.fsum(y for _, y in points) / len(points)
    spread = math.fsum((x - mean_x) ** 2 for x, _ in points)
    if spread <= 0:
        return None
    return math.fsum((x - mean_x) * (y - mean_y) for x, y in points) / spread
