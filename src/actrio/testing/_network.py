"""A network in memory: what stands below the HTTP library in tests, on Trio's own clock.

The library, the connection actor and the dialect are the real ones; only sockets are not. So a
pause of thirty seconds takes no time under a virtual clock, and a fault is one line::

    network = MemoryNetwork([Reply(429, {"retry-after": "30"}), Reply(body=answer)])
    Connections(system, settings=…, env=…, transport=network.transport)
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from typing import Literal

import attrs
import trio

from actrio.providers import Answer

__all__ = ["MemoryNetwork", "MemoryRequest", "Reply"]

Step = bytes | float | Literal["reset", "stall"]

REQUESTS_KEPT_MAX = 100_000
"""Requests that are remembered; a test with more of them looks at counts."""


@attrs.frozen(slots=True)
class MemoryRequest:
    """One request as it arrived; ``at`` is Trio time."""

    at: float
    url: str
    headers: Mapping[str, str]
    body: bytes


@attrs.frozen(slots=True)
class Reply:
    """What happens to one request.

    Args:
        status: The HTTP status.
        headers: Of the answer; without a content type it is an event stream.
        body: Bytes are sent, a number waits so many seconds, ``stall`` waits for ever, and
            ``reset`` breaks the connection.
        delay_seconds: Until the head of the answer is sent; ``inf`` never sends one.
        fault: ``refused``, ``reset`` or ``timeout`` in the place of an answer.
    """

    status: int = 200
    headers: Mapping[str, str] = attrs.field(factory=dict)
    body: tuple[Step, ...] = ()
    delay_seconds: float = 0.0
    fault: Literal["refused", "reset", "timeout"] | None = None


class MemoryNetwork:
    """Answers requests in order, or as a function says.

    Args:
        replies: One for each request; the last one stands for all that follow. Or a function of
            the request.

    Attributes:
        requests: What arrived, in order.
        open: Answers that are being read now.
        peak_open: The most of them.
    """

    def __init__(self, replies: Iterable[Reply] | Callable[[MemoryRequest], Reply]) -> None:
        self._replies = replies if callable(replies) else _in_order(replies)
        self.requests: list[MemoryRequest] = []
        self.open = 0
        self.peak_open = 0

    async def transport(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Answer one request; give this to `Connections`."""
        request = MemoryRequest(trio.current_time(), url, headers, body)
        if len(self.requests) < REQUESTS_KEPT_MAX:
            self.requests.append(request)
        reply = self._replies(request)
        self.open += 1
        self.peak_open = max(self.peak_open, self.open)
        try:
            await trio.sleep(reply.delay_seconds)
            match reply.fault:
                case "refused":
                    raise ConnectionRefusedError("nobody listens")
                case "reset":
                    raise ConnectionResetError("reset by the other side")
                case "timeout":
                    raise TimeoutError("no connection came up")
        except BaseException:
            self.open -= 1
            raise
        told = {"content-type": "text/event-stream", **reply.headers}
        return Answer(reply.status, told, _Pieces(reply.body, self))


def _in_order(replies: Iterable[Reply]) -> Callable[[MemoryRequest], Reply]:
    given = iter(replies)
    last = Reply(500)

    def reply(_request: MemoryRequest) -> Reply:
        nonlocal last
        last = next(given, last)
        return last

    return reply


class _Pieces(AsyncIterator[bytes]):
    """The body of one answer."""

    def __init__(self, steps: Iterable[Step], network: MemoryNetwork) -> None:
        self._steps = iter(steps)
        self._network: MemoryNetwork | None = network

    async def __anext__(self) -> bytes:
        for step in self._steps:
            if isinstance(step, bytes):
                await trio.lowlevel.checkpoint()
                return step
            if step == "reset":
                raise ConnectionResetError("reset by the other side")
            if step == "stall":
                await trio.sleep_forever()
            else:
                assert isinstance(step, (int, float))
                await trio.sleep(step)
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Count the answer as over, however that came."""
        if self._network is not None:
            self._network.open -= 1
            self._network = None
