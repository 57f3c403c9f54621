"""A server that is started to be put under load: a process that ends with the block."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final

import trio

from actrio.errors import InvalidRequest, ProviderUnreachable

__all__ = ["END_SECONDS", "START_SECONDS", "LastWords", "started", "unreachable", "words_of"]

START_SECONDS: Final = 30.0
"""How long a server may take until it answers, on a loaded machine."""

END_SECONDS: Final = 5.0
"""How long it may take to end once it is asked to; its own bound on an orderly end is shorter."""

STDERR_BYTES_KEPT: Final = 4096
"""Of the process's standard error, its last words: enough for an error and its remedy."""

_READ_BYTES: Final = 65536


class LastWords:
    """What a process said last on its standard error."""

    def __init__(self) -> None:
        self._kept = b""

    async def drain(self, stream: trio.abc.ReceiveStream) -> None:
        """Read to the end, or the process would wait."""
        while data := await stream.receive_some(_READ_BYTES):
            self._kept = (self._kept + data)[-STDERR_BYTES_KEPT:]

    @property
    def told(self) -> str:
        """Return them as the end of a sentence."""
        lines = self._kept.decode(errors="replace").strip().splitlines()
        return f": {' '.join(lines[-3:])[:400]}" if lines else ""


@asynccontextmanager
async def started(
    words: Sequence[str], env: Mapping[str, str], *, name: str
) -> AsyncIterator[trio.Process]:
    """Start a process with pipes to it; killed at the end of the block if it still runs.

    Args:
        words: The command.
        env: All of its environment.
        name: The target's, for the error.

    Raises:
        ProviderUnreachable: It cannot be started.
    """
    try:
        process = await trio.lowlevel.open_process(
            list(words),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for us; it ends when we tell it to
            env=env,
        )
    except OSError as error:
        what = f"{words[0]} cannot be started: {error.strerror}."
        raise unreachable(what, name=name) from error
    try:
        yield process
    finally:
        with trio.CancelScope(shield=True):
            if process.poll() is None:
                process.kill()
            await process.wait()
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream is not None:
                    await trio.aclose_forcefully(stream)


def words_of(command: str) -> list[str]:
    """Return the words of a command line.

    Raises:
        InvalidRequest: It is none.
    """
    try:
        return shlex.split(command)
    except ValueError as error:
        raise InvalidRequest(
            f"stdio:{command} is no command line: {error}.", remedy="Quote it like in a shell."
        ) from None


def unreachable(message: str, *, name: str) -> ProviderUnreachable:
    """Return the error of a target that is not there."""
    return ProviderUnreachable(
        message,
        provider=name,
        category="network",
        remedy="Start the command by hand and look at what it says.",
    )
