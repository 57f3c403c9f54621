"""One run: a fresh server on one core, a fresh client on another, and what the client told."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from bench.peers.environments import ROOT, Missing, Peer, last_line, python_of
from bench.peers.scenarios import Scenario

GRACE_SECONDS: Final = 90.0  # for the import of the biggest library, and a loop that is stuck
IMPORTS: Final = 5  # of which the median counts; one more, not counted, fills the caches

_IMPORT_PROGRAM: Final = """
import resource, sys, time
began, cpu = time.perf_counter(), time.process_time()
{imports}
wall, cpu = time.perf_counter() - began, time.process_time() - cpu
pages = int(open("/proc/self/statm").read().split()[1])
rss = pages * resource.getpagesize() / 2**20
import json
print(json.dumps({{"import_ms": wall * 1e3, "import_cpu_ms": cpu * 1e3, "rss_mb": rss, "modules": len(sys.modules)}}))
"""


def cores() -> tuple[int, int]:
    """Return the client's core and the server's; the same one where there is no other."""
    there = sorted(os.sched_getaffinity(0))
    return there[0], there[min(1, len(there) - 1)]


def environment() -> dict[str, str]:
    """Return a child's environment: no key, no proxy, no warnings, no telemetry."""
    kept = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    return {**kept, "PYTHONWARNINGS": "ignore", "OPENAI_API_KEY": "none", "DO_NOT_TRACK": "1"}


@contextmanager
def served(scenario: Scenario, core: int) -> Iterator[tuple[str, int]]:
    """Run the server on ``core``; give its address and process id."""
    command = [sys.executable, "-m", "bench.peers.server", "--core", str(core)]
    with subprocess.Popen(
        [*command, *scenario.server_args], cwd=ROOT, stdout=subprocess.PIPE, env=environment()
    ) as process:
        assert process.stdout is not None
        try:
            port = int(process.stdout.readline())
            yield f"http://127.0.0.1:{port}", process.pid
        finally:
            process.kill()


def run(peer: Peer, scenario: Scenario, place: tuple[int, int] | None = None) -> dict[str, Any]:
    """Return what one run told, with the server's own figures.

    Args:
        peer: Whose program is run.
        scenario: At which load.
        place: The client's core and the server's; by default `cores`.

    Raises:
        Missing: The peer does not install, or its program failed.
    """
    python = python_of(peer)
    client_core, server_core = place or cores()
    times = scenario.slow_times if peer.slow else 1.0
    with tempfile.TemporaryDirectory() as folder, served(scenario, server_core) as served_at:
        address, server_pid = served_at
        load = {
            "url": f"{address}/v1",
            "sessions": scenario.sessions,
            "tools": scenario.tools,
            "warm_seconds": scenario.warm_seconds * times,
            "seconds": scenario.seconds * times,
            "stagger_seconds": scenario.stagger_seconds,
            "core": client_core,
            "server_pid": server_pid,
            "folder": folder,
            **peer.options,
        }
        told = _client(python, peer, load)
        told["files_mb"] = sum(file.stat().st_size for file in Path(folder).rglob("*")) / 2**20
        with urllib.request.urlopen(f"{address}/stats", timeout=10) as answer:
            told["server"] = json.load(answer)
    told["client"] = peer.name
    ideal = scenario.ideal_ms
    for part in ("p50", "p95", "p99"):
        value = told[f"{part}_ms"]
        above = None if ideal is None or value is None else value - ideal
        told[f"{part}_above_ideal_ms"] = above
    return told


def _client(python: Path, peer: Peer, load: dict[str, Any]) -> dict[str, Any]:
    command = [str(python), "-m", f"bench.peers.clients.{peer.module}", json.dumps(load)]
    try:
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=environment(),
            check=True,
            capture_output=True,
            timeout=load["warm_seconds"] + load["seconds"] + GRACE_SECONDS,
        )
        told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except (subprocess.SubprocessError, IndexError, ValueError) as error:
        raise Missing(f"its program failed: {last_line(error)}") from error
    if "missing" in told:
        raise Missing(told["missing"])
    return told


def imported(python: Path, imports: str) -> dict[str, float]:
    """Return what ``imports`` cost in a fresh interpreter: medians."""
    program = _IMPORT_PROGRAM.format(imports=imports)
    command = [str(python), "-c", program]
    found = []
    for _ in range(IMPORTS + 1):
        done = subprocess.run(
            ["taskset", "-c", str(cores()[0]), *command],
            check=True,
            capture_output=True,
            env=environment(),
        )
        found.append(json.loads(done.stdout))
    del found[0]
    return {name: sorted(each[name] for each in found)[IMPORTS // 2] for name in found[0]}


def idle(what: str, count: int) -> dict[str, float]:
    """Return what `bench.peers.idle` measures, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.peers.idle", what, str(count)],
        cwd=ROOT,
        check=True,
        stdout=subprocess.PIPE,
        env=environment(),
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found
