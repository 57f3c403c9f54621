"""Large values beside the records: whole or refused, on the disk when they are answered for."""

from __future__ import annotations

import contextlib

import pytest
import trio

from actrio.errors import NotFound, StorageDamaged, StorageError, StorageFull
from actrio.journal import MemoryBlobs, open_embedded_store, repair, verify
from actrio.testing import SimulatedDisk

DATA = bytes(range(251)) * 300


async def test_every_flipped_bit_of_a_blob_is_reported(note, open_on):
    """Reading it whole, or the part where it is, and verifying; other parts are read as before."""
    disk = SimulatedDisk()
    async with open_on(disk) as store:
        ref = await store.blobs.put(DATA, media_type="x")
        (name,) = (one for one in disk.all_names() if one.endswith(".blob"))
        for bit in range(0, len(disk.read(name)) * 8, 997):
            disk.flip_bit(name, bit)
            with pytest.raises(StorageDamaged) as caught:
                await store.blobs.get(ref.id)
            assert caught.value.file == name
            for start in (0, 65_536, 70_000):
                with contextlib.suppress(StorageDamaged):
                    assert await store.blobs.read(ref.id, start, 500) == DATA[start : start + 500]
            disk.flip_bit(name, bit)
        disk.flip_bit(name, 8000)
        assert [problem.file for problem in (await store.verify()).problems] == [name]
        # Whoever has the bytes mends it by putting them again.
        assert (await store.blobs.put(DATA, media_type="x")).id == ref.id
        assert await store.blobs.get(ref.id) == DATA


async def test_a_cut_or_lengthened_blob_is_reported(open_on):
    """Whatever its length: it is whole or it is damaged."""
    disk = SimulatedDisk()
    async with open_on(disk) as store:
        ref = await store.blobs.put(b"some bytes", media_type="x")
        (name,) = (one for one in disk.all_names() if one.endswith(".blob"))
        whole = disk.read(name)
        for content in (
            *(whole[:size] for size in range(len(whole))),
            whole + b"x",
            b"",
            b"y" * 99,
        ):
            disk.replace(name, content)
            with pytest.raises(StorageDamaged):
                await store.blobs.get(ref.id)
            with pytest.raises(StorageDamaged):
                await store.blobs.read(ref.id, 0, 10)


@pytest.mark.parametrize("step", range(1, 12))
async def test_a_blob_that_was_answered_for_survives_a_lost_power(step, open_on):
    """Whatever a lost power leaves: it is there whole, or it was never answered for."""
    for seed in range(10):
        disk = SimulatedDisk(seed=seed)
        refs = []
        with contextlib.suppress(StorageError):
            async with open_on(disk, durability="always") as store:
                disk.fail_at(step)
                with contextlib.suppress(StorageError):
                    for number in range(3):
                        refs.append(await store.blobs.put(b"%d" % number, media_type="x"))
        disk.lose_power()
        async with open_on(disk) as store:
            for number, ref in enumerate(refs):
                assert await store.blobs.get(ref.id) == b"%d" % number
            assert (await store.verify()).ok


async def test_a_full_store_says_so(tmp_path):
    """The bound holds over all blobs, is counted when the store is opened, and has a remedy."""
    async with open_embedded_store(tmp_path, blobs_bytes_max=1000) as store:
        first = await store.blobs.put(b"x" * 600, media_type="x")
    async with open_embedded_store(tmp_path, blobs_bytes_max=1000) as store:
        with pytest.raises(StorageFull, match="1000") as caught:
            await store.blobs.put(b"y" * 600, media_type="x")
        assert "prune" in caught.value.remedy
        assert (await store.blobs.put(b"x" * 600, media_type="x")).id == first.id
        await store.blobs.collect(set(), 0)
        await store.blobs.put(b"y" * 600, media_type="x")
    blobs = MemoryBlobs(bytes_max=1000)
    await blobs.put(b"x" * 600, media_type="x")
    with pytest.raises(StorageFull):
        await blobs.put(b"y" * 600, media_type="x")


async def test_what_was_put_again_is_young_again(open_on):
    """A record that names an old blob anew is on its way: the sweep leaves it."""
    disk = SimulatedDisk()
    async with open_on(disk) as store:
        old = await store.blobs.put(b"old", media_type="x")
        both = await store.blobs.put(b"both", media_type="x")
        disk.time = 10_000.0
        await store.blobs.put(b"both", media_type="x")
        await store.blobs.collect(set(), 3600)
        with pytest.raises(NotFound):
            await store.blobs.get(old.id)
        assert await store.blobs.get(both.id) == b"both"


async def test_many_put_at_once(tmp_path):
    """Threads do not mix them, and the same bytes from several are one blob."""
    async with open_embedded_store(tmp_path) as store, trio.open_nursery() as nursery:

        async def put(number):
            ref = await store.blobs.put(b"%d" % (number % 7) * 1000, media_type="x")
            assert await store.blobs.get(ref.id) == b"%d" % (number % 7) * 1000

        for number in range(40):
            nursery.start_soon(put, number)
    assert len(list(tmp_path.rglob("*.blob"))) == 7
    assert not list(tmp_path.rglob("*.new"))


async def test_a_repair_sets_a_damaged_blob_aside(open_on):
    """Afterwards it is not found, which is the truth, and the store verifies."""
    disk = SimulatedDisk()
    async with open_on(disk) as store:
        ref = await store.blobs.put(DATA, media_type="x")
    (name,) = (one for one in disk.all_names() if one.endswith(".blob"))
    disk.flip_bit(name, 1000)
    report = await repair("", disk=disk)
    assert report.blobs == (name,)
    assert f"{name}.damaged-1" in disk.all_names()
    assert (await verify("", disk=disk)).ok
    async with open_on(disk) as store:
        with pytest.raises(NotFound):
            await store.blobs.get(ref.id)
