"""The one seam to the HTTP server: hypercorn's Trio connections, accepted and supervised by us.

Hypercorn's own accept loop lets an unexpected exception of one connection end them all. Here each
connection is a task whose failure is its own, with a bound on how many there are::

    serve_http ─ accept ─┬─ connection ─ hypercorn ─ Front ─ operation
                         ├─ connection …            (a failure ends here ▲)
                         └─ one too many: 503, closed
"""

from __future__ import annotations

import errno
import traceback
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

import attrs
import trio
from hypercorn.config import Config
from hypercorn.logging import Logger
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState

from actrio.errors import ConfigError
from actrio.http._app import HttpApp
from actrio.http._connection import ClientStream
from actrio.http._settings import HttpLimits, HttpSettings
from actrio.telemetry import RoomLog, redact

__all__ = ["HttpServer", "listen_http", "serve_http", "split_address"]

_log = RoomLog("actrio.http")

_BACKLOG: Final = 2048
"""Connections that the kernel keeps until they are accepted; a burst of clients fits."""

_FULL: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/problem+json\r\n"
    b"retry-after: 1\r\nretry-after-ms: 1000\r\nx-should-retry: true\r\nconnection: close\r\n"
    b"content-length: %d\r\n\r\n%s"
)
_FULL_BODY: Final = (
    b'{"type":"urn:actrio:error:overloaded","title":"Too busy","status":503,'
    b'"detail":"Too many connections.","code":"backpressure","message":"Too many connections.",'
    b'"details":{"limit":%d},"kind":"overloaded","retryable":true,"error":"backpressure",'
    b'"retryAfterMs":1000,"limit":%d,"inFlight":%d}\n'
)

_CUT_SECONDS: Final = 1.0
"""After the streams have ended: for what the kernel still has to send."""

_TURNED_AWAY_MAX: Final = 256
"""Clients that are being told 503 at once; beyond it a connection is closed without a word."""

_ACCEPT_PAUSE_SECONDS: Final = 0.1
"""Out of descriptors: the next one is tried after this, and the log says so."""


class _Log(Logger):
    """Hypercorn's log, through structlog; it writes no access log."""

    def __init__(self, _config: Config) -> None:
        self.access_logger = None
        self.error_logger = None

    async def access(self, *_args: Any) -> None:
        return

    async def exception(self, message: str, *args: Any, **_kwargs: Any) -> None:
        _log.error("connection failed", detail=redact(message % args if args else message))


class _Connection(TCPServer):
    """Hypercorn's connection; it ends when its client has left, not when it has been idle too."""

    async def _read_data(self) -> None:
        try:
            await super()._read_data()
        finally:
            with trio.CancelScope(shield=True):  # waits for a lock that is held for an instant
                await self.idle_task.stop()


@attrs.define(slots=True, eq=False)
class HttpServer:
    """A running server.

    Attributes:
        addresses: Where it listens, as ``http://127.0.0.1:8080``.
    """

    addresses: tuple[str, ...]
    _stop: trio.Event = attrs.field(factory=trio.Event)

    def stop(self) -> None:
        """Begin an orderly end: `serve_http` returns when it is over. Returns at once."""
        self._stop.set()


async def serve_http(
    app: HttpApp,
    listeners: Sequence[trio.SocketListener],
    *,
    task_status: trio.TaskStatus[HttpServer] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve ``app`` on ``listeners`` until it is stopped; start it with ``nursery.start``.

    Args:
        app: What `http_app` made.
        listeners: From `listen_http`; closed at the end.
        task_status: Gets the `HttpServer`.

    *Backpressure*: connections and requests beyond the limits are answered 503, never queued.

    *Cancellation*: cuts every connection at once; `HttpServer.stop` ends in order, and within
    ``drain_seconds`` and a second.

    *Failure*: what breaks in one connection is logged and ends that connection.
    """
    server = HttpServer(tuple(_url(listener) for listener in listeners))
    connections = _Connections(app)
    app.desk.connections = connections.counts
    async with trio.open_nursery() as nursery:
        async with trio.open_nursery() as accepting:
            for listener in listeners:
                accepting.start_soon(connections.accept, listener, nursery)
            task_status.started(server)
            await server._stop.wait()  # noqa: SLF001 - its own other half
            accepting.cancel_scope.cancel()
        await app.drain()
        await connections.finish(nursery)


def _url(listener: trio.SocketListener) -> str:
    host, port = listener.socket.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class _Connections:
    """The connections of one server."""

    def __init__(self, app: HttpApp) -> None:
        self._app = app
        self._limits: HttpLimits = app.desk.settings.limits
        self._config = _config_of(app.desk.settings)
        self._worker = WorkerContext(None)
        self._open: set[ClientStream] = set()
        self._changed = trio.Event()
        self._turned_away = 0
        self.counts: dict[str, int] = {"open": 0, "peak": 0, "accepted": 0, "refused": 0}

    async def accept(self, listener: trio.SocketListener, nursery: trio.Nursery) -> None:
        async with listener:
            while True:
                try:
                    stream = await listener.accept()
                except OSError as error:
                    if error.errno not in {errno.EMFILE, errno.ENFILE, errno.ENOMEM}:
                        raise
                    _log.error("no descriptor for a connection", error=str(error))
                    await trio.sleep(_ACCEPT_PAUSE_SECONDS)
                    continue
                self.counts["accepted"] += 1
                nursery.start_soon(self._one, stream)

    async def _one(self, stream: trio.SocketStream) -> None:
        """Run one connection; the boundary that nothing of it passes."""
        limit = int(self._limits.connections)
        if len(self._open) >= limit:
            self.counts["refused"] += 1
            await self._turn_away(stream, limit)
            return
        client = ClientStream(stream, self._limits)
        self._open.add(client)
        self.counts["open"] = len(self._open)
        self.counts["peak"] = max(self.counts["peak"], len(self._open))
        try:
            await _Connection(
                partial(_in_work, self._app, client),
                self._config,
                self._worker,
                ConnectionState({}),
                client,  # type: ignore[arg-type]  # it is used as a stream, and is shaped as one
            ).run()
        except Exception as error:  # the boundary: the other connections must not hear of it
            told = redact("".join(traceback.format_exception(error)))
            _log.error("connection failed", error=redact(repr(error)), traceback=told)
        finally:
            self._open.discard(client)
            self.counts["open"] = len(self._open)
            self._changed.set()
            await trio.aclose_forcefully(stream)

    async def _turn_away(self, stream: trio.SocketStream, limit: int) -> None:
        self._turned_away += 1
        try:
            if self._turned_away <= _TURNED_AWAY_MAX:
                with trio.move_on_after(_CUT_SECONDS):
                    await _say_full(stream, limit)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return  # it did not wait for the answer
        finally:
            self._turned_away -= 1
            await trio.aclose_forcefully(stream)

    async def finish(self, nursery: trio.Nursery) -> None:
        """End what is left: idle ones now, those that still send within the bound."""
        await self._worker.terminated.set()
        with trio.move_on_after(_CUT_SECONDS):
            while self._open:
                self._changed = trio.Event()
                await self._changed.wait()
        for client in tuple(self._open):
            client.cut()
        nursery.cancel_scope.cancel(reason="the server stops")


async def _in_work(
    app: HttpApp, client: ClientStream, scope: Any, receive: Any, send: Any, *_spawners: Any
) -> None:
    client.call_began()
    if scope["http_version"] != "2":
        # One request at a time: nothing of another one can get between what is held.
        scope["extensions"]["actrio.write_together"] = client
    try:
        await app.front(scope, receive, send)
    finally:
        await client.release()
        client.call_ended()


async def _say_full(stream: trio.SocketStream, limit: int) -> None:
    body = _FULL_BODY % (limit, limit, limit)
    await stream.send_all(_FULL % (len(body), body))
    await stream.send_eof()
    while await stream.receive_some(4096):
        pass  # closing with unread bytes would take the answer from it


def _config_of(settings: HttpSettings) -> Config:
    config = Config()
    config.logger_class = _Log  # type: ignore[assignment]  # annotated as its own class only
    config.accesslog = None
    config.errorlog = None
    config.include_server_header = False
    config.h11_max_incomplete_size = int(settings.limits.head_bytes)
    config.keep_alive_timeout = settings.limits.keep_alive_seconds
    config.max_app_queue_size = 2  # pieces of a body that are read ahead, 64 kB each
    config.h2_max_concurrent_streams = 16
    config.websocket_max_message_size = 1024
    return config


async def listen_http(address: str) -> list[trio.SocketListener]:
    """Return listeners at ``HOST:PORT``; port 0 takes a free one.

    Raises:
        ConfigError: It is no address, or cannot be bound.
    """
    host, port = split_address(address)
    try:
        return await trio.open_tcp_listeners(port, host=host, backlog=_BACKLOG)
    except OSError as error:
        raise ConfigError(
            f"{address} cannot be bound: {error.strerror or error}.",
            remedy="Choose another port, or end what holds it.",
        ) from error


def split_address(address: str) -> tuple[str, int]:
    """Split ``HOST:PORT``, ``:PORT``, ``PORT`` or ``[IPV6]:PORT``; the host is 127.0.0.1.

    Raises:
        ConfigError: It is none of these.
    """
    host, _, port = address.strip().rpartition(":")
    host = host.strip("[]") or "127.0.0.1"
    if not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ConfigError(f"{address!r} is no address.", remedy="Write HOST:PORT.")
    return host, int(port)
