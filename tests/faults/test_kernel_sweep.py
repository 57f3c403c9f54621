"""Each public operation of the kernel, cancelled at its first schedule point, its second, its third …

Whatever the point: the cancelled caller returns, what was started has ended, what was accepted has
its one outcome, and the system goes on.
"""

from __future__ import annotations

from collections import Counter

import pytest
import trio

from actrio.actors import (
    Actor,
    Backoff,
    ChildSpec,
    MailboxSpec,
    RouteSpec,
    SupervisorSpec,
    open_actor_system,
)
from actrio.errors import ActrioError
from actrio.testing import cancel_at_each_step, live_tasks

QUICK = Backoff(initial_seconds=0.1, jitter=0.0)


class Worker(Actor):
    """Works slowly; knows what runs."""

    def __init__(self, running) -> None:
        self.running = running

    async def on_start(self, ctx):
        self.running["up"] += 1
        await trio.sleep(0.1)

    async def receive(self, message, ctx):
        match message:
            case "defer":
                return ctx.defer(self.work, 3)
            case ("emit", count):
                for n in range(count):
                    await ctx.emit(n)
            case ("ask", ref):
                return await ref.ask("work")
            case _:
                await self.work(3)
                self.running["finished work"] += 1
                return "worked"
        return "emitted"

    async def work(self, steps):
        self.running["work"] += 1
        try:
            for _ in range(steps):
                await trio.sleep(0.1)
            return "worked"
        finally:
            self.running["work"] -= 1

    async def on_stop(self, ctx, reason):
        await trio.sleep(0.1)
        self.running["up"] -= 1


class World:
    """A system with a few actors, and what must be true of it after each cancelled operation."""

    def __init__(self, system, running) -> None:
        self.system = system
        self.running = running

    def spec(self, name, **kw):
        return ChildSpec(name, lambda: Worker(self.running), backoff=QUICK, **kw)

    async def settled(self):
        """Let everything end, then look: no work left, every account closed."""
        await trio.sleep(5)
        assert self.running["work"] == 0
        for node in self.system.tree().walk():
            assert node.current == ()
            assert node.waits_on == ()
            if node.mailbox is not None:
                assert node.mailbox.depth == node.mailbox.waiting_senders == 0
                assert node.accepted == sum(node.outcomes.values())


async def in_world(sweep):
    """Run ``sweep(world)`` in a system, and check that nothing is left after it."""
    before, running = live_tasks(), Counter()
    async with open_actor_system(cancel_grace_seconds=1) as system:
        await sweep(World(system, running))
    assert live_tasks() == before
    assert running["up"] == running["work"] == 0


async def test_spawn(autojump_clock):
    """A cancelled spawn leaves neither a task nor the name."""

    async def sweep(world):
        async def operation():
            ref = await world.system.spawn(world.spec("a"))
            await world.system.stop(ref)

        async def check():
            await trio.sleep(1)
            found = world.system.whereis("/a")
            if found is not None:  # cancelled in the stop
                await world.system.stop(found)
            assert world.running["up"] == 0
            assert world.system.tree().children == ()

        assert await cancel_at_each_step(operation, check=check) > 3

    await in_world(sweep)


@pytest.mark.parametrize("when_full", ["wait", "conflate"])
async def test_tell_into_a_full_mailbox(autojump_clock, when_full):
    """Accepted and handled, or not accepted: nothing between."""

    async def sweep(world):
        mailbox = MailboxSpec(
            capacity=1, when_full=when_full, conflate_key=lambda m: m if m == "key" else None
        )
        ref = await world.system.spawn(world.spec("a", mailbox=mailbox))
        sent = Counter()

        async def operation():
            await ref.tell("x")
            sent["sent"] += 1
            await ref.tell("y")
            sent["sent"] += 1
            await ref.tell("z")
            sent["sent"] += 1

        async def check():
            await world.settled()
            node = world.system.inspect("/a")
            assert node.accepted == node.outcomes["handled"] == sent["sent"]

        assert await cancel_at_each_step(operation, check=check) > 3

    await in_world(sweep)


@pytest.mark.parametrize("message", ["work", "defer"])
async def test_ask(autojump_clock, message):
    """When a cancelled ask is over, so is its handling, inline or deferred."""

    async def sweep(world):
        ref = await world.system.spawn(world.spec("a"))

        async def operation():
            try:
                assert await ref.ask(message) == "worked"
            finally:
                assert world.running["work"] == 0

        assert await cancel_at_each_step(operation, check=world.settled) > 3
        assert await ref.ask(message) == "worked"

    await in_world(sweep)


async def test_ask_beside_another_message(autojump_clock):
    """A cancelled ask, inline or deferred, never touches the message that is handled with it."""

    async def sweep(world):
        ref = await world.system.spawn(world.spec("a", concurrency=2))
        told = Counter()

        async def spin():
            for _ in range(15):  # steps at which the cancel can strike between those of the actor
                await trio.lowlevel.checkpoint()

        async def operation():
            world.system.suspend(ref)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ref.ask, "defer")
                nursery.start_soon(spin)
                nursery.start_soon(spin)
                for _ in range(5):
                    await trio.lowlevel.checkpoint()
                ref.tell_nowait("work")
                told["work"] += 1
                world.system.resume(ref)

        async def check():
            world.system.resume(ref)
            await world.settled()
            assert world.running["finished work"] == told["work"]

        for _ in range(6):  # the order within a pass of the scheduler is drawn each time
            assert await cancel_at_each_step(operation, check=check) > 3

    await in_world(sweep)


async def test_tell_with_room(autojump_clock):
    """What was accepted is never reported as cancelled, also at the tells that are schedule points."""

    async def sweep(world):
        ref = await world.system.spawn(world.spec("a"))
        sent = Counter()

        async def operation():
            for _ in range(40):
                await ref.tell("work")
                sent["sent"] += 1

        async def check():
            await trio.sleep(30)
            assert world.system.inspect("/a").accepted == sent["sent"]

        assert await cancel_at_each_step(operation, check=check) > 1

    await in_world(sweep)


async def test_ask_through_another_actor(autojump_clock):
    """The cancel reaches the innermost handler, and both actors go on."""

    async def sweep(world):
        deep = await world.system.spawn(world.spec("deep"))
        front = await world.system.spawn(world.spec("front"))

        async def operation():
            try:
                assert await front.ask(("ask", deep)) == "worked"
            finally:
                assert world.running["work"] == 0

        assert await cancel_at_each_step(operation, check=world.settled) > 3

    await in_world(sweep)


async def test_stream(autojump_clock):
    """The producer has ended when the block has; no item was lost before."""

    async def sweep(world):
        ref = await world.system.spawn(world.spec("a"))

        async def operation():
            got = []
            try:
                async with ref.stream(("emit", 10), credit=2) as items:
                    async for item in items:
                        got.append(item)
                assert items.result == "emitted"
                assert len(got) == 10
            finally:
                assert got == list(range(len(got)))

        assert await cancel_at_each_step(operation, check=world.settled) > 3

    await in_world(sweep)


async def test_stop(autojump_clock):
    """A cancelled stop goes on; the actor is gone soon after, and its askers know."""

    async def sweep(world):
        async def operation():
            ref = await world.system.spawn(world.spec("a"))
            ref.tell_nowait("work")
            ref.tell_nowait("work")
            await world.system.stop(ref)
            assert world.system.whereis("/a") is None

        async def check():
            await trio.sleep(1)
            found = world.system.whereis("/a")
            if found is not None:  # cancelled before the stop began
                await world.system.stop(found)
            assert world.running["up"] == world.running["work"] == 0

        assert await cancel_at_each_step(operation, check=check) > 3

    await in_world(sweep)


async def test_supervise(autojump_clock):
    """A cancelled supervise leaves no part of its tree."""

    async def sweep(world):
        done = []

        async def operation():
            spec = SupervisorSpec(
                f"s{len(done)}",  # a new name only where the one before is there for good
                children=(world.spec("a"), SupervisorSpec("t", children=(world.spec("b"),))),
            )
            await world.system.supervise(spec)
            done.append(True)

        async def check():
            await trio.sleep(1)
            assert len(world.system.tree().children) == len(done)
            assert world.running["up"] == 2 * len(done)

        assert await cancel_at_each_step(operation, check=check) > 3

    await in_world(sweep)


async def test_the_first_message_of_a_route(autojump_clock):
    """A cancelled first ask leaves an address that works, and that goes to sleep."""

    async def sweep(world):
        await world.system.route(
            RouteSpec("/r/{n}", lambda _: Worker(world.running), idle_seconds=1, starts_max=1)
        )
        ref = world.system.ref("/r/1")

        async def operation():
            assert await ref.ask("work") == "worked"

        async def check():
            await world.settled()
            assert world.running["up"] == 0
            assert world.system.route_statistics()["/r"].resident == 0
            assert len(world.system.tree().walk()) == 2

        assert await cancel_at_each_step(operation, check=check) > 3

    await in_world(sweep)


async def test_route(autojump_clock):
    """A cancelled route is there or not; it can be made again if it is not."""
    done = []

    async def operation():
        async with open_actor_system() as system:
            await system.route(RouteSpec("/r/{n}", lambda _: Worker(Counter())))
            assert await system.ref("/r/1").ask("work") == "worked"
            done.append(True)

    before = live_tasks()

    async def check():
        assert live_tasks() == before

    await cancel_at_each_step(operation, check=check)
    assert done


async def test_drain(autojump_clock):
    """A cancelled drain leaves the system closed to new messages and otherwise whole."""
    before = live_tasks()

    async def operation():
        running = Counter()
        async with open_actor_system(cancel_grace_seconds=1) as system:
            world = World(system, running)
            ref = await system.spawn(world.spec("a"))
            ref.tell_nowait("work")
            ref.tell_nowait("defer")
            with trio.CancelScope() as scope:
                try:
                    report = await system.drain()
                finally:
                    scope.cancel()
                    with pytest.raises(ActrioError):
                        ref.tell_nowait("late")
            assert report.handled == 2
            assert report.unfinished == ()

    async def check():
        assert live_tasks() == before

    assert await cancel_at_each_step(operation, check=check) > 3


async def test_open_actor_system_itself(autojump_clock):
    """Whatever the point, when the block is left no task is."""
    before = live_tasks()
    running = Counter()

    async def operation():
        async with open_actor_system(cancel_grace_seconds=1) as system:
            world = World(system, running)
            await system.supervise(
                SupervisorSpec("s", strategy="one_for_all", children=(world.spec("a"),))
            )
            ref = await system.spawn(world.spec("b"))
            async with ref.stream(("emit", 3), credit=1) as items:
                async for _ in items:
                    pass
            ref.tell_nowait("defer")
            await ref.ask("work")

    async def check():
        assert live_tasks() == before
        assert running["up"] == running["work"] == 0

    assert await cancel_at_each_step(operation, check=check) > 10
