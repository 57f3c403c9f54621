"""The store port: five verbs for sessions, five for keeping house, and what they speak of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, Protocol

import attrs

from actrio.errors import InvalidRequest
from actrio.journal._records import Record, StoredRecord

__all__ = [
    "READ_BYTES_MAX",
    "Claim",
    "CompactReport",
    "Durability",
    "HousekeepingPort",
    "SessionEntry",
    "StorePort",
    "StoreStatistics",
    "VerifyProblem",
    "VerifyReport",
    "checked_session",
]

Durability = Literal["none", "batch", "always"]
"""What *acknowledged* means.

- ``none``: the store has it in memory.
- ``batch``: the operating system has it, so it survives the process's end; it is synced, and so
  survives the machine's, within ``batch_seconds``.
- ``always``: it is synced.
"""

READ_BYTES_MAX: Final = 256 * 1024 * 1024
"""Largest answer of one read: ten times a session that fills the largest context window."""

SESSION_BYTES_MAX: Final = 200
"""Longest session id: it stands in each of the session's appends."""


@attrs.frozen(slots=True)
class Claim:
    """The right to write a session, until it is released or somebody else insists.

    Attributes:
        epoch: Higher than that of every claim before it, of any session.
        last_seq: Of the session's last record; 0 for a session without records.
        checkpoint_seq: Of its last checkpoint; 0 if there is none.
    """

    session: str
    owner: str
    epoch: int
    last_seq: int
    checkpoint_seq: int = 0


@attrs.frozen(slots=True)
class SessionEntry:
    """One line of `HousekeepingPort.list`.

    Attributes:
        updated: When its last record was written, in seconds since 1970, by the writer's clock.
        owner: Who holds its claim.
        waiting: Approvals that were asked and not decided, counted over its records.
        created: When its first record was written.
    """

    session: str
    last_seq: int
    first_seq: int
    checkpoint_seq: int
    updated: float
    owner: str | None = None
    waiting: int = 0
    created: float = 0.0


@attrs.frozen(slots=True)
class VerifyProblem:
    """One place that does not check."""

    file: str
    offset: int
    problem: str
    session: str | None = None


@attrs.frozen(slots=True)
class CompactReport:
    """What the records took, and take now."""

    segments_before: int
    segments_after: int
    bytes_before: int
    bytes_after: int


@attrs.frozen(slots=True)
class VerifyReport:
    """What was looked at, and what does not check.

    Attributes:
        problems: What was stored and cannot be read, or says what cannot be.
        warnings: What does not check and is not needed: it is made anew from the rest.
    """

    files: int
    frames: int
    sessions: int
    problems: tuple[VerifyProblem, ...]
    warnings: tuple[VerifyProblem, ...] = ()

    @property
    def ok(self) -> bool:
        return not self.problems


@attrs.frozen(slots=True)
class StoreStatistics:
    """How much waits and how much was done.

    Attributes:
        read_only: Why nothing is written any more; ``None`` while it is.
        append_items_peak: Most appends that waited at once.
        index_problem: Why opening had to read all segments although there is an index file.
    """

    sessions: int
    claims: int
    records: int
    commits: int
    syncs: int
    bytes_written: int
    append_items_waiting: int
    append_bytes_waiting: int
    append_items_peak: int
    read_only: str | None = None
    index_problem: str | None = None


class StorePort(Protocol):
    """What a session needs of a store."""

    async def claim(self, session: str, owner: str, *, insist: bool = False) -> Claim:
        """Become the one who writes ``session``; a session without records is as good as any.

        Claiming again what the same owner holds returns the same claim.

        Args:
            session: The session's id.
            owner: Who claims, in words for whoever is refused.
            insist: Take it although its owner lives; the owner's appends are refused from then on.

        Raises:
            SessionOwned: Its owner lives; ``owner`` says who it is.
            StorageError: The store cannot be read or written.
        """
        ...

    async def renew(self, claim: Claim) -> None:
        """Say that the owner lives, where a store cannot see it otherwise.

        Raises:
            SessionFenced: The claim is over.
        """
        ...

    async def append(
        self,
        session: str,
        epoch: int,
        expected_seq: int,
        records: Sequence[Record],
        *,
        sync: bool = False,
        ts: float | None = None,
    ) -> int:
        """Add ``records`` together or not at all; return the ``seq`` of the last one.

        Args:
            session: The session's id.
            epoch: Of the claim.
            expected_seq: The session's last ``seq`` as the caller knows it.
            records: At least one.
            sync: Acknowledge only what is synced, whatever the durability is.
            ts: When it happened, in seconds since 1970; the store's own clock says where None.

        *Backpressure*: waits, first come, first served, while too much waits to be written.
        *Cancellation*: cancelled means nothing was written. Once the write has begun, the call
        returns what came of it, and the cancel is heard at the next schedule point.

        Raises:
            SessionFenced: The claim is over.
            Conflict: The session's last ``seq`` is another.
            StorageError: It was not written.
        """
        ...

    async def read(
        self, session: str, from_seq: int | None = None, *, bytes_max: int = READ_BYTES_MAX
    ) -> tuple[StoredRecord, ...]:
        """Return the session's records from ``from_seq`` on, by default from its last checkpoint.

        Raises:
            NotFound: There is no such session, or what was asked for was trimmed; then its
                ``data`` has ``first_seq``, from which on there is something to read.
            LimitExceeded: They take more than ``bytes_max`` bytes.
            StorageDamaged: Something on the way does not check.
        """
        ...

    async def watch(self, session: str, after_seq: int) -> int:
        """Wait until the session has records after ``after_seq``; return its last ``seq``.

        The watcher reads at its own pace with its own bookmark, so nothing is kept for it.
        """
        ...


class HousekeepingPort(Protocol):
    """What keeping house needs of a store."""

    async def release(self, claim: Claim) -> None:
        """Give a claim back; one that is over already is given back all the same."""
        ...

    async def list(
        self, *, after: str = "", limit: int = 1000, waiting_only: bool = False
    ) -> tuple[SessionEntry, ...]:
        """Return up to ``limit`` sessions in the order of their ids, from behind ``after``.

        Args:
            after: The last id of the page before.
            limit: Length of a page.
            waiting_only: Leave out sessions in which no approval waits to be decided.
        """
        ...

    async def trim(self, claim: Claim, before_seq: int) -> None:
        """Let the records before ``before_seq`` be dropped; reading them is `NotFound` from now on.

        Raises:
            InvalidRequest: There is no checkpoint at or before ``before_seq`` to begin at.
        """
        ...

    async def remove(self, claim: Claim) -> None:
        """Remove the session with all its records; the claim is over."""
        ...

    async def compact(self, *, bytes_max: int | None = None) -> CompactReport:
        """Give back the space of records that were trimmed or removed.

        Appends go on meanwhile. Whoever is refused a record that was trimmed or removed is refused
        it before as well as after; everything else is read as before.

        Args:
            bytes_max: Stop when so many bytes were written anew; the next call goes on. By
                default all is done at once.

        *Cancellation*: what was done up to then is kept, and the store is whole.

        Raises:
            StorageDamaged: What is to be rewritten does not check; it is left as it is.
            StorageError: The store cannot be read or written.
        """
        ...

    async def verify(self) -> VerifyReport:
        """Check every byte that is stored, and every session's chain of records."""
        ...


def checked_session(session: str) -> str:
    """Return ``session`` if it can be a session's id.

    Raises:
        InvalidRequest: It is empty, too long, or holds what cannot be printed.
    """
    size_bytes = len(session.encode(errors="replace"))
    if not session or not session.isprintable() or size_bytes > SESSION_BYTES_MAX:
        raise InvalidRequest(
            f"A session's id has 1 to {SESSION_BYTES_MAX} bytes, all of them printable.",
            remedy="Shorten it, or leave out control characters.",
        )
    return session
