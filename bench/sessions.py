"""What sessions cost: in memory, asleep, coming back, and for a whole turn.

    python -m bench.sessions [--sessions 5000] [--profile]

Each figure is taken in a process of its own, on a store in a temporary folder. CPU is that of the
whole process. ``--profile`` shows where the time of turns goes instead.
"""

from __future__ import annotations

import argparse
import cProfile
import functools
import gc
import multiprocessing
import pstats
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import trio

from actrio import Agent, open_runtime
from actrio.journal import open_embedded_store
from actrio.runtime import Limits, Settings, StoreSettings
from actrio.sessions import read_state

ECHO = Agent("echo", model="scripted:echo")
TURNS = 400
HISTORY_TURNS = 40
RETURNS = 200

Measured = dict[str, float]


def settings_of(folder: str | None, **limits: Any) -> Settings:
    """Return settings with a store in ``folder``, in memory where None."""
    kind = "memory" if folder is None else "embedded"
    return Settings(
        store=StoreSettings(kind=kind, folder=folder),  # type: ignore[arg-type]
        limits=Limits(**limits),
    )


def memory_bytes() -> int:
    """Return how much of this process is in memory."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


async def turns(folder: str | None, count: int) -> Measured:
    """Open a session, take one turn, close it, ``count`` times."""
    async with open_runtime(settings_of(folder), env={}) as runtime:

        async def one(name: str) -> None:
            async with runtime.session(ECHO, id=name) as session:
                await session.ask("how do you do?")

        for number in range(20):
            await one(f"warm{number}")
        cpu, wall = time.process_time(), time.perf_counter()
        for number in range(count):
            await one(f"s{number}")
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return {"CPU ms": 1000 * cpu / count, "wall ms": 1000 * wall / count}


async def more_turns(folder: str | None, count: int) -> Measured:
    """Take ``count`` turns in ten sessions that stay open."""
    async with open_runtime(settings_of(folder), env={}) as runtime:
        sessions = [await runtime.open_session(ECHO, id=f"s{number}") for number in range(10)]
        for session in sessions:
            await session.ask("hello")
        cpu, wall = time.process_time(), time.perf_counter()

        async def some(session: Any) -> None:
            for _ in range(count // 10):
                await session.ask("how do you do?")

        async with trio.open_nursery() as nursery:
            for session in sessions:
                nursery.start_soon(some, session)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return {"CPU ms": 1000 * cpu / count, "wall ms": 1000 * wall / count}


async def coming_back(folder: str | None, _count: int) -> Measured:
    """Wake a session of 40 turns that is asleep, and read its last checkpoint for comparison."""
    assert folder is not None
    async with open_runtime(settings_of(folder, sessions_resident=1), env={}) as runtime:
        pair = [await runtime.open_session(ECHO, id=name) for name in ("a", "b")]
        for session in pair:
            for _ in range(HISTORY_TURNS):
                await session.ask("how do you do?")
        woken: list[float] = []
        for place in range(RETURNS):
            await trio.sleep(0.01)  # the other one goes to sleep
            began = time.perf_counter()
            await pair[place % 2].view()
            woken.append(time.perf_counter() - began)
        read: list[float] = []
        for place in range(RETURNS):
            began = time.perf_counter()
            await read_state(runtime.store, pair[place % 2].id)
            read.append(time.perf_counter() - began)
    median = {"p50": RETURNS // 2, "p99": RETURNS * 99 // 100}
    return {
        **{f"back, {name} ms": 1000 * sorted(woken)[place] for name, place in median.items()},
        **{f"read, {name} ms": 1000 * sorted(read)[place] for name, place in median.items()},
    }


async def resident(folder: str | None, count: int, *, turn: bool) -> Measured:
    """Hold ``count`` sessions in memory, idle."""
    idle_seconds = max(20.0, count / 50)  # longer than all of them take to be opened
    limits = {"sessions": count + 10, "sessions_resident": count + 10, "idle_seconds": idle_seconds}
    async with open_runtime(settings_of(folder, **limits), env={}) as runtime:
        warm = await runtime.open_session(ECHO, id="warm")
        await warm.ask("hello")
        before, began = memory_bytes(), time.perf_counter()
        limiter = trio.CapacityLimiter(200)

        async def one(number: int) -> None:
            async with limiter:
                session = await runtime.open_session(ECHO, id=f"s{number:07}")
                if turn:
                    await session.ask("how do you do?")

        async with trio.open_nursery() as nursery:
            for number in range(count):
                nursery.start_soon(one, number)
        seconds = time.perf_counter() - began
        await trio.sleep(idle_seconds / 2 + 1)  # what is idle lets go of what it does not need
        used = memory_bytes() - before
        assert runtime.statistics().sessions_resident == count + 1
    return {"KB each": used / count / 1024, "opened/s": count / seconds}


async def fill(folder: str | None, count: int) -> Measured:
    """Write ``count`` sessions of one turn, which all fall asleep."""
    limits = {"sessions": count + 10, "sessions_resident": 100}
    async with open_runtime(settings_of(folder, **limits), env={}) as runtime:
        limiter = trio.CapacityLimiter(100)

        async def one(number: int) -> None:
            async with limiter, runtime.session(ECHO, id=f"s{number:07}") as session:
                await session.ask("how do you do?")

        async with trio.open_nursery() as nursery:
            for number in range(count):
                nursery.start_soon(one, number)
    return {}


async def asleep(folder: str | None, count: int) -> Measured:
    """Open a store with ``count`` sessions, none in memory."""
    assert folder is not None
    place = Path(folder) / "default"
    before, began = memory_bytes(), time.perf_counter()
    async with open_embedded_store(place) as store:
        opened = time.perf_counter() - began
        found = await store.list(limit=1)
        used = memory_bytes() - before
        assert found
    size = sum(path.stat().st_size for path in place.rglob("*") if path.is_file())
    return {"bytes each": used / count, "on disk each": size / count, "opening ms": 1000 * opened}


Work = Callable[[str | None, int], Awaitable[Measured]]


def measured(work: Work, folder: str | None, count: int) -> Measured:
    """Run ``work`` in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_run, (work, folder, count))


def _run(work: Work, folder: str | None, count: int) -> Measured:
    return trio.run(work, folder, count)


def profile(count: int) -> None:
    """Show where the time of turns goes on the embedded store."""
    with tempfile.TemporaryDirectory() as folder, cProfile.Profile() as profiler:
        trio.run(turns, folder, count)
    pstats.Stats(profiler).sort_stats("tottime").print_stats(30)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sessions", type=int, default=5_000)
    parser.add_argument("--profile", action="store_true")
    given = parser.parse_args()
    if given.profile:
        profile(TURNS)
        return
    rows: list[tuple[str, Work, bool, int]] = [
        ("open, turn, close; in memory", turns, False, TURNS),
        ("open, turn, close; on disk", turns, True, TURNS),
        ("turns of open sessions; in memory", more_turns, False, TURNS),
        ("turns of open sessions; on disk", more_turns, True, TURNS),
        ("asleep, 40 turns: back with its view", coming_back, True, RETURNS),
        ("resident, opened", functools.partial(resident, turn=False), True, given.sessions),
        ("resident, one turn", functools.partial(resident, turn=True), True, given.sessions),
    ]
    for name, work, on_disk, count in rows:
        with tempfile.TemporaryDirectory() as folder:
            show(name, measured(work, folder if on_disk else None, count))
    with tempfile.TemporaryDirectory() as folder:
        measured(fill, folder, given.sessions)
        show(f"asleep, {given.sessions:,} known", measured(asleep, folder, given.sessions))


def show(name: str, found: Measured) -> None:
    print(f"{name:<40}", "  ".join(f"{key} {value:,.2f}" for key, value in found.items()))
    sys.stdout.flush()


if __name__ == "__main__":
    main()
