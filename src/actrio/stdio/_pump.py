"""One session's events on their way to one client.

::

    session ──► subscription ──► pump: wanted? credit? ──► the session's channel of the connection

The subscription paces the session's turns: while the pump waits for room, they do (30 s at most),
and behind them the provider. What the pump has handed to the channel leaves in that order, so an
answer that is put behind it there leaves behind it.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Final, Protocol

import attrs
import trio

from actrio.messages import Event, ItemDelta
from actrio.rpc import Connection
from actrio.runtime import Session
from actrio.stdio._event_lines import DeltaLine, event_message
from actrio.stdio._profile import ClientProfile

__all__ = ["Credit", "Listener", "SessionPump"]

COALESCE_SECONDS: Final = 0.1
"""How long deltas are collected for a client that asked for fewer: as a person reads along."""

DELTA_TEXT_MAX: Final = 64 * 1024
"""Characters of one delta's line; a longer delta leaves as several with the same number."""


class Listener(Protocol):
    """Who hears of a session's events beside the client."""

    async def before(self, event: Event) -> None:
        """Hear of an event before the client does."""

    def after(self, event: Event) -> None:
        """Hear that an event is queued for the client, or was not wanted."""


class Credit:
    """How many events of a session may leave before the client says that it has taken them in.

    Args:
        window: As many; ``None``: any number.
    """

    def __init__(self, window: int | None) -> None:
        self._window = math.inf if window is None else window
        self._unacknowledged: deque[tuple[int, int]] = deque()
        self._room = trio.lowlevel.ParkingLot()

    async def take(self, event: Event) -> None:
        """Wait until ``event`` may leave, and count it."""
        while len(self._unacknowledged) >= self._window:
            await self._room.park()
        if not math.isinf(self._window):
            self._unacknowledged.append((event.seq, event.n or 0))

    def acknowledge(self, seq: int, n: int | None) -> None:
        """Take back the credit of events up to ``(seq, n)``; without ``n``, of all with ``seq``."""
        waiting = self._unacknowledged
        while waiting and (
            waiting[0][0] < seq or (waiting[0][0] == seq and (n is None or waiting[0][1] <= n))
        ):
            waiting.popleft()
        self._room.unpark_all()

    def lift(self) -> None:
        """Let everything leave: nobody can acknowledge any more."""
        self._window = math.inf
        self._room.unpark_all()


class SessionPump:
    """Reads a session's events and queues them for a client.

    Args:
        connection: The client.
        session: Whose events.
        profile: What the client wants of them.
        after: Begin with the recorded events behind this number; ``None``: with what comes now.
        listener: Hears of them too.
    """

    def __init__(
        self,
        connection: Connection,
        session: Session,
        profile: ClientProfile,
        *,
        after: int | None,
        listener: Listener,
    ) -> None:
        self._connection = connection
        self._session = session
        self._profile = profile
        self._after = after
        self._listener = listener
        self._held: DeltaLine | None = None
        self._holding = trio.Event()
        self._order = trio.Lock()
        self._reached = trio.lowlevel.ParkingLot()
        self.credit = Credit(profile.window)
        self.scope = trio.CancelScope()
        # Set when the client has been answered: it hears nothing of what it does not know yet.
        self.go = trio.Event()
        self.begun = False
        self.ended = trio.Event()
        # The last recorded event that was queued.
        self.position = after or 0

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Pump until the session's events end, or `scope` is cancelled.

        Raises:
            ActrioError: The session cannot be subscribed to.
            trio.BrokenResourceError: The connection has ended.
        """
        try:
            with self.scope:
                async with (
                    self._session.subscribe(self._after, pace=True) as events,
                    trio.open_nursery() as nursery,
                ):
                    self.begun = True
                    task_status.started()
                    await self.go.wait()
                    if self._profile.deltas == "coalesced":
                        nursery.start_soon(self._release_in_time)
                    async for event in events:
                        await self._take(event)
                    await self._release()
                    nursery.cancel_scope.cancel()
        finally:
            self.ended.set()
            self._reached.unpark_all()

    async def reached(self, seq: int) -> None:
        """Wait until the events up to ``seq`` are queued, or the pump has ended."""
        while self.position < seq and not self.ended.is_set():
            await self._reached.park()

    async def _take(self, event: Event) -> None:
        await self._listener.before(event)
        if self._profile.wants(event):
            if self._profile.deltas == "coalesced":
                await self._hold_or_send(event)
            else:
                await self._send(event)
        if event.n is None:
            self.position = event.seq
            self._reached.unpark_all()
        self._listener.after(event)

    async def _send(self, event: Event) -> None:
        if isinstance(event, ItemDelta):
            if self._profile.deltas != "none":
                for line in _lines(event):
                    await self._send_line(line)
            return
        await self.credit.take(event)
        await self._connection.notify(event.session, "event", event_message(event))  # type: ignore[arg-type]  # every event of a session is a TurnEvent

    async def _send_line(self, line: DeltaLine) -> None:
        await self.credit.take(line.event)
        await self._connection.send(line.event.session, line)

    # Fewer deltas, for clients that asked for it

    async def _hold_or_send(self, event: Event) -> None:
        async with self._order:
            if isinstance(event, ItemDelta):
                for line in _lines(event):
                    both = None if self._held is None else self._held.merged(line)
                    if both is None:
                        await self._release_held()
                    self._held = both or line
                    self._holding.set()
            else:
                await self._release_held()
                await self._send(event)

    async def _release_in_time(self) -> None:
        while True:
            await self._holding.wait()
            await trio.sleep(COALESCE_SECONDS)
            await self._release()

    async def _release(self) -> None:
        async with self._order:
            await self._release_held()

    async def _release_held(self) -> None:
        if self._held is not None:
            await self._send_line(self._held)
            self._held = None
            self._holding = trio.Event()


def _lines(event: ItemDelta) -> list[DeltaLine]:
    """Return a delta as lines that are not too long."""
    text = event.text
    if len(text) <= DELTA_TEXT_MAX:
        return [DeltaLine(event)]
    return [
        DeltaLine(attrs.evolve(event, text=text[start : start + DELTA_TEXT_MAX]))
        for start in range(0, len(text), DELTA_TEXT_MAX)
    ]
