"""The timer heap against a table of what is due when."""

from __future__ import annotations

import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from actrio.actors import Actor, ChildSpec, open_actor_system
from actrio.testing import simulate

SECONDS = [1, 2, 3, 5]

ops = st.lists(
    st.one_of(
        st.tuples(st.just("once"), st.integers(0, 3), st.sampled_from(SECONDS)),
        st.tuples(st.just("every"), st.integers(0, 3), st.sampled_from(SECONDS)),
        st.tuples(st.just("cancel"), st.integers(0, 3)),
        st.tuples(st.just("pass"), st.sampled_from([0.5, 1.5, 4.5])),
        st.just(("churn",)),
    ),
    max_size=25,
)


class Keeper(Actor):
    """Sets and cancels as told; writes down what comes when."""

    def __init__(self, came) -> None:
        self.came = came

    async def receive(self, message, ctx):
        match message:
            case ("once", key, seconds):
                ctx.timers.once(key, seconds, ("due", key))
            case ("every", key, seconds):
                ctx.timers.every(key, seconds, ("due", key))
            case ("cancel", key):
                return ctx.timers.cancel(key)
            case ("churn",):
                for _ in range(150):
                    ctx.timers.once("churn", 1000, "never")
                ctx.timers.cancel("churn")
            case ("due", key):
                self.came.append((trio.current_time(), key))
        return None


class Table:
    """The model: what is due when, by key."""

    def __init__(self) -> None:
        self.due = {}
        self.came = []

    def go_on(self, until):
        while True:
            soonest = min(((at, key) for key, (at, _) in self.due.items()), default=None)
            if soonest is None or soonest[0] > until:
                return
            at = soonest[0]
            for key in sorted(key for key, (when, _) in self.due.items() if when == at):
                every = self.due[key][1]
                self.came.append((at, key))
                if every is None:
                    del self.due[key]
                else:
                    self.due[key] = (at + every, every)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(ops=ops)
def test_timers_come_when_they_are_due_and_never_else(ops):
    """Each once, or again and again; none after its cancel; none left at the end."""

    async def main(ports):
        came, table = [], Table()
        async with open_actor_system() as system:
            ref = await system.spawn(ChildSpec("k", lambda: Keeper(came)))
            for op in ops:
                if op[0] == "pass":
                    until = trio.current_time() + op[1]
                    table.go_on(until)
                    await trio.sleep(op[1])
                    continue
                answer = await ref.ask(op)
                if op[0] == "cancel":
                    assert answer is (table.due.pop(op[1], None) is not None)
                elif op[0] in ("once", "every"):
                    every = op[2] if op[0] == "every" else None
                    table.due[op[1]] = (trio.current_time() + op[2], every)
                assert len(system.timers) == len(table.due)
            await trio.sleep(0.25)
            assert sorted(came) == sorted(table.came)
            assert [at for at, _ in came] == sorted(at for at, _ in came)
        assert len(system.timers) == 0

    simulate(main, seed=0)
