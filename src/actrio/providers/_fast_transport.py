"""A transport for httpx on Trio: direct HTTP/1.1, read by C code, with nothing between.

**Why.** A streamed answer of 128 events is little work: a few reads, one parse. Through httpx's own
transport each chunk of it becomes an event of h11, found by regular expressions, and climbs six
async generators one by one; then each is a read of its own to everything above. Here everything
that one read of the socket gave is one piece, parsed in C (`_fast_reader`) and handed over by one
plain iterator. Milliseconds of CPU, both in one run of ``python -m bench.transport`` (100 streams
at once, Python 3.11, httpx2 2.16, httptools 0.9, a shared EPYC core, 2026-11):

    =======================================  ==========  =====  =====
    per answer of 128 events                 httpx's     this   ratio
    =======================================  ==========  =====  =====
    the bytes alone, 16 events a write             1.16   0.16    7.4
    the bytes alone, 1 event a write               1.29   0.42    3.1
    a whole turn of a session                      3.42   0.85    4.0
    =======================================  ==========  =====  =====

**What it is not.** No proxies, no HTTP/2, no Unix sockets, no ``CONNECT`` and no upgrade, no
``Expect: 100-continue``, no ``trace`` and no ``network_stream`` extension, no streaming of a
request: its body is gathered and goes out with its head in one write. `_http` takes httpx's own
transport where the environment names a proxy, where httptools is missing, and where the settings
say so; nothing else of the list can be asked for through our settings. Below httpx's client, what
the body is encoded with stays httpx's matter, as are redirects and cookies; a provider's requests
come here without the client (`_fast_post`).

**How it is kept right.**

- *A socket has one owner.* The `Pool` knows all open ones; an `_Exchange` has one from the request's
  first byte to the response's last. It ends once, in one of two ways: the response ended where its
  framing says, and the socket is kept; or anything else at all (an error, a cancel at any await, a
  response closed early), and it is closed.
- *Closing never waits.* A socket is closed by a plain call, also below TLS: ``close_notify`` is
  left out, as every HTTP library does. So no cancel can come between, and nothing needs a shield.
- *A request is sent once.* A kept connection that has something to read before it was asked
  anything is dead, or talks out of turn: it is dropped and the next one taken, or a new one made.
  Once a byte was written nothing is repeated here, since a provider may have begun to work and to
  charge; `_retry` decides that, and counts it. (This is httpcore's rule as well.)
- *A write that fails is not yet a failure.* Servers refuse a large body by answering and closing;
  so the answer is read first.
- *Errors are httpx's*, with httpcore's words where `_http` goes by them.
"""

from __future__ import annotations

import math
import re
import ssl
from collections.abc import Mapping
from typing import Any, Final, Self

import trio

from actrio.providers._fast_pool import Connection, Origin, Pool
from actrio.providers._fast_reader import Head, ResponseReader

__all__ = ["origin_of", "request_bytes", "transport_type"]

_PORTS: Final = {"http": 80, "https": 443}

_REQUEST_LINE: Final = re.compile(rb"[-!#$%&'*+.^_`|~0-9a-zA-Z]+ [\x21-\x7e]+ HTTP/1\.1\r\n")
_HEADER_LINES: Final = re.compile(
    rb"(?:[-!#$%&'*+.^_`|~0-9a-zA-Z]+: (?:[^\x00\s]+(?:[ \t]+[^\x00\s]+)*)?\r\n)*"
)


def transport_type(module: Any, pieces_extension: str) -> Any:
    """Return the transport's type for ``module``, which is httpx or httpx2.

    ``pieces_extension`` is the response extension that holds the body's own iterator, below httpx's
    generators.

    Its arguments are the TLS context, how many connections it may have open and keep, and for how
    many seconds it keeps one that is not used.
    """

    class Body(module.AsyncByteStream):  # type: ignore[misc]
        """The body of a response; its pieces are what single reads gave."""

        def __init__(self, exchange: _Exchange) -> None:
            self._exchange = exchange

        def __aiter__(self) -> _Exchange:
            return self._exchange

        async def aclose(self) -> None:
            self._exchange.end()

    class FastTransport(module.AsyncBaseTransport):  # type: ignore[misc]
        """Sends requests over connections of its own, see the head of this module."""

        def __init__(
            self,
            tls_context: ssl.SSLContext,
            *,
            connections_max: int,
            kept_max: int,
            keep_seconds: float,
        ) -> None:
            tls_context.set_alpn_protocols(["http/1.1"])
            self._tls_context = tls_context
            self._pool = Pool(connections_max, kept_max, keep_seconds)

        async def handle_async_request(self, request: Any) -> Any:
            origin = origin_of(module, request.url)
            seconds = _seconds(request.extensions)
            content = b"".join([piece async for piece in request.stream])
            method = request.method.encode("ascii")
            headers = request.headers.raw
            payload, keep = request_bytes(module, method, request.url.raw_path, headers, content)
            head, exchange = await self.send(
                origin,
                payload,
                keep,
                seconds=seconds,
                head_only=request.method == "HEAD",
                name=request.extensions.get("sni_hostname"),
            )
            body = Body(exchange)
            return module.Response(
                head.status,
                headers=head.headers,
                stream=body,
                extensions={
                    "http_version": b"HTTP/" + head.version.encode(),
                    "reason_phrase": head.reason,
                    pieces_extension: exchange,
                },
            )

        async def send(
            self,
            origin: Origin,
            payload: bytes,
            keep: bool,
            *,
            seconds: Mapping[str, float],
            head_only: bool = False,
            name: str | None = None,
        ) -> tuple[Head, _Exchange]:
            """Send a request's bytes; whoever gets the exchange calls its `end`."""
            await _enter(module, self._pool, seconds["pool"])
            exchange = _Exchange(
                module, self._pool, head_only=head_only, keep=keep, read_seconds=seconds["read"]
            )
            try:
                connection = self._pool.take(origin)
                if connection is None:
                    connection = await _connect(
                        module, origin, self._tls_context, name or origin[1], seconds["connect"]
                    )
                head = await exchange.run(connection, payload, seconds["write"])
            except BaseException:
                exchange.end()
                raise
            return head, exchange

        async def aclose(self) -> None:
            self._pool.close()

    return FastTransport


class _Exchange:
    """One request and its response; raises the exceptions of ``module``.

    Whoever makes one has entered the pool; `end`, which may be called twice, leaves it.
    """

    __slots__ = ("_connection", "_keep", "_module", "_pool", "_read_seconds", "_reader")

    def __init__(
        self, module: Any, pool: Pool, *, head_only: bool, keep: bool, read_seconds: float
    ) -> None:
        self._module = module
        self._pool: Pool | None = pool
        self._reader = ResponseReader(head_only=head_only)
        self._keep = keep
        self._read_seconds = read_seconds
        self._connection: Connection | None = None

    def __aiter__(self) -> Self:
        return self

    async def run(self, connection: Connection, payload: bytes, write_seconds: float) -> Head:
        """Send ``payload`` over ``connection``, which is this exchange's from now on."""
        assert self._pool is not None
        self._connection = connection
        self._pool.use(connection)
        await self._send(connection, payload, write_seconds)
        reader = self._reader
        while reader.head is None:
            if reader.failure is not None:
                raise self._module.RemoteProtocolError(reader.failure)
            await self._read(connection)
        return reader.head

    async def __anext__(self) -> bytes:
        """Return what comes next of the body; raise StopAsyncIteration at its end."""
        reader = self._reader
        try:
            while not (data := reader.take()):
                if reader.done:
                    break
                if reader.failure is not None:
                    raise self._module.RemoteProtocolError(reader.failure)
                if self._connection is None:
                    raise self._module.ReadError("the response is closed")
                await self._read(self._connection)
        except BaseException:
            self.end()
            raise
        if not data:
            raise StopAsyncIteration
        return data

    def end(self) -> None:
        """Let go of the connection: kept where the response has ended, closed otherwise."""
        pool, self._pool = self._pool, None
        if pool is None:
            return
        connection, self._connection = self._connection, None
        self._reader.release()
        if connection is not None:
            pool.give(connection, keep=self._keep and self._reader.reusable)
        pool.leave()

    async def _send(self, connection: Connection, payload: bytes, seconds: float) -> None:
        try:
            with trio.fail_after(seconds):
                await connection.stream.send_all(payload)
        except trio.TooSlowError:
            raise self._module.WriteTimeout("") from None
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._keep = False  # it may have answered before it closed, so that is read first

    async def _read(self, connection: Connection) -> None:
        try:
            if self._read_seconds == math.inf:
                data = await connection.read()
            else:
                with trio.fail_after(self._read_seconds):
                    data = await connection.read()
        except trio.TooSlowError:
            raise self._module.ReadTimeout("") from None
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise self._module.ReadError(str(error)) from error
        self._reader.feed(data)
        if self._reader.done:
            self.end()  # what is still to be taken of the body is here already


async def _enter(module: Any, pool: Pool, seconds: float) -> None:
    if pool.enter_nowait():
        return
    try:
        with trio.fail_after(seconds):
            await pool.enter()
    except trio.TooSlowError:
        raise module.PoolTimeout("") from None


async def _connect(
    module: Any, origin: Origin, tls_context: ssl.SSLContext, name: str, seconds: float
) -> Connection:
    """Open a connection; on every other way out its socket is closed."""
    scheme, host, port = origin
    plain: trio.SocketStream | None = None
    try:
        with trio.fail_after(seconds):
            plain = await trio.open_tcp_stream(host, port)
            if scheme == "http":
                return Connection(origin, plain, plain)
            secure = trio.SSLStream(plain, tls_context, server_hostname=name, https_compatible=True)
            await secure.do_handshake()
            return Connection(origin, plain, secure)
    except BaseException as error:
        if plain is not None:
            plain.socket.close()
        if isinstance(error, trio.TooSlowError):
            raise module.ConnectTimeout("") from None
        if isinstance(error, (OSError, UnicodeError, trio.BrokenResourceError)):
            raise module.ConnectError(str(error)) from error
        raise


def origin_of(module: Any, url: Any) -> Origin:
    """Return what a connection to ``url`` is made to; raise where none can be."""
    scheme = url.scheme
    if scheme not in _PORTS:
        raise module.UnsupportedProtocol(f"Request URL has no protocol to speak: {scheme!r}.")
    if not (host := url.raw_host.decode("ascii")):
        raise module.UnsupportedProtocol("Request URL has no host.")
    return scheme, host, url.port or _PORTS[scheme]


def _seconds(extensions: Mapping[str, Any]) -> dict[str, float]:
    told = extensions.get("timeout", {})
    return {
        phase: math.inf if (limit := told.get(phase)) is None else limit
        for phase in ("connect", "read", "write", "pool")
    }


def request_bytes(
    module: Any, method: bytes, path: bytes, headers: list[tuple[bytes, bytes]], body: bytes
) -> tuple[bytes, bool]:
    """Return a request's bytes, and whether it lets the connection be kept.

    Checked as h11 does: nothing in a header can end its line and begin another.
    """
    line = b"%b %b HTTP/1.1\r\n" % (method, path)
    lines = b"".join([b"%b: %b\r\n" % header for header in headers])
    if not _REQUEST_LINE.fullmatch(line):
        raise module.LocalProtocolError("illegal request line")
    if lines.count(b"\n") != len(headers) or not _HEADER_LINES.fullmatch(lines):
        raise module.LocalProtocolError("illegal header line")
    framing = {name.lower(): value for name, value in headers}
    if framing.get(b"transfer-encoding", b"").lower() == b"chunked":
        body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if body else b"0\r\n\r\n"
    elif framing.get(b"content-length", b"0") != str(len(body)).encode():
        raise module.LocalProtocolError("the body is not as long as its Content-Length")
    keep = b"close" not in framing.get(b"connection", b"").lower()
    return b"%b%b\r\n%b" % (line, lines, body), keep
