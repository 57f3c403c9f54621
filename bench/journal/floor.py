"""A bare group-commit loop: what any journal in Python on Trio must at least cost."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import trio

__all__ = ["bare"]


async def bare(
    folder: Path, *, sessions: int, seconds: float, sync: bool, line: Callable[[], bytes]
) -> tuple[float, list[float]]:
    """Return records per second, and each append's time, of tasks that append what ``line`` makes."""
    fd = os.open(folder / "floor", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    waiting: list[tuple[bytes, trio.lowlevel.Task]] = []
    times: list[float] = []
    wake = trio.lowlevel.ParkingLot()
    until = time.perf_counter() + seconds

    def write(batch: list[tuple[bytes, trio.lowlevel.Task]]) -> None:
        os.write(fd, b"".join([data for data, _ in batch]))
        if sync:
            os.fdatasync(fd)

    async def loop() -> None:
        nonlocal waiting
        while True:
            while not waiting:
                await wake.park()
            batch, waiting = waiting, []
            await trio.to_thread.run_sync(write, batch)
            for _, task in batch:
                trio.lowlevel.reschedule(task)

    async def session() -> None:
        while time.perf_counter() < until:
            began = time.perf_counter()
            waiting.append((line(), trio.lowlevel.current_task()))
            wake.unpark()
            await trio.lowlevel.wait_task_rescheduled(lambda _: trio.lowlevel.Abort.FAILED)
            times.append(time.perf_counter() - began)

    async with trio.open_nursery() as outer:
        outer.start_soon(loop)
        async with trio.open_nursery() as nursery:
            for _ in range(sessions):
                nursery.start_soon(session)
        outer.cancel_scope.cancel()
    os.close(fd)
    return len(times) / seconds, times
