"""A disk in memory that can lose its power, fill up, fail and rot, for tests of what is kept on it.

It keeps what a program sees apart from what would survive. A lost power leaves each sector (512
bytes) that was written since the last sync at any of the contents it has had since then, each on
its own, because a disk reorders; a file's length, likewise, at any it has had. A file whose name
was not synced may be gone, and one that was removed may be back.
"""

from __future__ import annotations

import errno
import os
import random
from typing import Final, NoReturn

import attrs

__all__ = ["SimulatedDisk"]

SECTOR_BYTES: Final = 512


@attrs.define(slots=True, eq=False)
class _Content:
    inode: int
    seen: bytearray = attrs.field(factory=bytearray)
    kept: bytes = b""
    # Contents that each sector has had since the last sync, and the lengths.
    sectors: dict[int, list[bytes]] = attrs.field(factory=dict)
    sizes: list[int] = attrs.field(factory=list)
    name_kept: bool = False
    modified: float = 0.0

    def changed(self, start: int, end: int) -> None:
        for number in range(start // SECTOR_BYTES, -(-end // SECTOR_BYTES)):
            piece = self.seen[number * SECTOR_BYTES : (number + 1) * SECTOR_BYTES]
            self.sectors.setdefault(number, []).append(bytes(piece))
        self.sizes.append(len(self.seen))

    def synced(self) -> None:
        self.kept = bytes(self.seen)
        self.sectors.clear()
        self.sizes.clear()

    def lose(self, chance: random.Random) -> None:
        left = bytearray(self.kept)
        for number, versions in self.sectors.items():
            start = number * SECTOR_BYTES
            version = chance.choice([None, *versions])
            if version is not None:
                left.extend(bytes(max(0, start + len(version) - len(left))))
                left[start : start + len(version)] = version
        size = chance.choice([len(self.kept), *self.sizes])
        self.seen = left[:size] + bytes(max(0, size - len(left)))
        self.synced()


class _File:
    def __init__(self, disk: SimulatedDisk, content: _Content, name: str) -> None:
        self._disk = disk
        self._content = content
        self._name = name
        self._life = disk.lives

    def _step(self) -> None:
        if self._life != self._disk.lives:
            raise OSError(errno.EBADF, "opened before the power was lost", self._name)
        self._disk.step(self._name)

    def write_at(self, offset: int, data: bytes) -> None:
        fits = self._disk.fitting(len(data))
        try:
            self._step()
        except OSError:
            self._put(offset, data[: self._disk.chance.randrange(len(data) + 1)])
            raise
        self._put(offset, data[:fits])
        if fits < len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self._name)

    def _put(self, offset: int, data: bytes) -> None:
        seen = self._content.seen
        seen.extend(bytes(max(0, offset - len(seen))))
        seen[offset : offset + len(data)] = data
        self._content.changed(offset, offset + len(data))

    def read_at(self, offset: int, size: int) -> bytes:
        return bytes(self._content.seen[offset : offset + size])

    def sync(self) -> None:
        self._step()
        self._content.synced()

    def truncate(self, size: int) -> None:
        self._step()
        del self._content.seen[size:]
        self._content.changed(size // SECTOR_BYTES * SECTOR_BYTES, size)

    def close(self) -> None:
        pass


class _Lock:
    def __init__(self, holders: dict[int, str]) -> None:
        self._holders = holders

    def try_exclusive(self) -> bool:
        return self._take("exclusive", bool(self._others()))

    def try_shared(self) -> bool:
        return self._take("shared", "exclusive" in self._others())

    def _others(self) -> list[str]:
        return [how for who, how in self._holders.items() if who != id(self)]

    def _take(self, how: str, taken: bool) -> bool:
        if not taken:
            self._holders[id(self)] = how
        return not taken

    def release(self) -> None:
        self._holders.pop(id(self), None)

    def close(self) -> None:
        self.release()


class SimulatedDisk:
    """A `actrio.journal.Disk` in memory.

    Args:
        seed: Decides what a lost power leaves.
        bytes_max: How much fits; beyond it writing fails as on a full disk.

    Attributes:
        time: What its clock shows, in seconds; it does not move by itself.
    """

    inline = True

    def __init__(self, *, seed: int = 0, bytes_max: int = 64 * 1024 * 1024) -> None:
        self.chance = random.Random(seed)
        self.bytes_max = bytes_max
        self.lives = 0
        self.steps = 0
        self._fail_at: int | None = None
        self._fail_errno = errno.EIO
        self._fail_for_good = True
        self._files: dict[str, _Content] = {}
        self._locks: dict[str, dict[int, str]] = {}
        self._inodes = 0
        self._removed: dict[str, _Content] = {}
        self.time = 0.0

    def fail_at(self, step: int, *, number: int = errno.EIO, for_good: bool = True) -> None:
        """Let the ``step``-th write, sync or truncation from now on fail.

        Args:
            step: Which one, from 1.
            number: The error, as in `errno`.
            for_good: Whether all later ones fail as well, as after a lost power.
        """
        self._fail_at, self._fail_errno, self._fail_for_good = self.steps + step, number, for_good

    def step(self, name: str) -> None:
        """Count an operation that changes something; fail if it is its turn."""
        self.steps += 1
        if self._fail_at is None or self.steps < self._fail_at:
            return
        if self.steps > self._fail_at and not self._fail_for_good:
            return
        raise OSError(self._fail_errno, os.strerror(self._fail_errno), name)

    def fitting(self, size: int) -> int:
        """Return how many of ``size`` further bytes fit."""
        return max(
            0, min(size, self.bytes_max - sum(len(one.seen) for one in self._files.values()))
        )

    def lose_power(self) -> None:
        """Keep of each file what the disk happens to have; locks and open files are gone."""
        self.lives += 1
        self._fail_at = None
        self._locks.clear()
        for name, content in self._removed.items():
            if name not in self._files and self.chance.random() < 0.5:
                self._files[name] = content
        self._removed.clear()
        for name, content in list(self._files.items()):
            if not content.name_kept and self.chance.random() < 0.5:
                del self._files[name]
            else:
                content.lose(self.chance)

    def flip_bit(self, name: str, bit: int) -> None:
        """Let one bit of a file rot; the same call again undoes it."""
        content = self._files[name]
        content.seen[bit // 8] ^= 1 << bit % 8
        content.kept = bytes(content.seen)

    def all_names(self) -> tuple[str, ...]:
        """Return the name of every file."""
        return tuple(sorted(self._files))

    def make_folder(self, name: str) -> None:
        """Do nothing: a folder is a part of its files' names."""

    def names(self, folder: str) -> list[str]:
        return [name for name in sorted(self._files) if name.startswith(f"{folder}/")]

    def open(self, name: str, *, create: bool = False) -> _File:
        content = self._files.get(name)
        if content is None:
            if not create:
                _missing(name)
            content = self._files[name] = self._made()
        return _File(self, content, name)

    def _made(self) -> _Content:
        self._inodes += 1
        return _Content(self._inodes, modified=self.time)

    def read(self, name: str) -> bytes:
        if name not in self._files:
            _missing(name)
        return bytes(self._files[name].seen)

    def identity(self, name: str) -> tuple[int, int] | None:
        content = self._files.get(name)
        return None if content is None else (content.inode, len(content.seen))

    def replace(self, name: str, content: bytes) -> None:
        self.write_new(f"{name}.new", content)
        self.put_in_place(f"{name}.new", name)

    def write_new(self, name: str, content: bytes) -> None:
        self.step(name)
        if self.fitting(len(content)) < len(content):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), name)
        fresh = self._files[name] = self._made()
        fresh.seen[:] = content
        fresh.synced()

    def put_in_place(self, new: str, name: str) -> None:
        try:
            self.step(name)
        except OSError:
            if self.chance.random() < 0.5:
                self._rename(new, name)
            raise
        self._rename(new, name)

    def _rename(self, new: str, name: str) -> None:
        fresh = self._files.pop(new)
        fresh.name_kept = True
        self._files[name] = fresh

    def remove(self, name: str) -> None:
        self.step(name)
        if name not in self._files:
            _missing(name)
        self._removed[name] = self._files.pop(name)

    def modified(self, name: str) -> float:
        return self._files[name].modified

    def touch(self, name: str) -> None:
        self.step(name)
        self._files[name].modified = self.time

    def now(self) -> float:
        return self.time

    def sync_folder(self, folder: str) -> None:
        self.step(folder)
        for name in [one for one in self._removed if one.rpartition("/")[0] == folder]:
            del self._removed[name]
        for name in self.names(folder):
            self._files[name].name_kept = True

    def lock(self, name: str) -> _Lock:
        if name not in self._files:
            self._files[name] = self._made()
        return _Lock(self._locks.setdefault(name, {}))


def _missing(name: str) -> NoReturn:
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
