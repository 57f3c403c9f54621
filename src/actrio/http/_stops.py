"""How everything that streams learns that the service stops.

A stream that is cut leaves its client guessing, so each one is told to end and says so in its own
format. Native event streams end at once, because their sessions stay and can be resumed; a façade
turn has nobody else, so it may go on for a while::

    begin ──► native streams say "stopping" and end      new calls are refused
      │
      └─ drain_seconds ─► expire ──► façade turns are cancelled and say so
"""

from __future__ import annotations

import trio

__all__ = ["Stops"]


class Stops:
    """The streams of one service, and whether it is stopping."""

    def __init__(self) -> None:
        self.begun = False
        self.expired = False
        self._soon: set[trio.CancelScope] = set()
        self._late: set[trio.CancelScope] = set()
        self._empty = trio.Event()

    def join(self, scope: trio.CancelScope, *, late: bool = False) -> None:
        """Cancel ``scope`` when the service stops; ``late``: only at the very end."""
        (self._late if late else self._soon).add(scope)
        if self.expired or (self.begun and not late):
            scope.cancel(reason="the service stops")

    def leave(self, scope: trio.CancelScope) -> None:
        """Take ``scope`` out again."""
        self._soon.discard(scope)
        self._late.discard(scope)
        if not self._late and not self._soon:
            self._empty.set()

    def begin(self) -> None:
        """Tell native streams to end."""
        self.begun = True
        for scope in tuple(self._soon):
            scope.cancel(reason="the service stops")

    def expire(self) -> None:
        """Tell everything to end."""
        self.begin()
        self.expired = True
        for scope in tuple(self._late):
            scope.cancel(reason="the service stops")

    async def emptied(self) -> None:
        """Wait until nothing streams."""
        while self._late or self._soon:
            self._empty = trio.Event()
            await self._empty.wait()

    @property
    def streams(self) -> int:
        """How many stream now."""
        return len(self._late) + len(self._soon)
