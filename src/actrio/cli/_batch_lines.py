"""The lines of a batch: JSON in, what is to be asked out."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import attrs
import msgspec
import trio

from actrio.cli._app import STANDARD_INPUT
from actrio.errors import ActrioError, InvalidRequest, LimitExceeded, NotFound, StorageUnavailable
from actrio.sansio import Line, LineReader, LineTooLong

__all__ = ["Asked", "BatchLines", "open_lines_of"]

READ_BYTES: Final = 64 * 1024

_FIELDS: Final[Mapping[str, type | tuple[type, ...]]] = {
    "prompt": str,
    "id": (str, int),
    "session": str,
    "agent": str,
    "model": str,
}


@attrs.frozen(slots=True, kw_only=True)
class Asked:
    """One line of the input.

    Attributes:
        number: Which, counted from 1 without the blank ones.
        id: What its result is called; the number where the line names none.
        prompt: What is asked.
        session: The session that it goes on with.
        agent: Who answers, in the place of the one that the flags mean.
        model: On which model.
        problem: What is wrong with the line; nothing else of it counts then.
    """

    number: int
    id: str | int
    prompt: str = ""
    session: str | None = None
    agent: str | None = None
    model: str | None = None
    problem: ActrioError | None = None


class BatchLines:
    """Reads a batch line by line; nothing of it is kept.

    Args:
        descriptor: Where it comes from.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._reader = LineReader()
        self._waiting: list[Line | LineTooLong] = []
        self._number = 0
        self._ended = False

    async def next(self) -> Asked | None:
        """Return the next line, or ``None`` behind the last one."""
        while not self._waiting and not self._ended:
            data = await self._read()
            self._ended = not data
            found = self._reader.feed(data) if data else self._reader.close()
            self._waiting = [each for each in found if _is_said(each)]
        if not self._waiting:
            return None
        self._number += 1
        return _asked(self._number, self._waiting.pop(0))

    async def _read(self) -> bytes:
        try:
            # In a thread that can be left behind: a terminal or pipe may never send anything.
            return await trio.to_thread.run_sync(
                os.read, self._descriptor, READ_BYTES, abandon_on_cancel=True
            )
        except OSError as error:
            raise StorageUnavailable(
                f"The input cannot be read: {error.strerror}.", remedy="Check what it is."
            ) from error


def _is_said(line: Line | LineTooLong) -> bool:
    return isinstance(line, LineTooLong) or bool(line.data.strip())


def _asked(number: int, line: Line | LineTooLong) -> Asked:
    if isinstance(line, LineTooLong):
        problem: ActrioError = LimitExceeded(
            f"Line {number} is longer than {line.bytes_max} bytes.",
            remedy="Shorten it, or give the agent a tool that reads the file.",
        )
        return Asked(number=number, id=number, problem=problem)
    try:
        value = msgspec.json.decode(line.data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return _wrong(number, number, f"is not JSON: {error}")
    if isinstance(value, str):
        return Asked(number=number, id=number, prompt=value)
    if not isinstance(value, dict):
        return _wrong(number, number, "is neither an object nor a string")
    return _object(number, value)


def _object(number: int, value: dict[str, Any]) -> Asked:
    id = value.get("id", number)
    if isinstance(id, bool) or not isinstance(id, (str, int)):
        return _wrong(number, number, "has an id that is neither a string nor an integer")
    for name, given in value.items():
        if name not in _FIELDS:
            return _wrong(number, id, f"has a field {name!r}")
        if not isinstance(given, _FIELDS[name]):
            return _wrong(number, id, f"has a {name} that is no string")
    if "prompt" not in value:
        return _wrong(number, id, "has no prompt")
    return Asked(**{"number": number, "id": id, **value})


def _wrong(number: int, id: str | int, text: str) -> Asked:
    problem = InvalidRequest(
        f"Line {number} {text}.",
        remedy=f"Write a JSON string, or an object with {', '.join(_FIELDS)}.",
    )
    return Asked(number=number, id=id, problem=problem)


@asynccontextmanager
async def open_lines_of(source: str) -> AsyncIterator[tuple[BatchLines, int | None]]:
    """Open a batch; gives its lines, and how many there are where that can be known.

    Raises:
        NotFound: There is no such file.
        StorageUnavailable: It cannot be read.
    """
    if source == STANDARD_INPUT:
        yield BatchLines(0), None
        return
    try:
        descriptor = await trio.to_thread.run_sync(os.open, source, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise NotFound(f"There is no file {source}.", remedy="Check its name.") from error
    except OSError as error:
        raise StorageUnavailable(
            f"{source} cannot be read: {error.strerror}.", remedy="Check who may read it."
        ) from error
    try:
        yield BatchLines(descriptor), await trio.to_thread.run_sync(_count, Path(source))
    finally:
        os.close(descriptor)


def _count(path: Path) -> int | None:
    """Return how many lines that are not blank a file has; ``None`` for what is no file."""
    if not path.is_file():
        return None
    with path.open("rb") as file:
        return sum(1 for line in file if line.strip())
