"""actrio against Agno's AgentOS, the same work in one run: ``python -m bench.http.versus``.

100 streaming clients ask one agent of one server; the agent asks the scripted provider of
``bench.peers`` over HTTP, which answers as fast as it is read. The client program and the provider
are the same for both, each in a process of its own; the two servers take turns, so that what else
the machine does falls on both. Counted are turns whose stream ended as it should.

AgentOS runs in an environment of its own (``bench/.venvs``, made when it is first needed), under
uvicorn with uvloop, without a database. Goal: ten times its turns per second.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final
from urllib.parse import urlencode

import attrs
import trio

from bench.http.__main__ import cpu_seconds
from bench.http.client import Load, request, stream_turns
from bench.peers.environments import ROOT, Missing, Peer, python_of
from bench.peers.runs import environment
from bench.peers.work import PIECES

CLIENTS: Final = int(os.environ.get("BENCH_CLIENTS", "100"))
SECONDS: Final = float(os.environ.get("BENCH_SECONDS", "6"))
ROUNDS: Final = int(os.environ.get("BENCH_ROUNDS", "3"))
WARM_SECONDS: Final = 1.5
TAIL_BYTES: Final = 64 * 1024  # AgentOS's last event repeats the whole answer and its metrics
RATIO_MIN: Final = 10.0

_PROMPT: Final = "What is the weather in Paris?"


@attrs.frozen
class Rival:
    """A server: how it is started, what it is asked, and how a good stream ends."""

    name: str
    python: Path
    module: str
    ask: bytes
    end: bytes


def _chat() -> bytes:
    messages = [{"role": "user", "content": _PROMPT}]
    body = {"model": "agent:bench", "stream": True, "messages": messages}
    return request("POST", "/v1/chat/completions", json.dumps(body).encode())


def _form() -> bytes:
    body = urlencode({"message": _PROMPT, "stream": "true"}).encode()
    asked = request("POST", "/agents/bench/runs", body)
    return asked.replace(b"application/json", b"application/x-www-form-urlencoded", 1)


def rivals() -> tuple[Rival, Rival]:
    """Return both.

    Raises:
        Missing: AgentOS cannot be installed.
    """
    peer = Peer(name="AgentOS", module="", imports="", requirements="agentos")
    ours = Rival("actrio", Path(sys.executable), "bench.http.server", _chat(), b"[DONE]")
    theirs = Rival("AgentOS", python_of(peer), "bench.http.agno_server", _form(), b"RunCompleted")
    return ours, theirs


@contextmanager
def running(python: Path, module: str, *arguments: str) -> Iterator[tuple[int, int]]:
    """Run a program that prints its port; yield that and its process id."""
    command = [str(python), "-m", module, *arguments]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, env=environment()) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline()), process.pid
        finally:
            process.kill()


async def load(port: int, rival: Rival, seconds: float) -> Load:
    """Let all clients ask until the time is over."""
    told = Load()
    run = partial(
        stream_turns,
        until=time.perf_counter() + seconds,
        load=told,
        tail_bytes=TAIL_BYTES,
    )
    async with trio.open_nursery() as nursery:
        for _ in range(CLIENTS):
            nursery.start_soon(run, port, [rival.ask], rival.end)
    return told


async def check(port: int, rival: Rival) -> None:
    """Ask once, and see that the whole answer of the provider arrives."""
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    async with stream:
        await stream.send_all(rival.ask)
        got = b""
        with trio.fail_after(30):
            while not got.endswith(b"0\r\n\r\n"):
                data = await stream.receive_some(65536)
                if not data:
                    break
                got += data
    missing = [piece for piece in PIECES if json.dumps(piece)[1:-1].encode() not in got]
    if missing or rival.end not in got:
        raise SystemExit(f"{rival.name} does not answer as it should: {got[:500]!r}")


def measure(rival: Rival) -> float:
    """Run one window; print and return turns per second."""
    with (
        running(Path(sys.executable), "bench.peers.server", "--core", "0") as (provider, _),
        running(rival.python, rival.module, f"http://127.0.0.1:{provider}") as (port, pid),
    ):
        wait_for(port)
        trio.run(check, port, rival)
        trio.run(load, port, rival, WARM_SECONDS)
        cpu, began = cpu_seconds(pid), time.perf_counter()
        told = trio.run(load, port, rival, SECONDS)
        spent, elapsed = cpu_seconds(pid) - cpu, time.perf_counter() - began
    count = len(told.seconds)
    print(
        f"{rival.name:8} {count / elapsed:7.1f} turns/s   {spent / count * 1e3:6.2f} ms CPU   "
        f"p50 {told.p(0.5) * 1e3:7.1f} ms   p95 {told.p(0.95) * 1e3:7.1f} ms   "
        f"first {statistics.median(told.first_seconds) * 1e3:7.1f} ms   failed {told.failed}",
        flush=True,
    )
    return count / elapsed


def wait_for(port: int) -> None:
    """Wait until a server that has printed its port takes connections."""

    async def connect() -> None:
        with trio.fail_after(30):
            while True:
                try:
                    stream = await trio.open_tcp_stream("127.0.0.1", port)
                    await stream.send_all(request("GET", "/health", accept="*/*"))
                    if await stream.receive_some(4096):
                        return
                except OSError:
                    await trio.sleep(0.1)

    trio.run(connect)


def main() -> int:
    try:
        ours, theirs = rivals()
    except Missing as error:
        print(f"AgentOS {error}", file=sys.stderr)
        return 69
    print(f"{CLIENTS} clients, {ROUNDS} × {SECONDS:g} s each, {os.cpu_count()} cores")
    found: dict[str, list[float]] = {ours.name: [], theirs.name: []}
    for _ in range(ROUNDS):
        for rival in (ours, theirs):
            found[rival.name].append(measure(rival))
    medians = {name: statistics.median(rates) for name, rates in found.items()}
    ratio = medians[ours.name] / medians[theirs.name]
    print(f"ratio of the medians: {ratio:.1f} (goal: at least {RATIO_MIN:g})")
    return 0 if ratio >= RATIO_MIN else 1


if __name__ == "__main__":
    raise SystemExit(main())
