"""Several processes on one folder; here each is a store of its own."""

from __future__ import annotations

import pytest
import trio

from actrio.errors import SessionFenced, SessionOwned
from actrio.journal import Checkpoint, open_embedded_store
from actrio.testing import SimulatedDisk


async def test_another_process_is_told_who_owns_a_session(tmp_path, note):
    """The second claimer is refused by name, reads everything, and may have it after the release."""
    async with open_embedded_store(tmp_path) as one, open_embedded_store(tmp_path) as two:
        claim = await one.claim("s", "first process")
        await one.append("s", claim.epoch, 0, [note(1)])
        with pytest.raises(SessionOwned, match="first process"):
            await two.claim("s", "second process")
        assert len(await two.read("s")) == 1
        assert (await two.list())[0].owner == "first process"
        await one.release(claim)
        theirs = await two.claim("s", "second process")
        assert (theirs.last_seq, theirs.epoch > claim.epoch) == (1, True)
        await two.append("s", theirs.epoch, 1, [note(2)])
        assert [found.record for found in await one.read("s", 1)] == [note(1), note(2)]


async def test_a_former_owner_that_wakes_up_writes_nothing(tmp_path, note):
    """Whoever insists goes on from the last record; the former owner's append is refused."""
    async with open_embedded_store(tmp_path) as one, open_embedded_store(tmp_path) as two:
        old = await one.claim("s", "first")
        await one.append("s", old.epoch, 0, [note(1), Checkpoint(snapshot={})])
        new = await two.claim("s", "second", insist=True)
        assert (new.last_seq, new.checkpoint_seq) == (2, 2)
        with pytest.raises(SessionFenced, match="second"):
            await one.append("s", old.epoch, 2, [note(3)])
        await two.append("s", new.epoch, 2, [note(3)])
        back = await one.claim("s", "first", insist=True)
        assert back.last_seq == 3
        await one.append("s", back.epoch, 3, [note(4)])
        assert [found.seq for found in await two.read("s", 1)] == [1, 2, 3, 4]
        assert (await two.verify()).ok
    async with open_embedded_store(tmp_path) as again:
        assert len(await again.read("s", 1)) == 4
        assert (await again.claim("s", "third")).epoch > back.epoch


async def test_the_sessions_of_a_process_that_ended_are_free(note, open_on):
    """A process that is gone owns nothing, without a clock and without waiting."""
    disk = SimulatedDisk()
    async with open_on(disk) as one:
        claim = await one.claim("s", "first")
        await one.append("s", claim.epoch, 0, [note(1)])
        async with open_on(disk) as two:
            with pytest.raises(SessionOwned):
                await two.claim("s", "second")
            one._files._slot_lock.close()
            assert (await two.claim("s", "second")).last_seq == 1


async def test_a_watcher_in_another_process_learns_of_appends(tmp_path, note):
    """Watching what another process writes works, only later."""
    async with open_embedded_store(tmp_path) as one, open_embedded_store(tmp_path) as two:
        claim = await one.claim("s", "me")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one.append, "s", claim.epoch, 0, [note(1)])
            assert await two.watch("s", 0) == 1


async def test_a_slot_is_used_again(tmp_path, note):
    """One process after the other writes one row of files."""
    for life in range(3):
        async with open_embedded_store(tmp_path) as store:
            claim = await store.claim("s", f"life {life}")
            await store.append("s", claim.epoch, life, [note(life)])
    assert [path.name for path in (tmp_path / "segments").iterdir()] == ["0000-00000001.seg"]


async def test_many_claims_do_not_grow_the_file(note, open_on, monkeypatch):
    """The claims file is written anew when most of it is over; both processes go on with it."""
    monkeypatch.setattr("actrio.journal._claims_file.REWRITE_BYTES", 2000)
    disk = SimulatedDisk()
    async with open_on(disk) as one, open_on(disk) as two:
        kept = await one.claim("kept", "me")
        for number in range(200):
            store = (one, two)[number % 2]
            await store.release(await store.claim("s", "me"))
        assert len(disk.read("claims.log")) < 5000
        await one.append("kept", kept.epoch, 0, [note(1)])
        with pytest.raises(SessionOwned):
            await two.claim("kept", "you")


async def test_a_clock_that_goes_backwards_changes_nothing(note, open_on):
    """Time is written down and orders nothing."""
    disk, times = SimulatedDisk(), iter(range(100, 0, -1))
    async with open_on(disk, now=lambda: float(next(times))) as store:
        claim = await store.claim("s", "me")
        for number in range(5):
            await store.append("s", claim.epoch, number, [note(number)])
    async with open_on(disk) as store:
        found = await store.read("s", 1)
        assert [one.record for one in found] == [note(number) for number in range(5)]
        assert [one.ts for one in found] == [100.0, 99.0, 98.0, 97.0, 96.0]
