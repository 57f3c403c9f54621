"""What a simulated program gets in place of the world: a clock, randomness, ids and files.

Whatever a program takes from a port instead of from the operating system repeats with its seed.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any, Final, NoReturn

import attrs
import trio

from actrio.errors import LimitExceeded, NotFound, NotSupported
from actrio.journal import MemoryStore

__all__ = ["Ports", "SimulatedClock", "SimulatedFiles", "SimulatedIds"]

FILES_BYTES_MAX: Final = 64 * 1024 * 1024
"""Bytes that the simulated files may hold: a simulation that needs more is no longer small."""

EPOCH_SECONDS: Final = 1_700_000_000.0
"""The wall-clock time at which every simulation begins, in seconds since 1970."""


@attrs.frozen
class SimulatedClock:
    """Virtual time: it jumps to the next deadline whenever nothing can run."""

    _clock: trio.testing.MockClock

    def now(self) -> float:
        """Return Trio time in seconds."""
        return self._clock.current_time()

    def utc(self) -> float:
        """Return wall-clock time in seconds since 1970; it moves with `now`."""
        return EPOCH_SECONDS + self._clock.current_time()

    def jump(self, seconds: float) -> None:
        """Let ``seconds`` pass at once, as after a laptop's sleep."""
        self._clock.jump(seconds)


class SimulatedIds:
    """Ids in the order in which they were asked for."""

    def __init__(self) -> None:
        self._given = 0

    def new(self, prefix: str) -> str:
        """Return the next id, for example ``s_000007``."""
        self._given += 1
        return f"{prefix}_{self._given:06d}"


class SimulatedFiles:
    """Files in memory that tell written from synced, so that a power loss can be played.

    Raises:
        LimitExceeded: All files together would be larger than 64 MiB.
    """

    def __init__(self) -> None:
        self._written: dict[str, bytes] = {}
        self._synced: dict[str, bytes] = {}

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._written))

    def read(self, path: str) -> bytes:
        """Return what was written to ``path``.

        Raises:
            NotFound: There is no such file.
        """
        if path not in self._written:
            raise NotFound(f"There is no simulated file {path}.", remedy="Write it first.")
        return self._written[path]

    def write(self, path: str, content: bytes) -> None:
        """Replace the content of ``path``."""
        held = sum(map(len, self._written.values())) - len(self._written.get(path, b""))
        if held + len(content) > FILES_BYTES_MAX:
            raise LimitExceeded(
                f"The simulated files would hold more than {FILES_BYTES_MAX} bytes.",
                remedy="Simulate with less data.",
            )
        self._written[path] = content

    def append(self, path: str, content: bytes) -> None:
        """Add ``content`` at the end of ``path``."""
        self.write(path, self._written.get(path, b"") + content)

    def remove(self, path: str) -> None:
        """Remove ``path``, if it is there."""
        self._written.pop(path, None)

    def rename(self, old: str, new: str) -> None:
        """Let ``new`` be what ``old`` was."""
        self._written[new] = self.read(old)
        del self._written[old]

    def sync(self) -> None:
        """Make everything written survive `lose_power`."""
        self._synced = dict(self._written)

    def lose_power(self) -> None:
        """Forget what was not synced."""
        self._written = dict(self._synced)


def _store_of(ports: Ports) -> MemoryStore:
    return MemoryStore(now=ports.clock.utc)


@attrs.frozen
class Ports:
    """Everything from outside that a simulated program may use.

    HTTP has no simulated port yet; asking for it raises `NotSupported`.

    Attributes:
        store: A journal in memory, by the simulated clock; `FaultyStore` puts faults into it.
    """

    clock: SimulatedClock
    random: random.Random
    ids: SimulatedIds
    files: SimulatedFiles
    store: MemoryStore = attrs.field(init=False, default=attrs.Factory(_store_of, takes_self=True))

    @property
    def http(self) -> Any:
        """Raise `NotSupported`: HTTP is not simulated."""
        _absent(
            "HTTP", "Use a scripted model (model='scripted:…'), or ScriptedServer on real sockets."
        )


def _absent(what: str, remedy: str) -> NoReturn:
    raise NotSupported(f"{what} has no simulated port in this version.", remedy=remedy)
