"""Frames: how bytes lie in a journal's files, and what a place that does not check means.

A file is a row of frames without gaps::

    magic kind flags 0  length  payload CRC  offset  synced  header CRC │ payload
      4    1    1    2     4         4          8       8         4      │ JSON, a line feed at the end

The payload's CRC stands in the header and the header has a CRC of its own, so every bit of a file
is covered and a length is believed only when it checks. CRC-32 finds every single flipped bit.

Two things can make a frame not check, and they must never be taken for each other:

- A *torn tail*: the power went, or the process, while frames were being written that nobody had
  been told of. Then the file ends inside the frame, or a sector (512 bytes, the unit a disk writes
  whole) was never written and reads as zeros. JSON holds no NUL, the magic and the line feed have
  several bits set each, so no flipped bit can make such zeros. Torn frames are cut off.
- *Damage*: anything else. It is reported with its place and never altered, because what follows
  may be the only copy of something that was acknowledged.

A lost sector in the middle of old data looks torn as well. Therefore each frame says how much of
its file was known to be synced when it was written: an intact frame behind the torn place that
says the place was synced proves damage. The offset in the header finds frames that a disk wrote
to the wrong place.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Final, Literal, NamedTuple

import attrs

__all__ = [
    "FRAME_BYTES_MAX",
    "HEADER_BYTES",
    "PAUSE_FRAMES",
    "Frame",
    "FrameKind",
    "Scan",
    "Verdict",
    "append_header",
    "encode_frame",
    "frame_at",
    "later",
    "scan",
]

MAGIC: Final = b"\xa7AJ1"
SECTOR_BYTES: Final = 512
"""What every disk writes whole. Larger sectors are rows of these."""

FRAME_BYTES_MAX: Final = 64 * 1024 * 1024
"""Largest payload: larger values belong into blobs, and one frame is read in one piece."""

PAUSE_FRAMES: Final = 128
"""Frames between two pauses of a reader who makes any: a quarter of a millisecond."""

_FIELDS: Final = struct.Struct("<4sBBHIIQQ")
_CRC: Final = struct.Struct("<I")
HEADER_BYTES: Final = _FIELDS.size + _CRC.size

_ZEROS: Final = bytes(SECTOR_BYTES)

FrameKind = Literal["head", "append", "seal", "claim", "remove", "trim", "map", "index"]

_KIND_NUMBERS: Final[dict[FrameKind, int]] = {
    "head": 1,
    "append": 2,
    "seal": 3,
    "claim": 4,
    "remove": 5,
    "trim": 6,
    "map": 7,
    "index": 8,
}
_KINDS: Final[dict[int, FrameKind]] = {number: kind for kind, number in _KIND_NUMBERS.items()}


class Frame(NamedTuple):
    """One frame that checks. ``offset`` and ``end`` are places in the file."""

    kind: FrameKind
    flags: int
    offset: int
    end: int
    synced: int
    payload: bytes


@attrs.frozen(slots=True)
class Verdict:
    """What is at a place where no intact frame begins.

    Attributes:
        state: ``clean``: the file ends there. ``torn``: an unfinished write, to be cut off there.
            ``damaged``: to be reported.
    """

    state: Literal["clean", "torn", "damaged"]
    offset: int
    reason: str = ""


@attrs.frozen(slots=True)
class Scan:
    """All intact frames up to the first place that does not check, and what is there."""

    frames: tuple[Frame, ...]
    verdict: Verdict


class _Header(NamedTuple):
    kind: int
    flags: int
    length: int
    payload_crc: int
    offset: int
    synced: int


def encode_frame(
    kind: FrameKind, payload: bytes, *, offset: int, synced: int, flags: int = 0
) -> bytes:
    """Return the frame of ``payload`` as it is to be written at ``offset``.

    Args:
        kind: What the payload is.
        payload: JSON ending with a line feed.
        offset: Where in its file the frame will begin.
        synced: How many bytes of the file are known to be synced.
        flags: Bits that are read without reading the payload.
    """
    assert payload.endswith(b"\n")
    assert len(payload) <= FRAME_BYTES_MAX
    fields = _FIELDS.pack(
        MAGIC,
        _KIND_NUMBERS[kind],
        flags,
        0,
        len(payload),
        zlib.crc32(payload),
        offset,
        synced,
    )
    return b"".join((fields, _CRC.pack(zlib.crc32(fields)), payload))


_APPEND: Final = _KIND_NUMBERS["append"]


def append_header(size: int, payload_crc: int, offset: int, synced: int) -> bytes:
    """Return the header of an append frame; quicker than `encode_frame`, once for each record."""
    fields = _FIELDS.pack(MAGIC, _APPEND, 0, 0, size, payload_crc, offset, synced)
    return fields + _CRC.pack(zlib.crc32(fields))


def frame_at(data: bytes, at: int, *, offset: int | None = None) -> Frame | Verdict:
    """Return the frame that begins at ``data[at]``, or what is there instead.

    Args:
        data: A file's content, or a piece of it.
        at: Where in ``data`` to look.
        offset: Where in the file that is; by default ``data`` is the whole file.
    """
    place = at if offset is None else offset
    if at == len(data):
        return Verdict("clean", place)
    header = _header(data, at)
    if header is None:
        return _judged(data, at, place, at + HEADER_BYTES, "the header does not check")
    kind = _KINDS.get(header.kind)
    if header.offset != place or kind is None:
        # It checks, so it was written so: by a newer version, or to the wrong place.
        return Verdict("damaged", place, "a frame of another place or version stands here")
    start = at + HEADER_BYTES
    end = start + header.length
    if end > len(data):
        return Verdict("torn", place, "the file ends inside a frame")
    payload = data[start:end]
    if zlib.crc32(payload) != header.payload_crc:
        return _judged(data, at, place, end, "the payload does not check")
    return Frame(kind, header.flags, place, place + end - at, header.synced, payload)


def _header(data: bytes, at: int) -> _Header | None:
    fields = data[at : at + _FIELDS.size]
    stored = data[at + _FIELDS.size : at + HEADER_BYTES]
    if len(stored) < _CRC.size or zlib.crc32(fields) != _CRC.unpack(stored)[0]:
        return None
    magic, kind, flags, rest, length, payload_crc, offset, synced = _FIELDS.unpack(fields)
    if magic != MAGIC or rest != 0:
        return None
    return _Header(kind, flags, length, payload_crc, offset, synced)


def _judged(data: bytes, at: int, place: int, end: int, reason: str) -> Verdict:
    """Tell an unfinished write from damage, for a frame that reaches to ``end``."""
    if _has_unwritten_sector(data, at, place, end):
        return Verdict("torn", place, "a sector was never written")
    left = len(data) - at
    if left < HEADER_BYTES and data[at : at + 4] == MAGIC[:left]:
        return Verdict("torn", place, "the file ends inside a header")
    return Verdict("damaged", place, reason)


def _has_unwritten_sector(data: bytes, at: int, place: int, end: int) -> bool:
    """Whether the part of some sector from the frame's beginning on holds nothing but zeros.

    The part always reaches to the end of the sector or of the file, never only to the end of a
    header or a frame: there a few zeros are nothing unusual.
    """
    shift = place - at
    position = at
    while position < min(end, len(data)):
        border = min(
            (position + shift) // SECTOR_BYTES * SECTOR_BYTES + SECTOR_BYTES - shift, len(data)
        )
        if data[position:border] == _ZEROS[: border - position]:
            return True
        position = border
    return False


def scan(data: bytes, *, start: int = 0, pause: Callable[[], None] | None = None) -> Scan:
    """Return the intact frames of a file's content from ``start`` on, and why they end.

    Args:
        data: The whole content of the file.
        start: Where the first frame to return begins.
        pause: Called after every few frames, by who has time and shares the interpreter.
    """
    frames: list[Frame] = []
    at = start
    while True:
        found = frame_at(data, at)
        if isinstance(found, Frame):
            frames.append(found)
            at = found.end
            if pause is not None and len(frames) % PAUSE_FRAMES == 0:
                pause()
            continue
        if found.state == "torn":
            witness = next((f for f in later(data, at) if f.synced > at), None)
            if witness is not None:
                reason = f"it was synced, as the frame at {witness.offset} says, but {found.reason}"
                found = Verdict("damaged", at, reason)
        return Scan(tuple(frames), found)


def later(data: bytes, at: int) -> Iterator[Frame]:
    """Find the intact frames behind a place that does not check."""
    position = data.find(MAGIC, at + 1)
    while position >= 0:
        found = frame_at(data, position)
        if isinstance(found, Frame):
            yield found
            position = data.find(MAGIC, found.end)
        else:
            position = data.find(MAGIC, position + 1)
