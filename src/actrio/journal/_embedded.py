"""The embedded store: a folder, one writing task, group commit.

One task of this process writes (`EmbeddedStore._run`). It takes everything that waits, has it
written in a worker thread, and wakes the askers; what arrives meanwhile is the next batch. Claims
go through the same task, so commits and claims of one process never overlap; those of different
processes are kept apart by the lock of the claims file.

It is a task and not an actor with a mailbox: an append is one park and one wake, and that is a
fifth of what an ask costs.
"""

from __future__ import annotations

import heapq
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import trio

from actrio.actors import Slot
from actrio.errors import (
    ActrioError,
    Conflict,
    InvalidRequest,
    NotFound,
    StorageError,
    StorageUnavailable,
)
from actrio.journal._batch import Commit, choose
from actrio.journal._claims import fenced
from actrio.journal._disk import Disk, RealDisk, storage_error
from actrio.journal._files import ClaimRequest, JournalFiles
from actrio.journal._index import Entry
from actrio.journal._pending import Room, Waiting, checkpoint_in, encoded
from actrio.journal._records import Record, StoredRecord
from actrio.journal._redact import RecordFilter
from actrio.journal._segments import SEGMENT_BYTES_MAX
from actrio.journal._store import (
    READ_BYTES_MAX,
    Claim,
    Durability,
    SessionEntry,
    StoreStatistics,
    VerifyReport,
    checked_session,
)
from actrio.journal._verify import verify_disk

__all__ = ["EmbeddedStore", "open_embedded_store"]

T = TypeVar("T")

WAITING_ITEMS_MAX: Final = 10_000
"""Appends that wait to be written: a quarter of a second's worth of a fast disk."""

WAITING_BYTES_MAX: Final = 64 * 1024 * 1024
"""Bytes that wait to be written: two of the largest appends."""

READS_MAX: Final = 4
"""Reads at once, each in a thread: more of them only compete for the interpreter."""

WATCH_POLL_SECONDS: Final = 0.2
"""How often a session that another process writes is looked at."""

CLOSE_SECONDS: Final = 10.0
"""How long closing waits for what was accepted to be written."""


class EmbeddedStore:
    """A `StorePort` and `HousekeepingPort` over a folder; made by `open_embedded_store`."""

    def __init__(
        self,
        files: JournalFiles,
        *,
        durability: Durability,
        batch_seconds: float,
        redact: RecordFilter | None,
        now: Callable[[], float],
    ) -> None:
        self._files = files
        self._durability: Durability = durability
        self._batch_seconds = batch_seconds
        self._redact = redact
        self._now = now
        self._room = Room(WAITING_ITEMS_MAX, WAITING_BYTES_MAX)
        self._waiting: deque[Any] = deque()
        self._requests: deque[_Request] = deque()
        self._work = Slot()
        self._dirty = Slot()
        self._settled = trio.lowlevel.ParkingLot()
        self._writing = False
        # `none` only: the last seq of each session whose acknowledged appends are not written yet.
        self._ahead: dict[str, int] = {}
        self._watched: dict[str, trio.lowlevel.ParkingLot] = {}
        self._reads = trio.CapacityLimiter(READS_MAX)
        self._writes = trio.CapacityLimiter(2)
        self._ended: StorageError | None = None
        self._records = self._commits = self._syncs = self._bytes = 0

    # --- the store port

    async def claim(self, session: str, owner: str, *, insist: bool = False) -> Claim:
        """Become the one who writes ``session``; see `StorePort.claim`."""
        checked_session(session)
        self._check_open()
        answer = await self._request(ClaimRequest(session, owner, insist))
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
    ) -> int:
        """Add ``records`` together or not at all; see `StorePort.append`."""
        self._check_open()
        body = encoded(records, self._redact)
        waiting = Waiting(
            "append",
            session,
            epoch,
            self._now(),
            expected_seq=expected_seq,
            count=len(records),
            checkpoint=checkpoint_in(records),
            body=body,
            sync=sync or self._durability == "always",
        )
        if self._durability == "none" and not sync:
            await self._append_ahead(waiting)
        else:
            await self._written(waiting)
        return expected_seq + len(records)

    async def read(
        self, session: str, from_seq: int | None = None, *, bytes_max: int = READ_BYTES_MAX
    ) -> tuple[StoredRecord, ...]:
        """Return the session's records; see `StorePort.read`."""
        if session in self._ahead:
            await self._flushed()
        entry = await self._entry(session)
        if entry is None:
            raise NotFound(
                f"There is no session {session}.", remedy="List the sessions, or create it."
            )
        start = max(entry.checkpoint_seq, entry.first_seq) if from_seq is None else from_seq
        if start < entry.first_seq:
            raise NotFound(
                f"The records of session {session} before {entry.first_seq} were trimmed.",
                remedy=f"Read from {entry.first_seq} on.",
            )
        return await self._in_thread(
            self._files.read, session, entry, start, bytes_max, limiter=self._reads
        )

    async def watch(self, session: str, after_seq: int) -> int:
        """Wait until the session has records after ``after_seq``; see `StorePort.watch`."""
        while True:
            self._check_open()
            if session in self._ahead:
                await self._flushed()
            entry = await self._entry(session)
            if entry is not None and entry.last_seq > after_seq:
                return entry.last_seq
            lot = self._watched.setdefault(session, trio.lowlevel.ParkingLot())
            try:
                if self._is_ours(session):
                    await lot.park()
                else:
                    with trio.move_on_after(WATCH_POLL_SECONDS):
                        await lot.park()
            finally:
                if not lot and self._watched.get(session) is lot:
                    del self._watched[session]

    # --- keeping house

    async def release(self, claim: Claim) -> None:
        """Give a claim back; see `HousekeepingPort.release`."""
        if claim.session in self._ahead:
            await self._flushed()
        self._check_open()
        await self._request(ClaimRequest(claim.session, claim.owner, release_epoch=claim.epoch))

    async def list(self, *, after: str = "", limit: int = 1000) -> tuple[SessionEntry, ...]:
        """Return sessions in the order of their ids; see `HousekeepingPort.list`."""
        self._check_open()
        await self._request(None)
        chosen = heapq.nsmallest(limit, (one for one in self._files.index if one > after))
        held = self._files.claims.table.held
        entries = [(session, self._files.index.get(session)) for session in chosen]
        return tuple(
            SessionEntry(
                session,
                entry.last_seq,
                entry.first_seq,
                entry.checkpoint_seq,
                entry.updated,
                held[session].owner if session in held else None,
            )
            for session, entry in entries
            if entry is not None
        )

    async def trim(self, claim: Claim, before_seq: int) -> None:
        """Let the records before ``before_seq`` be dropped; see `HousekeepingPort.trim`."""
        if claim.session in self._ahead:
            await self._flushed()
        entry = self._files.index.get(claim.session)
        if entry is None or not 1 <= before_seq <= entry.checkpoint_seq:
            raise InvalidRequest(
                f"Session {claim.session} has no checkpoint at or after {before_seq} to begin at.",
                remedy="Append a checkpoint, then trim what stands before it.",
            )
        await self._written(
            Waiting("trim", claim.session, claim.epoch, self._now(), before_seq=before_seq)
        )

    async def remove(self, claim: Claim) -> None:
        """Remove the session with all its records; see `HousekeepingPort.remove`."""
        if claim.session in self._ahead:
            await self._flushed()
        await self._written(Waiting("remove", claim.session, claim.epoch, self._now(), sync=True))
        await self.release(claim)

    async def verify(self) -> VerifyReport:
        """Check every byte that is stored; see `HousekeepingPort.verify`."""
        await self._flushed()
        return await self._in_thread(verify_disk, self._files.disk, limiter=self._reads)

    def statistics(self) -> StoreStatistics:
        """Return how much waits and how much was done."""
        return StoreStatistics(
            sessions=len(self._files.index),
            claims=len(self._files.claims.table.held),
            records=self._records,
            commits=self._commits,
            syncs=self._syncs,
            bytes_written=self._bytes,
            append_items_waiting=self._room.items,
            append_bytes_waiting=self._room.bytes,
            append_items_peak=self._room.items_peak,
            read_only=self._ended.message if self._ended is not None else None,
        )

    # --- asking the writing task

    def _check_open(self) -> None:
        if self._ended is not None:
            raise _again(self._ended)

    async def _written(self, waiting: Waiting) -> None:
        await self._room.take(len(waiting.body))
        if self._ended is not None:
            self._room.give(len(waiting.body))
            raise _again(self._ended)
        self._waiting.append(waiting)
        self._work.wake()
        await waiting.outcome(self._take_back)

    def _take_back(self, waiting: Waiting) -> None:
        self._waiting.remove(waiting)
        self._room.give(len(waiting.body))

    async def _append_ahead(self, waiting: Waiting) -> None:
        """Acknowledge what is only in memory; it is checked as it will be when it is written."""
        await trio.lowlevel.checkpoint()
        await self._room.take(len(waiting.body))
        try:
            self._check_open()
            error = self._files.claims.table.check(
                waiting.session, waiting.epoch, self._files.slot
            ) or self._out_of_order(waiting)
            if error is not None:
                raise error
        except ActrioError:
            self._room.give(len(waiting.body))
            raise
        self._ahead[waiting.session] = waiting.expected_seq + waiting.count
        self._waiting.append(waiting)
        self._work.wake()

    def _out_of_order(self, waiting: Waiting) -> Conflict | None:
        entry = self._files.index.get(waiting.session)
        last_seq = self._ahead.get(waiting.session, entry.last_seq if entry is not None else 0)
        if waiting.expected_seq == last_seq:
            return None
        return Conflict(
            f"The last record of session {waiting.session} is {last_seq},"
            f" not {waiting.expected_seq}.",
            remedy="Read the session again; one task at a time appends to it.",
        )

    async def _request(self, what: ClaimRequest | None) -> Any:
        """Have a claim decided, or (``None``) what others wrote read."""
        request = _Request(what)
        self._requests.append(request)
        self._work.wake()
        await request.outcome(self._requests.remove)
        return request.answer

    async def _entry(self, session: str) -> Entry | None:
        if not self._is_ours(session):
            self._check_open()
            await self._request(None)
        else:
            await trio.lowlevel.checkpoint()
        return self._files.index.get(session)

    def _is_ours(self, session: str) -> bool:
        holder = self._files.claims.table.held.get(session)
        return holder is not None and holder.slot == self._files.slot

    async def _flushed(self) -> None:
        await trio.lowlevel.checkpoint()
        while (self._waiting or self._writing) and self._ended is None:
            await self._settled.park()

    # --- the writing task

    async def _run(self) -> None:
        while True:
            if self._requests:
                await self._answer_requests()
            elif self._waiting:
                await self._commit_next()
            else:
                await self._work.park()

    async def _answer_requests(self) -> None:
        requests = list(self._requests)
        self._requests.clear()
        for request in requests:
            request.taken = True
        asked = [request.what for request in requests if request.what is not None]
        try:
            answers = iter(await self._in_thread(self._files.claim, asked, limiter=self._writes))
        except ActrioError as error:
            for request in requests:
                request.settle(_again(error))
            return
        for request in requests:
            request.answer = next(answers) if request.what is not None else None
            request.settle()
        self._wake_watchers()

    async def _commit_next(self) -> None:
        batch = choose(self._waiting)
        for waiting in batch:
            waiting.taken = True  # type: ignore[attr-defined]
        self._writing = True
        try:
            commit = await self._in_thread(self._files.commit, batch, limiter=self._writes)
        except StorageError as error:
            self._failed(batch, error)
        else:
            self._done(commit)
        finally:
            self._writing = False
            for waiting in batch:
                self._room.give(len(waiting.body))
        self._settled.unpark_all()

    def _done(self, commit: Commit) -> None:
        self._commits += 1
        self._records += commit.records
        self._bytes += len(commit.data)
        self._syncs += commit.sync
        accepted: Any = commit.accepted
        refused: Any = commit.refused
        for waiting in accepted:
            waiting.settle()
            self._caught_up(waiting)
        for waiting, error in refused:
            waiting.settle(error)
            self._ahead.pop(waiting.session, None)
        if commit.data and not commit.sync:
            self._dirty.wake()
        if self._watched:
            for session in commit.changes:
                if session in self._watched:
                    self._watched[session].unpark_all()

    def _caught_up(self, waiting: Waiting) -> None:
        if self._ahead and self._ahead.get(waiting.session) == waiting.expected_seq + waiting.count:
            del self._ahead[waiting.session]

    def _failed(self, batch: Sequence[Any], error: StorageError) -> None:
        """Answer a batch of which nothing was written."""
        if isinstance(error.__cause__, OSError):
            self._end(error)
        for waiting in batch:
            waiting.settle(_again(error))
            self._ahead.pop(waiting.session, None)

    def _end(self, error: StorageError) -> None:
        """Write nothing more: after a failed write or sync only opening anew knows what is there."""
        self._ended = error
        while self._waiting:
            waiting = self._waiting.popleft()
            waiting.settle(_again(error))
            self._room.give(len(waiting.body))
        self._ahead.clear()
        self._settled.unpark_all()
        self._wake_watchers()

    def _wake_watchers(self) -> None:
        for lot in self._watched.values():
            lot.unpark_all()

    async def _sync_behind(self) -> None:
        """Sync what was acknowledged unsynced, at most ``batch_seconds`` after the first of it."""
        while True:
            if not self._files.writer.dirty:
                await self._dirty.park()
            await trio.sleep(self._batch_seconds)
            try:
                await self._in_thread(self._files.sync, limiter=self._writes)
                self._syncs += 1
            except StorageError as error:
                self._end(error)
                return

    async def _in_thread(
        self, work: Callable[..., T], *args: Any, limiter: trio.CapacityLimiter
    ) -> T:
        """Run blocking ``work`` to its end, whatever is cancelled meanwhile."""
        try:
            if self._files.disk.inline:
                return work(*args)
            with trio.CancelScope(shield=True):
                return await trio.to_thread.run_sync(work, *args, limiter=limiter)
        except OSError as error:
            raise storage_error(error, f"using {error.filename or 'the journal'}") from error

    async def _drained(self) -> None:
        """Write what was accepted; then refuse whatever comes."""
        with trio.move_on_after(CLOSE_SECONDS):
            await self._flushed()
        if self._ended is None:
            self._end(_closed())


class _Request(Waiting):
    __slots__ = ("answer", "what")

    def __init__(self, what: ClaimRequest | None) -> None:
        super().__init__("claim", "", 0, 0.0)
        self.what = what
        self.answer: Any = None


def _again(error: Exception) -> Exception:
    """Return the same error for one more asker; a raised one carries the way of its raiser."""
    if isinstance(error, StorageError) and type(error).__init__ is ActrioError.__init__:
        return type(error)(error.message, remedy=error.remedy, data=error.data)
    return error


def _closed() -> StorageError:
    return StorageUnavailable("The store is closed.", remedy="Open it again.")


@asynccontextmanager
async def open_embedded_store(
    folder: Path | str,
    *,
    durability: Durability = "batch",
    batch_seconds: float = 0.05,
    redact: RecordFilter | None = None,
    segment_bytes_max: int = SEGMENT_BYTES_MAX,
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
        disk: Stands in place of the operating system's disk.
        now: The wall clock, in seconds since 1970; it is only written down.

    *Cancellation*: what was accepted is still written, for at most ten seconds.

    Raises:
        StorageDamaged: Something stored does not check; nothing was altered.
        StorageUnavailable: The folder cannot be used.
    """
    files = JournalFiles(
        disk if disk is not None else RealDisk(Path(folder)), segment_bytes_max=segment_bytes_max
    )
    store = EmbeddedStore(
        files, durability=durability, batch_seconds=batch_seconds, redact=redact, now=now
    )
    await store._in_thread(files.open, limiter=store._writes)  # noqa: SLF001 - its other half
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(store._run)  # noqa: SLF001
            if durability != "always":
                nursery.start_soon(store._sync_behind)  # noqa: SLF001
            try:
                yield store
            finally:
                with trio.CancelScope(shield=True):
                    await store._drained()  # noqa: SLF001
                nursery.cancel_scope.cancel()
    finally:
        keep = store.statistics().read_only == _closed().message
        with trio.CancelScope(shield=True):
            await store._in_thread(_close, files, keep, limiter=store._writes)  # noqa: SLF001


def _close(files: JournalFiles, keep: bool) -> None:
    files.close(keep=keep)
