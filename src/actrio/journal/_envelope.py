"""What the payload of a frame says, apart from the records in it.

An append is one frame, so its records are there together or not at all. It names the place of the
session's previous append: opening a session follows these from its last one back to a checkpoint,
and touches nothing of other sessions.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import attrs
import msgspec

from actrio.journal._records import StoredRecord, record_codec
from actrio.wire import json_line

__all__ = ["Envelope", "Place", "append_payload", "envelope_of", "json_of", "records_of"]


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


# A generic encoder takes three times as long, once for each record that is ever written.
_APPEND = (
    b'{"session":%b,"seq":%d,"count":%d,"epoch":%d,"prev":%b,"first":%d,"checkpoint":%d,'
    b'"ts":%b,"waiting":%d,"born":%d,"created":%b,"records":%b}\n'
)

_envelopes = msgspec.json.Decoder(Envelope)


def append_payload(  # noqa: PLR0917 - keywords cost a tenth, once for each record
    session: str,
    seq: int,
    count: int,
    epoch: int,
    prev: Place | None,
    first: int,
    checkpoint: int,
    ts: float,
    waiting: int,
    born: int,
    created: float,
    records_json: bytes,
) -> bytes:
    """Return the payload of an append frame: what an `Envelope` has, and the records.

    Args:
        session: See `Envelope`, as for all but the last.
        records_json: The records as a JSON array on one line, encoded beforehand by the asker.
    """
    return _APPEND % (
        json_line(session)[:-1],
        seq,
        count,
        epoch,
        b"null" if prev is None else b"[%d,%d,%d]" % prev,
        first,
        checkpoint,
        repr(ts).encode(),
        waiting,
        born,
        repr(created).encode(),
        records_json[:-1],
    )


def envelope_of(payload: bytes) -> Envelope:
    """Return what `append_payload` was given, skipping the records.

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
