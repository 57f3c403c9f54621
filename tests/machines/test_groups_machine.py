"""Supervisor groups against the rule of their strategy."""

from __future__ import annotations

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from actrio.actors import (
    Actor,
    Backoff,
    ChildSpec,
    SupervisorSpec,
    open_actor_system,
)
from actrio.errors import ActorFailed, ActorStopped, RestartBudgetExceeded
from actrio.testing import simulate

QUICK = Backoff(initial_seconds=0.1, maximum_seconds=0.1, jitter=0.0)


class Member(Actor):
    """Writes down its starts and stops."""

    def __init__(self, number, log) -> None:
        self.number = number
        self.log = log

    async def on_start(self, ctx):
        await trio.sleep(0.01)
        self.log.append(("up", self.number))

    async def receive(self, message, ctx):
        if message == "crash":
            raise ValueError("boom")
        if message == "stop":
            ctx.stop()
        return ctx.generation

    async def on_stop(self, ctx, reason):
        await trio.sleep(0.01)
        self.log.append(("down", self.number))


def concerned(strategy, number, alive):
    """Return who goes down when ``number`` crashes, in start order."""
    match strategy:
        case "one_for_one":
            return [number]
        case "rest_for_one":
            return [each for each in alive if each >= number]
        case "one_for_all":
            return list(alive)


@settings(max_examples=120, deadline=None, derandomize=True)
@given(
    strategy=st.sampled_from(["one_for_one", "one_for_all", "rest_for_one"]),
    restarts=st.lists(
        st.sampled_from(["permanent", "transient", "temporary"]), min_size=1, max_size=4
    ),
    ops=st.lists(
        st.tuples(st.sampled_from(["crash", "stop", "end"]), st.integers(0, 3)), max_size=6
    ),
)
def test_who_restarts_with_whom_and_in_which_order(strategy, restarts, ops):
    """Down backwards, up in order; temporaries never come back; an ended one stays ended."""

    async def main(ports):
        log = []
        async with open_actor_system() as system:
            children = tuple(
                ChildSpec(
                    f"m{n}",
                    lambda n=n: Member(n, log),
                    restart=restart,
                    backoff=QUICK,
                    intensity=100,
                )
                for n, restart in enumerate(restarts)
            )
            spec = SupervisorSpec(
                "g", strategy=strategy, children=children, intensity=100, backoff=QUICK
            )
            await system.supervise(spec)
            alive = list(range(len(restarts)))
            for verb, number in ops:
                if number not in alive:
                    continue
                log.clear()
                ref = system.whereis(f"/g/m{number}")
                await act(system, ref, verb)
                await trio.sleep(5)
                down, up, alive = expected(verb, number, strategy, restarts, alive)
                assert [n for what, n in log if what == "down"] == down
                assert [n for what, n in log if what == "up"] == up
                for n in range(len(restarts)):
                    found = system.whereis(f"/g/m{n}")
                    assert (found is not None) is (n in alive)
                    if found is not None:
                        assert await found.ask("generation") >= 1

    simulate(main, seed=0)


async def act(system, ref, verb):
    if verb == "end":
        await system.stop(ref)
    elif verb == "stop":
        await ref.ask("stop")
    else:
        with pytest.raises(ActorFailed):
            await ref.ask("crash")


def expected(verb, number, strategy, restarts, alive):
    """Return who goes down, who comes up, and who is there afterwards."""
    comes_back = verb == "crash" or (verb == "stop" and restarts[number] == "permanent")
    if verb == "end" or restarts[number] == "temporary" or not comes_back:
        return [number], [], [each for each in alive if each != number]
    group = concerned(strategy, number, alive)
    others = [each for each in reversed(group) if each != number]
    up = [each for each in group if restarts[each] != "temporary"]
    gone = [each for each in group if restarts[each] == "temporary"]
    return [number, *others], up, [each for each in alive if each not in gone]


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    strategy=st.sampled_from(["one_for_one", "one_for_all", "rest_for_one"]),
    intensity=st.integers(0, 3),
    quarantine=st.booleans(),
)
def test_the_budget_is_exact(strategy, intensity, quarantine):
    """The crash after the last allowed one escalates, or sets aside; not one earlier or later."""
    quarantine = quarantine and strategy == "one_for_one"

    async def main(ports):
        crashes, refs = 0, []
        try:
            async with open_actor_system() as system:
                child = ChildSpec(
                    "m",
                    lambda: Member(0, []),
                    backoff=QUICK,
                    intensity=intensity,
                    period_seconds=1000,
                )
                spec = SupervisorSpec(
                    "g",
                    strategy=strategy,
                    children=(child,),
                    intensity=intensity,
                    period_seconds=1000,
                    backoff=QUICK,
                    on_exceeded="quarantine" if quarantine else "escalate",
                )
                group = await system.supervise(spec)
                refs.append(system.whereis("/g/m"))
                for _ in range(intensity + 1):
                    crashes += 1
                    assert group.supervisor.restarts == 0
                    with pytest.raises(ActorFailed):
                        await refs[0].ask("crash")
                    await trio.sleep(0.5)
                if quarantine:
                    with pytest.raises(ActorStopped):
                        await refs[0].ask("x")
                    assert system.inspect("/g/m").state == "quarantined"
                    return
                assert (group.supervisor.restarts == 1) is (intensity > 0)
        except RestartBudgetExceeded:
            assert intensity == 0
        assert crashes == intensity + 1

    simulate(main, seed=0)
