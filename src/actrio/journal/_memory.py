"""The store in memory: the same promises but that of surviving, for tests and for throw-away work.

Records go through the same bytes as on a disk, so what cannot be written fails here as well, and
what is read is a copy.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Sequence

import attrs
import trio

from actrio.errors import InvalidRequest, LimitExceeded, NotFound
from actrio.journal._blobs import MemoryBlobs
from actrio.journal._claims import ClaimTable
from actrio.journal._envelope import MICRO, Heads, records_of, whole_microseconds
from actrio.journal._pending import counted, encoded
from actrio.journal._records import Record, StoredRecord
from actrio.journal._redact import RecordFilter
from actrio.journal._store import (
    READ_BYTES_MAX,
    Claim,
    CompactReport,
    SessionEntry,
    VerifyReport,
    checked_session,
)

__all__ = ["MemoryStore"]

BYTES_MAX = 1024 * 1024 * 1024
"""What all records may take: beyond it a disk is the right place."""


@attrs.define(slots=True)
class _Kept:
    """One session's appends: the last ``seq`` of each, and its payload."""

    ends: list[int] = attrs.field(factory=list)
    payloads: list[bytes] = attrs.field(factory=list)
    first_seq: int = 1
    checkpoint_seq: int = 0
    updated: float = 0.0
    waiting: int = 0
    created: float = 0.0

    @property
    def last_seq(self) -> int:
        return self.ends[-1] if self.ends else 0


class MemoryStore:
    """A `StorePort` and `HousekeepingPort` without a disk.

    Args:
        redact: Goes over each record before it is kept, see `redact_record`.
        now: The wall clock, in seconds since 1970.

    Attributes:
        blobs: Large values beside the records, a `BlobPort`.
    """

    def __init__(
        self, *, redact: RecordFilter | None = None, now: Callable[[], float] = time.time
    ) -> None:
        self._redact = redact
        self._now = now
        self._claims = ClaimTable()
        self._heads = Heads()
        self._kept: dict[str, _Kept] = {}
        self._bytes = 0
        self._changed = trio.lowlevel.ParkingLot()
        self.blobs = MemoryBlobs(now=now)

    async def claim(self, session: str, owner: str, *, insist: bool = False) -> Claim:
        """Become the one who writes ``session``; see `StorePort.claim`."""
        await trio.lowlevel.checkpoint()
        checked_session(session)
        fresh = self._claims.decide(session, owner, 0, insist=insist, lives=lambda _: True)
        if fresh is not None:
            self._claims.held[session] = fresh
            self._claims.serial = fresh.epoch
        kept = self._kept.get(session, _Kept())
        epoch = self._claims.held[session].epoch
        return Claim(session, owner, epoch, kept.last_seq, kept.checkpoint_seq)

    async def renew(self, claim: Claim) -> None:
        """Check the claim; see `StorePort.renew`."""
        await trio.lowlevel.checkpoint()
        self._check(claim.session, claim.epoch)

    def _check(self, session: str, epoch: int) -> None:
        error = self._claims.check(session, epoch, 0)
        if error is not None:
            raise error

    async def append(
        self,
        session: str,
        epoch: int,
        expected_seq: int,
        records: Sequence[Record],
        *,
        sync: bool = False,  # noqa: ARG002 - nothing here is ever synced
        ts: float | None = None,
    ) -> int:
        """Add ``records`` together or not at all; see `StorePort.append`."""
        await trio.lowlevel.checkpoint()
        body = encoded(records, self._redact)
        self._check(session, epoch)
        kept = self._kept.get(session) or _Kept()
        if kept.last_seq != expected_seq:
            from actrio.journal._batch import out_of_order  # late: the rest there is for files

            raise out_of_order(session, expected_seq, kept.last_seq)
        if self._bytes + len(body) > BYTES_MAX:
            raise LimitExceeded(
                f"The store in memory would take more than {BYTES_MAX} bytes.",
                remedy="Use the embedded store.",
            )
        number, (change, least) = counted(records)
        if number >= 0:
            kept.checkpoint_seq = expected_seq + 1 + number
        micro = whole_microseconds(ts if ts is not None else self._now())
        kept.updated = micro / MICRO
        kept.created = kept.created if kept.ends else kept.updated
        kept.waiting = max(kept.waiting + change, least)
        pieces = self._heads.pieces(
            session,
            expected_seq + 1,
            len(records),
            epoch,
            None,
            kept.first_seq,
            kept.checkpoint_seq,
            micro,
            kept.waiting,
            0,
            kept.created,
            body,
        )
        kept.ends.append(expected_seq + len(records))
        kept.payloads.append(b"".join(pieces[:-1]))
        self._bytes += len(body)
        self._kept[session] = kept
        self._changed.unpark_all()
        return expected_seq + len(records)

    async def read(
        self, session: str, from_seq: int | None = None, *, bytes_max: int = READ_BYTES_MAX
    ) -> tuple[StoredRecord, ...]:
        """Return the session's records; see `StorePort.read`."""
        await trio.lowlevel.checkpoint()
        kept = self._kept.get(session)
        if kept is None:
            raise NotFound(
                f"There is no session {session}.", remedy="List the sessions, or create it."
            )
        start = max(kept.checkpoint_seq, kept.first_seq) if from_seq is None else from_seq
        if start < kept.first_seq:
            raise NotFound(
                f"The records of session {session} before {kept.first_seq} were trimmed.",
                remedy=f"Read from {kept.first_seq} on.",
                data={"first_seq": kept.first_seq},
            )
        chosen = [
            payload for end, payload in zip(kept.ends, kept.payloads, strict=True) if end >= start
        ]
        if sum(map(len, chosen)) > bytes_max:
            raise LimitExceeded(
                f"The records of session {session} from {start} on take more than"
                f" {bytes_max} bytes.",
                remedy="Read from a later record, or write checkpoints more often.",
            )
        found = [record for payload in chosen for record in records_of(payload)]
        return tuple(record for record in found if record.seq >= start)

    async def watch(self, session: str, after_seq: int) -> int:
        """Wait until the session has records after ``after_seq``; see `StorePort.watch`."""
        await trio.lowlevel.checkpoint()
        while True:
            kept = self._kept.get(session)
            if kept is not None and kept.last_seq > after_seq:
                return kept.last_seq
            await self._changed.park()

    async def release(self, claim: Claim) -> None:
        """Give a claim back; see `HousekeepingPort.release`."""
        await trio.lowlevel.checkpoint()
        holder = self._claims.held.get(claim.session)
        if holder is not None and holder.epoch == claim.epoch:
            del self._claims.held[claim.session]
            self._heads.forget(claim.session)

    async def list(
        self, *, after: str = "", limit: int = 1000, waiting_only: bool = False
    ) -> tuple[SessionEntry, ...]:
        """Return sessions in the order of their ids; see `HousekeepingPort.list`."""
        await trio.lowlevel.checkpoint()
        chosen = (
            one
            for one, kept in self._kept.items()
            if one > after and (kept.waiting or not waiting_only)
        )
        return tuple(self._entry(session) for session in heapq.nsmallest(limit, chosen))

    def _entry(self, session: str) -> SessionEntry:
        kept, holder = self._kept[session], self._claims.held.get(session)
        return SessionEntry(
            session,
            kept.last_seq,
            kept.first_seq,
            kept.checkpoint_seq,
            kept.updated,
            holder.owner if holder is not None else None,
            kept.waiting,
            kept.created,
        )

    async def trim(self, claim: Claim, before_seq: int) -> None:
        """Let the records before ``before_seq`` be dropped; see `HousekeepingPort.trim`."""
        await trio.lowlevel.checkpoint()
        self._check(claim.session, claim.epoch)
        kept = self._kept.get(claim.session)
        if kept is None or not 1 <= before_seq <= kept.checkpoint_seq:
            raise InvalidRequest(
                f"Session {claim.session} has no checkpoint at or after {before_seq} to begin at.",
                remedy="Append a checkpoint, then trim what stands before it.",
            )
        kept.first_seq = max(kept.first_seq, before_seq)
        whole = sum(end < kept.first_seq for end in kept.ends)
        self._bytes -= sum(map(len, kept.payloads[:whole]))
        del kept.ends[:whole], kept.payloads[:whole]

    async def remove(self, claim: Claim) -> None:
        """Remove the session with all its records; see `HousekeepingPort.remove`."""
        await trio.lowlevel.checkpoint()
        self._check(claim.session, claim.epoch)
        kept = self._kept.pop(claim.session, _Kept())
        self._bytes -= sum(map(len, kept.payloads))
        del self._claims.held[claim.session]

    async def compact(self, *, bytes_max: int | None = None) -> CompactReport:  # noqa: ARG002
        """Report that nothing is kept that could be given back."""
        await trio.lowlevel.checkpoint()
        appends = sum(len(kept.payloads) for kept in self._kept.values())
        return CompactReport(appends, appends, self._bytes, self._bytes)

    async def verify(self) -> VerifyReport:
        """Report that there is nothing that could rot."""
        await trio.lowlevel.checkpoint()
        return VerifyReport(0, 0, len(self._kept), ())
