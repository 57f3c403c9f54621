"""``actrio serve --stdio``: a whole program's main, on its standard input and output.

Its ends, and what they leave behind:

==========================  ==========================================  =========
what happens                what becomes of running turns               exit code
==========================  ==========================================  =========
end of input, ``drain``     finish, and their events are delivered      0
end of input, ``cancel``    cut off (resumable), told within a second   0
``shutdown``                as its ``mode`` says                        0
the reader is gone (EPIPE)  cancelled                                   0
SIGTERM, SIGINT             cut off (resumable), told within a second   143, 130
the same once more          lost, at once                               143, 130
over 100 bad lines running  cancelled                                   65
a client that stops reading cancelled                                   75
==========================  ==========================================  =========
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Literal

import attrs
import trio

from actrio.errors import KINDS, ConfigError, InvalidRequest
from actrio.rpc import Connection, ConnectionLimits, Ending
from actrio.runtime import Settings, open_runtime
from actrio.stdio._claim import Wire, claim_standard_streams
from actrio.stdio._exchange import StdioExchange
from actrio.stdio._log_file import LogFile, default_log_path
from actrio.telemetry import configure_logging

__all__ = ["serve_stdio"]

_HARD_EXIT_SECONDS: Final = 1.8
"""After a signal nothing may take longer, not even a tool stuck in a thread: the ACP, MCP and
Codex clients all kill after 2.0 s, and then exit code and log are lost."""

_EXIT_CODES: Final[Mapping[Ending, int]] = {
    "eof": 0,
    "closed": 0,
    "broken": 0,
    "protocol": KINDS["parse"].exit,
    "stalled": KINDS["deadline_exceeded"].exit,
}


async def serve_stdio(
    settings: Settings | None = None,
    *,
    on_eof: Literal["drain", "cancel"] = "drain",
    limits: ConnectionLimits | None = None,
    log_file: Path | None = None,
    stdin: trio.abc.ReceiveStream | None = None,
    stdout: trio.abc.SendStream | None = None,
    env: Mapping[str, str] | None = None,
) -> int:
    """Serve one client over lines of JSON-RPC until it leaves, and return the exit code.

    Without ``stdin`` and ``stdout`` it acts as the main function of the process: it claims the
    standard streams, sends the log to a file without ever waiting for the disk, and takes SIGTERM
    and SIGINT. With them it touches nothing of the process.

    Args:
        settings: Agents, providers, limits; the defaults where not given.
        on_eof: What becomes of running turns when the input ends.
        limits: The bounds of the connection.
        log_file: Where the log goes; a file in the user's state folder where not given.
        stdin: Where the client's lines come from.
        stdout: Where ours go.
        env: Where keys are looked up; the process's environment where not given.

    Raises:
        InvalidRequest: Only one of the two streams was given.
        ConfigError: The settings cannot be used, or ``log_file`` cannot be written.

    *Cancellation*: cancels all turns and returns when they have ended.
    """
    settings = settings or Settings()
    limits = limits or ConnectionLimits()
    if stdin is not None and stdout is not None:
        serve = _Serve(settings, on_eof, limits, env)
        return _EXIT_CODES[await serve.run(stdin, stdout)]
    if stdin is not None or stdout is not None:
        raise InvalidRequest(
            "Only one of stdin and stdout was given.",
            remedy="Give both, or none for the process's own.",
        )
    with claim_standard_streams() as wire, _logging(settings, log_file, wire, env):
        return await _serve_until_signalled(_Serve(settings, on_eof, limits, env), wire)


@contextmanager
def _logging(
    settings: Settings, log_file: Path | None, wire: Wire, env: Mapping[str, str] | None
) -> Iterator[None]:
    """Send the log to its file; where the usual one cannot be written, to standard error."""
    stream: Any = wire.log
    own: LogFile | None = None
    try:
        stream = own = LogFile(log_file or default_log_path())
    except ConfigError:
        if log_file is not None:
            raise
    level = settings.log.level
    configure_logging(
        json=own is not None or settings.log.json, level=level, stream=stream, env=env
    )
    try:
        yield
    finally:
        if own is not None:
            # What is said from here on is no protocol's any more.
            configure_logging(json=settings.log.json, level=level, stream=wire.log, env=env)
            own.close()


@attrs.frozen(slots=True)
class _Serve:
    """One connection to be served from a runtime of its own."""

    settings: Settings
    on_eof: Literal["drain", "cancel"]
    limits: ConnectionLimits
    env: Mapping[str, str] | None

    async def run(
        self,
        stdin: trio.abc.ReceiveStream,
        stdout: trio.abc.SendStream,
        *,
        on_open: Callable[[StdioExchange], None] = lambda _exchange: None,
    ) -> Ending:
        async with open_runtime(self.settings, env=self.env) as runtime:
            connection = Connection(stdin, stdout, limits=self.limits)
            exchange = StdioExchange(connection, runtime, on_eof=self.on_eof)
            on_open(exchange)
            return await exchange.run()


class _Signals:
    """The first signal ends in order and against the clock, the second at once."""

    def __init__(self, wire: Wire) -> None:
        self.number: int | None = None
        self._wire = wire
        self._exchange: StdioExchange | None = None
        self._clock: threading.Timer | None = None

    def attach(self, exchange: StdioExchange) -> None:
        self._exchange = exchange

    async def watch(
        self,
        everything: trio.CancelScope,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            task_status.started()
            async for number in signals:
                if self.number is not None:
                    self._exit(self.number)
                self.number = number
                # A thread, because whatever delays the end may also hold the event loop.
                self._clock = threading.Timer(_HARD_EXIT_SECONDS, self._exit, [number])
                self._clock.daemon = True
                self._clock.start()
                if self._exchange is None:
                    everything.cancel(reason="a signal")
                else:
                    self._exchange.stop()

    def _exit(self, number: int) -> None:
        self._wire.restore_flags()
        os._exit(128 + number)

    def done(self) -> None:
        if self._clock is not None:
            self._clock.cancel()


async def _serve_until_signalled(serve: _Serve, wire: Wire) -> int:
    signals = _Signals(wire)
    ending: Ending = "closed"
    try:
        async with trio.open_nursery() as nursery:
            with trio.CancelScope() as everything:
                await nursery.start(signals.watch, everything)
                ending = await serve.run(wire.receive, wire.send, on_open=signals.attach)
            nursery.cancel_scope.cancel()
    finally:
        signals.done()
    return _EXIT_CODES[ending] if signals.number is None else 128 + signals.number
