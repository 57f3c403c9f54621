"""Files that stand for several segments and hold what was live of them.

::

    head   {"format":1, "slot", "segment":LAST, "from":FIRST, "serial", "frames"}
    map    one line of 35 bytes for each frame: its segment, its offset there, where it is now
    …      the frames, in their old order, each in a header of its own for its new place
    seal

A frame keeps the place under which others name it, so no chain is rewritten, and nothing that was
written since is touched. A read finds it in the map by halving; it need not check the map for
that, because the frame it comes to must check and must be the one that was looked for. Such a file
is written in one piece and gets its name when it is synced, so whatever is wrong with it is damage.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from actrio.journal._disk import DiskFile
from actrio.journal._envelope import Place, json_of
from actrio.journal._frames import (
    HEADER_BYTES,
    PAUSE_FRAMES,
    Frame,
    FrameKind,
    Verdict,
    encode_frame,
    frame_at,
    scan,
)
from actrio.journal._rows import Segment
from actrio.wire import json_line

__all__ = [
    "KeptFrame",
    "PackedSegment",
    "Unreadable",
    "map_of",
    "packed_bytes",
    "place_in",
    "read_packed",
]

PACKED_FORMAT: Final = 1

_ROW: Final = b"%08d %012d %012d\n"
ROW_BYTES: Final = len(_ROW % (0, 0, 0))


class Unreadable(Exception):
    """The file does not check; ``offset`` and ``reason`` say where and how."""

    def __init__(self, offset: int, reason: str) -> None:
        super().__init__(reason)
        self.offset = offset
        self.reason = reason


class KeptFrame(NamedTuple):
    """A frame and the place by which it is known."""

    place: Place
    kind: FrameKind
    payload: bytes


class PackedSegment(NamedTuple):
    """Such a file, read and checked."""

    serial: int
    frames: tuple[tuple[Place, Frame], ...]


def packed_bytes(
    slot: int,
    first: int,
    last: int,
    frames: Sequence[KeptFrame],
    *,
    serial: int,
    pause: Callable[[], None] | None = None,
) -> bytes:
    """Return the file that stands for the segments ``first`` to ``last``.

    Args:
        slot: Whose they are.
        first: Number of the first.
        last: Number of the last.
        frames: What is kept of them, in order.
        serial: The highest epoch of any claim that was seen in them, kept or not.
        pause: Called after every few frames.
    """
    told = {
        "format": PACKED_FORMAT,
        "slot": slot,
        "segment": last,
        "from": first,
        "serial": serial,
        "frames": len(frames),
    }
    head = encode_frame("head", json_line(told), offset=0, synced=0)
    at = start = len(head) + HEADER_BYTES + ROW_BYTES * len(frames) + 1
    rows: list[bytes] = []
    for kept in frames:
        rows.append(_ROW % (kept.place.segment, kept.place.offset, at))
        at += HEADER_BYTES + len(kept.payload)
    # The line feed at the end also where there are no rows.
    pieces = [head, encode_frame("map", b"".join((*rows, b"\n")), offset=len(head), synced=0)]
    at = start
    for number, kept in enumerate(frames, 1):
        pieces.append(encode_frame(kept.kind, kept.payload, offset=at, synced=0))
        at += len(pieces[-1])
        if pause is not None and number % PAUSE_FRAMES == 0:
            pause()
    pieces.append(encode_frame("seal", json_line({"bytes": at}), offset=at, synced=0))
    return b"".join(pieces)


def read_packed(
    data: bytes, segment: Segment, *, pause: Callable[[], None] | None = None
) -> PackedSegment:
    """Return all frames of such a file, each with the place by which it is known.

    Raises:
        Unreadable: Something in it does not check.
    """
    found = scan(data, pause=pause)
    if found.verdict.state != "clean":
        raise Unreadable(found.verdict.offset, found.verdict.reason)
    frames = found.frames
    told: dict[str, Any] = json_of(frames[0].payload) if frames and frames[0].kind == "head" else {}
    whose = (told.get("slot"), told.get("from"), told.get("segment"))
    if whose != (segment.slot, segment.first, segment.last):
        raise Unreadable(0, "it does not begin as this file")
    if told.get("format") != PACKED_FORMAT:
        raise Unreadable(0, f"its format {told.get('format')} is not known here")
    if len(frames) != told["frames"] + 3 or (frames[1].kind, frames[-1].kind) != ("map", "seal"):
        raise Unreadable(found.verdict.offset, "it is not whole")
    places = tuple(rows_of_map(frames[1].payload, segment.slot))
    kept = frames[2:-1]
    if [now for _, now in places] != [frame.offset for frame in kept]:
        raise Unreadable(frames[1].offset, "its map is not of its frames")
    named = tuple((place, frame) for (place, _), frame in zip(places, kept, strict=True))
    return PackedSegment(told["serial"], named)


def rows_of_map(rows: bytes, slot: int) -> Iterator[tuple[Place, int]]:
    """Yield what a map says: a place, and where its frame is now."""
    for at in range(0, len(rows) - 1, ROW_BYTES):
        number, offset, now = rows[at : at + ROW_BYTES].split()
        yield Place(slot, int(number), int(offset)), int(now)


def map_of(file: DiskFile) -> tuple[int, int]:
    """Return where the rows of the map begin, and how many there are.

    Raises:
        Unreadable: The file does not begin as it should.
    """
    data = file.read_at(0, 4096)
    head = frame_at(data, 0)
    if not isinstance(head, Frame) or head.kind != "head":
        raise Unreadable(0, head.reason if isinstance(head, Verdict) else "it has no head")
    return head.end + HEADER_BYTES, int(json_of(head.payload)["frames"])


def place_in(file: DiskFile, rows: tuple[int, int], place: Place) -> int | None:
    """Return where the frame of ``place`` is in the file; ``None`` if it was not kept."""
    start, high = rows
    low = 0
    wanted = (place.segment, place.offset)
    while low < high:
        middle = (low + high) // 2
        try:
            number, offset, now = map(
                int, file.read_at(start + middle * ROW_BYTES, ROW_BYTES).split()
            )
        except ValueError:
            raise Unreadable(start + middle * ROW_BYTES, "its map does not check") from None
        if (number, offset) == wanted:
            return now
        if (number, offset) < wanted:
            low = middle + 1
        else:
            high = middle
    return None
