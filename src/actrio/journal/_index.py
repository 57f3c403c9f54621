"""Which sessions there are and where the last append of each is: pure, packed, rebuildable.

A known session costs its id, 58 bytes in one object and its part of one dict, because a process
may know a million of them while a few thousand are active.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from actrio.journal._envelope import Envelope, Place

__all__ = ["Entry", "Index"]

HOT_MAX: Final = 4096
"""Sessions whose entries are kept unpacked: as many as append at the same time."""

_PACKED: Final = struct.Struct("<HIQQQQQd")


class Entry(NamedTuple):
    """What is known of one session.

    Attributes:
        last_seq: Of its last record.
        first_seq: Of the oldest record that may still be read; higher than 1 after a trim.
        checkpoint_seq: Of its last checkpoint; 0 if it has none.
        epoch: Of the claim under which its last record was written.
        updated: When that was, in seconds since 1970, by the writer's clock.
    """

    place: Place
    last_seq: int
    first_seq: int
    checkpoint_seq: int
    epoch: int
    updated: float


class Index:
    """Every session by its id. Frames may be shown in any order among slots."""

    __slots__ = ("_hot", "_packed", "_removed")

    def __init__(self) -> None:
        # The latest sessions as they are; each has a place in `_packed`, which may be behind.
        self._hot: dict[str, Entry] = {}
        self._packed: dict[str, bytes] = {}
        # Epochs of removals, only while the slots are being read one after the other.
        self._removed: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._packed)

    def __iter__(self) -> Iterator[str]:
        return iter(self._packed)

    def __contains__(self, session: str) -> bool:
        return session in self._packed

    def get(self, session: str) -> Entry | None:
        """Return what is known of ``session``."""
        hot = self._hot.get(session)
        if hot is not None:
            return hot
        packed = self._packed.get(session)
        if packed is None:
            return None
        slot, segment, offset, last, first, checkpoint, epoch, updated = _PACKED.unpack(packed)
        return Entry(Place(slot, segment, offset), last, first, checkpoint, epoch, updated)

    def put(self, session: str, entry: Entry) -> None:
        """Replace what is known of ``session``."""
        self._hot[session] = entry
        if session not in self._packed:
            self._packed[session] = b""
        if len(self._hot) > HOT_MAX:
            for one, latest in self._hot.items():
                self._packed[one] = _PACKED.pack(*latest.place, *latest[1:])
            self._hot.clear()

    def forget(self, session: str) -> None:
        """Know nothing of ``session`` any more."""
        self._packed.pop(session, None)
        self._hot.pop(session, None)

    def saw_append(self, envelope: Envelope, place: Place) -> None:
        """Take in an append that was read from a segment."""
        session = envelope.session
        if self._removed.get(session, 0) >= envelope.epoch:
            return
        known = self.get(session)
        if known is not None and (known.epoch, known.last_seq) >= (
            envelope.epoch,
            envelope.last_seq,
        ):
            return
        self.put(
            session,
            Entry(
                place,
                envelope.last_seq,
                envelope.first,
                envelope.checkpoint,
                envelope.epoch,
                envelope.ts,
            ),
        )

    def saw_removal(self, session: str, epoch: int) -> None:
        """Take in a removal that was read from a segment."""
        self._removed[session] = max(epoch, self._removed.get(session, 0))
        known = self.get(session)
        if known is not None and known.epoch <= epoch:
            self.forget(session)

    def all_seen(self) -> None:
        """Forget the removals: whatever comes from here on is younger."""
        self._removed.clear()

    @property
    def epoch_max(self) -> int:
        """The highest epoch of any record and removal."""
        entries = (self.get(session) for session in self._packed)
        return max(
            max((entry.epoch for entry in entries if entry is not None), default=0),
            max(self._removed.values(), default=0),
        )
