"""A store that fails where a test says, and the store of a simulation."""

from __future__ import annotations

import contextlib

import pytest
import trio

from actrio.errors import StorageFull, StorageUnavailable
from actrio.journal import MemoryStore
from actrio.testing import STORE_CHECKS, FaultyStore, Ports, StoreFault, simulate


@pytest.mark.parametrize("check", STORE_CHECKS, ids=lambda check: check.__name__)
async def test_without_a_plan_it_is_the_store(check):
    """It passes every check of a store."""

    @contextlib.asynccontextmanager
    async def opened():
        yield FaultyStore(MemoryStore())

    await check(opened)


async def test_it_fails_where_the_plan_says(note):
    """The n-th append fails and leaves nothing; the next goes on, unless it is for good."""
    plan = [
        StoreFault(append=2, error="full"),
        StoreFault(append=4, error="unavailable", for_good=True),
    ]
    store = FaultyStore(MemoryStore(), plan)
    claim = await store.claim("s", "me")
    assert await store.append("s", claim.epoch, 0, [note(1)]) == 1
    with pytest.raises(StorageFull, match="plan"):
        await store.append("s", claim.epoch, 1, [note(2)])
    assert await store.append("s", claim.epoch, 1, [note(2)]) == 2
    for _ in range(3):
        with pytest.raises(StorageUnavailable):
            await store.append("s", claim.epoch, 2, [note(3)])
    assert (store.appends, store.failed) == (6, 4)
    assert [one.record for one in await store.read("s")] == [note(1), note(2)]


async def test_it_tarries_where_the_plan_says(note, autojump_clock):
    """In Trio time; cancelled meanwhile, nothing is written."""
    plan = [StoreFault(append=number, error=None, delay_seconds=5) for number in (1, 2)]
    store = FaultyStore(MemoryStore(), plan)
    claim = await store.claim("s", "me")
    began = trio.current_time()
    with trio.move_on_after(1):
        await store.append("s", claim.epoch, 0, [note(1)])
    assert trio.current_time() - began == 1
    assert await store.append("s", claim.epoch, 0, [note(1)]) == 1
    assert trio.current_time() - began == 6


def test_a_simulated_program_has_a_store(note):
    """In memory, by the simulated clock, so that it repeats with its seed."""

    async def main(ports: Ports):
        claim = await ports.store.claim("s", "me")
        await trio.sleep(3)
        await ports.store.append("s", claim.epoch, 0, [note(1)])
        ref = await ports.store.blobs.put(b"x", media_type="text/plain")
        (entry,) = await ports.store.list()
        return entry.created - ports.clock.utc(), await ports.store.blobs.get(ref.id)

    assert simulate(main, seed=1) == (0.0, b"x")
