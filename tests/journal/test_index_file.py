"""Opening from the index file shows what reading every segment would, or says that something is off."""

from __future__ import annotations

import contextlib
import random

import pytest

from actrio.errors import NotFound, StorageDamaged, StorageError
from actrio.journal import ApprovalAsked, ApprovalDecided, Checkpoint
from actrio.journal._order import SortedIds
from actrio.journal._verify import verify_disk
from actrio.testing import SimulatedDisk

INDEX = "index.snap"


class CountingDisk(SimulatedDisk):
    """A disk that says which files were read whole."""

    def __init__(self):
        super().__init__()
        self.read_names = []

    def read(self, name):
        self.read_names.append(name)
        return super().read(name)


async def contents(store):
    """Return everything that a store shows."""
    found = {}
    for entry in await store.list():
        records = await store.read(entry.session, entry.first_seq)
        assert [one.seq for one in records] == list(range(entry.first_seq, entry.last_seq + 1))
        found[entry.session] = (
            (entry.first_seq, entry.checkpoint_seq, entry.waiting, entry.created, entry.updated),
            [one.record for one in records],
        )
    return found


async def lived_in(disk, note, open_on, **options):
    """Write a store with trims, removals, approvals that wait; return what it shows at the end."""
    options = {"durability": "always", "segment_bytes_max": 900, "index_bytes_max": 0, **options}
    times = iter(range(1000, 10_000))
    async with open_on(disk, now=lambda: float(next(times)), **options) as store:
        for name in ("a", "b", "gone", "again"):
            claim = await store.claim(name, "me")
            asked = ApprovalAsked(turn="t", approval="a", step=1, position=0)
            await store.append(
                name, claim.epoch, 0, [note(1, name), Checkpoint(snapshot={}), asked]
            )
            if name == "b":
                await store.trim(claim, 2)
                decided = ApprovalDecided(turn="t", approval="a", decision="denied")
                await store.append(name, claim.epoch, 3, [decided])
        for name in ("gone", "again"):
            await store.remove(await store.claim(name, "me"))
        claim = await store.claim("again", "me")
        await store.append("again", claim.epoch, 0, [note(2)])
        return await contents(store)


async def test_opening_reads_what_is_behind_the_index_only(note, open_on):
    """Sealed segments are not touched; what is shown is the same."""
    disk = CountingDisk()
    before = await lived_in(disk, note, open_on)
    assert len([one for one in disk.all_names() if one.startswith("segments/")]) > 2
    disk.read_names.clear()
    async with open_on(disk) as store:
        assert len([one for one in disk.read_names if one.startswith("segments/")]) <= 1
        assert await contents(store) == before
        assert [one.session for one in await store.list(waiting_only=True)] == ["a"]
        assert store.statistics().index_problem is None


@pytest.mark.parametrize("kind", ["missing", "torn", "flipped"])
async def test_without_a_good_index_the_segments_tell(kind, note, open_on):
    """Missing, cut off at any length, rotten anywhere: the same is shown, and the reason told."""
    disk = SimulatedDisk()
    before = await lived_in(disk, note, open_on)
    whole = disk.read(INDEX)
    variants = {
        "missing": [None],
        "torn": [whole[:size] for size in range(0, len(whole), 5)],
        "flipped": [_flipped(whole, bit) for bit in range(0, len(whole) * 8, 11)],
    }[kind]
    bad = kind != "missing"
    for content in variants:
        if content is None:
            disk.remove(INDEX)
        else:
            disk.replace(INDEX, content)
        async with open_on(disk, durability="always", index_bytes_max=10**6) as store:
            assert await contents(store) == before
            assert bool(store.statistics().index_problem) == bad
            report = await store.verify()
            assert report.ok
            assert [one.file for one in report.warnings] == [INDEX] * bad
        # Closing wrote a good one in the place of one that does not check.
        assert verify_disk(disk).warnings == ()


async def test_an_index_of_long_ago_brings_nothing_back(note, open_on):
    """What was removed since is not shown, also when removals are all that is behind it."""
    disk = SimulatedDisk()
    options = {"durability": "always", "segment_bytes_max": 500}
    async with open_on(disk, index_bytes_max=0, **options) as store:
        for name in ("gone", "kept"):
            claim = await store.claim(name, "me")
            await store.append(name, claim.epoch, 0, [note(1), note(2)])
    old = disk.read(INDEX)
    async with open_on(disk, **options) as store:
        await store.remove(await store.claim("gone", "me"))
        claim = await store.claim("kept", "me")
        await store.append("kept", claim.epoch, 2, [note(3), Checkpoint(snapshot={})])
        before = await contents(store)
    assert disk.read(INDEX) == old
    async with open_on(disk, **options) as store:
        assert await contents(store) == before
        with pytest.raises(NotFound):
            await store.read("gone")
        assert (await store.verify()).warnings == ()


def _flipped(data, bit):
    flipped = bytearray(data)
    flipped[bit // 8] ^= 1 << bit % 8
    return bytes(flipped)


async def test_every_flipped_bit_is_reported_with_an_index_too(note, open_on):
    """By opening, by the read that meets it, and always by verify; never is less shown."""
    disk = SimulatedDisk()
    before = await lived_in(disk, note, open_on)
    kept = {name: disk.read(name) for name in disk.all_names()}
    told = {"opening": 0, "reading": 0, "index": 0, "dead": 0}
    for name, content in kept.items():
        for bit in range(0, len(content) * 8, 19):
            disk.flip_bit(name, bit)
            report = verify_disk(disk)
            assert name in {one.file for one in (*report.problems, *report.warnings)}
            assert report.ok == (name == INDEX)
            told[await _reported(disk, name, before, open_on)] += 1
            for one, whole in kept.items():
                if disk.read(one) != whole:
                    disk.replace(one, whole)
    assert min(told.values()) > 10, told


async def _reported(disk, name, before, open_on):
    """Return who reports the damage in ``name``: opening, reading, or neither as it is not live."""
    step, shown, problem = "opening", None, None
    try:
        async with open_on(disk, durability="always", index_bytes_max=10**6) as store:
            step, problem = "reading", store.statistics().index_problem
            shown = await contents(store)
    except StorageDamaged as error:
        return step if error.file == name else error.file
    assert shown == before
    assert bool(problem) == (name == INDEX)
    return "index" if name == INDEX else "dead"


async def test_segments_that_end_before_the_index_are_damaged(note, open_on):
    """A cut at the border of two frames looks whole, but the index file knows better."""
    disk = SimulatedDisk()
    await lived_in(disk, note, open_on)
    last = [one for one in disk.all_names() if one.startswith("segments/")][-1]
    content = disk.read(last)
    disk.replace(last, content[:-1])
    with pytest.raises(StorageDamaged, match="gone"):
        async with open_on(disk):
            pass
    disk.remove(last)
    with pytest.raises(StorageDamaged, match="missing"):
        async with open_on(disk):
            pass


async def test_the_index_is_written_while_the_store_is_open(note, open_on):
    """After so many bytes, not only at the end, and appends go on."""
    disk = SimulatedDisk()
    async with open_on(disk, index_bytes_max=2000, segment_bytes_max=3000) as store:
        claim = await store.claim("s", "me")
        last = 0
        while INDEX not in disk.all_names():
            last = await store.append("s", claim.epoch, last, [note(last + 1)])
            assert last < 100
        for _ in range(50):
            last = await store.append("s", claim.epoch, last, [note(last + 1)])
        assert (await store.verify()).ok
        assert (await store.verify()).warnings == ()


async def test_two_processes_write_one_index(note, open_on):
    """Whichever comes last, opening shows what both did."""
    disk = SimulatedDisk()
    options = {"index_bytes_max": 0, "segment_bytes_max": 900}
    async with open_on(disk, **options) as one:
        first = await one.claim("one", "one")
        await one.append("one", first.epoch, 0, [note(1)])
        async with open_on(disk, **options) as two:
            claim = await two.claim("two", "two")
            await two.append("two", claim.epoch, 0, [note(1), Checkpoint(snapshot={})])
            await one.append("one", first.epoch, 1, [note(2)])
            await two.append("two", claim.epoch, 2, [note(3)])
        await one.append("one", first.epoch, 2, [note(3)])
        await one.remove(await one.claim("two", "one"))
    async with open_on(disk) as store:
        assert list(await contents(store)) == ["one"]
        assert (await store.verify()).ok


class Model:
    """What a store should show."""

    def __init__(self):
        self.sessions = {}

    def shown(self):
        return {
            name: ((one["first"], one["waiting"]), one["records"][one["first"] - 1 :])
            for name, one in self.sessions.items()
        }


async def shown(store):
    return {
        name: ((told[0], told[2]), records)
        for name, (told, records) in (await contents(store)).items()
    }


async def some_work(store, model, chance, note):
    """Do one thing to one session, in the store and in the model."""
    name = chance.choice("abcdef")
    claim = await store.claim(name, f"w{chance.random()}", insist=True)
    kept = model.sessions.get(name)
    assert claim.last_seq == (len(kept["records"]) if kept else 0)
    what = chance.choice(["append"] * 6 + ["trim", "remove"])
    if what == "append":
        kept = model.sessions.setdefault(
            name, {"records": [], "first": 1, "waiting": 0, "check": 0}
        )
        records = []
        for _ in range(chance.randrange(1, 4)):
            kind = chance.randrange(5)
            if kind == 0:
                records.append(Checkpoint(snapshot={"n": chance.random()}))
                kept["check"] = len(kept["records"]) + len(records)
            elif kind == 1:
                records.append(ApprovalAsked(turn="t", approval="a", step=1, position=0))
                kept["waiting"] += 1
            elif kind == 2:
                records.append(ApprovalDecided(turn="t", approval="a", decision="denied"))
                kept["waiting"] = max(0, kept["waiting"] - 1)
            else:
                records.append(note(chance.random(), "x" * chance.randrange(200)))
        await store.append(name, claim.epoch, claim.last_seq, records)
        kept["records"] += records
    elif what == "trim" and kept and kept["check"]:
        before = chance.randrange(1, kept["check"] + 1)
        await store.trim(claim, before)
        kept["first"] = max(kept["first"], before)
    elif what == "remove" and kept:
        await store.remove(claim)
        del model.sessions[name]


@pytest.mark.parametrize("seed", range(80))
async def test_whatever_happens_the_store_shows_what_was_done(seed, note, open_on):
    """Appends, trims, removals, compactions, indexes, two processes, lost power: by a model."""
    chance = random.Random(seed)
    disk, model = SimulatedDisk(seed=seed), Model()
    options = {"durability": "always", "segment_bytes_max": chance.choice([600, 1500, 5000])}
    options["index_bytes_max"] = chance.choice([0, 1000, 5000, 10**6])
    for _ in range(8):
        power = chance.random() < 0.4
        with contextlib.suppress(StorageError) if power else contextlib.nullcontext():
            async with open_on(disk, **options) as one, open_on(disk, **options) as two:
                stores = (one, two) if chance.random() < 0.5 else (one,)
                for _ in range(chance.randrange(25)):
                    store = chance.choice(stores)
                    if chance.random() < 0.08:
                        await store.compact()
                    await some_work(store, model, chance, note)
                assert await shown(chance.choice(stores)) == model.shown()
                assert (await one.verify()).ok
                if power:
                    disk.lose_power()
        async with open_on(disk, **options) as store:
            assert await shown(store) == model.shown()
            if chance.random() < 0.5:
                await store.compact()
            assert await shown(store) == model.shown()
            report = await store.verify()
            assert (report.problems, report.warnings) == ((), ())


@pytest.mark.parametrize("seed", range(20))
def test_sorted_ids_are_a_sorted_set(seed, monkeypatch):
    """Whatever is added and removed, pages are those of a sorted list."""
    monkeypatch.setattr("actrio.journal._order.PIECE_MAX", 4)
    chance, ids, known = random.Random(seed), SortedIds(), set()
    for _ in range(300):
        one = str(chance.randrange(80))
        if one in known:
            ids.remove(one)
            known.remove(one)
        else:
            ids.add(one)
            known.add(one)
        after, limit = str(chance.randrange(80)), chance.randrange(10)
        assert ids.after(after, limit) == [x for x in sorted(known) if x > after][:limit]
        assert (len(ids), bool(ids)) == (len(known), bool(known))
