"""What carrying an answer costs, through httpx's own transport and ours: `python -m bench.transport`.

One hundred streams at once over lanes of ten connections, each an answer of 128 server-sent events
without a delay, from the scripted provider of ``bench.peers`` in a process of its own, which writes
16 events at a time, or 1:

    httpx       httpx's client and transport, lanes and seam of a provider connection
    fast        the same with `actrio.providers._fast_transport` beneath it
    turn        a whole turn, ``runtime.session(agent).ask(…)`` in 100 sessions, over each of them

Milliseconds of this process's CPU per answer, best of several runs in turns: a shared machine makes
wall time a lottery. The goal for a turn is 1.0 ms. ``--profile`` prints where a turn's CPU goes.
"""

from __future__ import annotations

import cProfile
import gc
import os
import platform
import pstats
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import trio

from actrio import Agent
from actrio.providers import ProviderSettings, load_http
from actrio.providers._http import Talk
from actrio.providers._lanes import Lanes
from actrio.runtime import Limits, Settings, open_runtime

STREAMS = 100
N = int(os.environ.get("BENCH_N", "2000"))
"""Answers per run."""

ROUNDS = 3
TURN_MS_MAX = 1.0
TRANSPORTS = ("httpx", "fast")
BODY = (
    b'{"model":"scripted-128","stream":true,"stream_options":{"include_usage":true},'
    b'"messages":[{"role":"user","content":"%b"}]}' % (b"word " * 124)
)


@contextmanager
def server(per_write: int) -> Iterator[str]:
    """Serve in another process; give its base_url."""
    command = [sys.executable, "-m", "bench.peers.server", "--per-write", str(per_write)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}/v1"
        finally:
            process.terminate()


def settings(base_url: str, transport: str) -> ProviderSettings:
    assert transport in TRANSPORTS
    return ProviderSettings(base_url=base_url, transport=transport, max_connections=STREAMS)


async def each(work: Callable[[int], Awaitable[None]]) -> float:
    """Let each stream do its part of N; return the milliseconds of CPU for one."""

    async def stream(number: int, times: int) -> None:
        for _ in range(times):
            await work(number)

    async def run(times: int) -> None:
        async with trio.open_nursery() as nursery:
            for number in range(STREAMS):
                nursery.start_soon(stream, number, times)

    await run(1)  # connections are made, caches are warm
    gc.collect()
    began = time.process_time()
    await run(N // STREAMS)
    return (time.process_time() - began) * 1e3 / N


async def answers(base_url: str, transport: str) -> float:
    """Read whole bodies through the seam, raw."""
    library = load_http()
    chosen, context = settings(base_url, transport), library.tls_context()
    lanes = Lanes(lambda: library.client(chosen, context, trust_env=False), STREAMS)

    async def one(_number: int) -> None:
        size = 0
        headers = {"content-type": "application/json", "accept-encoding": "identity"}
        with library.translated(Talk("bench", "m")):
            async with (
                lanes.client() as client,
                library.post(
                    client, f"{base_url}/chat/completions", headers=headers, body=BODY
                ) as answer,
            ):
                async for piece in answer.pieces:
                    size += len(piece)
        assert size > 10_000

    try:
        return await each(one)
    finally:
        await lanes.aclose()


async def turns(base_url: str, transport: str) -> float:
    """Ask in sessions of a whole runtime."""
    agent = Agent("bench", model="bench:scripted-128")
    chosen = Settings(
        providers={"bench": settings(base_url, transport)}, limits=Limits(turns=STREAMS)
    )
    prompt = "word " * 124

    async with open_runtime(chosen) as runtime:

        async def one(_number: int) -> None:
            async with runtime.session(agent) as session:
                turn = await session.ask(prompt)
            assert len(turn.text) > 128

        return await each(one)


def best(way: Callable[[str, str], Awaitable[float]], base_url: str) -> dict[str, float]:
    found = dict.fromkeys(TRANSPORTS, float("inf"))
    for _ in range(ROUNDS):
        for transport in TRANSPORTS:
            found[transport] = min(found[transport], trio.run(way, base_url, transport))
    return found


def profile(base_url: str) -> None:
    profiler = cProfile.Profile()
    profiler.enable()
    trio.run(turns, base_url, "fast")
    profiler.disable()
    pstats.Stats(profiler).sort_stats("tottime").print_stats(45)


def main() -> int:
    print(f"Python {platform.python_version()}, {load_http().name}, {platform.machine()}")
    if "--profile" in sys.argv[1:]:
        with server(16) as base_url:
            profile(base_url)
        return 0
    print(f"{N} answers of 128 events, {STREAMS} at once; ms of CPU per answer\n")
    print("              events a write    httpx     fast    ratio")
    turn = float("inf")
    for name, way in (("answer", answers), ("turn", turns)):
        for per_write in (16, 1):
            with server(per_write) as base_url:
                found = best(way, base_url)
            own, fast = found["httpx"], found["fast"]
            print(f"{name:<14}{per_write:>14} {own:>8.3f} {fast:>8.3f} {own / fast:>7.1f} ×")
            if name == "turn":
                turn = min(turn, fast)
    missed = turn > TURN_MS_MAX
    print(f"\ngoal: a turn ≤ {TURN_MS_MAX} ms: {'missed' if missed else 'reached'} ({turn:.2f})")
    return 1 if missed and "--check" in sys.argv[1:] else 0


if __name__ == "__main__":
    raise SystemExit(main())
