"""Making a damaged store usable again, without inventing anything.

Each session keeps its longest row of records that has a beginning: its first record, or a
checkpoint, which stands for all before it. Of several such rows the one that reaches furthest counts.
What comes after a gap and has no checkpoint is dropped, because nobody can say what it followed.

Every file that is changed is copied aside first (``….damaged-1``), so a better repair stays possible.
Interrupted, it can be run again; until it has ended, the store may still refuse to open.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Final, TypeVar

import attrs
import trio

from actrio.errors import StorageUnavailable
from actrio.journal._blobs_files import blob_problems
from actrio.journal._chains import Cut, Found, cuts_of, found_in
from actrio.journal._claims import is_head
from actrio.journal._claims_file import CLAIMS_NAME
from actrio.journal._disk import Disk, RealDisk, storage_error
from actrio.journal._envelope import Place, envelope_of, json_of
from actrio.journal._frames import Frame, scan
from actrio.journal._index import Index
from actrio.journal._index_file import INDEX_NAME, IndexHead, read_index
from actrio.journal._packed_segments import KeptFrame, Unreadable, packed_bytes
from actrio.journal._rows import segment_name
from actrio.journal._salvage import DamagedRange, Salvaged, salvage
from actrio.journal._store import VerifyReport
from actrio.journal._verify import verify_disk
from actrio.wire import json_line

__all__ = ["LostRecords", "RepairReport", "RepairedFile", "repair", "verify"]

T = TypeVar("T")

TRIM_OFFSET: Final = 200_000_000_000
"""Trims that a repair adds are known by places behind all real ones; nobody asks for them."""


@attrs.frozen(slots=True)
class RepairedFile:
    """A file that was changed, and where it was copied before; ``None`` where there was none."""

    file: str
    copy: str | None


@attrs.frozen(slots=True)
class LostRecords:
    """Records of one session that are gone.

    Attributes:
        first_seq: Of the first of them.
        last_seq: Of the last that is known of; there may have been more after it.
        file: The segment in which one of them was, or ``""`` where nothing says that any more.
        offset: Where in it.
    """

    session: str
    first_seq: int
    last_seq: int
    file: str = ""
    offset: int = 0


@attrs.frozen(slots=True)
class RepairReport:
    """What was changed and what was lost.

    Attributes:
        files: What was changed, and where it was copied.
        ranges: Where nothing checked. What was there belonged to the sessions in ``lost``; a
            session that was wholly there, a removal or a trim is not known by name any more.
        lost: What is gone of each session of which anything is left.
        blobs: Blobs that did not check and are gone.
    """

    files: tuple[RepairedFile, ...] = ()
    ranges: tuple[DamagedRange, ...] = ()
    lost: tuple[LostRecords, ...] = ()
    blobs: tuple[str, ...] = ()


async def verify(folder: Path | str, *, disk: Disk | None = None) -> VerifyReport:
    """Check every byte of a store that may refuse to be opened; nothing is altered.

    Args:
        folder: Where its files are.
        disk: Stands in place of the operating system's disk.

    Raises:
        StorageUnavailable: The folder cannot be read.
    """
    return await _in_thread(verify_disk, disk or RealDisk(Path(folder)))


async def repair(folder: Path | str, *, disk: Disk | None = None) -> RepairReport:
    """Keep what is intact of a damaged store, so that it opens and verifies again.

    Args:
        folder: Where its files are.
        disk: Stands in place of the operating system's disk.

    *Cancellation*: waits for the repair to end.

    Raises:
        StorageUnavailable: A process has the store open, or the folder cannot be written.
    """
    return await _in_thread(repair_disk, disk or RealDisk(Path(folder)))


async def _in_thread(work: Callable[[Disk], T], disk: Disk) -> T:
    try:
        if disk.inline:
            return work(disk)
        answers: list[T] = []
        with trio.CancelScope(shield=True):
            answers.append(await trio.to_thread.run_sync(work, disk))
        return answers[0]
    except OSError as error:
        raise storage_error(error, f"using {error.filename or 'the journal'}") from error


def repair_disk(disk: Disk) -> RepairReport:
    """Repair the store on ``disk``; see `repair`."""
    with _nobody_else(disk):
        filed = _index_file(disk)
        salvaged = salvage(disk)
        found = found_in(salvaged)
        cuts = cuts_of(found, filed)
        ranges = [one for left in salvaged for one in left.ranges]
        if filed is not None:
            ranges += _ends_lost(salvaged, filed[0])
        if disk.identity(INDEX_NAME) is not None:
            # First: it may speak of what is about to go. Opening does without it.
            disk.remove(INDEX_NAME)
            disk.sync_folder("")
        serial = max(found.index.serial, filed[0].serial if filed is not None else 0)
        files = [
            _rewritten(disk, left, kept, max(serial, left.serial))
            for left, kept in _plans(salvaged, found, cuts)
        ]
        claims = _claims_range(disk)
        if claims is not None:
            ranges.append(claims)
            files.append(RepairedFile(CLAIMS_NAME, _set_aside(disk, CLAIMS_NAME)))
            disk.remove(CLAIMS_NAME)
            disk.sync_folder("")
        lost = tuple(one for cut in cuts for one in _lost_of(cut))
        return RepairReport(tuple(files), tuple(ranges), lost, _blobs_set_aside(disk))


@contextmanager
def _nobody_else(disk: Disk) -> Iterator[None]:
    """Hold everything that a process which has the store open, or wants to, would hold."""
    names = ["claims.gate", "claims.lock", "house.lock", "blobs.lock"]
    with suppress(FileNotFoundError):
        names += disk.names("slots")
    with ExitStack() as held:
        for name in names:
            lock = held.enter_context(closing(disk.lock(name)))
            if not lock.try_exclusive():
                raise StorageUnavailable(
                    f"A process has the store open: it holds {name}.",
                    remedy="End every process that uses this store, then repair it.",
                )
        yield


def _index_file(disk: Disk) -> tuple[IndexHead, Index] | None:
    filed = Index()
    try:
        return read_index(disk.read(INDEX_NAME), filed), filed
    except (FileNotFoundError, Unreadable):
        return None  # a witness less; the segments are asked anyway


def _ends_lost(salvaged: list[Salvaged], head: IndexHead) -> list[DamagedRange]:
    """Return where segments end before the index file was written."""
    ranges: list[DamagedRange] = []
    for slot, since in head.reach.items():
        last = max((one.segment.last for one in salvaged if one.segment.slot == slot), default=0)
        if last < since.segment:
            name = segment_name(slot, last + 1)
            ranges.append(DamagedRange(name, 0, 0, "the segment is missing"))
    return ranges


def _plans(
    salvaged: list[Salvaged], found: Found, cuts: tuple[Cut, ...]
) -> list[tuple[Salvaged, list[KeptFrame]]]:
    """Return which files are written anew, and what stays in each."""
    by_session = {cut.session: cut for cut in cuts}
    last_of = {one.segment.slot: number for number, one in enumerate(salvaged)}
    added: dict[int, list[KeptFrame]] = {}
    for cut in cuts:
        if cut.end > 0 and any(first < cut.begin for first, _, _ in cut.lost):
            more = added.setdefault(last_of[cut.slot], [])
            segment = salvaged[last_of[cut.slot]].segment
            place = Place(segment.slot, segment.last, TRIM_OFFSET + len(more))
            told = {"session": cut.session, "epoch": cut.epoch, "before_seq": cut.begin}
            more.append(KeptFrame(place, "trim", json_line({**told, "by": "repair"})))
    plans: list[tuple[Salvaged, list[KeptFrame]]] = []
    for number, (one, frames) in enumerate(zip(salvaged, found.frames, strict=True)):
        kept = [
            KeptFrame(place, frame.kind, frame.payload)
            for place, frame in frames
            if not _is_cut(frame, by_session, found)
        ]
        more = added.get(number, [])
        if one.ranges or more or len(kept) < len(frames):
            plans.append((one, kept + more))
    return plans


def _is_cut(frame: Frame, cuts: dict[str, Cut], found: Found) -> bool:
    if frame.kind == "append":
        envelope = envelope_of(frame.payload)
        cut = cuts.get(envelope.session)
        return (
            cut is not None
            and envelope.last_seq > cut.end
            and envelope.epoch > found.removed.get(envelope.session, 0)
        )
    if frame.kind == "trim":
        told = json_of(frame.payload)
        cut = cuts.get(told["session"])
        return cut is not None and bool(told["before_seq"] > cut.end)
    return False


def _rewritten(disk: Disk, one: Salvaged, kept: list[KeptFrame], serial: int) -> RepairedFile:
    segment = one.segment
    copy = None if one.missing else _set_aside(disk, segment.name)
    name = segment_name(segment.slot, segment.first, segment.last)
    data = packed_bytes(segment.slot, segment.first, segment.last, kept, serial=serial)
    disk.replace(name, data)
    if not one.missing and segment.name != name:
        disk.remove(segment.name)
        disk.sync_folder("segments")
    return RepairedFile(segment.name, copy)


def _set_aside(disk: Disk, name: str) -> str:
    """Copy a file; return the copy's name."""
    number = 1
    while disk.identity(f"{name}.damaged-{number}") is not None:
        number += 1
    copy = f"{name}.damaged-{number}"
    disk.replace(copy, disk.read(name))
    return copy


def _claims_range(disk: Disk) -> DamagedRange | None:
    if disk.identity(CLAIMS_NAME) is None:
        return None
    data = disk.read(CLAIMS_NAME)
    found = scan(data)
    if found.verdict.state != "damaged" and found.frames and is_head(found.frames[0]):
        return None
    reason = found.verdict.reason or "it does not begin as it should"
    return DamagedRange(CLAIMS_NAME, found.verdict.offset, len(data), reason)


def _blobs_set_aside(disk: Disk) -> tuple[str, ...]:
    _, problems = blob_problems(disk)
    for problem in problems:
        _set_aside(disk, problem.file)
        disk.remove(problem.file)
    return tuple(problem.file for problem in problems)


def _lost_of(cut: Cut) -> Iterator[LostRecords]:
    for first, last, place in cut.lost:
        name = segment_name(place.slot, place.segment) if place is not None else ""
        offset = place.offset if place is not None else 0
        yield LostRecords(cut.session, first, last, name, offset)
