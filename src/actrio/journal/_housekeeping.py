"""The long works of keeping house, in steps between which appends go on."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import trio

from actrio.journal._compaction import (
    Ghosts,
    SegmentUse,
    plan_runs,
    rewrite,
    tidied,
    use_of,
)
from actrio.journal._index_keeper import write_index
from actrio.journal._rows import Row, rows_of
from actrio.journal._store import CompactReport, VerifyReport
from actrio.journal._verify import verify_disk
from actrio.journal._writer import Writer

__all__ = ["Housekeeping"]

HOUSE_LOCK: Final = "house.lock"

POLL_SECONDS: Final = 0.05
"""How often who waits for another's compaction or check looks whether it is over."""


class Housekeeping:
    """Compacting and checking; one of them at a time, among all processes of a store."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._files = writer.files
        self._disk = writer.files.disk
        # One work at a time, beside the writer's threads.
        self._threads = trio.CapacityLimiter(1)

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        lock = self._disk.lock(HOUSE_LOCK)
        try:
            while not lock.try_exclusive():  # noqa: ASYNC110 - the holder may be another process
                await trio.sleep(POLL_SECONDS)
            yield
        finally:
            lock.close()

    async def verify(self) -> VerifyReport:
        """Check every byte that is stored; see `HousekeepingPort.verify`."""
        async with self._alone():
            await self._writer.flushed()
            return await self._writer.in_thread(verify_disk, self._disk, limiter=self._threads)

    async def compact(self, bytes_max: int | None) -> CompactReport:
        """Give back the space of what is not live; see `HousekeepingPort.compact`."""
        self._writer.check_open()
        async with self._alone():
            await self._writer.flushed()
            await self._writer.seen_others()
            rows = await self._writer.in_thread(tidied, self._disk, limiter=self._threads)
            before = self._size(rows)
            ghosts, runs = await self._surveyed(rows)
            # Whether removals may be forgotten: what opening starts from must have heard of them.
            forget = bool(runs) and bool(await write_index(self._writer))
            written = 0
            for run in runs:
                if bytes_max is not None and written >= bytes_max:
                    break
                written += await self._rewritten(run, ghosts, may_drop=forget)
            return CompactReport(before[0], *self._after(before[1]))

    def _size(self, rows: dict[int, Row]) -> tuple[int, int]:
        names = [one.name for row in rows.values() for one in row.segments]
        found = [self._disk.identity(name) for name in names]
        return len(names), sum(identity[1] for identity in found if identity is not None)

    def _after(self, bytes_before: int) -> tuple[int, int, int]:
        segments, size = self._size(rows_of(self._disk))
        return segments, bytes_before, size

    async def _surveyed(self, rows: dict[int, Row]) -> tuple[Ghosts, list[tuple[SegmentUse, ...]]]:
        """Look at every segment; return where removed sessions still are, and what to rewrite."""
        ghosts = Ghosts()
        runs: list[tuple[SegmentUse, ...]] = []
        for slot, row in rows.items():
            uses: list[SegmentUse] = []
            for segment in row.segments:
                use = await self._writer.in_thread(
                    use_of, self._disk, segment, self._files.index, ghosts, limiter=self._threads
                )
                if use is not None:
                    uses.append(use)
            if slot == self._files.slot or not self._files.lives(slot):
                runs += plan_runs(uses, segment_bytes_max=self._files.segment_bytes_max)
        return ghosts, runs

    async def _rewritten(
        self, run: tuple[SegmentUse, ...], ghosts: Ghosts, *, may_drop: bool
    ) -> int:
        """Let one file stand for ``run``; return its size, 0 where that was not possible."""
        drop = may_drop and not self._files.others_live()
        while True:
            make = functools.partial(
                rewrite, self._disk, run, self._files.index, ghosts, may_drop=drop
            )
            made = await self._writer.in_thread(make, limiter=self._threads)
            if not await self._writer.synced():
                self._writer.check_open()
            if await self._writer.in_thread(self._files.publish, made, limiter=self._threads):
                ghosts.gone(made.replaced)
                return len(made.data)
            # Another process came: it may not have heard yet of what was left out.
            drop = False
