"""Segment files: one row of them for each slot, written by the slot's process only.

``segments/SLOT-NUMBER.seg`` begins with a *head* that names slot and number, so that a file under a
wrong name is found out. A full one ends with a *seal* and is never written again; so of a slot's
segments only the last may lack its end. Numbers have no gap: a missing file is damage, no shorter
truth.
"""

from __future__ import annotations

import re
import threading
from typing import Any, Final, Literal, NamedTuple

import attrs

from actrio.errors import StorageDamaged
from actrio.journal._disk import Disk, DiskFile
from actrio.journal._envelope import Place, envelope_of, json_of
from actrio.journal._frames import HEADER_BYTES, Frame, Scan, encode_frame, frame_at, scan
from actrio.journal._index import Index
from actrio.wire import json_line

__all__ = [
    "SEGMENT_BYTES_MAX",
    "Reached",
    "SegmentWriter",
    "load_slot",
    "read_frame",
    "segment_name",
    "slots_of",
]

SEGMENT_BYTES_MAX: Final = 64 * 1024 * 1024
"""A segment is read in one piece at opening, and its sealing costs one more sync."""

SEGMENT_FORMAT: Final = 1

FIRST_READ_BYTES: Final = 4096
"""Most appends fit into one page, so most reads are one call."""

_NAME: Final = re.compile(r"segments/(\d{4})-(\d{8})\.seg")


def segment_name(slot: int, number: int) -> str:
    """Return the name of a segment within the store."""
    return f"segments/{slot:04}-{number:08}.seg"


def slots_of(disk: Disk) -> dict[int, list[int]]:
    """Return the numbers of the segments of each slot, in order."""
    found: dict[int, list[int]] = {}
    for name in disk.names("segments"):
        match = _NAME.fullmatch(name)
        if match:
            found.setdefault(int(match[1]), []).append(int(match[2]))
    return found


class Reached(NamedTuple):
    """How far a slot was read. ``state`` tells what is there: its end, a seal, a torn tail."""

    segment: int = 0
    offset: int = 0
    state: Literal["open", "sealed", "torn"] = "open"


def load_slot(disk: Disk, slot: int, numbers: list[int], index: Index, since: Reached) -> Reached:
    """Show every frame behind ``since`` to ``index``; return how far that goes.

    Raises:
        StorageDamaged: Something in a segment does not check; nothing was altered.
    """
    if numbers != list(range(numbers[0], numbers[0] + len(numbers))):
        missing = next(n for n in range(numbers[0], numbers[-1]) if n not in numbers)
        raise _damaged(slot, missing, 0, "this segment is missing")
    reached = since
    for number in numbers:
        if number < since.segment:
            continue
        start = since.offset if number == since.segment else 0
        found = scan(disk.read(segment_name(slot, number)), start=start)
        if number == since.segment and since.state == "sealed" and not found.frames:
            continue
        reached = _judged(slot, number, found, start, last=number == numbers[-1])
        for frame in found.frames:
            show(index, slot, number, frame)
    return reached


def _judged(slot: int, number: int, found: Scan, start: int, *, last: bool) -> Reached:
    verdict, frames = found.verdict, found.frames
    if verdict.state == "damaged":
        raise _damaged(slot, number, verdict.offset, verdict.reason)
    if start == 0 and frames:
        _check_head(slot, number, frames[0])
    seals = [frame for frame in frames if frame.kind == "seal"]
    sealed = bool(seals)
    if sealed and (seals[0] is not frames[-1] or verdict.state != "clean"):
        raise _damaged(slot, number, seals[0].end, "something follows the end of a full segment")
    if not last and not sealed:
        raise _damaged(slot, number, verdict.offset, "a full segment has lost its end")
    if sealed:
        return Reached(number, verdict.offset, "sealed")
    return Reached(number, verdict.offset, "torn" if verdict.state == "torn" else "open")


def _check_head(slot: int, number: int, frame: Frame) -> None:
    told: dict[str, Any] = json_of(frame.payload) if frame.kind == "head" else {}
    if (told.get("slot"), told.get("segment")) != (slot, number):
        raise _damaged(slot, number, 0, "it does not begin as this segment")
    if told.get("format") != SEGMENT_FORMAT:
        raise _damaged(slot, number, 0, f"its format {told.get('format')} is not known here")


def show(index: Index, slot: int, number: int, frame: Frame) -> None:
    """Let ``index`` take in one frame of a segment."""
    place = Place(slot, number, frame.offset)
    if frame.kind == "append":
        index.saw_append(envelope_of(frame.payload), place)
    elif frame.kind == "remove":
        told = json_of(frame.payload)
        index.saw_removal(told["session"], told["epoch"])
    elif frame.kind == "trim":
        told = json_of(frame.payload)
        entry = index.get(told["session"])
        if entry is not None and entry.epoch <= told["epoch"]:
            first = max(entry.first_seq, told["before_seq"])
            index.put(told["session"], entry._replace(first_seq=first))


def read_frame(file: DiskFile, place: Place, *, session: str) -> Frame:
    """Return the frame at ``place``.

    Raises:
        StorageDamaged: There is no intact frame.
    """
    data = file.read_at(place.offset, FIRST_READ_BYTES)
    found = frame_at(data, 0, offset=place.offset)
    if not isinstance(found, Frame) and len(data) == FIRST_READ_BYTES:
        length = int.from_bytes(data[8:12], "little")
        data = file.read_at(place.offset, HEADER_BYTES + length)
        found = frame_at(data, 0, offset=place.offset)
    if not isinstance(found, Frame):
        reason = found.reason or "the file ends before it"
        raise _damaged(place.slot, place.segment, place.offset, reason, session)
    return found


def _damaged(
    slot: int, number: int, offset: int, reason: str, session: str | None = None
) -> StorageDamaged:
    name = segment_name(slot, number)
    whose = f" of session {session}" if session else ""
    return StorageDamaged(
        f"{name} is damaged at byte {offset}{whose}: {reason}.",
        file=name,
        offset=offset,
        session=session,
        remedy="Nothing was altered. Copy the folder away, look at the disk's health, and put the"
        " file back from a backup.",
    )


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
