"""Which sessions there are and where the last append of each is: pure, packed, rebuildable.

A known session costs its id, 74 bytes in one object and its part of one dict, because a process
may know a million of them while a few thousand are active.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from actrio.journal._envelope import Envelope, Place
from actrio.journal._order import SortedIds

__all__ = ["Entry", "Index"]

HOT_MAX: Final = 2048
"""Sessions whose entries are kept unpacked: as many as append at the same time."""

_PACKED: Final = struct.Struct("<IHIQQQQQQdd")
PACKED_BYTES: Final = _PACKED.size
_NOT_WAITING: Final = bytes(4)


class Entry(NamedTuple):
    """What is known of one session.

    Attributes:
        last_seq: Of its last record.
        first_seq: Of the oldest record that may still be read; higher than 1 after a trim.
        checkpoint_seq: Of its last checkpoint; 0 if it has none.
        epoch: Of the claim under which its last record was written.
        updated: When that was, in seconds since 1970, by the writer's clock.
        waiting: Approvals that were asked and not decided.
        born: Epoch of the claim under which its first record was written: what is older belonged
            to a session of the same id that was removed. 0 where nobody wrote it down.
        created: When its first record was written, in seconds since 1970.
    """

    place: Place
    last_seq: int
    first_seq: int
    checkpoint_seq: int
    epoch: int
    updated: float
    waiting: int = 0
    born: int = 0
    created: float = 0.0


def packed_entry(entry: Entry) -> bytes:
    """Return ``entry`` as it is kept; the number that waits comes first."""
    return _PACKED.pack(
        entry.waiting,
        *entry.place,
        entry.last_seq,
        entry.first_seq,
        entry.checkpoint_seq,
        entry.epoch,
        entry.born,
        entry.updated,
        entry.created,
    )


def unpacked_entry(packed: bytes) -> Entry:
    """Return what `packed_entry` was given."""
    waiting, slot, segment, offset, last, first, checkpoint, epoch, born, updated, created = (
        _PACKED.unpack(packed)
    )
    place = Place(slot, segment, offset)
    return Entry(place, last, first, checkpoint, epoch, updated, waiting, born, created)


class Index:
    """Every session by its id. Frames may be shown in any order among slots.

    Attributes:
        serial: The highest epoch of anything that was shown.
    """

    __slots__ = ("_hot", "_order", "_packed", "_removed", "_trimmed", "_waiting", "serial")

    def __init__(self) -> None:
        # The latest sessions as they are; each has a place in `_packed`, which may be behind.
        self._hot: dict[str, Entry] = {}
        self._packed: dict[str, bytes] = {}
        self._order = SortedIds()
        self._waiting = SortedIds()
        # Removals (epoch) and trims (epoch, first seq), only while the slots are being read one
        # after the other: what they speak of may come later.
        self._removed: dict[str, int] = {}
        self._trimmed: dict[str, list[tuple[int, int]]] = {}
        self.serial = 0

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
        if not packed:
            # A thread that looks while `put` runs may have come between its two steps.
            return self._hot.get(session)
        return unpacked_entry(packed)

    def packed(self, session: str) -> bytes:
        """Return what is known of ``session``, which is known, in its shortest form."""
        hot = self._hot.get(session)
        return packed_entry(hot) if hot is not None else self._packed[session]

    def after(self, session: str, limit: int, *, waiting_only: bool = False) -> list[str]:
        """Return up to ``limit`` sessions in order, from behind ``session``."""
        return (self._waiting if waiting_only else self._order).after(session, limit)

    def put(self, session: str, entry: Entry) -> None:
        """Replace what is known of ``session``."""
        self.put_all({session: entry})

    def put_all(self, changes: Mapping[str, Entry | None]) -> None:
        """Replace what is known of these sessions; None: nothing any more."""
        hot = self._hot
        for session, entry in changes.items():
            if entry is None:
                self.forget(session)
                continue
            known = hot.get(session) or self.get(session)
            hot[session] = entry
            if known is None:
                self._packed[session] = b""
                self._order.add(session)
            if entry.waiting if known is None else entry.waiting != known.waiting:
                self._put_waiting(session, bool(known is not None and known.waiting), entry)
        if len(hot) > HOT_MAX:
            for one, latest in hot.items():
                self._packed[one] = packed_entry(latest)
            hot.clear()

    def _put_waiting(self, session: str, waited: bool, entry: Entry) -> None:
        if bool(entry.waiting) != waited:
            if entry.waiting:
                self._waiting.add(session)
            else:
                self._waiting.remove(session)

    def put_packed(self, session: str, packed: bytes) -> None:
        """Take in a session that is not known yet, as `packed` returned it."""
        self._packed[session] = packed
        self._order.add(session)
        if packed[: len(_NOT_WAITING)] != _NOT_WAITING:
            self._waiting.add(session)

    def forget(self, session: str) -> None:
        """Know nothing of ``session`` any more."""
        known = self.get(session)
        if known is None:
            return
        self._packed.pop(session, None)
        self._hot.pop(session, None)
        self._order.remove(session)
        if known.waiting:
            self._waiting.remove(session)

    def saw_append(self, envelope: Envelope, place: Place) -> None:
        """Take in an append that was read from a segment."""
        session, epoch = envelope.session, envelope.epoch
        self.serial = max(self.serial, epoch)
        if self._removed.get(session, 0) >= epoch:
            return
        known = self.get(session)
        if known is not None and (known.epoch, known.last_seq) >= (epoch, envelope.last_seq):
            return
        first = envelope.first
        for trim_epoch, before_seq in self._trimmed.get(session, ()):
            if trim_epoch >= epoch:
                first = max(first, before_seq)
        entry = Entry(
            place,
            envelope.last_seq,
            first,
            envelope.checkpoint,
            epoch,
            envelope.ts,
            envelope.waiting,
            envelope.born,
            envelope.created or envelope.ts,
        )
        self.put(session, entry)

    def saw_removal(self, session: str, epoch: int) -> None:
        """Take in a removal that was read from a segment."""
        self.serial = max(self.serial, epoch)
        self._removed[session] = max(epoch, self._removed.get(session, 0))
        known = self.get(session)
        if known is not None and known.epoch <= epoch:
            self.forget(session)

    def saw_trim(self, session: str, epoch: int, before_seq: int) -> None:
        """Take in a trim that was read from a segment."""
        self.serial = max(self.serial, epoch)
        if self._removed.get(session, 0) >= epoch:
            return
        # One that is older and says less adds nothing.
        trims = self._trimmed.setdefault(session, [])
        trims[:] = [one for one in trims if one[0] > epoch or one[1] > before_seq]
        trims.append((epoch, before_seq))
        known = self.get(session)
        if known is not None and known.born <= epoch and known.epoch <= epoch:
            self.put(session, known._replace(first_seq=max(known.first_seq, before_seq)))

    def saw_serial(self, serial: int) -> None:
        """Take in that claims up to ``serial`` were once given."""
        self.serial = max(self.serial, serial)

    def all_seen(self) -> None:
        """Forget removals and trims: whatever comes from here on is younger."""
        self._removed.clear()
        self._trimmed.clear()
