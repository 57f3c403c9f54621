"""Reading one session: from its last append back, frame by frame, as far as is asked for."""

from __future__ import annotations

from typing import Final, Self

import attrs

from actrio.errors import LimitExceeded, StorageDamaged
from actrio.journal._disk import Disk, DiskFile
from actrio.journal._envelope import Place, envelope_of, records_of
from actrio.journal._frames import Frame
from actrio.journal._index import Entry
from actrio.journal._packed_segments import Unreadable, map_of, place_in
from actrio.journal._records import StoredRecord
from actrio.journal._rows import Segment, rows_of, segment_name
from actrio.journal._segments import DAMAGE_REMEDY, damaged, read_frame

__all__ = ["read_session"]

LOOKS_MAX: Final = 3
"""How often a file is looked for: it may be replaced by one that stands for more between two looks."""


def read_session(
    disk: Disk, session: str, entry: Entry, from_seq: int, bytes_max: int
) -> tuple[StoredRecord, ...]:
    """Return a session's records from ``from_seq`` on; see `StorePort.read`."""
    payloads: list[bytes] = []
    size_bytes = 0
    with _OpenSegments(disk) as segments:
        place: Place | None = entry.place
        expected = entry.last_seq
        while place is not None and expected >= from_seq:
            frame = segments.frame(place, session, expected)
            envelope = envelope_of(frame.payload) if frame.kind == "append" else None
            if (
                envelope is None
                or (envelope.session, envelope.last_seq) != (session, expected)
                or envelope.epoch < entry.born
            ):
                raise broken_chain(session, place, expected)
            size_bytes += len(frame.payload)
            if size_bytes > bytes_max:
                raise _too_large(session, from_seq, bytes_max)
            payloads.append(frame.payload)
            if envelope.prev is None and envelope.seq != 1:
                raise broken_chain(session, place, envelope.seq - 1)
            place = Place(*envelope.prev) if envelope.prev is not None else None
            expected = envelope.seq - 1
    found = [record for payload in reversed(payloads) for record in records_of(payload)]
    return tuple(record for record in found if record.seq >= from_seq)


@attrs.frozen(slots=True)
class _Opened:
    segment: Segment
    file: DiskFile
    # Where the rows of its map are and how many; ``None`` for a segment as it was written.
    rows: tuple[int, int] | None

    def has(self, place: Place) -> bool:
        one = self.segment
        return one.slot == place.slot and one.first <= place.segment <= one.last

    @property
    def name(self) -> str:
        return self.segment.name


class _OpenSegments:
    """The segments that one read touches, open while it lasts."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._opened: list[_Opened] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for one in self._opened:
            one.file.close()

    def frame(self, place: Place, session: str, seq: int) -> Frame:
        opened = next((one for one in self._opened if one.has(place)), None)
        if opened is None:
            opened = self._open(place, session, seq)
            self._opened.append(opened)
        if opened.rows is None:
            return read_frame(opened.file, opened.name, place.offset, session=session)
        try:
            now = place_in(opened.file, opened.rows, place)
        except Unreadable as error:
            raise damaged(opened.name, error.offset, error.reason, session) from error
        if now is None:
            raise broken_chain(session, place, seq)
        return read_frame(opened.file, opened.name, now, session=session)

    def _open(self, place: Place, session: str, seq: int) -> _Opened:
        opened = self._as_written(place)
        for _ in range(LOOKS_MAX):
            opened = opened or self._packed(place)
        if opened is None:
            raise broken_chain(session, place, seq)
        return opened

    def _as_written(self, place: Place) -> _Opened | None:
        name = segment_name(place.slot, place.segment)
        try:
            segment = Segment(place.slot, place.segment, place.segment, name, packed=False)
            return _Opened(segment, self._disk.open(name), None)
        except FileNotFoundError:
            return None

    def _packed(self, place: Place) -> _Opened | None:
        row = rows_of(self._disk).get(place.slot)
        segment = row.covering(place.segment) if row is not None else None
        if segment is None:
            return None
        try:
            file = self._disk.open(segment.name)
        except FileNotFoundError:
            return None
        try:
            rows = map_of(file) if segment.packed else None
        except Unreadable as error:
            file.close()
            raise damaged(segment.name, error.offset, error.reason) from error
        return _Opened(segment, file, rows)


def broken_chain(session: str, place: Place, seq: int) -> StorageDamaged:
    """Return the error for a record that is not where the one after it says."""
    name = segment_name(place.slot, place.segment)
    return StorageDamaged(
        f"The record {seq} of session {session} is not at byte {place.offset} of {name}.",
        file=name,
        offset=place.offset,
        session=session,
        remedy=DAMAGE_REMEDY,
    )


def _too_large(session: str, from_seq: int, bytes_max: int) -> LimitExceeded:
    return LimitExceeded(
        f"The records of session {session} from {from_seq} on take more than {bytes_max} bytes.",
        remedy="Read from a later record, or write checkpoints more often.",
    )
