"""A load of streaming clients over plain sockets: as little work per byte as Python allows."""

from __future__ import annotations

import time

import trio

__all__ = ["Load", "idle_streams", "open_connection", "request", "stream_turns"]


class Load:
    """What a load came to: seconds of each turn, in the order in which they ended."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.first_seconds: list[float] = []
        self.failed = 0

    def p(self, share: float) -> float:
        """Return a percentile of the turns' durations, in seconds."""
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def request(method: str, path: str, body: bytes = b"", accept: str = "text/event-stream") -> bytes:
    """Return a whole request."""
    head = (
        f"{method} {path} HTTP/1.1\r\nhost: localhost\r\naccept: {accept}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def open_connection(port: int) -> trio.SocketStream:
    return await trio.open_tcp_stream("127.0.0.1", port)


async def stream_turns(
    port: int,
    requests: list[bytes],
    end: bytes,
    *,
    until: float,
    load: Load,
    tail_bytes: int = 256,
) -> None:
    """Run one client on one connection: a turn after the other, until ``until``.

    Args:
        port: The server's.
        requests: Asked in turn.
        end: The bytes that end a stream; the chunked body's end follows them.
        until: `time.perf_counter` at which no further turn begins.
        load: Takes the results.
        tail_bytes: How near to its end a stream has ``end``.
    """
    stream = await open_connection(port)
    count = 0
    async with stream:
        while time.perf_counter() < until:
            begun = time.perf_counter()
            await stream.send_all(requests[count % len(requests)])
            count += 1
            tail = b""
            first = 0.0
            while True:
                data = await stream.receive_some(65536)
                if not data:
                    load.failed += 1
                    return
                first = first or time.perf_counter() - begun
                tail = (tail + data)[-tail_bytes:]
                if tail.endswith(b"0\r\n\r\n"):
                    break
            if end not in tail:
                load.failed += 1
                continue
            load.seconds.append(time.perf_counter() - begun)
            load.first_seconds.append(first)


async def idle_streams(port: int, paths: list[str]) -> list[trio.SocketStream]:
    """Open an event stream for each path and return them, each with its first frame read."""
    found: list[trio.SocketStream] = []
    for path in paths:
        stream = await open_connection(port)
        await stream.send_all(request("GET", path))
        got = b""
        while b"retry:" not in got:
            got += await stream.receive_some(4096)
        found.append(stream)
    return found
