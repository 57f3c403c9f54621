"""What a session costs that nobody talks to, in a process of its own: ``idle tasks|sessions N``."""

from __future__ import annotations

import gc
import json
import sys
import time

import trio
import trio.testing

from actrio import Agent, Limits, Settings, open_runtime
from bench.peers.harness import resident_mb


def _resident_bytes() -> float:
    gc.collect()
    return resident_mb() * 2**20


async def tasks(count: int) -> dict[str, float]:
    """The floor: a Trio task that sleeps."""
    before = _resident_bytes()
    async with trio.open_nursery() as nursery:
        for _ in range(count):
            nursery.start_soon(trio.sleep_forever)
        await trio.testing.wait_all_tasks_blocked()
        each = (_resident_bytes() - before) / count
        nursery.cancel_scope.cancel()
    return {"bytes_each": each}


async def sessions(count: int) -> dict[str, float]:
    """Sessions that were opened, and the same after one short turn each."""
    agent = Agent("guide", model="scripted:echo")
    async with open_runtime(Settings(limits=Limits(sessions=count + 1))) as runtime:
        async with runtime.session(agent) as first:
            await first.ask("Hello!")  # so that everything is loaded
        before = _resident_bytes()
        began = time.perf_counter()
        opened = [await runtime.open_session(agent) for _ in range(count)]
        open_seconds = time.perf_counter() - began
        fresh = (_resident_bytes() - before) / count
        for session in opened:
            await session.ask("Hello!")
        used = (_resident_bytes() - before) / count
    return {
        "bytes_each": fresh,
        "bytes_each_after_turn": used,
        "open_us": open_seconds / count * 1e6,
    }


if __name__ == "__main__":
    work = {"tasks": tasks, "sessions": sessions}[sys.argv[1]]
    print(json.dumps(trio.run(work, int(sys.argv[2]))))
