from __future__ import annotations

import json
import math
import signal
import subprocess
import sys
from typing import Any

import pytest
import trio
import trio.testing

from actrio.cli._crowd import Tally, peak_memory_bytes, percentile, tasks_alive
from actrio.errors import Overloaded
from actrio.messages import TurnResult, Usage


def test_percentiles_are_values_that_occurred() -> None:
    """A percentile is the smallest value that enough others do not exceed."""
    values = [float(number) for number in range(1, 101)]
    assert percentile(values, 0.5) == 50
    assert percentile(values, 0.95) == 95
    assert percentile(values, 1.0) == 100
    assert percentile([3.0], 0.5) == 3
    assert math.isnan(percentile([], 0.5))


def test_a_tally_counts_completed_turns_and_keeps_failures() -> None:
    """Only completed turns count for speed; each other one is kept with what it said."""
    tally = Tally()
    done = TurnResult(outcome="completed", stop_reason="end_turn", usage=Usage(3, 7))
    tally.count(done, begun=1.0, first=1.5, now=3.0)
    tally.count(
        TurnResult(outcome="failed", stop_reason="error", error=Overloaded("Full.")),
        begun=1.0,
        first=None,
        now=9.0,
    )
    assert (tally.turns, tally.tokens) == (1, 7)
    assert tally.latency_seconds == [2.0]
    assert tally.first_token_seconds == [0.5]
    assert tally.failures == ["Full."]


async def test_tasks_are_counted() -> None:
    """A task that is left running shows in the count, and one that ended does not."""
    before = tasks_alive()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep_forever)
        await trio.testing.wait_all_tasks_blocked()
        assert tasks_alive() == before + 1
        nursery.cancel_scope.cancel()
    assert tasks_alive() == before


def test_peak_memory_is_in_bytes() -> None:
    """A Python process with Trio in it takes more than 10 MB and less than 10 GB."""
    assert 10e6 < peak_memory_bytes() < 10e9


async def test_the_demo_ends_without_fault(actrio: Any) -> None:
    """Without a local model the first part is skipped and said so; the crowd leaves nothing."""
    done = await actrio(
        "demo", "--seconds", "1", "--sessions", "10", env={"GROQ_API_KEY": "not-shown-1234"}
    )
    assert done.code == 0, done.out + done.err
    told = {
        cells[1].strip(): cells[2].strip()
        for line in done.out.splitlines()
        if len(cells := line.split("│")) == 4
    }
    assert "skipped" in done.out
    assert int(told["turns completed"].partition(",")[0]) >= 10
    assert told["errors"] == told["dead letters"] == told["leftover tasks"] == "0"
    assert told["restarts"] == "0"
    assert told["connections"] == "10 at peak, 0 after"
    assert "groq is configured and could be used" in done.out
    assert "ollama" not in done.out
    assert "not-shown-1234" not in done.out + done.err
    assert "10 sessions" in done.err


async def test_the_demo_can_be_interrupted(started: Any) -> None:
    """Ctrl-C ends it with 130, its child process included."""
    async with started("demo", "--seconds", "60", stderr=subprocess.PIPE) as process:
        told = bytearray()
        while b"sessions" not in told:
            piece = await process.stderr.receive_some()
            assert piece
            told += piece
        process.send_signal(signal.SIGINT)
        assert await process.wait() == 130


async def test_the_scripted_process_ends_with_its_input() -> None:
    """It tells its port, answers each line with statistics, and ends when its input does."""
    async with trio.open_nursery() as nursery:
        process = await nursery.start(
            lambda task_status: trio.run_process(
                [sys.executable, "-m", "actrio.stress._provider_child"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                task_status=task_status,
            )
        )
        told = bytearray()
        await process.stdin.send_all(b"\n")
        while told.count(b"\n") < 2:
            told += await process.stdout.receive_some()
        port, statistics = map(json.loads, told.splitlines())
        assert 0 < port["port"] < 65536
        assert statistics["connections_open"] == 0
        await process.stdin.aclose()
        assert await process.wait() == 0


@pytest.mark.local
async def test_the_demo_with_the_real_model(actrio: Any) -> None:
    """With the local model installed, it calls the tool and answers with what the tool said."""
    import importlib.util

    from actrio.providers.local import installed_models

    installed = installed_models()
    if importlib.util.find_spec("xllamacpp") is None or not installed:
        pytest.skip("the extra actrio[local] or the model smollm2 is not installed")
    home = str(installed[0].path.parent.parent)
    done = await actrio(
        "demo", "--seconds", "0.5", "--sessions", "2", env={"ACTRIO_DATA_DIR": home}
    )
    assert done.code == 0, done.out + done.err
    assert "→ weather" in done.err
    assert "18" in done.out
