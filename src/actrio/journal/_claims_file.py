"""The claims file, shared by all processes of a store under an advisory lock.

Whoever commits appends holds the lock shared and looks whether the file has changed; whoever claims
holds it alone. So a claim and a commit never overlap: when a claim is granted, everything that its
predecessor was told to be written is in the segments, and nothing of it comes later. Both pass
through a gate first, so that a claimer is not kept waiting by commits that overlap each other.

The file needs no sync: after a power loss no owner lives, and epochs go on from the records.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from actrio.errors import StorageDamaged, StorageUnavailable
from actrio.journal._claims import ClaimTable, frames_of, is_head
from actrio.journal._disk import Disk, DiskFile
from actrio.journal._envelope import json_of
from actrio.journal._frames import scan

__all__ = ["CLAIMS_NAME", "LOCK_POLL_SECONDS", "LOCK_SECONDS_MAX", "ClaimsFile", "locked_out"]

CLAIMS_NAME: Final = "claims.log"

LOCK_SECONDS_MAX: Final = 5.0
"""Longest wait for the lock: a commit takes milliseconds, so its holder is stopped, not slow."""

LOCK_POLL_SECONDS: Final = 0.0005

REWRITE_BYTES: Final = 1024 * 1024
"""A file is rewritten when it has doubled since the last time, and has at least this size."""


class ClaimsFile:
    """Reads and writes the claims; ``table`` is what they amount to."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._gate = disk.lock("claims.gate")
        self._lock = disk.lock("claims.lock")
        self._known: tuple[int, int] | None = None
        self._size_rewritten = 0
        self.table = ClaimTable()

    def try_share(self) -> bool:
        """Keep claimers away until `unshare`, if that is possible at once."""
        if not self._gate.try_exclusive():
            return False
        try:
            return self._lock.try_shared()
        finally:
            self._gate.release()

    def unshare(self) -> None:
        self._lock.release()

    def catch_up(self) -> None:
        """Read what others have claimed since, inside `try_share`."""
        self._catch_up(may_cut=False)

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Keep committers and claimers away; the table is up to date inside."""
        with self._held():
            self._catch_up(may_cut=True)
            yield

    @contextmanager
    def _held(self) -> Iterator[None]:
        deadline = time.monotonic() + LOCK_SECONDS_MAX
        self._poll(self._gate.try_exclusive, deadline)
        try:
            self._poll(self._lock.try_exclusive, deadline)
        finally:
            self._gate.release()
        try:
            yield
        finally:
            self._lock.release()

    def _poll(self, attempt: Any, deadline: float) -> None:
        while not attempt():
            if self._disk.inline or time.monotonic() > deadline:
                raise locked_out()
            time.sleep(LOCK_POLL_SECONDS)

    def _catch_up(self, *, may_cut: bool) -> None:
        identity = self._disk.identity(CLAIMS_NAME)
        if identity == self._known:
            return
        if identity is None:
            raise _damaged(0, "the file is gone")
        start = 0
        if self._known is not None and identity[0] == self._known[0]:
            start = self._known[1]
        if start == 0:
            self.table = ClaimTable(self.table.serial)
        end = self._read(start, may_cut=may_cut)
        self._known = (identity[0], end)

    def _read(self, start: int, *, may_cut: bool) -> int:
        found = scan(self._disk.read(CLAIMS_NAME), start=start)
        verdict = found.verdict
        if verdict.state == "damaged" or (
            start == 0 and not (found.frames and is_head(found.frames[0]))
        ):
            raise _damaged(verdict.offset, verdict.reason or "it does not begin as it should")
        if verdict.state == "torn" and may_cut:
            # A claimer was killed while it wrote; the lock is ours, so it is no longer writing.
            file = self._disk.open(CLAIMS_NAME)
            with _closing(file):
                file.truncate(verdict.offset)
        for frame in found.frames:
            self.table.saw(json_of(frame.payload))
        return verdict.offset

    @property
    def current(self) -> bool:
        """Whether nobody has claimed anything since this process looked; one quick look."""
        return self._disk.identity(CLAIMS_NAME) == self._known

    def write(self, entries: list[dict[str, Any]]) -> None:
        """Add entries, inside `exclusive`; the table has them afterwards."""
        assert self._known is not None, "inside exclusive()"
        inode, size = self._known
        data = frames_of(entries, offset=size)
        file = self._disk.open(CLAIMS_NAME)
        with _closing(file):
            try:
                file.write_at(size, data)
            except OSError:
                file.truncate(size)
                raise
        self._known = (inode, size + len(data))
        for entry in entries:
            self.table.saw(entry)
        if self._known[1] > max(REWRITE_BYTES, 2 * self._size_rewritten):
            self.rewrite()

    def rewrite(self, table: ClaimTable | None = None) -> None:
        """Write the file anew from ``table`` (by default its own), inside `exclusive`.

        The others see another file under the name and read all of it.
        """
        self.table = table if table is not None else self.table
        self._disk.replace(CLAIMS_NAME, self.table.as_file())
        self._known = self._disk.identity(CLAIMS_NAME)
        self._size_rewritten = self._known[1] if self._known else 0

    @contextmanager
    def apart(self) -> Iterator[None]:
        """Keep claimers and openers away, committers not, from a thread of one's own."""
        gate, lock = self._disk.lock("claims.gate"), self._disk.lock("claims.lock")
        deadline = time.monotonic() + LOCK_SECONDS_MAX
        try:
            self._poll(gate.try_exclusive, deadline)
            self._poll(lock.try_shared, deadline)
            gate.release()
            yield
        finally:
            lock.close()
            gate.close()

    @contextmanager
    def opening(self) -> Iterator[None]:
        """Keep committers and claimers away while a process opens the store."""
        with self._held():
            yield

    def begin(self, *, alone: bool, serial: int) -> None:
        """Make the file ready, inside `opening`.

        Args:
            alone: Whether no other process uses the store, so that all claims are over.
            serial: The highest epoch of any record.

        Raises:
            StorageDamaged: What is there does not check.
        """
        if not alone or self._disk.identity(CLAIMS_NAME) is not None:
            self._catch_up(may_cut=True)
        if alone:
            self.rewrite(ClaimTable(max(serial, self.table.serial)))

    def close(self) -> None:
        self._gate.close()
        self._lock.close()


def locked_out(name: str = CLAIMS_NAME) -> StorageUnavailable:
    """Return the error for a lock that somebody does not give back."""
    return StorageUnavailable(
        f"Another process has held {name} locked for {LOCK_SECONDS_MAX:g} seconds.",
        remedy="Let the stopped process go on, or end it.",
    )


@contextmanager
def _closing(file: DiskFile) -> Iterator[None]:
    try:
        yield
    finally:
        file.close()


def _damaged(offset: int, reason: str) -> StorageDamaged:
    return StorageDamaged(
        f"{CLAIMS_NAME} is damaged at byte {offset}: {reason}.",
        file=CLAIMS_NAME,
        offset=offset,
        remedy="Nothing was altered. End every process that uses this store and remove this file:"
        " claims end with their owners, and epochs go on from the records.",
    )
