"""Space is given back, nothing acknowledged is lost, nothing removed comes back."""

from __future__ import annotations

import pytest
import trio

from actrio.errors import NotFound, StorageDamaged, StorageError
from actrio.journal import Checkpoint, open_embedded_store
from actrio.journal._compaction import SegmentUse, plan_runs
from actrio.journal._rows import Segment, row_of, segment_name
from actrio.testing import SimulatedDisk


def use(number, live, dead):
    segment = Segment(0, number, number, segment_name(0, number), packed=False)
    return SegmentUse(segment, live + dead, live, dead)


def runs(*uses, most=100):
    planned = plan_runs([use(n, *one) for n, one in enumerate(uses, 1)], segment_bytes_max=most)
    return [[one.segment.first for one in run] for run in planned]


def test_what_is_mostly_dead_is_rewritten_with_its_neighbours():
    """Runs are neighbours, fit into one file, and give something back."""
    assert runs((90, 10), (40, 60), (90, 10)) == [[2]]
    assert runs((10, 90), (20, 80), (80, 20), (0, 100)) == [[1, 2], [4]]
    assert runs((40, 60), (40, 60), (40, 60)) == [[1, 2], [3]]
    assert runs((5, 0), (6, 0), (90, 0), (7, 0)) == [[1, 2]]
    assert runs() == []
    assert runs((5, 0)) == []


def test_the_file_that_stands_for_more_counts():
    """Whatever a lost power leaves of the old ones, each segment is counted once."""

    def file(first, last, *, packed=True):
        name = segment_name(0, first, last if packed else None)
        return Segment(0, first, last, name, packed)

    row = row_of([file(1, 1, packed=False), file(1, 1), file(1, 3), file(4, 4, packed=False)])
    assert [(one.first, one.last) for one in row.segments] == [(1, 3), (4, 4)]
    assert row.superseded == (segment_name(0, 1, 1), segment_name(0, 1))
    assert row.missing is None
    assert row_of([file(2, 2, packed=False)]).missing == 1
    assert row_of([file(1, 1, packed=False), file(3, 3, packed=False)]).missing == 2
    assert row.covering(2) == file(1, 3)


async def lived_in(store, note, *, sessions=6, records=12):
    """Write sessions of which some are trimmed, some removed, one removed and begun anew."""
    for turn in range(records):
        for number in range(sessions):
            name = f"s{number}"
            claim = await store.claim(name, "me")
            record = note(turn + 1, name) if turn % 5 != 4 else Checkpoint(snapshot={"n": turn + 1})
            await store.append(name, claim.epoch, turn, [record])
    for number in range(0, sessions, 3):
        claim = await store.claim(f"s{number}", "me")
        await store.trim(claim, claim.checkpoint_seq)
    for number in range(1, sessions, 3):
        await store.remove(await store.claim(f"s{number}", "me"))
    claim = await store.claim("s1", "me")
    await store.append("s1", claim.epoch, 0, [note(1, "new")])


async def contents(store):
    """Return everything that can be read."""
    found = {}
    for entry in await store.list():
        records = await store.read(entry.session, entry.first_seq)
        assert [one.seq for one in records] == list(range(entry.first_seq, entry.last_seq + 1))
        found[entry.session] = [(one.seq, one.ts, one.record) for one in records]
    return found


async def test_what_is_not_live_is_given_back(tmp_path, note):
    """The files shrink, everything is read as before, and the texts of the removed are gone."""
    async with open_embedded_store(tmp_path, segment_bytes_max=2000) as store:
        await lived_in(store, note)
        before = await contents(store)
        claim = await store.claim("s2", "me")
        last = await store.append("s2", claim.epoch, claim.last_seq, [note(1, "filler")] * 12)
        for _ in range(4):  # the segment with the last removals is full, too
            last = await store.append("s2", claim.epoch, last, [note(1, "filler")] * 12)
        report = await store.compact()
        assert report.bytes_after < 0.7 * report.bytes_before
        assert report.segments_after < report.segments_before
        assert (await store.verify()).ok
        after = await contents(store)
        after["s2"] = after["s2"][: len(before["s2"])]
        assert after == before
        with pytest.raises(NotFound):
            await store.read("s0", 1)
        with pytest.raises(NotFound):
            await store.read("s4")
        again = await store.compact()
        assert again.bytes_after == again.bytes_before
        rewritten = b"".join(path.read_bytes() for path in tmp_path.rglob("????-*-*.seg"))
        assert rewritten
        assert b'{"session":"s4","seq"' not in rewritten
    async with open_embedded_store(tmp_path, segment_bytes_max=2000) as store:
        after = await contents(store)
        assert "s4" not in after
        assert [record for _, _, record in after["s1"]] == [note(1, "new")]
        claim = await store.claim("s4", "me")
        assert claim.last_seq == 0
        assert (await store.verify()).ok


async def test_appends_go_on_during_a_compaction(tmp_path, note):
    """Nobody waits for it, and what is appended meanwhile is there."""
    async with open_embedded_store(tmp_path, segment_bytes_max=2000) as store:
        await lived_in(store, note, sessions=9)
        compacted = trio.Event()

        async def appending():
            claim = await store.claim("beside", "me")
            last = 0
            while not compacted.is_set():
                last = await store.append("beside", claim.epoch, last, [note(last + 1)])

        async with trio.open_nursery() as nursery:
            nursery.start_soon(appending)
            await store.compact()
            compacted.set()
        assert (await store.verify()).ok
        beside = await store.read("beside", 1)
        assert len(beside) > 10
        assert [one.record.values["n"] for one in beside] == list(range(1, len(beside) + 1))


async def test_one_call_writes_only_so_much(tmp_path, note):
    """A call ends when it has written enough, and the next goes on until nothing is left to do."""
    async with open_embedded_store(tmp_path, segment_bytes_max=2000) as store:
        await lived_in(store, note, sessions=9)
        before, reports = await contents(store), []
        while not reports or reports[-1].bytes_after < reports[-1].bytes_before:
            reports.append(await store.compact(bytes_max=1))
        assert len(reports) > 3
        assert await contents(store) == before
        assert (await store.compact()).segments_after == reports[-1].segments_after


@pytest.mark.parametrize("step", range(1, 60))
async def test_power_lost_at_every_step_of_a_compaction(step, note, open_on):
    """Whatever was done by then: what was read before is read after, and no more."""
    for seed in range(3):
        disk = SimulatedDisk(seed=seed)
        options = {"durability": "batch", "segment_bytes_max": 1500, "index_bytes_max": 3000}
        over = False
        try:
            async with open_on(disk, **options) as store:
                await lived_in(store, note)
                before = await contents(store)
                disk.fail_at(step)
                try:
                    await store.compact()
                    over = True
                except StorageError:
                    pass
                disk.lose_power()
        except StorageError:
            pass
        for _ in range(2):
            async with open_on(disk, **options) as store:
                after = await contents(store)
                if step > 1 or over:
                    assert set(after) <= {*before, "s4"}
                assert (await store.verify()).ok
                await store.compact()
                assert (await store.verify()).ok
                assert await contents(store) == after
        if step == 59:
            assert over


@pytest.mark.parametrize("step", range(1, 60))
async def test_a_compaction_that_fails_at_any_step_loses_nothing(step, note, open_on):
    """What was synced before is all there after; a removal or a trim is not undone."""
    for seed in range(3):
        disk = SimulatedDisk(seed=seed)
        options = {"durability": "always", "segment_bytes_max": 1500}
        try:
            async with open_on(disk, **options) as store:
                await lived_in(store, note)
                # With `always` trims are not synced by themselves: they only give permission.
                store._files.sync()
                before = await contents(store)
                disk.fail_at(step)
                try:
                    await store.compact()
                except StorageError:
                    pass
                disk.lose_power()
        except StorageError:
            pass
        for _ in range(2):
            async with open_on(disk, **options) as store:
                assert await contents(store) == before
                assert (await store.verify()).ok
                await store.compact()
                assert await contents(store) == before
            disk.lose_power()


async def test_a_compaction_cancelled_anywhere_leaves_a_whole_store(tmp_path, note):
    """What was done by then is kept, the rest is done by the next call."""
    async with open_embedded_store(tmp_path, segment_bytes_max=1500) as store:
        await lived_in(store, note)
        before = await contents(store)
        for steps in range(0, 60, 3):
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(store.compact, name="compaction")
                    for _ in range(steps):
                        await trio.lowlevel.checkpoint()
                    scope.cancel()
            assert await contents(store) == before
        await store.compact()
        assert await contents(store) == before
        assert (await store.verify()).ok


async def test_another_process_reads_on_while_segments_are_rewritten(tmp_path, note):
    """It keeps its places, learns of removals late, and is told the truth either way."""
    async with open_embedded_store(tmp_path, segment_bytes_max=2000) as one:
        async with open_embedded_store(tmp_path, segment_bytes_max=2000) as two:
            theirs = await two.claim("theirs", "two")
            for last in range(10):
                await two.append("theirs", theirs.epoch, last, [note(last + 1, "two")])
            await lived_in(one, note)
            before = await contents(one)
            await one.compact()
            assert await contents(two) == before
            assert await contents(one) == before
            with pytest.raises(NotFound):
                await two.read("s4")
            await two.append("theirs", theirs.epoch, 10, [note(11, "two")])
            assert len(await one.read("theirs", 1)) == 11
            assert (await two.verify()).ok
        # Its process is gone now: its segments may be rewritten, and removals forgotten.
        await one.compact()
        assert len(await one.read("theirs", 1)) == 11
        assert (await one.verify()).ok
    async with open_embedded_store(tmp_path) as one:
        assert "s4" not in await contents(one)
        assert len(await one.read("theirs", 1)) == 11


async def test_every_flipped_bit_of_a_rewritten_segment_is_reported(note, open_on):
    """Opening without an index, reading or verifying: one of them meets it, none reads it."""
    disk = SimulatedDisk()
    async with open_on(disk, durability="always", segment_bytes_max=1500) as store:
        await lived_in(store, note, sessions=3, records=8)
        await store.compact()
        before = await contents(store)
        names = [one for one in disk.all_names() if one.count("-") == 2]
        assert names
        for name in names:
            for bit in range(0, len(disk.read(name)) * 8, 5):
                disk.flip_bit(name, bit)
                assert name in {problem.file for problem in (await store.verify()).problems}
                try:
                    assert await contents(store) == before
                except StorageDamaged:
                    pass
                disk.flip_bit(name, bit)
        assert (await store.verify()).ok


async def test_damage_stops_a_compaction_and_is_left_as_it_is(note, open_on):
    """A segment that does not check is not rewritten."""
    disk = SimulatedDisk()
    async with open_on(disk, durability="always", segment_bytes_max=1500) as store:
        await lived_in(store, note)
        name = next(one for one in disk.all_names() if one.startswith("segments/"))
        disk.flip_bit(name, 8000)
        before = {one: disk.read(one) for one in disk.all_names() if one.endswith(".seg")}
        with pytest.raises(StorageDamaged):
            await store.compact()
        assert {one: disk.read(one) for one in before} == before
