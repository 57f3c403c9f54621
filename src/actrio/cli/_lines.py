"""Lines from a person, or from a pipe.

On a terminal, Python's ``input`` with readline: editing, history kept between runs, completion of
commands. Anything else is read plainly from the descriptor. Either way the wait is in a thread
that can be left behind, and the terminal gets its mode back at the end, because readline cannot
when its thread is left in the middle of a line.

A wait that is cancelled leaves its thread reading, and the next one waits for the same thread: a
second one would get only every other line.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final, Generic, Protocol, TypeVar

import trio

from actrio.errors import LimitExceeded
from actrio.messages import PROMPT_BYTES_MAX

__all__ = ["Lines", "open_lines"]

HISTORY_LINES_MAX: Final = 1000
"""What a person may want to find again; shells keep about as much."""


class Lines(Protocol):
    """Where lines come from."""

    async def next(self) -> str | None:
        """Return the next line without its end, or ``None`` at the end of input."""

    @property
    def unfinished(self) -> str:
        """Prompt and half a line, to be shown again after something was written between."""

    @property
    def going_on(self) -> bool:
        """Whether a person is at a line that a cancelled wait has left."""


T = TypeVar("T")


class _Reading(Generic[T]):
    """One read at a time in a thread, which goes on where a wait for it is cancelled."""

    def __init__(self, read: Callable[[], T]) -> None:
        self._read = read
        self._done: trio.Event | None = None
        self._got: list[Any] = []

    @property
    def going_on(self) -> bool:
        """Whether a thread reads, or has read what nobody has taken."""
        return self._done is not None

    async def next(self) -> T:
        if self._done is None:
            done = self._done = trio.Event()
            token = trio.lowlevel.current_trio_token()

            def deliver(got: Any) -> None:
                self._got.append(got)
                with contextlib.suppress(trio.RunFinishedError):  # left behind for good
                    token.run_sync_soon(done.set)

            trio.lowlevel.start_thread_soon(self._read, deliver)
        await self._done.wait()
        self._done = None
        got: T = self._got.pop().unwrap()
        return got


class PipedLines:
    """Lines of a pipe or file, decoded leniently; no prompt."""

    unfinished = ""
    going_on = False

    def __init__(self, descriptor: int = 0) -> None:
        self._reading = _Reading(partial(os.read, descriptor, 65536))
        self._buffer = bytearray()
        self._ended = False

    async def next(self) -> str | None:
        while (end := self._buffer.find(b"\n")) < 0 and not self._ended:
            if len(self._buffer) > PROMPT_BYTES_MAX:
                raise LimitExceeded(
                    f"A line on standard input is longer than {PROMPT_BYTES_MAX} bytes.",
                    remedy="Send less in one line.",
                )
            piece = await self._reading.next()
            self._buffer += piece
            self._ended = not piece
        if end < 0:
            end = len(self._buffer)
            if not end:
                return None
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return line.removesuffix(b"\r").decode("utf-8", "replace")


class TypedLines:
    """Lines of a person at a terminal."""

    def __init__(self, prompt: str, readline: Any | None) -> None:
        self._prompt = prompt
        self._readline = readline
        self._reading = _Reading(partial(input, prompt))

    async def next(self) -> str | None:
        try:
            return await self._reading.next()
        except EOFError:
            return None

    @property
    def going_on(self) -> bool:
        return self._reading.going_on

    @property
    def unfinished(self) -> str:
        typed = self._readline.get_line_buffer() if self._readline is not None else ""
        return f"{self._prompt}{typed}"


@contextmanager
def open_lines(*, prompt: str, history: Path, commands: Sequence[str]) -> Iterator[Lines]:
    """Open standard input as lines; leaves the terminal as it was found.

    Args:
        prompt: Shown on a terminal only.
        history: Where a person's lines are kept.
        commands: Words that Tab completes.
    """
    if not (os.isatty(0) and os.isatty(1)):
        yield PipedLines()
        return
    import termios

    mode = termios.tcgetattr(0)
    readline = _readline(history, commands)
    try:
        yield TypedLines(prompt, readline)
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, mode)
        if readline is not None:
            _keep_history(readline, history)


def _readline(history: Path, commands: Sequence[str]) -> Any | None:
    try:
        import readline
    except ImportError:  # a Python built without it still reads lines
        return None

    def complete(start: str, index: int) -> str | None:
        fitting = [command for command in commands if command.startswith(start)]
        return fitting[index] if index < len(fitting) else None

    readline.set_completer(complete)
    readline.set_completer_delims(" \t\n")
    # macOS ships libedit under readline's name, with a language of its own.
    libedit = "libedit" in (readline.__doc__ or "")
    readline.parse_and_bind("bind ^I rl_complete" if libedit else "tab: complete")
    with contextlib.suppress(OSError):  # none yet, or not ours: then there is nothing to recall
        readline.read_history_file(history)
    return readline


def _keep_history(readline: Any, history: Path) -> None:
    readline.set_history_length(HISTORY_LINES_MAX)
    with contextlib.suppress(OSError):  # a read-only home is no reason to fail at the end
        history.parent.mkdir(parents=True, exist_ok=True)
        history.touch(mode=0o600)
        readline.write_history_file(history)
