"""Each turn as a line of JSON in a file, for whoever wants to look at single ones.

Lines are collected as turns end and written once a second in a thread: a slow disk delays neither a
turn nor the clock. The file is bounded; what goes beyond is counted. A disk that fails ends the file
and not the run.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import FileIO
from pathlib import Path
from typing import Any, Final

import msgspec
import trio

from actrio.errors import ConfigError
from actrio.stress._turns import Asked, Ending, Listener

__all__ = ["TurnLines", "turn_lines"]

LINES_MAX: Final = 1_000_000
"""Turns that are written: some 250 MB, and an hour at 270 turns per second."""

WAITING_MAX: Final = 50_000
"""Lines that may wait for a disk that takes nothing: some 12 MB."""

_encode = msgspec.json.Encoder().encode


class TurnLines:
    """A file of turns, or none.

    Args:
        file: Where they go; None: nowhere.
        lines_max: More are counted only.
    """

    def __init__(self, file: FileIO | None = None, *, lines_max: int = LINES_MAX) -> None:
        self._file = file
        self._left = lines_max
        self._waiting: list[bytes] = []
        self._writing = trio.Lock()
        self.written = 0
        self.left_out = 0
        self.problem: str | None = None

    def add(
        self,
        asked: Asked,
        heard: Listener,
        ending: Ending,
        *,
        outcome: str,
        stage: str,
        zero: float,
        now: float,
    ) -> None:
        """Note a turn that has ended.

        Args:
            asked: The turn.
            heard: What came of it.
            ending: How it ended.
            outcome: As what it counts.
            stage: In which stage.
            zero: When the run began, in Trio time.
            now: When it ended.
        """
        if self._file is None:
            return
        if not self._left or self.problem or len(self._waiting) >= WAITING_MAX:
            self.left_out += 1
            return
        self._left -= 1
        fate = asked.fate
        line: dict[str, Any] = {
            "stage": stage,
            "intended": round(asked.intended - zero, 6),
            "begun": round(heard.begun - zero, 6),
            "first": round(heard.first - zero, 6) if heard.first is not None else None,
            "ended": round(now - zero, 6),
            "outcome": outcome,
            "counted": asked.counted and fate.unharmed,
            "pieces": heard.pieces,
            "characters": heard.chars,
            "tokens": ending.tokens,
        }
        if ending.label:
            line["label"] = ending.label
        if not fate.unharmed:
            line["fate"] = fate.fault or ("slow" if fate.slow else "cancel")
        self._waiting.append(_encode(line))

    async def flush(self) -> None:
        """Write what waits."""
        if self._file is None or not self._waiting:
            return
        async with self._writing:
            lines, self._waiting = self._waiting, []
            lines.append(b"")
            try:
                await trio.to_thread.run_sync(_write, self._file, b"\n".join(lines))
            except OSError as error:
                self.problem = error.strerror or type(error).__name__
                self.left_out += len(lines) - 1
            else:
                self.written += len(lines) - 1

    def told(self) -> dict[str, Any] | None:
        """Return what became of the file; None where there is none."""
        if self._file is None:
            return None
        return {"written": self.written, "left_out": self.left_out, "problem": self.problem}


def _write(file: FileIO, content: bytes) -> None:
    # Without a buffer of Python's: what a full disk did not take would be tried again at the end.
    left = memoryview(content)
    while left:
        left = left[file.write(left) :]


@asynccontextmanager
async def turn_lines(path: Path | None) -> AsyncIterator[TurnLines]:
    """Give the lines of the file at ``path``, which is made anew.

    Raises:
        ConfigError: It cannot be made.
    """
    if path is None:
        yield TurnLines()
        return
    try:
        file = await trio.to_thread.run_sync(FileIO, path, "wb")
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be written: {error.strerror}.", remedy="Choose another place."
        ) from error
    lines = TurnLines(file)
    try:
        yield lines
    finally:
        with trio.CancelScope(shield=True):  # a second's worth of lines
            await lines.flush()
            await trio.to_thread.run_sync(file.close)
