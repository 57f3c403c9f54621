"""A store's folder, as one process uses it. Everything here blocks; one thread at a time writes.

::

    claims.log  claims.lock  claims.gate    who owns which session
    index.snap  index.lock                  what opening would find in the segments
    slots/0000.lock …                       one for each process that writes, held while it lives
    segments/0000-00000001.seg …            its appends
    blobs/ab/b_ab….blob …  blobs.lock       large values
    house.lock                              held by who compacts or checks

A process takes the lowest slot that is free and goes on where the slot's last process stopped. A
slot's lock tells whether its process lives, so the end of an owner is seen at once, without a
clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing, suppress
from typing import Final

import attrs

from actrio.errors import ActrioError, StorageUnavailable
from actrio.journal._batch import Commit, Pending, plan
from actrio.journal._claims import entry_of
from actrio.journal._claims_file import ClaimsFile
from actrio.journal._compaction import Rewritten
from actrio.journal._disk import Disk, DiskLock
from actrio.journal._envelope import Heads, Place
from actrio.journal._index import Entry, Index
from actrio.journal._index_file import INDEX_NAME, IndexHead, index_bytes, index_row, read_index
from actrio.journal._packed_segments import Unreadable
from actrio.journal._reading import read_session
from actrio.journal._records import StoredRecord
from actrio.journal._rows import Row, rows_of, segment_name
from actrio.journal._segments import SEGMENT_BYTES_MAX, Reached, SegmentWriter, load_slot
from actrio.journal._store import Claim, VerifyProblem

__all__ = ["ClaimRequest", "JournalFiles"]

SLOTS_MAX: Final = 256
"""Processes that write one store at once; each looks at all slots when it opens."""


INDEX_BYTES_MAX: Final = 16 * 1024 * 1024
"""What opening may have to read of segments beside the index file: a quarter of a second."""

INDEX_AT_END_PART: Final = 64
"""At closing the index file is written for a part of that, as there is time for it."""


@attrs.frozen(slots=True)
class ClaimRequest:
    """Somebody wants a session, or gives it back."""

    session: str
    owner: str
    insist: bool = False
    release_epoch: int | None = None


class JournalFiles:
    """The slot, the segments and the claims of one process."""

    def __init__(
        self,
        disk: Disk,
        *,
        segment_bytes_max: int = SEGMENT_BYTES_MAX,
        index_bytes_max: int = INDEX_BYTES_MAX,
    ) -> None:
        self.disk = disk
        self.index = Index()
        self._heads = Heads()
        self.segment_bytes_max = segment_bytes_max
        self._index_bytes_max = index_bytes_max
        # How far each slot was read at opening and since; of this process's own, at opening.
        self._reached: dict[int, Reached] = {}
        # How far each other slot is known to be synced.
        self._others_synced: dict[int, tuple[int, int]] = {}
        # Bytes of frames that the index knows, and of those that its file knows too; the file's
        # size when it was last written.
        self._seen_bytes = 0
        self._filed_bytes = 0
        self.index_file_bytes = 0
        self.index_problem: VerifyProblem | None = None

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
                self.claims.begin(alone=alone, serial=self.index.serial)
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
        """Take the index from its file, and read what is behind it in every slot."""
        rows = rows_of(self.disk)
        with suppress(FileNotFoundError):
            data = self.disk.read(INDEX_NAME)
            try:
                self._reached = read_index(data, self.index).reach
                self.index_file_bytes = len(data)
            except Unreadable as error:
                self.index_problem = VerifyProblem(INDEX_NAME, error.offset, error.reason)
        for slot in self._reached.keys() | rows.keys():
            since = self._reached.get(slot, Reached())
            row = rows.get(slot, Row(()))
            self._reached[slot], size = load_slot(self.disk, slot, row, self.index, since)
            self._seen_bytes += size

    def refresh(self) -> None:
        """Read what other processes have written."""
        for slot, row in rows_of(self.disk).items():
            if slot == self.slot:
                continue
            since = self._reached.get(slot, Reached())
            self._reached[slot], size = load_slot(self.disk, slot, row, self.index, since)
            self._seen_bytes += size
        self.index.all_seen()

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
        return self.writer.offset >= self.segment_bytes_max

    def planned(self, batch: Sequence[Pending]) -> Commit:
        """Decide what of ``batch`` is written and how; claimers are kept away meanwhile."""
        writer = self.writer
        return plan(
            batch, self.index, self.claims.table, self._heads, writer.place, synced=writer.synced
        )

    def written(self, commit: Commit) -> None:
        """Take what was written into the index."""
        self._seen_bytes += len(commit.data)
        self.index.put_all(commit.changes)

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
                self._heads.forget(session)
            return None
        try:
            fresh = table.decide(
                session, request.owner, self.slot, insist=request.insist, lives=self.lives
            )
        except ActrioError as error:
            return error
        entry = self.index.get(session)
        if entry is not None:
            self._sync_other(entry.place)
        if fresh is not None:
            self.claims.write([entry_of(session, fresh)])
        now = fresh or table.held[session]
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
        return read_session(self.disk, session, entry, from_seq, bytes_max)

    def sync(self) -> None:
        """Sync what was written."""
        self.writer.sync()

    def _sync_other(self, place: Place) -> None:
        """Sync what another process wrote up to and with ``place``.

        A session's next append names this place, so it must not outlive it.
        """
        if place.slot == self.slot or place[1:] < self._others_synced.get(place.slot, (0, 0)):
            return
        reached = self._reached[place.slot]
        if place.segment < reached.segment:
            return  # a segment is synced before the next one is begun
        # A file that stands for several was synced when it was made.
        with (
            suppress(FileNotFoundError),
            closing(self.disk.open(segment_name(place.slot, place.segment))) as file,
        ):
            file.sync()
        self._others_synced[place.slot] = reached[:2]

    def sync_others(self) -> None:
        """Sync everything that the index knows of and others wrote."""
        for slot, reached in self._reached.items():
            if reached.segment > 0:
                self._sync_other(Place(slot, reached.segment, reached.offset))

    # --- compaction

    def others_live(self) -> bool:
        """Whether another process has the store open."""
        slots = (int(name[-9:-5]) for name in self.disk.names("slots"))
        return any(slot != self.slot and self.lives(slot) for slot in slots)

    def publish(self, made: Rewritten) -> bool:
        """Let a file stand for those it was made of; remove them.

        Returns:
            Whether that was possible. Not if something was left out of it that another process,
            which came meanwhile, may not know yet.
        """
        self.sync_others()
        new = f"{made.name}.new"
        self.disk.write_new(new, made.data)
        with self.claims.apart():
            if made.dropped and self.others_live():
                return False
            self.disk.put_in_place(new, made.name)
        for name in made.replaced:
            if name != made.name:
                self.disk.remove(name)
        return True

    # --- the index file

    @property
    def index_due(self) -> bool:
        """Whether opening would have to read so much that the index file is to be written anew."""
        behind = self._seen_bytes - self._filed_bytes
        return behind >= max(self._index_bytes_max, self.index_file_bytes, 1)

    def index_head(self) -> IndexHead:
        """Return how far the index reaches now; its rows are gathered after this."""
        place = self.writer.place
        serial = max(self.index.serial, self.claims.table.serial)
        own = {self.slot: Reached(place.segment, place.offset)}
        return IndexHead(serial, {**self._reached, **own}, self._seen_bytes)

    def index_rows(self, after: str, limit: int) -> tuple[str, list[bytes]] | None:
        """Return rows of up to ``limit`` sessions behind ``after`` and the last one's id."""
        chosen = self.index.after(after, limit)
        rows = [index_row(session, self.index.packed(session)) for session in chosen]
        return (chosen[-1], rows) if chosen else None

    def write_index(self, head: IndexHead, rows: list[bytes]) -> bool:
        """Write the index file, unless another process is just doing that.

        What this process wrote must be synced up to where the rows were gathered.
        """
        lock = self.disk.lock("index.lock")
        try:
            if not lock.try_exclusive():
                self.index_put_off(head)
                return False
            self.sync_others()
            data = index_bytes(head, rows)
            self.disk.replace(INDEX_NAME, data)
        finally:
            lock.close()
        self._filed_bytes, self.index_file_bytes = head.seen_bytes, len(data)
        self.index_problem = None
        return True

    def index_put_off(self, head: IndexHead) -> None:
        """Try to write the index file again when as much has come as before."""
        self._filed_bytes = head.seen_bytes

    def _write_index_at_end(self) -> None:
        part = max(self._index_bytes_max, self.index_file_bytes) // INDEX_AT_END_PART
        if self._seen_bytes - self._filed_bytes <= part and self.index_problem is None:
            return
        head, found = self.index_head(), self.index_rows("", len(self.index))
        # What failed here is read from the segments again, and they are synced.
        with suppress(OSError):
            self.write_index(head, found[1] if found is not None else [])

    def close(self, *, keep: bool) -> None:
        """Give the slot back; sync first if ``keep``."""
        try:
            if keep:
                self.writer.sync()
                self._write_index_at_end()
        finally:
            self.writer.close()
            self.claims.close()
            if self._slot_lock is not None:
                self._slot_lock.close()
