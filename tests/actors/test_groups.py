"""Groups of actors: who restarts with whom, in which order, and what happens when a group gives up."""

from __future__ import annotations

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actrio.actors import Actor, Backoff, ChildSpec, SupervisorSpec, open_actor_system
from actrio.errors import (
    ActorFailed,
    ActorStopped,
    Conflict,
    InvalidRequest,
    Overloaded,
    RestartBudgetExceeded,
)

QUICK = Backoff(initial_seconds=0.1, jitter=0.0)


class Member(Actor):
    """Writes down its starts and ends."""

    def __init__(self, name, log, start_seconds=0, stop_seconds=0) -> None:
        self.name = name
        self.log = log
        self.start_seconds = start_seconds
        self.stop_seconds = stop_seconds

    async def on_start(self, ctx):
        self.log.append(f"+{self.name}")
        await trio.sleep(self.start_seconds)
        self.log.append(f"={self.name}")

    async def receive(self, message, ctx):
        match message:
            case "crash":
                raise ValueError(f"boom of {self.name}")
            case "hang":
                await trio.sleep_forever()
            case ("sleep", seconds):
                await trio.sleep(seconds)
        self.log.append(message)
        return message

    async def on_stop(self, ctx, reason):
        await trio.sleep(self.stop_seconds)
        self.log.append(f"-{self.name} {reason}")


def member(name, log, *, start_seconds=0, stop_seconds=0, **kw):
    kw.setdefault("backoff", QUICK)
    return ChildSpec(name, lambda: Member(name, log, start_seconds, stop_seconds), **kw)


def group(strategy, log, **kw):
    children = tuple(member(name, log, start_seconds=0.01) for name in "abc")
    return SupervisorSpec("group", strategy=strategy, children=children, backoff=QUICK, **kw)


def states(system):
    return {node.path: node.state for node in system.tree().walk()}


async def crash(ref):
    with pytest.raises(ActorFailed):
        await ref.ask("crash")


# -- order -----------------------------------------------------------------------------------------


async def test_static_children_start_in_order_each_when_the_one_before_is_ready(autojump_clock):
    """b begins only after a is through on_start; they stop one by one, last first."""
    log = []
    async with open_actor_system() as system:
        await system.supervise(group("one_for_one", log))
    assert log == ["+a", "=a", "+b", "=b", "+c", "=c", "-c shutdown", "-b shutdown", "-a shutdown"]


async def test_one_for_one_restarts_only_the_one_that_crashed(autojump_clock):
    """Its siblings do not notice."""
    log = []
    async with open_actor_system() as system:
        await system.supervise(group("one_for_one", log))
        log.clear()
        await crash(system.ref("/group/b"))
        await trio.sleep(1)
        assert log == ["-b error", "+b", "=b"]


async def test_one_for_all_stops_all_in_reverse_and_starts_all_in_order(autojump_clock):
    """One crash: the others end with reason restart, and all come back in start order."""
    log = []
    async with open_actor_system() as system:
        await system.supervise(group("one_for_all", log))
        log.clear()
        await crash(system.ref("/group/b"))
        await trio.sleep(1)
        assert log == [
            *("-b error", "-c restart", "-a restart"),
            *("+a", "=a", "+b", "=b", "+c", "=c"),
        ]
        assert [node.restarts for node in system.inspect("/group").children] == [0, 1, 0]


async def test_rest_for_one_restarts_those_started_after_it(autojump_clock):
    """a came before b and stays up; c came after it and goes with it."""
    log = []
    async with open_actor_system() as system:
        await system.supervise(group("rest_for_one", log))
        log.clear()
        await crash(system.ref("/group/b"))
        await trio.sleep(1)
        assert log == ["-b error", "-c restart", "+b", "=b", "+c", "=c"]


async def test_a_group_restart_keeps_what_waits_in_each_mailbox(autojump_clock):
    """Also of those that did nothing wrong; what is in work may end first."""
    log = []
    async with open_actor_system() as system:
        await system.supervise(group("one_for_all", log))
        a, c = system.ref("/group/a"), system.ref("/group/c")
        c.tell_nowait(("sleep", 1))
        await wait_all_tasks_blocked()
        c.tell_nowait("kept")
        await crash(a)
        await c.ask("end")
        assert log[-4:] == ["+c", "=c", "kept", "end"]
        assert ("sleep", 1) in log


async def test_temporary_siblings_do_not_come_back_with_their_group(autojump_clock):
    """one_for_all stops a temporary child for good: buried, its name free again."""
    log = []
    async with open_actor_system() as system:
        pool = await system.supervise(group("one_for_all", log))
        extra = await system.spawn(member("extra", log, restart="temporary"), under=pool)
        await crash(system.ref("/group/a"))
        await trio.sleep(1)
        assert system.whereis("/group/extra") is None
        with pytest.raises(ActorStopped):
            extra.tell_nowait("x")
        assert set(states(system)) == {"/", "/group", "/group/a", "/group/b", "/group/c"}
        await system.spawn(member("extra", log), under=pool)


async def test_a_temporary_child_that_crashes_takes_nobody_with_it(autojump_clock):
    """It would not be restarted, so its group has no reason to be."""
    log = []
    async with open_actor_system() as system:
        pool = await system.supervise(group("one_for_all", log))
        extra = await system.spawn(member("extra", log, restart="temporary"), under=pool)
        log.clear()
        await crash(extra)
        await trio.sleep(1)
        assert log == ["-extra error"]


async def test_a_second_crash_while_the_group_goes_down_is_part_of_it(autojump_clock):
    """Two members crash together: one restart of the group, each member once."""
    log = []
    async with open_actor_system() as system:
        await system.supervise(group("one_for_all", log, intensity=1))
        system.ref("/group/a").tell_nowait("crash")
        system.ref("/group/c").tell_nowait("crash")
        await trio.sleep(1)
        assert log.count("+a") == log.count("+b") == log.count("+c") == 2
        assert states(system)["/group"] == "running"


async def test_an_earlier_member_that_crashes_meanwhile_starts_first(autojump_clock):
    """rest_for_one: c waits for its restart when a crashes too; c comes back after a all the same."""
    log = []
    async with open_actor_system() as system:
        await system.supervise(group("rest_for_one", log))
        log.clear()
        await crash(system.ref("/group/c"))
        await trio.sleep(0.05)  # half of the backoff
        await crash(system.ref("/group/a"))
        await trio.sleep(1)
        starts = [line for line in log if line.startswith("+")]
        assert starts == ["+a", "+b", "+c"]


async def test_a_group_out_of_restarts_gives_up(autojump_clock):
    """The group's own intensity counts, whichever member crashed."""
    log = []
    with pytest.raises(RestartBudgetExceeded, match="/group"):
        async with open_actor_system() as system:
            await system.supervise(group("one_for_all", log, intensity=1, period_seconds=100))
            for name in "abcabcabc":
                with pytest.raises((ActorFailed, ActorStopped)):
                    await system.ref(f"/group/{name}").ask("crash")
                await trio.sleep(1)


async def test_the_backoff_of_a_group_grows(autojump_clock):
    """Each restart of a group in a row waits longer than the one before."""
    log = []
    waited = []
    async with open_actor_system() as system:
        await system.supervise(group("one_for_all", log, intensity=10))
        ref = system.ref("/group/a")
        for _ in range(3):
            await crash(ref)
            started = trio.current_time()
            await ref.ask("up")
            waited.append(round(trio.current_time() - started, 2))
    assert waited == [0.11, 0.22, 0.42]


async def test_a_group_member_can_be_stopped_for_good_while_the_group_restarts(autojump_clock):
    """A stop in the middle of a restart wins for that member, the others come back."""
    log = []
    async with open_actor_system() as system:
        await system.supervise(group("one_for_all", log))
        b = system.ref("/group/b")
        await crash(system.ref("/group/a"))
        await system.stop(b)
        await trio.sleep(1)
        assert set(states(system)) == {"/", "/group", "/group/a", "/group/c"}
        assert states(system)["/group/c"] == "running"


# -- floors ----------------------------------------------------------------------------------------


async def test_escalation_goes_one_floor_at_a_time_and_keeps_every_mailbox(autojump_clock):
    """A supervisor that gives up is restarted by its own one, with all that waits below it."""
    log = []
    async with open_actor_system() as system:
        inner = SupervisorSpec(
            "inner",
            backoff=QUICK,
            children=(
                member("bad", log, intensity=0),
                member("good", log),
            ),
        )
        await system.supervise(SupervisorSpec("outer", children=(inner,), backoff=QUICK))
        bad, good = system.ref("/outer/inner/bad"), system.ref("/outer/inner/good")
        good.tell_nowait(("sleep", 1))
        await wait_all_tasks_blocked()
        good.tell_nowait("kept")
        log.clear()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(crash, bad)
            await wait_all_tasks_blocked()
            bad.tell_nowait("kept too")
        await good.ask("end")
        await bad.ask("end")
        assert "kept" in log
        assert "kept too" in log
        assert log.index("kept") > log.index("+good")
        inspected = system.inspect("/outer/inner")
        assert (inspected.state, inspected.restarts) == ("running", 1)
        assert system.inspect("/outer").restarts == 0
        assert "RestartBudgetExceeded" in inspected.last_error


async def test_a_supervisor_out_of_restarts_takes_the_next_floor_down(autojump_clock):
    """Budgets are used up floor by floor until the root gives up and the block raises."""
    log = []
    with pytest.raises(RestartBudgetExceeded) as caught:
        async with open_actor_system() as system:
            inner = SupervisorSpec(
                "inner", intensity=1, backoff=QUICK, children=(member("bad", log, intensity=0),)
            )
            await system.supervise(
                SupervisorSpec("outer", intensity=0, children=(inner,), backoff=QUICK)
            )
            for _ in range(20):
                with pytest.raises((ActorFailed, ActorStopped)):
                    await system.ref("/outer/inner/bad").ask("crash")
                await trio.sleep(0.3)
            raise AssertionError("the system should have ended")
    assert caught.value.remedy


async def test_a_group_of_supervisors_restarts_like_a_group_of_actors(autojump_clock):
    """one_for_all with supervisors as members: each subtree is stopped and started in order."""
    log = []
    async with open_actor_system() as system:
        left = SupervisorSpec("left", children=(member("l", log),), intensity=0, backoff=QUICK)
        right = SupervisorSpec("right", children=(member("r", log),), backoff=QUICK)
        spec = SupervisorSpec(
            "group", strategy="one_for_all", children=(left, right), backoff=QUICK
        )
        await system.supervise(spec)
        ref = system.ref("/group/left/l")
        log.clear()
        for _ in range(4):  # three restarts of l itself, then left gives up
            await crash(ref)
            await trio.sleep(0.9)
        assert log.count("+r") == 1
        assert "-r restart" in log
        assert await system.ref("/group/right/r").ask("on") == "on"


async def test_leaving_while_a_supervisor_gives_up_ends(autojump_clock):
    """Shutdown meets a supervisor that keeps its children for a restart: all the same, it ends."""
    log = []
    async with open_actor_system() as system:
        pool = await system.supervise(
            SupervisorSpec("pool", stop_order="together", backoff=QUICK, intensity=10)
        )
        bad = await system.spawn(member("bad", log, intensity=0), under=pool)
        await system.spawn(member("slow", log, stop_seconds=1), under=pool)
        await crash(bad)
        await trio.sleep(0.5)  # it stops its children now
        started = trio.current_time()
    assert trio.current_time() - started < 1


async def test_a_restart_in_the_heap_does_not_outlive_its_supervisor(autojump_clock):
    """A child's backoff from before the supervisor was restarted brings nothing up early."""
    log = []
    slow = Backoff(initial_seconds=10, jitter=0.0)
    async with open_actor_system() as system:
        inner = SupervisorSpec(
            "inner",
            backoff=QUICK,
            children=(member("slow", log, backoff=slow), member("bad", log, intensity=0)),
        )
        await system.supervise(inner)
        ref = system.ref("/inner/slow")
        await crash(ref)  # due in 10 s
        await crash(system.ref("/inner/bad"))  # inner starts again, and slow with it
        await trio.sleep(9)
        await crash(ref)  # due in 20 s now
        await trio.sleep(9)
        assert states(system)["/inner/slow"] == "restarting"


# -- budgets ---------------------------------------------------------------------------------------


async def test_restarts_within_the_period_never_exceed_the_intensity(autojump_clock):
    """Spread wider than the period they go on for ever, denser they end in quarantine."""
    log = []
    async with open_actor_system() as system:
        pool = await system.supervise(SupervisorSpec("pool", on_exceeded="quarantine"))
        steady = Backoff(initial_seconds=0.1, factor=1, jitter=0.0)
        spec = member("m", log, intensity=2, period_seconds=10, backoff=steady)
        ref = await system.spawn(spec, under=pool)
        for _ in range(6):
            await crash(ref)
            await trio.sleep(6)
        assert states(system)["/pool/m"] == "running"
        for _ in range(2):
            await crash(ref)
            await trio.sleep(1)
        assert states(system)["/pool/m"] == "quarantined"


async def test_a_quarantined_actor_is_seen_keeps_its_name_and_can_be_removed(autojump_clock):
    """It refuses everything, what waited is dead, and a stop frees the name."""
    log = []
    async with open_actor_system() as system:
        pool = await system.supervise(SupervisorSpec("pool", on_exceeded="quarantine"))
        ref = await system.spawn(member("m", log, intensity=0), under=pool)
        ref.tell_nowait("crash")
        ref.tell_nowait("waited")
        await trio.sleep(1)
        (letter,) = system.dead_letters.latest()
        assert (letter.message, letter.reason) == ("waited", "quarantined")
        assert "boom" in system.inspect("/pool/m").last_error
        with pytest.raises(Conflict):
            await system.spawn(member("m", log), under=pool)
        await system.stop(ref)
        again = await system.spawn(member("m", log), under=pool)
        assert await again.ask("on") == "on"


async def test_the_backoff_is_forgotten_after_a_long_time_up(autojump_clock):
    """It grows while crashes follow each other, and begins anew after reset_after_seconds."""
    log = []
    waited = []
    backoff = Backoff(initial_seconds=1, factor=2, jitter=0.0, reset_after_seconds=60)
    async with open_actor_system() as system:
        ref = await system.spawn(member("m", log, backoff=backoff, intensity=9))
        for up_seconds in [0, 0, 0, 100]:
            await trio.sleep(up_seconds)
            await crash(ref)
            started = trio.current_time()
            await ref.ask("up")
            waited.append(round(trio.current_time() - started))
    assert waited == [1, 2, 4, 1]


async def test_one_childs_backoff_never_holds_up_anothers(autojump_clock):
    """The control task does not sleep: b is back long before a is due."""
    log = []
    slow = Backoff(initial_seconds=60, maximum_seconds=60, jitter=0.0)
    async with open_actor_system() as system:
        a = await system.spawn(member("a", log, backoff=slow))
        b = await system.spawn(member("b", log))
        await crash(a)
        await crash(b)
        started = trio.current_time()
        await b.ask("up")
        assert trio.current_time() - started == pytest.approx(0.1)


async def test_a_start_that_fails_on_a_restart_counts_as_a_crash(autojump_clock):
    """The budget bounds it like any other crash."""
    starts = []

    class Poisoned(Actor):
        async def on_start(self, ctx):
            starts.append(ctx.generation)
            if ctx.generation > 1:
                raise RuntimeError("cannot load")

        async def receive(self, message, ctx):
            raise ValueError("boom")

    async with open_actor_system() as system:
        pool = await system.supervise(SupervisorSpec("pool", on_exceeded="quarantine"))
        spec = ChildSpec("p", Poisoned, backoff=QUICK, intensity=3, period_seconds=60)
        ref = await system.spawn(spec, under=pool)
        await crash(ref)
        await trio.sleep(30)
        assert starts == [1, 2, 3, 4]
        assert states(system)["/pool/p"] == "quarantined"
        assert "cannot load" in system.inspect("/pool/p").last_error


async def test_a_supervisor_has_a_bound_on_its_children():
    """One more than children_max is Overloaded, with what to do."""
    log = []
    async with open_actor_system() as system:
        pool = await system.supervise(SupervisorSpec("pool", children_max=1))
        await system.spawn(member("a", log), under=pool)
        with pytest.raises(Overloaded, match="1 children") as caught:
            await system.spawn(member("b", log), under=pool)
        assert "children_max" in caught.value.remedy


def test_quarantine_is_only_for_children_that_do_not_depend_on_each_other():
    """The other strategies with quarantine are refused where they are written."""
    with pytest.raises(InvalidRequest, match="quarantine") as caught:
        SupervisorSpec("s", strategy="one_for_all", on_exceeded="quarantine")
    assert "one_for_one" in caught.value.remedy


# -- stopping --------------------------------------------------------------------------------------


async def test_each_child_has_its_own_time_to_stop(autojump_clock):
    """In reverse order, one after the other: 2 s, then 3 s, then nothing to wait for."""
    log = []
    async with open_actor_system() as system:
        for name, seconds in [("idle", 9), ("a", 3), ("b", 2)]:
            ref = await system.spawn(member(name, log, shutdown_seconds=seconds))
            if name != "idle":
                ref.tell_nowait("hang")
        await wait_all_tasks_blocked()
        started = trio.current_time()
    assert trio.current_time() - started == pytest.approx(5)
    assert log[-3:] == ["-b killed", "-a killed", "-idle shutdown"]


async def test_a_pool_stops_its_children_together(autojump_clock):
    """The bound of the pool is that of its slowest child, not their sum."""
    log = []
    async with open_actor_system() as system:
        pool = await system.supervise(SupervisorSpec("pool", stop_order="together"))
        for n in range(10):
            ref = await system.spawn(member(str(n), log, shutdown_seconds=2), under=pool)
            ref.tell_nowait("hang")
        await wait_all_tasks_blocked()
        started = trio.current_time()
    assert trio.current_time() - started == pytest.approx(2)


async def test_nothing_can_be_started_below_a_supervisor_that_stops(autojump_clock):
    """A spawn during shutdown is refused, not left behind."""
    log = []

    class Spawner(Actor):
        async def on_stop(self, ctx, reason):
            with pytest.raises(ActorStopped, match="stopping") as caught:
                await ctx.system.spawn(member("late", log))
            log.append(caught.value.remedy)

    async with open_actor_system() as system:
        await system.spawn(ChildSpec("spawner", Spawner))
    assert log == ["Start nothing below it now."]


async def test_a_stop_while_it_waits_for_its_restart_is_final(autojump_clock):
    """Nothing comes back after the backoff, and what waited is dead."""
    log = []
    async with open_actor_system() as system:
        ref = await system.spawn(member("m", log, backoff=Backoff(initial_seconds=5, jitter=0)))
        ref.tell_nowait("crash")
        ref.tell_nowait("waited")
        await trio.sleep(1)
        await system.stop(ref)
        await trio.sleep(60)
        assert log.count("+m") == 1
        assert [letter.message for letter in system.dead_letters.latest()] == ["waited"]


async def test_leaving_while_a_child_waits_for_its_restart_ends_at_once(autojump_clock):
    """A backoff is an entry in a heap: a shutdown does not wait for it."""
    log = []
    async with open_actor_system() as system:
        ref = await system.spawn(member("m", log, backoff=Backoff(initial_seconds=30, jitter=0)))
        await crash(ref)
        started = trio.current_time()
    assert trio.current_time() == started


async def test_several_systems_in_one_program_know_nothing_of_each_other(autojump_clock):
    """Same names, own trees, own dead letters; one ends, the other goes on; refs cross freely."""
    log = []
    async with open_actor_system("one") as one:
        first = await one.spawn(member("m", log))
        async with open_actor_system("two") as two:
            second = await two.spawn(member("m", log))
            assert first != second
            assert await second.ask("x") == "x"
            second.tell_nowait(("sleep", 1))
            await wait_all_tasks_blocked()
            second.tell_nowait("lost")
        assert len(two.dead_letters) == 1
        assert not len(one.dead_letters)
        with pytest.raises(ActorStopped):
            second.tell_nowait("x")
        assert await first.ask("y") == "y"


async def test_a_supervisor_whose_child_does_not_start_leaves_nothing(autojump_clock):
    """The error of the static child is raised, those before it are stopped, the name is free."""
    log = []

    class Broken(Actor):
        async def on_start(self, ctx):
            raise RuntimeError("no disk")

    spec = SupervisorSpec("group", children=(member("a", log), ChildSpec("b", Broken)))
    async with open_actor_system() as system:
        with pytest.raises(ActorFailed, match="no disk"):
            await system.supervise(spec)
        assert log == ["+a", "=a", "-a shutdown"]
        await system.supervise(SupervisorSpec("group", children=(member("a", log),)))
        assert await system.ref("/group/a").ask("on") == "on"
        assert set(states(system)) == {"/", "/group", "/group/a"}


async def test_a_cancelled_supervise_leaves_nothing(autojump_clock):
    """What was started of it is stopped again when the cancel returns."""
    log = []
    spec = SupervisorSpec("group", children=(member("a", log), member("b", log, start_seconds=60)))
    async with open_actor_system() as system:
        with trio.move_on_after(1):
            await system.supervise(spec)
        assert log[-1] == "-a shutdown"
        await wait_all_tasks_blocked()
        assert set(states(system)) == {"/"}


async def test_a_later_crash_while_a_group_goes_down_forgets_nobody(autojump_clock):
    """b and c go down slowly, d crashes meanwhile: all three come back."""
    log = []
    async with open_actor_system() as system:
        spec = SupervisorSpec("group", strategy="rest_for_one", backoff=QUICK)
        pool = await system.supervise(spec)
        refs = [
            await system.spawn(member(n, log, stop_seconds=n == "c"), under=pool) for n in "abc"
        ]
        await crash(refs[1])
        await wait_all_tasks_blocked()  # c goes down, for a second
        late = await system.spawn(member("d", log), under=pool)
        await crash(late)
        await trio.sleep(10)
        assert {path: state for path, state in states(system).items() if state != "running"} == {}
        assert log.count("+a") == 1
        assert log.count("+b") == log.count("+c") == log.count("+d") == 2
