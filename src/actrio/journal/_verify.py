"""Checking everything: each byte of each file, and each session's chain of appends."""

from __future__ import annotations

from typing import NamedTuple

import attrs

from actrio.errors import ActrioError
from actrio.journal._blobs_files import blob_problems
from actrio.journal._claims_file import CLAIMS_NAME
from actrio.journal._disk import Disk
from actrio.journal._envelope import Place, envelope_of, json_of, records_of
from actrio.journal._frames import Frame, scan
from actrio.journal._index import Entry, Index
from actrio.journal._index_file import INDEX_NAME, IndexHead, read_index
from actrio.journal._packed_segments import Unreadable, read_packed
from actrio.journal._rows import Row, Segment, rows_of, segment_name
from actrio.journal._segments import show
from actrio.journal._store import VerifyProblem, VerifyReport

__all__ = ["ChainLink", "verify_disk"]


class ChainLink(NamedTuple):
    """What an append says of its place among the session's others."""

    session: str
    seq: int
    last_seq: int
    epoch: int
    prev: Place | None


def link_of(frame: Frame) -> ChainLink:
    """Return what the append in ``frame`` says.

    Raises:
        ValueError: It is no append.
    """
    one = envelope_of(frame.payload)
    prev = Place(*one.prev) if one.prev is not None else None
    return ChainLink(one.session, one.seq, one.last_seq, one.epoch, prev)


@attrs.define(slots=True)
class _Check:
    """What was found so far.

    Attributes:
        links: Every append by its place.
        index: What all segments amount to.
        reach: How far each slot was read.
        filed: What the index file says, and the frames behind its reach; ``None`` without one.
    """

    problems: list[VerifyProblem] = attrs.field(factory=list)
    warnings: list[VerifyProblem] = attrs.field(factory=list)
    links: dict[Place, ChainLink] = attrs.field(factory=dict)
    index: Index = attrs.field(factory=Index)
    reach: dict[int, tuple[int, int]] = attrs.field(factory=dict)
    filed: tuple[IndexHead, Index] | None = None
    files: int = 0
    frames: int = 0

    def problem(self, file: str, offset: int, problem: str, session: str | None = None) -> None:
        self.problems.append(VerifyProblem(file, offset, problem, session))


def verify_disk(disk: Disk) -> VerifyReport:
    """Read all files of a store and say what does not check; nothing is altered.

    An unfinished write at the end of a slot is no problem: opening cuts it off. An index file that
    does not check is a warning: opening does without it, and it is written anew.
    """
    check = _Check()
    _check_index_file(disk, check)
    for slot, row in rows_of(disk).items():
        if row.missing is not None:
            check.problem(segment_name(slot, row.missing), 0, "the segment is missing")
        for segment in row.segments:
            _check_segment(disk, row, segment, check)
    if disk.identity(CLAIMS_NAME) is not None:
        check.files += 1
        found = scan(disk.read(CLAIMS_NAME))
        check.frames += len(found.frames)
        if found.verdict.state == "damaged":
            check.problem(CLAIMS_NAME, found.verdict.offset, found.verdict.reason)
    for session in check.index:
        entry = check.index.get(session)
        assert entry is not None
        _check_chain(session, entry, check)
    _compare_index_file(check)
    blobs, problems = blob_problems(disk)
    check.problems += problems
    return VerifyReport(
        check.files + blobs,
        check.frames,
        len(check.index),
        tuple(check.problems),
        tuple(check.warnings),
    )


def _check_segment(disk: Disk, row: Row, segment: Segment, check: _Check) -> None:
    check.files += 1
    data = disk.read(segment.name)
    if segment.packed:
        try:
            read = read_packed(data, segment)
        except Unreadable as error:
            check.problem(segment.name, error.offset, error.reason)
            return
        check.frames += len(read.frames) + 3
        check.reach[segment.slot] = (segment.last + 1, 0)
        for place, frame in read.frames:
            _check_frame(place, frame, segment, check)
        return
    found = scan(data)
    check.frames += len(found.frames)
    check.reach[segment.slot] = (segment.last, found.verdict.offset)
    end, frames = found.verdict, found.frames
    if frames:
        told = json_of(frames[0].payload) if frames[0].kind == "head" else {}
        if (told.get("slot"), told.get("segment")) != (segment.slot, segment.last):
            check.problem(segment.name, 0, "it does not begin as this segment")
    for frame in frames:
        _check_frame(Place(segment.slot, segment.last, frame.offset), frame, segment, check)
    sealed = bool(frames) and frames[-1].kind == "seal"
    if end.state == "damaged":
        check.problem(segment.name, end.offset, end.reason)
    elif segment is not row.segments[-1] and not sealed:
        check.problem(segment.name, end.offset, "the segment has lost its end")


def _check_frame(place: Place, frame: Frame, segment: Segment, check: _Check) -> None:
    try:
        if frame.kind == "append":
            check.links[place] = link_of(frame)
            records_of(frame.payload)
        show(check.index, place, frame)
        if check.filed is not None:
            head, filed = check.filed
            since = head.reach.get(place.slot)
            if since is None or place[1:] >= since[:2]:
                show(filed, place, frame)
    except (ActrioError, ValueError, KeyError) as error:
        check.problem(segment.name, frame.offset, str(error))


def _check_chain(session: str, entry: Entry, check: _Check) -> None:
    """Follow a session's appends from the last one back to the oldest that may still be read."""
    place: Place | None = entry.place
    expected = entry.last_seq
    while expected >= entry.first_seq:
        link = check.links.get(place) if place is not None else None
        if link is None and place is not None and place[1:] >= check.reach.get(place.slot, (0, 0)):
            return  # it was written while the files were being read
        if link is None or (link.session, link.last_seq) != (session, expected):
            at = place if place is not None else entry.place
            name = segment_name(at.slot, at.segment)
            check.problem(name, at.offset, f"the record {expected} is missing", session)
            return
        place, expected = link.prev, link.seq - 1


def _check_index_file(disk: Disk, check: _Check) -> None:
    if disk.identity(INDEX_NAME) is None:
        return
    check.files += 1
    filed = Index()
    try:
        check.filed = (read_index(disk.read(INDEX_NAME), filed), filed)
    except Unreadable as error:
        reason = f"{error.reason}; the segments are read instead, and it is written anew"
        check.warnings.append(VerifyProblem(INDEX_NAME, error.offset, reason))


def _compare_index_file(check: _Check) -> None:
    """Check that the index file and what is behind it amount to what all segments do."""
    if check.filed is None or check.problems:
        return
    head, filed = check.filed
    for slot, since in head.reach.items():
        if check.reach.get(slot, (0, 0)) < since[:2]:
            name = segment_name(slot, since.segment)
            check.problem(name, since.offset, "what was there and synced is gone")
    for session in {*check.index, *filed}:
        if check.index.get(session) != filed.get(session):
            check.problem(INDEX_NAME, 0, "it says otherwise than the segments", session)
