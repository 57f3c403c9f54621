"""One client's connection below hypercorn: what hypercorn leaves open is bounded here.

Hypercorn reads and writes HTTP; it is given a stream of ours, and an application that tells when a
request is in work. Added are: time for a request's head, time for a write (hypercorn shields its
writes from cancellation, so a client that does not read would outlive everything), an end that
lets a refused client read its refusal, and a door through which the server can cut it.
"""

from __future__ import annotations

from typing import Any, Final

import trio

from actrio.http._settings import HttpLimits

__all__ = ["ClientStream"]

_PIECE_BYTES: Final = 64 * 1024
"""Written at a time, so that a slow but reading client is never taken for a stuck one."""

_LINGER_SECONDS: Final = 1.0
"""How long a client that is still sending is read after our end: closing with unread bytes makes
the kernel send a reset, which can take our answer from it."""

_LINGER_BYTES_MAX: Final = 16 * 1024 * 1024

_TOO_SLOW: Final = b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class ClientStream:
    """A `trio.SocketStream` with bounds, shaped as hypercorn uses streams.

    Args:
        stream: The connection.
        limits: The bounds.
    """

    def __init__(self, stream: trio.SocketStream, limits: HttpLimits) -> None:
        self._stream = stream
        self._limits = limits
        self.socket = stream.socket
        self.calls = 0  # in work
        # When the head that is awaited or being read began; None between requests.
        self._head_began: float | None = trio.current_time()
        self._heard = False
        self._broken = False
        self._ended = False
        self._eof = False
        self._reading = False
        self._drained: trio.Event | None = None
        self._patience: trio.CancelScope | None = None  # of the head that is awaited
        self._writing: trio.CancelScope | None = None
        self._held: list[bytes] | None = None

    # -- told by the application -----------------------------------------------------------------

    def call_began(self) -> None:
        """A whole head has come."""
        self.calls += 1
        self._head_began = None
        self._heard = False

    def call_ended(self) -> None:
        """Its answer is out."""
        self.calls -= 1

    def settle(self) -> None:
        """The call in work will last: nothing is kept that only matters between calls."""
        if self._patience is not None:
            self._patience.cancel(reason="the head has come")

    def hold(self) -> None:
        """Keep what is written until `release`, so that a head travels with what follows it."""
        if self._held is None:
            self._held = []

    async def release(self) -> None:
        """Write what was held."""
        held, self._held = self._held, None
        if held:
            try:
                await self.send_all(b"".join(held))
            except trio.BrokenResourceError:
                # The reading side notices too, and it is the one that tells hypercorn.
                return

    def cut(self) -> None:
        """End it now, also in the middle of a write."""
        self._broken = True
        if self._writing is not None:
            self._writing.cancel(reason="the server cuts the connection")

    # -- the stream --------------------------------------------------------------------------------

    async def receive_some(self, max_bytes: int) -> bytes:
        self._reading = True
        try:
            return await self._receive(max_bytes)
        finally:
            self._reading = False

    async def _receive(self, max_bytes: int) -> bytes:
        while True:
            data: bytes | None = None
            if self.calls == 0 and self._head_began is not None:
                deadline = self._head_began + self._limits.head_seconds
                with trio.CancelScope(deadline=deadline) as self._patience:
                    data = bytes(await self._stream.receive_some(max_bytes))
                self._patience = None
            else:
                data = bytes(await self._stream.receive_some(max_bytes))
            if data is None:
                if self.calls == 0 and self._head_began is not None:
                    await self._too_slow()
                continue
            if self._ended:
                # Nobody reads it any more; see `aclose`.
                if data:
                    continue
                if self._drained is not None:
                    self._drained.set()
            if not data:
                self._eof = True
            elif self.calls == 0:
                self._heard = True
                if self._head_began is None:
                    self._head_began = trio.current_time()
            return data

    async def _too_slow(self) -> None:
        if self._heard:
            await self.send_all(_TOO_SLOW)
            await self.send_eof()
        raise trio.BrokenResourceError("the request's head did not come in time")

    async def send_all(self, data: bytes) -> None:
        if self._broken:
            raise trio.BrokenResourceError("the client does not read")
        if self._held is not None:
            self._held.append(data)
            return
        for start in range(0, len(data), _PIECE_BYTES):
            patience = trio.CancelScope(deadline=trio.current_time() + self._limits.write_seconds)
            self._writing = patience
            with patience:
                await self._stream.send_all(data[start : start + _PIECE_BYTES])
            self._writing = None
            if patience.cancelled_caught or self._broken:
                # Half a frame may be out: nothing sensible can follow it.
                self._broken = True
                await trio.aclose_forcefully(self._stream)
                raise trio.BrokenResourceError("the client does not read")

    async def send_eof(self) -> None:
        await self.release()
        if not self._broken:
            await self._stream.send_eof()
            self._ended = True

    async def aclose(self) -> None:
        try:
            await self.release()
            if self._ended and not (self._broken or self._eof):
                await self._linger()
        finally:
            await self._stream.aclose()

    async def _linger(self) -> None:
        """Read what the client still sends, until it has noticed our end."""
        with trio.move_on_after(_LINGER_SECONDS):
            if self._reading:
                self._drained = trio.Event()
                await self._drained.wait()
                return
            count = 0
            while count < _LINGER_BYTES_MAX:
                try:
                    data = await self._stream.receive_some(_PIECE_BYTES)
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    return
                if not data:
                    return
                count += len(data)

    def __getattr__(self, name: str) -> Any:
        # Hypercorn finds out that there is no TLS by asking for its handshake.
        raise AttributeError(name)
