"""What every journal store must do, as checks that run on any of them.

A store's own tests call each check of `STORE_CHECKS` with a way to open the store. A check that
fails raises `AssertionError`; one that the store cannot pass means that it is no store.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, Protocol

import trio

from actrio.errors import (
    ActrioError,
    Conflict,
    InvalidRequest,
    LimitExceeded,
    NotFound,
    SessionFenced,
    SessionOwned,
)
from actrio.journal import (
    BlobPort,
    Checkpoint,
    HousekeepingPort,
    InputAccepted,
    Record,
    StateChanged,
    StorePort,
)
from actrio.messages import user_message
from actrio.testing._store_kit_house import HOUSE_CHECKS

__all__ = ["STORE_CHECKS", "OpenStore", "StoreUnderTest"]


class StoreUnderTest(StorePort, HousekeepingPort, Protocol):
    """A store with both its ports, and its blobs."""

    @property
    def blobs(self) -> BlobPort: ...


OpenStore = Callable[[], AbstractAsyncContextManager[Any]]
"""Opens an empty store."""


def _input(number: int) -> Record:
    return InputAccepted(turn=f"t_{number}", message=user_message(f"number {number}"))


async def _refused(kind: type[ActrioError], call: Callable[[], Awaitable[Any]]) -> ActrioError:
    try:
        await call()
    except kind as error:
        return error
    raise AssertionError(f"{kind.__name__} was not raised")


async def appends_are_read_in_order(opened: OpenStore) -> None:
    """Records come back in order, numbered from 1 without a gap, with their epoch."""
    async with opened() as store:
        claim = await store.claim("s", "me")
        assert claim.last_seq == 0
        assert await store.append("s", claim.epoch, 0, [_input(1), _input(2)]) == 2
        assert await store.append("s", claim.epoch, 2, [_input(3)]) == 3
        found = await store.read("s")
        assert [one.seq for one in found] == [1, 2, 3]
        assert [one.record for one in found] == [_input(1), _input(2), _input(3)]
        assert {one.epoch for one in found} == {claim.epoch}
        assert [one.seq for one in await store.read("s", 2)] == [2, 3]
        assert await store.read("s", 4) == ()


async def an_unknown_session_is_not_found(opened: OpenStore) -> None:
    """Reading what nobody wrote is an error; claiming it is not."""
    async with opened() as store:
        await _refused(NotFound, lambda: store.read("nobody"))
        await store.claim("nobody", "me")
        await _refused(NotFound, lambda: store.read("nobody"))
        assert await store.list() == ()


async def a_wrong_seq_is_a_conflict(opened: OpenStore) -> None:
    """An append that does not follow the last record is refused and leaves nothing."""
    async with opened() as store:
        claim = await store.claim("s", "me")
        await store.append("s", claim.epoch, 0, [_input(1)])
        error = await _refused(Conflict, lambda: store.append("s", claim.epoch, 0, [_input(2)]))
        assert error.data["last_seq"] == 1
        await _refused(Conflict, lambda: store.append("s", claim.epoch, 2, [_input(2)]))
        assert len(await store.read("s")) == 1


async def one_owner_at_a_time(opened: OpenStore) -> None:
    """A second claimer is told who the owner is; the same owner's claim stays the same."""
    async with opened() as store:
        claim = await store.claim("s", "first")
        error = await _refused(SessionOwned, lambda: store.claim("s", "second"))
        assert isinstance(error, SessionOwned)
        assert error.owner == "first"
        assert (await store.claim("s", "first")).epoch == claim.epoch
        await store.release(claim)
        assert (await store.claim("s", "second")).epoch > claim.epoch


async def who_insists_fences_the_owner(opened: OpenStore) -> None:
    """After a claim that insists, the former owner writes, trims and renews nothing."""
    async with opened() as store:
        old = await store.claim("s", "first")
        await store.append("s", old.epoch, 0, [_input(1), Checkpoint(snapshot={})])
        new = await store.claim("s", "second", insist=True)
        assert (new.last_seq, new.checkpoint_seq) == (2, 2)
        assert new.epoch > old.epoch
        await _refused(SessionFenced, lambda: store.append("s", old.epoch, 2, [_input(3)]))
        await _refused(SessionFenced, lambda: store.renew(old))
        await _refused(SessionFenced, lambda: store.trim(old, 2))
        await _refused(SessionFenced, lambda: store.remove(old))
        await store.release(old)
        await store.renew(new)
        assert await store.append("s", new.epoch, 2, [_input(3)]) == 3


async def a_released_claim_is_over(opened: OpenStore) -> None:
    """After its release a claim writes nothing, also where nobody claimed since."""
    async with opened() as store:
        claim = await store.claim("s", "me")
        await store.release(claim)
        await store.release(claim)
        await _refused(SessionFenced, lambda: store.append("s", claim.epoch, 0, [_input(1)]))
        again = await store.claim("s", "me")
        assert again.epoch > claim.epoch


async def opening_reads_from_the_last_checkpoint(opened: OpenStore) -> None:
    """Without a place to begin at, reading begins at the last checkpoint."""
    async with opened() as store:
        claim = await store.claim("s", "me")
        await store.append("s", claim.epoch, 0, [_input(1), Checkpoint(snapshot={"n": 1})])
        await store.append("s", claim.epoch, 2, [_input(3)])
        await store.append("s", claim.epoch, 3, [Checkpoint(snapshot={"n": 2}), _input(5)])
        await store.append("s", claim.epoch, 5, [_input(6)])
        assert [one.seq for one in await store.read("s")] == [4, 5, 6]
        assert len(await store.read("s", 1)) == 6
        assert (await store.claim("s", "me")).checkpoint_seq == 4


async def what_is_trimmed_is_not_found(opened: OpenStore) -> None:
    """Records before a trim cannot be read; a trim needs a checkpoint to begin at."""
    async with opened() as store:
        claim = await store.claim("s", "me")
        await store.append("s", claim.epoch, 0, [_input(1), _input(2)])
        await _refused(InvalidRequest, lambda: store.trim(claim, 2))
        await store.append("s", claim.epoch, 2, [Checkpoint(snapshot={}), _input(4)])
        await store.trim(claim, 3)
        error = await _refused(NotFound, lambda: store.read("s", 2))
        assert (error.data or {}).get("first_seq") == 3, "it says from where on there is something"
        assert [one.seq for one in await store.read("s")] == [3, 4]
        assert await store.append("s", claim.epoch, 4, [_input(5)]) == 5
        (entry,) = await store.list()
        assert (entry.first_seq, entry.last_seq, entry.checkpoint_seq) == (3, 5, 3)


async def a_removed_session_begins_anew(opened: OpenStore) -> None:
    """Nothing of a removed session is left, and its id can be used again."""
    async with opened() as store:
        claim = await store.claim("s", "me")
        await store.append("s", claim.epoch, 0, [_input(1)])
        await store.remove(claim)
        await _refused(NotFound, lambda: store.read("s"))
        assert await store.list() == ()
        again = await store.claim("s", "me")
        assert (again.last_seq, again.epoch > claim.epoch) == (0, True)
        await store.append("s", again.epoch, 0, [_input(9)])
        assert [one.record for one in await store.read("s", 1)] == [_input(9)]


async def sessions_are_listed_in_pages(opened: OpenStore) -> None:
    """The list goes on behind the last id, and says who owns what."""
    async with opened() as store:
        for name in "cab":
            claim = await store.claim(name, f"owner of {name}")
            await store.append(name, claim.epoch, 0, [_input(1)])
        await store.release(claim)
        first = await store.list(limit=2)
        assert [entry.session for entry in first] == ["a", "b"]
        assert [entry.owner for entry in first] == ["owner of a", None]
        assert [entry.session for entry in await store.list(after="b")] == ["c"]


async def a_watcher_learns_of_every_append(opened: OpenStore) -> None:
    """Whoever watches wakes when there is more than he has."""
    async with opened() as store:
        claim = await store.claim("s", "me")
        seen: list[int] = []

        async def watch() -> None:
            while (seen or [0])[-1] < 5:
                seen.append(await store.watch("s", (seen or [0])[-1]))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            for number in range(5):
                await store.append("s", claim.epoch, number, [_input(number)])
        assert seen[-1] == 5
        assert seen == sorted(set(seen))


async def a_cancelled_append_is_written_or_not(opened: OpenStore) -> None:
    """Cancelled means not written; returned means written; nothing is in between."""
    async with opened() as store:
        claim = await store.claim("s", "me")
        last_seq = 0
        for steps in range(12):
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(_cancel_after, scope, steps)
                    last_seq = await store.append("s", claim.epoch, last_seq, [_input(steps)])
                    nursery.cancel_scope.cancel()
            found = await store.read("s") if last_seq else ()
            assert len(found) == last_seq


async def _cancel_after(scope: trio.CancelScope, steps: int) -> None:
    for _ in range(steps):
        await trio.lowlevel.checkpoint()
    scope.cancel()


async def bad_calls_are_refused(opened: OpenStore) -> None:
    """Ids that cannot be, appends of nothing, and values without a JSON form leave nothing."""
    async with opened() as store:
        for session in ("", "a\nb", "x" * 300):
            await _refused(InvalidRequest, lambda s=session: store.claim(s, "me"))  # type: ignore[misc]
        claim = await store.claim("s", "me")
        await _refused(InvalidRequest, lambda: store.append("s", claim.epoch, 0, []))
        bad = StateChanged(values={"a": object()})
        await _refused(InvalidRequest, lambda: store.append("s", claim.epoch, 0, [bad]))
        await store.append("s", claim.epoch, 0, [_input(1), _input(2)])
        await _refused(LimitExceeded, lambda: store.read("s", bytes_max=10))


async def odd_text_survives(opened: OpenStore) -> None:
    """NUL, line breaks of all kinds, halves of emojis and bytes come back as they were."""
    text = '\0 \u2028 \x85 \ud83d \U0001f600 \\ "'
    async with opened() as store:
        claim = await store.claim("sé'\"\\", "me")
        record = StateChanged(values={text: [text, 1.5, None, True]}, by=text)
        await store.append(claim.session, claim.epoch, 0, [record])
        (found,) = await store.read(claim.session)
        assert found.record == record


async def many_sessions_at_once(opened: OpenStore) -> None:
    """Sessions that append at the same time do not mix."""
    async with opened() as store:

        async def work(name: str) -> None:
            claim = await store.claim(name, "me")
            for number in range(10):
                record = StateChanged(values={"n": number}, by=name)
                await store.append(name, claim.epoch, number, [record])

        async with trio.open_nursery() as nursery:
            for number in range(30):
                nursery.start_soon(work, f"s{number}")
        for number in range(30):
            found = await store.read(f"s{number}")
            assert [one.record.values["n"] for one in found] == list(range(10))
            assert {one.record.by for one in found} == {f"s{number}"}
        assert (await store.verify()).ok


STORE_CHECKS: Final[tuple[Callable[[OpenStore], Awaitable[None]], ...]] = (
    appends_are_read_in_order,
    an_unknown_session_is_not_found,
    a_wrong_seq_is_a_conflict,
    one_owner_at_a_time,
    who_insists_fences_the_owner,
    a_released_claim_is_over,
    opening_reads_from_the_last_checkpoint,
    what_is_trimmed_is_not_found,
    a_removed_session_begins_anew,
    sessions_are_listed_in_pages,
    a_watcher_learns_of_every_append,
    a_cancelled_append_is_written_or_not,
    bad_calls_are_refused,
    odd_text_survives,
    many_sessions_at_once,
    *HOUSE_CHECKS,
)
"""Every check, to be run one by one."""
