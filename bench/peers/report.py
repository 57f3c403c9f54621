"""From what the runs told to one table for people and one record for programs."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from bench.peers.environments import FLOOR, RIVAL, ROOT
from bench.peers.scenarios import SCENARIOS, Scenario, Target

Found = dict[str, Any]
"""What one row told, or under ``missing`` why there is nothing."""

OFF_BASELINE: Final = 0.10
RIVAL_SHARES: Final = {"p95_ms": 0.70, "peak_rss_mb": 0.75, "cpu_ms_per_turn": 0.75}
"""What of Agno's the owner's acceptance allows."""

FOREIGN_PERCENT_MAX: Final = 5.0  # beyond it others took part of the client's core
SERVER_LATE_MS_MAX: Final = 25.0  # epoll's millisecond and a full line; more is a core not had
JOURNAL_MB_MIN: Final = 0.0005  # for each turn: its input alone has more than that
SERVER_PERCENT_MAX: Final = 90.0  # beyond it turns/s are the server's, not the client's

_QUIETLY: Final[dict[str, Any]] = {"capture_output": True, "text": True}

_COLUMNS: Final = (
    ("turns/s", "turns_per_second", 0),
    ("CPU ms/turn", "cpu_ms_per_turn", 2),
    ("× floor", "cpu_times_floor", 1),
    (f"{RIVAL} ÷ this", "cpu_rival_times", 1),
    ("CPU %", "cpu_percent", 0),
    ("p50 ms", "p50_ms", 1),
    ("p95 ms", "p95_ms", 1),
    ("p99 ms", "p99_ms", 1),
    ("p95 above ideal", "p95_above_ideal_ms", 1),
    ("peak MB", "peak_rss_mb", 0),
    ("MB after import", "rss_after_import_mb", 0),
    ("errors", "errors", 0),
    ("lost", "lost", 0),
)


def machine() -> dict[str, Any]:
    """Return where this runs."""
    info = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in info if "model name" in line), "?")
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "memory_gb": round(pages / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def commit() -> str:
    """Return the commit that is measured, and whether files differ from it."""
    git = ["git", "-C", str(ROOT)]
    try:
        name = subprocess.run([*git, "rev-parse", "--short", "HEAD"], check=True, **_QUIETLY)
        changed = subprocess.run([*git, "status", "--porcelain", "src"], check=True, **_QUIETLY)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return f"{name.stdout.strip()}{' with changes' if changed.stdout.strip() else ''}"


def median(runs: Sequence[Found]) -> Found:
    """Return the run with the middle CPU time, whole, and how far the runs lie apart."""
    ordered = sorted(runs, key=lambda told: told["cpu_ms_per_turn"] or 0.0)
    told = dict(ordered[(len(ordered) - 1) // 2])
    low, high = (ordered[at]["cpu_ms_per_turn"] for at in (0, -1))
    told["runs"] = len(runs)
    told["spread"] = (high - low) / told["cpu_ms_per_turn"] if low else None
    told["errors"] = sum(each["errors"] for each in runs)
    told["lost"] = sum(each["lost"] for each in runs)
    return told


def add_ratios(rows: Mapping[str, Found]) -> None:
    """Put beside each row's CPU what the floor and the rival took in the same run."""
    floor = rows.get(FLOOR, {}).get("cpu_ms_per_turn")
    rival = rows.get(RIVAL, {})
    for told in rows.values():
        cpu = told.get("cpu_ms_per_turn")
        told["cpu_times_floor"] = cpu / floor if cpu and floor else None
        told["cpu_rival_times"] = rival["cpu_ms_per_turn"] / cpu if cpu and rival else None
        told["of_rival"] = {
            metric: told[metric] / rival[metric]
            for metric in RIVAL_SHARES
            if told.get(metric) and rival.get(metric)
        }


def targets(scenario: Scenario, rows: Mapping[str, Found]) -> list[Found]:
    """Return each target with what was found and whether it is reached."""
    told = [
        judged(target, rows[target.row][target.metric])
        for target in scenario.targets
        if rows.get(target.row, {}).get(target.metric) is not None
    ]
    for row in ("actrio", "actrio, embedded journal"):
        shares = rows.get(row, {}).get("of_rival", {})
        told += [
            judged(Target(row, f"{metric} of {RIVAL}'s", "≤", RIVAL_SHARES[metric]), share)
            for metric, share in shares.items()
            # At the pace of the model both take as long as it does: 70 % of that is nobody's.
            if not (metric == "p95_ms" and scenario.ideal_ms)
        ]
    for each in told:
        each["disturbed"] = rows[each["row"]]["foreign_percent"] > FOREIGN_PERCENT_MAX
    return [{"scenario": scenario.name, **each} for each in told]


def judged(target: Target, found: float) -> Found:
    """Return a target with what was found."""
    return {
        "row": target.row,
        "metric": target.metric,
        "to_reach": f"{target.sense} {target.value:g} {target.unit}".strip(),
        "found": found,
        "reached": target.reached(found),
    }


def warnings(name: str, rows: Mapping[str, Found]) -> Iterator[str]:
    """Say what makes a row doubtful."""
    for row, told in rows.items():
        if "missing" in told:
            continue
        if told["foreign_percent"] > FOREIGN_PERCENT_MAX:
            yield f"{name}, {row}: others took {told['foreign_percent']:.0f} % of the client's core"
        if told["server_cpu_percent"] > SERVER_PERCENT_MAX:
            yield f"{name}, {row}: the server was busy; read its CPU per turn, not its turns/s"
        if (late := told["server"]["late_ms_max"]) > SERVER_LATE_MS_MAX:
            yield f"{name}, {row}: the server was up to {late:.0f} ms late"
        if told["errors"]:
            yield f"{name}, {row}: {told['errors']} errors: {told['error_kinds']}"
        if told["lost"]:
            yield f"{name}, {row}: {told['lost']} turns lost text"
        if told.get("journal") == "embedded" and told["files_mb"] < told["turns"] * JOURNAL_MB_MIN:
            yield f"{name}, {row}: the journal holds {told['files_mb']:.2f} MB, which is too little"
        if told["p95_ms"] is None:
            yield f"{name}, {row}: no turn ended within the window"


def against_baseline(record: Found, baseline: Found) -> list[Found]:
    """Return where tokens/s differ by more than a tenth, with what to tune.

    On another machine tokens/s say nothing, so there they are taken as a share of the floor's.
    """
    alike = record["machine"] == baseline["machine"]
    differing = []
    for name, scenario in baseline["scenarios"].items():
        now, then = record["scenarios"].get(name, {"rows": {}})["rows"], scenario["rows"]
        for row in now.keys() & then.keys():
            rate, before = (_rate(rows, row, absolute=alike) for rows in (now, then))
            if not rate or not before or abs(changed := rate / before - 1) <= OFF_BASELINE:
                continue
            tune = next((each.tune for each in SCENARIOS if each.name == name), "")
            differing.append({"scenario": name, "row": row, "changed": changed, "tune": tune})
    return sorted(differing, key=lambda each: (each["scenario"], each["row"]))


def _rate(rows: Mapping[str, Found], row: str, *, absolute: bool) -> float | None:
    rate = rows[row].get("tokens_per_second")
    if absolute or rate is None:
        return rate
    floor = rows.get(FLOOR, {}).get("tokens_per_second")
    return rate / floor if floor else None


# -- for people ------------------------------------------------------------------------------------


def markdown(record: Found) -> str:
    """Return the whole record as Markdown."""
    where = record["machine"]
    head = (
        f"{where['cpu']}, {where['cores']} cores, {where['memory_gb']} GB, {where['system']}, "
        f"Python {where['python']}; {record['when']}; load before: {record['load_before'][0]:.2f}; "
        f"`{record['command']}`"
    )
    lines = [head, "", f"Versions: {_versions(record)}."]
    for name, scenario in record["scenarios"].items():
        lines += ["", f"### {name}: {scenario['what']}", ""]
        lines += _table(scenario["rows"], paced=scenario["ideal_ms"] is not None)
    if record["imports"]:
        lines += ["", "### S5: importing it", "", *_imports(record["imports"])]
    if record["idle"]:
        lines += ["", "### Idle sessions", "", *_idle(record["idle"])]
    if record["targets"]:
        lines += ["", "### To reach", "", *_targets(record["targets"])]
    lines += [""]
    lines += [f"- Warning: {each}" for each in record["warnings"]]
    for each in record["off_baseline"]:
        lines.append(
            f"- {each['scenario']}, {each['row']}: tokens/s {each['changed']:+.0%} against the "
            f"baseline; look at: {each['tune']}"
        )
    return "\n".join(lines)


def _versions(record: Found) -> str:
    """Return the versions of what was measured; actrio's by its commit."""
    found = {"actrio": record["commit"]}
    for scenario in record["scenarios"].values():
        for told in scenario["rows"].values():
            for name, version in told.get("versions", {}).items():
                # Environments may hold different ones; the first row that has it counts.
                found.setdefault(name, version)
    return ", ".join(f"{name} {version}" for name, version in found.items())


def _cells(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _head(heads: Sequence[str]) -> list[str]:
    return [_cells(heads), _cells(["---", *["---:"] * (len(heads) - 1)])]


def _short(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:,.{digits}f}"


def _table(rows: Mapping[str, Found], *, paced: bool) -> list[str]:
    columns = [each for each in _COLUMNS if paced or "ideal" not in each[1]]
    lines = _head(["", *(each[0] for each in columns)])
    left_out = []
    for name, told in rows.items():
        if "missing" in told:
            left_out.append(f"{name} is left out: {told['missing']}")
            continue
        cells = [_short(told.get(metric), digits) for _, metric, digits in columns]
        if told["p95_ms"] is None:
            at = [each[1] for each in columns].index("p95_ms")
            cells[at] = f"> {told['oldest_open_ms']:,.0f}"
        lines.append(_cells([name, *cells]))
    return [*lines, *(f"\n{each}." for each in left_out)]


def _imports(rows: Mapping[str, Found]) -> list[str]:
    lines = _head(["", "ms", "CPU ms", "MB after it", "modules"])
    for name, told in rows.items():
        metrics = ("import_ms", "import_cpu_ms", "rss_mb", "modules")
        lines.append(_cells([f"`{name}`", *(_short(told[metric], 0) for metric in metrics)]))
    return lines


def _idle(told: Found) -> list[str]:
    sessions, tasks = told["sessions"], told["tasks"]
    return [
        *_head(["", "KB each"]),
        _cells(["a Trio task that sleeps", f"{tasks['bytes_each'] / 1024:.1f}"]),
        _cells([f"an open session, of {told['count']:,}", f"{sessions['bytes_each'] / 1024:.1f}"]),
        _cells(["the same after a short turn", f"{sessions['bytes_each_after_turn'] / 1024:.1f}"]),
    ]


def _targets(found: Sequence[Found]) -> list[str]:
    lines = _head(["", "what", "to reach", "found", ""])
    for each in found:
        name = f"{each['scenario']}, {each['row']}"
        what = each["metric"] if "`" in each["metric"] else each["metric"].replace("_", " ")
        verdict = "reached" if each["reached"] else "**not reached**"
        if each.get("disturbed"):
            verdict += ", disturbed"
        lines.append(_cells([name, what, each["to_reach"], f"{each['found']:,.2f}", verdict]))
    return lines
