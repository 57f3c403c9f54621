"""Reading what is left of damaged segments: every frame that checks, and where none is. Pure but for
reading.

A frame is believed when its header, its payload and its own offset check. Nothing in a payload can
look like one: a header holds zero bytes, and JSON never does.
"""

from __future__ import annotations

from typing import Any

import attrs

from actrio.journal._disk import Disk
from actrio.journal._envelope import Place, json_of
from actrio.journal._frames import Frame, Verdict, later, scan
from actrio.journal._packed_segments import Unreadable, read_packed, rows_of_map
from actrio.journal._rows import Row, Segment, rows_of, segment_name

__all__ = ["DamagedRange", "Salvaged", "salvage"]


@attrs.frozen(slots=True)
class DamagedRange:
    """Bytes of a file in which nothing checks."""

    file: str
    offset: int
    end: int
    reason: str


@attrs.define(slots=True)
class Salvaged:
    """What is left of one segment.

    Attributes:
        segment: The file, or the one that should be there.
        frames: What checks, in order. A place of ``None`` was in a map that does not check.
        ranges: Where nothing checks.
        serial: The highest epoch the file was told of.
        missing: Whether there is no file.
    """

    segment: Segment
    frames: list[tuple[Place | None, Frame]]
    ranges: list[DamagedRange] = attrs.field(factory=list)
    serial: int = 0
    missing: bool = False


def salvage(disk: Disk) -> list[Salvaged]:
    """Return what is left of every segment of every slot."""
    found: list[Salvaged] = []
    for slot, row in rows_of(disk).items():
        reached = 0
        for segment in row.segments:
            if segment.first > reached + 1:
                found.append(_missing(slot, reached + 1, segment.first - 1))
            found.append(_read(disk, row, segment))
            reached = segment.last
    return found


def _missing(slot: int, first: int, last: int) -> Salvaged:
    name = segment_name(slot, first, last)
    ranges = [DamagedRange(segment_name(slot, first), 0, 0, "the segment is missing")]
    return Salvaged(Segment(slot, first, last, name, packed=True), [], ranges, missing=True)


def _read(disk: Disk, row: Row, segment: Segment) -> Salvaged:
    data = disk.read(segment.name)
    if segment.packed:
        return _read_packed(data, segment)
    frames, ranges, end = _intact(data, segment.name)
    is_last = segment is row.segments[-1]
    told: dict[str, Any] = {}
    if frames and frames[0].offset == 0:
        told = json_of(frames[0].payload)
    if told and (told.get("slot"), told.get("segment")) != (segment.slot, segment.last):
        whole = DamagedRange(segment.name, 0, len(data), "it does not begin as this segment")
        return Salvaged(segment, [], [whole])
    sealed = bool(frames) and frames[-1].kind == "seal"
    if not ranges and not sealed and not is_last:
        reason = "a full segment has lost its end"
        ranges.append(DamagedRange(segment.name, end.offset, len(data), reason))
    placed: list[tuple[Place | None, Frame]] = [
        (Place(segment.slot, segment.last, frame.offset), frame)
        for frame in frames
        if frame.kind not in {"head", "seal"}
    ]
    return Salvaged(segment, placed, ranges)


def _intact(data: bytes, name: str) -> tuple[list[Frame], list[DamagedRange], Verdict]:
    """Return every frame that checks, and what is between them."""
    frames: list[Frame] = []
    ranges: list[DamagedRange] = []
    start = 0
    while True:
        found = scan(data, start=start)
        frames += found.frames
        end = found.verdict
        following = next(later(data, end.offset), None)
        if following is None:
            if end.state == "damaged":
                ranges.append(DamagedRange(name, end.offset, len(data), end.reason))
            return frames, ranges, end
        ranges.append(DamagedRange(name, end.offset, following.offset, end.reason))
        start = following.offset


def _read_packed(data: bytes, segment: Segment) -> Salvaged:
    try:
        read = read_packed(data, segment)
    except Unreadable as error:
        problem = error
    else:
        return Salvaged(segment, list(read.frames), serial=read.serial)
    frames, ranges, _ = _intact(data, segment.name)
    if not ranges:
        ranges.append(DamagedRange(segment.name, problem.offset, len(data), problem.reason))
    places: dict[int, Place] = {}
    serial = 0
    for frame in frames:
        if frame.kind == "map":
            places = {now: place for place, now in rows_of_map(frame.payload, segment.slot)}
        elif frame.kind == "head":
            serial = int(json_of(frame.payload).get("serial", 0))
    placed = [
        (places.get(frame.offset), frame)
        for frame in frames
        if frame.kind not in {"head", "seal", "map"}
    ]
    return Salvaged(segment, placed, ranges, serial)
