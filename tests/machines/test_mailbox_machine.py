"""The mailbox against a list: what is in it, in which order, and what is pushed out."""

from __future__ import annotations

import attrs
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

from actrio.actors import Actor, ChildSpec, MailboxSpec, open_actor_system
from actrio.errors import ActorStopped, LimitExceeded, MailboxFull
from actrio.testing import simulate

POLICIES = ["wait", "reject", "drop_oldest", "drop_newest", "conflate"]


@attrs.frozen(eq=False)
class Item:
    """A message with a size, a key and a number of its own."""

    number: int
    size: int = 1
    key: int | None = None


class Bulk(Item):
    """The class with a policy of its own."""


@attrs.define
class Model:
    """A mailbox as plain lists."""

    capacity: int
    bytes_max: int | None
    policies: tuple[str, str]
    ring: list = attrs.field(factory=list)
    line: list = attrs.field(factory=list)
    out: list = attrs.field(factory=list)
    dropped: list = attrs.field(factory=list)
    replaced: list = attrs.field(factory=list)

    def fits(self, item, ring=None):
        ring = self.ring if ring is None else ring
        if len(ring) >= self.capacity:
            return False
        return self.bytes_max is None or sum(i.size for i in ring) + item.size <= self.bytes_max

    def policy(self, item):
        return self.policies[isinstance(item, Bulk)]

    def admit(self):
        while self.line and self.fits(self.line[0]):
            self.ring.append(self.line.pop(0))

    def offer(self, item):
        """Return what becomes of ``item``: in, dropped, full, waits or too large."""
        if self.bytes_max is not None and item.size > self.bytes_max:
            return "too large"
        policy = self.policy(item)
        if policy == "conflate" and item.key is not None and not self.line:
            older = [i for i in self.ring if self.policy(i) == "conflate" and i.key == item.key]
            rest = [i for i in self.ring if i not in older]
            if older and self.fits(item, rest):
                self.ring = rest
                self.replaced += older
        if not self.line and self.fits(item):
            self.ring.append(item)
            return "in"
        if policy == "drop_newest":
            self.dropped.append(item)
            return "dropped"
        if policy == "drop_oldest" and not self.line:
            while not self.fits(item):
                self.dropped.append(self.ring.pop(0))
            self.ring.append(item)
            return "in"
        return "waits" if policy in ("wait", "conflate") else "full"

    def take(self):
        if self.ring:
            self.out.append(self.ring.pop(0))
            self.admit()

    def leave(self, item):
        if item in self.line:
            self.line.remove(item)
            self.admit()


class Taker(Actor):
    """Takes one message each time it is let."""

    def __init__(self, taken) -> None:
        self.taken = taken

    async def receive(self, message, ctx):
        self.taken.append(message)
        ctx.system.suspend(ctx.ref)


ops = st.lists(
    st.one_of(
        st.tuples(
            st.sampled_from(["tell", "tell", "tell_nowait"]),
            st.integers(1, 4),
            st.sampled_from([None, 1, 2]),
            st.booleans(),
        ),
        st.just(("take",)),
        st.tuples(st.just("leave"), st.integers(0, 3)),
    ),
    max_size=25,
)


async def run(ops, capacity, bytes_max, policies):
    """Do the same to the mailbox and the model, and compare after each step."""
    model = Model(capacity, bytes_max, policies)
    taken, scopes = [], {}
    async with open_actor_system(dead_letters_max=1000) as system, trio.open_nursery() as nursery:
        mailbox = MailboxSpec(
            capacity=capacity,
            when_full=policies[0],
            per_class={Bulk: policies[1]},
            bytes_max=bytes_max,
            size_of=lambda item: item.size,
            conflate_key=lambda item: item.key,
        )
        ref = await system.spawn(ChildSpec("a", lambda: Taker(taken), mailbox=mailbox))
        system.suspend(ref)
        await wait_all_tasks_blocked()

        async def stand(item):
            with trio.CancelScope() as scopes[item], _stopped():
                await ref.tell(item)

        for number, op in enumerate(ops):
            match op:
                case (("tell" | "tell_nowait") as verb, size, key, bulk):
                    item = (Bulk if bulk else Item)(number, size, key)
                    expected = model.offer(item)
                    send(ref, item, verb, expected, nursery, stand)
                    if expected == "waits" and verb == "tell":
                        model.line.append(item)
                case ("take",) if model.ring:
                    model.take()
                    system.resume(ref)
                case ("leave", index) if index < len(model.line):
                    item = model.line[index]
                    model.leave(item)
                    scopes[item].cancel()
            await wait_all_tasks_blocked()
            compare(system, ref, model, taken)
        waiting = [*model.ring, *model.line]
        await system.stop(ref)
        letters = [letter.message for letter in system.dead_letters.latest()]
        assert [item for item in letters if item in model.ring] == model.ring
        assert not [item for item in letters if item in model.line]
        assert ref.cell.mailbox.accepted == len(model.out) + len(letters)
        assert len(waiting) >= len(model.ring)


def send(ref, item, verb, expected, nursery, stand):
    if expected == "too large":
        with pytest.raises(LimitExceeded):
            ref.tell_nowait(item)
    elif expected == "full" or (expected == "waits" and verb == "tell_nowait"):
        with pytest.raises(MailboxFull):
            ref.tell_nowait(item)
    elif verb == "tell":
        nursery.start_soon(stand, item)
    else:
        ref.tell_nowait(item)


def compare(system, ref, model, taken):
    statistics = system.inspect("/a").mailbox
    assert taken == model.out
    assert [envelope.message for envelope in ref.cell.mailbox.ring or ()] == model.ring
    assert statistics.depth == len(model.ring)
    assert statistics.waiting_senders == len(model.line)
    assert statistics.bytes == (sum(i.size for i in model.ring) if model.bytes_max else 0)
    letters = system.dead_letters.latest()
    assert [x.message for x in letters if x.reason == "dropped"] == model.dropped
    assert [x.message for x in letters if x.reason == "replaced"] == model.replaced


class _stopped:
    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        return isinstance(error, ActorStopped)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    ops=ops,
    capacity=st.integers(1, 3),
    bytes_max=st.sampled_from([None, 3, 5]),
    policies=st.tuples(st.sampled_from(POLICIES), st.sampled_from(POLICIES)),
)
def test_the_mailbox_does_what_a_list_does(ops, capacity, bytes_max, policies):
    """Same order out, same depth, bytes and line, same dead letters, for every mix of policies."""

    async def main(ports):
        await run(ops, capacity, bytes_max, policies)

    simulate(main, seed=0)
