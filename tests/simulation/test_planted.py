"""Planted bugs that random programs meet too rarely, each met here on purpose."""

from __future__ import annotations

import trio
from trio.testing import wait_all_tasks_blocked

from actrio.actors import Actor, Backoff, ChildSpec, open_actor_system

QUICK = Backoff(initial_seconds=0.1, jitter=0.0)


class Walker(Actor):
    """Calls what it is sent."""

    async def receive(self, message, ctx):
        return await message(ctx)


def spec(name="a"):
    return ChildSpec(name, Walker, backoff=QUICK, intensity=1000)


async def test_a_handler_that_outlasts_its_askers_cancel_harms_not_the_next_message(
    autojump_clock,
):
    """The scope that the asker cancelled is used up, although nothing was raised in it."""
    done = []

    async def shielded(ctx):
        with trio.CancelScope(shield=True):
            await trio.sleep(1)

    async def sleeps(ctx):
        await trio.sleep(1)
        done.append("slept")

    async with open_actor_system() as system:
        ref = await system.spawn(spec())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_given_up, ref, shielded)
            await wait_all_tasks_blocked()
            ref.tell_nowait(sleeps)
        await trio.sleep(3)
        assert done == ["slept"]
        assert system.inspect("/a").outcomes == {"handled": 2}


async def _given_up(ref, message):
    async def gives_up(scope):
        await trio.sleep(0.5)
        scope.cancel()  # no deadline: the handler cannot know before

    async with trio.open_nursery() as nursery:
        with trio.CancelScope() as scope:
            nursery.start_soon(gives_up, scope)
            await ref.ask(message)


async def test_the_end_of_an_old_actor_does_not_take_out_its_successor():
    """Stopped and started anew in the very step in which its end is on its way."""
    met = 0

    async def stops(ctx):
        ctx.stop()

    async with open_actor_system() as system:
        for n in range(40):
            old = await system.spawn(spec(f"a{n}"))
            old.tell_nowait(stops)
            while old.cell.activation is not None:
                await trio.lowlevel.checkpoint()
            met += old.cell.state == "stopping"  # nobody has looked at its end yet
            await system.stop(old)
            new = await system.spawn(spec(f"a{n}"))
            await wait_all_tasks_blocked()
            assert system.whereis(f"/a{n}") == new
    assert met > 0
