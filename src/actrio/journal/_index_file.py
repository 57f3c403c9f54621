"""The index on the disk: what opening would find out, had it read all segments. Pure.

::

    head   {"format":1, "serial", "sessions", "reach":[[slot, segment, offset, state], …]}
    index  rows of a session's id and its packed entry, about a megabyte in each frame
    seal

*Reach* says how far each slot had been read; everything up to there was synced before the file got
its name. So opening takes the rows, reads what is behind the reach, and knows as much as if it had
read everything. A segment that ends before the reach has lost something and is damage.

The rows may be a little younger than the reach, because they are gathered while appends go on. That
does no harm: a frame that is shown to the index twice changes nothing.

The file is never needed. Where it is missing, or anything in it does not check, the segments are
read instead, and the file is written anew.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import attrs

from actrio.journal._envelope import json_of
from actrio.journal._frames import Frame, encode_frame, scan
from actrio.journal._index import PACKED_BYTES, Index
from actrio.journal._packed_segments import Unreadable
from actrio.journal._segments import Reached
from actrio.wire import json_line

__all__ = ["INDEX_NAME", "IndexHead", "index_bytes", "index_row", "read_index"]

INDEX_NAME: Final = "index.snap"

INDEX_FORMAT: Final = 1

CHUNK_BYTES: Final = 1024 * 1024
"""Rows in one frame: what is checked and copied in one piece."""

_LENGTH: Final = struct.Struct("<H")


@attrs.frozen(slots=True)
class IndexHead:
    """What an index file says beside its rows; how many bytes of frames it knows is not written."""

    serial: int
    reach: dict[int, Reached]
    seen_bytes: int = 0


def index_row(session: str, packed: bytes) -> bytes:
    """Return the row of a session."""
    name = session.encode(errors="surrogatepass")
    return b"".join((_LENGTH.pack(len(name)), name, packed))


def index_bytes(head: IndexHead, rows: Sequence[bytes]) -> bytes:
    """Return the file."""
    told = {
        "format": INDEX_FORMAT,
        "entry": PACKED_BYTES,
        "serial": head.serial,
        "sessions": len(rows),
        "reach": [[slot, *reached] for slot, reached in sorted(head.reach.items())],
    }
    written = bytearray(encode_frame("head", json_line(told), offset=0, synced=0))
    for chunk in _chunks(rows):
        written += encode_frame("index", chunk, offset=len(written), synced=0)
    written += encode_frame(
        "seal", json_line({"bytes": len(written)}), offset=len(written), synced=0
    )
    return bytes(written)


def _chunks(rows: Iterable[bytes]) -> Iterator[bytes]:
    chunk = bytearray()
    for row in rows:
        chunk += row
        if len(chunk) >= CHUNK_BYTES:
            yield bytes(chunk) + b"\n"
            chunk.clear()
    if chunk:
        yield bytes(chunk) + b"\n"


def checked_index(data: bytes) -> tuple[IndexHead, tuple[Frame, ...], int]:
    """Return what the head says, the frames of rows, and how many rows there are.

    Raises:
        Unreadable: Something in it does not check.
    """
    found = scan(data)
    frames = found.frames
    if found.verdict.state != "clean":
        raise Unreadable(found.verdict.offset, found.verdict.reason)
    if len(frames) < 2 or (frames[0].kind, frames[-1].kind) != ("head", "seal"):
        raise Unreadable(found.verdict.offset, "it is not whole")
    told: dict[str, Any] = json_of(frames[0].payload)
    if (told.get("format"), told.get("entry")) != (INDEX_FORMAT, PACKED_BYTES):
        raise Unreadable(0, f"its format {told.get('format')} is not known here")
    reach = {slot: Reached(*reached) for slot, *reached in told["reach"]}
    return IndexHead(told["serial"], reach), frames[1:-1], told["sessions"]


def read_index(data: bytes, index: Index) -> IndexHead:
    """Fill ``index``, which is empty, from the file; nothing is taken in unless all of it checks.

    Raises:
        Unreadable: Something in it does not check.
    """
    head, frames, sessions = checked_index(data)
    rows = [row for frame in frames for row in _rows(frame.payload)]
    if len(rows) != sessions:
        raise Unreadable(len(data), "it does not have the rows it should have")
    for session, packed in rows:
        index.put_packed(session, packed)
    index.saw_serial(head.serial)
    return head


def _rows(payload: bytes) -> Iterator[tuple[str, bytes]]:
    at = 0
    while at < len(payload) - 1:
        start = at + _LENGTH.size
        end = start + _LENGTH.unpack_from(payload, at)[0]
        at = end + PACKED_BYTES
        yield payload[start:end].decode(errors="surrogatepass"), payload[end:at]
