"""The embedded store's blobs: `BlobFiles` in worker threads."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from collections.abc import Set as AbstractSet
from typing import Any

from actrio.journal._blobs import (
    BlobRef,
    BlobStatistics,
    CollectReport,
    checked_id,
    checked_range,
    checked_size,
)
from actrio.journal._blobs_files import BlobFiles

__all__ = ["EmbeddedBlobs"]

InThread = Callable[..., Awaitable[Any]]


class EmbeddedBlobs:
    """A `BlobPort` over a folder; ``store.blobs`` of `open_embedded_store`."""

    def __init__(
        self, files: BlobFiles, in_thread: InThread, check_open: Callable[[], None]
    ) -> None:
        self._files = files
        self._in_thread = in_thread
        self._check_open = check_open
        self._puts = 0

    async def put(self, data: bytes, *, media_type: str) -> BlobRef:
        """Keep ``data``; see `BlobPort.put`."""
        self._check_open()
        blob = await self._in_thread(self._files.put, bytes(checked_size(data)))
        self._puts += 1
        return BlobRef(blob, len(data), media_type)

    async def get(self, blob: str) -> bytes:
        """Return what was put; see `BlobPort.get`."""
        data: bytes = await self._in_thread(self._files.get, checked_id(blob))
        return data

    async def read(self, blob: str, offset: int, size_max: int) -> bytes:
        """Return a part of it; see `BlobPort.read`."""
        checked_range(offset, size_max)
        data: bytes = await self._in_thread(self._files.read, checked_id(blob), offset, size_max)
        return data

    async def collect(self, live: AbstractSet[str], older_than_seconds: float) -> CollectReport:
        """Remove what nobody names; see `BlobPort.collect`."""
        self._check_open()
        report: CollectReport = await self._in_thread(self._files.collect, live, older_than_seconds)
        return report

    def statistics(self) -> BlobStatistics:
        """Return how much there is."""
        return BlobStatistics(self._files.bytes, self._files.bytes_max, self._puts)
