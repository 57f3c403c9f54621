"""The results of a batch, in the order of its input, however they come.

A result that comes before its turn waits. In a file it waits on the disk, so that nothing that was
paid for is asked twice::

    FILE            results 1 … n, in order; what stands here is finished
    FILE.partial    a head that names the batch, and finished results beyond n + 1

Both are only ever appended to, a line at a time, so the end of the process at any moment leaves
whole lines and at most one torn one, which the next run cuts off. When all is done, ``.partial``
is removed.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import trio

from actrio.cli._outlet import Outlet
from actrio.errors import Conflict, StorageUnavailable
from actrio.wire import json_line

__all__ = ["Result", "Results", "ResultsOut", "open_results_file"]

Result = Mapping[str, Any]


class Results(Protocol):
    """Where results go.

    Attributes:
        batch: Names this batch, also in a later run of it.
        written: How many results stand in their place.
    """

    batch: str
    written: int

    def known(self, number: int, id: str | int) -> Result | None:
        """Return the result that an earlier run has left for a line.

        Raises:
            Conflict: It is that of another line.
        """

    async def add(self, number: int, result: Result) -> None:
        """Take the result of a line, in any order."""


class ResultsOut:
    """Results on standard output: those that come too early wait in memory."""

    def __init__(self, outlet: Outlet) -> None:
        self.batch = secrets.token_hex(8)
        self.written = 0
        self._outlet = outlet
        # Bounded by the window of whoever asks.
        self._early: dict[int, bytes] = {}
        self._writing = trio.Lock()

    def known(self, _number: int, _id: str | int) -> Result | None:
        return None

    async def add(self, number: int, result: Result) -> None:
        async with self._writing:
            self._early[number] = json_line(dict(result))
            while (line := self._early.pop(self.written + 1, None)) is not None:
                await self._outlet.raw(line)
                self.written += 1


class _ResultsFile:
    """Results in a file, which an earlier run may have begun."""

    def __init__(self, path: Path, whole: int, partial: int) -> None:
        self._path = path
        self._whole, self._partial = whole, partial
        # Of what is finished only what decides the exit code, however long the texts are.
        self._done = [_judged(_result(path, line)) for line in _whole_lines(whole)]
        self.written = len(self._done)
        early = _whole_lines(partial)
        head = next(early, b"")
        self.batch = _batch_of(head)
        self._head_bytes = len(head)
        self._early: dict[int, Result] = {}
        for line in early:
            entry = _result(path, line)
            if entry["number"] > self.written:
                self._early[entry["number"]] = entry["result"]
        if not self.batch:
            self.batch = secrets.token_hex(8)
            self._begin_partial()

    def _begin_partial(self) -> None:
        head = json_line({"batch": self.batch, "results": self._path.name})
        os.ftruncate(self._partial, 0)
        os.write(self._partial, head)
        self._head_bytes = len(head)

    def known(self, number: int, id: str | int) -> Result | None:
        found = self._early.get(number)
        if number <= len(self._done):
            found = self._done[number - 1]
        if found is not None and found.get("id") != id:
            raise Conflict(
                f"{self._path} has a result {found.get('id')!r} where line {number} of the input "
                f"is {id!r}.",
                remedy="It belongs to another input: name another --output, or remove it.",
            )
        return found

    async def add(self, number: int, result: Result) -> None:
        if number <= self.written:
            await trio.lowlevel.checkpoint()
        # Appending some kilobytes to a file of this machine does not wait for the disk.
        elif number == self.written + 1:
            self._write(self._whole, json_line(dict(result)))
            self.written += 1
            self._early.pop(number, None)
            self._write_early()
            await trio.lowlevel.checkpoint()
        elif number not in self._early:
            self._early[number] = result
            self._write(self._partial, json_line({"number": number, "result": dict(result)}))
            await trio.lowlevel.checkpoint()

    def _write_early(self) -> None:
        while (early := self._early.pop(self.written + 1, None)) is not None:
            self._write(self._whole, json_line(dict(early)))
            self.written += 1
        if not self._early:
            os.ftruncate(self._partial, self._head_bytes)

    def _write(self, descriptor: int, data: bytes) -> None:
        try:
            left = memoryview(data)
            while left:
                left = left[os.write(descriptor, left) :]
        except OSError as error:
            raise StorageUnavailable(
                f"{self._path} cannot be written: {error.strerror}.",
                remedy="Make room, then run the same command again: it goes on where it ended.",
            ) from error


@contextmanager
def open_results_file(path: Path) -> Iterator[Results]:
    """Open a file of results, new or begun by an earlier run; one process at a time may.

    Raises:
        Conflict: Another process writes it, or it does not hold results.
        StorageUnavailable: It cannot be written.
    """
    partial_path = path.with_name(f"{path.name}.partial")
    whole, partial = _opened(path), _opened(partial_path)
    try:
        try:
            fcntl.flock(partial, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise Conflict(
                f"Another process writes {path}.", remedy="Wait for it, or name another --output."
            ) from error
        yield _ResultsFile(path, whole, partial)
        partial_path.unlink(missing_ok=True)  # all is done: an error would have left the block
    finally:
        os.close(whole)
        os.close(partial)


def _opened(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise StorageUnavailable(
            f"{path} cannot be written: {error.strerror}.", remedy="Name another --output."
        ) from error


def _whole_lines(descriptor: int) -> Iterator[bytes]:
    """Yield the lines of a file; what an earlier run has left of a last one is cut off."""
    offset = 0
    with os.fdopen(os.dup(descriptor), "rb") as file:
        file.seek(0)
        for line in file:
            if not line.endswith(b"\n"):
                break
            offset += len(line)
            yield line
    os.ftruncate(descriptor, offset)


def _judged(result: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: result[name] for name in ("id", "stop_reason") if name in result}
    if isinstance(error := result.get("error"), dict):
        kept["error"] = {name: error.get(name) for name in ("kind", "retryable")}
    return kept


def _result(path: Path, line: bytes) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise Conflict(
            f"{path} holds something else than results.", remedy="Name another --output."
        )
    return found


def _batch_of(head: bytes) -> str:
    try:
        return str(json.loads(head)["batch"])
    except (ValueError, KeyError, TypeError):
        return ""
