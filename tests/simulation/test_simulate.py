"""The harness itself: what repeats, what is noticed, what is put back."""

from __future__ import annotations

import sys
import threading
import time

import pytest
import trio

from actrio.errors import NotFound, NotSupported
from actrio.testing import SimulationStuck, simulate


async def interleaved(ports):
    """Let tasks race, and return in what order they ran."""
    order = []

    async def racer(name):
        for _ in range(5):
            order.append((name, round(ports.random.random(), 6)))
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        for name in "abcd":
            nursery.start_soon(racer, name)
    return order


def test_a_seed_repeats_and_another_differs():
    """Scheduling and randomness both come from the seed."""
    runs = [simulate(interleaved, seed=seed) for seed in (1, 1, 2)]
    assert runs[0] == runs[1] != runs[2]


def test_virtual_time_costs_nothing():
    """A day of sleep passes at once, and utc moves with it."""

    async def main(ports):
        before = ports.clock.utc()
        await trio.sleep(86_400)
        ports.clock.jump(10)
        return ports.clock.utc() - before, ports.clock.now()

    began = time.monotonic()
    assert simulate(main, seed=0) == (86_410, 86_410)
    assert time.monotonic() - began < 5


def test_a_deadlock_is_a_failure_that_shows_where_each_task_waits():
    """Nothing can ever run again: the run ends at once, with names and stacks."""

    async def waits_for_ever(ports):
        await trio.Event().wait()

    async def main(ports):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(waits_for_ever, ports, name="the one that hangs")

    began = time.monotonic()
    with pytest.raises(
        SimulationStuck, match=r"(?s)no deadline.*the one that hangs.*waits_for_ever"
    ):
        simulate(main, seed=0)
    assert time.monotonic() - began < 5


def test_a_loop_in_real_time_is_a_failure():
    """Tasks that run for ever at one virtual time are ended by the guard's thread."""

    async def spins(ports):
        while True:
            await trio.lowlevel.checkpoint()

    with pytest.raises(SimulationStuck, match=r"(?s)did not end within 0\.2 s.*spins"):
        simulate(spins, seed=0, hang_seconds=0.2)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_loop_without_a_schedule_point_is_a_failure_too():
    """The thread raises in the Trio thread where nothing else helps."""

    async def burns(ports):
        await trio.lowlevel.checkpoint()
        while True:
            pass

    with pytest.raises(SimulationStuck, match=r"(?s)did not end.*burns"):
        simulate(burns, seed=0, hang_seconds=0.2)


def test_everything_is_as_before_afterwards():
    """Trio's own scheduling is put back, also after a failure; no thread is left."""

    async def fails(ports):
        raise KeyError("mine")

    run = sys.modules["trio._core._run"]
    before = run._ALLOW_DETERMINISTIC_SCHEDULING, run._r, threading.active_count()
    with pytest.raises(KeyError):
        simulate(fails, seed=0)
    assert (run._ALLOW_DETERMINISTIC_SCHEDULING, run._r, threading.active_count()) == before


def test_simulated_files_forget_what_was_not_synced():
    """A power loss takes back everything since the last sync."""

    async def main(ports):
        ports.files.append("log", b"one ")
        ports.files.sync()
        ports.files.append("log", b"two")
        ports.files.write("new", b"x")
        ports.files.rename("new", "renamed")
        assert list(ports.files) == ["log", "renamed"]
        ports.files.lose_power()
        assert ports.files.read("log") == b"one "
        with pytest.raises(NotFound):
            ports.files.read("renamed")
        return ports.ids.new("s"), ports.ids.new("s")

    assert simulate(main, seed=0) == ("s_000001", "s_000002")


def test_ports_that_do_not_exist_say_what_to_do_instead():
    """HTTP is absent, not stubbed."""

    async def main(ports):
        for name in ("http",):
            with pytest.raises(NotSupported) as caught:
                getattr(ports, name)
            assert caught.value.remedy

    simulate(main, seed=0)
