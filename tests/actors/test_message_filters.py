"""Filters of an actor: plain functions on send, continuations around receive."""

from __future__ import annotations

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actrio.actors import Actor, ChildSpec, open_actor_system
from actrio.errors import ActorFailed, Conflict, InvalidRequest


class Echo(Actor):
    """Answers what it gets."""

    def __init__(self, log) -> None:
        self.log = log

    async def receive(self, message, ctx):
        self.log.append(message)
        if message == "crash":
            raise ValueError("boom")
        if message == "defer":
            return ctx.defer(self.later)
        if message == "emit":
            await ctx.emit("item")
        return f"re: {message}"

    async def later(self):
        await trio.sleep(1)
        return "later"


async def spawn(system, log, **kw):
    return await system.spawn(ChildSpec("echo", lambda: Echo(log), **kw))


# -- send ------------------------------------------------------------------------------------------


def drop_spam(message):
    return None if message == "spam" else message


def stamp(message):
    return f"[{message}]"


def refuse(message):
    if "bad" in message:
        raise InvalidRequest("bad words", remedy="Say it nicely.")
    return message


async def test_send_filters_change_in_order():
    """Each sees what the one before made of it; the actor sees the last."""
    log = []
    async with open_actor_system() as system:
        filters = (stamp, lambda m: m + "!")
        ref = await spawn(system, log, send_filters=filters)
        assert await ref.ask("a") == "re: [a]!"
        await ref.tell("b")
        ref.tell_nowait("c")
        async with ref.stream("d") as items:
            assert [item async for item in items] == []
        assert log == ["[a]!", "[b]!", "[c]!", "[d]!"]


async def test_a_dropped_message_is_a_dead_letter_and_never_accepted():
    """It is counted as filtered with the filter's name; the mailbox has not seen it."""
    log = []
    async with open_actor_system() as system:
        ref = await spawn(system, log, send_filters=(drop_spam, stamp))
        ref.tell_nowait("spam")
        await ref.tell("spam")
        (first, _) = system.dead_letters.latest()
        assert (first.message, first.reason, first.detail) == ("spam", "filtered", "drop_spam")
        assert system.inspect("/echo").accepted == 0


async def test_a_dropped_ask_or_stream_is_an_error_because_nobody_would_answer():
    """The asker does not wait for ever."""
    log = []
    async with open_actor_system() as system:
        ref = await spawn(system, log, send_filters=(drop_spam,))
        with pytest.raises(Conflict, match="dropped") as caught:
            await ref.ask("spam")
        assert caught.value.remedy
        with pytest.raises(Conflict, match="dropped"):
            async with ref.stream("spam"):
                pass


async def test_a_send_filter_that_raises_refuses_in_the_senders_task():
    """The sender has the error, the actor never hears of it."""
    log = []
    async with open_actor_system() as system:
        ref = await spawn(system, log, send_filters=(refuse,))
        for send in (ref.tell, ref.ask):
            with pytest.raises(InvalidRequest, match="bad words"):
                await send("bad")
        with pytest.raises(InvalidRequest):
            ref.tell_nowait("bad")
        assert system.inspect("/echo").accepted == 0
        assert await ref.ask("good") == "re: good"


# -- receive ---------------------------------------------------------------------------------------


def around(name, log):
    async def each(message, ctx, proceed):
        log.append(f">{name} {message}")
        answer = await proceed(f"{message}{name}")
        log.append(f"<{name} {answer}")
        return f"{answer}{name}"

    return each


async def test_receive_filters_wrap_each_other_first_listed_outermost():
    """In, in, receive, out, out; each may change what goes in and what comes out."""
    log = []
    async with open_actor_system() as system:
        filters = (around("1", log), around("2", log))
        ref = await spawn(system, log, receive_filters=filters)
        assert await ref.ask("m") == "re: m1221"
        assert log == [">1 m", ">2 m1", "m12", "<2 re: m12", "<1 re: m122"]


async def test_a_receive_filter_may_answer_itself():
    """Short circuit: the actor is not called, the asker has the filter's answer."""
    log = []

    async def cached(message, ctx, proceed):
        return "from cache" if message == "known" else await proceed(message)

    async with open_actor_system() as system:
        ref = await spawn(system, log, receive_filters=(cached,))
        assert await ref.ask("known") == "from cache"
        assert await ref.ask("new") == "re: new"
        assert log == ["new"]


async def test_errors_in_receive_filters_count_as_raised_by_receive(autojump_clock):
    """An ActrioError is a result, anything else a crash; a filter may turn one into the other."""
    log = []

    async def strict(message, ctx, proceed):
        if message == "not this":
            raise InvalidRequest("not this")
        if message == "bug":
            raise KeyError("bug in a filter")
        try:
            return await proceed(message)
        except ValueError as error:
            raise Conflict("turned into a result") from error

    async with open_actor_system() as system:
        ref = await spawn(system, log, receive_filters=(strict,))
        with pytest.raises(InvalidRequest, match="not this"):
            await ref.ask("not this")
        with pytest.raises(Conflict, match="turned"):
            await ref.ask("crash")
        assert system.inspect("/echo").restarts == 0
        with pytest.raises(ActorFailed, match="bug in a filter"):
            await ref.ask("bug")
        assert await ref.ask("on") == "re: on"
        assert system.inspect("/echo").restarts == 1


async def test_receive_filters_see_emits_and_deferred_work_pass(autojump_clock):
    """The context is the message's own: streams work through filters, deferring does too."""
    log = []

    async def quiet(message, ctx, proceed):
        return await proceed(message)

    async with open_actor_system() as system:
        ref = await spawn(system, log, receive_filters=(quiet,))
        async with ref.stream("emit") as items:
            assert [item async for item in items] == ["item"]
        assert await ref.ask("defer") == "later"


async def test_each_message_passes_each_filter_once(autojump_clock):
    """Also the queued ones across a restart, and a cancelled one not at all if it never began."""
    log, seen = [], []

    async def count(message, ctx, proceed):
        seen.append(message)
        return await proceed(message)

    async with open_actor_system() as system:
        ref = await spawn(system, log, receive_filters=(count,))
        ref.tell_nowait("crash")
        ref.tell_nowait("kept")
        with trio.move_on_after(0):
            await ref.ask("cancelled before its turn")
        await trio.sleep(5)
        await ref.ask("end")
        assert seen == ["crash", "kept", "end"]
        await wait_all_tasks_blocked()
