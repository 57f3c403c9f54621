"""A streamed answer: frames out, and somebody who notices that the client has left."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from actrio.http._call import Call
from actrio.http._sse import KEEP_ALIVE, STREAM_HEADERS

__all__ = ["EventStream"]


class EventStream:
    """One event stream.

    Args:
        call: The request that it answers.
        status: Its status; 200, or 207 for clients of the older contract.
        headers: Beside those of every event stream.
        lazy: Send the head with the first frame only, so that what fails before has a status.
    """

    __slots__ = ("_call", "_headers", "_last_at", "_lazy", "_status", "_writing", "gone")

    def __init__(
        self,
        call: Call,
        *,
        status: int = 200,
        headers: tuple[tuple[bytes, bytes], ...] = (),
        lazy: bool = False,
    ) -> None:
        self._call = call
        self._status = status
        self._headers = headers
        self._lazy = lazy
        self._last_at = trio.current_time()
        self._writing = False
        self.gone = False

    async def send(self, frame: bytes) -> None:
        """Send a frame.

        *Backpressure*: waits while the client's socket has no room.
        """
        self._writing = True
        if not self._call.started:
            await self._begin()
        await self._call.write(frame)
        self._writing = False
        self._last_at = trio.current_time()

    async def run(
        self,
        produce: Callable[[EventStream], Awaitable[None]],
        *,
        last_words: Callable[[], bytes],
        late: bool = False,
    ) -> None:
        """Send the head, run ``produce``, and end the body.

        Args:
            produce: Sends the frames; cancelled when the client leaves or the service stops.
            last_words: What to send when the service stops.
            late: Whether a stop lets it go on for a while.

        *Failure*: what ``produce`` raises comes out; the body then stays without its end, so a
        client cannot take it for a whole one.
        """
        if not self._lazy:
            await self._begin()
        stops, done = self._call.desk.stops, False
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._listen, nursery.cancel_scope)
            stops.join(nursery.cancel_scope, late=late)
            try:
                await produce(self)
                done = True
            finally:
                stops.leave(nursery.cancel_scope)
            nursery.cancel_scope.cancel()
        if not done and not self.gone:
            # Cancelled, and not by the client's leaving: the service stops.
            await self.send(last_words())
        if not self.gone:
            if not self._call.started:
                await self._begin()
            await self._call.write(b"", more=False)

    @property
    def begun(self) -> bool:
        """Whether the head is out."""
        return self._call.started

    async def _begin(self) -> None:
        self._call.settle()
        await self._call.start(self._status, (*STREAM_HEADERS, *self._headers))

    async def _listen(self, everything: trio.CancelScope) -> None:
        """Notice the client's leaving, and keep a silent stream alive, in one task."""
        silence_seconds = self._call.desk.settings.keep_alive_seconds
        while True:
            with trio.move_on_at(self._last_at + silence_seconds) as nap:
                await self._call.until_gone()
                self.gone = True
                everything.cancel(reason="the client left")
                return
            if nap.cancelled_caught and trio.current_time() >= self._last_at + silence_seconds:
                if self._writing:
                    # A frame is on its way: the client is slow, not the stream silent.
                    self._last_at = trio.current_time()
                else:
                    await self.send(KEEP_ALIVE)
