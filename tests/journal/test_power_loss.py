"""What was acknowledged survives a lost power; what rots is reported."""

from __future__ import annotations

import contextlib
import errno

import pytest
import trio

from actrio.errors import StorageDamaged, StorageError, StorageFull, StorageUnavailable
from actrio.journal import Checkpoint
from actrio.journal._files import JournalFiles
from actrio.journal._verify import verify_disk
from actrio.testing import SimulatedDisk

SESSIONS = ("a", "b", "c")


async def work_until_it_fails(store, name, note, acknowledged, asked):
    """Append until the store refuses; remember what was acknowledged."""
    try:
        claim = await store.claim(name, "me", insist=True)
        number = claim.last_seq
        while True:
            records = [note(number + 1, name), note(number + 2, "x" * (number % 7) * 90)]
            asked[name] = number + 2
            number = await store.append(name, claim.epoch, number, records)
            acknowledged[name] = number
            # The simulated disk never waits, so the sessions must take turns here.
            await trio.lowlevel.checkpoint()
    except StorageError:
        pass


async def everything(store):
    """Return all sessions' numbers; each session must be without a gap."""
    found = {}
    for entry in await store.list():
        records = await store.read(entry.session, 1)
        assert [one.seq for one in records] == list(range(1, entry.last_seq + 1))
        for one in records[::2]:
            assert (one.record.values, one.record.by) == ({"n": one.seq}, entry.session)
        found[entry.session] = entry.last_seq
    return found


@pytest.mark.parametrize("seed", range(150))
async def test_what_always_acknowledged_survives_every_lost_power(seed, note, open_on):
    """Sectors dropped, torn and reordered: each acknowledged record is there, in order, once."""
    disk = SimulatedDisk(seed=seed)
    acknowledged, asked = {}, {}
    options = {"durability": "always", "segment_bytes_max": 2000}
    options["index_bytes_max"] = (10**6, 1500, 0)[seed % 3]
    for life in range(3):
        try:
            async with open_on(disk, **options) as store:
                if life:
                    now = await everything(store)
                    assert all(now.get(name, 0) >= acknowledged.get(name, 0) for name in SESSIONS)
                    assert all(now[name] <= asked[name] for name in now)
                disk.fail_at(disk.chance.randrange(1, 60))
                async with trio.open_nursery() as nursery:
                    for name in SESSIONS:
                        nursery.start_soon(
                            work_until_it_fails, store, name, note, acknowledged, asked
                        )
        except StorageUnavailable:
            pass
        disk.lose_power()
    async with open_on(disk, durability="always") as store:
        now = await everything(store)
        assert all(now.get(name, 0) >= acknowledged.get(name, 0) for name in SESSIONS)
        assert (await store.verify()).ok


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("step", range(1, 7))
async def test_a_segment_taken_over_from_a_killed_process_keeps_its_name(seed, step, note, open_on):
    """Killed before the new file's name was synced: the next process syncs it before it answers."""
    disk = SimulatedDisk(seed=seed)
    disk.fail_at(step)
    with contextlib.suppress(StorageUnavailable):
        async with open_on(disk, durability="always"):
            pass
    disk.fail_at(10_000)
    async with open_on(disk, durability="always") as store:
        claim = await store.claim("a", "me")
        await store.append("a", claim.epoch, 0, [note(1, "a")])
    disk.lose_power()
    async with open_on(disk, durability="always") as store:
        assert await everything(store) == {"a": 1}


@pytest.mark.parametrize("seed", range(60))
async def test_what_batch_synced_survives_and_the_rest_is_a_prefix(
    seed, note, open_on, autojump_clock
):
    """With `batch` a lost power costs at most what was acknowledged within the window."""
    disk = SimulatedDisk(seed=seed)
    with pytest.raises(StorageUnavailable):  # closing cannot sync any more
        async with open_on(disk, durability="batch", batch_seconds=0.05) as store:
            claims = [await store.claim(name, "me") for name in SESSIONS]
            for claim in claims:
                await store.append(claim.session, claim.epoch, 0, [note(1, claim.session), note(2)])
            await trio.sleep(0.1)
            for claim in claims:
                await store.append(claim.session, claim.epoch, 2, [note(3, claim.session), note(4)])
            disk.fail_at(1)
            disk.lose_power()
    async with open_on(disk) as store:
        now = await everything(store)
        assert all(now[name] in {2, 4} for name in SESSIONS)


async def small_store(disk, note, open_on):
    """Make a store with two segments, a checkpoint, a trim, a removal and claims."""
    async with open_on(disk, durability="always", segment_bytes_max=900) as store:
        for name in ("a", "b"):
            claim = await store.claim(name, "me")
            await store.append(name, claim.epoch, 0, [note(1, name), Checkpoint(snapshot={})])
        await store.trim(claim, 2)
        gone = await store.claim("gone", "me")
        await store.append("gone", gone.epoch, 0, [note(1)])
        await store.remove(gone)
        await store.append("b", claim.epoch, 2, [note(3)])
        disk.lose_power()


async def test_every_flipped_bit_of_a_store_is_reported(note, open_on):
    """Each bit of each file: opening refuses it with its place, verify names it, nothing changes."""
    disk = SimulatedDisk()
    await small_store(disk, note, open_on)
    assert verify_disk(disk).ok
    assert len([name for name in disk.all_names() if name.startswith("segments/")]) > 1
    bits = 0
    for name in disk.all_names():
        for bit in range(len(disk.read(name)) * 8):
            disk.flip_bit(name, bit)
            before = disk.read(name)
            with pytest.raises(StorageDamaged) as caught:
                JournalFiles(disk).open()
            assert caught.value.file == name
            assert caught.value.offset <= bit // 8
            assert disk.read(name) == before
            problems = verify_disk(disk).problems
            assert name in {problem.file for problem in problems}
            disk.flip_bit(name, bit)
            bits += 1
    assert bits > 10_000


async def test_a_bit_that_flips_while_the_store_is_open_is_reported_when_it_is_read(note, open_on):
    """Reading checks each record it meets, and answers nothing instead of less."""
    disk = SimulatedDisk()
    async with open_on(disk, durability="always") as store:
        claim = await store.claim("s", "me")
        for number in range(3):
            await store.append("s", claim.epoch, number, [note(number)])
        (name,) = (one for one in disk.all_names() if one.startswith("segments/"))
        for bit in range(150 * 8, len(disk.read(name)) * 8, 7):
            disk.flip_bit(name, bit)
            with pytest.raises(StorageDamaged, match="session s"):
                await store.read("s", 1)
            disk.flip_bit(name, bit)
        assert len(await store.read("s", 1)) == 3


async def test_a_missing_segment_is_reported(note, open_on):
    """A file that is gone from the middle or the beginning is no shorter truth."""
    disk = SimulatedDisk()
    async with open_on(disk, durability="always", segment_bytes_max=200) as store:
        claim = await store.claim("s", "me")
        for number in range(6):
            await store.append("s", claim.epoch, number, [note(number)])
    names = [one for one in disk.all_names() if one.startswith("segments/")]
    assert len(names) > 3
    disk.remove(names[1])
    with pytest.raises(StorageDamaged, match="missing"):
        JournalFiles(disk).open()


@pytest.mark.parametrize("nth", range(1, 12))
@pytest.mark.parametrize("durability", ["batch", "always"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
async def test_a_disk_that_refuses_once_damages_nothing(nth, durability, number, note, open_on):
    """Whichever write or sync fails: nothing more is acknowledged, and what was is kept."""
    disk = SimulatedDisk()
    kind = StorageFull if number == errno.ENOSPC else StorageUnavailable
    async with open_on(disk, durability=durability, segment_bytes_max=600) as store:
        claim = await store.claim("s", "me")
        disk.fail_at(nth, number=number, for_good=False)
        last_seq = 0
        with pytest.raises(kind):
            while last_seq < 30:
                last_seq = await store.append(
                    "s", claim.epoch, last_seq, [note(last_seq + 1, "s"), note(0)]
                )
        with pytest.raises(kind):
            await store.append("s", claim.epoch, last_seq, [note(0)])
        assert store.statistics().read_only
        assert len(await store.read("s")) == last_seq if last_seq else True
    async with open_on(disk) as store:
        assert (await everything(store)).get("s", 0) == last_seq
        claim = await store.claim("s", "me")
        await store.append("s", claim.epoch, last_seq, [note(last_seq + 1, "s"), note(0)])


async def test_a_full_disk_is_told_and_costs_nothing(note, open_on):
    """A write that fits only in part is taken back whole."""
    disk = SimulatedDisk(bytes_max=3000)
    async with open_on(disk, durability="batch") as store:
        claim = await store.claim("s", "me")
        last_seq = 0
        with pytest.raises(StorageFull, match="full"):
            while True:
                last_seq = await store.append(
                    "s", claim.epoch, last_seq, [note(last_seq + 1, "s"), note(0)]
                )
        assert len(await store.read("s")) == last_seq
    disk.bytes_max = 9000
    async with open_on(disk) as store:
        assert await everything(store) == {"s": last_seq}
