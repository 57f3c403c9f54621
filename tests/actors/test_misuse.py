"""Misuse is refused where it happens, with what to do instead."""

from __future__ import annotations

import math

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
from actrio.errors import ActorFailed, Conflict, DeadlockError, InvalidRequest


class Idle(Actor):
    """Does nothing but what a test asks of it."""

    async def receive(self, message, ctx):
        match message:
            case "ask oneself":
                return await ctx.ref.ask("x")
            case "stream oneself":
                async with ctx.ref.stream("x") as items:
                    return [item async for item in items]
            case "start twice":
                await ctx.system.spawn(ChildSpec(ctx.path.strip("/"), Idle))
        return message


class Unfinished(Actor):
    """Has forgotten its receive."""


def make(_values):
    return Idle()


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: MailboxSpec(capacity=0),
        lambda: MailboxSpec(capacity=-1),
        lambda: MailboxSpec(capacity=math.inf),
        lambda: MailboxSpec(capacity=True),
        lambda: MailboxSpec(bytes_max=0),
        lambda: MailboxSpec(bytes_max=-5),
        lambda: MailboxSpec(when_full="block"),
        lambda: ChildSpec("", Idle),
        lambda: ChildSpec("a/b", Idle),
        lambda: ChildSpec("a", Idle, intensity=-1),
        lambda: ChildSpec("a", Idle, period_seconds=-1),
        lambda: ChildSpec("a", Idle, shutdown_seconds=-1),
        lambda: ChildSpec("a", Idle, shutdown_seconds=math.nan),
        lambda: SupervisorSpec("s", strategy="one_for_some"),
        lambda: SupervisorSpec("s", strategy="rest_for_one", on_exceeded="quarantine"),
        lambda: SupervisorSpec("s", children_max=0),
        lambda: SupervisorSpec("s", period_seconds=-1),
        lambda: SupervisorSpec("s", stop_order="any"),
        lambda: RouteSpec("/r/{id}", make, idle_seconds=0),
        lambda: RouteSpec("/r/{id}", make, idle_seconds=-1),
        lambda: RouteSpec("/r/{id}", make, resident_max=0),
        lambda: RouteSpec("/r/{id}", make, starts_max=0),
    ],
)
def test_a_wrong_spec_is_refused_where_it_is_written(wrong):
    """Before anything runs, naming what is wrong and what would be right."""
    with pytest.raises(InvalidRequest) as caught:
        wrong()
    assert caught.value.remedy


@pytest.mark.parametrize("wrong", [{"initial_seconds": -1}, {"factor": 0.5}, {"jitter": 2}])
def test_a_backoff_that_makes_no_sense_is_refused(wrong):
    """Negative delays, shrinking delays, more jitter than delay."""
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Backoff(**wrong)


@pytest.mark.parametrize("way", ["ask oneself", "stream oneself"])
async def test_waiting_for_oneself_is_an_error_at_once(way):
    """It could never end; the error names the way out."""
    async with open_actor_system() as system:
        ref = await system.spawn(ChildSpec("a", Idle))
        with pytest.raises(DeadlockError, match="/a -> /a") as caught:
            await ref.ask(way)
        assert "ctx.defer" in caught.value.remedy
        assert await ref.ask("on") == "on"


async def test_telling_oneself_into_a_full_mailbox_is_an_error_at_once():
    """A handler that waits for room in its own mailbox waits for itself."""

    class Flooding(Actor):
        async def receive(self, message, ctx):
            for n in range(10):
                await ctx.ref.tell(n)

    async with open_actor_system() as system:
        spec = ChildSpec("f", Flooding, mailbox=MailboxSpec(capacity=2), restart="temporary")
        ref = await system.spawn(spec)
        with pytest.raises(DeadlockError, match="/f -> /f"):
            await ref.ask("go")


async def test_a_name_that_is_taken_is_a_conflict_also_inside_a_handler():
    """It is a result for whoever asked, and the actor lives on."""
    async with open_actor_system() as system:
        ref = await system.spawn(ChildSpec("a", Idle))
        with pytest.raises(Conflict, match="/a exists") as caught:
            await ref.ask("start twice")
        assert caught.value.remedy
        assert await ref.ask("on") == "on"


async def test_an_actor_without_receive_says_so(autojump_clock):
    """The asker learns which class has forgotten it."""
    async with open_actor_system() as system:
        ref = await system.spawn(ChildSpec("u", Unfinished, restart="temporary"))
        with pytest.raises(ActorFailed, match="Unfinished does not override receive"):
            await ref.ask("x")


async def test_a_stream_without_credit_is_refused():
    """Somebody must be allowed to send something."""
    async with open_actor_system() as system:
        ref = await system.spawn(ChildSpec("a", Idle))
        with pytest.raises(InvalidRequest, match="credit is 0"):
            ref.stream("x", credit=0)


async def test_a_system_that_has_ended_refuses_to_start_anything():
    """Its addresses are gone, and nothing can be started below them."""
    from actrio.errors import ActorStopped

    async with open_actor_system() as system:
        pass
    with pytest.raises(ActorStopped):
        await system.spawn(ChildSpec("a", Idle))
    with pytest.raises(ActorStopped):
        await system.supervise(SupervisorSpec("s"))
    assert system.tree().children == ()
    with trio.fail_after(1):
        assert (await system.drain()).unfinished == ()


class Echo(Actor):
    """Answers with what it got."""

    async def receive(self, message, ctx):
        return message


async def test_a_message_of_the_wrong_type_is_refused_where_it_is_sent():
    """The sender learns what the actor takes; the actor never sees it and lives on."""
    async with open_actor_system() as system:
        ref = await system.spawn(ChildSpec("typed", Echo, accepts=(str, int)))
        for send in (ref.tell_nowait, ref.tell, ref.ask):
            with pytest.raises(InvalidRequest, match="takes no float") as caught:
                sent = send(1.5)
                if sent is not None:
                    await sent
            assert "str or int" in caught.value.remedy
        with pytest.raises(InvalidRequest):
            async with ref.stream(1.5):
                pass
        assert await ref.ask("fine") == "fine"
        assert system.tree().children[0].accepted == 1
