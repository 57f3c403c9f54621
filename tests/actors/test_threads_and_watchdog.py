"""Other threads that send, and the thread that watches. Real threads, real time, little of it."""

from __future__ import annotations

import threading
import time

import pytest
import trio

from actrio.actors import Actor, ChildSpec, LoopStalled, MailboxSpec, open_actor_system
from actrio.errors import ActorStopped, MailboxFull


class Sink(Actor):
    """Keeps what it gets."""

    def __init__(self, log) -> None:
        self.log = log

    async def receive(self, message, ctx):
        self.log.append(message)
        return len(self.log)


async def test_threads_send_bursts_in_order_each():
    """Four threads, a thousand messages each: all arrive, FIFO for each thread."""
    log = []
    async with open_actor_system() as system:
        mailbox = MailboxSpec(capacity=10_000)
        ref = await system.spawn(ChildSpec("sink", lambda: Sink(log), mailbox=mailbox))
        door = system.threads()

        def send(thread):
            for n in range(1000):
                door.tell(ref, (thread, n))

        async with trio.open_nursery() as nursery:
            for thread in range(4):
                nursery.start_soon(trio.to_thread.run_sync, send, thread)
        await trio.testing.wait_all_tasks_blocked()
        assert await ref.ask("end") == 4001
    for thread in range(4):
        assert [n for t, n in log[:-1] if t == thread] == list(range(1000))


async def test_what_a_thread_sends_in_vain_is_a_dead_letter():
    """No room, or the actor is gone: the sending thread does not wait to be told."""
    log = []
    async with open_actor_system() as system:
        ref = await system.spawn(
            ChildSpec("sink", lambda: Sink(log), mailbox=MailboxSpec(capacity=2))
        )
        door = system.threads()
        for n in range(4):
            door.tell(ref, n)  # the Trio thread is a thread too; all are delivered in one go
        await trio.testing.wait_all_tasks_blocked()
        assert system.dead_letters.counts == {"dropped": 2}
        await system.stop(ref)
        door.tell(ref, "too late")
        await trio.testing.wait_all_tasks_blocked()
        assert system.dead_letters.counts == {"dropped": 2, "stopped": 1}
    assert log == [0, 1]


async def test_threads_are_told_when_the_trio_thread_does_not_keep_up():
    """What waits for the Trio thread is bounded."""
    async with open_actor_system() as system:
        ref = await system.spawn(ChildSpec("sink", lambda: Sink([])))
        door = system.threads()
        with pytest.raises(MailboxFull, match="wait for the Trio thread") as caught:
            for n in range(20_000):
                door.tell(ref, n)
        assert caught.value.remedy
        await trio.testing.wait_all_tasks_blocked()
        door.tell(ref, "room again")


def test_a_thread_that_sends_after_the_run_is_told_so():
    """The door outlives the run, and says that nobody is behind it."""

    async def main():
        async with open_actor_system() as system:
            ref = await system.spawn(ChildSpec("sink", lambda: Sink([])))
            return system.threads(), ref

    door, ref = trio.run(main)
    for _ in range(2):
        with pytest.raises(ActorStopped, match="over"):
            door.tell(ref, "x")


async def test_a_filter_that_refuses_what_a_thread_sends_does_not_harm_the_run():
    """An error of a send filter, whatever it is, ends neither the burst nor the program."""
    log = []

    def picky(message):
        if message == 1:
            raise ValueError("not 1")
        return message

    async with open_actor_system() as system:
        ref = await system.spawn(ChildSpec("sink", lambda: Sink(log), send_filters=(picky,)))
        door = system.threads()
        for n in range(3):
            door.tell(ref, n)
        await trio.testing.wait_all_tasks_blocked()
        assert log == [0, 2]
        (letter,) = system.dead_letters.latest()
        assert (letter.message, letter.reason) == (1, "filtered")
        assert "not 1" in letter.detail


async def test_the_watchdog_names_a_handler_that_burns_time():
    """The dead letter has the stack of the Trio thread, down to the loop that burns."""

    class Burner(Actor):
        async def receive(self, message, ctx):
            self.a_loop_that_never_yields()

        def a_loop_that_never_yields(self):
            end = time.monotonic() + 0.3
            while time.monotonic() < end:
                pass

    async with open_actor_system(watchdog_seconds=0.05) as system:
        ref = await system.spawn(ChildSpec("burner", Burner))
        await ref.ask("x")
        with trio.fail_after(5):
            while not system.stalls:
                await trio.sleep(0.01)
        letter = system.dead_letters.latest()[-1]
        assert letter.reason == "stuck"
        assert isinstance(letter.message, LoopStalled)
        assert letter.message.seconds >= 0.05
        assert "a_loop_that_never_yields" in letter.message.stack
        assert "a_loop_that_never_yields" in letter.detail


async def test_the_watchdog_is_silent_while_all_is_well_and_ends_with_its_system():
    """Waiting is no stall, and no thread is left."""
    async with open_actor_system(watchdog_seconds=0.05) as system:
        await trio.sleep(0.2)
        assert system.stalls == 0
    with trio.fail_after(5):
        while any(thread.name == "actrio watchdog" for thread in threading.enumerate()):
            await trio.sleep(0.01)
