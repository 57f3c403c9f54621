"""Demand flows from a client's socket back to the provider's: real sockets all the way.

::

    provider ──10 MB/s offered──► connection ─► session ─► feed ─► HTTP ──► client, 1 kB/s
"""

from __future__ import annotations

import json
import resource
import socket
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from actrio import Agent, ProviderSettings, Settings, open_runtime
from actrio.http import HttpSettings, http_app, listen_http, serve_http

OFFERED_PER_SECOND = 10_000_000
PERIOD_SECONDS = 0.005
CLIENT_BYTES, CLIENT_SECONDS = 100, 0.1  # a kilobyte per second

SETTLE_SECONDS = 2.0
WATCHED_SECONDS = 3.0

IN_FLIGHT_BYTES_MAX = 8_000_000
"""Most of it lies in the kernel: a socket of loopback may take up to four megabytes for sending
and six for receiving, and there are two of them in a row."""


class Firehose:
    """A provider that offers text faster than anybody reads, to whoever asks for a flood."""

    def __init__(self):
        self.sent = self.floods_open = 0
        self._flooding_since = None

    @property
    def offered(self):
        """Bytes that a reader as fast as the firehose would have been sent by now."""
        return (trio.current_time() - self._flooding_since) * OFFERED_PER_SECOND

    async def serve(self, task_status):
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        async with listener, trio.open_nursery() as nursery:
            task_status.started(listener.socket.getsockname()[1])
            while True:
                nursery.start_soon(self._connection, await listener.accept())

    async def _connection(self, stream):
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        async with stream:
            try:
                await self._answer(stream)
            except trio.BrokenResourceError:
                pass

    async def _answer(self, stream):
        buffer = b""
        while b"\r\n\r\n" not in buffer:
            buffer += await stream.receive_some()
        head, _, body = buffer.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        while len(body) < length:
            body += await stream.receive_some()
        await stream.send_all(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
        )
        if b"flood" in body:
            await self._flood(stream)
        await stream.send_all(chunk("fine") + chunk("", "stop") + b"data: [DONE]\n\n")

    async def _flood(self, stream):
        """Send as much as is offered by now, as fast as the socket takes it."""
        piece = chunk("word " * 200)
        portion = piece * max(1, int(OFFERED_PER_SECOND * PERIOD_SECONDS / len(piece)))
        self._flooding_since = trio.current_time()
        self.floods_open += 1
        try:
            while True:
                if self.sent + len(portion) > self.offered:
                    await trio.sleep(PERIOD_SECONDS)
                    continue
                view = memoryview(portion)
                while view:
                    taken = await stream.socket.send(view)
                    self.sent += taken
                    view = view[taken:]
        except OSError:
            raise trio.BrokenResourceError from None
        finally:
            self.floods_open -= 1


def chunk(text, finish=None):
    told = {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish}]}
    return b"data: %b\n\n" % json.dumps(told).encode()


@asynccontextmanager
async def service():
    """Open a service over HTTP whose provider is the firehose."""
    provider = Firehose()
    async with trio.open_nursery() as nursery:
        port = await nursery.start(provider.serve)
        table = ProviderSettings(base_url=f"http://127.0.0.1:{port}/v1", dialect="openai")
        settings = Settings(providers={"hose": table})
        async with open_runtime(settings, env={}) as runtime:
            http = HttpSettings(on_disconnect="cancel")
            app = http_app(runtime, http, agents=[Agent("a", model="hose:m")])
            listeners = await listen_http("127.0.0.1:0")
            server = await nursery.start(serve_http, app, listeners)
            yield provider, int(server.addresses[0].rpartition(":")[2])
        nursery.cancel_scope.cancel()


async def posted(port, path, body, *, slow=False):
    """Post and return the stream, with nothing of the answer read."""
    sock = trio.socket.socket()
    if slow:  # before connecting, or the window has been agreed on already
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    await sock.connect(("127.0.0.1", port))
    stream = trio.SocketStream(sock)
    content = json.dumps(body).encode()
    await stream.send_all(
        b"POST %b HTTP/1.1\r\nhost: 127.0.0.1\r\naccept: text/event-stream\r\n"
        b"connection: close\r\ncontent-length: %d\r\n\r\n%b"
        % (path.encode(), len(content), content)
    )
    return stream


async def session(port, name):
    async with await posted(port, "/v1/sessions", {"agent": "a", "id": name}) as stream:
        assert b" 201 " in await stream.receive_some()
    return f"/v1/sessions/{name}/turns"


async def one_turn(port, turns):
    """Run a turn to its end and return how long it took."""
    begun = trio.current_time()
    async with await posted(port, turns, {"prompt": "hello"}) as stream:
        told = b"".join([piece async for piece in stream])
    assert told.count(b"event: turn.completed") == 1
    assert b"fine" in told
    return trio.current_time() - begun


def memory_bytes():
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")
async def test_a_slow_client_throttles_the_provider_and_nobody_else(until):
    """One client reads a kilobyte per second while the provider offers ten megabytes: what is in
    flight is bounded, memory is flat, other sessions run as ever, and the client's end is the end.
    """
    read = 0

    async def read_slowly(stream):
        nonlocal read
        while True:
            read += len(await stream.receive_some(CLIENT_BYTES))
            await trio.sleep(CLIENT_SECONDS)

    with trio.fail_after(10):
        async with service() as (provider, port):
            slow, quick = await session(port, "slow"), await session(port, "quick")
            calm = [await one_turn(port, quick) for _ in range(5)]
            async with (
                await posted(port, slow, {"prompt": "flood"}, slow=True) as flooded,
                trio.open_nursery() as nursery,
            ):
                nursery.start_soon(read_slowly, flooded)
                await trio.sleep(SETTLE_SECONDS)
                settled, memory = provider.sent, memory_bytes()
                others, end = [], trio.current_time() + WATCHED_SECONDS
                while trio.current_time() < end:
                    others.append(await one_turn(port, quick))
                    await trio.sleep(0.1)
                nursery.cancel_scope.cancel()

            assert 0 < read < 20_000
            assert provider.offered > 40_000_000
            assert provider.sent - read < IN_FLIGHT_BYTES_MAX
            assert provider.sent - settled < 1_000_000  # of the thirty that were offered meanwhile
            assert memory_bytes() - memory < 10_000_000
            assert sorted(others)[len(others) // 2] < 2 * max(calm) + 0.1
            await until(lambda: not provider.floods_open)
