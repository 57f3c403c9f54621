"""I15: memory is flat over rounds of everything that comes and goes."""

from __future__ import annotations

import gc
import os
import tracemalloc

import trio

from actrio.actors import (
    Actor,
    Backoff,
    ChildSpec,
    RouteSpec,
    SupervisorSpec,
    open_actor_system,
)
from actrio.testing import simulate

ROUNDS = int(os.environ.get("MEMORY_ROUNDS", "400"))
NOISE_BYTES = 131_072
"""Trio keeps up to 1000 deadlines that are over, with their scopes, and our heap 64 timers; a leaked
cell is 3 KB, so 400 rounds that leak one show ten times this."""


class Visitor(Actor):
    """Sets timers, watches, starts tasks and crashes, as told."""

    def __init__(self, watched=None) -> None:
        self.watched = watched

    async def on_start(self, ctx):
        if self.watched is not None:
            ctx.watch(self.watched)
        ctx.timers.every("tick", 1000, "tick")
        ctx.start_task(trio.sleep_forever)

    async def receive(self, message, ctx):
        if message == "crash":
            raise ValueError("boom")
        if message == "stream":
            for n in range(5):
                await ctx.emit(n)
        return ctx.generation


def used(system):
    """Return bytes in use, and what the system counts of its own."""
    gc.collect()
    return tracemalloc.get_traced_memory()[0], len(system.timers)


async def flat(system, rounds, one_round):
    """Run ``rounds`` twice, after a warm-up; the second half may add nothing but noise."""
    for n in range(rounds // 4):
        await one_round(n)
    before = used(system)
    for n in range(rounds):
        await one_round(n)
    after = used(system)
    assert after[1] == before[1], "timers are left"
    assert after[0] <= before[0] * 1.02 + NOISE_BYTES, f"{after[0] - before[0]} bytes more"


def measured(main):
    """Run ``main(ports)`` simulated, with memory traced."""
    tracemalloc.start()
    try:
        simulate(main, seed=0, hang_seconds=600)
    finally:
        tracemalloc.stop()


def test_memory_is_flat_over_activations_and_passivations():
    """New addresses come, watch, set timers, and go; nothing of them stays."""

    async def main(ports):
        async with open_actor_system(rng=ports.random, dead_letters_max=8) as system:
            watched = await system.spawn(ChildSpec("watched", Visitor))
            await system.route(RouteSpec("/r/{n}", lambda _: Visitor(watched), idle_seconds=1))
            number = 0

            async def one_round(_):
                nonlocal number
                for _ in range(5):
                    number += 1
                    await system.ref(f"/r/{number}").ask("hello")
                await trio.sleep(2)

            await flat(system, ROUNDS, one_round)
            assert system.route_statistics()["/r"].resident == 0
            assert len(system.tree().walk()) == 3

    measured(main)


def test_memory_is_flat_over_restarts():
    """Each restart leaves nothing of the activation before it."""

    async def main(ports):
        async with open_actor_system(rng=ports.random, dead_letters_max=8) as system:
            pool = await system.supervise(SupervisorSpec("pool", on_exceeded="quarantine"))
            watched = await system.spawn(ChildSpec("watched", Visitor))
            ref = await system.spawn(
                ChildSpec(
                    "w",
                    lambda: Visitor(watched),
                    backoff=Backoff(0.01, 0.01),
                    intensity=10,
                    period_seconds=1,
                ),
                under=pool,
            )

            async def one_round(_):
                ref.tell_nowait("crash")
                await trio.sleep(1)

            await flat(system, ROUNDS, one_round)
            assert system.inspect("/pool/w").restarts >= ROUNDS

    measured(main)


def test_memory_is_flat_over_messages_streams_and_cancels():
    """Asks, streams, cancelled asks and timers leave nothing."""

    async def main(ports):
        async with open_actor_system(rng=ports.random, dead_letters_max=8) as system:
            ref = await system.spawn(ChildSpec("v", Visitor))

            async def one_round(_):
                await ref.ask("hello")
                with trio.move_on_after(0):
                    await ref.ask("late")
                async with ref.stream("stream", credit=2) as items:
                    async for _item in items:
                        break
                await trio.sleep(0.1)

            await flat(system, ROUNDS, one_round)

    measured(main)


def test_memory_is_flat_over_spawns_and_stops():
    """Names come and go."""

    async def main(ports):
        async with open_actor_system(rng=ports.random, dead_letters_max=8) as system:

            async def one_round(n):
                ref = await system.spawn(ChildSpec(f"v{n}", Visitor))
                ref.tell_nowait("hello")
                await system.stop(ref)

            await flat(system, ROUNDS, one_round)
            assert system.tree().children == ()

    measured(main)
