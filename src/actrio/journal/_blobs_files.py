"""Blobs as files, one for each: ``blobs/ab/b_ab….blob``. Everything here blocks.

::

    the bytes as they were put
    CRC-32 of each 64 KiB of them, 4 bytes each
    magic, size, CRC of those CRCs, CRC of this line

So a part can be checked without reading the whole; the whole is checked by its hash as well. A file
gets its name when it is synced, and its name is synced before `put` answers; whatever is wrong with
it later is damage. Who puts and who collects exclude each other by a lock, because putting what is
there already only makes it young again.
"""

from __future__ import annotations

import itertools
import os
import struct
import time
import zlib
from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from contextlib import closing, contextmanager, suppress
from typing import Final

from actrio.errors import StorageDamaged
from actrio.journal._blobs import CollectReport, blob_id, no_blob, no_room
from actrio.journal._claims_file import LOCK_POLL_SECONDS, LOCK_SECONDS_MAX, locked_out
from actrio.journal._disk import Disk, DiskFile
from actrio.journal._store import VerifyProblem

__all__ = ["BlobFiles", "blob_file", "blob_problems", "content_of"]

PIECE_BYTES: Final = 64 * 1024
"""What is checked in one go: as much as is read in one go."""

MAGIC: Final = b"\xa7AB1"

_CRC: Final = struct.Struct("<I")
_END: Final = struct.Struct("<4sQI")
END_BYTES: Final = _END.size + _CRC.size

FOLDERS: Final = tuple(f"blobs/{number:02x}" for number in range(256))

LOCK_NAME: Final = "blobs.lock"


class BlobFiles:
    """The blobs of a store's folder.

    Args:
        disk: Where the store is.
        bytes_max: What all blobs may take.
    """

    def __init__(self, disk: Disk, *, bytes_max: int) -> None:
        self.disk = disk
        self.bytes_max = bytes_max
        # What is there, as far as this process knows; counted at the first put.
        self.bytes: int | None = None
        self._news = itertools.count()

    def put(self, data: bytes) -> str:
        """Keep ``data`` and return its id.

        Raises:
            StorageFull: All of them together would take more than they may.
            OSError: The disk refuses.
        """
        blob = blob_id(data)
        name = _name(blob)
        folder = name.rpartition("/")[0]
        content = blob_file(data)
        with self._locked(exclusive=False):
            if self._is_there(name, content):
                self.disk.touch(name)
                self.disk.sync_folder(folder)  # whoever put it may not have come so far
                return blob
            if self.bytes is None:
                self.bytes = sum(size for _, size in _blobs(self.disk))
            if self.bytes + len(content) > self.bytes_max:
                raise no_room(self.bytes_max)
            for parent in ("blobs", folder):
                self.disk.make_folder(parent)
            self.disk.sync_folder("blobs")
            self.disk.sync_folder("")
            # A name of its own: the same bytes may be put by two at once.
            new = f"{name}.{os.getpid()}-{next(self._news)}.new"
            self.disk.write_new(new, content)
            self.disk.put_in_place(new, name)
            self.bytes += len(content)
        return blob

    def _is_there(self, name: str, content: bytes) -> bool:
        identity = self.disk.identity(name)
        if identity is None or identity[1] != len(content):
            return False
        # One that has rotted since is written anew: its bytes are at hand.
        return self.disk.read(name) == content

    def get(self, blob: str) -> bytes:
        """Return a blob, checked by its hash.

        Raises:
            NotFound: It is not there.
            StorageDamaged: It does not check.
        """
        name = _name(blob)
        try:
            file = self.disk.read(name)
        except FileNotFoundError as error:
            raise no_blob(blob) from error
        data = content_of(name, file)
        if blob_id(data) != blob:
            raise _damaged(name, 0, "it is not what was put under this name")
        return data

    def read(self, blob: str, offset: int, size_max: int) -> bytes:
        """Return a part of a blob; the pieces it lies in are checked.

        Raises:
            NotFound: It is not there.
            StorageDamaged: It does not check.
        """
        name = _name(blob)
        identity = self.disk.identity(name)
        if identity is None:
            raise no_blob(blob)
        try:
            with closing(self.disk.open(name)) as file:
                return _part(name, file, identity[1], offset, size_max)
        except FileNotFoundError as error:
            raise no_blob(blob) from error

    def collect(self, live: AbstractSet[str], older_than_seconds: float) -> CollectReport:
        """Remove what nobody names and is old enough, one folder after the other."""
        blobs = left = bytes_before = bytes_after = 0
        for folder in FOLDERS:
            with self._locked(exclusive=True):
                before = self.disk.now() - older_than_seconds
                self._tidy(folder, before)
                for name, size in _blobs(self.disk, (folder,)):
                    blobs, bytes_before = blobs + 1, bytes_before + size
                    if _blob_of(name) not in live and self.disk.modified(name) <= before:
                        self.disk.remove(name)
                    else:
                        left, bytes_after = left + 1, bytes_after + size
        self.bytes = bytes_after
        return CollectReport(blobs, left, bytes_before, bytes_after)

    def _tidy(self, folder: str, before: float) -> None:
        """Remove what was left of puts that were cut off."""
        with suppress(FileNotFoundError):
            for name in self.disk.names(folder):
                if name.endswith(".new") and self.disk.modified(name) <= before:
                    self.disk.remove(name)

    @contextmanager
    def _locked(self, *, exclusive: bool) -> Iterator[None]:
        lock = self.disk.lock(LOCK_NAME)
        deadline = time.monotonic() + LOCK_SECONDS_MAX
        try:
            while not (lock.try_exclusive() if exclusive else lock.try_shared()):
                if self.disk.inline or time.monotonic() > deadline:
                    raise locked_out(LOCK_NAME)
                time.sleep(LOCK_POLL_SECONDS)
            yield
        finally:
            lock.close()


def blob_file(data: bytes) -> bytes:
    """Return the file of a blob."""
    crcs = b"".join(
        _CRC.pack(zlib.crc32(data[at : at + PIECE_BYTES]))
        for at in range(0, len(data), PIECE_BYTES)
    )
    end = _END.pack(MAGIC, len(data), zlib.crc32(crcs))
    return b"".join((data, crcs, end, _CRC.pack(zlib.crc32(end))))


def content_of(name: str, file: bytes) -> bytes:
    """Return the blob in a file.

    Raises:
        StorageDamaged: It does not check.
    """
    crcs = _checked_end(name, len(file), file[-END_BYTES:], lambda start, end: file[start:end])
    data = file[: len(file) - END_BYTES - len(crcs)]
    for number in range(len(crcs) // _CRC.size):
        _check_piece(name, number, data[number * PIECE_BYTES :][:PIECE_BYTES], crcs)
    return data


def _part(name: str, file: DiskFile, file_bytes: int, offset: int, size_max: int) -> bytes:
    ending = file.read_at(max(0, file_bytes - END_BYTES), END_BYTES)
    crcs = _checked_end(
        name, file_bytes, ending, lambda start, end: file.read_at(start, end - start)
    )
    size = file_bytes - END_BYTES - len(crcs)
    stop = min(size, offset + size_max)
    if offset >= stop:
        return b""
    first = offset // PIECE_BYTES
    start = first * PIECE_BYTES
    until = min(size, -(-stop // PIECE_BYTES) * PIECE_BYTES)
    data = file.read_at(start, until - start)
    for number in range(first, -(-until // PIECE_BYTES)):
        at = number * PIECE_BYTES - start
        _check_piece(name, number, data[at : at + PIECE_BYTES], crcs)
    return data[offset - start : stop - start]


def _checked_end(
    name: str, file_bytes: int, ending: bytes, piece: Callable[[int, int], bytes]
) -> bytes:
    """Return the CRCs of a file's pieces."""
    at = max(0, file_bytes - END_BYTES)
    if (
        len(ending) < END_BYTES
        or zlib.crc32(ending[: _END.size]) != _CRC.unpack(ending[_END.size :])[0]
    ):
        raise _damaged(name, at, "its end does not check")
    magic, size, crc = _END.unpack(ending[: _END.size])
    count = -(-size // PIECE_BYTES)
    if magic != MAGIC or size + count * _CRC.size + END_BYTES != file_bytes:
        raise _damaged(name, at, "it does not have the size it should have")
    crcs = piece(size, size + count * _CRC.size)
    if zlib.crc32(crcs) != crc:
        raise _damaged(name, size, "its checksums do not check")
    return crcs


def _check_piece(name: str, number: int, piece: bytes, crcs: bytes) -> None:
    if zlib.crc32(piece) != _CRC.unpack_from(crcs, number * _CRC.size)[0]:
        raise _damaged(name, number * PIECE_BYTES, "it does not check")


def blob_problems(disk: Disk) -> tuple[int, list[VerifyProblem]]:
    """Check every blob; return how many there are, and what does not check."""
    problems: list[VerifyProblem] = []
    files = BlobFiles(disk, bytes_max=0)
    count = 0
    for name, _ in _blobs(disk):
        count += 1
        try:
            files.get(_blob_of(name))
        except StorageDamaged as error:
            problems.append(VerifyProblem(name, error.offset, error.message))
    return count, problems


def _blobs(disk: Disk, folders: tuple[str, ...] = FOLDERS) -> Iterator[tuple[str, int]]:
    """Yield the name and the size of each blob's file."""
    for folder in folders:
        names: list[str] = []
        with suppress(FileNotFoundError):
            names = disk.names(folder)
        for name in names:
            identity = disk.identity(name)
            if name.endswith(".blob") and identity is not None:
                yield name, identity[1]


def _name(blob: str) -> str:
    return f"blobs/{blob[2:4]}/{blob}.blob"


def _blob_of(name: str) -> str:
    return name.rpartition("/")[2].removesuffix(".blob")


def _damaged(name: str, offset: int, reason: str) -> StorageDamaged:
    return StorageDamaged(
        f"{name} is damaged at byte {offset}: {reason}.",
        file=name,
        offset=offset,
        remedy="Put the same bytes again, or put the file back from a backup. `actrio sessions"
        " verify` names every place that does not check.",
    )
