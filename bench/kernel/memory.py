"""What is measured in a process of its own: memory, and a hundred thousand actors at once.

``python -m bench.kernel.memory NAME COUNT`` prints one line of JSON.
"""

from __future__ import annotations

import functools
import gc
import json
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import trio
from trio.testing import wait_all_tasks_blocked

from actrio.actors import (
    Actor,
    ActorSystem,
    Backoff,
    ChildSpec,
    Context,
    MailboxSpec,
    Ref,
    RouteSpec,
    Slot,
    SupervisorSpec,
    open_actor_system,
)
from bench.kernel.kernel import Echo, Poisoned
from bench.kernel.measure import rss_bytes


def _settled() -> int:
    gc.collect()
    return rss_bytes()


async def floor_tasks(count: int) -> dict[str, float]:
    """Bare tasks parked in the receive of a memory channel, one each."""

    async def member(receive: trio.MemoryReceiveChannel[int]) -> None:
        async for _ in receive:
            pass

    before, kept = _settled(), []
    async with trio.open_nursery() as nursery:
        for _ in range(count):
            send, receive = trio.open_memory_channel[int](64)
            kept.append(send)
            nursery.start_soon(member, receive)
        await wait_all_tasks_blocked()
        each = (_settled() - before) / count
        nursery.cancel_scope.cancel()
    return {"bytes_each": each}


async def slot_tasks(count: int) -> dict[str, float]:
    """The same tasks parked in a slot, with a ring that does not exist until it is needed."""

    async def member(slot: Slot) -> None:
        await slot.park()

    before, kept = _settled(), []
    async with trio.open_nursery() as nursery:
        for _ in range(count):
            slot = Slot()
            kept.append(slot)
            nursery.start_soon(member, slot)
        await wait_all_tasks_blocked()
        each = (_settled() - before) / count
        nursery.cancel_scope.cancel()
    return {"bytes_each": each}


async def _spawned(system: ActorSystem, count: int) -> list[Ref[Any]]:
    pool = await system.supervise(
        SupervisorSpec("pool", on_exceeded="quarantine", stop_order="together")
    )
    mailbox = MailboxSpec()
    return [
        await system.spawn(ChildSpec(str(n), Echo, mailbox=mailbox), under=pool)
        for n in range(count)
    ]


async def idle_actors(count: int) -> dict[str, float]:
    """Actors that have handled something once and now wait."""
    async with open_actor_system() as system:
        before = _settled()
        refs = await _spawned(system, count)
        for ref in refs:
            await ref.ask("once")
        await wait_all_tasks_blocked()
        return {"bytes_each": (_settled() - before) / count}


async def sleeping_addresses(count: int) -> dict[str, float]:
    """Routed addresses that have been used, with a ref to each still held."""
    async with open_actor_system() as system:
        await system.route(RouteSpec("/echo/{id}", lambda _: Echo(), resident_max=1))
        await system.ref("/echo/warm").ask("up")
        before = _settled()
        refs = [system.ref(f"/echo/{n}") for n in range(count)]
        for ref in refs:
            await ref.ask("once")
        await wait_all_tasks_blocked()
        assert len(system.inspect("/echo").children) == 1
        return {"bytes_each": (_settled() - before) / count}


async def many(count: int) -> dict[str, float]:
    """All of them alive at once: start, memory, a full collection, and a clean stop."""
    found: dict[str, float] = {}
    tasks = trio.lowlevel.current_statistics().tasks_living
    started = time.process_time()
    async with open_actor_system() as system:
        await _spawned(system, count)
        found["spawn_seconds"] = time.process_time() - started
        found["rss_gb"] = _settled() / 1e9
        started = time.perf_counter()
        gc.collect()
        found["collection_seconds"] = time.perf_counter() - started
        started = time.process_time()
    found["stop_seconds"] = time.process_time() - started
    found["tasks_left"] = trio.lowlevel.current_statistics().tasks_living - tasks
    return found


async def _growth(rounds: int, one: Callable[[int], Awaitable[None]]) -> dict[str, float]:
    """Return by how much memory grew over all rounds but the first tenth, which fills caches."""
    for n in range(rounds // 10):
        await one(n)
    before = _settled()
    for n in range(rounds):
        await one(n)
    return {"growth_percent": 100 * (_settled() - before) / before}


async def flat_messages(rounds: int) -> dict[str, float]:
    async with open_actor_system() as system:
        ref = await system.spawn(ChildSpec("echo", Echo))
        return await _growth(rounds, ref.tell)


async def flat_restarts(rounds: int) -> dict[str, float]:
    async with open_actor_system() as system:
        backoff = Backoff(initial_seconds=0, factor=1)
        spec = ChildSpec("p", Poisoned, backoff=backoff, intensity=10**6, period_seconds=0)
        ref = await system.spawn(spec)

        async def one(_: int) -> None:
            ref.tell_nowait("crash")
            await ref.ask("up")

        return await _growth(rounds, one)


class Timed(Actor[Any]):
    async def receive(self, message: Any, ctx: Context) -> Any:
        ctx.timers.once("later", 1000, "never")
        return message


async def flat_addresses(rounds: int) -> dict[str, float]:
    async with open_actor_system() as system:
        await system.route(RouteSpec("/timed/{id}", lambda _: Timed(), resident_max=1))

        async def one(n: int) -> None:
            await system.ref(f"/timed/{n % 1000}").ask(n)

        return await _growth(rounds, one)


MEASURES = {
    each.__name__: each
    for each in (
        floor_tasks,
        slot_tasks,
        idle_actors,
        sleeping_addresses,
        many,
        flat_messages,
        flat_restarts,
        flat_addresses,
    )
}

if __name__ == "__main__":
    print(json.dumps(trio.run(functools.partial(MEASURES[sys.argv[1]], int(sys.argv[2])))))
