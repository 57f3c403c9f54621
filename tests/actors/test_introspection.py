"""Looking into a running system: tree, inspect, top, suspend, trace, dead letters."""

from __future__ import annotations

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actrio.actors import (
    Actor,
    ActorCrashed,
    Backoff,
    ChildSpec,
    MailboxSpec,
    SupervisorSpec,
    open_actor_system,
)
from actrio.errors import ActorFailed, NotFound

QUICK = Backoff(initial_seconds=0.1, jitter=0.0)


class Plain(Actor):
    """Sleeps, asks, defers or crashes on demand."""

    def __init__(self, log=None) -> None:
        self.log = log if log is not None else []

    async def receive(self, message, ctx):
        match message:
            case ("sleep", seconds):
                await trio.sleep(seconds)
            case ("ask", ref, what):
                return await ref.ask(what)
            case ("defer", seconds):
                return ctx.defer(trio.sleep, seconds)
            case "crash":
                raise ValueError("boom")
        self.log.append(message)
        return message

    async def on_control(self, message, ctx):
        self.log.append(message)


async def spawn(system, name="plain", log=None, under=None, **kw):
    spec = ChildSpec(name, lambda: Plain(log), backoff=QUICK, **kw)
    return await system.spawn(spec, under=under)


async def test_a_snapshot_tells_what_an_actor_does_and_for_how_long(autojump_clock):
    """Kind, state, the message in work and its age, whom it waits for."""
    async with open_actor_system() as system:
        slow = await spawn(system, "slow")
        front = await spawn(system, "front")
        front.tell_nowait(("ask", slow, ("sleep", 10)))
        await trio.sleep(3)
        shown = system.inspect("/front")
        assert (shown.kind, shown.state, shown.generation) == ("Plain", "running", 1)
        assert shown.current == ("tuple",)
        assert shown.current_age_seconds == pytest.approx(3)
        assert shown.waits_on == ("/slow",)
        await trio.sleep(10)
        assert system.inspect("/front").waits_on == ()
        assert system.inspect("/front").current == ()


async def test_inspect_finds_every_floor_and_says_what_to_do_otherwise():
    """The root, a supervisor, an actor; nothing else."""
    async with open_actor_system("mine") as system:
        pool = await system.supervise(SupervisorSpec("pool"))
        await spawn(system, "a", under=pool)
        assert system.inspect("/").children == system.tree().children
        assert system.inspect("/pool").kind == "Supervisor"
        assert system.inspect("/pool/a").path == "/pool/a"
        assert [node.path for node in system.tree().walk()] == ["/", "/pool", "/pool/a"]
        for wrong in ("/nobody", "/pool/nobody", "/pool/a/b"):
            with pytest.raises(NotFound) as caught:
                system.inspect(wrong)
            assert caught.value.remedy


async def test_top_sorts_by_what_is_asked(autojump_clock):
    """Depth, handled, restarts, age; at most limit of them."""
    async with open_actor_system() as system:
        refs = {name: await spawn(system, name) for name in ("idle", "deep", "busy", "poor")}
        for n in range(5):
            await refs["busy"].ask(n)
        with pytest.raises(ActorFailed):
            await refs["poor"].ask("crash")
        await trio.sleep(1)
        refs["deep"].tell_nowait(("sleep", 10))
        await trio.sleep(1)
        for n in range(3):
            refs["deep"].tell_nowait(n)
        assert system.top("depth")[0].path == "/deep"
        assert system.top("handled")[0].path == "/busy"
        assert system.top("restarts")[0].path == "/poor"
        assert system.top("age", limit=1)[0].path == "/deep"
        assert len(system.top("age", limit=1)) == 1
        assert len(system.top()) == 4


async def test_a_suspended_actor_takes_nothing_but_control(autojump_clock):
    """What is in work ends, the rest waits until resume; control is heard."""
    log = []
    async with open_actor_system() as system:
        ref = await spawn(system, log=log)
        ref.tell_nowait(("sleep", 1))
        await wait_all_tasks_blocked()
        ref.tell_nowait("waits")
        system.suspend(ref)
        ref.control("control")
        await trio.sleep(60)
        assert log == [("sleep", 1), "control"]
        assert system.inspect("/plain").state == "suspended"
        system.resume(ref)
        await ref.ask("end")
        assert log == [("sleep", 1), "control", "waits", "end"]
        assert system.inspect("/plain").state == "running"


async def test_a_suspended_actor_can_be_stopped_and_crashed_into_a_restart(autojump_clock):
    """Suspension outlives a restart, and never holds up an end."""
    log = []
    async with open_actor_system() as system:
        ref = await spawn(system, log=log)
        ref.tell_nowait("crash")
        system.suspend(ref)
        system.resume(ref)
        await trio.sleep(1)
        assert system.inspect("/plain").restarts == 1
        system.suspend(ref)
        ref.tell_nowait("waits")
        await trio.sleep(1)
        await system.stop(ref)
        assert log == []
        assert [letter.message for letter in system.dead_letters.latest()] == ["waits"]


async def test_trace_tells_each_step_of_each_message(autojump_clock):
    """Accepted, then its one outcome; off again with None; others are not traced."""
    steps = []
    async with open_actor_system() as system:
        ref = await spawn(system)
        other = await spawn(system, "other")
        system.trace(ref, steps.append)
        await ref.ask("a")
        ref.tell_nowait("b")
        ref.tell_nowait("crash")
        await other.ask("x")
        with trio.move_on_after(0.5):
            await ref.ask(("sleep", 60))
        system.trace(ref, None)
        await ref.ask("end")
    told = {}
    for step in steps:
        assert step.path == "/plain"
        told.setdefault(step.message, []).append(step.step)
    assert told == {
        "a": ["accepted", "begun", "handled"],
        "b": ["accepted", "begun", "handled"],
        "crash": ["accepted", "begun", "failed"],
        ("sleep", 60): ["accepted", "begun", "interrupted"],
    }


async def test_observers_are_told_of_each_crash_and_when_it_comes_back(autojump_clock):
    """With the delay of the restart, or None where there is none."""
    told = []
    async with open_actor_system() as system:
        system.observe(told.append)
        ref = await spawn(system)
        once = await spawn(system, "once", restart="temporary")
        for each in (ref, once):
            with pytest.raises(ActorFailed):
                await each.ask("crash")
        await trio.sleep(1)
    assert all(isinstance(each, ActorCrashed) for each in told)
    assert [(each.path, each.restart_in_seconds) for each in told] == [
        ("/plain", pytest.approx(0.1)),
        ("/once", None),
    ]
    assert isinstance(told[0].error, ValueError)


async def test_dead_letters_are_a_bounded_ring_with_a_full_count(autojump_clock):
    """The latest are kept, all are counted by reason, subscribers see each until they end it."""
    seen = []
    async with open_actor_system(dead_letters_max=3) as system:
        ref = await spawn(system, mailbox=MailboxSpec(capacity=1, when_full="drop_newest"))
        end = system.dead_letters.subscribe(seen.append)
        ref.tell_nowait(("sleep", 1))
        await wait_all_tasks_blocked()
        for n in range(6):
            ref.tell_nowait(n)
        end()
        ref.tell_nowait(6)
        letters = system.dead_letters.latest()
        assert [letter.message for letter in letters] == [4, 5, 6]
        assert {letter.reason for letter in letters} == {"dropped"}
        assert letters[0].path == "/plain"
        assert letters[0].at == trio.current_time()
        assert len(system.dead_letters) == 6
        assert system.dead_letters.counts == {"dropped": 6}
        assert [letter.message for letter in seen] == [1, 2, 3, 4, 5]


async def test_counts_add_up_across_every_outcome(autojump_clock):
    """accepted = handled + failed + interrupted + skipped + dead + waiting + in work, always."""
    async with open_actor_system() as system:
        mailbox = MailboxSpec(capacity=2, when_full="drop_oldest")
        ref = await spawn(system, mailbox=mailbox, concurrency=2)
        for n in range(30):
            ref.tell_nowait(("defer", 3) if n % 3 else ("sleep", 1))
            if n % 5 == 0:
                with trio.move_on_after(0.5):
                    await ref.ask(("sleep", 2))
            if n % 11 == 0:
                ref.tell_nowait("crash")
            shown = system.inspect("/plain")
            in_work = len(shown.current)
            settled = sum(shown.outcomes.values())
            assert shown.accepted == settled + shown.mailbox.depth + in_work


async def test_an_actor_shows_facts_of_its_own_in_the_tree():
    """A snapshot holds what the actor tells of itself, and nothing once it is gone."""

    class Counter(Actor):
        seen = 0

        async def receive(self, message, ctx):
            self.seen += 1

        def facts(self):
            return {"seen": self.seen}

    async with open_actor_system() as system:
        ref = await system.spawn(ChildSpec("counter", Counter))
        await ref.ask("x")
        assert system.inspect("/counter").facts == {"seen": 1}
