"""The store of sessions that nobody will open again: their records, as they are.

Nothing is encoded and nothing survives. Records are kept because a reader that was left behind reads
what it missed from the journal, and this is that journal.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final

import attrs
import trio

from actrio.errors import LimitExceeded, NotFound, NotSupported
from actrio.journal._batch import out_of_order
from actrio.journal._records import Record, StoredRecord
from actrio.journal._store import (
    READ_BYTES_MAX,
    Claim,
    CompactReport,
    SessionEntry,
    VerifyReport,
    checked_session,
)

__all__ = ["PassingStore"]

RECORDS_MAX: Final = 4_000_000
"""Records of all such sessions together: a few gigabytes. A session that talks for so long should
have a name, and be kept."""


@attrs.define(slots=True)
class _Kept:
    epoch: int
    records: list[StoredRecord] = attrs.field(factory=list)


class PassingStore:
    """A `StorePort` for one process and one owner.

    Args:
        now: The wall clock, in seconds since 1970.
    """

    def __init__(self, *, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._kept: dict[str, _Kept] = {}
        self._epoch = 0
        self._count = 0

    async def claim(self, session: str, owner: str, *, insist: bool = False) -> Claim:  # noqa: ARG002
        """Become the one who writes ``session``; nobody else ever wants to."""
        await trio.lowlevel.checkpoint_if_cancelled()
        kept = self._kept.get(session)
        if kept is None:
            self._epoch += 1
            kept = self._kept[checked_session(session)] = _Kept(self._epoch)
        return Claim(session, owner, kept.epoch, len(kept.records))

    async def renew(self, claim: Claim) -> None:
        """Do nothing: the claim holds."""

    async def append(
        self,
        session: str,
        epoch: int,
        expected_seq: int,
        records: Sequence[Record],
        *,
        sync: bool = False,  # noqa: ARG002 - nothing here is ever synced
        ts: float | None = None,
    ) -> int:
        """Add ``records``; see `StorePort.append`."""
        await trio.lowlevel.checkpoint_if_cancelled()
        rows = self._rows(session)
        if len(rows) != expected_seq:
            raise out_of_order(session, expected_seq, len(rows))
        if self._count + len(records) > RECORDS_MAX:
            raise LimitExceeded(
                f"Sessions without a name have {RECORDS_MAX} records together.",
                remedy="Give long sessions an id; then they are kept in the store.",
            )
        when = ts if ts is not None else self._now()
        rows += (
            StoredRecord(seq, epoch, when, record)
            for seq, record in enumerate(records, expected_seq + 1)
        )
        self._count += len(records)
        return len(rows)

    def _rows(self, session: str) -> list[StoredRecord]:
        kept = self._kept.get(session)
        if kept is None:
            raise NotFound(f"There is no session {session}.", remedy="Create it.")
        return kept.records

    async def read(
        self,
        session: str,
        from_seq: int | None = None,
        *,
        bytes_max: int = READ_BYTES_MAX,  # noqa: ARG002 - they are in memory already
    ) -> tuple[StoredRecord, ...]:
        """Return the session's records; see `StorePort.read`."""
        await trio.lowlevel.checkpoint_if_cancelled()
        rows = self._rows(session)
        if not rows:
            raise NotFound(f"There is no session {session}.", remedy="Create it.")
        return tuple(rows[(from_seq or 1) - 1 :])

    async def watch(self, session: str, after_seq: int) -> int:  # noqa: ARG002
        """Raise `NotSupported`: who has such a session subscribes to it."""
        raise NotSupported("A session without a name is not watched.", remedy="Subscribe to it.")

    async def release(self, claim: Claim) -> None:
        """Do nothing: `remove` is what ends such a session."""

    async def list(
        self,
        *,
        after: str = "",  # noqa: ARG002
        limit: int = 1000,  # noqa: ARG002
        waiting_only: bool = False,  # noqa: ARG002
    ) -> tuple[SessionEntry, ...]:
        """Return nothing: such sessions are not looked up."""
        return ()

    async def trim(self, claim: Claim, before_seq: int) -> None:
        """Do nothing: all of it goes soon."""

    async def remove(self, claim: Claim) -> None:
        """Forget the session."""
        kept = self._kept.pop(claim.session, None)
        if kept is not None:
            self._count -= len(kept.records)

    async def compact(self, *, bytes_max: int | None = None) -> CompactReport:  # noqa: ARG002
        """Report that there is nothing to give back."""
        return CompactReport(0, 0, 0, 0)

    async def verify(self) -> VerifyReport:
        """Report that there is nothing that could rot."""
        return VerifyReport(0, 0, len(self._kept), ())
