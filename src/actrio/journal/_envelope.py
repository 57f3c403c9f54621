"""What the payload of a frame says, apart from the records in it.

An append is one frame, so its records are there together or not at all. It names the place of the
session's previous append: opening a session follows these from its last one back to a checkpoint,
and touches nothing of other sessions.
"""

from __future__ import annotations

import json
from typing import Any, Final, NamedTuple
from zlib import crc32

import attrs
import msgspec

from actrio.journal._records import StoredRecord, record_codec
from actrio.wire import json_line

__all__ = [
    "MICRO",
    "Envelope",
    "Heads",
    "Place",
    "envelope_of",
    "json_of",
    "records_of",
    "whole_microseconds",
]


class Place(NamedTuple):
    """Where a frame is: the writer's slot, the number of its segment, the offset in it."""

    slot: int
    segment: int
    offset: int


@attrs.frozen(slots=True)
class Envelope:
    """One append of a session, without its records.

    Attributes:
        seq: Of its first record.
        count: How many records it holds.
        prev: Where the session's previous append is; ``None`` for its first.
        first: Of the oldest record that may still be read; higher than 1 after a trim.
        checkpoint: ``seq`` of the session's last checkpoint up to here; 0 if there is none.
        waiting: Approvals that were asked and not decided up to here.
        born: Epoch of the session's first append.
        created: When that was, in seconds since 1970.
    """

    session: str
    seq: int
    count: int
    epoch: int
    prev: tuple[int, int, int] | None
    first: int
    checkpoint: int
    ts: float
    waiting: int = 0
    born: int = 0
    created: float = 0.0

    @property
    def last_seq(self) -> int:
        return self.seq + self.count - 1


# Written by hand, in two pieces that are joined once for a whole commit: a generic encoder takes
# three times as long, and all of this is done for each record that is ever written.
_HEAD = b'{"session":%b,"epoch":%d,"born":%d,"created":%b,"first":%d,"checkpoint":%d,"waiting":%d,'
_FIRST = b'"seq":%d,"count":%d,"prev":null,"ts":%d.%06d,"records":%b}\n'
_NEXT = b'"seq":%d,"count":%d,"ts":%d.%06d,"prev":[%d,%d,%d],"records":%b}\n'

HEADS_MAX: Final = 2048
"""Beginnings of envelopes that are kept ready, of sessions that are claimed: some 350 bytes each."""

MICRO: Final = 1_000_000

_envelopes = msgspec.json.Decoder(Envelope)


def whole_microseconds(seconds: float) -> int:
    """Return ``seconds`` as they can be written and, divided by `MICRO`, read again."""
    return int(seconds * MICRO + 0.5)


class Heads:
    """Makes envelopes; what seldom changes is made once."""

    __slots__ = ("_ready",)

    def __init__(self) -> None:
        # Session → what its head was made of, the head, its CRC.
        self._ready: dict[str, tuple[tuple[int, int, int, int], bytes, int]] = {}

    def pieces(  # noqa: PLR0917 - keywords cost a tenth, once for each record
        self,
        session: str,
        seq: int,
        count: int,
        epoch: int,
        prev: Place | None,
        first: int,
        checkpoint: int,
        micro: int,
        waiting: int,
        born: int,
        created: float,
        records_json: bytes,
    ) -> tuple[bytes, bytes, int]:
        """Return the payload of an append frame in two pieces, and its CRC.

        Args:
            session: See `Envelope`, as for all but these two.
            micro: Its time in microseconds.
            records_json: The records as a JSON array on one line, encoded beforehand by the asker.
        """
        ready = self._ready.get(session)
        made_of = (epoch, first, checkpoint, waiting)
        if ready is None or ready[0] != made_of:
            if len(self._ready) >= HEADS_MAX:
                self._ready.clear()
            name = json_line(session)[:-1]
            since = repr(created).encode()
            head = _HEAD % (name, epoch, born, since, first, checkpoint, waiting)
            ready = self._ready[session] = (made_of, head, crc32(head))
        whole, part = divmod(micro, MICRO)
        if prev is None:
            tail = _FIRST % (seq, count, whole, part, records_json)
        else:
            slot, segment, offset = prev
            tail = _NEXT % (seq, count, whole, part, slot, segment, offset, records_json)
        return ready[1], tail, crc32(tail, ready[2])

    def forget(self, session: str) -> None:
        """Nobody writes ``session`` any more."""
        self._ready.pop(session, None)


def envelope_of(payload: bytes) -> Envelope:
    """Return what `Heads.pieces` was given, skipping the records.

    Raises:
        ValueError: It is no such payload.
    """
    try:
        return _envelopes.decode(payload)
    except msgspec.DecodeError:
        told = json_of(payload)
        told.pop("records", None)
        return msgspec.convert(told, Envelope)


def json_of(payload: bytes) -> dict[str, Any]:
    """Return any payload as a dict.

    Raises:
        ValueError: It is no JSON object.
    """
    try:
        told = msgspec.json.decode(payload)
    except msgspec.DecodeError:
        # Half of an emoji, which msgspec does not read and the slower road of json_line wrote.
        told = json.loads(payload)
    if not isinstance(told, dict):
        raise ValueError("no JSON object")  # noqa: TRY004 - what is wrong is the value
    return told


def records_of(payload: bytes) -> tuple[StoredRecord, ...]:
    """Return the records of an append frame, numbered.

    Raises:
        ValueError: It is no such payload.
        NotSupported: A newer version wrote it.
        InvalidRequest: A record is not of its kind.
    """
    told = json_of(payload)
    seq, epoch, ts = told["seq"], told["epoch"], told["ts"]
    return tuple(
        StoredRecord(seq + number, epoch, ts, record_codec.from_dict(record))
        for number, record in enumerate(told["records"])
    )
