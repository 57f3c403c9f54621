"""Large values beside the records: kept once, under what they are.

A record names a blob by its `BlobRef`; the blob is put first, and is on the disk when `put` has
returned. What no record names any more is collected: whoever knows all the names that are still in
use passes them (mark), and what is not among them and old enough goes (sweep). The age keeps a blob
whose record is not written yet.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from typing import Final, Protocol

import attrs
import trio

from actrio.errors import InvalidRequest, LimitExceeded, NotFound, StorageFull

__all__ = [
    "BLOBS_BYTES_MAX",
    "BLOB_BYTES_MAX",
    "BlobPort",
    "BlobRef",
    "BlobStatistics",
    "CollectReport",
    "MemoryBlobs",
    "blob_id",
]

BLOB_BYTES_MAX: Final = 64 * 1024 * 1024
"""Largest blob: it is passed in one piece."""

BLOBS_BYTES_MAX: Final = 64 * 1024 * 1024 * 1024
"""What all blobs of a store may take, by default: a thousand of the largest."""

MEMORY_BYTES_MAX: Final = 1024 * 1024 * 1024
"""The same in memory."""

_ID: Final = re.compile(r"b_[0-9a-f]{40}")


@attrs.frozen(slots=True)
class BlobRef:
    """Names a blob, from a record or anywhere else.

    Attributes:
        id: Follows from what is in it, so the same bytes have the same id.
        size: In bytes.
        media_type: What was said about it when it was put; the store does not keep that.
    """

    id: str
    size: int
    media_type: str


@attrs.frozen(slots=True)
class CollectReport:
    """What was there, and what is left."""

    blobs_before: int
    blobs_after: int
    bytes_before: int
    bytes_after: int


@attrs.frozen(slots=True)
class BlobStatistics:
    """How much there is; ``bytes`` is ``None`` until the first `BlobPort.put` has counted them."""

    bytes: int | None
    bytes_max: int
    puts: int


class BlobPort(Protocol):
    """Where large values are kept."""

    async def put(self, data: bytes, *, media_type: str) -> BlobRef:
        """Keep ``data``; it is on the disk when this returns. The same bytes are kept once.

        *Cancellation*: cancelled, it may have been kept; without a record it is collected.

        Raises:
            LimitExceeded: It is larger than one blob may be.
            StorageFull: There is no room, by the store's own bound or on the disk.
        """
        ...

    async def get(self, blob: str) -> bytes:
        """Return what was put.

        Raises:
            NotFound: It is not there.
            StorageDamaged: It is not what it was.
        """
        ...

    async def read(self, blob: str, offset: int, size_max: int) -> bytes:
        """Return up to ``size_max`` bytes from ``offset`` on, fewer only at the end.

        Raises:
            NotFound: It is not there.
            StorageDamaged: That part of it is not what it was.
        """
        ...

    async def collect(self, live: AbstractSet[str], older_than_seconds: float) -> CollectReport:
        """Remove what nobody names.

        Args:
            live: The ids that are named by any record.
            older_than_seconds: What was put later than this long ago stays in any case: its record
                may be on its way. An hour is more than enough.
        """
        ...

    def statistics(self) -> BlobStatistics:
        """Return how much there is."""
        ...


def blob_id(data: bytes) -> str:
    """Return the id of a blob: 160 bits of its SHA-256."""
    return "b_" + hashlib.sha256(data).hexdigest()[:40]


def checked_id(blob: str) -> str:
    """Return ``blob`` if it can be a blob's id.

    Raises:
        InvalidRequest: It cannot.
    """
    if not _ID.fullmatch(blob):
        raise InvalidRequest(
            "A blob's id is b_ and 40 hexadecimal digits.", remedy="Take it from a BlobRef."
        )
    return blob


def checked_size(data: bytes) -> bytes:
    """Return ``data`` if it fits into one blob.

    Raises:
        LimitExceeded: It does not.
    """
    if len(data) > BLOB_BYTES_MAX:
        raise LimitExceeded(
            f"A blob of {len(data)} bytes is larger than {BLOB_BYTES_MAX}.",
            remedy="Put it in several pieces, or keep it as a file of the workspace.",
            data={"bytes": len(data), "bytes_max": BLOB_BYTES_MAX},
        )
    return data


def checked_range(offset: int, size_max: int) -> None:
    """Raise `InvalidRequest` for a range that cannot be."""
    if offset < 0 or size_max < 0:
        raise InvalidRequest("A range begins at 0 or later and is not shorter than nothing.")


def no_blob(blob: str) -> NotFound:
    """Return the error for an id under which nothing is."""
    return NotFound(
        f"There is no blob {blob}.", remedy="It was collected, or put into another store."
    )


def no_room(bytes_max: int) -> StorageFull:
    """Return the error for a store whose blobs would take more than they may."""
    return StorageFull(
        f"The store's blobs would take more than {bytes_max} bytes.",
        remedy="Collect what no session names (`actrio sessions prune`), or allow more.",
    )


class MemoryBlobs:
    """A `BlobPort` without a disk.

    Args:
        bytes_max: What all of them may take.
        now: The wall clock, in seconds since 1970.
    """

    def __init__(
        self, *, bytes_max: int = MEMORY_BYTES_MAX, now: Callable[[], float] = time.time
    ) -> None:
        self._bytes_max = bytes_max
        self._now = now
        self._kept: dict[str, tuple[bytes, float]] = {}
        self._bytes = 0
        self._puts = 0

    async def put(self, data: bytes, *, media_type: str) -> BlobRef:
        """Keep ``data``; see `BlobPort.put`."""
        await trio.lowlevel.checkpoint()
        blob = blob_id(checked_size(data))
        if blob not in self._kept:
            if self._bytes + len(data) > self._bytes_max:
                raise no_room(self._bytes_max)
            self._bytes += len(data)
        self._kept[blob] = (bytes(data), self._now())
        self._puts += 1
        return BlobRef(blob, len(data), media_type)

    async def get(self, blob: str) -> bytes:
        """Return what was put; see `BlobPort.get`."""
        await trio.lowlevel.checkpoint()
        kept = self._kept.get(checked_id(blob))
        if kept is None:
            raise no_blob(blob)
        return kept[0]

    async def read(self, blob: str, offset: int, size_max: int) -> bytes:
        """Return a part of it; see `BlobPort.read`."""
        checked_range(offset, size_max)
        return (await self.get(blob))[offset : offset + size_max]

    async def collect(self, live: AbstractSet[str], older_than_seconds: float) -> CollectReport:
        """Remove what nobody names; see `BlobPort.collect`."""
        await trio.lowlevel.checkpoint()
        blobs, size, before = len(self._kept), self._bytes, self._now() - older_than_seconds
        gone = [one for one, (_, put) in self._kept.items() if one not in live and put <= before]
        for one in gone:
            self._bytes -= len(self._kept.pop(one)[0])
        return CollectReport(blobs, len(self._kept), size, self._bytes)

    def statistics(self) -> BlobStatistics:
        """Return how much there is."""
        return BlobStatistics(self._bytes, self._bytes_max, self._puts)
