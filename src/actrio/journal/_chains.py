"""Which of the frames that are left make sense together: pure.

A session's appends are put in the order of their numbers and fall into rows without a gap, in which
each names the place of the one before. A row is good for something if it has a beginning: the
session's first record, or a checkpoint. Of those that do, the one that reaches furthest is kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import attrs

from actrio.journal._envelope import Envelope, Place, envelope_of, json_of
from actrio.journal._frames import Frame
from actrio.journal._index import Entry, Index
from actrio.journal._index_file import IndexHead
from actrio.journal._salvage import Salvaged
from actrio.journal._segments import show

__all__ = ["Cut", "Found", "Link", "cuts_of", "found_in"]

UNKNOWN_OFFSET: Final = 100_000_000_000
"""Frames whose place is lost get one behind all real ones; nothing that is left names it."""


@attrs.frozen(slots=True)
class Link:
    """One append that is left."""

    envelope: Envelope
    place: Place


@attrs.frozen(slots=True)
class Found:
    """Everything that is left, in its place.

    Attributes:
        frames: Of each of the given segments, with places, in order.
        index: What all of it amounts to.
        links: Session → its appends.
        removed: Session → epoch of its last removal.
    """

    frames: tuple[tuple[tuple[Place, Frame], ...], ...]
    index: Index
    links: dict[str, list[Link]]
    removed: dict[str, int]


@attrs.frozen(slots=True)
class Cut:
    """What is kept of one session of which something is missing.

    Attributes:
        begin: Number of the first record that is kept; 0 if none is.
        end: Of the last one.
        epoch: Under which that was written.
        lost: Numbers of the first and last lost record of each gap, and where that was, if known.
        was_removed: The session had been removed, as the index file says.
    """

    session: str
    begin: int
    end: int
    epoch: int
    slot: int
    lost: tuple[tuple[int, int, Place | None], ...]
    was_removed: bool = False


def found_in(salvaged: Sequence[Salvaged]) -> Found:
    """Put every frame in its place."""
    wanted = _wanted_places(salvaged)
    index = Index()
    links: dict[str, list[Link]] = {}
    removed: dict[str, int] = {}
    frames: list[tuple[tuple[Place, Frame], ...]] = []
    for one in salvaged:
        placed = sorted(
            ((place or _place_of(one, frame, wanted), frame) for place, frame in one.frames),
            key=lambda found: found[0],
        )
        frames.append(tuple(placed))
        for place, frame in placed:
            show(index, place, frame)
            if frame.kind == "append":
                envelope = envelope_of(frame.payload)
                links.setdefault(envelope.session, []).append(Link(envelope, place))
            elif frame.kind == "remove":
                told = json_of(frame.payload)
                session, epoch = told["session"], told["epoch"]
                removed[session] = max(epoch, removed.get(session, 0))
    return Found(tuple(frames), index, links, removed)


def _wanted_places(salvaged: Iterable[Salvaged]) -> dict[tuple[str, int, int], Place]:
    """Return where appends are, as those after them say."""
    wanted: dict[tuple[str, int, int], Place] = {}
    for one in salvaged:
        for _, frame in one.frames:
            if frame.kind == "append":
                envelope = envelope_of(frame.payload)
                if envelope.prev is not None:
                    key = (envelope.session, envelope.born, envelope.seq - 1)
                    wanted[key] = Place(*envelope.prev)
    return wanted


def _place_of(one: Salvaged, frame: Frame, wanted: dict[tuple[str, int, int], Place]) -> Place:
    """Return the place of a frame of which the file does not say it any more."""
    segment = one.segment
    if frame.kind == "append":
        envelope = envelope_of(frame.payload)
        place = wanted.get((envelope.session, envelope.born, envelope.last_seq))
        if (
            place is not None
            and place.slot == segment.slot
            and segment.first <= place.segment <= segment.last
        ):
            return place
    return Place(segment.slot, segment.last, UNKNOWN_OFFSET + frame.offset)


def cuts_of(found: Found, filed: tuple[IndexHead, Index] | None) -> tuple[Cut, ...]:
    """Return what is kept of each session that is not whole.

    Args:
        found: What is left.
        filed: The index file, if it checks: it may know of what is not left.
    """
    cuts: list[Cut] = []
    for session in found.index:
        entry = found.index.get(session)
        assert entry is not None
        cut = _cut_of(session, entry, found, filed)
        if cut is not None:
            cuts.append(cut)
    if filed is not None:
        cuts += _wholly_lost(found, filed[1])
    return tuple(cuts)


def _cut_of(
    session: str, entry: Entry, found: Found, filed: tuple[IndexHead, Index] | None
) -> Cut | None:
    removed = found.removed.get(session, 0)
    links = sorted(
        (
            link
            for link in found.links[session]
            if link.envelope.born == entry.born and link.envelope.epoch > removed
        ),
        key=lambda link: link.envelope.seq,
    )
    known_last = entry.last_seq
    if filed is not None:
        if _removed_since(session, entry, filed):
            return Cut(session, 0, 0, entry.epoch, entry.place.slot, (), was_removed=True)
        told = filed[1].get(session)
        if told is not None and told.born == entry.born:
            known_last = max(known_last, told.last_seq)
    rows = _rows(links)
    begin, kept = _kept(rows, entry.first_seq)
    first = min(entry.first_seq, begin) if kept else entry.first_seq
    if kept and begin == first and kept[-1].envelope.last_seq == known_last:
        return None
    lost: list[tuple[int, int, Place | None]] = []
    if not kept:
        lost.append((first, known_last, links[0].place if links else None))
        return Cut(session, 0, 0, entry.epoch, entry.place.slot, tuple(lost))
    last = kept[-1].envelope
    if begin > first:
        prev = kept[0].envelope.prev
        lost.append((first, begin - 1, Place(*prev) if prev is not None else None))
    if known_last > last.last_seq:
        after = next((row[0] for row in rows if row[0].envelope.seq > last.last_seq), None)
        lost.append((last.last_seq + 1, known_last, _before(after)))
    return Cut(session, begin, last.last_seq, last.epoch, kept[-1].place.slot, tuple(lost))


def _before(after: Link | None) -> Place | None:
    prev = after.envelope.prev if after is not None else None
    return Place(*prev) if prev is not None else None


def _removed_since(session: str, entry: Entry, filed: tuple[IndexHead, Index]) -> bool:
    """Whether a session that is left was removed: the index file knew all of it, and not it."""
    head, index = filed
    since = head.reach.get(entry.place.slot)
    return since is not None and entry.place[1:] < since[:2] and session not in index


def _rows(links: Iterable[Link]) -> list[list[Link]]:
    rows: list[list[Link]] = []
    for link in links:
        envelope = link.envelope
        before = rows[-1][-1] if rows else None
        follows = (
            before is not None
            and before.envelope.last_seq + 1 == envelope.seq
            and envelope.prev == before.place
        )
        if follows:
            rows[-1].append(link)
        else:
            rows.append([link])
    return rows


def _kept(rows: list[list[Link]], first_seq: int) -> tuple[int, list[Link]]:
    """Return which row is kept, and where in it what is kept begins."""
    for row in reversed(rows):
        start, end = row[0].envelope.seq, row[-1].envelope.last_seq
        if start <= first_seq <= end:
            return first_seq, row
        if start == 1:
            return 1, row
        checkpoints = [
            link.envelope.checkpoint for link in row if link.envelope.checkpoint >= start
        ]
        if checkpoints:
            return min(checkpoints), row
    return 0, []


def _wholly_lost(found: Found, filed: Index) -> list[Cut]:
    """Return sessions of which only the index file knows."""
    cuts: list[Cut] = []
    for session in filed:
        entry = filed.get(session)
        assert entry is not None
        if session in found.index or found.removed.get(session, 0) >= entry.epoch:
            continue
        lost = ((entry.first_seq, entry.last_seq, entry.place),)
        cuts.append(Cut(session, 0, 0, entry.epoch, entry.place.slot, lost))
    return cuts
