"""The floor: Trio sockets, a C parser of HTTP and a C parser of JSON, and nothing else.

No TLS, no timeouts, no retry, no cancellation that cleans up: what a runtime adds is measured
against it. It is also the check that the server is fast enough.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

from bench.peers.harness import Heard, Meter
from bench.peers.work import prompt

meter = Meter("bare sockets", "trio", "httptools", "orjson")
with meter.importing():
    import httptools
    import trio

    from bench.peers.clients.bare_body import Events, request_body


class Pool:
    """Connections to one server, the last used first."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._address = (parts.hostname, parts.port)
        self._head = (
            f"POST {parts.path}/chat/completions HTTP/1.1\r\nhost: {parts.netloc}\r\n"
            "content-type: application/json\r\nauthorization: Bearer none\r\n"
        ).encode() + b"content-length: %d\r\n\r\n"
        self._free: list[trio.socket.SocketType] = []

    async def post(self, body: bytes) -> AsyncIterator[bytes]:
        sock = self._free.pop() if self._free else await self._connected()
        answer = _Answer()
        parser = httptools.HttpResponseParser(answer)
        await sock.send(self._head % len(body) + body)
        while not answer.whole:
            data = await sock.recv(65536)
            if not data:
                raise ConnectionError("the server closed the connection")
            parser.feed_data(data)
            if answer.body:
                yield b"".join(answer.body)
                answer.body.clear()
        if parser.get_status_code() != 200:
            raise ConnectionError(f"status {parser.get_status_code()}")
        self._free.append(sock)

    async def _connected(self) -> trio.socket.SocketType:
        sock = trio.socket.socket()
        sock.setsockopt(trio.socket.IPPROTO_TCP, trio.socket.TCP_NODELAY, 1)
        await sock.connect(self._address)
        return sock


class _Answer:
    """What the parser calls."""

    __slots__ = ("body", "whole")

    def __init__(self) -> None:
        self.body: list[bytes] = []
        self.whole = False

    def on_body(self, data: bytes) -> None:
        self.body.append(data)

    def on_message_complete(self) -> None:
        self.whole = True


async def setup() -> Pool:
    return Pool(meter.load["url"])


async def turn(pool: Pool, number: int, heard: Heard) -> None:
    messages: list[dict[str, Any]] = [{"role": "user", "content": prompt(number)}]
    while True:
        events = Events()
        async for data in pool.post(request_body(messages, tools=meter.load["tools"])):
            if text := events.text(data):
                heard(text)
        assert events.done
        if not events.calls:
            return
        messages += events.messages_after_tools()


if __name__ == "__main__":
    meter.run_trio(setup, turn)
