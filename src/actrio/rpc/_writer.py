"""The one task that writes, and the doors through which lines reach it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import trio

from actrio.rpc._methods import ConnectionLimits
from actrio.rpc._outbox import Outbox, OutboxStatistics
from actrio.wire import json_line

__all__ = ["LineWriter"]


class LineWriter:
    """Owns the outbox of a connection and the stream it empties into.

    Args:
        send: Where the lines go. Nobody else may write to it.
        limits: The bounds of the connection.
    """

    def __init__(self, send: trio.abc.SendStream, limits: ConnectionLimits) -> None:
        self._send = send
        self._limits = limits
        self._outbox = Outbox(
            control_lines_max=limits.control_lines_max,
            channel_lines_max=limits.channel_lines_max,
            channel_bytes_max=limits.channel_bytes_max,
        )
        # Set when there is something to write, or nothing ever again.
        self._work = trio.Event()
        self._no_more = False
        self._ended = trio.Event()
        self._control_room = trio.lowlevel.ParkingLot()
        # Invariant: a lot is in here only while somebody is parked in it.
        self._channel_room: dict[str, trio.lowlevel.ParkingLot] = {}

    async def run(self) -> Literal["done", "broken", "stalled"]:
        """Write until `no_more` was called and everything has left, or the peer is gone."""
        try:
            while self._outbox or not self._no_more:
                if not self._outbox:
                    self._work = trio.Event()
                    await self._work.wait()
                elif not await self._write_some():
                    # Part of a line may be out, so nothing may follow it.
                    return "stalled"
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return "broken"
        finally:
            self._ended.set()
            self._control_room.unpark_all()
            for room in list(self._channel_room.values()):
                room.unpark_all()
        return "done"

    async def _write_some(self) -> bool:
        data, drained = self._outbox.take(self._limits.write_bytes_max)
        self._control_room.unpark_all()
        for channel in drained:
            if channel in self._channel_room:
                self._channel_room[channel].unpark_all()
        with trio.move_on_after(self._limits.stall_seconds) as scope:
            await self._send.send_all(data)
        return not scope.cancelled_caught

    def no_more(self) -> None:
        """Promise that nothing will be queued any more."""
        self._no_more = True
        self._work.set()

    async def wait_ended(self) -> None:
        """Wait until nothing queued now or later can leave any more."""
        await self._ended.wait()

    async def wait_control_room(self) -> None:
        """Wait until fewer answers are queued than the bound; at once if the writer has ended."""
        while self._outbox.control_full and not self._ended.is_set():
            await self._control_room.park()

    def put_control(self, message: Mapping[str, Any]) -> None:
        """Queue an answer; see `wait_control_room` for who keeps the bound.

        Raises:
            InvalidRequest: It has no JSON form.
        """
        self._outbox.put_control(json_line(message))
        self._work.set()

    async def put(self, channel: str, message: Mapping[str, Any]) -> None:
        """Queue a line on ``channel``; waits while the channel is full.

        *Cancellation*: cancelled here, the line was not queued.

        Raises:
            InvalidRequest: It has no JSON form.
            trio.BrokenResourceError: The writer has ended.
        """
        line = json_line(message)
        await trio.lowlevel.checkpoint()
        while not self._ended.is_set():
            if self._outbox.offer(channel, line):
                self._work.set()
                return
            room = self._channel_room.setdefault(channel, trio.lowlevel.ParkingLot())
            try:
                await room.park()
            finally:
                if not room and self._channel_room.get(channel) is room:
                    del self._channel_room[channel]
        raise trio.BrokenResourceError("The connection has ended.")

    def statistics(self) -> OutboxStatistics:
        return self._outbox.statistics()
