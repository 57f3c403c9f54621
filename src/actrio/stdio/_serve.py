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

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

import attrs
import trio

from actrio.errors import InvalidRequest
from actrio.rpc import (
    Connection,
    ConnectionLimits,
    Ending,
    ServedProcess,
    exit_code_of,
    serve_process,
)
from actrio.runtime import Settings, open_runtime
from actrio.stdio._exchange import StdioExchange

__all__ = ["serve_stdio"]


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
    serve = _Serve(settings, on_eof, limits or ConnectionLimits(), env)
    if stdin is not None and stdout is not None:
        return exit_code_of(await serve.run(stdin, stdout))
    if stdin is not None or stdout is not None:
        raise InvalidRequest(
            "Only one of stdin and stdout was given.",
            remedy="Give both, or none for the process's own.",
        )
    return await serve_process(
        serve.run_in, log_name="stdio.jsonl", log=settings.log, log_file=log_file, env=env
    )


@attrs.frozen(slots=True)
class _Serve:
    """One connection to be served from a runtime of its own."""

    settings: Settings
    on_eof: Literal["drain", "cancel"]
    limits: ConnectionLimits
    env: Mapping[str, str] | None

    async def run_in(self, process: ServedProcess) -> Ending:
        return await self.run(process.stdin, process.stdout, on_open=process.stop_on_signal)

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
