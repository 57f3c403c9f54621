"""What turns leave to the garbage collector, and how it is set for a process that serves."""

from __future__ import annotations

import gc

import pytest

from actrio import Agent, open_runtime
from actrio.runtime import tune_collector

AGENT = Agent("a", model="scripted:echo")


@pytest.fixture
def collector():
    """Put the collector back as it was."""
    thresholds, frozen = gc.get_threshold(), gc.get_freeze_count()
    yield
    gc.set_threshold(*thresholds)
    if not frozen:
        gc.unfreeze()
    gc.enable()


@pytest.mark.usefixtures("collector")
async def test_a_session_leaves_nothing_to_the_collector():
    """Opened, one turn, closed: all of it goes by reference counts."""
    async with open_runtime(env={}) as runtime:

        async def one():
            async with runtime.session(AGENT) as session:
                await session.ask("hello")
                async with session.turn("again") as turn:
                    async for _ in turn:
                        pass

        for _ in range(3):
            await one()
        gc.collect()
        gc.disable()
        for _ in range(5):
            await one()
        assert gc.collect() <= 5, "less than one thing per session"


@pytest.mark.usefixtures("collector")
def test_tuning_is_done_once():
    """The second call freezes nothing more."""
    tune_collector()
    thresholds, frozen = gc.get_threshold(), gc.get_freeze_count()
    assert thresholds[0] >= 10_000
    assert frozen
    kept = [[] for _ in range(1000)]
    tune_collector()
    assert gc.get_freeze_count() <= frozen
    assert len(kept) == 1000
