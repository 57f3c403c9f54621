"""What all session actors of a runtime share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import attrs

from actrio.agents import Agent, Prepared
from actrio.feeds import SessionFeed, Subscription
from actrio.journal import Record
from actrio.sessions._journal import Store, replay_from
from actrio.sessions._line import TurnSlots
from actrio.sessions._state import SessionState

__all__ = ["STATE_BYTES_MAX", "Feeds", "SessionDesk"]

STATE_BYTES_MAX: Final = 256 * 1024
"""Largest ``session.state``, as JSON: it is read at every opening. What is larger is a blob."""


class Feeds:
    """The feed of each session that somebody listens to or that is in memory.

    Args:
        store_of: Finds the store of a session.
        clock: Seconds since the epoch.
        stall_seconds: How long a turn waits for a reader that takes nothing.
    """

    def __init__(
        self,
        store_of: Callable[[str], Store],
        *,
        clock: Callable[[], float],
        stall_seconds: float,
    ) -> None:
        self._store_of = store_of
        self._clock = clock
        self._stall_seconds = stall_seconds
        self._feeds: dict[str, SessionFeed] = {}
        self._held: set[str] = set()  # sessions in memory: they tell, whoever listens
        self._closed = False

    def hold(self, session: str) -> SessionFeed:
        """Return the feed of a session that is in memory from now on."""
        self._held.add(session)
        return self.of(session)

    def of(self, session: str) -> SessionFeed:
        """Return the feed of ``session``."""
        feed = self._feeds.get(session)
        if feed is None:
            store = self._store_of(session)
            feed = self._feeds[session] = SessionFeed(
                session,
                replay=lambda after: replay_from(store, session, after),
                clock=self._clock,
                stall_seconds=self._stall_seconds,
                on_unused=lambda: self._forget_unused(session),
            )
            feed.closed = self._closed
        return feed

    def subscribe(self, session: str, after: int | None, *, pace: bool) -> Subscription:
        """Return a subscription to ``session``, in memory or not; see `Session.subscribe`."""
        return Subscription(lambda: self.of(session), after, pace=pace)

    def release(self, session: str) -> None:
        """The session is out of memory."""
        self._held.discard(session)
        self._forget_unused(session)

    def _forget_unused(self, session: str) -> None:
        feed = self._feeds.get(session)
        if feed is not None and not feed.used and session not in self._held:
            del self._feeds[session]

    def end(self, session: str) -> None:
        """End a session's subscriptions: it is gone for good."""
        feed = self._feeds.pop(session, None)
        if feed is not None:
            feed.close()

    def close(self) -> None:
        """End all subscriptions."""
        self._closed = True
        for session in list(self._feeds):
            self.end(session)


@attrs.frozen(slots=True, kw_only=True, eq=False)
class SessionDesk:
    """What a session actor uses and does not own.

    Attributes:
        store_of: Finds the store of a session.
        passing: Sessions of which nothing is kept.
        owner: Who writes, in words for another process that is refused.
        prepare: Asks an agent's actor how it is to be used for a turn that begins now.
        agent: Finds an agent's definition by its name.
        slots: The runtime's turn slots.
        feeds: Where events go.
        clock: Seconds since the epoch.
        new_id: Makes an id with a prefix.
        live: The state of each session in memory.
        pins: How often each session is held in memory by somebody.
        approval_seconds: How long a turn that waits for a person stays in memory.
        retention_seconds: How long records are kept that a checkpoint stands for.
        redact: Takes out of a record what must not be kept.
    """

    store_of: Callable[[str], Store]
    passing: set[str]
    owner: str
    prepare: Callable[[str], Awaitable[Prepared]]
    agent: Callable[[str], Agent]
    slots: TurnSlots
    feeds: Feeds
    clock: Callable[[], float]
    new_id: Callable[[str], str]
    live: dict[str, SessionState] = attrs.field(factory=dict)
    pins: dict[str, int] = attrs.field(factory=dict)
    approval_seconds: float = 60.0
    retention_seconds: float | None = None
    redact: Callable[[Record], Record] | None = None
