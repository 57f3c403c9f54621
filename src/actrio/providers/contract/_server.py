"""A loopback server that answers each path with one recorded exchange, cut into random pieces.

HTTP/1.1 with chunks: each piece is a chunk of its own, so that it reaches the reader as it was cut,
whatever the sockets make of it. It is written by hand because its answers must be the recorded
bytes under the recorded status, and no framework's idea of them.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final

import attrs
import trio

from actrio.providers.contract._exchange import Exchange

__all__ = ["Received", "RecordingServer"]

HEAD_BYTES_MAX: Final = 64 * 1024
REQUEST_BYTES_MAX: Final = 64 * 1024 * 1024

PIECES_MAX: Final = 40
"""Cuts of one body: many enough to fall into words, few enough for hundreds of exchanges."""

_HOP_BY_HOP: Final = {
    "connection", "content-encoding", "content-length", "keep-alive", "transfer-encoding",
}  # fmt: skip
"""Headers that belong to the recorded connection and not to its bytes as they were stored."""


@attrs.frozen(slots=True)
class Received:
    """A request as it came."""

    path: str
    body: bytes


class RecordingServer:
    """Serves exchanges at ``/ID``.

    Args:
        exchanges: By id.
        seed: Of the cuts; the same seed cuts the same way.

    Attributes:
        base_url: Where it listens, once it does.
        received: The last request for each exchange.
    """

    def __init__(self, exchanges: dict[str, Exchange], seed: int) -> None:
        self._exchanges = exchanges
        self._seed = seed
        self.base_url = ""
        self.received: dict[str, Received] = {}

    async def serve(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Listen on a free loopback port until cancelled."""
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.base_url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
        await trio.serve_listeners(self._connection, [listener], task_status=_Started(task_status))

    async def _connection(self, stream: trio.SocketStream) -> None:
        async with stream:
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                received = await _read_request(stream)
                if received is None:
                    return
                exchange_id = received.path.split("/", 2)[1]
                exchange = self._exchanges.get(exchange_id)
                if exchange is None:
                    await stream.send_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")
                    return
                self.received[exchange_id] = received
                await stream.send_all(_head(exchange))
                for piece in self._pieces(exchange):
                    await stream.send_all(b"%x\r\n%b\r\n" % (len(piece), piece))
                await stream.send_all(b"0\r\n\r\n")

    def _pieces(self, exchange: Exchange) -> Iterator[bytes]:
        body = exchange.body
        chance = random.Random(f"{self._seed} {exchange.id}")
        count = min(PIECES_MAX, len(body) // 2)
        cuts = sorted({chance.randrange(1, len(body)) for _ in range(count)}) if count else []
        start = 0
        for cut in [*cuts, len(body)]:
            if cut > start:
                yield body[start:cut]
            start = cut


class _Started:
    """Tells that the server listens, and not what trio tells with it."""

    def __init__(self, task_status: trio.TaskStatus[None]) -> None:
        self._task_status = task_status

    def started(self, _listeners: Any = None) -> None:
        self._task_status.started()


def _head(exchange: Exchange) -> bytes:
    lines = [f"HTTP/1.1 {exchange.status} Recorded"]
    lines += [
        f"{name}: {value}"
        for name, value in exchange.headers.items()
        if name not in _HOP_BY_HOP and value.isprintable() and value.isascii()
    ]
    lines += ["transfer-encoding: chunked", "connection: close", "", ""]
    return "\r\n".join(lines).encode("ascii")


async def _read_request(stream: trio.SocketStream) -> Received | None:
    data = b""
    while b"\r\n\r\n" not in data:
        more = await stream.receive_some()
        if not more or len(data) > HEAD_BYTES_MAX:
            return None
        data += more
    head, _, rest = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    names = dict(line.lower().split(":", 1) for line in lines if ":" in line)
    length = int(names.get("content-length", "0"))
    if length > REQUEST_BYTES_MAX:
        return None
    body = bytearray(rest)
    while len(body) < length:
        more = await stream.receive_some()
        if not more:
            return None
        body += more
    return Received(first.split(" ")[1], bytes(body))
