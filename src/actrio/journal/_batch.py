"""Group commit: which appends go together, and what they become. Pure.

A batch takes everything that waits, in the order of arrival, up to a bound. While it is being
written and synced the next one gathers, so its size follows the disk's speed by itself.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final, Protocol

import attrs

from actrio.errors import ActrioError, Conflict
from actrio.journal._claims import ClaimTable
from actrio.journal._envelope import Heads, Place
from actrio.journal._frames import FrameKind, append_header, encode_frame
from actrio.journal._index import Entry, Index
from actrio.wire import json_line

__all__ = ["Commit", "Pending", "choose", "out_of_order", "plan"]

BATCH_ITEMS_MAX: Final = 256
"""Appends in one commit: planning them holds the loop for about 2 ms at most."""

BATCH_BYTES_MAX: Final = 4 * 1024 * 1024
"""Bytes in one commit: a slow disk writes them in a tenth of a second."""


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


def choose(waiting: deque[Pending]) -> list[Pending]:
    """Take the next batch off the front of what waits."""
    chosen: list[Pending] = []
    size_bytes = 0
    while waiting and len(chosen) < BATCH_ITEMS_MAX:
        size_bytes += len(waiting[0].body)
        if chosen and size_bytes > BATCH_BYTES_MAX:
            break
        chosen.append(waiting.popleft())
    return chosen


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
    accepted: list[Pending] = []
    refused: list[tuple[Pending, ActrioError]] = []
    changes: dict[str, Entry | None] = {}
    slot, segment, offset = at
    records, sync = 0, False
    for pending in batch:
        session = pending.session
        entry = changes[session] if session in changes else index.get(session)
        error = claims.check(session, pending.epoch, slot) or _out_of_order(pending, entry)
        if error is not None:
            refused.append((pending, error))
            continue
        place = Place(slot, segment, offset)
        if pending.kind == "append":
            written, changes[session] = _append(pending, entry, place, heads, synced)
            for piece in written:
                offset += len(piece)
            pieces += written
        else:
            payload, changes[session] = _written(pending, entry)
            frame = encode_frame(pending.kind, payload, offset=offset, synced=synced)
            offset += len(frame)
            pieces.append(frame)
            if pending.kind == "remove":
                claims.removed[session] = pending.epoch
        accepted.append(pending)
        records += pending.count
        sync = sync or pending.sync
    return Commit(b"".join(pieces), sync, tuple(accepted), changes, tuple(refused), records)


def _out_of_order(pending: Pending, entry: Entry | None) -> Conflict | None:
    last_seq = entry.last_seq if entry is not None else 0
    if pending.kind != "append" or pending.expected_seq == last_seq:
        return None
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
) -> tuple[tuple[bytes, ...], Entry]:
    """Return the frame of an append in pieces, and the session's entry once it is written."""
    seq = pending.expected_seq + 1
    if entry is None:
        prev, first, checkpoint, waiting = None, 1, 0, 0
        born, created = pending.epoch, pending.ts
    else:
        prev, first, checkpoint, waiting = (
            entry.place,
            entry.first_seq,
            entry.checkpoint_seq,
            entry.waiting,
        )
        born, created = entry.born, entry.created
    if pending.checkpoint >= 0:
        checkpoint = seq + pending.checkpoint
    change, least = pending.waiting
    waiting = max(waiting + change, least)
    epoch, ts, count = pending.epoch, pending.ts, pending.count
    head, middle, body, end, crc = heads.pieces(
        pending.session,
        seq,
        count,
        epoch,
        prev,
        first,
        checkpoint,
        ts,
        waiting,
        born,
        created,
        pending.body,
    )
    size = len(head) + len(middle) + len(body) + len(end)
    header = append_header(size, crc, place.offset, synced)
    after = Entry(place, seq + count - 1, first, checkpoint, epoch, ts, waiting, born, created)
    return (header, head, middle, body, end), after
