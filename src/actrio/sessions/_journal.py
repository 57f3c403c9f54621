"""One session's journal in the hands of its writer: the claim, the place, and the live state.

A record is appended, then folded into the state, in that order and with nothing between: what is
in memory is never ahead of the journal, and a write that failed has changed nothing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import attrs
import trio

from actrio.errors import ActrioError, InvalidRequest, NotFound, StorageError
from actrio.feeds import Replayed
from actrio.journal import (
    Checkpoint,
    Claim,
    HousekeepingPort,
    Record,
    SessionForked,
    StoredRecord,
    StorePort,
)
from actrio.messages import Event
from actrio.sessions._fold import apply
from actrio.sessions._sealing import adopted
from actrio.sessions._state import SessionState, snapshot_of

__all__ = [
    "SessionJournal",
    "Store",
    "exported",
    "oldest_records",
    "read_records",
    "read_state",
    "replay_from",
]

CHECKPOINT_RECORDS: Final = 200
"""Records between checkpoints: reading that many back takes a millisecond or two."""

REPLAY_EVENTS_MAX: Final = 256
"""Events of one step of a replay: as many as a subscriber's ring takes."""


class Store(StorePort, HousekeepingPort, Protocol):
    """Both ports of a store."""


class SessionJournal:
    """Writes one session. Made by `open`, ended by `close`.

    Args:
        store: Where records go.
        claim: The right to write this session.
        state: What its records amount to.
        clock: Seconds since the epoch.
        redact: Takes out of a record what must not be kept; what is kept is what counts.
        retention_seconds: How long records are kept that a checkpoint stands for; None: for ever.
    """

    checkpoint_records = CHECKPOINT_RECORDS

    def __init__(
        self,
        store: Store,
        claim: Claim,
        state: SessionState,
        *,
        clock: Callable[[], float],
        redact: Callable[[Record], Record] | None = None,
        retention_seconds: float | None = None,
    ) -> None:
        self.state = state
        self._store = store
        self._claim = claim
        self._clock = clock
        self._redact = redact
        self._retention = retention_seconds
        self._lock = trio.Lock()
        self._since_checkpoint = state.last_seq - claim.checkpoint_seq
        # Seq and time of the last checkpoint written here; what stands before it may go some day.
        self._checkpoint: tuple[int, float] | None = None

    @classmethod
    async def open(
        cls,
        store: Store,
        session: str,
        *,
        owner: str,
        insist: bool,
        clock: Callable[[], float],
        redact: Callable[[Record], Record] | None = None,
        retention_seconds: float | None = None,
    ) -> SessionJournal:
        """Become the writer of ``session`` and read what it is; a new one has no records.

        Raises:
            SessionOwned: Another process writes it.
            StorageError: It cannot be read.
        """
        claim = await store.claim(session, owner, insist=insist)
        try:
            state = await read_state(store, session) if claim.last_seq else SessionState(session)
        except BaseException:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + 1):
                await store.release(claim)
            raise
        return cls(
            store, claim, state, clock=clock, redact=redact, retention_seconds=retention_seconds
        )

    async def write(
        self, make: Callable[[], Sequence[Record]], *, sync: bool = False
    ) -> tuple[Sequence[Record], list[Event]]:
        """Append what ``make`` returns, fold it in; return the records, and their events.

        ``make`` is called when it is this write's turn. Whoever decides by the state decides
        there: between a look at the state and the place in the journal others may be written.

        *Cancellation*: cancelled means nothing was written.

        Raises:
            SessionFenced: Another process writes the session now.
            StorageError: Nothing was written.
        """
        if self._lock.locked():
            await self._lock.acquire()
        else:
            self._lock.acquire_nowait()
        try:
            state = self.state
            records = make()
            if not records:
                return (), []
            if self._redact is not None:
                records = tuple(map(self._redact, records))
            last_seq = state.last_seq
            ts = round(self._clock(), 6)  # as it is kept: what is told now is told again
            await self._store.append(
                state.id, self._claim.epoch, last_seq, records, sync=sync, ts=ts
            )
            events: list[Event] = []
            for place, record in enumerate(records, last_seq + 1):
                events += apply(state, StoredRecord(place, self._claim.epoch, ts, record))
            self._since_checkpoint += len(records)
        finally:
            self._lock.release()
        return records, events

    async def checkpoint_if_due(self, every: int | None = None) -> None:
        """Write a checkpoint where the last one is ``every`` records back."""
        # A long history costs more to write down, so that is done more rarely.
        due = every or max(self.checkpoint_records, len(self.state.history))
        if self._since_checkpoint < due:
            return
        async with self._lock:
            state, ts = self.state, round(self._clock(), 6)
            checkpoint = Checkpoint(snapshot=snapshot_of(state))
            await self._store.append(
                state.id, self._claim.epoch, state.last_seq, (checkpoint,), ts=ts
            )
            # Made of the state just now, it changes nothing in it but its place.
            state.last_seq, state.updated_at = state.last_seq + 1, ts
            self._since_checkpoint = 0
        before, self._checkpoint = self._checkpoint, (self.state.last_seq, self._clock())
        if before is not None and self._retention is not None:
            seq, written = before
            if self._clock() - written > self._retention:
                await self._store.trim(self._claim, seq)

    async def remove(self) -> None:
        """Remove the session with all its records."""
        await self._store.remove(self._claim)

    async def close(self) -> None:
        """Give the session back, readable at little cost.

        *Failure*: where the store takes nothing any more, the claim ends with the process.
        """
        with contextlib.suppress(ActrioError):  # it only makes the next opening quicker
            await self.checkpoint_if_due(every=8)
        with contextlib.suppress(StorageError):
            await self._store.release(self._claim)


async def read_records(
    store: StorePort, session: str, upto: int | None = None
) -> tuple[StoredRecord, ...]:
    """Return records that can be folded: up to ``upto``, from a checkpoint before it.

    Raises:
        InvalidRequest: There is no record ``upto``.
        NotFound: There is no such session, or what was asked for is no longer kept.
    """
    records = await store.read(session)
    if upto is None:
        return records
    if upto > records[-1].seq or upto < 1:
        raise InvalidRequest(
            f"Session {session} has no record {upto}.",
            remedy=f"Its last one is {records[-1].seq}; `actrio sessions show` lists its turns.",
        )
    if records[0].seq > upto:
        records = await oldest_records(store, session)
    if records[0].seq > upto:
        raise NotFound(
            f"The records of session {session} before {records[0].seq} were trimmed.",
            remedy=f"Go back to {records[0].seq} or later.",
        )
    return tuple(stored for stored in records if stored.seq <= upto)


async def read_state(store: StorePort, session: str, upto: int | None = None) -> SessionState:
    """Return what the records of ``session`` up to ``upto`` amount to.

    Raises:
        NotFound: There is no such session, or its beginning is no longer kept.
    """
    records = await read_records(store, session, upto)
    state = await _base(store, session, records)
    for stored in records:
        apply(state, stored)
    return state


async def _base(store: StorePort, session: str, records: Sequence[StoredRecord]) -> SessionState:
    """Return what ``records`` begin with: for a fork, what stands in its parent's journal only."""
    for stored in records[:2]:
        forked = stored.record
        if isinstance(forked, SessionForked) and stored.seq <= 2:
            try:
                parent = await read_state(store, forked.parent, forked.parent_seq)
            except NotFound as error:
                raise NotFound(
                    f"What this fork begins with, session {forked.parent} up to record"
                    f" {forked.parent_seq}, is no longer there.",
                    remedy="Restore the parent's journal.",
                ) from error
            return adopted(parent, session, forked.parent_seq)
    return SessionState(session)


async def oldest_records(store: StorePort, session: str) -> tuple[StoredRecord, ...]:
    """Return all records that are still kept, from the first one or from a checkpoint.

    Raises:
        NotFound: There is no such session.
    """
    try:
        return await store.read(session, 1)
    except NotFound as error:
        first_seq = (error.data or {}).get("first_seq")
        if first_seq is None:
            raise
    return await store.read(session, first_seq)


def _event_before(records: Sequence[StoredRecord]) -> int:
    """Return the number of the last event that happened before ``records``."""
    first = records[0].record
    return int(first.snapshot["body"].get("event_seq", 0)) if isinstance(first, Checkpoint) else 0


async def replay_from(
    store: StorePort, session: str, after: int, *, events_max: int = REPLAY_EVENTS_MAX
) -> Replayed:
    """Return recorded events behind number ``after``: those that were sent when they happened.

    *Failure*: a session that is not there has none.
    """
    try:
        records = await store.read(session)
        if _event_before(records) > after:
            records = await oldest_records(store, session)
    except NotFound:
        return Replayed((), 1, True)
    state = SessionState(session)  # what a fork begins with was told in its parent's events
    first = _event_before(records) + 1
    events: list[Event] = []
    for stored in records:
        events += (event for event in apply(state, stored) if event.seq > after)
        if len(events) >= events_max and stored is not records[-1]:
            return Replayed(events, first, False)
    return Replayed(events, first, True)


async def exported(store: StorePort, session: str) -> tuple[StoredRecord, ...]:
    """Return a session's records as they mean the same without any other session.

    A fork that begins in its parent's journal gets a checkpoint in the place of that reference.

    Raises:
        NotFound: There is no such session.
    """
    records = await oldest_records(store, session)
    base = await _base(store, session, records)
    if not base.parent:
        return records
    for stored in records[:2]:
        apply(base, stored)
    checkpoint = Checkpoint(snapshot=snapshot_of(base))
    return (records[0], attrs.evolve(records[1], record=checkpoint), *records[2:])
