"""Timers: messages to oneself, later or again and again, on virtual time."""

from __future__ import annotations

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actrio.actors import Actor, Backoff, ChildSpec, MailboxSpec, open_actor_system
from actrio.errors import ActorFailed, InvalidRequest, LimitExceeded

QUICK = Backoff(initial_seconds=0.1, jitter=0.0)


class Clocked(Actor):
    """Runs a function with its context, and writes down when ticks come."""

    def __init__(self, log) -> None:
        self.log = log

    async def receive(self, message, ctx):
        match message:
            case "crash":
                raise ValueError("boom")
            case ("sleep", seconds):
                await trio.sleep(seconds)
            case str():
                self.log.append((message, round(trio.current_time(), 3)))
            case _:
                return message(ctx.timers)
        return None


async def spawn(system, log, **kw):
    return await system.spawn(ChildSpec("clocked", lambda: Clocked(log), backoff=QUICK, **kw))


async def test_once_comes_once(autojump_clock):
    """At its time, a single time, and then its key is free."""
    log = []
    async with open_actor_system() as system:
        ref = await spawn(system, log)
        await ref.ask(lambda t: t.once("a", 2, "tick"))
        assert len(system.timers) == 1
        await trio.sleep(10)
        assert log == [("tick", 2)]
        assert len(system.timers) == 0
        assert await ref.ask(lambda t: t.cancel("a")) is False


async def test_every_comes_again_and_again_until_cancelled(autojump_clock):
    """At each period; cancel tells whether there was one."""
    log = []
    async with open_actor_system() as system:
        ref = await spawn(system, log)
        await ref.ask(lambda t: t.every("a", 2, "tick"))
        await trio.sleep(7)
        assert log == [("tick", 2), ("tick", 4), ("tick", 6)]
        assert await ref.ask(lambda t: t.cancel("a")) is True
        await trio.sleep(60)
        assert len(log) == 3


async def test_the_same_key_replaces(autojump_clock):
    """Setting a timer again moves it: a debounce in one line."""
    log = []
    async with open_actor_system() as system:
        ref = await spawn(system, log)
        for _ in range(3):
            await ref.ask(lambda t: t.once("a", 2, "tick"))
            await trio.sleep(1)
        await ref.ask(lambda t: t.once("b", 5, "other"))
        await trio.sleep(60)
        assert log == [("tick", 4), ("other", 8)]


async def test_timers_are_sorted_by_time_and_a_sooner_one_wakes_the_task(autojump_clock):
    """A later-set but earlier-due timer does not wait for the first."""
    log = []
    async with open_actor_system() as system:
        ref = await spawn(system, log)
        await ref.ask(lambda t: t.once("slow", 60, "slow"))
        await ref.ask(lambda t: t.once("now", 0, "now"))
        await ref.ask(lambda t: t.once("quick", 1, "quick"))
        await trio.sleep(100)
        assert log == [("now", 0), ("quick", 1), ("slow", 60)]


async def test_no_timer_survives_a_restart(autojump_clock):
    """All of an activation's timers end with it, also those due while it is down."""
    log = []
    async with open_actor_system() as system:
        ref = await spawn(system, log)
        await ref.ask(lambda t: t.every("a", 1, "tick"))
        await ref.ask(lambda t: t.once("b", 0.05, "during the backoff"))
        with pytest.raises(ActorFailed):
            await ref.ask("crash")
        await trio.sleep(60)
        assert log == []
        assert len(system.timers) == 0


async def test_a_timer_set_by_the_next_activation_is_its_own(autojump_clock):
    """The same key in a new activation has nothing to do with the old one."""
    log = []
    async with open_actor_system() as system:
        ref = await spawn(system, log)
        await ref.ask(lambda t: t.once("a", 5, "old"))
        with pytest.raises(ActorFailed):
            await ref.ask("crash")
        await ref.ask(lambda t: t.once("a", 3, "new"))
        await trio.sleep(60)
        assert [what for what, _ in log] == ["new"]


async def test_a_clock_jump_gives_one_tick_not_hundreds(autojump_clock):
    """After a suspend of the machine a periodic timer goes on from now."""
    log = []
    async with open_actor_system() as system:
        ref = await spawn(system, log)
        await ref.ask(lambda t: t.every("a", 1, "tick"))
        autojump_clock.jump(1000)
        await wait_all_tasks_blocked()
        assert log == [("tick", 1000)]
        await trio.sleep(1.5)
        assert log == [("tick", 1000), ("tick", 1001)]


async def test_a_tick_without_room_is_a_dead_letter_and_the_timer_goes_on(autojump_clock):
    """Nobody can wait for room on a timer's behalf."""
    log = []
    async with open_actor_system() as system:
        ref = await spawn(system, log, mailbox=MailboxSpec(capacity=1))
        await ref.ask(lambda t: t.every("a", 1, "tick"))
        await ref.tell(("sleep", 3.5))
        await trio.sleep(4.6)
        assert system.dead_letters.counts == {"dropped": 2}
        assert len(log) == 2


async def test_a_filter_that_refuses_a_tick_harms_no_other_timer(autojump_clock):
    """Whatever a send filter raises, the tick is a dead letter and the timers go on."""
    log = []

    def picky(message):
        if message == "refused":
            raise ValueError("not this")
        return message

    async with open_actor_system() as system:
        ref = await spawn(system, log, send_filters=(picky,))
        await ref.ask(lambda t: t.once("a", 1, "refused"))
        await ref.ask(lambda t: t.once("b", 2, "tick"))
        await trio.sleep(5)
        assert log == [("tick", 2)]
        assert system.dead_letters.counts == {"filtered": 1}


async def test_setting_and_cancelling_in_a_loop_does_not_grow_the_heap(autojump_clock):
    """Cancelled entries are dropped before they come up once they are the most."""
    log = []
    async with open_actor_system() as system:
        ref = await spawn(system, log)

        def churn(timers):
            for _ in range(10_000):
                timers.once("a", 1000, "tick")

        await ref.ask(churn)
        assert len(system.timers) == 1
        assert len(system.timers._heap) < 200
        await trio.sleep(2000)
        assert len(log) == 1


async def test_misuse_of_timers_says_what_to_do(autojump_clock):
    """No period of zero, no thousands of timers in one actor."""
    log = []
    async with open_actor_system() as system:
        ref = await spawn(system, log)
        for wrong in (0, -1, float("nan")):
            with pytest.raises(InvalidRequest, match="no period"):
                await ref.ask(lambda t, wrong=wrong: t.every("a", wrong, "tick"))

        def flood(timers):
            for n in range(2000):
                timers.once(n, 1, "tick")

        with pytest.raises(LimitExceeded, match="1024 timers") as caught:
            await ref.ask(flood)
        assert caught.value.remedy


async def test_a_stopped_actor_has_no_timers(autojump_clock):
    """They end with it, and its ticks are no dead letters."""
    log = []
    async with open_actor_system() as system:
        ref = await spawn(system, log)
        await ref.ask(lambda t: t.every("a", 1, "tick"))
        await system.stop(ref)
        await trio.sleep(10)
        assert log == []
        assert len(system.timers) == 0
        assert not len(system.dead_letters)
