"""Where sessions are kept under load, single turns in a file, and where a run took place."""

from __future__ import annotations

import json
import tempfile
from io import FileIO
from pathlib import Path

import pytest
import trio

from actrio.errors import ConfigError, NotSupported
from actrio.runtime import Settings, StoreSettings
from actrio.stress import Histogram, StressPlan, closed, report_text, stress
from actrio.stress._environment import environment
from actrio.stress._turn_lines import TurnLines
from actrio.stress._turns import Asked, Ending, Listener

MODEL = "scripted:tokens?ttft=10ms&itl=2ms&tokens=20"


@pytest.mark.parametrize("target", ["inproc", "stdio:", "http:"])
async def test_an_embedded_store_is_measured_checked_and_removed(
    run_plan, target, tmp_path, monkeypatch
):
    """Sessions are named then; what is written stands in the report, and the folder is gone."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    report = await run_plan(target=target, store="embedded", seconds=0.8, allow_saturated=True)
    assert report["verdict"]["exit"] == 0, report["verdict"]
    journal = report["journal"]
    assert journal["store"] == "embedded"
    assert journal["bytes"] > 1000
    assert journal["bytes_per_turn"] > 100
    assert "in files" in report_text(report)
    if target == "inproc":
        assert journal["sessions"] >= 5
        assert journal["problems"] == 0
    assert not list(tmp_path.iterdir())


async def test_a_store_in_memory_keeps_nothing_of_closed_sessions(run_plan):
    """Whatever the settings say of the user's own store: that one is never written to."""
    settings = Settings(store=StoreSettings(kind="embedded", folder="/nowhere/at/all"))
    plan = StressPlan(model=MODEL, stages=closed(2, 0.4), session_turns=1)
    async with stress(plan, settings=settings) as run:
        report = await run.run()
        assert await run.target.runtime.sessions() == ()
    assert report["turns"]["ok"] > 2
    assert report["journal"]["bytes"] is None


@pytest.mark.parametrize("target", ["openai:", "http://127.0.0.1:1"])
async def test_the_store_of_a_server_that_runs_cannot_be_chosen(run_plan, target):
    """It was told when it was started."""
    with pytest.raises(NotSupported):
        await run_plan(target=target, store="embedded")


# -- single turns ----------------------------------------------------------------------------------


async def test_each_turn_is_a_line(tmp_path):
    """As many as began, with times on the run's clock."""
    file = tmp_path / "turns.jsonl"
    plan = StressPlan(model=MODEL, stages=closed(3, 1.2))
    async with stress(plan, turns_file=file) as run:
        report = await run.run()
    lines = [json.loads(line) for line in file.read_bytes().splitlines()]
    assert len(lines) == report["turns"]["started"] == report["turns_file"]["written"]
    assert {line["outcome"] for line in lines} == {"ok"}
    for line in lines:
        assert 0 <= line["intended"] <= line["begun"] < line["first"] < line["ended"]
        assert line["tokens"] == 20


async def test_the_file_of_turns_is_bounded(tmp_path):
    """What goes beyond is counted."""
    with FileIO(tmp_path / "x", "wb") as file:
        lines = TurnLines(file, lines_max=2)
        asked = Asked("x", 0.0)
        for _ in range(5):
            heard = Listener(asked, Histogram())
            lines.add(asked, heard, Ending("completed"), outcome="ok", stage="s", zero=0.0, now=1.0)
        await lines.flush()
    assert lines.told() == {"written": 2, "left_out": 3, "problem": None}


async def test_a_full_disk_ends_the_file_and_not_the_run():
    """The report says so."""
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full here")
    plan = StressPlan(model=MODEL, stages=closed(2, 0.4))
    async with stress(plan, turns_file=Path("/dev/full")) as run:
        report = await run.run()
    assert report["turns"]["ok"] > 0
    assert report["turns_file"]["problem"] == "No space left on device"
    assert report["turns_file"]["left_out"] == report["turns"]["started"]


async def test_a_file_of_turns_that_cannot_be_made_is_told_before(tmp_path):
    """Nothing is measured for nothing."""
    plan = StressPlan(model=MODEL, stages=closed(1, 30.0))
    with pytest.raises(ConfigError):
        async with stress(plan, turns_file=tmp_path / "no" / "x"):
            pass


# -- where it took place ---------------------------------------------------------------------------


async def test_a_report_says_where_it_took_place():
    """Versions, the source's revision where it is a checkout, and a mark of the settings."""
    told = await environment(Settings())
    assert told["trio"] == trio.__version__
    assert told["packages"]["msgspec"]
    assert told["revision"] is None or len(told["revision"]) == 40
    assert told["config"] == (await environment(Settings()))["config"]
    other = Settings(store=StoreSettings(namespace="other"))
    assert told["config"] != (await environment(other))["config"]
