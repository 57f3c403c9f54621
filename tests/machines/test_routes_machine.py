"""Routes against a table of who was used when."""

from __future__ import annotations

import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from actrio.actors import Actor, RouteSpec, open_actor_system
from actrio.testing import simulate

IDLE = 8.0


class Counter(Actor):
    """Counts in a store what it was told; one instance for each address at a time."""

    def __init__(self, name, store, live) -> None:
        self.name = name
        self.store = store
        self.live = live

    async def on_start(self, ctx):
        assert self.name not in self.live, "two activations"
        self.live.add(self.name)
        self.count = self.store.get(self.name, 0)

    async def receive(self, message, ctx):
        if message == "work":
            await trio.sleep(1)
        self.count += 1
        return self.count

    async def on_stop(self, ctx, reason):
        await trio.sleep(0.1)
        self.store[self.name] = self.count
        self.live.remove(self.name)


@settings(max_examples=120, deadline=None, derandomize=True)
@given(
    ops=st.lists(
        st.one_of(
            st.tuples(st.sampled_from(["ask", "tell", "work", "stop"]), st.integers(0, 4)),
            st.tuples(st.just("pass"), st.sampled_from([0.05, 1.0, 3.0, 11.0])),
        ),
        max_size=25,
    ),
    resident_max=st.integers(1, 5),
    starts_max=st.integers(1, 2),
)
def test_addresses_come_and_go_and_lose_nothing(ops, resident_max, starts_max):
    """Every message counts once; idle ones sleep; the bound on residents is kept."""

    async def main(ports):
        store, live, counts, used = {}, set(), {}, {}
        async with open_actor_system() as system:
            await system.route(
                RouteSpec(
                    "/r/{name}",
                    lambda values: Counter(values["name"], store, live),
                    idle_seconds=IDLE,
                    resident_max=resident_max,
                    starts_max=starts_max,
                )
            )
            for verb, what in ops:
                if verb == "pass":
                    await trio.sleep(what)
                    check(system, used, counts, live, resident_max)
                    continue
                name = str(what)
                ref = system.ref(f"/r/{name}")
                if verb == "stop":
                    await system.stop(ref)
                    assert name not in live
                    used.pop(name, None)
                    continue
                counts[name] = counts.get(name, 0) + 1
                if verb == "tell":
                    ref.tell_nowait("tell")
                    assert await ref.ask("after") == counts[name] + 1
                    counts[name] += 1
                else:
                    assert await ref.ask(verb) == counts[name]
                used.pop(name, None)  # so that the one used last stands last
                used[name] = trio.current_time()
            await trio.sleep(2 * IDLE)
            check(system, used, counts, live, resident_max)
            assert live == set()
            assert len(system.tree().walk()) == 2
        assert store == counts

    simulate(main, seed=0)


def check(system, used, ever, live, resident_max):
    """Compare who is resident with who was used lately."""
    now = trio.current_time()
    statistics = system.route_statistics()["/r"]
    lately = [name for name, at in used.items() if now - at < IDLE]
    maybe = [name for name, at in used.items() if now - at <= IDLE * 1.25 + 0.2]
    assert live <= set(maybe)
    if len(ever) <= resident_max:
        assert set(lately) <= live
    latest = list(used)[-1:]
    assert set(latest) & set(lately) <= live, "the one used last is never the one to go"
    assert statistics.starting == 0
