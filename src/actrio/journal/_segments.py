"""Segment files: one row of them for each slot, written by the slot's process only.

``segments/SLOT-NUMBER.seg`` begins with a *head* that names slot and number, so that a file under a
wrong name is found out. A full one ends with a *seal* and is never written again; so of a slot's
segments only the last may lack its end. Numbers begin at 1 and have no gap: a missing file is
damage, no shorter truth.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, Literal, NamedTuple

import attrs

from actrio.errors import StorageDamaged
from actrio.journal._disk import Disk, DiskFile
from actrio.journal._envelope import Place, envelope_of, json_of
from actrio.journal._frames import HEADER_BYTES, Frame, Scan, encode_frame, frame_at, scan
from actrio.journal._index import Index
from actrio.journal._packed_segments import Unreadable, read_packed
from actrio.journal._rows import Row, Segment, segment_name
from actrio.wire import json_line

__all__ = [
    "DAMAGE_REMEDY",
    "SEGMENT_BYTES_MAX",
    "Reached",
    "SegmentWriter",
    "damaged",
    "load_slot",
    "read_frame",
    "sealed_frames",
    "show",
    "unsealed_frames",
]

SEGMENT_BYTES_MAX: Final = 64 * 1024 * 1024
"""A segment is read in one piece at opening, and its sealing costs one more sync."""

SEGMENT_FORMAT: Final = 1

FIRST_READ_BYTES: Final = 4096
"""Most appends fit into one page, so most reads are one call."""

DAMAGE_REMEDY: Final = (
    "Nothing was altered. Copy the folder away and look at the disk's health. `actrio sessions"
    " verify` names every place that does not check; put the file back from a backup, or keep what"
    " is intact with `actrio sessions repair`."
)


class Reached(NamedTuple):
    """How far a slot was read. ``state`` tells what is there: its end, a seal, a torn tail."""

    segment: int = 0
    offset: int = 0
    state: Literal["open", "sealed", "torn"] = "open"


def load_slot(disk: Disk, slot: int, row: Row, index: Index, since: Reached) -> tuple[Reached, int]:
    """Show every frame behind ``since`` to ``index``; return how far that goes, and the bytes read.

    Raises:
        StorageDamaged: Something in a segment does not check; nothing was altered.
    """
    if row.missing is not None:
        raise damaged(segment_name(slot, row.missing), 0, "this segment is missing")
    if row.last < since.segment:
        raise damaged(segment_name(slot, row.last + 1), 0, "this segment is missing")
    reached, size = since, 0
    for segment in row.segments:
        if segment.last < since.segment or (segment.last, "sealed") == (since.segment, since.state):
            continue
        if segment is row.segments[-1] and _has_nothing_new(disk, segment, since):
            continue
        data = disk.read(segment.name)
        if segment.packed:
            size += len(data)
            _load_packed(data, segment, index, since)
            reached = Reached(segment.last, 0, "sealed")
            continue
        start = since.offset if segment.last == since.segment else 0
        if start > len(data):
            raise damaged(segment.name, len(data), "what was there and synced is gone")
        size += len(data) - start
        found = scan(data, start=start)
        reached = _judged(segment, found, start, last=segment is row.segments[-1])
        for frame in found.frames:
            show(index, Place(slot, segment.last, frame.offset), frame)
    return reached, size


def _has_nothing_new(disk: Disk, segment: Segment, since: Reached) -> bool:
    if segment.packed or (segment.last, "open") != (since.segment, since.state):
        return False
    identity = disk.identity(segment.name)
    return identity is not None and identity[1] == since.offset


def _load_packed(data: bytes, segment: Segment, index: Index, since: Reached) -> None:
    try:
        read = read_packed(data, segment)
    except Unreadable as error:
        raise damaged(segment.name, error.offset, error.reason) from error
    index.saw_serial(read.serial)
    for place, frame in read.frames:
        # What was seen before must not be shown again: it may have been removed meanwhile.
        if place[1:] >= since[:2]:
            show(index, place, frame)


def _judged(segment: Segment, found: Scan, start: int, *, last: bool) -> Reached:
    verdict, frames, name = found.verdict, found.frames, segment.name
    if verdict.state == "damaged":
        raise damaged(name, verdict.offset, verdict.reason)
    if start == 0 and frames:
        _check_head(segment, frames[0])
    seals = [frame for frame in frames if frame.kind == "seal"]
    sealed = bool(seals)
    if sealed and (seals[0] is not frames[-1] or verdict.state != "clean"):
        raise damaged(name, seals[0].end, "something follows the end of a full segment")
    if not last and not sealed:
        raise damaged(name, verdict.offset, "a full segment has lost its end")
    if sealed:
        return Reached(segment.last, verdict.offset, "sealed")
    return Reached(segment.last, verdict.offset, "torn" if verdict.state == "torn" else "open")


def _check_head(segment: Segment, frame: Frame) -> None:
    told: dict[str, Any] = json_of(frame.payload) if frame.kind == "head" else {}
    if (told.get("slot"), told.get("segment")) != (segment.slot, segment.last):
        raise damaged(segment.name, 0, "it does not begin as this segment")
    if told.get("format") != SEGMENT_FORMAT:
        raise damaged(segment.name, 0, f"its format {told.get('format')} is not known here")


def show(index: Index, place: Place, frame: Frame) -> None:
    """Let ``index`` take in one frame of a segment."""
    if frame.kind == "append":
        index.saw_append(envelope_of(frame.payload), place)
    elif frame.kind == "remove":
        told = json_of(frame.payload)
        index.saw_removal(told["session"], told["epoch"])
    elif frame.kind == "trim":
        told = json_of(frame.payload)
        index.saw_trim(told["session"], told["epoch"], told["before_seq"])


def sealed_frames(
    data: bytes, segment: Segment, *, pause: Callable[[], None] | None = None
) -> tuple[int, list[tuple[Place, Frame]]] | None:
    """Return a full segment's frames with their places, and the highest serial it was told of.

    Returns:
        ``None`` if it is not full: its process still writes it, or ended before.

    Raises:
        StorageDamaged: Something in it does not check.
    """
    if segment.packed:
        try:
            read = read_packed(data, segment, pause=pause)
        except Unreadable as error:
            raise damaged(segment.name, error.offset, error.reason) from error
        return read.serial, list(read.frames)
    found = scan(data, pause=pause)
    if _judged(segment, found, 0, last=True).state != "sealed":
        return None
    return 0, _placed(segment, found.frames)


def unsealed_frames(data: bytes, segment: Segment) -> list[tuple[Place, Frame]]:
    """Return the frames of a segment that is being written, with their places."""
    return _placed(segment, scan(data).frames)


def _placed(segment: Segment, frames: tuple[Frame, ...]) -> list[tuple[Place, Frame]]:
    return [
        (Place(segment.slot, segment.last, frame.offset), frame)
        for frame in frames
        if frame.kind not in {"head", "seal"}
    ]


def read_frame(file: DiskFile, name: str, offset: int, *, session: str) -> Frame:
    """Return the frame at ``offset`` of the file ``name``.

    Raises:
        StorageDamaged: There is no intact frame.
    """
    data = file.read_at(offset, FIRST_READ_BYTES)
    found = frame_at(data, 0, offset=offset)
    if not isinstance(found, Frame) and len(data) == FIRST_READ_BYTES:
        length = int.from_bytes(data[8:12], "little")
        data = file.read_at(offset, HEADER_BYTES + length)
        found = frame_at(data, 0, offset=offset)
    if not isinstance(found, Frame):
        raise damaged(name, offset, found.reason or "the file ends before it", session)
    return found


def damaged(name: str, offset: int, reason: str, session: str | None = None) -> StorageDamaged:
    """Return the error for a place of a segment that does not check."""
    whose = f" of session {session}" if session else ""
    return StorageDamaged(
        f"{name} is damaged at byte {offset}{whose}: {reason}.",
        file=name,
        offset=offset,
        session=session,
        remedy=DAMAGE_REMEDY,
    )


def _sync_file(disk: Disk, name: str) -> None:
    file = disk.open(name)
    try:
        file.sync()
    finally:
        file.close()


@attrs.define(slots=True)
class SegmentWriter:
    """The end of a slot's last segment.

    Attributes:
        synced: How much of the segment is known to be on the disk.
    """

    disk: Disk
    slot: int
    number: int
    file: DiskFile
    offset: int
    synced: int
    # A sync in one thread and the change to the next segment in another exclude each other.
    lock: threading.Lock = attrs.field(factory=threading.Lock)

    @classmethod
    def create(cls, disk: Disk, slot: int, number: int) -> SegmentWriter:
        """Begin a segment; its head and its name are synced."""
        told = {"format": SEGMENT_FORMAT, "slot": slot, "segment": number}
        file = disk.open(segment_name(slot, number), create=True)
        head = encode_frame("head", json_line(told), offset=0, synced=0)
        try:
            file.truncate(0)
            file.write_at(0, head)
            file.sync()
            disk.sync_folder("segments")
        except OSError:
            file.close()
            raise
        return cls(disk, slot, number, file, len(head), len(head))

    @classmethod
    def resume(cls, disk: Disk, slot: int, reached: Reached | None) -> SegmentWriter:
        """Go on where the slot's last process stopped: cut off what is torn, or begin a segment."""
        if reached is None or reached.segment == 0:
            return cls.create(disk, slot, 1)
        if reached.state == "sealed":
            # Its last process may have been killed between writing the seal and syncing it.
            with suppress(FileNotFoundError):
                _sync_file(disk, segment_name(slot, reached.segment))
            return cls.create(disk, slot, reached.segment + 1)
        if reached.offset == 0:
            return cls.create(disk, slot, reached.segment)
        file = disk.open(segment_name(slot, reached.segment))
        try:
            if reached.state == "torn":
                file.truncate(reached.offset)
            # What the last process left unsynced is read from here on, so it is synced first; its
            # name as well, for it may have been killed between the two.
            file.sync()
            disk.sync_folder("segments")
        except OSError:
            file.close()
            raise
        return cls(disk, slot, reached.segment, file, reached.offset, reached.offset)

    @property
    def place(self) -> Place:
        return Place(self.slot, self.number, self.offset)

    @property
    def dirty(self) -> bool:
        return self.synced < self.offset

    def write(self, data: bytes, sync: bool) -> None:
        """Add ``data`` at the end; on an error nothing of it stays, where the disk allows that."""
        before = self.offset
        try:
            self.file.write_at(before, data)
            self.offset = before + len(data)
            if sync:
                self.sync()
        except OSError:
            self.offset = before
            self.file.truncate(before)
            raise

    def sync(self) -> None:
        """Sync what is written up to now."""
        with self.lock:
            reach = self.offset
            if self.synced < reach:
                self.file.sync()
                self.synced = reach

    def rotate(self) -> None:
        """Seal this segment and begin the next."""
        told = {"bytes": self.offset}
        seal = encode_frame("seal", json_line(told), offset=self.offset, synced=self.synced)
        self.write(seal, True)
        fresh = SegmentWriter.create(self.disk, self.slot, self.number + 1)
        with self.lock:
            self.file.close()
            self.number, self.file = fresh.number, fresh.file
            self.offset, self.synced = fresh.offset, fresh.synced

    def close(self) -> None:
        with self.lock:
            self.file.close()
