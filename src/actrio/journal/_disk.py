"""The disk as the journal sees it: files by name, locks, and what an operating system's error means.

Everything here blocks and is called in worker threads. The simulated disk of `actrio.testing`
stands in its place in tests and is called at once (``inline``), so that a simulation repeats.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from pathlib import Path
from typing import Final, Protocol

from actrio.errors import StorageError, StorageFull, StorageUnavailable

__all__ = ["Disk", "DiskFile", "DiskLock", "RealDisk", "storage_error"]

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


WRITE_BYTES: Final = 16 * 1024 * 1024
"""Largest single write, so that a large file does not end in one that some system cuts short."""


class DiskFile(Protocol):
    """One open file."""

    def write_at(self, offset: int, data: bytes) -> None:
        """Write all of ``data``; an `OSError` may leave a part of it written."""
        ...

    def read_at(self, offset: int, size: int) -> bytes:
        """Return up to ``size`` bytes, fewer only at the file's end."""
        ...

    def sync(self) -> None:
        """Return when everything written is on the disk."""
        ...

    def truncate(self, size: int) -> None: ...
    def close(self) -> None: ...


class DiskLock(Protocol):
    """An advisory lock on a file; its holder's end releases it."""

    def try_exclusive(self) -> bool: ...
    def try_shared(self) -> bool: ...
    def release(self) -> None: ...
    def close(self) -> None: ...


class Disk(Protocol):
    """Names are relative to the store's folder, with ``/`` between their parts."""

    inline: bool

    def make_folder(self, name: str) -> None: ...
    def names(self, folder: str) -> list[str]:
        """Return the names in ``folder``, each with the folder before it, in order."""
        ...

    def open(self, name: str, *, create: bool = False) -> DiskFile: ...
    def read(self, name: str) -> bytes: ...
    def identity(self, name: str) -> tuple[int, int] | None:
        """Return which file this is and its size; ``None`` if there is none."""
        ...

    def replace(self, name: str, content: bytes) -> None:
        """Let ``name`` hold ``content``, synced; whoever looks sees the old or the new."""
        ...

    def write_new(self, name: str, content: bytes) -> None:
        """Write and sync a file that nobody looks for, until `put_in_place` gives it its name."""
        ...

    def put_in_place(self, new: str, name: str) -> None:
        """Let ``name`` be the file that was ``new``, its name synced."""
        ...

    def remove(self, name: str) -> None: ...
    def modified(self, name: str) -> float:
        """Return when a file was last written or touched, by the same clock as `now`."""
        ...

    def touch(self, name: str) -> None:
        """Let a file have been modified now."""
        ...

    def now(self) -> float: ...
    def sync_folder(self, folder: str) -> None: ...
    def lock(self, name: str) -> DiskLock: ...


class _RealFile:
    __slots__ = ("_fd",)

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def write_at(self, offset: int, data: bytes) -> None:
        view = memoryview(data)
        while view:
            written = os.pwrite(self._fd, view, offset)
            view, offset = view[written:], offset + written

    def read_at(self, offset: int, size: int) -> bytes:
        data = os.pread(self._fd, size, offset)
        while len(data) < size:
            more = os.pread(self._fd, size - len(data), offset + len(data))
            if not more:
                break
            data += more
        return data

    def sync(self) -> None:
        _sync(self._fd)

    def truncate(self, size: int) -> None:
        os.ftruncate(self._fd, size)

    def close(self) -> None:
        os.close(self._fd)


def _sync(fd: int) -> None:
    # macOS's fsync leaves data in the drive's cache; this is the call that does not.
    full = getattr(fcntl, "F_FULLFSYNC", None)
    if full is not None:
        fcntl.fcntl(fd, full)
    else:
        os.fdatasync(fd)


class _RealLock:
    __slots__ = ("_fd",)

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def _try(self, operation: int) -> bool:
        try:
            fcntl.flock(self._fd, operation | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def try_exclusive(self) -> bool:
        return self._try(fcntl.LOCK_EX)

    def try_shared(self) -> bool:
        return self._try(fcntl.LOCK_SH)

    def release(self) -> None:
        fcntl.flock(self._fd, fcntl.LOCK_UN)

    def close(self) -> None:
        os.close(self._fd)


class RealDisk:
    """A folder of the operating system; files are readable by their user only."""

    inline = False

    def __init__(self, root: Path) -> None:
        self.root = root
        self._folder = os.fspath(root)

    def make_folder(self, name: str) -> None:
        (self.root / name).mkdir(parents=True, exist_ok=True, mode=0o700)

    def names(self, folder: str) -> list[str]:
        return sorted(f"{folder}/{path.name}" for path in (self.root / folder).iterdir())

    def open(self, name: str, *, create: bool = False) -> DiskFile:
        flags = os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if create else 0)
        return _RealFile(os.open(self.root / name, flags, 0o600))

    def read(self, name: str) -> bytes:
        return (self.root / name).read_bytes()

    def identity(self, name: str) -> tuple[int, int] | None:
        try:
            # Once for each commit, so without a path's own arithmetic.
            status = os.stat(f"{self._folder}/{name}")  # noqa: PTH116
        except FileNotFoundError:
            return None
        return status.st_ino, status.st_size

    def replace(self, name: str, content: bytes) -> None:
        self.write_new(f"{name}.new", content)
        self.put_in_place(f"{name}.new", name)

    def write_new(self, name: str, content: bytes) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        fd = os.open(self.root / name, flags, 0o600)
        try:
            view = memoryview(content)
            while view:
                view = view[os.write(fd, view[:WRITE_BYTES]) :]
            _sync(fd)
        finally:
            os.close(fd)

    def put_in_place(self, new: str, name: str) -> None:
        (self.root / new).replace(self.root / name)
        self.sync_folder(str(Path(name).parent))

    def remove(self, name: str) -> None:
        (self.root / name).unlink()

    def modified(self, name: str) -> float:
        return (self.root / name).stat().st_mtime

    def touch(self, name: str) -> None:
        os.utime(self.root / name)

    def now(self) -> float:
        return time.time()

    def sync_folder(self, folder: str) -> None:
        fd = os.open(self.root / folder, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def lock(self, name: str) -> DiskLock:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        return _RealLock(os.open(self.root / name, flags, 0o600))


def storage_error(error: OSError, doing: str) -> StorageError:
    """Return what ``error`` means for whoever runs the program.

    Args:
        error: What the operating system said.
        doing: What was tried, for example ``writing to segments/…``.
    """
    said = error.strerror or str(error)
    if error.errno in _FULL:
        return StorageFull(
            f"The disk is full: {doing} failed ({said}).",
            remedy="Free some room, then open the store again; what was acknowledged is kept.",
        )
    return StorageUnavailable(
        f"The disk refuses: {doing} failed ({said}).",
        remedy="Look at the folder's permissions and the disk's health, then open the store again.",
    )
