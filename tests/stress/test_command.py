"""The command line: flags to plans, exit codes, files, interruption."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest
import trio

from actrio.cli._stress import Load
from actrio.cli._stress_plan import duration_seconds, plan_of
from actrio.errors import InvalidRequest, NotFound

QUICK = ("--model", "scripted:tokens?ttft=10ms&itl=2ms&tokens=10", "--sessions", "4")


@pytest.fixture
def actrio(tmp_path):
    """Run ``actrio stress`` to its end."""

    async def run(*arguments, check=False):
        return await trio.run_process(
            [sys.executable, "-m", "actrio", "stress", *arguments],
            capture_stdout=True,
            capture_stderr=True,
            check=check,
            cwd=tmp_path,
            env=_environment(tmp_path),
        )

    return run


def _environment(home):
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ACTRIO_")}
    return {**kept, "XDG_CONFIG_HOME": str(home), "COLUMNS": "80", "NO_COLOR": "1"}


async def test_a_run_leaves_its_files_and_says_nothing_on_the_way(actrio, tmp_path):
    """Piped, there is no progress; the report is JSON, a page, a table and a histogram."""
    done = await actrio(*QUICK, "--duration", "1s", "--out", "run", "--slo", "ttft.p95<10s")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == b""
    assert b"verdict: passed" in done.stdout
    assert sorted(file.name for file in (tmp_path / "run").iterdir()) == [
        "latency.hgrm",
        "report.html",
        "report.json",
        "series.csv",
    ]
    report = json.loads((tmp_path / "run/report.json").read_bytes())
    assert report["schema"] == "actrio.stress/1"
    assert report["turns"]["ok"] > 0


async def test_comparing_two_reports(actrio, tmp_path):
    """0 where what was asserted holds, 99 where not, 66 where there is no such file."""
    await actrio(*QUICK, "--duration", "0.6s", "--out", "a", check=True)
    same = await actrio("compare", "a/report.json", "a/report.json", "--assert", "p95<=1x")
    assert same.returncode == 0, same.stderr
    better = await actrio("compare", "a/report.json", "a/report.json", "--assert", "p95<=0.7x")
    assert better.returncode == 99
    assert "✗ p95<=0.7x" in better.stdout.decode()
    told = await actrio("compare", "a/report.json", "a/report.json", "--json")
    assert {row["ratio"] for row in json.loads(told.stdout)["rows"]} <= {None, 1.0}
    assert (await actrio("compare", "a/report.json", "b.json")).returncode == 66
    assert (await actrio("compare", "a/report.json", "a/report.html")).returncode == 2
    again = await actrio(*QUICK, "--duration", "0.6s", "--baseline", "a/report.json")
    assert again.returncode == 0


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--slo", "ttft.p95<1us", *QUICK, "--duration", "0.5s"), 99),
        (("--target", "openai:http://127.0.0.1:9/v1"), 75),
        (("--target", "stdio:false"), 75),
        (("--target", "http://127.0.0.1:9"), 75),
        (("--target", "http://127.0.0.1:9", "--store", "embedded"), 78),
        (("--slo", "nonsense"), 2),
        (("--profile", "open"), 2),
        (("--replay", "nowhere"), 66),
    ],
)
async def test_exit_codes(actrio, arguments, code):
    """A missed objective, a target that is not there, and wrong usage can be told apart."""
    done = await actrio(*arguments)
    assert done.returncode == code, done.stdout + done.stderr


async def test_with_json_each_second_is_a_line_and_the_report_the_last(actrio):
    """For whoever draws the progress elsewhere."""
    done = await actrio(*QUICK, "--duration", "2.2s", "--json", check=True)
    *seconds, report = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(seconds) >= 2
    assert {line["type"] for line in seconds} == {"stress.second"}
    assert report["type"] == "stress.report"


async def test_an_interrupted_run_writes_its_report(tmp_path):
    """Ctrl-C is 130, and what was measured is not lost."""
    process = await trio.lowlevel.open_process(
        [
            sys.executable,
            "-m",
            "actrio",
            "stress",
            *QUICK,
            "--duration",
            "60s",
            "--json",
            "--out",
            "x",
        ],
        stdout=subprocess.PIPE,
        cwd=tmp_path,
        env=_environment(tmp_path),
    )
    async with process.stdout:
        assert b"stress.second" in await process.stdout.receive_some()
        process.send_signal(signal.SIGINT)
        told = bytearray()
        while piece := await process.stdout.receive_some():
            told += piece
        assert await process.wait() == 130
    report = json.loads(told.splitlines()[-1])
    assert report["interrupted"]
    assert report["turns"]["ok"] > 0
    assert (tmp_path / "x/report.html").stat().st_size > 10_000


# -- flags -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seconds"), [("10s", 10), ("500ms", 0.5), ("5m", 300), ("1h", 3600), ("2.5", 2.5)]
)
def test_durations(text, seconds):
    """With their units, seconds without one."""
    assert duration_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "ten", "-1s", "1y", "1e9s", "900000s"])
def test_what_is_no_duration(text):
    """Typos are told before anything runs."""
    with pytest.raises(InvalidRequest):
        duration_seconds(text)


def test_the_usual_run():
    """A hundred sessions for ten seconds in this process, the first of them to warm up."""
    plan = plan_of(Load())
    assert (plan.profile, plan.target, plan.sessions_max) == ("closed", "inproc", 100)
    assert (plan.stages[-1].seconds, plan.warmup_seconds) == (10, 1)


def test_profiles_become_stages():
    """Each profile has its shape and its usual objectives."""
    opened = plan_of(Load(rate="50/s", duration="4s", arrival="poisson", ramp="2s"))
    assert (opened.profile, opened.stages[0].seconds, opened.stages[0].kind) == (
        "open",
        6,
        "poisson",
    )
    ramped = plan_of(Load(profile="ramp", stages="10@1s,50@2s"))
    assert [(s.sessions, s.seconds) for s in ramped.stages] == [(10, 1), (50, 2)]
    swept = plan_of(Load(profile="sweep", sessions=64))
    assert [s.sessions for s in swept.stages] == [1, 2, 4, 8, 16, 32, 64]
    rates = plan_of(Load(profile="sweep", stages="5/s,20/s", duration="1s"))
    assert [s.offered_per_second for s in rates.stages] == [5, 20]
    knee = plan_of(Load(profile="knee", sessions=200))
    assert (knee.knee.start, knee.knee.most, knee.sessions_max) == (10, 200, 200)
    assert plan_of(Load(profile="knee", rate="5/s")).sessions_max == 1000
    soak = plan_of(Load(profile="soak"))
    assert (soak.stages[0].seconds, len(soak.objectives)) == (600, 3)
    chaos = plan_of(Load(profile="chaos"))
    assert (chaos.chaos.cancel, chaos.stall_seconds) == (0.1, 2)
    assert plan_of(Load(profile="chaos", target="stdio:")).chaos.kill_actor == 0


def test_the_same_load_has_the_same_mark():
    """Objectives do not change what is done."""
    assert plan_of(Load()).digest == plan_of(Load(), slos=("lost==0",)).digest
    assert plan_of(Load()).digest != plan_of(Load(sessions=7)).digest


@pytest.mark.parametrize(
    "flags",
    [
        {"profile": "open"},
        {"profile": "soak", "rate": "5/s"},
        {"rate": "fast"},
        {"rate": "0/s"},
        {"duration": "0s"},
        {"profile": "ramp", "stages": "10,20/s"},
        {"profile": "ramp", "stages": "0@1s"},
        {"chaos": "dragons=1%"},
        {"prompt": " "},
    ],
)
def test_flags_that_contradict_are_refused(flags):
    """With what to write instead."""
    with pytest.raises(InvalidRequest) as caught:
        plan_of(Load(**flags))
    assert caught.value.remedy


def test_a_replay_that_is_not_there(tmp_path):
    """Names the file."""
    with pytest.raises(NotFound, match="nowhere"):
        plan_of(Load(replay=tmp_path / "nowhere"))
