"""What starting costs, beside ``import httpx, trio``: `python -m bench.imports`.

Each row is a fresh interpreter, and all of them share a folder of bytecode that the first round
fills: without it (``PYTHONDONTWRITEBYTECODE``) Python compiles each source anew, which costs more
than all else and is not what an installed package does. The rows take turns, and the best of
several rounds counts: a shared machine adds and never takes away. CPU is that of the whole process,
user and system, and includes 10 ms of the interpreter itself; memory is the peak that is resident,
where 13 MB (those of this program, which a child begins with) are the least that can be told.

    httpx, trio        what a bare client imports, and what the others are measured by
    import actrio      everything public is in reach, nothing is loaded
    a program's names  ``from actrio import Agent, open_runtime``
    a runtime opened   in memory, nothing asked
    a scripted turn    the same, and one turn of the scripted provider
    --version          ``python -m actrio --version``
    serve --stdio      from the start of the process to its answer to ``initialize``

``python -m bench.imports actrio.journal`` adds a row for each module named.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "9"))
RATIO_MAX = 1.2
"""The goal for ``import actrio``, against the bare client in the same run."""

MEMORY_MB_MAX = 40.0
INITIALIZE_MS_MAX = 400.0

OPENED = """
import trio
from actrio import Agent, open_runtime

async def main():
    async with open_runtime(env={}) as runtime:
        PLACE

trio.run(main)
"""
TURN = """async with runtime.session(Agent("guide", model="scripted:demo")) as session:
            await session.ask("Hello!")"""
PROGRAMS = {
    "httpx, trio": "import httpx, trio",
    "import actrio": "import actrio",
    "a program's names": "from actrio import Agent, open_runtime",
    "a runtime opened": OPENED.replace("PLACE", "pass"),
    "a scripted turn": OPENED.replace("PLACE", TURN),
}
INITIALIZE = b'{"id":1,"method":"initialize","params":{}}\n'

Row = tuple[float, float, float]  # ms of CPU, ms on the clock, MB at the peak
Run = Callable[[dict[str, str]], Row]


def environment(bytecode: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    if path := os.environ.get("PYTHONPATH"):
        kept["PYTHONPATH"] = path  # another checkout, to compare with
    return {**kept, "PYTHONPYCACHEPREFIX": bytecode}


def ended(env: dict[str, str], *arguments: str) -> Row:
    """Run the interpreter to its end."""
    began = time.perf_counter()
    process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.DEVNULL, env=env)
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, arguments
    scale = 1024 * 1024 if sys.platform == "darwin" else 1024
    return (usage.ru_utime + usage.ru_stime) * 1e3, wall * 1e3, usage.ru_maxrss / scale


def initialized(env: dict[str, str]) -> Row:
    """Start a server, wait for its first answer, read what it used up to there, and end it."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "actrio", "serve", "--stdio"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**env, "ACTRIO_DATA_DIR": folder, "XDG_STATE_HOME": folder},
        )
        with process:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(INITIALIZE)
            process.stdin.flush()
            answer = process.stdout.readline()
            wall = time.perf_counter() - began
            assert b'"result"' in answer, answer
            row = (cpu_ms(process.pid), wall * 1e3, peak_mb(process.pid))
            process.stdin.close()
            process.wait()
    return row


def cpu_ms(pid: int) -> float:
    """Return what a running process has used; nanoseconds of its threads, Linux only."""
    threads = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e6


def peak_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status")
    if not status.exists():
        return 0.0
    (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def program(code: str) -> Run:
    return lambda env: ended(env, "-c", code)


def measured(rows: dict[str, Run]) -> dict[str, Row]:
    """Return the best of each row, each figure for itself."""
    best: dict[str, Row] = {}
    with tempfile.TemporaryDirectory() as bytecode:
        env = environment(bytecode)
        for turn in range(ROUNDS + 1):  # the first one writes bytecode and warms the page cache
            taken(rows, env, best if turn else {})
    return best


def taken(rows: dict[str, Run], env: dict[str, str], best: dict[str, Row]) -> None:
    """Run each row once, and keep in ``best`` what is better."""
    for name, run in rows.items():
        got = run(env)
        known = best.get(name, got)
        best[name] = (min(known[0], got[0]), min(known[1], got[1]), min(known[2], got[2]))


def main() -> int:
    rows = {name: program(code) for name, code in PROGRAMS.items()}
    rows |= {name: program(f"import {name}") for name in sys.argv[1:]}
    rows["--version"] = lambda env: ended(env, "-m", "actrio", "--version")
    rows["serve --stdio"] = initialized
    best = measured(rows)
    base_cpu, _, base_peak = best["httpx, trio"]
    python = f"Python {platform.python_version()} on {platform.machine()}, {os.cpu_count()} CPUs"
    print(f"{python}; best of {ROUNDS} fresh interpreters each\n")
    print(f"{'':22}{'CPU ms':>8}{'×':>6}{'clock ms':>10}{'peak MB':>9}{'×':>6}")
    for name, (cpu, wall, peak) in best.items():
        print(
            f"{name:22}{cpu:8.0f}{cpu / base_cpu:6.2f}{wall:10.0f}{peak:9.1f}{peak / base_peak:6.2f}"
        )
    missed = [
        told
        for told, is_missed in (
            (f"import actrio: over {RATIO_MAX} ×", best["import actrio"][0] > RATIO_MAX * base_cpu),
            (f"import actrio: over {MEMORY_MB_MAX} MB", best["import actrio"][2] > MEMORY_MB_MAX),
            (
                f"initialize: over {INITIALIZE_MS_MAX} ms",
                best["serve --stdio"][1] > INITIALIZE_MS_MAX,
            ),
        )
        if is_missed
    ]
    print("\n" + ("; ".join(missed) or "All goals are met."))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
