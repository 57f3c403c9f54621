"""Draining a system, and being told of the end of others."""

from __future__ import annotations

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actrio.actors import Actor, ChildSpec, MailboxSpec, Terminated, open_actor_system
from actrio.errors import ActorFailed, ActorStopped, MailboxFull, Overloaded


class Node(Actor):
    """Passes things on, and keeps what it is told."""

    def __init__(self, log) -> None:
        self.log = log

    async def receive(self, message, ctx):
        match message:
            case ("sleep", seconds):
                await trio.sleep(seconds)
            case ("after", seconds, ref, what):
                await trio.sleep(seconds)
                await ref.tell(what)
            case ("later", seconds, ref, what):
                return ctx.defer(self.later, seconds, ref, what)
            case ("watch", ref):
                ctx.watch(ref)
            case ("unwatch", ref):
                ctx.unwatch(ref)
            case "crash":
                raise ValueError("boom")
            case _:
                self.log.append(message)
        return message

    async def later(self, seconds, ref, what):
        await trio.sleep(seconds)
        ref.tell_nowait(what)

    async def on_control(self, message, ctx):
        self.log.append(message)


async def node(system, name="node", log=None, **kw):
    log = log if log is not None else []
    return await system.spawn(ChildSpec(name, lambda: Node(log), **kw))


# -- drain -----------------------------------------------------------------------------------------


async def test_a_drain_waits_for_all_work_and_reports_it(autojump_clock):
    """What waits and what is in work is handled; the report counts it."""
    log = []
    async with open_actor_system() as system:
        ref = await node(system, log=log)
        await ref.ask("before")
        ref.tell_nowait(("sleep", 3))
        ref.tell_nowait("queued")
        started = trio.current_time()
        report = await system.drain()
        assert trio.current_time() - started == pytest.approx(3)
        assert log == ["before", "queued"]
        assert (report.handled, report.unfinished, report.dead_letters) == (2, (), 0)


async def test_a_draining_system_refuses_outsiders_and_lets_actors_go_on(autojump_clock):
    """Who is no actor gets Overloaded; a message from actor to actor is delivered."""
    log = []
    async with open_actor_system() as system:
        last = await node(system, "last", log)
        first = await node(system, "first")
        first.tell_nowait(("after", 2, last, "handed on"))
        first.tell_nowait(("later", 2, last, "handed on by deferred work"))
        async with trio.open_nursery() as nursery:
            reports = []

            async def drain():
                reports.append(await system.drain())

            nursery.start_soon(drain)
            await wait_all_tasks_blocked()
            for send in (first.tell, first.ask):
                with pytest.raises(Overloaded, match="drains") as caught:
                    await send("from outside")
                assert caught.value.remedy
            with pytest.raises(Overloaded):
                first.tell_nowait("from outside")
            with pytest.raises(Overloaded):
                async with first.stream("from outside"):
                    pass
        assert sorted(log) == ["handed on", "handed on by deferred work"]
        assert reports[0].unfinished == ()
        assert reports[0].handled == 4


async def test_a_drain_that_runs_out_of_time_tells_what_is_unfinished(autojump_clock):
    """The caller's deadline ends the wait like any other; the report can be had all the same."""
    async with open_actor_system() as system:
        slow = await node(system, "slow", shutdown_seconds=1)
        quick = await node(system, "quick")
        slow.tell_nowait(("sleep", 60))
        quick.tell_nowait(("sleep", 1))
        with trio.move_on_after(5) as limit:
            await system.drain()
        assert limit.cancelled_caught
        report = system.drain_report()
        assert report.unfinished == ("/slow",)
        assert report.handled == 1


async def test_a_drain_with_nothing_to_do_returns_at_once(autojump_clock):
    """It waits for work, not for time."""
    async with open_actor_system() as system:
        await node(system)
        started = trio.current_time()
        report = await system.drain()
        assert trio.current_time() == started
        assert (report.handled, report.unfinished) == (0, ())


async def test_a_drain_ends_also_where_an_actor_dies_with_its_work(autojump_clock):
    """Messages that die with a stopped actor are counted as dead letters, not waited for."""
    async with open_actor_system() as system:
        ref = await node(system, restart="temporary")
        ref.tell_nowait(("sleep", 1))
        ref.tell_nowait("crash")
        ref.tell_nowait("never handled")
        report = await system.drain()
        assert (report.handled, report.unfinished, report.dead_letters) == (1, (), 1)


async def test_a_drain_waits_for_a_restart_and_what_comes_after_it(autojump_clock):
    """What waits for an actor in its backoff is work too."""
    log = []
    async with open_actor_system() as system:
        ref = await node(system, log=log)
        ref.tell_nowait("crash")
        ref.tell_nowait("kept")
        report = await system.drain()
        assert log == ["kept"]
        assert report.unfinished == ()


async def test_a_drain_counts_what_is_handled_by_actors_that_end_meanwhile(autojump_clock):
    """The report does not forget the work of those that are gone at its end."""
    async with open_actor_system() as system:
        ref = await node(system, restart="temporary")
        ref.tell_nowait(("sleep", 1))
        ref.tell_nowait("one")
        ref.tell_nowait("crash")
        report = await system.drain()
        assert report.handled == 2


# -- watch -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("end", "reason"), [("stop", "shutdown"), ("crash", "error")])
async def test_a_watcher_learns_the_reason(end, reason, autojump_clock):
    """Terminated carries why the watched actor is gone."""
    log = []
    async with open_actor_system() as system:
        watcher = await node(system, "watcher", log)
        ref = await node(system, restart="temporary")
        await watcher.ask(("watch", ref))
        if end == "stop":
            await system.stop(ref)
        else:
            with pytest.raises(ActorFailed):
                await ref.ask("crash")
        await wait_all_tasks_blocked()
        assert log == [Terminated(ref, reason)]


async def test_a_restart_is_no_end(autojump_clock):
    """Watchers are told of the last end only."""
    log = []
    async with open_actor_system() as system:
        watcher = await node(system, "watcher", log)
        ref = await node(system)
        await watcher.ask(("watch", ref))
        with pytest.raises(ActorFailed):
            await ref.ask("crash")
        await trio.sleep(5)
        assert await ref.ask("back") == "back"
        assert log == []


async def test_unwatch_ends_it_and_needs_no_watch(autojump_clock):
    """After unwatch nothing is told; unwatching what was never watched is no error."""
    log = []
    async with open_actor_system() as system:
        watcher = await node(system, "watcher", log)
        ref = await node(system)
        await watcher.ask(("unwatch", ref))
        await watcher.ask(("watch", ref))
        await watcher.ask(("unwatch", ref))
        await system.stop(ref)
        await wait_all_tasks_blocked()
        assert log == []


async def test_terminated_overtakes_what_waits(autojump_clock):
    """It comes on the control lane, before the data that was sent earlier."""
    log = []
    async with open_actor_system() as system:
        watcher = await node(system, "watcher", log, mailbox=MailboxSpec(capacity=1))
        ref = await node(system)
        await watcher.ask(("watch", ref))
        watcher.tell_nowait(("sleep", 1))
        await wait_all_tasks_blocked()
        watcher.tell_nowait("data")
        with pytest.raises(MailboxFull):
            watcher.tell_nowait("no room")
        await system.stop(ref)
        await trio.sleep(2)
        assert log == [Terminated(ref, "shutdown"), "data"]


async def test_a_watch_ends_with_the_activation_that_made_it(autojump_clock):
    """A fresh instance knows of no watches; it watches anew in on_start."""
    log = []
    async with open_actor_system() as system:
        watcher = await node(system, "watcher", log)
        ref = await node(system)
        await watcher.ask(("watch", ref))
        with pytest.raises(ActorFailed):
            await watcher.ask("crash")
        await trio.sleep(5)
        await system.stop(ref)
        await wait_all_tasks_blocked()
        assert log == []


async def test_a_watcher_that_is_full_of_control_does_not_hold_up_the_end_of_others(autojump_clock):
    """Terminated does not count against the lane's bound, for there is one for each watch."""
    log = []
    async with open_actor_system() as system:
        watcher = await node(system, "watcher", log)
        refs = [await node(system, f"n{n}") for n in range(300)]
        for ref in refs:
            await watcher.ask(("watch", ref))
        watcher.tell_nowait(("sleep", 60))
        await wait_all_tasks_blocked()
        for ref in refs:
            await system.stop(ref)
        assert len(system.tree().children) == 1
        await trio.sleep(61)
        assert [told.ref for told in log] == refs


async def test_sending_to_what_has_stopped_says_so():
    """Each way to send raises ActorStopped with what to do."""
    async with open_actor_system() as system:
        ref = await node(system)
        await system.stop(ref)
        with pytest.raises(ActorStopped) as caught:
            ref.tell_nowait("x")
        assert caught.value.remedy
        with pytest.raises(ActorStopped):
            await ref.tell("x")
        with pytest.raises(ActorStopped):
            await ref.ask("x")
        with pytest.raises(ActorStopped):
            async with ref.stream("x"):
                pass
        with pytest.raises(ActorStopped):
            ref.control("x")
        await system.stop(ref)
