"""A store's folder, as one process uses it. Everything here blocks; one thread at a time writes.

::

    claims.log  claims.lock  claims.gate    who owns which session
    slots/0000.lock …                       one for each process that writes, held while it lives
    segments/0000-00000001.seg …            its appends

A process takes the lowest slot that is free and goes on where the slot's last process stopped. A
slot's lock tells whether its process lives, so the end of an owner is seen at once, without a
clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Self

import attrs

from actrio.errors import (
    ActrioError,
    LimitExceeded,
    StorageDamaged,
    StorageUnavailable,
)
from actrio.journal._batch import Commit, Pending, plan
from actrio.journal._claims import entry_of
from actrio.journal._claims_file import ClaimsFile
from actrio.journal._disk import Disk, DiskFile, DiskLock
from actrio.journal._envelope import Place, envelope_of, records_of
from actrio.journal._frames import Frame
from actrio.journal._index import Entry, Index
from actrio.journal._records import StoredRecord
from actrio.journal._segments import (
    SEGMENT_BYTES_MAX,
    Reached,
    SegmentWriter,
    load_slot,
    read_frame,
    segment_name,
    slots_of,
)
from actrio.journal._store import Claim

__all__ = ["ClaimRequest", "JournalFiles"]

SLOTS_MAX: Final = 256
"""Processes that write one store at once; each looks at all slots when it opens."""


@attrs.frozen(slots=True)
class ClaimRequest:
    """Somebody wants a session, or gives it back."""

    session: str
    owner: str
    insist: bool = False
    release_epoch: int | None = None


class JournalFiles:
    """The slot, the segments and the claims of one process."""

    def __init__(self, disk: Disk, *, segment_bytes_max: int = SEGMENT_BYTES_MAX) -> None:
        self.disk = disk
        self.index = Index()
        self._segment_bytes_max = segment_bytes_max
        self._reached: dict[int, Reached] = {}

    def open(self) -> None:
        """Take a slot, cut off what is torn and read where every session ends.

        Raises:
            StorageDamaged: Something does not check.
            StorageUnavailable: All slots are taken.
            OSError: The disk refuses.
        """
        for folder in ("", "slots", "segments"):
            self.disk.make_folder(folder)
        self.claims = ClaimsFile(self.disk)
        self._slot_lock: DiskLock | None = None
        try:
            with self.claims.opening():
                alone = self._take_slot()
                self._load_all()
                self.claims.begin(alone=alone, serial=self.index.epoch_max)
                self.index.all_seen()
                self.writer = SegmentWriter.resume(
                    self.disk, self.slot, self._reached.get(self.slot)
                )
        except BaseException:
            self.claims.close()
            if self._slot_lock is not None:
                self._slot_lock.close()
            raise

    def _take_slot(self) -> bool:
        """Lock the lowest free slot; return whether no other slot is taken."""
        self.slot, alone = -1, True
        for slot in range(SLOTS_MAX):
            name = f"slots/{slot:04}.lock"
            if self.slot >= 0 and self.disk.identity(name) is None:
                break
            lock = self.disk.lock(name)
            if not lock.try_exclusive():
                alone = False
                lock.close()
            elif self.slot < 0:
                self.slot, self._slot_lock = slot, lock
            else:
                lock.close()
        if self.slot < 0:
            raise StorageUnavailable(
                f"{SLOTS_MAX} processes write this store already.", remedy="End some of them."
            )
        return alone

    def _load_all(self) -> None:
        """Read what is new in every slot but what this process wrote itself."""
        for slot, numbers in slots_of(self.disk).items():
            since = self._reached.get(slot, Reached())
            self._reached[slot] = load_slot(self.disk, slot, numbers, self.index, since)

    def refresh(self) -> None:
        """Read what other processes have written."""
        for slot, numbers in slots_of(self.disk).items():
            if slot == self.slot:
                continue
            since = self._reached.get(slot, Reached())
            self._reached[slot] = load_slot(self.disk, slot, numbers, self.index, since)

    def lives(self, slot: int) -> bool:
        """Whether the process of a slot lives."""
        if slot == self.slot:
            return True
        lock = self.disk.lock(f"slots/{slot:04}.lock")
        try:
            return not lock.try_exclusive()
        finally:
            lock.close()

    @property
    def segment_full(self) -> bool:
        """Whether the next append belongs into a new segment."""
        return self.writer.offset >= self._segment_bytes_max

    def planned(self, batch: Sequence[Pending]) -> Commit:
        """Decide what of ``batch`` is written and how; claimers are kept away meanwhile."""
        return plan(
            batch, self.index, self.claims.table, self.writer.place, synced=self.writer.synced
        )

    def written(self, commit: Commit) -> None:
        """Take what was written into the index."""
        for session, entry in commit.changes.items():
            if entry is None:
                self.index.forget(session)
            else:
                self.index.put(session, entry)

    def claim(self, requests: Sequence[ClaimRequest]) -> list[Claim | ActrioError | None]:
        """Decide about claims and releases; a release is answered with ``None``.

        Raises:
            OSError: None of them holds.
            StorageError: None of them holds.
        """
        with self.claims.exclusive():
            self.refresh()
            return [self._claimed(request) for request in requests]

    def _claimed(self, request: ClaimRequest) -> Claim | ActrioError | None:
        table, session = self.claims.table, request.session
        holder = table.held.get(session)
        if request.release_epoch is not None:
            if holder is not None and holder.epoch == request.release_epoch:
                self.claims.write([entry_of(session, holder, released=True)])
            return None
        try:
            fresh = table.decide(
                session, request.owner, self.slot, insist=request.insist, lives=self.lives
            )
        except ActrioError as error:
            return error
        if fresh is not None:
            self.claims.write([entry_of(session, fresh)])
        now = fresh or table.held[session]
        entry = self.index.get(session)
        return Claim(
            session,
            request.owner,
            now.epoch,
            entry.last_seq if entry is not None else 0,
            entry.checkpoint_seq if entry is not None else 0,
        )

    def read(
        self, session: str, entry: Entry, from_seq: int, bytes_max: int
    ) -> tuple[StoredRecord, ...]:
        """Return a session's records from ``from_seq`` on; see `StorePort.read`."""
        payloads: list[bytes] = []
        size_bytes = 0
        with _Segments(self.disk) as segments:
            place: Place | None = entry.place
            expected = entry.last_seq
            while place is not None and expected >= from_seq:
                frame = segments.frame(place, session)
                envelope = envelope_of(frame.payload) if frame.kind == "append" else None
                if envelope is None or (envelope.session, envelope.last_seq) != (session, expected):
                    raise _broken_chain(session, place, expected)
                size_bytes += len(frame.payload)
                if size_bytes > bytes_max:
                    raise _too_large(session, from_seq, bytes_max)
                payloads.append(frame.payload)
                if envelope.prev is None and envelope.seq != 1:
                    raise _broken_chain(session, place, envelope.seq - 1)
                place = Place(*envelope.prev) if envelope.prev is not None else None
                expected = envelope.seq - 1
        found = [record for payload in reversed(payloads) for record in records_of(payload)]
        return tuple(record for record in found if record.seq >= from_seq)

    def sync(self) -> None:
        """Sync what was written."""
        self.writer.sync()

    def close(self, *, keep: bool) -> None:
        """Give the slot back; sync first if ``keep``."""
        try:
            if keep:
                self.writer.sync()
        finally:
            self.writer.close()
            self.claims.close()
            if self._slot_lock is not None:
                self._slot_lock.close()


class _Segments:
    """The segments that one read touches, open while it lasts."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._files: dict[tuple[int, int], DiskFile] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files.values():
            file.close()

    def frame(self, place: Place, session: str) -> Frame:
        file = self._files.get(place[:2])
        if file is None:
            try:
                file = self._disk.open(segment_name(place.slot, place.segment))
            except FileNotFoundError as error:
                raise _broken_chain(session, place, 0) from error
            self._files[place[:2]] = file
        return read_frame(file, place, session=session)


def _broken_chain(session: str, place: Place, seq: int) -> StorageDamaged:
    name = segment_name(place.slot, place.segment)
    return StorageDamaged(
        f"The record {seq} of session {session} is not at byte {place.offset} of {name}.",
        file=name,
        offset=place.offset,
        session=session,
        remedy="Nothing was altered. Verify the store, and restore the file from a backup.",
    )


def _too_large(session: str, from_seq: int, bytes_max: int) -> LimitExceeded:
    return LimitExceeded(
        f"The records of session {session} from {from_seq} on take more than {bytes_max} bytes.",
        remedy="Read from a later record, or write checkpoints more often.",
    )
