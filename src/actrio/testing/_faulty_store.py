"""A store whose appends fail or tarry where a test or a simulation says."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import attrs
import trio

from actrio.errors import StorageError, StorageFull, StorageUnavailable
from actrio.journal import (
    BlobPort,
    Claim,
    CompactReport,
    Record,
    SessionEntry,
    StoredRecord,
    VerifyReport,
)

__all__ = ["FaultyStore", "StoreFault"]


@attrs.frozen(slots=True, kw_only=True)
class StoreFault:
    """What happens at one append.

    Attributes:
        append: Which one, from 1, over all sessions in the order of their calls.
        error: How it fails: nothing of it is written. ``None``: it succeeds.
        delay_seconds: How long it takes before that, in Trio time.
        for_good: Whether all later ones fail likewise, as with a real disk: after a failed write
            only opening anew knows what is there.
    """

    append: int
    error: Literal["full", "unavailable"] | None = "unavailable"
    delay_seconds: float = 0.0
    for_good: bool = False


class FaultyStore:
    """Every verb of ``store``, with faults at some of its appends.

    Args:
        store: Keeps what is appended, a `MemoryStore` for example.
        plan: Where it fails or tarries.

    Attributes:
        appends: How many were asked for.
        failed: How many of them failed.
    """

    def __init__(self, store: Any, plan: Iterable[StoreFault] = ()) -> None:
        self._store = store
        self._plan = {fault.append: fault for fault in plan}
        self._ended: StoreFault | None = None
        self.appends = 0
        self.failed = 0

    @property
    def blobs(self) -> BlobPort:
        """The store's own blobs: they do not fail."""
        blobs: BlobPort = self._store.blobs
        return blobs

    async def append(
        self,
        session: str,
        epoch: int,
        expected_seq: int,
        records: Sequence[Record],
        *,
        sync: bool = False,
        ts: float | None = None,
    ) -> int:
        """Add ``records``, or fail as planned; see `StorePort.append`."""
        self.appends += 1
        fault = self._ended or self._plan.get(self.appends)
        if fault is not None:
            await trio.sleep(fault.delay_seconds)
            if fault.error is not None:
                self._ended = fault if fault.for_good else self._ended
                self.failed += 1
                raise _error(fault)
        last: int = await self._store.append(
            session, epoch, expected_seq, records, sync=sync, ts=ts
        )
        return last

    async def claim(self, session: str, owner: str, *, insist: bool = False) -> Claim:
        """See `StorePort.claim`."""
        claim: Claim = await self._store.claim(session, owner, insist=insist)
        return claim

    async def renew(self, claim: Claim) -> None:
        """See `StorePort.renew`."""
        await self._store.renew(claim)

    async def read(
        self, session: str, from_seq: int | None = None, **bounds: int
    ) -> tuple[StoredRecord, ...]:
        """See `StorePort.read`."""
        found: tuple[StoredRecord, ...] = await self._store.read(session, from_seq, **bounds)
        return found

    async def watch(self, session: str, after_seq: int) -> int:
        """See `StorePort.watch`."""
        last: int = await self._store.watch(session, after_seq)
        return last

    async def release(self, claim: Claim) -> None:
        """See `HousekeepingPort.release`."""
        await self._store.release(claim)

    async def list(
        self, *, after: str = "", limit: int = 1000, waiting_only: bool = False
    ) -> tuple[SessionEntry, ...]:
        """See `HousekeepingPort.list`."""
        found: tuple[SessionEntry, ...] = await self._store.list(
            after=after, limit=limit, waiting_only=waiting_only
        )
        return found

    async def trim(self, claim: Claim, before_seq: int) -> None:
        """See `HousekeepingPort.trim`."""
        await self._store.trim(claim, before_seq)

    async def remove(self, claim: Claim) -> None:
        """See `HousekeepingPort.remove`."""
        await self._store.remove(claim)

    async def compact(self, *, bytes_max: int | None = None) -> CompactReport:
        """See `HousekeepingPort.compact`."""
        report: CompactReport = await self._store.compact(bytes_max=bytes_max)
        return report

    async def verify(self) -> VerifyReport:
        """See `HousekeepingPort.verify`."""
        report: VerifyReport = await self._store.verify()
        return report


def _error(fault: StoreFault) -> StorageError:
    if fault.error == "full":
        return StorageFull(
            "The disk is full, as the plan of this FaultyStore says.",
            remedy="Let the plan end, or take what it says for granted.",
        )
    return StorageUnavailable(
        "The disk refuses, as the plan of this FaultyStore says.",
        remedy="Let the plan end, or take what it says for granted.",
    )
