"""From what was seen to a report: schema ``actrio.stress/1``, JSON values all through.

Latencies are in seconds, sizes in bytes, shares from 0 to 1; a metric that was not measured is null.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Protocol

import attrs

from actrio.stress._arrivals import Stage
from actrio.stress._measure import Tally
from actrio.stress._objectives import judge, wilson
from actrio.stress._plan import StressPlan
from actrio.stress._sample import MemoryTrend, cpu_share, starved_share
from actrio.stress._targets import Target
from actrio.stress._turn_lines import TurnLines
from actrio.stress._watch import Mark, Watch

__all__ = ["SCHEMA", "StageFacts", "build_report", "stage_report"]

SCHEMA: Final = "actrio.stress/1"

LAG_SECONDS_MAX: Final = 0.02
CPU_SHARE_MAX: Final = 0.9
"""Beyond these the generator measures itself: it sends late, and reads late what came in time."""

STARVED_SHARE_TOLD: Final = 0.05
"""An idle machine lets nobody wait; where a process waits so much, its lag is the machine's."""

WARM_SHARE: Final = 0.2
"""Of a run, how much memory is given to settle before its slope is read."""

EXIT_MISSED: Final = 99  # what k6 ends with when a threshold is crossed

_COUNTS: Final = (
    "offered",
    "started",
    "ok",
    "cancelled",
    "injected",
    "killed",
    "failed",
    "rejected",
    "lost",
    "truncated",
    "unfinished",
    "dropped",
    "late",
)


@attrs.define(slots=True)
class StageFacts:
    """What is known of one stage."""

    stage: Stage
    tally: Tally
    begun: Mark
    end: Mark | None = None


class _Seen(Protocol):
    """What a report is made from; a `StressRun`."""

    plan: StressPlan
    target: Target
    interrupted: bool
    stages: list[StageFacts]
    watch: Watch
    environment: Mapping[str, Any]
    lines: TurnLines
    stored: Mapping[str, int]
    tasks_left: int


def build_report(run: _Seen, provider: Mapping[str, int]) -> dict[str, Any]:
    """Return the report of a run that has ended, however it ended."""
    watch, plan = run.watch, run.plan
    assert watch.warm is not None
    assert watch.end is not None
    total = Tally()
    for facts in run.stages:
        total.add(facts.tally)
    columns = watch.series.columns()
    report: dict[str, Any] = {
        "schema": SCHEMA,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "environment": dict(run.environment),
        "target": {
            "name": run.target.name,
            "shares_process": run.target.shares_process,
            "gone": run.target.gone,
        },
        "plan": {**plan.told(), "digest": plan.digest},
        "interrupted": run.interrupted,
        "seconds": sum(columns["seconds"]),
        "turns": _counts(total),
        "rates": _rates(total, watch.warm, watch.end),
        "latency": {**total.summaries(), "loop_lag": watch.lag.histogram.summary()},
        "goodput": _goodput(total),
        "overload": _overload(total),
        "errors": _errors(total),
        "memory": _memory(watch),
        "cpu": _cpu(watch.warm, watch.end),
        "actors": _actors(watch),
        "provider": {"waiting_peak": watch.provider_waiting_peak, "server": dict(provider)},
        "journal": _journal(run, total),
        "in_flight_peak": watch.in_flight_peak,
        "turns_file": run.lines.told(),
        "left": {"tasks": run.tasks_left, "streams": provider.get("streams_open")},
        "stages": [stage_report(facts) for facts in run.stages],
        "series": columns,
        "histograms": {
            **{name: each.to_dict() for name, each in total.histograms.items()},
            "loop_lag": watch.lag.histogram.to_dict(),
        },
    }
    report["knee"] = _knee(plan, report["stages"])
    report["generator"] = _generator(run.target, report)
    report["slos"] = [each.told() for each in judge(plan.objectives, _judged(report))]
    report["verdict"] = _verdict(plan, report)
    return report


def stage_report(facts: StageFacts) -> dict[str, Any]:
    """Return what is known of one stage, in the shape that objectives are judged by."""
    end = facts.end or facts.begun
    tally = facts.tally
    return {
        "name": facts.stage.name,
        "measured": facts.stage.measured,
        "sessions": facts.stage.sessions,
        "seconds": end.at - facts.begun.at,
        "offered_per_second": facts.stage.offered_per_second,
        "turns": _counts(tally),
        "rates": _rates(tally, facts.begun, end),
        "latency": tally.summaries(),
        "goodput": _goodput(tally),
        "memory": {"peak_bytes": end.target.rss_bytes},
        "cpu": {"share": cpu_share(facts.begun.target, end.target, end.at - facts.begun.at)},
    }


def _counts(tally: Tally) -> dict[str, int]:
    return {name: tally.counts[name] for name in _COUNTS}


def _rates(tally: Tally, begun: Mark, end: Mark) -> dict[str, float | None]:
    seconds = end.at - begun.at
    counts = tally.counts
    ended = sum(counts[name] for name in ("ok", "failed", "rejected", "lost", "truncated"))
    wrong = counts["failed"] + counts["lost"] + counts["truncated"]
    return {
        "seconds": seconds,
        "turns_per_second": (end.ok - begun.ok) / seconds if seconds > 0 else None,
        "tokens_per_second": (end.tokens - begun.tokens) / seconds if seconds > 0 else None,
        "error_rate": wrong / ended if ended else None,
        "overload_rate": counts["rejected"] / ended if ended else None,
    }


def _goodput(tally: Tally) -> dict[str, Any]:
    low, high = wilson(tally.good, tally.judged)
    return {
        "good": tally.good,
        "of": tally.judged,
        "share": tally.good / tally.judged if tally.judged else None,
        "low": low,
        "high": high,
    }


def _overload(tally: Tally) -> dict[str, Any]:
    return {
        "rejected": tally.counts["rejected"],
        "with_retry_after": tally.retry_after.count,
        "retry_after": tally.retry_after.summary(),
    }


def _errors(tally: Tally) -> list[dict[str, Any]]:
    return [
        {"label": label, "count": count, "example": tally.examples.get(label, "")}
        for label, count in tally.labels.most_common()
    ]


def _memory(watch: Watch) -> dict[str, Any]:
    points = [(point.at, point.rss_bytes) for point in watch.series.points()]
    last = points[-1][0] if points else 0.0
    trend = MemoryTrend.of(points, after=last * WARM_SHARE).told()
    return {
        **trend,
        "descriptors_peak": watch.descriptors_peak,
        "tasks_peak": watch.tasks_peak,
    }


def _cpu(begun: Mark, end: Mark) -> dict[str, float | None]:
    seconds, turns = end.at - begun.at, end.ok - begun.ok
    share = cpu_share(begun.target, end.target, seconds)
    return {
        "share": share,
        "seconds_per_turn": share * seconds / turns if share is not None and turns else None,
        "generator_share": cpu_share(begun.generator, end.generator, seconds),
        "provider_share": cpu_share(begun.provider, end.provider, seconds),
        "starved_share": starved_share(begun.target, end.target, seconds),
        "generator_starved_share": starved_share(begun.generator, end.generator, seconds),
    }


def _journal(run: _Seen, tally: Tally) -> dict[str, Any]:
    """Return what the store holds; null where this cannot be seen from here.

    ``problems`` are records that do not check when the store is read again at the end.
    """
    stored, turns = run.stored, tally.counts["started"]
    size = stored.get("bytes")
    return {
        "store": run.target.store,
        **{name: stored.get(name) for name in ("sessions", "frames", "files", "bytes", "problems")},
        "bytes_per_turn": size / turns if size is not None and turns else None,
    }


def _actors(watch: Watch) -> dict[str, Any]:
    return {
        "restarts": watch.look.restarts,
        "killed": watch.kills,
        "dead_letters": dict(watch.look.dead_letters),
        "turns_running_peak": watch.look.turns_peak,
        "turns_waiting_peak": watch.turns_waiting_peak,
        "mailboxes": {
            kind: attrs.asdict(box)
            for kind, box in sorted(watch.mailboxes.items(), key=lambda each: -each[1].peak_depth)
        },
    }


def _knee(plan: StressPlan, stages: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    if plan.knee is None:
        return None
    kept = [stage for stage in stages if all(each.holds for each in judge(plan.objectives, stage))]
    unit = "turns per second" if plan.knee.rates else "sessions"

    def level(stage: Mapping[str, Any]) -> float:
        return float(
            stage["offered_per_second"] if plan.knee and plan.knee.rates else stage["sessions"]
        )

    best = max(kept, key=level, default=None)
    return {
        "unit": unit,
        "level": level(best) if best else None,
        "stage": best["name"] if best else None,
    }


def _judged(report: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what objectives speak of: a search goes too far on purpose, so there its best stage."""
    if report["knee"] is None:
        return report
    name = report["knee"]["stage"]
    best: Mapping[str, Any] = next((s for s in report["stages"] if s["name"] == name), {})
    return {**report, **{key: best.get(key) for key in ("turns", "rates", "latency", "goodput")}}


# -- the verdict -----------------------------------------------------------------------------------


def _generator(target: Target, report: Mapping[str, Any]) -> dict[str, Any]:
    """Say whether the one who measures may have spoilt what was measured."""
    lag = report["latency"]["loop_lag"]["p99"]
    share = report["cpu"]["generator_share"]
    reasons = []
    if lag is not None and lag > LAG_SECONDS_MAX:
        reasons.append(f"the event loop was late by {lag * 1000:.0f} ms (p99)")
    if share is not None and share > CPU_SHARE_MAX:
        reasons.append(f"it used {share:.0%} of a core")
    if not reasons:
        return {"state": "fit", "text": "The generator had time to spare."}
    starved = report["cpu"]["generator_starved_share"]
    if starved is not None and starved > STARVED_SHARE_TOLD:
        reasons.append(f"for {starved:.0%} of the time other programs had its core")
    why = " and ".join(reasons)
    if target.shares_process:
        return {
            "state": "shared",
            "text": (
                f"This process did not keep up: {why}. Runtime and generator share it, so throughput is "
                "what both together can do, and latency includes waiting for each other. For "
                "latency, lower the load; for the runtime alone, use --target stdio:."
            ),
        }
    return {
        "state": "saturated",
        "text": f"GENERATOR SATURATED: {why}. The numbers are lower bounds; lower the load.",
    }


def _verdict(plan: StressPlan, report: Mapping[str, Any]) -> dict[str, Any]:
    """Return the exit code and the reasons for it."""
    turns = report["turns"]
    missed = [each["text"] for each in report["slos"] if not each["holds"]]
    reasons = [f"missed: {text}" for text in missed]
    reasons += [
        f"{turns[name]} turns were {name}, and none may be"
        for name in ("lost", "truncated")
        if turns[name]
    ]
    damaged = report["journal"]["problems"] or 0
    if damaged:
        reasons.append(f"{damaged} records of the store do not check")
    left = {name: count for name, count in report["left"].items() if count}
    reasons += [f"{count} {name} were left behind" for name, count in left.items()]
    if not turns["ok"]:
        reasons.append("no turn ended well")
    saturated = report["generator"]["state"] == "saturated"
    if saturated and not plan.allow_saturated:
        reasons.append("the generator was saturated")
    code = 0
    if report["interrupted"]:
        code = 130
    elif report["target"]["gone"]:
        code = 75
    elif missed or damaged or left or turns["lost"] or turns["truncated"]:
        code = EXIT_MISSED
    elif reasons:
        code = 1
    if report["interrupted"]:
        reasons.insert(0, "the run was interrupted")
    if report["target"]["gone"]:
        reasons.insert(0, "the target ended")
    return {"exit": code, "passed": code == 0, "saturated": saturated, "reasons": reasons}
