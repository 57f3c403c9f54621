"""The open connections of one fast transport: which is taken, which is kept, which is closed.

Every decision is plain, and so is closing a socket; only `Pool.enter` and reading wait. A lane has
at most ten connections, so all of them may be looked at.
"""

from __future__ import annotations

import math
import os
import sys
import time
from typing import Final

import attrs
import trio

__all__ = ["Connection", "Origin", "Pool"]

READ_BYTES: Final = 64 * 1024
"""Asked of one read: much more than a stream's burst, and what httpcore asks for."""

RESTED_SECONDS: Final = 0.005
"""Who comes back so late probably finds something; who comes at once does not."""

_READS_DESCRIPTORS: Final = sys.platform != "win32"

Origin = tuple[str, str, int]
"""Scheme, host and port."""


@attrs.define(slots=True, eq=False)
class Connection:
    """An open socket.

    Attributes:
        stream: How it is talked to: ``plain`` itself, or TLS above it.
        plain: What is closed. TLS is left without a ``close_notify``, as every HTTP library does.
        expires_at: Until when it is kept, on Trio's clock.
    """

    origin: Origin
    plain: trio.SocketStream
    stream: trio.SocketStream | trio.SSLStream[trio.SocketStream]
    expires_at: float = math.inf
    read_at: float = math.inf
    socket: trio.socket.SocketType = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.socket = self.plain.socket

    async def read(self) -> bytes:
        """Return what is there to be read, once something is; empty at its end.

        A stream of tokens is nearly always read before the next one is there. A Trio socket tries
        first, fails, and then waits; waiting first costs half as much.

        Raises:
            trio.BrokenResourceError: The other side, or the network, broke it.
            trio.ClosedResourceError: It was closed here.
        """
        if self.stream is not self.plain or not _READS_DESCRIPTORS:
            return bytes(await self.stream.receive_some(READ_BYTES))
        socket = self.socket
        rested = time.perf_counter() - self.read_at > RESTED_SECONDS
        while True:
            if (descriptor := socket.fileno()) < 0:
                raise trio.ClosedResourceError("this socket is closed")
            if not rested:
                await trio.lowlevel.wait_readable(descriptor)
            rested = False
            try:
                # Asked for again: where it was closed meanwhile, somebody else has that number.
                data = os.read(socket.fileno(), READ_BYTES)
            except BlockingIOError:
                continue
            except OSError as error:
                raise trio.BrokenResourceError(f"socket connection broken: {error}") from error
            self.read_at = time.perf_counter()
            return data

    def close(self) -> None:
        """Close it; whoever waits for it is woken by `trio.ClosedResourceError`."""
        self.socket.close()

    @property
    def quiet(self) -> bool:
        """Whether nothing is there to be read: unasked, that is an end, or nobody's answer."""
        return not self.socket.is_readable()


class Pool:
    """At most ``connections_max`` connections, of which ``kept_max`` may be without use.

    *Backpressure*: whoever comes when all are in use waits, first come, first served.
    """

    def __init__(self, connections_max: int, kept_max: int, keep_seconds: float) -> None:
        self._places = trio.Semaphore(connections_max)
        self._connections_max = connections_max
        self._kept_max = kept_max if keep_seconds > 0 else 0
        self._keep_seconds = keep_seconds
        self._kept: list[Connection] = []  # in the order in which they expire
        self._used: set[Connection] = set()

    @property
    def open_connections(self) -> int:
        return len(self._kept) + len(self._used)

    @property
    def in_use(self) -> int:
        """How many have the right to a connection, also before they have one."""
        return self._connections_max - self._places.value

    def enter_nowait(self) -> bool:
        """Take the right to a connection, if there is one."""
        try:
            self._places.acquire_nowait()
        except trio.WouldBlock:
            return False
        return True

    async def enter(self) -> None:
        """Wait for the right to a connection."""
        await self._places.acquire()

    def leave(self) -> None:
        """Give the right back."""
        self._places.release()

    def take(self, origin: Origin) -> Connection | None:
        """Return a kept connection that lives; None: a new one may be made."""
        self._close_expired()
        for connection in [one for one in reversed(self._kept) if one.origin == origin]:
            # The youngest first, so that those too many expire.
            self._kept.remove(connection)
            if connection.quiet:
                return connection
            connection.close()
        while self._kept and len(self._kept) + self.in_use > self._connections_max:
            self._kept.pop(0).close()
        return None

    def use(self, connection: Connection) -> None:
        """Know ``connection`` as being in use."""
        self._used.add(connection)

    def give(self, connection: Connection, *, keep: bool) -> None:
        """Take ``connection`` back."""
        self._close_expired()
        if connection not in self._used:
            return  # closed with the pool
        self._used.remove(connection)
        if keep and len(self._kept) < self._kept_max:
            connection.expires_at = trio.current_time() + self._keep_seconds
            self._kept.append(connection)
        else:
            connection.close()

    def close(self) -> None:
        """Close all connections, also those in use."""
        for connection in (*self._kept, *self._used):
            connection.close()
        self._kept.clear()
        self._used.clear()

    def _close_expired(self) -> None:
        now = trio.current_time()
        while self._kept and self._kept[0].expires_at <= now:
            self._kept.pop(0).close()
