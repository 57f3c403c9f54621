"""Group commit, bounds, cancellation, and the folder."""

from __future__ import annotations

import os
import threading

import pytest
import trio

from actrio.errors import (
    Conflict,
    InvalidRequest,
    LimitExceeded,
    NotSupported,
    SessionFenced,
    StorageDamaged,
    StorageUnavailable,
)
from actrio.journal import (
    InputAccepted,
    MemoryStore,
    RealDisk,
    _pending,
    clean_namespace,
    open_embedded_store,
    record_codec,
    redact_record,
    store_folder,
)
from actrio.messages import user_message
from actrio.testing import SimulatedDisk


class SlowDisk(RealDisk):
    """A disk whose syncs wait for a person to let them go on."""

    def __init__(self, root):
        super().__init__(root)
        self.gate = threading.Event()
        self.gate.set()
        self.at_the_gate = threading.Event()

    def open(self, name, *, create=False):
        file, disk = super().open(name, create=create), self

        class SlowFile:
            def __getattr__(self, attribute):
                return getattr(file, attribute)

            def sync(self):
                disk.at_the_gate.set()
                disk.gate.wait(10)
                file.sync()

        return SlowFile()


async def test_appends_that_arrive_during_a_sync_share_the_next_one(tmp_path, note):
    """A hundred sessions that wait for one sync are acknowledged by one more."""
    disk = SlowDisk(tmp_path)
    async with open_embedded_store(tmp_path, durability="always", disk=disk) as store:
        claims = [await store.claim(f"s{number}", "me") for number in range(101)]
        disk.at_the_gate.clear()
        disk.gate.clear()
        before = store.statistics().syncs
        async with trio.open_nursery() as nursery:
            nursery.start_soon(store.append, "s100", claims[100].epoch, 0, [note(0)])
            await trio.to_thread.run_sync(disk.at_the_gate.wait, 10)
            for claim in claims[:100]:
                nursery.start_soon(store.append, claim.session, claim.epoch, 0, [note(1)])
            await trio.testing.wait_all_tasks_blocked()
            assert store.statistics().append_items_waiting == 101
            disk.gate.set()
        assert store.statistics().syncs - before == 2
        assert store.statistics().append_items_waiting == 0


async def test_a_cancel_during_the_write_waits_for_what_comes_of_it(tmp_path, note):
    """An append in flight returns what came of it; one that waits is taken back."""
    disk = SlowDisk(tmp_path)
    results = []
    async with open_embedded_store(tmp_path, durability="always", disk=disk) as store:
        claims = [await store.claim(name, "me") for name in ("flying", "waiting")]
        disk.at_the_gate.clear()
        disk.gate.clear()

        async def append(claim, scope):
            with scope:
                results.append(
                    (claim.session, await store.append(claim.session, claim.epoch, 0, [note(1)]))
                )

        async with trio.open_nursery() as nursery:
            scopes = [trio.CancelScope(), trio.CancelScope()]
            nursery.start_soon(append, claims[0], scopes[0])
            await trio.to_thread.run_sync(disk.at_the_gate.wait, 10)
            nursery.start_soon(append, claims[1], scopes[1])
            await trio.testing.wait_all_tasks_blocked()
            for scope in scopes:
                scope.cancel()
            await trio.testing.wait_all_tasks_blocked()
            assert results == []
            assert store.statistics().append_items_waiting == 1
            disk.gate.set()
        assert results == [("flying", 1)]
        assert [entry.session for entry in await store.list()] == ["flying"]


async def test_a_tool_start_is_synced_whatever_the_durability_is(note, open_on):
    """An append that asks for it has been synced when it returns."""
    for durability in ("none", "batch"):
        disk = SimulatedDisk()
        with pytest.raises(StorageUnavailable):
            async with open_on(disk, durability=durability, batch_seconds=3600) as store:
                claim = await store.claim("s", "me")
                await store.append("s", claim.epoch, 0, [note(1)], sync=True)
                await store.append("s", claim.epoch, 1, [note(2)])
                await store.read("s")
                disk.lose_power()
        async with open_on(disk) as store:
            assert len(await store.read("s", 1)) >= 1


async def test_who_finds_no_room_waits_in_line(note, open_on, monkeypatch):
    """What waits to be written is bounded; the bound is first come, first served."""
    room = _pending.Room(items_max=5, bytes_max=100)
    order = []

    async def take(size):
        await room.take(size)
        order.append(size)

    async with trio.open_nursery() as nursery:
        for size in (60, 90, 10):
            nursery.start_soon(take, size)
            await trio.testing.wait_all_tasks_blocked()
        assert order == [60]
        room.give(60)
        await trio.testing.wait_all_tasks_blocked()
        assert sorted(order) == [10, 60, 90]
        nursery.start_soon(take, 1000)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert (room.items, room.bytes, room.items_peak) == (2, 100, 2)


async def test_nothing_is_written_under_a_claim_after_its_removal(note, open_on):
    """What waits behind a removal is refused: later nobody could tell that it came after it."""
    disk = SimulatedDisk()
    results = []
    async with open_on(disk, durability="always") as store:
        claim = await store.claim("s", "me")
        await store.append("s", claim.epoch, 0, [note(1)])

        async def append():
            try:
                results.append(await store.append("s", claim.epoch, 0, [note(2)]))
            except (SessionFenced, Conflict) as error:
                results.append(error)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(store.remove, claim)
            for _ in range(5):
                nursery.start_soon(append)
                await trio.lowlevel.checkpoint()
        assert len(results) == 5
        assert not any(isinstance(one, int) for one in results)
    async with open_on(disk) as store:
        assert await store.list() == ()


async def test_an_append_larger_than_the_bound_is_refused(note, open_on, monkeypatch):
    """One append has a largest size."""
    monkeypatch.setattr(_pending, "APPEND_BYTES_MAX", 1000)
    async with open_on(SimulatedDisk()) as store:
        claim = await store.claim("s", "me")
        with pytest.raises(LimitExceeded, match="1000"):
            await store.append("s", claim.epoch, 0, [note(1, "x" * 2000)])


async def test_leaving_the_block_writes_what_was_accepted(note, open_on, autojump_clock):
    """Also with `none`, and also when the block is cancelled."""
    disk = SimulatedDisk()
    with trio.CancelScope() as scope:
        async with open_on(disk, durability="none") as store:
            claim = await store.claim("s", "me")
            for number in range(5):
                await store.append("s", claim.epoch, number, [note(number)])
            scope.cancel()
            await trio.sleep_forever()
    disk.lose_power()
    async with open_on(disk) as store:
        assert len(await store.read("s")) == 5
    with pytest.raises(StorageUnavailable, match="closed"):
        await store.append("s", claim.epoch, 5, [note(5)])


async def test_the_blocks_own_error_comes_out_as_it_was(open_on):
    """An error of the body is not wrapped in a group."""
    with pytest.raises(ZeroDivisionError):
        async with open_on(SimulatedDisk()):
            1 / 0


async def test_planted_keys_never_reach_the_disk(tmp_path):
    """Neither a text that looks like a key nor a configured field is in any file."""
    redact = redact_record(
        text=lambda text: text.replace("sk-planted", "[key]"), fields=["password"]
    )
    async with open_embedded_store(tmp_path, redact=redact) as store:
        claim = await store.claim("s", "me")
        message = user_message("my key is sk-planted, keep it")
        await store.append("s", claim.epoch, 0, [InputAccepted(turn="t", message=message)])
        from actrio.journal import StateChanged

        state = StateChanged(values={"deep": [{"password": "planted-word", "user": "me"}]})
        await store.append("s", claim.epoch, 1, [state])
        found = await store.read("s")
        assert found[0].record.message.text == "my key is [key], keep it"
        assert found[1].record.values == {"deep": [{"password": "[redacted]", "user": "me"}]}
    for path in tmp_path.rglob("*"):
        assert path.is_dir() or b"planted" not in path.read_bytes()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
async def test_a_folder_without_permission_is_told(tmp_path):
    """The error names the cause and what to do."""
    tmp_path.chmod(0o500)
    with pytest.raises(StorageUnavailable, match="permission"):
        async with open_embedded_store(tmp_path / "store"):
            pass


async def test_a_file_in_the_folders_place_is_told(tmp_path):
    """What cannot be a folder is refused in words."""
    (tmp_path / "store").write_text("x")
    with pytest.raises(StorageUnavailable, match="refuses"):
        async with open_embedded_store(tmp_path / "store"):
            pass


async def test_a_renamed_segment_is_found_out(tmp_path, note):
    """A segment under another's name is damage."""
    async with open_embedded_store(tmp_path) as store:
        claim = await store.claim("s", "me")
        await store.append("s", claim.epoch, 0, [note(1)])
    only = tmp_path / "segments" / "0000-00000001.seg"
    only.rename(only.with_name("0003-00000001.seg"))
    with pytest.raises(StorageDamaged, match="does not begin"):
        async with open_embedded_store(tmp_path):
            pass


def test_namespaces_are_names_of_folders(tmp_path):
    """Illegal characters go, case is folded, what is empty is `default`."""
    assert clean_namespace("My Team/../x") == "myteam..x"
    assert [clean_namespace(name) for name in ("", "..", "日本", "/")] == ["default"] * 4
    folder = store_folder("A b", env={"ACTRIO_DATA_DIR": str(tmp_path)})
    assert folder == tmp_path / "journal" / "ab"


def test_a_record_of_a_newer_version_is_not_guessed():
    """What this version does not know is refused in words; an older one needs its migration."""
    with pytest.raises(NotSupported, match="newer"):
        record_codec.from_dict({"kind": "state.changed", "v": 99, "body": {}})
    with pytest.raises(NotSupported, match="not known"):
        record_codec.from_dict({"kind": "other", "v": 1, "body": {}})
    with pytest.raises(NotSupported, match="brought"):
        record_codec.from_dict({"kind": "state.changed", "v": 0, "body": {}})
    with pytest.raises(InvalidRequest):
        record_codec.from_dict({"kind": "state.changed", "v": 1, "body": {"values": 3}})


async def test_both_stores_are_stores():
    """The classes have every verb of both ports."""
    from actrio.journal import EmbeddedStore, HousekeepingPort, StorePort

    for port in (StorePort, HousekeepingPort):
        verbs = [name for name in vars(port) if not name.startswith("_")]
        assert all(hasattr(store, verb) for store in (MemoryStore, EmbeddedStore) for verb in verbs)
