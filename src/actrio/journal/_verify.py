"""Checking everything: each byte of each file, and each session's chain of appends."""

from __future__ import annotations

from actrio.errors import ActrioError
from actrio.journal._disk import Disk
from actrio.journal._envelope import Envelope, Place, envelope_of, json_of, records_of
from actrio.journal._frames import Frame, scan
from actrio.journal._segments import segment_name, slots_of
from actrio.journal._store import VerifyProblem, VerifyReport

__all__ = ["verify_disk"]


def verify_disk(disk: Disk) -> VerifyReport:
    """Read all files of a store and say what does not check; nothing is altered.

    An unfinished write at the end of a slot is no problem: opening cuts it off.
    """
    problems: list[VerifyProblem] = []
    appends: dict[Place, Envelope] = {}
    files = frames = 0
    for slot, numbers in slots_of(disk).items():
        for number in range(numbers[0], numbers[-1] + 1):
            name = segment_name(slot, number)
            if number not in numbers:
                problems.append(VerifyProblem(name, 0, "the segment is missing"))
                continue
            files += 1
            found = scan(disk.read(name))
            frames += len(found.frames)
            problems += _of_segment(slot, number, found.frames, appends)
            end = found.verdict
            sealed = bool(found.frames) and found.frames[-1].kind == "seal"
            if end.state == "damaged":
                problems.append(VerifyProblem(name, end.offset, end.reason))
            elif number != numbers[-1] and not sealed:
                problems.append(VerifyProblem(name, end.offset, "the segment has lost its end"))
    claims = disk.identity("claims.log")
    if claims is not None:
        files += 1
        found = scan(disk.read("claims.log"))
        frames += len(found.frames)
        if found.verdict.state == "damaged":
            problems.append(VerifyProblem("claims.log", found.verdict.offset, found.verdict.reason))
    problems += _of_chains(appends)
    sessions = {envelope.session for envelope in appends.values()}
    return VerifyReport(files, frames, len(sessions), tuple(problems))


def _of_segment(
    slot: int, number: int, frames: tuple[Frame, ...], appends: dict[Place, Envelope]
) -> list[VerifyProblem]:
    problems: list[VerifyProblem] = []
    name = segment_name(slot, number)
    if frames:
        told = json_of(frames[0].payload) if frames[0].kind == "head" else {}
        if (told.get("slot"), told.get("segment")) != (slot, number):
            problems.append(VerifyProblem(name, 0, "it does not begin as this segment"))
    for frame in frames:
        if frame.kind != "append":
            continue
        try:
            envelope = envelope_of(frame.payload)
            appends[Place(slot, number, frame.offset)] = envelope
            records_of(frame.payload)
        except (ActrioError, ValueError, KeyError) as error:
            problems.append(VerifyProblem(name, frame.offset, str(error)))
    return problems


def _of_chains(appends: dict[Place, Envelope]) -> list[VerifyProblem]:
    problems: list[VerifyProblem] = []
    for place, envelope in appends.items():
        name = segment_name(place.slot, place.segment)
        if envelope.prev is None:
            if envelope.seq != 1:
                problems.append(
                    VerifyProblem(name, place.offset, "nothing before it", envelope.session)
                )
            continue
        before = appends.get(Place(*envelope.prev))
        if before is None or (before.session, before.last_seq) != (
            envelope.session,
            envelope.seq - 1,
        ):
            problems.append(
                VerifyProblem(name, place.offset, "what came before is missing", envelope.session)
            )
    return problems
