"""Requests of ours: who waits for which answer. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import trio

from actrio.errors import PeerError
from actrio.sansio import RequestId, Response

__all__ = ["Asked", "OpenRequests"]

_TEXT_MAX: Final = 500
"""Characters of a peer's error message that are kept: enough to read, and no flood in a log."""


class Asked:
    """One request of ours until its answer.

    Attributes:
        sent: Whether its line is queued, so that taking it back must be told.
    """

    __slots__ = ("_answered", "_response", "id", "method", "sent")

    def __init__(self, id: str, method: str) -> None:
        self.id = id
        self.method = method
        self.sent = False
        self._answered = trio.Event()
        self._response: Response | None = None

    def settle(self, response: Response | None) -> None:
        """Take the answer; ``None``: there will be none."""
        self._response = response
        self._answered.set()

    async def answer(self) -> Any:
        """Wait for the result.

        Raises:
            PeerError: The peer answered with an error.
            trio.BrokenResourceError: Nobody can answer any more.
        """
        await self._answered.wait()
        response = self._response
        if response is None:
            raise trio.BrokenResourceError("The connection ended before the peer answered.")
        if response.error is not None:
            raise _refusal(self.method, response.error)
        return response.result


class OpenRequests:
    """The requests that have no answer yet.

    Args:
        open_max: As many at once; further ones wait for a place.
    """

    def __init__(self, open_max: int) -> None:
        # Server-made ids have a namespace of their own: the peer's ids never meet them.
        self._open: dict[RequestId, Asked] = {}
        self._count = 0
        self._over = False
        self.places = trio.Semaphore(open_max)

    def __len__(self) -> int:
        return len(self._open)

    def begin(self, method: str) -> Asked:
        """Open a request.

        Raises:
            trio.BrokenResourceError: Nobody can answer any more.
        """
        if self._over:
            raise trio.BrokenResourceError("The peer can no longer answer.")
        self._count += 1
        asked = Asked(f"srv-{self._count}", method)
        self._open[asked.id] = asked
        return asked

    def settle(self, response: Response) -> bool:
        """Hand an answer to who waits for it; false: nobody does."""
        asked = self._open.pop(response.id, None)
        if asked is None:
            return False
        asked.settle(response)
        return True

    def forget(self, asked: Asked) -> None:
        """Let an answer that still comes be one to nothing."""
        self._open.pop(asked.id, None)

    def end(self) -> None:
        """Tell all who wait, now and later, that there will be no answer."""
        self._over = True
        for asked in self._open.values():
            asked.settle(None)
        self._open.clear()


def _refusal(method: str, error: Mapping[str, Any]) -> PeerError:
    text = str(error.get("message", "no reason given"))[:_TEXT_MAX]
    return PeerError(
        f"The client refused {method}: {text}",
        data={"code": error.get("code"), "message": text},
    )
