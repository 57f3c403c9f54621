"""actrio beside other libraries at the same work, in one table.

``python -m bench.peers`` (or ``make bench-peers``): everything, each library in an environment of
its own that is made when it is missing. ``--quick``: actrio, the bare loops and Agno with short
windows, in under five minutes (part of ``make bench``).

One client process on one core, the scripted provider on another. CPU is what the client's process
used; ratios are to Agno and to the floor in the same run. The record goes to
``bench/results/peers.json``; ``--baseline`` compares tokens/s with an earlier one, and
``--publish`` puts the tables into ``docs/explanation/performance.md``.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from bench.peers import report, runs
from bench.peers.environments import PEERS, ROOT, Missing, Peer, python_of
from bench.peers.scenarios import SCENARIOS, Scenario, Target, quick

RESULTS: Final = ROOT / "bench" / "results" / "peers.json"
PAGE: Final = ROOT / "docs" / "explanation" / "performance.md"
BEGIN: Final = "<!-- measured: written by python -m bench.peers --publish -->"
END: Final = "<!-- end of measured -->"
LOAD_MAX: Final = 0.5  # of the load average before: more than that is somebody else at work

IMPORT_FLOOR: Final = "import httpx, trio"
IMPORTS: Final = ("import actrio", "from actrio import Agent, open_runtime")
"""The first loads nothing but names; the second is what a program does next."""

IDLE: Final = {"opened": "bytes_each", "after a turn": "bytes_each_after_turn"}


def _runs(scenario: Scenario, peers: Sequence[Peer], repeats: int) -> dict[str, report.Found]:
    """Run each peer ``repeats`` times, in turns, so that a busy hour hits all of them."""
    told: dict[str, list[report.Found]] = {peer.name: [] for peer in peers}
    rows: dict[str, report.Found] = {}
    for number in range(repeats):
        for peer in peers:
            if peer.name in rows:
                continue
            _progress(f"{scenario.name} {peer.name} ({number + 1} of {repeats})")
            try:
                told[peer.name].append(runs.run(peer, scenario))
            except Missing as error:
                rows[peer.name] = {"missing": str(error)}
    rows |= {name: report.median(each) for name, each in told.items() if name not in rows}
    ordered = {peer.name: rows[peer.name] for peer in peers}
    report.add_ratios({name: each for name, each in ordered.items() if "missing" not in each})
    return ordered


def _imports(peers: Sequence[Peer]) -> tuple[dict[str, Any], list[report.Found]]:
    """Measure S5: what importing costs, actrio's own environment first."""
    here = Path(sys.executable)
    wanted = [(here, imports) for imports in (IMPORT_FLOOR, *IMPORTS)]
    for peer in peers:
        if peer.requirements is not None:
            try:
                wanted.append((python_of(peer), peer.imports))
            except Missing:
                continue  # told with the scenarios
    _progress("S5 imports")
    told = {imports: runs.imported(python, imports) for python, imports in wanted}
    judged = []
    for imports in IMPORTS:
        times = told[imports]["import_cpu_ms"] / told[IMPORT_FLOOR]["import_cpu_ms"]
        targets = (
            (Target("actrio", f"CPU of `{imports}`, times `{IMPORT_FLOOR}`", "≤", 1.2), times),
            (Target("actrio", f"MB after `{imports}`", "≤", 40, "MB"), told[imports]["rss_mb"]),
        )
        judged += [{"scenario": "S5", **report.judged(*each)} for each in targets]
    return told, judged


def _idle(count: int) -> tuple[dict[str, Any], list[report.Found]]:
    _progress(f"{count:,} idle sessions")
    sessions = runs.idle("sessions", count)
    told = {"count": count, "tasks": runs.idle("tasks", count), "sessions": sessions}
    judged = [
        report.judged(
            Target("actrio", f"KB of a session, {when}", "≤", 15, "KB"),
            sessions[metric] / 1024,
        )
        for when, metric in IDLE.items()
    ]
    return told, [{"scenario": "idle", **each} for each in judged]


def _progress(text: str) -> None:
    print(f"… {text}", file=sys.stderr, flush=True)


def measure(wanted: argparse.Namespace) -> report.Found:
    """Run what is wanted and return the record."""
    load = os.getloadavg()
    noted = []
    if load[0] > LOAD_MAX:
        noted.append(
            f"the load average was {load[0]:.2f} before the first run: others were at work"
        )
    if len(set(runs.cores())) == 1:
        noted.append("client and server shared the only core")
    record: report.Found = {
        "what": "bench.peers",
        "when": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "command": " ".join(["python -m bench.peers", *sys.argv[1:]]),
        "machine": report.machine(),
        "commit": report.commit(),
        "cores": {"client": runs.cores()[0], "server": runs.cores()[1]},
        "load_before": load,
        "scenarios": {},
        "imports": {},
        "idle": {},
        "targets": [],
        "warnings": noted,
        "baseline": None,
        "off_baseline": [],
    }
    peers = [each for each in PEERS if _chosen(each, wanted)]
    for scenario in SCENARIOS:
        if scenario.name in wanted.only:
            _measure_scenario(record, quick(scenario) if wanted.quick else scenario, peers, wanted)
    if "S5" in wanted.only:
        record["imports"], judged = _imports(peers)
        record["targets"] += judged
    if "idle" in wanted.only:
        record["idle"], judged = _idle(10_000 if wanted.quick else 100_000)
        record["targets"] += judged
    record["load_after"] = os.getloadavg()
    return record


def _measure_scenario(
    record: report.Found, scenario: Scenario, peers: Sequence[Peer], wanted: argparse.Namespace
) -> None:
    rows = _runs(scenario, peers, wanted.repeats or (1 if wanted.quick else 3))
    record["scenarios"][scenario.name] = {
        "what": scenario.what,
        "dataset": scenario.dataset,
        "ideal_ms": scenario.ideal_ms,
        "rows": rows,
    }
    record["targets"] += report.targets(scenario, rows)
    record["warnings"] += report.warnings(scenario.name, rows)


def _chosen(peer: Peer, wanted: argparse.Namespace) -> bool:
    if wanted.peers:
        return any(part in peer.name.lower() for part in wanted.peers)
    return peer.quick or not wanted.quick


def _publish(told: str) -> None:
    """Put ``told`` between the marks of the page."""
    before, _, rest = PAGE.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n\n{told}\n\n{END}{after}")


def _words(text: str) -> list[str]:
    return [part.strip().lower() for part in text.split(",") if part.strip()]


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.peers", description=__doc__.splitlines()[0])
    names = [*(each.name for each in SCENARIOS), "S5", "idle"]
    parser.add_argument("--quick", action="store_true", help="few libraries, short windows")
    parser.add_argument("--only", default=",".join(names), help="scenarios, by comma")
    parser.add_argument("--peers", type=_words, default=[], help="parts of names, by comma")
    parser.add_argument("--repeats", type=int, help="runs of which the median counts (3; quick: 1)")
    parser.add_argument("--json", type=Path, default=RESULTS, help="where the record goes")
    parser.add_argument("--baseline", type=Path, help="an earlier record to compare with")
    parser.add_argument("--publish", action="store_true", help="write the tables into the docs")
    wanted = parser.parse_args()
    wanted.only = [name for name in names if name.lower() in _words(wanted.only)]
    if not hasattr(os, "sched_setaffinity"):
        print("bench.peers needs Linux: it pins cores and reads /proc.", file=sys.stderr)
        return 78
    began = time.perf_counter()
    record = measure(wanted)
    if wanted.baseline is not None:
        record["baseline"] = str(wanted.baseline)
        record["off_baseline"] = report.against_baseline(
            record, json.loads(wanted.baseline.read_text())
        )
    wanted.json.parent.mkdir(parents=True, exist_ok=True)
    wanted.json.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    told = report.markdown(record)
    print(told)
    if wanted.publish:
        _publish(told)
    _progress(f"{time.perf_counter() - began:.0f} s; the record is in {wanted.json}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
