"""The embedded store: a folder, one writing task, group commit (`_writer.py`)."""

from __future__ import annotations

import functools
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, TypeVar

import trio

from actrio.errors import (
    ActrioError,
    InvalidRequest,
    NotFound,
    StorageDamaged,
)
from actrio.journal._blobs import BLOBS_BYTES_MAX
from actrio.journal._blobs_files import BlobFiles
from actrio.journal._blobs_store import EmbeddedBlobs
from actrio.journal._claims import fenced
from actrio.journal._disk import Disk, RealDisk
from actrio.journal._files import INDEX_BYTES_MAX, ClaimRequest, JournalFiles
from actrio.journal._housekeeping import Housekeeping
from actrio.journal._index import Entry
from actrio.journal._index_keeper import keep_index
from actrio.journal._pending import Waiting, counted, encoded
from actrio.journal._records import Record, StoredRecord
from actrio.journal._redact import RecordFilter
from actrio.journal._segments import SEGMENT_BYTES_MAX
from actrio.journal._store import (
    READ_BYTES_MAX,
    Claim,
    CompactReport,
    Durability,
    SessionEntry,
    StoreStatistics,
    VerifyReport,
    checked_session,
)
from actrio.journal._writer import Writer

__all__ = ["EmbeddedStore", "open_embedded_store"]

T = TypeVar("T")

READS_MAX: Final = 4
"""Reads at once, each in a thread: more of them only compete for the interpreter."""

WATCH_POLL_SECONDS: Final = 0.2
"""How often a session that another process writes is looked at."""


class EmbeddedStore:
    """A `StorePort` and `HousekeepingPort` over a folder; made by `open_embedded_store`.

    Attributes:
        blobs: Large values beside the records, a `BlobPort`.
    """

    def __init__(
        self,
        writer: Writer,
        *,
        redact: RecordFilter | None,
        now: Callable[[], float],
        blobs_bytes_max: int,
    ) -> None:
        self._writer = writer
        self._files = writer.files
        self._redact = redact
        self._now = now
        self._reads = trio.CapacityLimiter(READS_MAX)
        self._house = Housekeeping(writer)
        self.blobs = EmbeddedBlobs(
            BlobFiles(self._files.disk, bytes_max=blobs_bytes_max),
            functools.partial(writer.in_thread, limiter=self._reads),
            writer.check_open,
        )

    # --- the store port

    async def claim(self, session: str, owner: str, *, insist: bool = False) -> Claim:
        """Become the one who writes ``session``; see `StorePort.claim`."""
        checked_session(session)
        await self._writer.caught_up(session)
        self._writer.check_open()
        answer = await self._writer.request(ClaimRequest(session, owner, insist))
        if isinstance(answer, ActrioError):
            raise answer
        assert isinstance(answer, Claim)
        return answer

    async def renew(self, claim: Claim) -> None:
        """Check the claim; this store sees an owner's end by itself."""
        await trio.lowlevel.checkpoint()
        holder = self._files.claims.table.held.get(claim.session)
        if holder is None or holder.epoch != claim.epoch:
            raise fenced(claim.session, claim.epoch, holder)

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
        """Add ``records`` together or not at all; see `StorePort.append`."""
        writer = self._writer
        body = encoded(records, self._redact)
        checkpoint, asked = counted(records)
        waiting = Waiting(
            "append",
            session,
            epoch,
            self._now() if ts is None else ts,
            expected_seq,
            len(records),
            checkpoint,
            body,
            asked,
            sync=sync or writer.durability == "always",
        )
        if writer.durability == "none" and not sync:
            await writer.append_ahead(waiting)
            return expected_seq + len(records)
        if not writer.accept_nowait(waiting):
            await writer.accept(waiting)
        # `Waiting.outcome`, here because each call on the way costs for each record.
        if not waiting.settled:
            waiting.task = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(waiting.abort)
        if waiting.error is not None:
            raise waiting.error
        return expected_seq + len(records)

    async def read(
        self, session: str, from_seq: int | None = None, *, bytes_max: int = READ_BYTES_MAX
    ) -> tuple[StoredRecord, ...]:
        """Return the session's records; see `StorePort.read`."""
        await self._writer.caught_up(session)
        entry = await self._writer.entry(session)
        while True:
            start = _start_of(session, entry, from_seq)
            assert entry is not None
            try:
                return await self._writer.in_thread(
                    self._files.read, session, entry, start, bytes_max, limiter=self._reads
                )
            except StorageDamaged:
                # It may have been trimmed or removed, and compacted, while it was being read.
                before, entry = entry, await self._writer.entry(session)
                now = (entry.born, entry.first_seq) if entry is not None else None
                if now == (before.born, before.first_seq):
                    raise

    async def watch(self, session: str, after_seq: int) -> int:
        """Wait until the session has records after ``after_seq``; see `StorePort.watch`."""
        while True:
            self._writer.check_open()
            await self._writer.caught_up(session)
            entry = await self._writer.entry(session)
            if entry is not None and entry.last_seq > after_seq:
                return entry.last_seq
            lot = self._writer.watched.setdefault(session, trio.lowlevel.ParkingLot())
            try:
                if self._writer.is_ours(session):
                    await lot.park()
                else:
                    with trio.move_on_after(WATCH_POLL_SECONDS):
                        await lot.park()
            finally:
                if not lot and self._writer.watched.get(session) is lot:
                    del self._writer.watched[session]

    # --- keeping house

    async def release(self, claim: Claim) -> None:
        """Give a claim back; see `HousekeepingPort.release`."""
        await self._writer.caught_up(claim.session)
        self._writer.check_open()
        await self._writer.request(
            ClaimRequest(claim.session, claim.owner, release_epoch=claim.epoch)
        )

    async def list(
        self, *, after: str = "", limit: int = 1000, waiting_only: bool = False
    ) -> tuple[SessionEntry, ...]:
        """Return sessions in the order of their ids; see `HousekeepingPort.list`."""
        await self._writer.flushed()
        await self._writer.seen_others()
        return await self._writer.between(
            functools.partial(self._entries, after, limit, waiting_only=waiting_only)
        )

    def _entries(self, after: str, limit: int, *, waiting_only: bool) -> tuple[SessionEntry, ...]:
        index, held = self._files.index, self._files.claims.table.held
        chosen = index.after(after, limit, waiting_only=waiting_only)
        entries = [(session, index.get(session)) for session in chosen]
        return tuple(
            SessionEntry(
                session,
                entry.last_seq,
                entry.first_seq,
                entry.checkpoint_seq,
                entry.updated,
                held[session].owner if session in held else None,
                entry.waiting,
                entry.created,
            )
            for session, entry in entries
            if entry is not None
        )

    async def trim(self, claim: Claim, before_seq: int) -> None:
        """Let the records before ``before_seq`` be dropped; see `HousekeepingPort.trim`."""
        await self._writer.caught_up(claim.session)
        entry = self._files.index.get(claim.session)
        if entry is None or not 1 <= before_seq <= entry.checkpoint_seq:
            raise InvalidRequest(
                f"Session {claim.session} has no checkpoint at or after {before_seq} to begin at.",
                remedy="Append a checkpoint, then trim what stands before it.",
            )
        await self._writer.written(
            Waiting(
                "trim",
                claim.session,
                claim.epoch,
                self._now(),
                before_seq=before_seq,
                sync=self._writer.durability == "always",
            )
        )

    async def remove(self, claim: Claim) -> None:
        """Remove the session with all its records; see `HousekeepingPort.remove`."""
        await self._writer.caught_up(claim.session)
        await self._writer.written(
            Waiting("remove", claim.session, claim.epoch, self._now(), sync=True)
        )
        await self.release(claim)

    async def compact(self, *, bytes_max: int | None = None) -> CompactReport:
        """Give back the space of what was trimmed or removed; see `HousekeepingPort.compact`."""
        return await self._house.compact(bytes_max)

    async def verify(self) -> VerifyReport:
        """Check every byte that is stored; see `HousekeepingPort.verify`."""
        return await self._house.verify()

    def statistics(self) -> StoreStatistics:
        """Return how much waits and how much was done."""
        return self._writer.statistics()


def _start_of(session: str, entry: Entry | None, from_seq: int | None) -> int:
    """Return where reading begins; raise `NotFound` for what is not there."""
    if entry is None:
        raise NotFound(f"There is no session {session}.", remedy="List the sessions, or create it.")
    start = max(entry.checkpoint_seq, entry.first_seq) if from_seq is None else from_seq
    if start < entry.first_seq:
        raise NotFound(
            f"The records of session {session} before {entry.first_seq} were trimmed.",
            remedy=f"Read from {entry.first_seq} on.",
            data={"first_seq": entry.first_seq},
        )
    return start


@asynccontextmanager
async def open_embedded_store(
    folder: Path | str,
    *,
    durability: Durability = "batch",
    batch_seconds: float = 0.05,
    redact: RecordFilter | None = None,
    segment_bytes_max: int = SEGMENT_BYTES_MAX,
    index_bytes_max: int = INDEX_BYTES_MAX,
    blobs_bytes_max: int = BLOBS_BYTES_MAX,
    disk: Disk | None = None,
    now: Callable[[], float] = time.time,
) -> AsyncIterator[EmbeddedStore]:
    """Open the store in ``folder``, making it where there is none; closed at the end of the block.

    Several processes may have the same folder open; each session has one owner among them.

    Args:
        folder: Where its files are; see `store_folder` for the usual place.
        durability: What an acknowledged append survives.
        batch_seconds: With ``batch`` and ``none``: how much of the latest, in seconds, a crash of
            the machine may take.
        redact: Goes over each record before it is written, see `redact_record`.
        segment_bytes_max: Where a file ends and the next begins.
        index_bytes_max: How much opening may have to read of the segments; when more was written,
            the index file is written anew.
        blobs_bytes_max: What all blobs together may take.
        disk: Stands in place of the operating system's disk.
        now: The wall clock, in seconds since 1970; it is only written down.

    *Cancellation*: what was accepted is still written, for at most ten seconds.

    Raises:
        StorageDamaged: Something stored does not check; nothing was altered.
        StorageUnavailable: The folder cannot be used.
    """
    files = JournalFiles(
        disk if disk is not None else RealDisk(Path(folder)),
        segment_bytes_max=segment_bytes_max,
        index_bytes_max=index_bytes_max,
    )
    writer = Writer(files, durability=durability, batch_seconds=batch_seconds)
    await writer.in_thread(files.open)
    store = EmbeddedStore(writer, redact=redact, now=now, blobs_bytes_max=blobs_bytes_max)
    body_error: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(writer.run)
            nursery.start_soon(keep_index, writer)
            if durability != "always":
                nursery.start_soon(writer.sync_behind)
            try:
                yield store
            except BaseException as error:
                body_error = error
                raise
            finally:
                with trio.CancelScope(shield=True):
                    await writer.drained()
                writer.stop()
                nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        # The block's own error comes out as it was raised; the nursery is none of its business.
        if body_error is not None and group.exceptions == (body_error,):
            raise body_error from body_error.__cause__
        raise
    finally:
        with trio.CancelScope(shield=True):
            await writer.in_thread(functools.partial(files.close, keep=not writer.failed))
