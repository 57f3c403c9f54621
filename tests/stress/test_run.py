"""Real runs, short: each target, overload, chaos, a target that dies, an end that comes early."""

from __future__ import annotations

import os
import sys

import pytest
import trio

from actrio.errors import InvalidRequest, NotSupported, ProviderUnreachable
from actrio.stress import (
    Chaos,
    Histogram,
    KneePlan,
    Objective,
    StressPlan,
    closed,
    open_loop,
    ramp,
    stress,
    sweep,
)
from actrio.stress._chaos import Fate
from actrio.stress._openai import open_openai
from actrio.stress._targets import TargetSetup
from actrio.stress._turns import Asked, Listener

FORBIDDEN = ("failed", "lost", "truncated", "unfinished", "killed", "injected", "dropped")


def assert_clean(report):
    turns = report["turns"]
    assert turns["ok"] > 0, report["errors"]
    assert {name: turns[name] for name in FORBIDDEN} == dict.fromkeys(FORBIDDEN, 0), report[
        "errors"
    ]
    assert turns["started"] == turns["ok"] + turns["cancelled"] + turns["rejected"]


@pytest.mark.parametrize("target", ["inproc", "stdio:", "http:", "openai:"])
async def test_a_closed_run_measures_every_turn(run_plan, target):
    """Each target: all turns end well and whole, and every metric it can tell is there."""
    report = await run_plan(target=target, allow_saturated=True)
    assert_clean(report)
    assert report["verdict"]["exit"] == 0, report["verdict"]
    latency, turns = report["latency"], report["turns"]
    assert latency["e2e"]["count"] == turns["ok"] == report["goodput"]["of"]
    assert 0.01 < latency["ttft"]["p50"] < latency["e2e"]["p50"] < 5
    assert latency["effective"]["p50"] >= latency["e2e"]["p50"] * 0.999
    assert report["rates"]["tokens_per_second"] == pytest.approx(
        20 * report["rates"]["turns_per_second"], rel=1e-6
    )
    assert report["memory"]["peak_bytes"] > 5e6
    assert report["cpu"]["seconds_per_turn"] > 0
    assert report["provider"]["server"]["streams_open"] == 0
    if target != "openai:":
        # Each turn has a session of its own: at the last look some are between two.
        assert report["actors"]["mailboxes"]["SessionActor"]["actors"] >= 1
        assert report["actors"]["restarts"] == 0
    assert Histogram.from_dict(report["histograms"]["e2e"]).count == turns["ok"]
    assert sum(report["series"]["ok"]) == turns["ok"]


async def test_an_open_run_begins_turns_on_time(run_plan):
    """Turns begin at their rate, whatever the target does, and none is dropped while seats are free."""
    report = await run_plan(stages=open_loop(30, 1.5, sessions=20, kind="poisson", seed=4))
    assert_clean(report)
    assert report["turns"]["offered"] == report["turns"]["ok"]
    assert report["turns"]["offered"] == pytest.approx(45, abs=25)


async def test_waiting_for_a_seat_counts_as_latency(run_plan):
    """Where turns cannot begin in time, effective latency says so and service latency does not."""
    report = await run_plan(
        stages=open_loop(40, 1.0, sessions=1), model="scripted:tokens?ttft=100ms&tokens=1"
    )
    latency = report["latency"]
    assert latency["effective"]["max"] > 2 * latency["e2e"]["max"]
    assert report["turns"]["late"] > 0
    assert report["turns"]["dropped"] > 0
    assert report["turns"]["dropped"] + report["turns"]["ok"] == report["turns"]["offered"] == 40
    assert report["goodput"]["share"] < 1


async def test_beyond_admission_turns_are_refused_and_the_others_run_on(run_plan):
    """Overload: refusals are not failures, streams in flight end whole, recovery is immediate."""
    report = await run_plan(
        stages=ramp([(40, 1.0), (3, 0.5), (3, 1.0)], sessions=40, rates=False),
        connections=4,
        queue=4,
    )
    assert_clean(report)
    over, _, after = report["stages"]
    assert over["turns"]["rejected"] > 0
    assert over["turns"]["ok"] > 10
    assert report["errors"][0]["label"] == "Overloaded"
    assert report["provider"]["waiting_peak"] == 4
    assert after["turns"]["rejected"] == 0
    assert after["turns"]["ok"] > 5
    assert after["latency"]["e2e"]["p50"] < over["latency"]["e2e"]["p50"]
    assert sum(report["series"]["rejected"]) == report["turns"]["rejected"]


async def test_a_refusal_says_when_to_come_back():
    """A 429 is a refusal, and the time that it names is kept."""
    setup = TargetSetup(
        model="scripted:tokens?tokens=2",
        sessions=1,
        connections=1,
        queue=1,
        session_turns=5,
        stall_seconds=5,
        settings=None,
        env={},
    )
    async with open_openai("", setup) as target, target.seat() as seat:
        asked = Asked("x", trio.current_time(), Fate(fault="status429"))
        ending = await seat.turn(asked, Listener(asked, Histogram()))
    assert (ending.kind, ending.retry_after_seconds) == ("rejected", 1.0)


async def test_chaos_leaves_no_turn_without_an_end(run_plan):
    """Kills, failing and silent providers, leaving and slow clients: every turn is accounted for."""
    report = await run_plan(
        sessions=20,
        seconds=3,
        chaos=Chaos.parse("provider_5xx=5%,stall=3%,kill_actor=5/s,slow_client=5%,cancel=15%"),
        stall_seconds=1.0,  # a provider that waits for a core is not silent for so long
    )
    turns = report["turns"]
    wrong = {name: turns[name] for name in ("lost", "truncated", "unfinished", "failed")}
    assert not any(wrong.values()), (wrong, report["errors"])
    ended = sum(turns[name] for name in ("ok", "cancelled", "injected", "killed", "rejected"))
    assert ended == turns["started"]
    assert turns["cancelled"] > 0
    assert turns["injected"] > 0
    assert report["actors"]["killed"] > 0
    assert report["actors"]["restarts"] > 0
    assert report["left"] == {"tasks": 0, "streams": 0}


async def test_a_sweep_measures_each_level_by_itself(run_plan):
    """Nothing of one stage runs on in the next."""
    report = await run_plan(stages=sweep([1, 4], 0.6, sessions=4, rates=False))
    low, high = report["stages"]
    assert [stage["sessions"] for stage in (low, high)] == [1, 4]
    assert low["turns"]["ok"] < high["turns"]["ok"]
    assert low["turns"]["ok"] + high["turns"]["ok"] == report["turns"]["ok"]
    assert low["latency"]["e2e"]["count"] == low["turns"]["ok"]


async def test_the_knee_is_where_the_objective_breaks(run_plan):
    """Two connections take two sessions without a wait; the search finds about that."""
    report = await run_plan(
        stages=(),
        knee=KneePlan(1, 8, 0.8, rates=False),
        profile="knee",
        model="scripted:tokens?ttft=100ms&tokens=1",
        connections=2,
        objectives=(Objective.parse("e2e.p50<160ms"),),
    )
    assert 2 <= report["knee"]["level"] <= 4
    assert report["verdict"]["exit"] == 0


@pytest.mark.parametrize(("text", "code"), [("ttft.p95<10s", 0), ("ttft.p95<1us", 99)])
async def test_the_verdict_follows_the_objectives(run_plan, text, code):
    """99 is a missed objective."""
    report = await run_plan(seconds=0.5, objectives=(Objective.parse(text),))
    assert report["verdict"]["exit"] == code
    assert report["slos"][0]["holds"] is (code == 0)


async def test_an_early_end_still_gives_a_report():
    """What runs when the run is ended is unfinished, which is neither lost nor failed."""
    plan = StressPlan(stages=closed(5, 60), model="scripted:tokens?ttft=10ms&itl=20ms&tokens=50")
    async with stress(plan) as run, trio.open_nursery() as nursery:

        async def end():
            await trio.sleep(1.6)
            run.interrupt()

        nursery.start_soon(end)
        report = await run.run()
    assert report["interrupted"]
    assert report["verdict"]["exit"] == 130
    assert report["turns"]["unfinished"] == 5
    assert report["turns"]["lost"] == report["turns"]["failed"] == 0


async def test_a_target_that_dies_loses_its_turns_and_the_report_says_so():
    """75, and the turns it never ended are lost."""
    plan = StressPlan(
        target=f"stdio:{sys.executable} -m actrio serve --stdio",
        stages=closed(3, 30),
        model="scripted:tokens?ttft=300ms&tokens=2",
    )
    async with stress(plan, env=dict(os.environ)) as run, trio.open_nursery() as nursery:

        async def kill():
            while not run.watch.in_flight:
                await trio.sleep(0.05)
            os.kill(run.target.pid, 9)

        nursery.start_soon(kill)
        report = await run.run()
    assert report["target"]["gone"]
    assert report["verdict"]["exit"] == 75
    assert report["turns"]["lost"] + report["turns"]["unfinished"] >= 1


@pytest.mark.parametrize(
    ("target", "kind"),
    [
        ("http://127.0.0.1:1", ProviderUnreachable),
        ("http:ftp://x", InvalidRequest),
        ("nonsense", InvalidRequest),
        ("openai:ftp://x", InvalidRequest),
        ("openai:http://127.0.0.1:1/v1", ProviderUnreachable),
        ("stdio:false", ProviderUnreachable),
        ("stdio:/no/such/program", ProviderUnreachable),
        ("stdio:'", InvalidRequest),
    ],
)
async def test_a_target_that_is_not_there_is_told_as_what_it_is(run_plan, target, kind):
    """Before anything is measured, with what to do instead."""
    with pytest.raises(kind) as caught:
        await run_plan(target=target)
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("target", "chaos", "model"),
    [
        ("stdio:", "kill_actor=1/s", "scripted:demo"),
        ("stdio:", "slow_client=5%", "scripted:demo"),
        ("openai:", "kill_actor=1/s", "scripted:demo"),
        ("http:", "kill_actor=1/s", "scripted:demo"),
        ("inproc", "stall=1%", "local:smollm2"),
    ],
)
async def test_chaos_that_cannot_be_made_is_refused(run_plan, target, chaos, model):
    """Rather than measured as if it had been."""
    with pytest.raises(NotSupported):
        await run_plan(target=target, chaos=Chaos.parse(chaos), model=model)


async def test_a_model_that_always_fails_is_refused(run_plan):
    """There would be nothing to measure."""
    with pytest.raises(InvalidRequest, match="fails on every call"):
        await run_plan(model="scripted:demo?fault=cut@1")


async def test_nothing_of_a_run_stays(run_plan):
    """Tasks are as many after it as before."""
    before = sum(1 for _ in trio.lowlevel.current_root_task().child_nurseries)
    await run_plan(seconds=0.3)
    assert sum(1 for _ in trio.lowlevel.current_root_task().child_nurseries) == before


async def test_each_second_is_shown(run_plan):
    """Whoever looks on is told once a second, with counts that only rise."""
    seen = []

    async def show(live):
        seen.append(live)

    await run_plan(seconds=2.3, show=show)
    assert len(seen) >= 2
    totals = [live.counts["started"] for live in seen]
    assert totals == sorted(totals)
    assert seen[-1].point.ok > 0
