"""What an idle actor holds, and what deferred handlings are to the actor that deferred them."""

from __future__ import annotations

import trio
from trio.testing import wait_all_tasks_blocked

from actrio.actors import Actor, ChildSpec, open_actor_system


class Tidy(Actor):
    """Defers the rest of each message; the rest of "itself" asks the actor."""

    async def receive(self, message, ctx):
        if message == "inline":
            return message
        return ctx.defer(self._rest, message, ctx)

    async def _rest(self, message, ctx):
        await trio.sleep(1)
        return await ctx.ref.ask("inline") if message == "itself" else message


async def test_an_idle_actor_holds_one_task(autojump_clock):
    """Deferred handlings leave no task behind: a task is a quarter of an idle actor."""
    async with open_actor_system() as system:
        ref = await system.spawn(ChildSpec("tidy", Tidy))
        await wait_all_tasks_blocked()
        before = trio.lowlevel.current_statistics().tasks_living
        for _ in range(3):
            assert await ref.ask("plain") == "plain"
            await wait_all_tasks_blocked()
            assert trio.lowlevel.current_statistics().tasks_living == before


async def test_every_deferred_handling_may_ask_its_own_actor(autojump_clock):
    """Not only the first of those that run at once: the actor receives meanwhile."""
    answers = []
    async with open_actor_system() as system, trio.open_nursery() as nursery:
        ref = await system.spawn(ChildSpec("tidy", Tidy, concurrency=4))

        async def ask():
            answers.append(await ref.ask("itself"))

        for _ in range(3):
            nursery.start_soon(ask)
            await wait_all_tasks_blocked()
    assert answers == ["inline"] * 3


async def test_a_task_begun_while_the_tasks_end_ends_too(autojump_clock):
    """What ends may start another; the actor's stop reaches that one as well."""
    log = []

    class Restless(Actor):
        async def receive(self, message, ctx):
            ctx.start_task(self._first, ctx)

        async def _first(self, ctx):
            try:
                await trio.sleep_forever()
            finally:
                ctx.start_task(self._second)

        async def _second(self):
            try:
                await trio.sleep_forever()
            finally:
                log.append("ended")

    async with open_actor_system() as system:
        ref = await system.spawn(ChildSpec("restless", Restless))
        await ref.ask("go")
        await wait_all_tasks_blocked()
        with trio.fail_after(60):
            await system.stop(ref)
        assert log == ["ended"]
