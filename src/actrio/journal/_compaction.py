"""Giving space back: full segments of which little is live are rewritten without the rest.

What is live: an append of a session that is not removed, if one of its records may still be read; a
trim that no later append of its session repeats; a removal, as long as an append that it removed is
stored anywhere. Only what is live is copied, each frame under the place by which others know it
(`_packed_segments`), so nothing that was written since has to change. The decision is never undone
by what comes later: what is dead stays dead.

In which order, so that a kill or a lost power at any moment loses nothing and brings nothing back:

1. What the decisions rest on is synced: a trim or a removal that was lost would ask for what is gone.
2. The new file is written and synced under another name, then renamed, and its name is synced.
   Nobody lists the files meanwhile, see `_claims_file`.
3. Only then the old files are removed. Until then they are superseded.

A removal or trim is dropped only while no other process has the store open, and after the index file
was written anew: who has not read it yet will find nothing left that it speaks of.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Final, TypeVar

import attrs

from actrio.journal._disk import Disk
from actrio.journal._envelope import Place, envelope_of, json_of
from actrio.journal._frames import HEADER_BYTES, PAUSE_FRAMES, Frame
from actrio.journal._index import Entry, Index
from actrio.journal._packed_segments import KeptFrame, packed_bytes
from actrio.journal._rows import Row, Segment, rows_of, segment_name
from actrio.journal._segments import sealed_frames, unsealed_frames

__all__ = ["Ghosts", "Rewritten", "SegmentUse", "pause", "plan_runs", "rewrite", "tidied", "use_of"]

T = TypeVar("T")

PAUSE_SECONDS: Final = 0.0002
"""The interpreter is given up for so long after every few frames, or the loop would wait for it."""


@attrs.frozen(slots=True)
class SegmentUse:
    """How much of a full segment is live."""

    segment: Segment
    bytes: int
    live_bytes: int
    dead_bytes: int


@attrs.define(slots=True)
class Ghosts:
    """In which files appends of removed sessions still are.

    Attributes:
        files: Session → names of files.
    """

    files: dict[str, set[str]] = attrs.field(factory=dict)

    def saw(self, session: str, name: str) -> None:
        self.files.setdefault(session, set()).add(name)

    def left(self, session: str, rewritten: Iterable[str]) -> bool:
        """Whether any is left when ``rewritten`` are gone."""
        return bool(self.files.get(session, set()) - set(rewritten))

    def gone(self, names: Iterable[str]) -> None:
        """Take in that these files are gone."""
        for files in self.files.values():
            files.difference_update(names)


@attrs.frozen(slots=True)
class Rewritten:
    """A file that is to stand for several.

    Attributes:
        data: What is to be in it.
        dropped: Whether a removal or a trim was left out of it.
    """

    slot: int
    first: int
    last: int
    replaced: tuple[str, ...]
    data: bytes
    dropped: bool

    @property
    def name(self) -> str:
        return segment_name(self.slot, self.first, self.last)


def pause() -> None:
    """Give the interpreter up for a moment."""
    time.sleep(PAUSE_SECONDS)


def use_of(disk: Disk, segment: Segment, index: Index, ghosts: Ghosts) -> SegmentUse | None:
    """Return how much of a segment is live; note in ``ghosts`` what of removed sessions is in it.

    Returns:
        ``None`` for a segment that is not full.
    """
    data = disk.read(segment.name)
    found = sealed_frames(data, segment, pause=_pause_of(disk))
    frames = found[1] if found is not None else unsealed_frames(data, segment)
    live = dead = 0
    for place, frame in unhurried(disk, frames):
        size = HEADER_BYTES + len(frame.payload)
        if frame.kind == "append" and _is_ghost(frame, index):
            ghosts.saw(envelope_of(frame.payload).session, segment.name)
        if is_live(place, frame, index):
            live += size
        else:
            dead += size
    return SegmentUse(segment, len(data), live, dead) if found is not None else None


def _pause_of(disk: Disk) -> Callable[[], None] | None:
    return None if disk.inline else pause


def unhurried(disk: Disk, frames: Iterable[T]) -> Iterator[T]:
    """Yield ``frames``, pausing after every few."""
    pause_or_not = _pause_of(disk)
    for number, frame in enumerate(frames, 1):
        yield frame
        if pause_or_not is not None and number % PAUSE_FRAMES == 0:
            pause_or_not()


def _is_ghost(frame: Frame, index: Index) -> bool:
    envelope = envelope_of(frame.payload)
    entry = index.get(envelope.session)
    return entry is None or envelope.epoch < entry.born


def is_live(place: Place, frame: Frame, index: Index) -> bool:
    """Whether a frame says something that nothing else says; removals always do."""
    if frame.kind == "append":
        envelope = envelope_of(frame.payload)
        entry = index.get(envelope.session)
        return (
            entry is not None
            and envelope.epoch >= entry.born
            and envelope.last_seq >= entry.first_seq
        )
    if frame.kind == "trim":
        told = json_of(frame.payload)
        entry = index.get(told["session"])
        return entry is not None and _trim_counts(place, told["epoch"], told["before_seq"], entry)
    return True


def _trim_counts(place: Place, epoch: int, before_seq: int, entry: Entry) -> bool:
    if epoch < entry.born or before_seq < entry.first_seq:
        return False
    # A later append of the session says it as well. Under one claim all is written by one slot.
    return not (entry.epoch > epoch or (entry.epoch == epoch and entry.place > place))


def plan_runs(
    uses: Sequence[SegmentUse], *, segment_bytes_max: int
) -> list[tuple[SegmentUse, ...]]:
    """Return which neighbours of one slot are rewritten into one file each.

    A segment is rewritten when less than half of it is live, or when it is so small, from having
    been rewritten before, that it and its neighbours fit into one.

    Args:
        uses: A slot's full segments in order.
        segment_bytes_max: How much live data one file may get.
    """
    runs: list[tuple[SegmentUse, ...]] = []
    run: list[SegmentUse] = []
    for use in uses:
        fits = sum(one.live_bytes for one in run) + use.live_bytes <= segment_bytes_max
        if run and not (fits and _is_candidate(use, segment_bytes_max)):
            runs.append(tuple(run))
            run = []
        if _is_candidate(use, segment_bytes_max):
            run.append(use)
    runs.append(tuple(run))
    return [run for run in runs if len(run) > 1 or any(_is_hollow(use) for use in run)]


def _is_hollow(use: SegmentUse) -> bool:
    return use.dead_bytes > use.live_bytes


def _is_candidate(use: SegmentUse, segment_bytes_max: int) -> bool:
    return _is_hollow(use) or use.live_bytes + use.dead_bytes < segment_bytes_max // 4


def rewrite(
    disk: Disk,
    run: Sequence[SegmentUse],
    index: Index,
    ghosts: Ghosts,
    *,
    may_drop: bool,
) -> Rewritten:
    """Return the file that is to stand for ``run``.

    Args:
        disk: Where they are.
        run: What is rewritten.
        index: Decides what is live.
        ghosts: Decides which removals are still needed.
        may_drop: Whether removals and trims may be left out at all.
    """
    names = tuple(use.segment.name for use in run)
    kept: list[KeptFrame] = []
    serial, dropped = 0, False
    for use in run:
        found = sealed_frames(disk.read(use.segment.name), use.segment, pause=_pause_of(disk))
        assert found is not None, "a full segment stays full"
        serial = max(serial, found[0])
        for place, frame in unhurried(disk, found[1]):
            serial = max(serial, _epoch_of(frame))
            if is_live(place, frame, index) and not _is_idle_removal(frame, ghosts, names):
                kept.append(KeptFrame(place, frame.kind, frame.payload))
            elif frame.kind == "append":
                continue
            elif may_drop:
                dropped = True
            else:
                kept.append(KeptFrame(place, frame.kind, frame.payload))
    first, last, slot = run[0].segment.first, run[-1].segment.last, run[0].segment.slot
    data = packed_bytes(slot, first, last, kept, serial=serial, pause=_pause_of(disk))
    return Rewritten(slot, first, last, names, data, dropped)


def _is_idle_removal(frame: Frame, ghosts: Ghosts, names: tuple[str, ...]) -> bool:
    return frame.kind == "remove" and not ghosts.left(json_of(frame.payload)["session"], names)


def _epoch_of(frame: Frame) -> int:
    if frame.kind == "append":
        return envelope_of(frame.payload).epoch
    return int(json_of(frame.payload)["epoch"])


def tidied(disk: Disk) -> dict[int, Row]:
    """Remove files that others stand for, and beginnings of such; return the rows."""
    rows = rows_of(disk)
    for name in disk.names("segments"):
        if name.endswith(".new"):
            disk.remove(name)
    for row in rows.values():
        for name in row.superseded:
            with suppress(FileNotFoundError):
                disk.remove(name)
    return rows
