"""What a mailbox does where there is no room, or where the newest is all that matters."""

from __future__ import annotations

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actrio.actors import Actor, ChildSpec, MailboxSpec, open_actor_system
from actrio.errors import LimitExceeded, MailboxFull


@attrs.frozen
class Price:
    """The newest of each symbol is all that matters."""

    symbol: str
    value: int
    size: int = 1


@attrs.frozen
class Order:
    """None may be lost."""

    number: int


class Desk(Actor):
    """Keeps what it got; ``hold`` keeps it busy for a second."""

    def __init__(self, log) -> None:
        self.log = log

    async def receive(self, message, ctx):
        if message == "hold":
            await trio.sleep(1)
        else:
            self.log.append(message)
        return message


def key_of(message):
    return message.symbol if isinstance(message, Price) else None


def size_of(message):
    return message.size if isinstance(message, Price) else 0


async def busy(system, mailbox, log):
    """Return a desk that holds, so that everything sent now waits."""
    ref = await system.spawn(ChildSpec("desk", lambda: Desk(log), mailbox=mailbox))
    ref.tell_nowait("hold")
    await wait_all_tasks_blocked()
    return ref


async def test_conflate_keeps_the_newest_of_each_key_and_the_order_of_arrival(autojump_clock):
    """A newer message takes the older one out and joins the tail; the older is a dead letter."""
    log = []
    mailbox = MailboxSpec(capacity=8, when_full="conflate", conflate_key=key_of)
    async with open_actor_system() as system:
        ref = await busy(system, mailbox, log)
        for message in [Price("a", 1), Price("b", 1), Order(1), Price("a", 2)]:
            ref.tell_nowait(message)
        await ref.ask("end")
        assert log == [Price("b", 1), Order(1), Price("a", 2), "end"]
        assert [(each.message, each.reason) for each in system.dead_letters.latest()] == [
            (Price("a", 1), "replaced")
        ]


async def test_conflate_makes_its_own_room_in_a_full_mailbox(autojump_clock):
    """What replaces needs no room; what replaces nothing waits for some."""
    log = []
    mailbox = MailboxSpec(capacity=2, when_full="conflate", conflate_key=key_of)
    async with open_actor_system() as system:
        ref = await busy(system, mailbox, log)
        ref.tell_nowait(Price("a", 1))
        ref.tell_nowait(Price("b", 1))
        ref.tell_nowait(Price("a", 2))
        with pytest.raises(MailboxFull):
            ref.tell_nowait(Price("c", 1))
        await ref.tell(Price("c", 2))
        await ref.ask("end")
    assert log == [Price("b", 1), Price("a", 2), Price("c", 2), "end"]


async def test_conflate_never_replaces_what_is_being_handled(autojump_clock):
    """A message that was taken is over for conflation: the newer one is handled too."""
    log = []

    class Slow(Desk):
        async def receive(self, message, ctx):
            await trio.sleep(1)
            return await super().receive(message, ctx)

    mailbox = MailboxSpec(when_full="conflate", conflate_key=key_of)
    async with open_actor_system() as system:
        ref = await system.spawn(ChildSpec("desk", lambda: Slow(log), mailbox=mailbox))
        await ref.tell(Price("a", 1))
        await wait_all_tasks_blocked()
        await ref.tell(Price("a", 2))
        await ref.ask("end")
    assert log == [Price("a", 1), Price("a", 2), "end"]


async def test_conflate_under_a_byte_bound_replaces_only_what_then_fits(autojump_clock):
    """A replacement that is too large for the bytes left waits like any other message."""
    log = []
    mailbox = MailboxSpec(
        capacity=8, bytes_max=10, size_of=size_of, when_full="conflate", conflate_key=key_of
    )
    async with open_actor_system() as system:
        ref = await busy(system, mailbox, log)
        ref.tell_nowait(Price("a", 1, size=4))
        ref.tell_nowait(Price("b", 1, size=4))
        ref.tell_nowait(Price("a", 2, size=6))
        assert system.inspect("/desk").mailbox.bytes == 10
        with pytest.raises(MailboxFull):
            ref.tell_nowait(Price("b", 2, size=5))
        assert system.inspect("/desk").mailbox.bytes == 10
        await ref.ask("end")
        assert system.inspect("/desk").mailbox.bytes == 0
        assert system.inspect("/desk").mailbox.peak_bytes == 10
    assert log == [Price("b", 1, size=4), Price("a", 2, size=6), "end"]


async def test_conflate_does_not_overtake_those_who_wait_in_line(autojump_clock):
    """While senders stand in line, a newer message stands behind them and replaces nothing."""
    log = []
    mailbox = MailboxSpec(capacity=1, when_full="conflate", conflate_key=key_of)
    async with open_actor_system() as system:
        ref = await busy(system, mailbox, log)
        ref.tell_nowait(Price("a", 1))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ref.tell, Price("b", 1))
            await wait_all_tasks_blocked()
            nursery.start_soon(ref.tell, Price("a", 2))
            await wait_all_tasks_blocked()
        await ref.ask("end")
    assert log == [Price("a", 1), Price("b", 1), Price("a", 2), "end"]


async def test_an_asker_whose_message_is_replaced_is_told(autojump_clock):
    """A replaced ask does not hang: it fails with MailboxFull."""
    log = []
    mailbox = MailboxSpec(when_full="conflate", conflate_key=key_of)
    async with open_actor_system() as system:
        ref = await busy(system, mailbox, log)
        async with trio.open_nursery() as nursery:

            async def ask():
                with pytest.raises(MailboxFull):
                    await ref.ask(Price("a", 1))

            nursery.start_soon(ask)
            await wait_all_tasks_blocked()
            ref.tell_nowait(Price("a", 2))
        await ref.ask("end")
        assert system.inspect("/desk").outcomes == {"handled": 3, "dead": 1}


async def test_each_message_class_has_its_own_policy(autojump_clock):
    """Orders wait for room, prices are dropped, in one and the same mailbox."""
    log = []
    mailbox = MailboxSpec(
        capacity=2, when_full="reject", per_class={Order: "wait", Price: "drop_newest"}
    )
    async with open_actor_system() as system:
        ref = await busy(system, mailbox, log)
        ref.tell_nowait(Order(1))
        ref.tell_nowait(Order(2))
        await ref.tell(Price("a", 1))
        with pytest.raises(MailboxFull):
            await ref.tell("neither")
        await ref.tell(Order(3))
        await ref.ask("end")
        assert system.dead_letters.counts == {"dropped": 1}
    assert log == [Order(1), Order(2), Order(3), "end"]


async def test_drop_oldest_makes_as_much_room_as_the_bytes_need(autojump_clock):
    """Several old messages go for one large new one, oldest first."""
    log = []
    mailbox = MailboxSpec(capacity=8, bytes_max=10, size_of=size_of, when_full="drop_oldest")
    async with open_actor_system() as system:
        ref = await busy(system, mailbox, log)
        for n in range(3):
            ref.tell_nowait(Price("a", n, size=3))
        ref.tell_nowait(Price("b", 9, size=7))
        assert system.inspect("/desk").mailbox.bytes == 10
        dropped = [letter.message.value for letter in system.dead_letters.latest()]
        assert dropped == [0, 1]
        with pytest.raises(LimitExceeded, match="can never fit"):
            ref.tell_nowait(Price("b", 9, size=11))
        await ref.ask("end")
    assert [m.value for m in log[:-1]] == [2, 9]


async def test_a_sender_that_leaves_the_line_lets_the_next_one_in(autojump_clock):
    """The first in line was too large; when it gives up, the small one behind it fits at once."""
    log = []
    mailbox = MailboxSpec(capacity=8, bytes_max=10, size_of=size_of)
    async with open_actor_system() as system:
        ref = await busy(system, mailbox, log)
        ref.tell_nowait(Price("a", 1, size=6))
        async with trio.open_nursery() as nursery:

            async def impatient():
                with trio.move_on_after(0.25):
                    await ref.tell(Price("large", 1, size=9))

            nursery.start_soon(impatient)
            await wait_all_tasks_blocked()
            started = trio.current_time()
            await ref.tell(Price("small", 1, size=2))
            assert trio.current_time() - started == pytest.approx(0.25)
        await ref.ask("end")
    assert [m.symbol for m in log[:-1]] == ["a", "small"]


async def test_statistics_tell_how_full_a_mailbox_is_and_was(autojump_clock):
    """Depth, peak, waiting senders and the age of the oldest are those of this moment."""
    log = []
    async with open_actor_system() as system:
        ref = await busy(system, MailboxSpec(capacity=2), log)
        ref.tell_nowait(1)
        await trio.sleep(0.5)
        ref.tell_nowait(2)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ref.tell, 3)
            await wait_all_tasks_blocked()
            shown = system.inspect("/desk").mailbox
            assert (shown.depth, shown.capacity, shown.waiting_senders) == (2, 2, 1)
            assert shown.oldest_age_seconds == pytest.approx(0.5)
        await ref.ask("end")
        shown = system.inspect("/desk").mailbox
        assert (shown.depth, shown.peak_depth, shown.waiting_senders) == (0, 2, 0)


async def test_a_policy_that_needs_a_key_or_does_not_exist_is_refused():
    """Conflate without a key and unknown policies are refused where the spec is written."""
    from actrio.errors import InvalidRequest

    with pytest.raises(InvalidRequest, match="conflate_key") as caught:
        MailboxSpec(when_full="conflate")
    assert "conflate_key=lambda" in caught.value.remedy
    with pytest.raises(InvalidRequest, match="conflate_key"):
        MailboxSpec(per_class={Price: "conflate"})
    with pytest.raises(InvalidRequest, match="per_class"):
        MailboxSpec(per_class={Price: "sometimes"})
