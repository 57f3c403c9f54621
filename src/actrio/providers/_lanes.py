"""The HTTP clients of one connection, of at most ten sockets each."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import attrs
import trio

from actrio.providers._http import LANE_CONNECTIONS

__all__ = ["Lanes"]


@attrs.define(slots=True, eq=False)
class _Lane:
    client: Any
    calls: int = 0


class Lanes:
    """Clients of at most ten connections each, growing to ``connections_max``.

    *Backpressure*: a call beyond ``connections_max`` waits, first come, first served.
    """

    def __init__(self, make_client: Callable[[], Any], connections_max: int) -> None:
        self._make_client = make_client
        self._slots = trio.Semaphore(connections_max)
        self._lanes: list[_Lane] = []

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Any]:
        """Give a client with a free connection for the time of one call."""
        async with self._slots:
            lane = self._free_lane()
            lane.calls += 1
            try:
                yield lane.client
            finally:
                lane.calls -= 1

    async def aclose(self) -> None:
        """Close every connection."""
        for lane in self._lanes:
            await lane.client.aclose()
        self._lanes.clear()

    @property
    def count(self) -> int:
        return len(self._lanes)

    @property
    def calls_in_work(self) -> int:
        return sum(lane.calls for lane in self._lanes)

    def _free_lane(self) -> _Lane:
        # The first with room, so that the last lanes stay idle and their connections expire.
        for lane in self._lanes:
            if lane.calls < LANE_CONNECTIONS:
                return lane
        lane = _Lane(self._make_client())
        self._lanes.append(lane)
        return lane
