"""Encrypted connections that cannot be trusted, or are none, over real sockets."""

from __future__ import annotations

import ssl
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest
import trio

from actrio.actors import ChildSpec, open_actor_system
from actrio.errors import ProviderProtocolError
from actrio.messages import ModelInput, user_message
from actrio.providers import Endpoint, ProviderConnection, ProviderSettings, load_http
from actrio.providers.dialects import OpenAiChat

CERTIFICATE = Path(__file__).parents[2] / "fixtures" / "tls" / "localhost.pem"

BODY = b'data: {"choices":[{"index":0,"delta":{"content":"fine"},"finish_reason":"stop"}]}\n\n'
WHOLE = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: %d\r\n\r\n%b" % (
    len(BODY),
    BODY,
)


@attrs.define
class Connections:
    open: int = 0


async def listen(connection, *, task_status):
    await trio.serve_tcp(connection, 0, host="127.0.0.1", task_status=task_status)


@asynccontextmanager
async def tls_server(nursery):
    """Serve the good answer behind a certificate that nobody trusts."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(CERTIFICATE)
    connections = Connections()

    async def connection(stream):
        secure = trio.SSLStream(stream, context, server_side=True)
        connections.open += 1
        try:
            request = b""
            while not request.endswith(b"}"):
                request += await secure.receive_some(65536)
            await secure.send_all(WHOLE)
        except trio.BrokenResourceError:
            pass
        finally:
            connections.open -= 1
            await trio.aclose_forcefully(secure)

    (listener,) = await nursery.start(listen, connection)
    yield listener.socket.getsockname()[1], connections


async def test_an_untrusted_certificate(nursery, connect, http, until):
    """Refused before anything is sent, not tried again, and told as what it is."""
    async with tls_server(nursery) as (port, connections):
        base_url = f"https://127.0.0.1:{port}/v1"
        async with connect(base_url, http, limits={"retries_max": 2}) as client:
            with pytest.raises(ProviderProtocolError, match="certificate") as caught:
                await client.call("here:m")
            assert "SSL_CERT_FILE" in caught.value.remedy
            assert client.connections.statistics()["here"].requests == 1
        await until(lambda: connections.open == 0)


async def test_a_server_without_tls(nursery, connect, http):
    """https:// to a plain server says so."""

    async def answer(stream):
        async with stream:
            await stream.receive_some(65536)
            await stream.send_all(b"HTTP/1.1 400 X\r\ncontent-length: 0\r\n\r\n")

    (listener,) = await nursery.start(listen, answer)
    port = listener.socket.getsockname()[1]
    async with connect(f"https://127.0.0.1:{port}/v1", http) as client:
        with pytest.raises(ProviderProtocolError, match="no TLS") as caught:
            await client.call("here:m")
        assert "http or https" in caught.value.remedy


async def test_a_trusted_certificate(nursery, http):
    """The same server with its authority known answers, so it was the certificate."""
    library = load_http(http)
    async with tls_server(nursery) as (port, _):

        async def endpoint():
            return Endpoint(f"https://127.0.0.1:{port}/v1")

        def make():
            return ProviderConnection(
                dialect=OpenAiChat("here"),
                endpoint=endpoint,
                http=library,
                tls_context=ssl.create_default_context(cafile=CERTIFICATE),
                trust_env=False,
                settings=ProviderSettings(),
            )

        async with open_actor_system() as system:
            ref = await system.spawn(ChildSpec("secure", make, concurrency=8))
            output = await ref.ask(ModelInput("m", (user_message("Hi"),)))
    assert output.message.text == "fine"
