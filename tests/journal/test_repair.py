"""A repair keeps what is intact, invents nothing, and says what is gone."""

from __future__ import annotations

import pytest

from actrio.errors import StorageDamaged, StorageError, StorageUnavailable
from actrio.journal import Checkpoint, SessionEntry, open_embedded_store, repair, verify
from actrio.testing import SimulatedDisk


async def lived_in(disk, note, open_on, *, compacted=False, index=False):
    """Write a small store of some segments; return the truth: every session's records ever."""
    options = {"durability": "always", "segment_bytes_max": 1200}
    options["index_bytes_max"] = 0 if index else 10**9
    truth = {name: [] for name in ("a", "b", "c", "gone")}
    async with open_on(disk, **options) as store:
        claims = {name: await store.claim(name, "me") for name in truth}
        for number in range(1, 9):
            for name, records in truth.items():
                record = note(number, name) if number % 4 else Checkpoint(snapshot={"n": number})
                await store.append(name, claims[name].epoch, number - 1, [record])
                records.append(record)
        await store.trim(claims["b"], 4)
        await store.remove(claims["gone"])
        if compacted:
            await store.compact()
        await store.append("a", claims["a"].epoch, 8, [note(9, "a"), note(10, "a")])
        truth["a"] += [note(9, "a"), note(10, "a")]
    if compacted and not index:
        disk.remove("index.snap")
    return truth


async def contents(disk, open_on):
    """Return what can be read, by its session."""
    found: dict[str, tuple[SessionEntry, list]] = {}
    async with open_on(disk, durability="always", segment_bytes_max=1200) as store:
        assert (await store.verify()).ok
        for entry in await store.list():
            found[entry.session] = (entry, list(await store.read(entry.session, entry.first_seq)))
            claim = await store.claim(entry.session, "next")
            await store.append(
                entry.session, claim.epoch, claim.last_seq, [Checkpoint(snapshot={})]
            )
            assert len(await store.read(entry.session)) == 1
    return found


def assert_only_truth(found, truth):
    """Each session is a prefix, or begins at a checkpoint (or its trim) and goes on from there."""
    for session, (entry, records) in found.items():
        assert [one.seq for one in records] == list(range(entry.first_seq, entry.last_seq + 1))
        for one in records:
            assert one.record == truth[session][one.seq - 1]
        assert entry.first_seq in {1, 4, 8}


async def flip_and_repair(disk, name, bit, note, open_on, truth):
    before = {one: disk.read(one) for one in disk.all_names()}
    disk.flip_bit(name, bit)
    damaged = disk.read(name)
    report = await repair("", disk=disk)
    assert (await verify("", disk=disk)).ok
    found = await contents(disk, open_on)
    assert_only_truth(found, truth)
    if name.endswith((".seg", ".log")):
        assert report.ranges
        copies = {file.file: file.copy for file in report.files}
        assert disk.read(copies[name]) == damaged
    lost = {
        (one.session, seq) for one in report.lost for seq in range(one.first_seq, one.last_seq + 1)
    }
    for session in {"a", "b", "c"} & set(found):
        entry = found[session][0]
        kept = set(range(entry.first_seq, entry.last_seq + 1))
        wanted = set(range(4 if session == "b" else 1, len(truth[session]) + 1))
        told = {seq for one, seq in lost if one == session}
        # What nothing that is left speaks of cannot be told: the end of a session.
        assert not told & kept
        missing = wanted - kept - told
        assert not missing or min(missing) > max(kept | told)
    for one in list(disk.all_names()):
        disk.remove(one)
    for one, content in before.items():
        disk.replace(one, content)
    return found


@pytest.mark.parametrize("compacted", [False, True])
@pytest.mark.parametrize("index", [False, True])
async def test_whichever_byte_rots_only_truth_is_left(compacted, index, note, open_on):
    """A flipped bit in every seventh byte of each file: most is kept, and nothing is made up."""
    disk = SimulatedDisk()
    truth = await lived_in(disk, note, open_on, compacted=compacted, index=index)
    names = [one for one in disk.all_names() if disk.read(one)]
    assert any(one.count("-") == 2 for one in names) == compacted
    assert ("index.snap" in names) == index
    kept = []
    for name in names:
        # Every seventh byte of the plain store and of the richest; fewer in between.
        for byte in range(0, len(disk.read(name)), 7 if compacted == index else 35):
            found = await flip_and_repair(disk, name, byte * 8 + byte % 8, note, open_on, truth)
            kept.append(sum(len(records) for _, records in found.values()))
            if index:
                assert "gone" not in found
    assert sum(kept) / len(kept) > 15


async def test_a_whole_store_is_left_as_it_is(note, open_on):
    """Nothing is changed, nothing is lost; only the index file is made anew."""
    disk = SimulatedDisk()
    await lived_in(disk, note, open_on)
    before = {one: disk.read(one) for one in disk.all_names()}
    report = await repair("", disk=disk)
    assert (report.files, report.ranges, report.lost) == ((), (), ())
    assert {one: disk.read(one) for one in before} == before


async def test_a_missing_segment_is_told_and_the_rest_goes_on(note, open_on):
    """Sessions go on from the checkpoint after the gap, or end before it."""
    disk = SimulatedDisk()
    truth = await lived_in(disk, note, open_on)
    names = [one for one in disk.all_names() if one.startswith("segments/")]
    disk.remove(names[1])
    with pytest.raises(StorageDamaged, match="repair"):
        async with open_on(disk):
            pass
    report = await repair("", disk=disk)
    assert {one.session for one in report.lost} >= {"a", "c"}
    assert report.ranges[0].file == names[1]
    found = await contents(disk, open_on)
    assert_only_truth(found, truth)
    assert found["a"][0].last_seq == 10


async def test_what_hangs_in_the_air_is_cut(note, open_on):
    """Without a checkpoint after the gap, a session ends before it, and can be written again."""
    disk = SimulatedDisk()
    async with open_on(disk, durability="always", segment_bytes_max=500) as store:
        claim = await store.claim("s", "me")
        for number in range(12):
            await store.append("s", claim.epoch, number, [note(number + 1)])
    names = [one for one in disk.all_names() if one.startswith("segments/")]
    disk.flip_bit(names[2], 300 * 8)
    report = await repair("", disk=disk)
    (lost,) = report.lost
    assert (lost.session, lost.last_seq) == ("s", 12)
    assert lost.file == names[2]
    found = await contents(disk, open_on)
    assert found["s"][0].last_seq == lost.first_seq - 1
    assert [one.record for one in found["s"][1]] == [note(n + 1) for n in range(lost.first_seq - 1)]


@pytest.mark.parametrize("step", range(1, 30))
async def test_a_repair_that_is_cut_off_can_be_run_again(step, note, open_on):
    """Power lost at any of its steps: the store never shows anything but truth, then is repaired."""
    for seed in range(3):
        disk = SimulatedDisk(seed=seed)
        truth = await lived_in(disk, note, open_on, index=True)
        names = [one for one in disk.all_names() if one.startswith("segments/")]
        disk.flip_bit(names[1], 2500)
        disk.flip_bit("claims.log", 300)
        disk.fail_at(step)
        try:
            await repair("", disk=disk)
        except StorageError:
            pass
        disk.lose_power()
        await repair("", disk=disk)
        assert_only_truth(await contents(disk, open_on), truth)


async def test_a_store_in_use_is_not_repaired(tmp_path, note):
    """While any process has it open, the repair refuses; the check does not."""
    async with open_embedded_store(tmp_path) as store:
        claim = await store.claim("s", "me")
        await store.append("s", claim.epoch, 0, [note(1)])
        with pytest.raises(StorageUnavailable, match="has the store open"):
            await repair(tmp_path)
        assert (await verify(tmp_path)).ok
    assert (await repair(tmp_path)).files == ()
    async with open_embedded_store(tmp_path) as store:
        assert len(await store.read("s")) == 1
