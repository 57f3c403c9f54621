"""What turns leave to the garbage collector, and how it is set for a process that serves."""

from __future__ import annotations

import gc
import itertools

import pytest

from actrio import Agent, open_runtime, tool
from actrio.runtime import Settings, StoreSettings, tune_collector


@tool
async def sun(city: str) -> str:
    """Tell the weather."""
    return f"sun in {city}"


@tool
async def storm(city: str) -> str:
    """Tell the weather."""
    raise RuntimeError(f"no way to {city}")


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
@pytest.mark.parametrize("kind", ["memory", "embedded"])
@pytest.mark.parametrize(
    "agent",
    [
        Agent("a", model="scripted:echo"),
        Agent("a", model="scripted:demo", tools=[sun]),
        Agent("a", model="scripted:demo", tools=[storm]),
    ],
    ids=["text", "tool", "tool that fails"],
)
async def test_a_session_leaves_nothing_to_the_collector(agent, kind, tmp_path):
    """Opened, two turns, closed: all of it goes by reference counts.

    Not so where a turn fails: its error's traceback knows all that the turn knew.
    """
    where = {"folder": tmp_path} if kind == "embedded" else {}
    settings = Settings(store=StoreSettings(kind=kind, **where))
    numbers = itertools.count()
    async with open_runtime(settings, env={}) as runtime:

        async def one():
            name = f"s{next(numbers)}" if kind == "embedded" else None
            async with runtime.session(agent, id=name) as session:
                for _ in range(2):
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
