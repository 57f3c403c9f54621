"""Where a command speaks: answers to standard output, remarks to standard error.

Writing waits in a thread, because a pipe that nobody reads would otherwise stop the whole event
loop; the wait can be cancelled, so Ctrl-C ends a command whose reader has gone to sleep. File
descriptors are not made non-blocking: the mode belongs to the terminal, and other programs on it
would suffer.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from typing import BinaryIO

import trio

from actrio.cli._narrate import Spoken

__all__ = ["Outlet", "for_terminal", "wants_color"]

# A model's text is not trusted: escape sequences could retitle, clear or remap a terminal.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")

_DIM = "\x1b[2m"
_RED = "\x1b[31m"
_PLAIN = "\x1b[0m"


def for_terminal(text: str) -> str:
    """Return ``text`` without control characters other than tab and line feed."""
    return _CONTROL.sub("", text)


def wants_color(*, tty: bool, env: Mapping[str, str]) -> bool:
    """Return whether to colour, by NO_COLOR, FORCE_COLOR, TERM and what the stream is."""
    if env.get("NO_COLOR"):
        return False
    if env.get("FORCE_COLOR"):
        return True
    return tty and env.get("TERM") != "dumb"


class Outlet:
    """The two streams of a command."""

    def __init__(
        self,
        *,
        out: BinaryIO | None = None,
        err: BinaryIO | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        variables = os.environ if env is None else env
        self._out = sys.stdout.buffer if out is None else out
        self._err = sys.stderr.buffer if err is None else err
        self.out_is_tty = self._out.isatty()
        self.err_is_tty = self._err.isatty()
        self._color = wants_color(tty=self.err_is_tty, env=variables)
        # Whether the answer's last line is still open, so that a remark starts a line of its own.
        self._line_open = False

    async def answer(self, text: str) -> None:
        """Write a piece of the answer, as it is; cleaned of control characters on a terminal.

        Raises:
            BrokenPipeError: Nobody reads any more.
        """
        if not text:
            return
        shown = for_terminal(text) if self.out_is_tty else text
        await self._write(self._out, shown.encode("utf-8", "replace"))
        self._line_open = not text.endswith("\n")

    async def speak(self, piece: Spoken) -> None:
        """Write a piece of a told turn where it belongs."""
        match piece.way:
            case "answer":
                await self.answer(piece.text)
            case "remark":
                await self.remark(piece.text)
            case "end":
                await self.end_line()

    async def raw(self, line: bytes) -> None:
        """Write bytes that are already a line."""
        await self._write(self._out, line)

    async def end_line(self) -> None:
        """End the answer's line if it is open."""
        if self._line_open:
            await self.answer("\n")

    async def remark(self, text: str) -> None:
        """Write one dim line for the person at the terminal."""
        await self._tell(text, _DIM)

    async def complain(self, text: str) -> None:
        """Write an error for the person at the terminal."""
        await self._tell(text, _RED)

    async def _tell(self, text: str, style: str) -> None:
        if self._line_open and self.out_is_tty and self.err_is_tty:
            await self.end_line()
        shown = for_terminal(text)
        line = f"{style}{shown}{_PLAIN}\n" if self._color else f"{shown}\n"
        await self._write(self._err, line.encode("utf-8", "replace"))

    async def _write(self, stream: BinaryIO, data: bytes) -> None:
        def write() -> None:
            stream.write(data)
            stream.flush()

        await trio.to_thread.run_sync(write, abandon_on_cancel=True)
