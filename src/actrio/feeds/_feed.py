"""How a session's events get to those who listen.

``seq`` counts a session's recorded events and never has a gap; it is the bookmark. A live-only
event carries the last ``seq`` and a counter ``n`` that starts again after each recorded event, so
``(seq, n)`` orders everything a client saw.

There are two kinds of listeners. A turn's *owner* has an outlet of its own; a *subscriber* hears
all of the session. Who paces is waited for, the owner always, a subscriber where it asked for it,
but nobody for longer than ``stall_seconds``: then the turn goes on without, and whoever was left
behind gets the recorded events from the journal when it reads again. So a reader that stops costs
the others nothing, and loses nothing but deltas that a completed item repeats.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, NamedTuple, Self

import attrs
import trio

from actrio.errors import Overloaded
from actrio.messages import Event, Gap, ItemDelta

__all__ = [
    "MERGED_TEXT_MAX",
    "STALL_SECONDS",
    "FeedStatistics",
    "Outlet",
    "Replay",
    "Replayed",
    "SessionFeed",
    "Subscription",
    "TurnFeed",
    "merge_deltas",
]

MERGED_TEXT_MAX: Final = 64 * 1024
"""Characters one merged delta may reach. Beyond it the reader's slowness reaches the provider."""

STALL_SECONDS: Final = 30.0
"""How long a turn waits for a reader that takes nothing: a person's laptop that slept a moment is
waited for, a dead client does not hold a provider's slot."""

RING_MAX: Final = 256
"""Events that wait for one subscriber: a busy second of a turn. Beyond it the journal has them."""

PACE_AT: Final = 64
"""Events that may wait for a pacing subscriber before the turn waits: as for a turn's owner."""

SUBSCRIBERS_MAX: Final = 64
"""Subscribers of one session: each costs a look per event. A fan-out to more belongs in front."""


class Replayed(NamedTuple):
    """Recorded events behind a bookmark; ``first_available`` beyond it tells of a gap."""

    events: Sequence[Event]
    first_available: int
    whole: bool


Replay = Callable[[int], Awaitable[Replayed]]
"""Reads the recorded events behind a number."""


def merge_deltas(waiting: Any, event: Any) -> Any | None:
    """Return one event in place of two adjacent deltas of the same item, or None.

    Nothing is lost: the text is joined, the later counter stands.
    """
    if (
        isinstance(waiting, ItemDelta)
        and isinstance(event, ItemDelta)
        and waiting.item == event.item
        and waiting.kind == event.kind
        and waiting.attempt == event.attempt
        and len(waiting.text) + len(event.text) <= MERGED_TEXT_MAX
    ):
        return attrs.evolve(event, text=waiting.text + event.text)
    return None


class Outlet:
    """The way to a turn's owner, in order, whoever of the turn's tasks sends.

    Args:
        emit: Sends one event; waits for room.
        emit_nowait: Sends one event if there is room.
        stall_seconds: How long to wait for room.
    """

    __slots__ = ("_emit", "_emit_nowait", "_lot", "_sending", "_stall", "detached", "queue", "sent")

    def __init__(
        self,
        emit: Callable[[Any], Awaitable[None]],
        emit_nowait: Callable[[Any], bool],
        *,
        stall_seconds: float,
    ) -> None:
        self._emit = emit
        self._emit_nowait = emit_nowait
        self._stall = stall_seconds
        self._sending = False
        self._lot = trio.lowlevel.ParkingLot()
        self.queue: deque[Event] = deque()
        self.detached = False
        self.sent = 0  # the last recorded event that it got

    def put(self, event: Event) -> None:
        """Send ``event``, at once where that is possible; else `flush` will."""
        if self.detached:
            return
        if self.queue or self._sending:
            self.queue.append(event)
        elif self._emit_nowait(event):
            self.sent = max(self.sent, event.seq)
        else:
            self.queue.append(event)

    async def flush(self) -> None:
        """Wait until the owner has had room for what was put.

        *Cancellation*: what was not sent stays, and goes first the next time.
        """
        if self._sending:
            # Somebody sends already, what is waiting included; stay within a bound behind it.
            while len(self.queue) >= PACE_AT:
                await self._lot.park()  # its end empties the queue, or somebody's next flush does
                if not self._sending:
                    break
            return
        self._sending = True
        try:
            while self.queue:
                await self._send(self.queue[0])
                if self.queue:
                    self.sent = max(self.sent, self.queue.popleft().seq)
        finally:
            self._sending = False
            self._lot.unpark_all()

    async def _send(self, event: Event) -> None:
        if self._emit_nowait(event):
            return
        with trio.move_on_after(self._stall) as scope:
            await self._emit(event)
        if scope.cancelled_caught:
            self.detached = True
            self.queue.clear()

    async def catch_up(self, replay: Replay, turn: str) -> None:
        """Send what the owner missed of its turn while it was left behind, at its own pace."""
        self.detached = False
        whole = False
        while not whole:
            found = await replay(self.sent)
            whole = found.whole
            for event in found.events:
                if event.turn == turn:
                    await self._emit(event)
                self.sent = event.seq


@attrs.frozen(slots=True)
class FeedStatistics:
    """Who listens to a session, and how far the slowest is behind."""

    subscribers: int
    subscribers_max: int
    waiting_peak: int
    left_behind: int


class SessionFeed:
    """Numbers a session's live events and hands all of them on.

    Args:
        session: Its id.
        replay: Reads recorded events of the session.
        clock: Seconds since the epoch.
        stall_seconds: How long a pacing reader is waited for.
        on_unused: Called when the last subscriber has left.
    """

    def __init__(
        self,
        session: str,
        *,
        replay: Replay,
        clock: Callable[[], float],
        stall_seconds: float = STALL_SECONDS,
        on_unused: Callable[[], None] | None = None,
    ) -> None:
        self.session = session
        self.replay = replay
        self.stall_seconds = stall_seconds
        self.seq: int | None = None  # not known before the first event, or a look at the session
        self.closed = False
        self.waiting_peak = 0
        self.left_behind = 0
        self._n = 0
        self._clock = clock
        self._on_unused = on_unused
        self._subscribers: list[Subscription] = []
        self._owners: dict[str, Outlet] = {}

    @property
    def used(self) -> bool:
        """Whether anybody subscribes."""
        return bool(self._subscribers)

    def heard(self, turn: str) -> bool:
        """Whether anybody listens to ``turn``; if not, live-only events need not be made."""
        return bool(self._subscribers) or turn in self._owners

    def own(self, turn: str, outlet: Outlet) -> None:
        """Let a turn's events go to its owner, from here on."""
        outlet.sent = self.seq or 0
        self._owners[turn] = outlet

    def disown(self, turn: str) -> None:
        """The turn is over, or its owner has left."""
        self._owners.pop(turn, None)

    def begin_at(self, seq: int) -> None:
        """The session was read, and ``seq`` is its last event.

        What it has not told here, because another process wrote it or because this one failed
        with it half told, subscribers get from the journal.
        """
        if self.seq is not None and seq != self.seq:
            self._n = 0
            for each in self._subscribers:
                each.fall_behind()
        self.seq = seq

    def publish(self, events: Sequence[Event]) -> None:
        """Hand recorded events on; they are in the journal. `settle` waits for the readers."""
        for event in events:
            self.seq, self._n = event.seq, 0
            self._hand_on(event)

    async def tell(self, kind: type[Event], turn: str, body: dict[str, Any]) -> None:
        """Make a live-only event and hand it on.

        *Backpressure*: waits while a pacing reader has no room.
        """
        self._n += 1
        seq = self.seq or 0
        self._hand_on(
            kind(session=self.session, turn=turn, seq=seq, ts=self._clock(), n=self._n, **body)
        )
        if self._subscribers or ((owner := self._owners.get(turn)) is not None and owner.queue):
            await self.settle(turn)

    def _hand_on(self, event: Event) -> None:
        for each in self._subscribers:
            each.offer(event)
        if (owner := self._owners.get(event.turn)) is not None:
            owner.put(event)

    async def settle(self, turn: str) -> None:
        """Wait until those who pace have room again."""
        owner = self._owners.get(turn)
        if owner is not None and owner.queue:
            await owner.flush()
        if self._subscribers:
            for each in tuple(self._subscribers):
                await each.room()

    def subscribe(self, after: int | None, *, pace: bool) -> Subscription:
        """Return a subscription that begins behind event ``after`` when its block is entered."""
        return Subscription(lambda: self, after, pace=pace)

    def now(self) -> float:
        """Return the seconds since the epoch."""
        return self._clock()

    def join(self, subscription: Subscription) -> bool:
        """Let a subscription in; False where there are too many."""
        if len(self._subscribers) >= SUBSCRIBERS_MAX:
            return False
        self._subscribers.append(subscription)
        return True

    def leave(self, subscription: Subscription) -> None:
        """Take a subscription out."""
        if subscription in self._subscribers:
            self._subscribers.remove(subscription)
            if not self._subscribers and self._on_unused is not None:
                self._on_unused()

    def close(self) -> None:
        """End all subscriptions: nothing will come any more."""
        self.closed = True
        for each in self._subscribers:
            each.wake()

    def statistics(self) -> FeedStatistics:
        return FeedStatistics(
            len(self._subscribers), SUBSCRIBERS_MAX, self.waiting_peak, self.left_behind
        )


class TurnFeed:
    """One turn's part of the feed, for whoever runs the turn."""

    __slots__ = ("_feed", "_turn")

    def __init__(self, feed: SessionFeed, turn: str) -> None:
        self._feed = feed
        self._turn = turn

    @property
    def live(self) -> bool:
        """Whether anybody listens; if not, live-only events need not be made."""
        return self._feed.heard(self._turn)

    def tell(self, kind: type[Event], /, **body: Any) -> Awaitable[None]:
        """Make a live-only event of the turn and hand it on; see `SessionFeed.tell`."""
        return self._feed.tell(kind, self._turn, body)


class Subscription:
    """All events of a session from a bookmark on; made by `SessionFeed.subscribe`.

    ``async with session.subscribe(n) as events: async for event in events: …``

    Cancelling a wait for the next event loses none: the next one is waited for again.

    Args:
        find: Finds the feed when the block is entered: a session that went to sleep and came back
            has another one.
        after: The last event that is not to be told; what comes from now on where None.
        pace: Whether turns wait for this reader.
    """

    def __init__(self, find: Callable[[], SessionFeed], after: int | None, *, pace: bool) -> None:
        self._find = find
        self._feed: SessionFeed
        # The number of the last recorded event that the reader has had; not known before the
        # first event where it asked for what comes, of a session that is not in memory.
        self._position = after
        self._pace = pace
        self._behind = after is not None
        self._ring: deque[Event] = deque()
        self._readers = trio.lowlevel.ParkingLot()
        self._writers = trio.lowlevel.ParkingLot()
        self._left = False

    async def __aenter__(self) -> Self:
        await trio.lowlevel.checkpoint()
        self._feed = feed = self._find()
        if self._position is None:
            self._position = feed.seq
        if not feed.join(self):
            raise Overloaded(
                f"Session {feed.session} has {SUBSCRIBERS_MAX} subscribers.",
                remedy="Share one subscription among the readers.",
                data={"limit": SUBSCRIBERS_MAX},
            )
        return self

    async def __aexit__(self, *_exc: object) -> None:
        self._left = True
        self._feed.leave(self)
        self._writers.unpark_all()
        await trio.lowlevel.checkpoint_if_cancelled()

    def __aiter__(self) -> Subscription:
        return self

    # --- the session's side

    def offer(self, event: Event) -> None:
        """Take an event in; one that cannot wait here any more will be read from the journal."""
        ring = self._ring
        if self._behind:
            return
        if self._position is None:
            self._position = event.seq - (event.n is None)
        if ring:
            # Only with what still waits, so a reader that keeps up sees every delta on its own.
            joined = merge_deltas(ring[-1], event)
            if joined is not None:
                ring[-1] = joined
                return
        if len(ring) >= RING_MAX:
            self.fall_behind()
            return
        ring.append(event)
        self._feed.waiting_peak = max(self._feed.waiting_peak, len(ring))
        self.wake()

    def fall_behind(self) -> None:
        """Take in nothing more until the reader has had what waits, and then the journal's."""
        if self._position is None or self._behind:
            return
        self._behind = True
        self._feed.left_behind += 1
        self._writers.unpark_all()
        self.wake()

    async def room(self) -> None:
        """Wait, where this reader paces, until it has room."""
        if not self._pace or self._behind or len(self._ring) < PACE_AT:
            return
        with trio.move_on_after(self._feed.stall_seconds) as scope:
            while len(self._ring) >= PACE_AT and not self._left and not self._behind:
                await self._writers.park()
        if scope.cancelled_caught:
            self.fall_behind()

    def wake(self) -> None:
        self._readers.unpark_all()

    # --- the reader's side

    async def __anext__(self) -> Event:
        await trio.lowlevel.checkpoint_if_cancelled()
        while True:
            if self._ring:
                event = self._ring.popleft()
                if self._writers and len(self._ring) < PACE_AT:
                    self._writers.unpark_all()
                if self._is_new(event):
                    return event
            elif self._feed.closed:
                raise StopAsyncIteration
            elif self._behind:
                gap = await self._catch_up()
                if gap is not None:
                    return gap
            else:
                await self._readers.park()

    def _is_new(self, event: Event) -> bool:
        position = self._position
        if event.n is None:
            if position is not None and event.seq <= position:
                return False
            self._position = event.seq
            return True
        return position is None or event.seq >= position

    async def _catch_up(self) -> Event | None:
        """Put recorded events from the journal in front of what has come since."""
        position = self._position or 0
        # From here on events are collected again, so that nothing falls between the two.
        self._behind = False
        try:
            found = await self._feed.replay(position)
        except BaseException:
            self._ring.clear()
            self._behind = True
            raise
        gap: Event | None = None
        if found.first_available > position + 1:
            self._position = found.first_available - 1
            gap = Gap(
                session=self._feed.session,
                turn="",
                seq=self._position,
                ts=self._feed.now(),
                n=0,
                first_available=found.first_available,
            )
        if not found.whole:
            # More is to be read first; what has come meanwhile will be among it.
            self._ring.clear()
            self._behind = True
        self._ring.extendleft(reversed(found.events))
        self.wake()  # another reader of this subscription may wait
        return gap
