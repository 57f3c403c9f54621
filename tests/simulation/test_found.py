"""What the simulation found in the kernel, each as the smallest program that shows it."""

from __future__ import annotations

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actrio.actors import (
    Actor,
    Backoff,
    ChildSpec,
    MailboxSpec,
    RouteSpec,
    SupervisorSpec,
    Terminated,
    open_actor_system,
)
from actrio.errors import ActorFailed, ActorStopped, DeadlockError, RestartBudgetExceeded

QUICK = Backoff(initial_seconds=0.1, jitter=0.0)


class Scripted(Actor):
    """Does what each message says; writes down what it hears."""

    def __init__(self, log=None, *, start=None, stop_seconds=0.0) -> None:
        self.log = log if log is not None else []
        self.start = start
        self.stop_seconds = stop_seconds

    async def on_start(self, ctx):
        if self.start is not None:
            await self.start(ctx)

    async def receive(self, message, ctx):
        if message == "crash":
            raise ValueError("boom")
        self.log.append(message)
        return await message(ctx) if callable(message) else message

    async def on_control(self, message, ctx):
        self.log.append(message)

    async def on_stop(self, ctx, reason):
        await trio.sleep(self.stop_seconds)


def spec(name="a", factory=Scripted, **kw):
    kw.setdefault("backoff", QUICK)
    return ChildSpec(name, factory, **kw)


async def messy(ctx):
    """Fail while being cancelled, beside a task that is only cancelled."""

    async def fails():
        try:
            await trio.sleep_forever()
        finally:
            raise KeyError("in the middle of a cancel")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(fails)
        nursery.start_soon(trio.sleep_forever)


async def test_what_fails_while_it_is_cancelled_is_a_crash_of_that_actor_alone(autojump_clock):
    """A group of a cancel and an error must not leave the activation: it would end the system."""
    async with open_actor_system() as system:
        ref = await system.spawn(spec())
        deferring = await system.spawn(spec("b"))
        ref.tell_nowait(messy)

        async def defers(ctx):
            return ctx.defer(messy, ctx)

        deferring.tell_nowait(defers)
        await wait_all_tasks_blocked()
        ref.cell.activation.scope.cancel()
        deferring.cell.activation.scope.cancel()
        await trio.sleep(1)
        assert await ref.ask("x") == "x"
        assert "in the middle of a cancel" in system.inspect("/a").last_error or "KeyError" in (
            system.inspect("/a").last_error
        )


async def test_control_sent_while_an_actor_is_down_is_heard_before_its_next_message(
    autojump_clock,
):
    """What came during the backoff is not left in the lane."""
    log = []
    async with open_actor_system() as system:
        ref = await system.spawn(spec(factory=lambda: Scripted(log)))
        ref.tell_nowait("crash")
        await wait_all_tasks_blocked()
        ref.tell_nowait("data")
        ref.control("now")
        await trio.sleep(1)
        assert log == ["now", "data"]


async def test_a_suspended_actor_stays_suspended_over_a_restart(autojump_clock):
    """The next activation takes nothing either, until resume."""
    log = []
    async with open_actor_system() as system:
        ref = await system.spawn(spec(factory=lambda: Scripted(log)))
        ref.tell_nowait("crash")
        await wait_all_tasks_blocked()
        system.suspend(ref)
        ref.tell_nowait("data")
        await trio.sleep(1)
        assert log == []
        system.resume(ref)
        await wait_all_tasks_blocked()
        assert log == ["data"]


async def test_a_trace_tells_accepted_first(autojump_clock):
    """Also of a message that is dropped at once, and of one whose sender stood in line."""
    steps = []
    async with open_actor_system() as system:
        for when_full in ("drop_newest", "wait"):
            mailbox = MailboxSpec(capacity=1, when_full=when_full)
            ref = await system.spawn(spec(when_full, mailbox=mailbox))
            system.trace(ref, lambda trace: steps.append((trace.message, trace.step)))

            async def sleeps(ctx):
                await trio.sleep(1)

            ref.tell_nowait(sleeps)
            await wait_all_tasks_blocked()
            ref.tell_nowait(f"{when_full} 1")
            await ref.tell(f"{when_full} 2")
            await trio.sleep(3)
    for when_full, last in (("drop_newest", "dead"), ("wait", "handled")):
        told = [step for message, step in steps if message == f"{when_full} 2" and step != "begun"]
        assert told == ["accepted", last]


async def test_a_watch_ends_with_the_activation_that_asked_for_it(autojump_clock):
    """A fresh instance is not told of what it never watched, and nothing is kept for it."""
    log = []
    async with open_actor_system() as system:
        watched = await system.spawn(spec("watched"))
        ref = await system.spawn(spec(factory=lambda: Scripted(log)))

        async def watch(ctx):
            ctx.watch(watched)

        await ref.ask(watch)
        with pytest.raises(ActorFailed):
            await ref.ask("crash")
        await trio.sleep(1)
        assert not watched.cell.watchers
        await system.stop(watched)
        await wait_all_tasks_blocked()
        assert not [each for each in log if isinstance(each, Terminated)]


async def test_a_sleeping_watcher_is_not_woken_as_a_second_cell(autojump_clock):
    """A routed address that watched, went to sleep and was forgotten has no activation of its own."""
    log = []
    async with open_actor_system() as system:
        watched = await system.spawn(spec("watched"))
        await system.route(RouteSpec("/r/{n}", lambda _: Scripted(log), idle_seconds=1))

        async def watch(ctx):
            ctx.watch(watched)

        await system.ref("/r/1").ask(watch)
        await trio.sleep(5)
        assert system.route_statistics()["/r"].resident == 0
        await system.stop(watched)
        await trio.sleep(1)
        assert log == [watch]


async def test_the_end_of_many_that_one_watches_harms_nobody(autojump_clock):
    """A busy watcher's lane takes every Terminated, also beyond the bound for control messages."""
    log = []
    async with open_actor_system() as system:
        pool = await system.supervise(SupervisorSpec("pool", stop_order="together"))
        watched = [await system.spawn(spec(f"w{n}"), under=pool) for n in range(300)]
        ref = await system.spawn(spec(factory=lambda: Scripted(log)))

        async def watch_all(ctx):
            for each in watched:
                ctx.watch(each)
            await trio.sleep(10)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ref.ask, watch_all)
            await wait_all_tasks_blocked()
            for each in watched:
                nursery.start_soon(system.stop, each)
        await wait_all_tasks_blocked()
        assert len([each for each in log if isinstance(each, Terminated)]) == 300


async def test_a_stop_wins_over_a_passivation_on_its_way(autojump_clock):
    """An actor asked to sleep, and then to stop, does not live on because a message came."""

    async def takes_long(ctx):
        await trio.sleep(100)

    async with open_actor_system() as system:
        child = ChildSpec("r", Scripted, shutdown_seconds=1)
        await system.route(RouteSpec("/r/{n}", lambda _: Scripted(), child=child))
        ref = system.ref("/r/1")
        await ref.ask("hello")
        ref.cell.request_stop("passivated")
        ref.tell_nowait(takes_long)
        with trio.fail_after(20):
            await system.stop(ref)
        assert [letter.message for letter in system.dead_letters.latest()] == [takes_long]


async def test_nothing_is_started_in_a_route_that_ends(autojump_clock):
    """A message to a sleeping address of a system that gives up wakes nobody, and hangs nothing."""
    with pytest.raises(RestartBudgetExceeded):
        async with open_actor_system() as system:
            await system.route(RouteSpec("/r/{n}", lambda _: Scripted(stop_seconds=2)))
            one = system.ref("/r/1")
            await one.ask("hello")
            two = system.ref("/r/2")
            assert two.cell.state == "passive"
            breaks = await system.spawn(spec(intensity=0))
            breaks.tell_nowait("crash")
            await wait_all_tasks_blocked()
            with pytest.raises(ActorStopped):
                await system.ref("/r/3").ask("hello")
            with trio.fail_after(20):
                await trio.sleep_forever()


async def test_timers_set_by_tasks_that_are_being_ended_end_too(autojump_clock):
    """A task that sets a timer as its last act, and an on_stop that does, leave none."""

    class Last(Scripted):
        async def on_stop(self, ctx, reason):
            ctx.timers.once("stop", 50, "late")

    async with open_actor_system() as system:
        ref = await system.spawn(spec(factory=Last))

        async def starts(ctx):
            async def last():
                try:
                    await trio.sleep_forever()
                finally:
                    ctx.timers.once("task", 50, "late")

            ctx.start_task(last)
            ctx.timers.once("mine", 50, "late")

        await ref.ask(starts)
        await wait_all_tasks_blocked()
        assert len(system.timers) == 1
        await system.stop(ref)
        assert len(system.timers) == 0


async def test_asking_the_producer_of_a_stream_that_waits_for_credit_is_a_deadlock():
    """The producer waits for its reader, who would wait for the producer: an error at once."""
    async with open_actor_system() as system:
        producer = await system.spawn(spec("producer"))
        reader = await system.spawn(spec("reader"))

        async def emits(ctx):
            for n in range(5):
                await ctx.emit(n)

        async def reads(ctx):
            got = []
            async with producer.stream(emits, credit=1) as items:
                async for item in items:
                    got.append(item)
                    if item == 1:
                        await wait_all_tasks_blocked()
                        with pytest.raises(DeadlockError, match="/reader -> /producer -> /reader"):
                            await producer.ask("x")
            return got

        assert await reader.ask(reads) == [0, 1, 2, 3, 4]
        assert await producer.ask("x") == "x"
        assert system.inspect("/producer").waits_on == system.inspect("/reader").waits_on == ()


async def test_an_actor_that_ends_before_it_is_up_fails_its_spawn(autojump_clock):
    """Killed in its first on_start, it is not started over and over while the spawner waits."""

    async def ends_itself(ctx):
        ctx.stop()
        await trio.sleep(1)

    async with open_actor_system() as system:
        with pytest.raises(ActorFailed), trio.fail_after(10):
            await system.spawn(
                spec(factory=lambda: Scripted(start=ends_itself), shutdown_seconds=0)
            )
        assert system.tree().children == ()


async def test_a_wait_is_over_when_it_is_woken_not_when_its_task_runs():
    """An actor that was just answered can be asked by the one who answered: no false deadlock."""
    answers = []
    async with open_actor_system() as system:
        a = await system.spawn(spec("a"))
        b = await system.spawn(spec("b"))

        async def asks_b(ctx):
            return await b.ask("x")

        async def asks_a(ctx):
            answers.append(await a.ask("y"))

        system.suspend(b)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(a.ask, asks_b)
            await wait_all_tasks_blocked()
            b.tell_nowait(asks_a)
            system.resume(b)
        await b.ask("z")
    assert answers == ["y"]


async def test_what_is_deferred_while_everything_is_cancelled_is_settled(autojump_clock):
    """The tasks of an activation may be on their way out before its loop hears of the cancel."""
    told = []

    async def shielded(seconds):
        with trio.CancelScope(shield=True):
            await trio.sleep(seconds)

    async def defers(ctx):
        return ctx.defer(shielded, 2)

    async def defers_late(ctx):
        await shielded(1)
        return ctx.defer(trio.sleep_forever)

    async def ask(ref, message):
        try:
            with trio.fail_after(20):
                await ref.ask(message)
        except ActorStopped as error:
            told.append(error)

    async with trio.open_nursery() as nursery:
        with trio.move_on_after(0.5):
            async with open_actor_system() as system:
                ref = await system.spawn(spec(concurrency=3))
                nursery.start_soon(ask, ref, defers)
                await wait_all_tasks_blocked()
                nursery.start_soon(ask, ref, defers_late)
                await trio.sleep_forever()
    assert len(told) == 1  # the other one came to its end behind its shield


async def test_an_asker_let_in_from_the_line_waits_all_the_same():
    """Between the room in the mailbox and the asker's next step, the other one's ask is a cycle."""
    errors = []
    async with open_actor_system() as system:
        a = await system.spawn(spec("a", mailbox=MailboxSpec(capacity=1)))
        b = await system.spawn(spec("b"))

        async def asks_b(ctx):
            try:
                return await b.ask("x")
            except DeadlockError as error:
                errors.append(error)

        async def asks_a(ctx):
            try:
                return await a.ask("y")
            except DeadlockError as error:
                errors.append(error)

        system.suspend(a)
        a.tell_nowait(asks_b)
        b.tell_nowait(asks_a)  # stands in line for a, which has one place
        await wait_all_tasks_blocked()
        system.resume(a)  # takes its message, lets b's in, and asks b, in one step
        with trio.fail_after(5):
            assert await a.ask("end") == "end"
    assert len(errors) == 1
