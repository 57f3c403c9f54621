"""Which segment files there are: one row for each slot, counted from 1 without a gap. Pure but for
listing names.

``segments/SLOT-NUMBER.seg`` is a segment as its process wrote it. ``segments/SLOT-FIRST-LAST.seg``
stands for the segments FIRST to LAST: what was live of them when it was made (`_packed_segments`).
It comes into being whole, under its name, before those it stands for go; so while there are both,
the one that stands for more counts, and the others are *superseded*, to be removed by whoever tidies
up next.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

import attrs

from actrio.journal._disk import Disk

__all__ = ["Row", "Segment", "rows_of", "segment_name"]

_NAME: Final = re.compile(r"segments/(\d{4})-(\d{8})(?:-(\d{8}))?\.seg")


class Segment(NamedTuple):
    """One file. ``first`` and ``last`` differ only where it stands for several."""

    slot: int
    first: int
    last: int
    name: str
    packed: bool


@attrs.frozen(slots=True)
class Row:
    """The files of one slot in order.

    Attributes:
        missing: Number of a segment that should be there and is not.
        superseded: Names of files that another stands for.
    """

    segments: tuple[Segment, ...]
    missing: int | None = None
    superseded: tuple[str, ...] = ()

    @property
    def last(self) -> int:
        return self.segments[-1].last if self.segments else 0

    def covering(self, number: int) -> Segment | None:
        """Return the file in which segment ``number`` is."""
        return next((one for one in self.segments if one.first <= number <= one.last), None)


def segment_name(slot: int, number: int, last: int | None = None) -> str:
    """Return the name of a segment within the store, or of the file that stands for several."""
    until = f"-{last:08}" if last is not None else ""
    return f"segments/{slot:04}-{number:08}{until}.seg"


def rows_of(disk: Disk) -> dict[int, Row]:
    """Return the row of each slot that has files."""
    found: dict[int, list[Segment]] = {}
    for name in disk.names("segments"):
        match = _NAME.fullmatch(name)
        if match:
            slot, first, last = int(match[1]), int(match[2]), int(match[3] or match[2])
            found.setdefault(slot, []).append(
                Segment(slot, first, last, name, match[3] is not None)
            )
    return {slot: row_of(segments) for slot, segments in found.items()}


def row_of(segments: list[Segment]) -> Row:
    """Put a slot's files in order: which count, which are superseded, what is missing."""
    counted: list[Segment] = []
    superseded: list[str] = []
    missing, reached = None, 0
    # The widest first; of two of the same width the one that was made later.
    for one in sorted(segments, key=lambda one: (one.first, -one.last, not one.packed)):
        if one.last <= reached:
            superseded.append(one.name)
            continue
        if one.first != reached + 1 and missing is None:
            missing = min(reached + 1, one.first)
        counted.append(one)
        reached = one.last
    return Row(tuple(counted), missing, tuple(superseded))
