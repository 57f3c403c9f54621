from __future__ import annotations

import importlib
import math
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import attrs
import pytest
import trio

pytest.importorskip("httptools", reason="the fast transport reads with it")

from actrio.providers._fast_transport import transport_type

CERTIFICATE = Path(__file__).parents[3] / "fixtures" / "tls" / "localhost.pem"
PIECES = "actrio.pieces"


@pytest.fixture(params=["httpx", "httpx2"])
def library(request):
    """Each of the two HTTP libraries, as a module."""
    return importlib.import_module(request.param)


@attrs.define
class Server:
    """Answers each request of a connection with the next of ``answers``, over a raw socket.

    An answer is bytes, or several of them sent one after the other; None waits for the client to
    leave. After the last one it closes.
    """

    answers: Sequence[bytes | Sequence[bytes] | None]
    requests: list[bytes] = attrs.field(factory=list)
    accepted: int = 0
    open: int = 0
    port: int = 0
    tls: ssl.SSLContext | None = None

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://localhost:{self.port}/"

    async def serve(self, *, task_status) -> None:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.port = listeners[0].socket.getsockname()[1]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.serve_listeners, self._connection, listeners)
            task_status.started(self.port)

    async def _connection(self, plain: trio.SocketStream) -> None:
        self.accepted += 1
        self.open += 1
        stream = trio.SSLStream(plain, self.tls, server_side=True) if self.tls else plain
        try:
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await self._answer(stream)
        finally:
            self.open -= 1
            await trio.aclose_forcefully(stream)

    async def _answer(self, stream) -> None:
        for answer in self.answers:
            request = await read_request(stream)
            if not request:
                return
            self.requests.append(request)
            if answer is None:
                await stream.receive_some(1)
                return
            for piece in (answer,) if isinstance(answer, bytes) else answer:
                await stream.send_all(piece)
                await trio.lowlevel.checkpoint()


async def read_request(stream) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        more = await stream.receive_some(65536)
        if not more:
            return b""
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    length = next((int(line[15:]) for line in lines if line.startswith(b"content-length:")), 0)
    chunked = b"transfer-encoding: chunked" in lines
    while len(body) < length or (chunked and not body.endswith(b"0\r\n\r\n")):
        more = await stream.receive_some(65536)
        if not more:
            return b""
        body += more
    return head + b"\r\n\r\n" + body


@pytest.fixture
def serving():
    """Serve answers: ``async with serving(answer, …) as server``."""

    @asynccontextmanager
    async def served(*answers, tls=None) -> AsyncIterator[Server]:
        server = Server(answers, tls=tls)
        async with trio.open_nursery() as nursery:
            await nursery.start(server.serve)
            yield server
            nursery.cancel_scope.cancel()

    return served


@pytest.fixture
def trusting() -> ssl.SSLContext:
    """A client's context that knows the test certificate's authority."""
    return ssl.create_default_context(cafile=CERTIFICATE)


@pytest.fixture
def certified() -> ssl.SSLContext:
    """A server's context with the certificate of ``localhost``."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(CERTIFICATE)
    return context


@pytest.fixture(scope="session")
def suspicious() -> ssl.SSLContext:
    """A client's context that knows the public authorities; slow to make, so it is shared."""
    return ssl.create_default_context()


@pytest.fixture
def open_client(suspicious) -> Callable:
    """Open a client: ``async with open_client(module, "fast") as client``."""

    @asynccontextmanager
    async def opened(module, which="fast", *, context=None, timeout=None, **limits):
        limits = {"connections_max": 10, "kept_max": 10, "keep_seconds": 30.0, **limits}
        context = context or suspicious
        transport = None
        if which == "fast":
            transport = transport_type(module, PIECES)(context, **limits)
        kept = module.Limits(
            max_connections=limits["connections_max"],
            max_keepalive_connections=limits["kept_max"],
            keepalive_expiry=None if limits["keep_seconds"] == math.inf else limits["keep_seconds"],
        )
        async with module.AsyncClient(
            transport=transport, verify=context, trust_env=False, limits=kept, timeout=timeout
        ) as client:
            yield client

    return opened


@pytest.fixture
def until():
    """Wait, at most two seconds of real time, until a condition on a real socket holds."""

    async def wait(holds: Callable[[], bool]) -> None:
        with trio.fail_after(2):
            while not holds():
                await trio.sleep(0.001)

    return wait
