"""A loopback HTTP server that speaks OpenAI chat completions with scripted words."""

from __future__ import annotations

import trio

from actrio.errors import Conflict
from actrio.providers.scripted._server_counts import ServerCounts, ServerStatistics
from actrio.providers.scripted._server_exchange import Exchange

__all__ = ["ScriptedServer"]


class ScriptedServer:
    """Answers ``POST /v1/chat/completions`` (streamed or not) and ``GET /v1/models``.

    The request's ``model`` is a script (`ScriptSpec`): ``tokens?itl=12ms&tokens=128``. Start it
    with ``port = await nursery.start(server.serve)``; cancelling that nursery stops it.

    *Backpressure*: a slow reader slows its own answer; nothing is buffered for it.
    *Cancellation*: an answer ends when its reader leaves, also between two deltas.
    *Failure*: nothing that one connection does reaches another, or the caller.

    Args:
        host: Where to listen. It asks for no key, so anything but loopback is open to all.
        port: 0 picks a free one.
    """

    def __init__(self, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self._host = host
        self._wanted_port = port
        self._port: int | None = None
        self._counts = ServerCounts()

    @property
    def base_url(self) -> str:
        """What a client's base_url must be.

        Raises:
            Conflict: It does not serve yet.
        """
        if self._port is None:
            raise Conflict(
                "The scripted server does not serve yet.",
                remedy="Start it with `await nursery.start(server.serve)`.",
            )
        return f"http://{self._host}:{self._port}/v1"

    async def serve(self, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled; tells its port by ``task_status``."""
        listeners = await trio.open_tcp_listeners(self._wanted_port, host=self._host)
        self._port = listeners[0].socket.getsockname()[1]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.serve_listeners, self._connection, listeners)
            task_status.started(self._port)

    def statistics(self) -> ServerStatistics:
        """Return what it has seen so far."""
        return self._counts.statistics()

    async def _connection(self, stream: trio.SocketStream) -> None:
        self._counts.open_connection()
        try:
            async with stream:
                await Exchange(stream, self._counts).run()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the peer left in the middle of something; that is its right
        except Exception:  # one connection's mistake must not end the others; it is counted
            self._counts.errors += 1
        finally:
            self._counts.close_connection()
