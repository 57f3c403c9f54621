"""The HTTP clients of one connection, of at most ten sockets each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import trio

from actrio.providers._http import LANE_CONNECTIONS

__all__ = ["Lanes"]


@attrs.define(slots=True, eq=False)
class _Lane:
    client: Any
    calls: int = 0


class _Use:
    """One call's time with a client: ``async with lanes.client() as client``."""

    __slots__ = ("_lane", "_lanes")

    def __init__(self, lanes: Lanes) -> None:
        self._lanes = lanes
        self._lane: _Lane

    async def __aenter__(self) -> Any:
        self._lane = await self._lanes.enter()
        return self._lane.client

    async def __aexit__(self, *_exc: object) -> None:
        self._lanes.leave(self._lane)


class Lanes:
    """Clients of at most ten connections each, growing to ``connections_max``.

    *Backpressure*: a call beyond ``connections_max`` waits, first come, first served.
    """

    def __init__(self, make_client: Callable[[], Any], connections_max: int) -> None:
        self._make_client = make_client
        self._slots = trio.Semaphore(connections_max)
        self._lanes: list[_Lane] = []

    def client(self) -> _Use:
        """Give a client with a free connection for the time of one call."""
        return _Use(self)

    async def enter(self) -> _Lane:
        """Wait for a free connection and take it."""
        try:
            self._slots.acquire_nowait()
        except trio.WouldBlock:
            await self._slots.acquire()
        try:
            lane = self._free_lane()
        except BaseException:
            self._slots.release()  # its client could not be made
            raise
        lane.calls += 1
        return lane

    def leave(self, lane: _Lane) -> None:
        """Give it back."""
        lane.calls -= 1
        self._slots.release()

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
