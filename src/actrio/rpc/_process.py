"""A process that is one protocol's, on its standard input and output: streams, signals, log, ends.

Its ends are the same for every protocol:

=============================  ======================================  =========
what happens                   what is done                            exit code
=============================  ======================================  =========
the protocol ends              what it says, `exit_code_of`            0, 65, 75
SIGTERM, SIGINT                it is told to stop, against the clock   143, 130
the same once more             the process is gone, at once            143, 130
`ServedProcess.end_in_time`    nothing, but against the clock          0
=============================  ======================================  =========
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Protocol

import trio

from actrio.errors import KINDS, ConfigError
from actrio.rpc._claim import Wire, claim_standard_streams
from actrio.rpc._limits import Ending
from actrio.rpc._log_file import LogFile, default_log_path
from actrio.runtime import LogSettings
from actrio.telemetry import configure_logging

__all__ = ["ServedProcess", "Stoppable", "exit_code_of", "serve_process"]

HARD_EXIT_SECONDS: Final = 1.8
"""Nothing may take longer, not even a tool stuck in a thread: the ACP, MCP and Codex clients all
kill two seconds after a signal or their last line, and then exit code and log are lost."""

_EXIT_CODES: Final[Mapping[Ending, int]] = {
    "eof": 0,
    "closed": 0,
    "broken": 0,
    "protocol": KINDS["parse"].exit,
    "stalled": KINDS["deadline_exceeded"].exit,
}


def exit_code_of(ending: Ending) -> int:
    """Return what a process exits with whose connection ended so."""
    return _EXIT_CODES[ending]


class Stoppable(Protocol):
    """A protocol while it is served."""

    def stop(self) -> None:
        """End all that runs, and the connection within a second."""


class ServedProcess:
    """What a protocol has of the process that is its own.

    Attributes:
        stdin: Where the peer's lines come from.
        stdout: Where ours go.
    """

    def __init__(self, wire: Wire) -> None:
        self.stdin: trio.abc.ReceiveStream = wire.receive
        self.stdout: trio.abc.SendStream = wire.send
        self._wire = wire
        self._signal: int | None = None
        self._protocol: Stoppable | None = None
        self._clocks: list[threading.Timer] = []

    def stop_on_signal(self, protocol: Stoppable) -> None:
        """Have the first signal stop ``protocol``; before this is said, it cancels everything."""
        self._protocol = protocol

    def end_in_time(self) -> None:
        """End within 1.8 seconds from now, whatever holds it; for a peer that has left."""
        # A thread, because whatever delays the end may also hold the event loop.
        clock = threading.Timer(HARD_EXIT_SECONDS, self._exit)
        clock.daemon = True
        self._clocks.append(clock)
        clock.start()

    async def run(self, serve: Callable[[ServedProcess], Awaitable[Ending]]) -> int:
        """Serve until the protocol ends or a signal comes, and return the exit code."""
        ending: Ending = "closed"
        try:
            async with trio.open_nursery() as nursery:
                with trio.CancelScope() as everything:
                    await nursery.start(self._watch_signals, everything)
                    ending = await serve(self)
                nursery.cancel_scope.cancel()
        finally:
            for clock in self._clocks:
                clock.cancel()
        return self._exit_code(ending)

    async def _watch_signals(
        self,
        everything: trio.CancelScope,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            task_status.started()
            async for number in signals:
                if self._signal is not None:
                    self._exit()
                self._signal = number
                self.end_in_time()
                if self._protocol is None:
                    everything.cancel(reason="a signal")
                else:
                    self._protocol.stop()

    def _exit_code(self, ending: Ending) -> int:
        return exit_code_of(ending) if self._signal is None else 128 + self._signal

    def _exit(self) -> None:
        self._wire.restore_flags()
        os._exit(self._exit_code("eof"))


async def serve_process(
    serve: Callable[[ServedProcess], Awaitable[Ending]],
    *,
    log_name: str,
    log: LogSettings | None = None,
    log_file: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> int:
    """Be one protocol's process until that ends or a signal comes, and return the exit code.

    It claims the standard streams, sends the log to a file without ever waiting for the disk, and
    takes SIGTERM and SIGINT. Nothing but ``serve`` can write to the wire or read from it.

    Args:
        serve: Speaks the protocol on the streams that it is given, and says why that ended.
        log_name: The log's file name in the user's state folder.
        log: What is logged.
        log_file: Where the log goes, in place of that folder.
        env: Whose secrets must not appear in the log; the process's environment where not given.

    Raises:
        ConfigError: ``log_file`` cannot be written.

    *Backpressure*: what others print is dropped, and what is logged is dropped and counted, where
    nobody takes it at once.

    *Cancellation*: cancels ``serve``, and gives the streams back.
    """
    log = log or LogSettings()
    with claim_standard_streams() as wire, _logging(log, log_file, log_name, wire, env):
        return await ServedProcess(wire).run(serve)


@contextmanager
def _logging(
    log: LogSettings,
    file: Path | None,
    name: str,
    wire: Wire,
    env: Mapping[str, str] | None,
) -> Iterator[None]:
    """Send the log to its file; where the usual one cannot be written, to standard error."""
    stream: Any = wire.log
    own: LogFile | None = None
    try:
        stream = own = LogFile(file or default_log_path(name))
    except ConfigError:
        if file is not None:
            raise
    configure_logging(json=own is not None or log.json, level=log.level, stream=stream, env=env)
    try:
        yield
    finally:
        if own is not None:
            # What is said from here on is no protocol's any more.
            configure_logging(json=log.json, level=log.level, stream=wire.log, env=env)
            own.close()
