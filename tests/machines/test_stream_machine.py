"""One exchange and one credit stream, against what each side knows."""

from __future__ import annotations

import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from trio.testing import wait_all_tasks_blocked

from actrio.actors import Actor, ChildSpec, open_actor_system
from actrio.actors._envelope import ENDED, QUEUED, RUNNING, Exchange
from actrio.errors import NotFound
from actrio.testing import simulate


class ExchangeMachine(RuleBasedStateMachine):
    """queued, running, ended; unresolved, resolved once: the first answer wins."""

    @initialize()
    def begin(self):
        self.exchange = Exchange()
        self.answers = []
        self.stage = QUEUED

    @precondition(lambda self: self.stage in (QUEUED, RUNNING))
    @rule()
    def runs(self):
        self.exchange.begin(trio.CancelScope())
        self.stage = RUNNING

    @precondition(lambda self: self.stage == RUNNING)
    @rule(value=st.integers())
    def resolve(self, value):
        assert self.exchange.resolve(value) is (not self.answers_given())
        self.answers.append(("value", value))

    @precondition(lambda self: self.stage == RUNNING)
    @rule()
    def fail(self):
        error = NotFound("x")
        first = not self.answers_given()
        assert self.exchange.fail(error) is first
        if first:
            self.answers.append(("error", error))

    @precondition(lambda self: self.stage == RUNNING and self.answers_given())
    @rule()
    def ends(self):
        self.exchange.end()
        self.stage = ENDED

    @rule()
    def look(self):
        assert self.exchange.abandoned is False

    def answers_given(self):
        return bool(self.answers)

    @invariant()
    def the_first_answer_stays(self):
        if not hasattr(self, "answers"):
            return
        assert self.exchange.resolved is self.answers_given()
        assert self.exchange.stage == self.stage
        if self.answers:
            kind, value = self.answers[0]
            assert (self.exchange.value if kind == "value" else self.exchange.error) == value
            values = [each for each in self.answers[1:] if each[0] == "value"]
            assert self.exchange.late == len(values)


TestExchange = ExchangeMachine.TestCase
TestExchange.settings = settings(max_examples=40, stateful_step_count=15, derandomize=True)


class Producer(Actor):
    """Emits when it is told to, one by one."""

    def __init__(self, orders, sent) -> None:
        self.orders = orders
        self.sent = sent

    async def receive(self, message, ctx):
        async for order in self.orders:
            if order == "end":
                return "end"
            await ctx.emit((order, order))
            self.sent.append(order)
        return None


def joined(waiting, new):
    return (waiting[0], new[1])


@settings(max_examples=80, deadline=None, derandomize=True)
@given(
    ops=st.lists(st.sampled_from(["emit", "emit", "read"]), max_size=30),
    credit=st.integers(1, 3),
    merge=st.booleans(),
    leaves=st.booleans(),
)
def test_a_stream_is_a_bounded_line(ops, credit, merge, leaves):
    """Items come in order and whole; the producer is at most its credit ahead; one terminal."""

    async def main(ports):
        want, orders = trio.open_memory_channel(100)
        reads, reader = trio.open_memory_channel(100)
        sent, got, ended = [], [], []
        async with open_actor_system() as system, trio.open_nursery() as nursery:
            ref = await system.spawn(ChildSpec("p", lambda: Producer(orders, sent)))

            async def read():
                with scope:
                    await read_on()

            async def read_on():
                async with ref.stream(
                    "go", credit=credit, merge=joined if merge else None
                ) as items:
                    async for _ in reader:
                        try:
                            got.append(await anext(items))
                        except StopAsyncIteration:
                            ended.append(items.result)
                            return

            scope = trio.CancelScope()
            nursery.start_soon(read)
            emitted = wanted = 0
            for op in ops:
                if op == "emit":
                    want.send_nowait(emitted)
                    emitted += 1
                else:
                    reads.send_nowait(None)
                    wanted += 1
                await wait_all_tasks_blocked()
                flat = [n for first, last in got for n in range(first, last + 1)]
                assert flat == list(range(len(flat)))
                if merge:
                    assert len(sent) == emitted
                else:
                    assert len(got) == min(emitted, wanted)
                    assert len(sent) == min(emitted, len(got) + credit)
            if leaves:
                scope.cancel()
            else:
                want.send_nowait("end")
                for _ in range(emitted + 2):
                    reads.send_nowait(None)
        if not leaves:
            assert ended == ["end"]
            assert [n for first, last in got for n in range(first, last + 1)] == list(
                range(emitted)
            )
        want.close()

    simulate(main, seed=0)
