"""What a session begins with: forks refer to their parent, so deleting one asks who refers to it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any, Final

from actrio.actors import Ref
from actrio.errors import NotFound
from actrio.journal import Checkpoint, Record, SessionCreated, SessionForked, StoredRecord
from actrio.sessions._journal import Store
from actrio.sessions._sealing import adopted
from actrio.sessions._session_actor import KeepWhole
from actrio.sessions._state import SessionState, snapshot_of

__all__ = ["Parents", "fork_records"]

PARENTS_MAX: Final = 200_000
"""Sessions of which it is remembered what they begin with: some twenty megabytes; others are read."""


class Parents:
    """Knows what each session begins with.

    Args:
        store: Where sessions are kept.
        ref: Returns a session's address.
    """

    def __init__(self, store: Store, ref: Callable[[str], Ref[Any]]) -> None:
        self._store = store
        self._ref = ref
        self._known: dict[str, str] = {}  # "" for nothing

    def remember(self, session: str, parent: str) -> None:
        """Note what ``session`` begins with."""
        self._known[session] = parent
        while len(self._known) > PARENTS_MAX:
            del self._known[next(iter(self._known))]

    async def copy_to_forks(self, parent: str) -> None:
        """Give every fork of ``parent`` a copy of what it begins with."""
        after = ""
        while entries := await self._store.list(after=after, limit=1000):
            after = entries[-1].session
            for entry in entries:
                if entry.checkpoint_seq == 0 and entry.session != parent:
                    await self._copy_to(entry.session, parent)

    async def _copy_to(self, child: str, parent: str) -> None:
        if await self._parent_of(child) == parent:
            with contextlib.suppress(NotFound):  # it is gone, and needs nothing any more
                await self._ref(child).ask(KeepWhole())

    async def _parent_of(self, session: str) -> str:
        """Return what a session begins with; it never changes, so each is looked at once."""
        known = self._known.get(session)
        if known is not None:
            return known
        try:
            records = await self._store.read(session)
        except NotFound:
            return ""
        forked = records[1].record if len(records) > 1 else None
        parent = forked.parent if isinstance(forked, SessionForked) else ""
        self.remember(session, parent)
        return parent


def fork_records(
    parent: SessionState, records: Sequence[StoredRecord], child: str, *, copy: bool
) -> tuple[Record, ...]:
    """Return the first records of ``child``, which begins with ``parent`` as ``records`` made it.

    Args:
        parent: The state after the last of ``records``.
        records: The parent's, up to where the fork is.
        child: The new session's id.
        copy: Whether the child holds a copy and no reference, since the parent's records may go.
    """
    seq = records[-1].seq
    made: list[Record] = [
        SessionCreated(
            agent=parent.agent,
            user=parent.user,
            model=parent.model,
            cache_policy=parent.cache_policy,
            labels=parent.labels,
        ),
        SessionForked(parent=parent.id, parent_seq=seq),
    ]
    # A reference through a reference would grow into a chain.
    if copy or any(isinstance(stored.record, SessionForked) for stored in records):
        state = adopted(parent, child, seq)
        state.last_seq = 2
        made.append(Checkpoint(snapshot=snapshot_of(state)))
    return tuple(made)
