"""An agent behind a pair of byte streams, for editors."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

import trio

from actrio.acp._exchange import AcpExchange
from actrio.rpc import Connection, ConnectionLimits, Ending
from actrio.runtime import Agent, Settings, open_runtime

if TYPE_CHECKING:
    from actrio.rpc import Stoppable

__all__ = ["ACP_LIMITS", "serve_acp"]

LINE_BYTES_MAX: Final = 32 * 1024 * 1024
"""Longest line, both ways: what the protocol's TypeScript SDK reads. A screenshot in base64 has
some megabytes, and what came in as a prompt must go out again when the session is loaded."""

ACP_LIMITS: Final = ConnectionLimits(
    line_bytes_max=LINE_BYTES_MAX, line_out_bytes_max=LINE_BYTES_MAX
)
"""The bounds of a connection to an editor."""


def _nothing(_exchange: Stoppable) -> None:
    pass


async def serve_acp(
    agent: Agent,
    settings: Settings | None = None,
    *,
    stdin: trio.abc.ReceiveStream,
    stdout: trio.abc.SendStream,
    limits: ConnectionLimits = ACP_LIMITS,
    env: Mapping[str, str] | None = None,
    on_open: Callable[[Stoppable], None] = _nothing,
    on_eof: Callable[[], None] | None = None,
) -> Ending:
    """Serve one client of the Agent Client Protocol until it leaves, and return why that ended.

    Its sessions are kept in the settings' store, so a client can load them in another process.
    At the end of input running turns are cancelled.

    Args:
        agent: Who answers.
        settings: Providers, limits, store; the defaults where not given.
        stdin: Where the client's lines come from.
        stdout: Where ours go.
        limits: The bounds of the connection.
        env: Where keys are looked up; the process's environment where not given.
        on_open: Called with the connection, which can be stopped.
        on_eof: Called when the client's lines have ended.

    Raises:
        ConfigError: The settings cannot be used.

    *Cancellation*: cancels all turns and returns when they have ended.
    """
    env = os.environ if env is None else env
    async with open_runtime(settings, env=env) as runtime:
        connection = Connection(stdin, stdout, limits=limits)
        exchange = AcpExchange(connection, runtime, agent, env=env, on_eof=on_eof)
        on_open(exchange)
        return await exchange.run()
