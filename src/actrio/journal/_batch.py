"""Group commit: which appends go together, and what they become. Pure.

A batch takes everything that waits, in the order of arrival, up to a bound. While it is being
written and synced the next one gathers, so its size follows the disk's speed by itself.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final, Protocol, TypeVar

import attrs

from actrio.errors import ActrioError, Conflict
from actrio.journal._claims import ClaimTable
from actrio.journal._envelope import MICRO, Heads, Place, whole_microseconds
from actrio.journal._frames import HEADER_BYTES, FrameKind, append_header, encode_frame
from actrio.journal._index import Entry, Index
from actrio.wire import json_line

__all__ = ["Commit", "Pending", "choose", "out_of_order", "plan"]

BATCH_ITEMS_MAX: Final = 256
"""Appends in one commit: planning them holds the loop for about 2 ms at most."""

BATCH_BYTES_MAX: Final = 4 * 1024 * 1024
"""Bytes in one commit: a slow disk writes them in a tenth of a second."""


P = TypeVar("P", bound="Pending")


class Pending(Protocol):
    """One append, trim or removal that waits."""

    kind: FrameKind
    session: str
    epoch: int
    expected_seq: int
    count: int
    # Number of the last checkpoint among the records, from 0; -1 without one.
    checkpoint: int
    # What the records do to the number of approvals that wait: add, but never below the second.
    waiting: tuple[int, int]
    body: bytes
    before_seq: int
    ts: float
    sync: bool
    taken: bool  # it is in a batch, so nobody takes it back


@attrs.frozen(slots=True)
class Commit:
    """What is to be written in one piece, and what it means once it is.

    Attributes:
        data: The frames.
        accepted: Who is in it, in order.
        changes: The sessions' entries afterwards; ``None`` for a removed one.
        refused: Who is not, and why.
    """

    data: bytes
    sync: bool
    accepted: tuple[Pending, ...]
    changes: dict[str, Entry | None]
    refused: tuple[tuple[Pending, ActrioError], ...]
    records: int = 0


def choose(waiting: deque[P]) -> tuple[list[P], int]:
    """Take the next batch off the front of what waits; return it and the size of its bodies."""
    chosen: list[P] = []
    size_bytes = 0
    while waiting and len(chosen) < BATCH_ITEMS_MAX:
        size = len(waiting[0].body)
        if chosen and size_bytes + size > BATCH_BYTES_MAX:
            break
        size_bytes += size
        taken = waiting.popleft()
        taken.taken = True
        chosen.append(taken)
    return chosen, size_bytes


def plan(
    batch: Sequence[Pending],
    index: Index,
    claims: ClaimTable,
    heads: Heads,
    at: Place,
    *,
    synced: int,
) -> Commit:
    """Decide who of ``batch`` is written and how.

    Args:
        batch: Who waits, in order.
        index: The sessions as they are.
        claims: Who owns them.
        heads: Beginnings of envelopes.
        at: Where the next frame goes.
        synced: How much of that segment is known to be synced.
    """
    pieces: list[bytes] = []
    refused: list[tuple[Pending, ActrioError]] = []
    changes: dict[str, Entry | None] = {}
    slot, segment, offset = at
    records, sync = 0, False
    for pending in batch:
        session = pending.session
        entry = changes[session] if session in changes else index.get(session)
        error: ActrioError | None = claims.check(session, pending.epoch, slot)
        if error is None and pending.expected_seq != (entry[1] if entry is not None else 0):
            error = _out_of_order(pending, entry)
        if error is not None:
            refused.append((pending, error))
            continue
        # A named tuple's own way takes twice as long, and this is done for each record.
        place = tuple.__new__(Place, (slot, segment, offset))
        if pending.kind == "append":
            written, size, changes[session] = _append(pending, entry, place, heads, synced)
            offset += size
            pieces += written
        else:
            payload, changes[session] = _written(pending, entry)
            frame = encode_frame(pending.kind, payload, offset=offset, synced=synced)
            offset += len(frame)
            pieces.append(frame)
            if pending.kind == "remove":
                claims.removed[session] = pending.epoch
        records += pending.count
        if pending.sync:
            sync = True
    accepted = batch
    if refused:
        out = {id(pending) for pending, _ in refused}
        accepted = [pending for pending in batch if id(pending) not in out]
    return Commit(b"".join(pieces), sync, tuple(accepted), changes, tuple(refused), records)


def _out_of_order(pending: Pending, entry: Entry | None) -> Conflict | None:
    if pending.kind != "append":
        return None
    last_seq = entry.last_seq if entry is not None else 0
    return out_of_order(pending.session, pending.expected_seq, last_seq)


def out_of_order(session: str, expected_seq: int, last_seq: int) -> Conflict:
    """Return the error for an append that does not follow the session's last record."""
    return Conflict(
        f"The last record of session {session} is {last_seq}, not {expected_seq}.",
        remedy="Read the session again; one task at a time appends to it.",
        data={"last_seq": last_seq, "expected_seq": expected_seq},
    )


def _written(pending: Pending, entry: Entry | None) -> tuple[bytes, Entry | None]:
    """Return the payload of a removal or trim, and the session's entry once it is written."""
    told = {"session": pending.session, "epoch": pending.epoch, "ts": pending.ts}
    if pending.kind == "remove":
        return json_line(told), None
    assert entry is not None, "only a session with records is trimmed"
    payload = json_line({**told, "before_seq": pending.before_seq})
    return payload, entry._replace(first_seq=max(entry.first_seq, pending.before_seq))


def _append(
    pending: Pending, entry: Entry | None, place: Place, heads: Heads, synced: int
) -> tuple[tuple[bytes, ...], int, Entry]:
    """Return the frame of an append in pieces, its size, and the session's entry afterwards."""
    micro, epoch = whole_microseconds(pending.ts), pending.epoch
    ts = micro / MICRO
    if entry is None:
        prev, before, first, checkpoint, waiting = None, 0, 1, 0, 0
        born, created = epoch, ts
    else:
        prev, before, first, checkpoint, _, _, waiting, born, created = entry
    if pending.checkpoint >= 0:
        checkpoint = before + 1 + pending.checkpoint
    change, least = pending.waiting
    waiting += change
    if waiting < least:  # noqa: PLR1730 - calling max costs, once for each record
        waiting = least
    count = pending.count
    head, tail, crc = heads.pieces(
        pending.session,
        before + 1,
        count,
        epoch,
        prev,
        first,
        checkpoint,
        micro,
        waiting,
        born,
        created,
        pending.body,
    )
    size = len(head) + len(tail)
    header = append_header(size, crc, place[2], synced)
    fields = (place, before + count, first, checkpoint, epoch, ts, waiting, born, created)
    return (header, head, tail), HEADER_BYTES + size, tuple.__new__(Entry, fields)
