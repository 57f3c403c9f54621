# ruff: noqa: A005 - the room that is measured is called http
"""What HTTP adds to a turn: ``python -m bench.http`` (about a minute).

    throughput   100 streaming clients, 16 deltas each as fast as they go: turns/s, against the same
                 turns in-process (which shares no core with a client, so it is the upper bound)
    paced        the same clients at a pace that leaves the machine idle half of the time: how much
                 longer a turn takes at the 95th percentile than in-process
    idle         1,000 event streams on which nothing happens: resident memory of each

Server and clients are two processes on one machine. Goals: at most 5 ms added at p95, at most 30 kB
for an idle stream.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import trio

from actrio.agents import Agent
from actrio.runtime import Limits, Settings, open_runtime
from bench.http.client import Load, idle_streams, open_connection, request, stream_turns

CLIENTS = int(os.environ.get("BENCH_CLIENTS", "100"))
SECONDS = float(os.environ.get("BENCH_SECONDS", "6"))
IDLE = int(os.environ.get("BENCH_IDLE", "1000"))

STAGGER = 0.011  # seconds between two clients' beginnings: they must not stay in step

FAST = "scripted:tokens?tokens=16"
PACED = "scripted:tokens?tokens=16&ttft=400ms&itl=50ms"

LISTENERS = 40  # of one session; it takes 64

ADDED_MS_MAX = 5.0
IDLE_KB_MAX = 30.0


@contextmanager
def server() -> Iterator[tuple[int, int]]:
    """Run the server; yield its port and process id."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.http.server"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline()), process.pid
    finally:
        process.terminate()
        process.wait()


def resident_kb(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1024


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def chat(model: str) -> bytes:
    body = {"model": model, "stream": True, "messages": [{"role": "user", "content": "Count."}]}
    return request("POST", "/v1/chat/completions", json.dumps(body).encode())


async def over_http(port: int, model: str, seconds: float) -> Load:
    load = Load()
    until = time.perf_counter() + seconds
    async with trio.open_nursery() as nursery:
        for _ in range(CLIENTS):
            await trio.sleep(STAGGER)
            run = partial(stream_turns, until=until, load=load)
            nursery.start_soon(run, port, [chat(model)], b"[DONE]")
    return load


async def in_process(model: str, seconds: float) -> Load:
    load = Load()

    async def client(agent: Agent, until: float) -> None:
        while time.perf_counter() < until:
            begun = time.perf_counter()
            async with runtime.session(agent) as session, session.turn("Count.") as turn:
                async for _event in turn:
                    pass
            load.seconds.append(time.perf_counter() - begun)

    async with open_runtime(Settings(limits=Limits(turns=2000))) as runtime:
        agent = Agent("bench", model=model)
        until = time.perf_counter() + seconds
        async with trio.open_nursery() as nursery:
            for _ in range(CLIENTS):
                await trio.sleep(STAGGER)
                nursery.start_soon(client, agent, until)
    return load


async def idle(port: int, pid: int) -> float:
    """Return the kilobytes of one idle stream."""
    stream = await open_connection(port)
    body = json.dumps({"agent": "assistant"}).encode()
    paths: list[str] = []
    while len(paths) < IDLE:
        await stream.send_all(request("POST", "/v1/sessions", body, "application/json"))
        answer = await stream.receive_some(65536)
        session = json.loads(answer.partition(b"\r\n\r\n")[2])["session"]
        paths += [f"/v1/sessions/{session}/events"] * LISTENERS
    warm = await idle_streams(port, paths[:20])
    before = resident_kb(pid)
    streams = await idle_streams(port, paths)
    await trio.sleep(1)
    each = (resident_kb(pid) - before) / IDLE
    for one in (*streams, *warm, stream):
        await one.aclose()
    return each


def told(load: Load, seconds: float, cpu: float) -> str:
    return (
        f"{len(load.seconds) / seconds:6.0f} turns/s   {cpu / len(load.seconds) * 1e3:5.2f} ms CPU   "
        f"p50 {load.p(0.5) * 1e3:7.1f} ms   p95 {load.p(0.95) * 1e3:7.1f} ms   failed {load.failed}"
    )


def compare(name: str, model: str) -> float:
    """Run one load in-process and over HTTP; return the milliseconds that HTTP adds at p95."""
    cpu = time.process_time()
    inside = trio.run(in_process, model, SECONDS)
    print(f"{name} in-process ", told(inside, SECONDS, time.process_time() - cpu))
    with server() as (port, pid):
        trio.run(over_http, port, FAST, 1.0)
        cpu = cpu_seconds(pid)
        outside = trio.run(over_http, port, model, SECONDS)
        print(f"{name} over HTTP  ", told(outside, SECONDS, cpu_seconds(pid) - cpu))
    return (outside.p(0.95) - inside.p(0.95)) * 1e3


def main() -> int:
    print(f"{CLIENTS} clients, {SECONDS:g} s each, {os.cpu_count()} cores; CPU is the server's")
    compare("throughput", FAST)
    added = compare("paced     ", PACED)
    print(f"added at p95           {added:.1f} ms (goal: at most {ADDED_MS_MAX:g})")
    if "--no-idle" in sys.argv:
        return 0
    with server() as (port, pid):
        each = trio.run(idle, port, pid)
    print(f"an idle stream         {each:.1f} kB (goal: at most {IDLE_KB_MAX:g})")
    return 0 if added <= ADDED_MS_MAX and each <= IDLE_KB_MAX else 1


if __name__ == "__main__":
    raise SystemExit(main())
