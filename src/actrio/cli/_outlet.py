"""Where a command speaks: answers to standard output, remarks to standard error.

Writing waits in a thread, because a pipe that nobody reads would otherwise stop the whole event
loop; the wait can be cancelled, so Ctrl-C ends a command whose reader has gone to sleep. File
descriptors are not made non-blocking: the mode belongs to the terminal, and other programs on it
would suffer. Bytes go to the descriptor itself, past Python's buffered streams: a thread left behind
in one of those holds its lock, and the interpreter aborts over that at exit.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
from collections.abc import Mapping

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
    """The two streams of a command, by their file descriptors."""

    def __init__(self, *, out: int = 1, err: int = 2, env: Mapping[str, str] | None = None) -> None:
        variables = os.environ if env is None else env
        self._out = out
        self._err = err
        self.out_is_tty = os.isatty(out)
        self.err_is_tty = os.isatty(err)
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

    async def progress(self, text: str) -> None:
        """Show one line in the place of the last one; for a terminal only."""
        await self._write(self._err, f"\r{for_terminal(text)}\x1b[K".encode())

    async def complain(self, text: str) -> None:
        """Write an error for the person at the terminal."""
        await self._tell(text, _RED)

    async def _tell(self, text: str, style: str) -> None:
        if self._line_open and self.out_is_tty and self.err_is_tty:
            await self.end_line()
        shown = for_terminal(text)
        line = f"{style}{shown}{_PLAIN}\n" if self._color else f"{shown}\n"
        with contextlib.suppress(OSError):  # an answer is not worth less where nobody reads remarks
            await self._write(self._err, line.encode("utf-8", "replace"))

    async def _write(self, descriptor: int, data: bytes) -> None:
        await trio.to_thread.run_sync(_write_all, descriptor, data, abandon_on_cancel=True)


def _write_all(descriptor: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        try:
            left = left[os.write(descriptor, left) :]
        except BlockingIOError:  # another program on this terminal made it non-blocking
            select.select([], [descriptor], [])
