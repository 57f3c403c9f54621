"""What every store must do with blobs, with approvals that wait, and when it is compacted."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

from actrio.errors import ActrioError, InvalidRequest, LimitExceeded, NotFound
from actrio.journal import (
    ApprovalAsked,
    ApprovalDecided,
    Checkpoint,
    Record,
    StateChanged,
)

__all__ = ["HOUSE_CHECKS"]

OpenStore = Callable[[], AbstractAsyncContextManager[Any]]


async def _refused(kind: type[ActrioError], call: Callable[[], Awaitable[Any]]) -> None:
    try:
        await call()
    except kind:
        return
    raise AssertionError(f"{kind.__name__} was not raised")


def _asked(number: int) -> Record:
    return ApprovalAsked(turn="t", approval=f"a_{number}", step=1, position=number)


def _decided(number: int) -> Record:
    return ApprovalDecided(turn="t", approval=f"a_{number}", decision="approved")


def _note(number: int) -> Record:
    return StateChanged(values={"n": number})


async def approvals_that_wait_are_counted(opened: OpenStore) -> None:
    """Asked counts one more, decided one less and never below none; a checkpoint changes nothing."""
    async with opened() as store:
        claim = await store.claim("s", "me")
        steps: list[tuple[list[Record], int]] = [
            ([_note(1)], 0),
            ([_asked(1), _asked(2)], 2),
            ([_decided(1), Checkpoint(snapshot={"waiting": 7})], 1),
            ([_decided(2), _decided(3), _asked(4)], 1),
            ([_decided(4), _decided(5)], 0),
            ([_asked(6)], 1),
        ]
        last = 0
        for records, waiting in steps:
            last = await store.append("s", claim.epoch, last, records)
            (entry,) = await store.list()
            assert entry.waiting == waiting
            found = await store.list(waiting_only=True)
            assert [one.session for one in found] == (["s"] if waiting else [])
        await store.remove(claim)
        assert await store.list(waiting_only=True) == ()
        again = await store.claim("s", "me")
        await store.append("s", again.epoch, 0, [_decided(6), _note(1)])
        (entry,) = await store.list()
        assert entry.waiting == 0


async def those_that_wait_are_listed_in_pages(opened: OpenStore) -> None:
    """Only they, in the order of their ids, going on behind the last one."""
    async with opened() as store:
        for number in range(9):
            name = f"s{(number * 5) % 9}"
            claim = await store.claim(name, "me")
            record = _asked(number) if number % 2 else _note(number)
            await store.append(name, claim.epoch, 0, [record])
        waiting = sorted(f"s{(number * 5) % 9}" for number in range(1, 9, 2))
        found = await store.list(limit=3, waiting_only=True)
        assert [one.session for one in found] == waiting[:3]
        found = await store.list(after=waiting[2], limit=3, waiting_only=True)
        assert [one.session for one in found] == waiting[3:]
        assert len(await store.list()) == 9


async def a_session_says_since_when_it_is(opened: OpenStore) -> None:
    """The time of its first append stays what it was, through trims as well."""
    async with opened() as store:
        claim = await store.claim("s", "me")
        await store.append("s", claim.epoch, 0, [_note(1)])
        (first,) = await store.list()
        assert first.created == first.updated > 0
        await store.append("s", claim.epoch, 1, [Checkpoint(snapshot={})])
        await store.trim(claim, 2)
        (entry,) = await store.list()
        assert (entry.created, entry.first_seq) == (first.created, 2)


async def compacting_changes_nothing_that_is_read(opened: OpenStore) -> None:
    """Whatever a compaction gives back, sessions and refusals are as before."""
    async with opened() as store:
        claims = [await store.claim(f"s{number}", "me") for number in range(4)]
        for claim in claims:
            await store.append(claim.session, claim.epoch, 0, [_note(1), Checkpoint(snapshot={})])
            await store.append(claim.session, claim.epoch, 2, [_note(3)])
        await store.trim(claims[1], 2)
        await store.remove(claims[2])
        before = [await store.read(name) for name in ("s0", "s1", "s3")]
        listed = await store.list()
        report = await store.compact()
        assert report.bytes_after <= report.bytes_before
        assert [await store.read(name) for name in ("s0", "s1", "s3")] == before
        assert await store.list() == listed
        await _refused(NotFound, lambda: store.read("s2"))
        await _refused(NotFound, lambda: store.read("s1", 1))
        await store.append("s0", claims[0].epoch, 3, [_note(4)])
        assert (await store.verify()).ok


async def a_blob_comes_back_as_it_was(opened: OpenStore) -> None:
    """Whole and in parts; the same bytes are one blob; it says its size and type."""
    async with opened() as store:
        blobs = store.blobs
        data = bytes(range(256)) * 700
        ref = await blobs.put(data, media_type="application/octet-stream")
        assert (ref.size, ref.media_type) == (len(data), "application/octet-stream")
        assert ref.id.startswith("b_")
        assert await blobs.get(ref.id) == data
        for offset, size in ((0, 10), (65_530, 20), (0, 10**9), (len(data) - 3, 9), (10**9, 1)):
            assert await blobs.read(ref.id, offset, size) == data[offset : offset + size]
        assert (await blobs.put(data, media_type="text/plain")).id == ref.id
        empty = await blobs.put(b"", media_type="text/plain")
        assert await blobs.get(empty.id) == b""
        assert await blobs.read(empty.id, 0, 5) == b""
        assert blobs.statistics().bytes >= len(data)


async def what_is_no_blob_is_refused(opened: OpenStore) -> None:
    """Unknown and impossible ids, ranges that cannot be, and what is too large."""
    async with opened() as store:
        blobs = store.blobs
        await _refused(NotFound, lambda: blobs.get("b_" + "0" * 40))
        await _refused(NotFound, lambda: blobs.read("b_" + "0" * 40, 0, 1))
        for bad in ("", "b_", "b_" + "0" * 39 + "/", "../" + "0" * 39, "B_" + "0" * 40):
            await _refused(InvalidRequest, lambda bad=bad: blobs.get(bad))  # type: ignore[misc]
        await _refused(InvalidRequest, lambda: blobs.read("b_" + "0" * 40, -1, 1))
        await _refused(
            LimitExceeded, lambda: blobs.put(bytes(64 * 1024 * 1024 + 1), media_type="x")
        )


async def what_nobody_names_is_collected(opened: OpenStore) -> None:
    """What is named stays, what is young stays, the rest goes."""
    async with opened() as store:
        blobs = store.blobs
        refs = [await blobs.put(b"%d" % number, media_type="text/plain") for number in range(5)]
        report = await blobs.collect(set(), 3600)
        assert (report.blobs_before, report.blobs_after) == (5, 5)
        live = {refs[1].id, refs[3].id}
        report = await blobs.collect(live, 0)
        assert (report.blobs_before, report.blobs_after) == (5, 2)
        assert report.bytes_after < report.bytes_before
        assert await blobs.get(refs[1].id) == b"1"
        await _refused(NotFound, lambda: blobs.get(refs[0].id))
        assert (await blobs.put(b"0", media_type="text/plain")).id == refs[0].id
        assert await blobs.get(refs[0].id) == b"0"


HOUSE_CHECKS: Final[tuple[Callable[[OpenStore], Awaitable[None]], ...]] = (
    approvals_that_wait_are_counted,
    those_that_wait_are_listed_in_pages,
    a_session_says_since_when_it_is,
    compacting_changes_nothing_that_is_read,
    a_blob_comes_back_as_it_was,
    what_is_no_blob_is_refused,
    what_nobody_names_is_collected,
)
"""A part of `STORE_CHECKS`."""
