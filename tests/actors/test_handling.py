"""One message's handling: control, deferred work, deadlines, answers, and who can end it."""

from __future__ import annotations

import gc
import weakref

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actrio.actors import Actor, Backoff, ChildSpec, open_actor_system
from actrio.errors import ActorFailed, ActorStopped, Conflict, NotFound

QUICK = Backoff(initial_seconds=0.1, jitter=0.0)


class Worker(Actor):
    """Does what a message says."""

    def __init__(self, log=None) -> None:
        self.log = log if log is not None else []

    async def receive(self, message, ctx):
        self.log.append(message)
        match message:
            case ("sleep", seconds):
                await trio.sleep(seconds)
            case ("defer", seconds):
                return ctx.defer(self.work, seconds)
            case ("defer and crash", seconds):
                return ctx.defer(self.fail, seconds, ValueError("late boom"))
            case ("defer and refuse", seconds):
                return ctx.defer(self.fail, seconds, NotFound("none such"))
            case "deadline":
                return trio.current_effective_deadline()
            case "answer early":
                ctx.resolve("early")
                await trio.sleep(5)
                self.log.append("went on")
                return "late"
            case "crash":
                raise ValueError("boom")
            case "stop":
                ctx.stop()
        return message

    async def work(self, seconds):
        try:
            await trio.sleep(seconds)
        except trio.Cancelled:
            self.log.append("work cancelled")
            raise
        return "worked"

    async def fail(self, seconds, error):
        await trio.sleep(seconds)
        raise error

    async def on_control(self, message, ctx):
        self.log.append(message)
        if message == "break":
            raise ValueError("control boom")


async def spawn(system, log=None, **kw):
    return await system.spawn(ChildSpec("worker", lambda: Worker(log), backoff=QUICK, **kw))


def outcomes(system):
    return system.inspect("/worker").outcomes


# -- control -------------------------------------------------------------------------------------


async def test_control_overtakes_everything_that_waits(autojump_clock):
    """What is sent last on the control lane is handled right after the message in work."""
    log = []
    async with open_actor_system() as system:
        ref = await spawn(system, log)
        ref.tell_nowait(("sleep", 1))
        await wait_all_tasks_blocked()
        for n in range(3):
            ref.tell_nowait(n)
        ref.control("now")
        await ref.ask("end")
    assert log == [("sleep", 1), "now", 0, 1, 2, "end"]


async def test_a_full_mailbox_does_not_hold_up_control(autojump_clock):
    """The control lane has its own bound and is heard while data is full and deferred work runs."""
    log = []
    async with open_actor_system() as system:
        ref = await spawn(system, log)
        ref.tell_nowait(("defer", 10))
        await wait_all_tasks_blocked()
        for n in range(64):
            ref.tell_nowait(n)
        ref.control("now")
        await wait_all_tasks_blocked()
        assert log == [("defer", 10), "now"]


async def test_the_control_lane_is_bounded(autojump_clock):
    """Hundreds of control messages for an actor that does not listen are an error."""
    from actrio.errors import MailboxFull

    async with open_actor_system() as system:
        ref = await spawn(system)
        ref.tell_nowait(("sleep", 1))
        await wait_all_tasks_blocked()
        for n in range(256):
            ref.control(n)
        with pytest.raises(MailboxFull, match="control") as caught:
            ref.control("one more")
        assert caught.value.remedy


async def test_an_error_in_on_control_is_a_crash_and_loses_nothing_that_waits(autojump_clock):
    """The actor restarts and goes on with its mailbox."""
    log = []
    async with open_actor_system() as system:
        ref = await spawn(system, log)
        ref.tell_nowait(("sleep", 1))
        await wait_all_tasks_blocked()
        ref.control("break")
        assert await ref.ask("after") == "after"
        assert system.inspect("/worker").restarts == 1
        assert "control boom" in system.inspect("/worker").last_error


# -- deferred work -------------------------------------------------------------------------------


async def test_a_deferred_handling_answers_and_fails_like_any_other(autojump_clock):
    """Its value is the answer, its ActrioError a result, anything else a crash."""
    async with open_actor_system() as system:
        ref = await spawn(system, concurrency=3)
        assert await ref.ask(("defer", 1)) == "worked"
        with pytest.raises(NotFound):
            await ref.ask(("defer and refuse", 1))
        with pytest.raises(ActorFailed, match="late boom"):
            await ref.ask(("defer and crash", 1))
        assert await ref.ask("on") == "on"
        assert outcomes(system) == {"handled": 2, "failed": 2}


async def test_a_crash_interrupts_the_other_deferred_handlings(autojump_clock):
    """Every asker in work learns of the crash, and nobody twice."""
    told = []
    async with open_actor_system() as system:
        ref = await spawn(system, concurrency=3)

        async def ask():
            with pytest.raises(ActorFailed, match="boom"):
                await ref.ask(("defer", 60))
            told.append(trio.current_time())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            nursery.start_soon(ask)
            await wait_all_tasks_blocked()
            ref.tell_nowait("crash")
        assert len(told) == 2
        assert outcomes(system) == {"interrupted": 2, "failed": 1}


@pytest.mark.parametrize("end", ["stop", "crash", "kill"])
async def test_a_deferred_handling_without_its_nursery_yet_is_settled(end, autojump_clock):
    """Deferred in the same step in which the actor ends: still exactly one outcome."""

    class Ending(Worker):
        async def receive(self, message, ctx):
            match end:
                case "stop":
                    ctx.stop()
                case "crash":
                    ctx._activation.crash(ValueError("boom"))
                case "kill":
                    ctx._activation.scope.cancel()
            return ctx.defer(self.work, 1)

    async with open_actor_system() as system:
        ref = await system.spawn(ChildSpec("worker", Ending, restart="temporary"))
        node = ref.cell
        if end == "stop":
            assert await ref.ask("x") == "worked"
        else:
            with pytest.raises((ActorFailed, ActorStopped)):
                await ref.ask("x")
        await node.gone()
        assert node.handled + node.interrupted == 1
        assert not node.deferred


async def test_an_asker_that_leaves_before_the_deferred_task_runs_ends_only_that(autojump_clock):
    """Cancelled between the defer and its task: the task is cancelled, the loop is not."""
    log = []

    class Leaving(Worker):
        async def receive(self, message, ctx):
            if message == "leave":
                scope.cancel()
                return ctx.defer(self.work, 60)
            return message

    async with open_actor_system() as system:
        ref = await system.spawn(ChildSpec("worker", lambda: Leaving(log)))
        with trio.CancelScope() as scope:
            await ref.ask("leave")
        assert scope.cancelled_caught
        assert await ref.ask("next") == "next"
        assert outcomes(system) == {"interrupted": 1, "handled": 1}
        assert system.inspect("/worker").restarts == 0


async def test_cancelling_the_asker_of_deferred_work_ends_it_before_it_returns(autojump_clock):
    """When the cancelled ask is over, the deferred task is too."""
    log = []
    async with open_actor_system() as system:
        ref = await spawn(system, log, concurrency=2)
        with trio.move_on_after(1):
            await ref.ask(("defer", 60))
        assert log == [("defer", 60), "work cancelled"]
        assert system.inspect("/worker").current == ()


async def test_a_stop_waits_for_deferred_work_within_its_bound(autojump_clock):
    """Work shorter than shutdown_seconds ends, longer work is cancelled at it."""
    log = []
    async with open_actor_system() as system:
        ref = await spawn(system, log, concurrency=2, shutdown_seconds=3)
        ref.tell_nowait(("defer", 1))
        ref.tell_nowait(("defer", 60))
        await wait_all_tasks_blocked()
        started = trio.current_time()
        await system.stop(ref)
        assert trio.current_time() - started == pytest.approx(3)
        assert (ref.cell.handled, ref.cell.interrupted) == (1, 1)


# -- the handling scope is shared by many messages -------------------------------------------------


async def test_an_asker_that_leaves_between_two_messages_interrupts_neither(autojump_clock):
    """It is cancelled while the next message is already in work: its own had ended, so be it."""
    log = []
    leaving = trio.CancelScope()

    class Sharing(Worker):
        async def receive(self, message, ctx):
            if message == "second":
                leaving.cancel()  # the first asker is answered, but has not run yet
                await trio.sleep(1)
                log.append("second ended")
            return await super().receive(message, ctx)

    async with open_actor_system() as system:
        ref = await system.spawn(ChildSpec("worker", Sharing))
        ref.tell_nowait(("sleep", 1))
        await wait_all_tasks_blocked()
        async with trio.open_nursery() as nursery:

            async def first():
                with leaving:
                    await ref.ask("first")

            nursery.start_soon(first)
            await wait_all_tasks_blocked()
            nursery.start_soon(ref.ask, "second")
        assert log == ["second ended"]
        assert outcomes(system) == {"handled": 3}


async def test_a_deadline_that_passes_between_two_messages_touches_neither(autojump_clock):
    """The scope's deadline was the first message's; the second starts in a fresh one."""
    async with open_actor_system() as system:
        ref = await spawn(system)
        with trio.move_on_after(1):
            assert await ref.ask("a") == "a"
        await trio.sleep(2)
        assert await ref.ask(("sleep", 5)) == ("sleep", 5)
        with trio.move_on_after(1):
            assert await ref.ask("b") == "b"
        await trio.sleep(2)
        ref.tell_nowait(("sleep", 5))
        await trio.sleep(10)
        assert outcomes(system) == {"handled": 4}


async def test_a_tell_never_inherits_the_deadline_of_an_ask(autojump_clock):
    """The tell right behind an ask with a deadline runs without one, and control too."""
    seen = []

    class Reader(Worker):
        async def receive(self, message, ctx):
            seen.append((message, trio.current_effective_deadline()))
            return await super().receive(message, ctx)

        async def on_control(self, message, ctx):
            seen.append((message, trio.current_effective_deadline()))

    async with open_actor_system() as system:
        ref = await system.spawn(ChildSpec("worker", Reader))
        ref.tell_nowait(("sleep", 1))
        await wait_all_tasks_blocked()
        with trio.fail_after(9):
            deadline = trio.current_effective_deadline()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ref.ask, "asked")
                await wait_all_tasks_blocked()
                ref.tell_nowait("told")
        await ref.ask("end")
        with trio.fail_after(9):
            await ref.ask("deadline")
        ref.control("control")
        await wait_all_tasks_blocked()
    at = dict(seen)
    assert at["asked"] == deadline
    assert at["told"] == at["end"] == at["control"] == float("inf")


async def test_a_deadline_cancels_exactly_the_handling_it_belongs_to(autojump_clock):
    """It is passed while handling: that message is interrupted, the next is handled."""
    async with open_actor_system() as system:
        ref = await spawn(system)
        with trio.move_on_after(2) as scope:
            await ref.ask(("sleep", 60))
        assert scope.cancelled_caught
        assert trio.current_time() == pytest.approx(2, abs=0.01)
        assert await ref.ask("next") == "next"
        assert outcomes(system) == {"interrupted": 1, "handled": 1}


async def test_a_message_that_comes_up_after_its_deadline_is_skipped(autojump_clock):
    """The time went by inside another handler: no work is done, and its asker is just cancelled."""
    log = []

    class Burner(Worker):
        async def receive(self, message, ctx):
            if message == "burn":
                autojump_clock.jump(10)
            return await super().receive(message, ctx)

    async with open_actor_system() as system:
        ref = await system.spawn(ChildSpec("worker", lambda: Burner(log)))
        ref.tell_nowait(("sleep", 1))
        await wait_all_tasks_blocked()
        ref.tell_nowait("burn")
        with trio.move_on_after(5) as scope:
            await ref.ask("too late")
        assert scope.cancelled_caught
        ref.tell_nowait(("sleep", 1))
        await wait_all_tasks_blocked()
        ref.tell_nowait("burn")
        with trio.move_on_after(5) as scope:
            async with ref.stream("too late") as items:
                async for _ in items:
                    pass
        assert scope.cancelled_caught
        assert await ref.ask("next") == "next"
        assert outcomes(system) == {"handled": 5, "skipped": 2}
    assert "too late" not in log


# -- answers -------------------------------------------------------------------------------------


async def test_an_early_answer_frees_the_asker_and_a_second_one_is_counted(autojump_clock):
    """Only the first answer counts; the handling goes on, and what it returns is late."""
    log = []
    async with open_actor_system() as system:
        ref = await spawn(system, log)
        started = trio.current_time()
        assert await ref.ask("answer early") == "early"
        assert trio.current_time() == started
        await ref.ask("end")
        assert log == ["answer early", "went on", "end"]
        assert system.late_replies == 1


async def test_replying_twice_keeps_the_first(autojump_clock):
    """ctx.resolve called twice: the asker has the first, the system counts the others."""

    class Twice(Actor):
        async def receive(self, message, ctx):
            ctx.resolve(1)
            ctx.resolve(2)
            return 3

    async with open_actor_system() as system:
        ref = await system.spawn(ChildSpec("twice", Twice))
        assert await ref.ask("x") == 1
        await wait_all_tasks_blocked()
        assert system.late_replies == 2


async def test_an_answer_to_a_tell_goes_nowhere_and_is_no_error():
    """A handler need not know whether somebody waits."""
    async with open_actor_system() as system:
        ref = await spawn(system)
        ref.tell_nowait("answer")
        await ref.ask("end")
        assert system.late_replies == 0
        assert not len(system.dead_letters)


async def test_emitting_to_nobody_says_what_to_do():
    """emit outside a stream is a Conflict with a remedy, and a result for whoever asked."""

    class Emitter(Actor):
        async def receive(self, message, ctx):
            assert not ctx.is_stream
            await ctx.emit(1)

    async with open_actor_system() as system:
        ref = await system.spawn(ChildSpec("emitter", Emitter))
        with pytest.raises(Conflict, match="nobody streams") as caught:
            await ref.ask("x")
        assert "ref.stream" in caught.value.remedy


async def test_a_refused_tell_is_a_dead_letter():
    """Nobody waits for the result, so an ActrioError of a tell is kept as a dead letter."""

    class Refusing(Actor):
        async def receive(self, message, ctx):
            raise NotFound("no such thing")

    async with open_actor_system() as system:
        ref = await system.spawn(ChildSpec("refusing", Refusing))
        ref.tell_nowait("x")
        await wait_all_tasks_blocked()
        letter = system.dead_letters.latest()[0]
        assert (letter.path, letter.message, letter.reason) == ("/refusing", "x", "failed")
        assert "no such thing" in letter.detail
        assert system.inspect("/refusing").restarts == 0


# -- the bound of a cancel -------------------------------------------------------------------------


async def test_a_stuck_handler_is_named_with_the_line_it_waits_at(autojump_clock):
    """The dead letter contains the await stack down to the shielded sleep."""

    class Stubborn(Actor):
        async def receive(self, message, ctx):
            with trio.CancelScope(shield=True):
                await self.a_place_to_be_found()

        async def a_place_to_be_found(self):
            await trio.sleep(60)

    async with open_actor_system(cancel_grace_seconds=1) as system:
        ref = await system.spawn(ChildSpec("stubborn", Stubborn, shutdown_seconds=1))
        with trio.move_on_after(1):
            await ref.ask("x")
        (letter,) = system.dead_letters.latest()
        assert letter.reason == "stuck"
        assert "a_place_to_be_found" in letter.detail
        assert "shielded scope" in letter.detail


async def test_a_stuck_deferred_handler_is_named_with_the_line_it_waits_at(autojump_clock):
    """Deferred work has a task of its own; it is that one's stack."""

    class Stubborn(Actor):
        async def receive(self, message, ctx):
            return ctx.defer(self.a_deferred_place)

        async def a_deferred_place(self):
            with trio.CancelScope(shield=True):
                await trio.sleep(60)

    async with open_actor_system(cancel_grace_seconds=1) as system:
        ref = await system.spawn(ChildSpec("stubborn", Stubborn, shutdown_seconds=1))
        with trio.move_on_after(1):
            await ref.ask("x")
        (letter,) = system.dead_letters.latest()
        assert "a_deferred_place" in letter.detail


async def test_an_on_stop_that_does_not_end_is_named(autojump_clock):
    """on_stop has its own bounded time and is a dead letter beyond it."""

    class Lingering(Actor):
        async def on_stop(self, ctx, reason):
            await trio.sleep_forever()

    async with open_actor_system(cancel_grace_seconds=2) as system:
        ref = await system.spawn(ChildSpec("lingering", Lingering))
        started = trio.current_time()
        await system.stop(ref)
        assert trio.current_time() - started == pytest.approx(2)
        (letter,) = system.dead_letters.latest()
        assert (letter.path, letter.reason) == ("/lingering", "stuck")


async def test_an_idle_actor_keeps_no_message_alive():
    """What was handled, told or asked, and what was answered is free once the actor is idle."""

    class Heavy:
        """Something that can be referred to weakly."""

    class Maker(Actor):
        async def receive(self, message, ctx):
            return Heavy()

    async with open_actor_system() as system:
        ref = await system.spawn(ChildSpec("maker", Maker))
        told, asked = Heavy(), Heavy()
        alive = [weakref.ref(told), weakref.ref(asked)]
        ref.tell_nowait(told)
        alive.append(weakref.ref(await ref.ask(asked)))
        del told, asked
        await wait_all_tasks_blocked()
        gc.collect()
        assert [each() for each in alive] == [None, None, None]
