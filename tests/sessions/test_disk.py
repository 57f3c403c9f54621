"""A disk that is full, refuses, or fails, and a clock that goes backwards: told, and no damage."""

from __future__ import annotations

import errno
import itertools
import os

import pytest
import trio

from actrio import Agent, open_runtime, tool
from actrio.errors import ActrioError, StorageError, StorageFull, StorageUnavailable
from actrio.runtime import Settings, StoreSettings
from actrio.testing import SimulatedDisk, history_problems

RAN = []


@tool
async def act(what: str) -> str:
    """Do something that cannot be undone."""
    RAN.append(what)
    return f"did {what}"


BUSY = Agent("busy", model="scripted:demo", tools=[act])
STORED = Settings(store=StoreSettings(kind="embedded", folder="simulated", durability="always"))


@pytest.fixture
def disk(monkeypatch):
    """The disk below every store that is opened; it outlives the runtimes on it."""
    found = SimulatedDisk(seed=1)
    monkeypatch.setattr("actrio.journal._embedded.RealDisk", lambda _root: found)
    return found


async def one_turn(runtime, prompt, *, id="s1"):
    """Hand a turn over and wait for its end; return what was acknowledged of it."""
    session = await runtime.open_session(BUSY, id=id)
    accepted = await session.submit(prompt)
    return accepted, await session.wait(accepted.turn)


async def test_a_full_disk_is_told_and_what_was_acknowledged_is_kept(disk):
    """The turn that finds it full fails with it; with room again the session goes on."""
    async with open_runtime(STORED, env={}) as runtime:
        await one_turn(runtime, "first")
        before = await runtime.view("s1")
        disk.bytes_max = 0
        with pytest.raises(StorageFull, match="disk is full") as caught:
            await one_turn(runtime, "second")
        assert "Free some room" in caught.value.remedy
        # What is on the disk is shown all the same.
        assert (await runtime.view("s1")).history == before.history
        assert (await runtime.sessions())[0].last_seq == before.last_seq
        assert await runtime.events("s1")
    disk.bytes_max = 1 << 24
    async with open_runtime(STORED, env={}) as runtime:
        assert (await runtime.view("s1")).history == before.history
        _, result = await one_turn(runtime, "second again")
        assert result.outcome == "completed"
        assert (await runtime.store.verify()).problems == ()


async def test_a_disk_that_fills_up_during_a_turn_ends_it_with_an_error(disk):
    """The owner sees a terminal event with the reason, and the tool did not run unrecorded."""
    RAN.clear()
    async with open_runtime(STORED, env={}) as runtime, runtime.session(BUSY, id="s1") as session:
        async with session.turn("go") as turn:
            async for _ in turn:
                disk.bytes_max = 0
        assert turn.result.outcome == "failed"
        assert isinstance(turn.result.error, StorageFull)
    assert RAN == []
    disk.bytes_max = 1 << 24
    async with open_runtime(STORED, env={}) as runtime:
        _, result = await one_turn(runtime, "again")
        assert result.outcome == "completed"
        view = await runtime.view("s1")
        assert history_problems(view.history) == []
        assert [each.state for each in view.turns] == ["cancelled", "completed"]


@pytest.mark.parametrize("number", [errno.EIO, errno.EROFS, errno.EACCES, errno.ENOSPC])
async def test_a_disk_that_fails_at_any_operation_damages_nothing(disk, number):
    """At the first, the second, the third …: what was acknowledged is there, and it goes on."""
    texts: set[str] = set()
    for step in itertools.count(1):
        name = f"s{step}"
        accepted: list[str] = []
        disk.fail_at(step, number=number)
        try:
            async with open_runtime(STORED, env={}) as runtime:
                for prompt in ("one", "two"):
                    told, _ = await one_turn(runtime, prompt, id=name)
                    accepted.append(told.turn)
        except StorageError as error:
            texts.add(f"{type(error).__name__}: {error.remedy}")
        untouched = disk._fail_at > disk.steps
        disk.fail_at(10**9)
        async with open_runtime(STORED, env={}) as runtime:
            assert (await runtime.store.verify()).problems == ()
            _, result = await one_turn(runtime, "more", id=name)
            assert result.outcome == "completed"
            view = await runtime.view(name)
            assert history_problems(view.history) == []
            known = [each.turn for each in view.turns]
            assert [turn for turn in known if turn in accepted] == accepted
        if untouched:
            break
    (text,) = texts
    assert text.startswith("StorageFull: F" if number == errno.ENOSPC else "StorageUnavailable: L")
    assert step > 20


async def test_sessions_can_be_read_where_they_cannot_be_written(disk):
    """Views, lists and replays, also of a session that was never in memory; no turn begins."""
    RAN.clear()
    async with open_runtime(STORED, env={}) as runtime:
        await one_turn(runtime, "first")
        before, events = await runtime.view("s1"), await runtime.events("s1")
    async with open_runtime(STORED, env={}) as runtime:
        disk.fail_at(1, number=errno.EROFS)
        assert (await runtime.view("s1")).history == before.history
        assert await runtime.events("s1") == events
        assert [each.session for each in await runtime.sessions()] == ["s1"]
        with pytest.raises(StorageUnavailable, match="refuses") as caught:
            await one_turn(runtime, "second")
        assert "permissions" in caught.value.remedy
    assert len(RAN) == 1


async def test_a_store_that_is_read_only_from_the_first_moment_does_not_open(disk):
    """It says so, and what is in it is as it was."""
    async with open_runtime(STORED, env={}) as runtime:
        await one_turn(runtime, "first")
        before = await runtime.view("s1")
    disk.fail_at(1, number=errno.EROFS)
    with pytest.raises(StorageUnavailable, match="Read-only file system"):
        async with open_runtime(STORED, env={}):
            pass
    disk.fail_at(10**9)
    async with open_runtime(STORED, env={}) as runtime:
        assert (await runtime.view("s1")).history == before.history


async def test_a_folder_that_cannot_be_one_is_named(tmp_path):
    """A file where the folder should be; without permission likewise."""
    (tmp_path / "taken").write_text("not a folder")
    settings = Settings(store=StoreSettings(kind="embedded", folder=str(tmp_path / "taken")))
    with pytest.raises(StorageUnavailable):
        async with open_runtime(settings, env={}):
            pass


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
async def test_a_folder_without_permission_is_told(tmp_path):
    """Not to be entered: the runtime does not open, and says which folder."""
    tmp_path.chmod(0o500)
    settings = Settings(store=StoreSettings(kind="embedded", folder=str(tmp_path / "store")))
    try:
        with pytest.raises(StorageUnavailable, match="refuses"):
            async with open_runtime(settings, env={}):
                pass
    finally:
        tmp_path.chmod(0o700)


async def test_a_clock_that_goes_backwards_disturbs_nothing(disk):
    """Order is by number; times are written down only."""
    moments = itertools.count(2_000_000_000.0, -3600.0)
    async with open_runtime(STORED, env={}, clock=lambda: next(moments)) as runtime:
        for prompt in ("one", "two", "three"):
            _, result = await one_turn(runtime, prompt)
            assert result.outcome == "completed"
        live = await runtime.view("s1")
        events = await runtime.events("s1")
        assert [each.seq for each in events] == list(range(1, len(events) + 1))
        assert events[-1].ts < events[0].ts
    async with open_runtime(STORED, env={}, clock=lambda: 1_000.0) as runtime:
        assert (await runtime.view("s1")).history == live.history
        assert await runtime.events("s1") == events
        _, result = await one_turn(runtime, "four")
        assert result.outcome == "completed"
        assert (await runtime.store.verify()).problems == ()


async def test_a_session_in_line_runs_when_the_disk_is_back(disk):
    """One write fails; the turns that stood behind it are not left waiting."""
    async with open_runtime(STORED, env={}) as runtime:
        session = await runtime.open_session(BUSY, id="s1")
        turns = [(await session.submit(f"{number}")).turn for number in range(3)]
        disk.fail_at(1, for_good=False)
        with trio.fail_after(10):
            for turn in turns:
                try:
                    await session.wait(turn)
                except ActrioError:
                    continue
    disk.fail_at(10**9)
    async with open_runtime(STORED, env={}) as runtime:
        session = await runtime.open_session(BUSY, id="s1")
        with trio.fail_after(10):
            for turn in turns:
                await session.wait(turn)
        assert history_problems((await session.view()).history) == []
