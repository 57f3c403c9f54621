"""How things are measured: process CPU time and resident memory, repeated, in one process or its own.

Wall time is a lottery on a shared machine, so rates are per second of this process's CPU time and
the best of several runs; what is compared runs in turns, so that a change of the clock speed hits
both. Memory is measured in a fresh process each, because a used one has free pages to give.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import trio

N = int(os.environ.get("BENCH_N", "50000"))
"""Messages per run."""


async def measured(work: Callable[[], Awaitable[None]]) -> float:
    """Return the CPU seconds that ``work`` takes."""
    started = time.process_time()
    await work()
    return time.process_time() - started


async def each_of(clients: int, ask: Callable[[int], Awaitable[Any]]) -> None:
    """Let so many clients ask N times together."""

    async def client() -> None:
        for n in range(N // clients):
            await ask(n)

    # A deadline is in effect, so that there is one to travel with each message.
    with trio.fail_after(3600):
        async with trio.open_nursery() as nursery:
            for _ in range(clients):
                nursery.start_soon(client)


def rss_bytes() -> int:
    if sys.platform == "linux":
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def best(repeats: int, *runs: Callable[[], Awaitable[float]]) -> list[float]:
    """Return the best of each run, taken in turns."""
    found = [0.0] * len(runs)
    for _ in range(repeats):
        for at, run in enumerate(runs):
            found[at] = max(found[at], trio.run(run))
    return found


def in_own_process(name: str, *args: int) -> dict[str, float]:
    """Return what `bench.kernel.memory` measures under ``name``, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.kernel.memory", name, *map(str, args)],
        check=True,
        stdout=subprocess.PIPE,
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found
