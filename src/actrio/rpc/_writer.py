"""The one task that writes, and the doors through which lines reach it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal

import trio

from actrio.rpc._limits import ConnectionLimits
from actrio.rpc._outbox import Mergeable, Outbox, OutboxStatistics

__all__ = ["LineWriter"]

PIECE_BYTES: Final = 64 * 1024
"""What one write is cut into, so that a reader who takes a long line slowly is seen to read. A
pipe holds as much on Linux."""


def _nobody_asks(_seconds: float) -> None:
    pass


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
            high_water_lines=limits.high_water_lines,
        )
        # Set when there is something to write, or nothing ever again.
        self._work = trio.Event()
        self._no_more = False
        self._ended = trio.Event()
        self._control_room = trio.lowlevel.ParkingLot()
        # Invariant: a lot is in here only while somebody is parked in it.
        self._channel_room: dict[str, trio.lowlevel.ParkingLot] = {}
        # Called with the seconds that a write has made no progress, and with 0 when it goes on.
        self.on_stall: Callable[[float], object] = _nobody_asks
        self._writing_since: float | None = None
        self._stalled = False

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
        if len(data) <= PIECE_BYTES:
            return await self._write_piece(data)
        view = memoryview(data)
        for start in range(0, len(view), PIECE_BYTES):
            if not await self._write_piece(view[start : start + PIECE_BYTES]):
                return False
        return True

    async def _write_piece(self, data: bytes | memoryview) -> bool:
        self._writing_since = trio.current_time()
        with trio.move_on_after(self._limits.stall_seconds) as scope:
            await self._send.send_all(data)
        self._writing_since = None
        if self._stalled:
            self._stalled = False
            self.on_stall(0.0)
        return not scope.cancelled_caught

    async def watch(self) -> None:
        """Tell of a write that makes no progress; a task beside the writer, so that writes pay nothing."""
        notice = self._limits.stall_notice_seconds
        while True:
            began = self._writing_since
            now = trio.current_time()
            if began is not None and not self._stalled and now - began >= notice:
                self._stalled = True
                self.on_stall(now - began)
            await trio.sleep(notice if began is None or self._stalled else began + notice - now)

    def no_more(self) -> None:
        """Promise that nothing will be queued any more."""
        self._no_more = True
        self._work.set()

    async def wait_ended(self) -> None:
        """Wait until nothing queued now or later can leave any more."""
        await self._ended.wait()

    @property
    def control_full(self) -> bool:
        """Whether more answers wait than the peer may leave unread."""
        return self._outbox.control_full

    async def wait_control_room(self) -> None:
        """Wait until fewer answers are queued than the bound; at once if the writer has ended."""
        while self._outbox.control_full and not self._ended.is_set():
            await self._control_room.park()

    def put_control(self, line: bytes) -> None:
        """Queue an answer; see `wait_control_room` for who keeps the bound."""
        self._outbox.put_control(line)
        self._work.set()

    async def put(self, channel: str, item: bytes | Mergeable) -> None:
        """Queue a line on ``channel``; waits while the channel is full.

        *Cancellation*: cancelled here, the line was not queued.

        Raises:
            trio.BrokenResourceError: The writer has ended.
        """
        await trio.lowlevel.checkpoint()
        while not self._ended.is_set():
            if self._outbox.offer(channel, item):
                self._work.set()
                return
            room = self._channel_room.setdefault(channel, trio.lowlevel.ParkingLot())
            try:
                await room.park()
            finally:
                if not room and self._channel_room.get(channel) is room:
                    del self._channel_room[channel]
        raise trio.BrokenResourceError("The connection has ended.")

    def put_nowait(self, channel: str, item: bytes | Mergeable) -> bool:
        """Queue a line and return true, or return false where `put` would wait or raise."""
        if self._ended.is_set() or channel in self._channel_room:
            return False
        if not self._outbox.offer(channel, item):
            return False
        self._work.set()
        return True

    def statistics(self) -> OutboxStatistics:
        return self._outbox.statistics()
