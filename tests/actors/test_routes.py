"""Routes: actors that exist by their address, come at the first message and go when idle."""

from __future__ import annotations

import gc

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actrio.actors import Actor, Backoff, ChildSpec, RouteSpec, Terminated, open_actor_system
from actrio.errors import ActorStopped, Conflict, InvalidRequest, MailboxFull, NotFound

QUICK = Backoff(initial_seconds=0.1, jitter=0.0)


class Account(Actor):
    """Remembers its sum in a store, as an actor of a route does."""

    def __init__(self, store, name) -> None:
        self.store = store
        self.name = name
        self.sum = 0

    async def on_start(self, ctx):
        self.store.setdefault("starts", []).append(self.name)
        await trio.lowlevel.checkpoint()
        self.sum = self.store.get(self.name, 0)

    async def receive(self, message, ctx):
        match message:
            case int():
                self.sum += message
            case "crash":
                raise ValueError("boom")
            case ("sleep", seconds):
                await trio.sleep(seconds)
            case ("defer", seconds):
                return ctx.defer(trio.sleep, seconds)
            case ("watch", ref):
                ctx.watch(ref)
            case ("emit", count):
                for n in range(count):
                    await ctx.emit(n)
            case "me":
                return ctx.ref
            case "tick":
                ctx.timers.every("t", 1, 1)
        return self.sum

    async def on_control(self, message, ctx):
        self.store.setdefault("told", []).append(message)

    async def on_stop(self, ctx, reason):
        self.store[self.name] = self.sum
        self.store.setdefault("stops", []).append((self.name, reason))


def accounts(store, **kw):
    kw.setdefault("idle_seconds", 8)
    return RouteSpec("/accounts/{id}", lambda values: Account(store, values["id"]), **kw)


def nodes(system, path="/accounts"):
    return {node.path: node.state for node in system.inspect(path).children}


def residents(system):
    return system.route_statistics()["/accounts"].resident


async def test_the_first_message_brings_an_actor_up_and_a_reference_alone_does_not():
    """Any address of the route can be had; only a message makes an actor."""
    store = {}
    async with open_actor_system() as system:
        await system.route(accounts(store))
        ref = system.ref("/accounts/alice")
        assert nodes(system) == {}
        assert await ref.ask(5) == 5
        assert nodes(system) == {"/accounts/alice": "running"}
        assert system.ref("/accounts/alice") == ref
        assert hash(system.ref("/accounts/alice")) == hash(ref)
        assert store["starts"] == ["alice"]


async def test_the_template_names_the_values_and_refuses_other_paths():
    """Each {name} is one part; what does not fit is refused with the template."""
    made = []

    class Session(Actor):
        async def receive(self, message, ctx):
            return ctx.path

    def make(values):
        made.append(dict(values))
        return Session()

    async with open_actor_system() as system:
        await system.route(RouteSpec("/agents/{agent}/sessions/{id}", make))
        path = "/agents/writer/sessions/7"
        assert await system.ref(path).ask("x") == path
        assert made == [{"agent": "writer", "id": "7"}]
        for wrong in [
            "/agents",
            "/agents/writer",
            "/agents/writer/sessions/7/8",
            "/agents//sessions/7",
        ]:
            with pytest.raises(InvalidRequest, match="does not fit") as caught:
                system.ref(wrong)
            assert "one part" in caught.value.remedy
        with pytest.raises(NotFound):
            system.ref("/elsewhere/7")


async def test_a_template_without_a_fixed_head_and_a_second_route_are_refused():
    """The first part is the route's own name, and there is one route at it."""
    store = {}
    async with open_actor_system() as system:
        with pytest.raises(InvalidRequest, match="fixed name"):
            await system.route(RouteSpec("/{id}", lambda values: Account(store, values["id"])))
        await system.route(accounts(store))
        with pytest.raises(Conflict):
            await system.route(accounts(store))


async def test_an_idle_actor_is_passivated_and_comes_back_with_its_state(autojump_clock):
    """After idle_seconds (and at most a quarter more) it is gone; the next message reloads it."""
    store = {}
    async with open_actor_system() as system:
        await system.route(accounts(store))
        ref = system.ref("/accounts/alice")
        await ref.ask(5)
        await trio.sleep(7.9)
        assert nodes(system) == {"/accounts/alice": "running"}
        await trio.sleep(2.5)
        assert nodes(system) == {}
        assert store["stops"] == [("alice", "passivated")]
        assert await ref.ask(2) == 7
        shown = system.route_statistics()["/accounts"]
        assert (shown.activations, shown.passivations, shown.resident) == (2, 1, 1)


async def test_use_puts_passivation_off_and_busy_actors_stay(autojump_clock):
    """What handles, has deferred work or is asked now and then is not idle."""
    store = {}
    async with open_actor_system() as system:
        await system.route(accounts(store))
        used, busy, deferred = (system.ref(f"/accounts/{n}") for n in ["used", "busy", "deferred"])
        busy.tell_nowait(("sleep", 60))
        deferred.tell_nowait(("defer", 60))
        for _ in range(10):
            await used.ask(1)
            await trio.sleep(5)
        assert "stops" not in store
        assert len(nodes(system)) == 3


async def test_beyond_resident_max_the_least_recently_used_goes(autojump_clock):
    """Used again counts as recent; busy ones are passed over, so the bound is soft."""
    store = {}
    async with open_actor_system() as system:
        await system.route(accounts(store, resident_max=2))
        a, b, c, d = (system.ref(f"/accounts/{n}") for n in "abcd")
        await a.ask(1)
        await b.ask(1)
        await a.ask(1)
        await c.ask(1)
        await wait_all_tasks_blocked()
        assert set(nodes(system)) == {"/accounts/a", "/accounts/c"}
        a.tell_nowait(("sleep", 5))
        c.tell_nowait(("sleep", 5))
        await wait_all_tasks_blocked()
        await d.ask(1)
        assert residents(system) == 3
        assert system.route_statistics()["/accounts"].resident_peak == 3
        assert store["stops"] == [("b", "passivated")]


async def test_no_message_is_lost_in_the_race_with_passivation(autojump_clock):
    """Sent at every moment around the passivation: each is handled exactly once."""
    store = {}
    sent = 0

    class Lingering(Account):
        async def on_stop(self, ctx, reason):
            await trio.sleep(0.3)
            await super().on_stop(ctx, reason)
            await trio.sleep(0.3)

    async with open_actor_system() as system:
        route = RouteSpec(
            "/accounts/{id}", lambda values: Lingering(store, values["id"]), idle_seconds=8
        )
        await system.route(route)
        ref = system.ref("/accounts/a")
        for n in range(40):
            ref.tell_nowait(1)
            sent += 1
            await trio.sleep(7.5 + n * 0.1)
        assert await ref.ask(0) == sent
        assert not len(system.dead_letters)
        assert system.route_statistics()["/accounts"].passivations > 5


async def test_an_address_has_at_most_one_activation_at_any_time(autojump_clock):
    """Messages during on_stop wait in the cell for the next activation; the two never overlap."""
    alive = []
    overlap = []

    class Once(Actor):
        async def on_start(self, ctx):
            overlap.append(len(alive))
            alive.append(ctx.generation)

        async def receive(self, message, ctx):
            return ctx.generation

        async def on_stop(self, ctx, reason):
            await trio.sleep(1)
            alive.remove(ctx.generation)

    async with open_actor_system() as system:
        await system.route(RouteSpec("/once/{id}", lambda _: Once(), idle_seconds=4))
        ref = system.ref("/once/x")
        assert await ref.ask("?") == 1
        while not store_is_stopping(system):
            await trio.sleep(0.1)
        assert await ref.ask("?") == 2
        assert overlap == [0, 0]


def store_is_stopping(system):
    cell = system.root.find(["once", "x"])
    return cell.activation is not None and cell.activation.stop_reason == "passivated"


async def test_a_reference_to_oneself_given_away_survives_passivation(autojump_clock):
    """ctx.ref of a routed actor is its address: it brings up the same actor, not a second one."""
    store = {}
    async with open_actor_system() as system:
        await system.route(accounts(store))
        ref = system.ref("/accounts/a")
        given = await ref.ask("me")
        found = system.whereis("/accounts/a")
        await ref.ask(5)
        await trio.sleep(20)
        assert nodes(system) == {}
        assert await given.ask(1) == 6
        assert await found.ask(1) == 7
        assert await ref.ask(1) == 8
        assert store["starts"] == ["a", "a"]
        assert given == ref == found
        assert hash(given) == hash(ref)


async def test_a_stream_entered_after_a_passivation_reaches_the_one_actor(autojump_clock):
    """The address is looked up when the block is entered, not when the stream was made."""
    store = {}
    async with open_actor_system() as system:
        await system.route(accounts(store))
        ref = system.ref("/accounts/a")
        await ref.ask(5)
        stream = ref.stream(("emit", 3))
        await trio.sleep(20)
        assert nodes(system) == {}
        async with stream as items:
            assert [item async for item in items] == [0, 1, 2]
            assert await ref.ask(0) == 5
        assert store["starts"] == ["a", "a"]
        assert residents(system) == 1


async def test_what_is_refused_leaves_no_cell_behind(autojump_clock):
    """Messages that never got in (filtered, too large, refused) do not fill the route."""
    store = {}

    def no_strings(message):
        if isinstance(message, str):
            raise InvalidRequest("no strings here")
        return message

    async with open_actor_system() as system:
        child = ChildSpec("any", lambda: None, send_filters=(no_strings,))
        await system.route(accounts(store, child=child))
        for n in range(50):
            with pytest.raises(InvalidRequest):
                system.ref(f"/accounts/{n}").tell_nowait("x")
        await trio.sleep(20)
        gc.collect()
        assert nodes(system) == {}


async def test_a_burst_of_sleeping_addresses_starts_few_at_a_time(autojump_clock):
    """starts_max bounds how many are in on_start at once; all come up in the end."""
    now = peak = 0

    class Loading(Actor):
        async def on_start(self, ctx):
            nonlocal now, peak
            now += 1
            peak = max(peak, now)
            await trio.sleep(1)
            now -= 1

        async def receive(self, message, ctx):
            return message

    async with open_actor_system() as system:
        await system.route(RouteSpec("/l/{id}", lambda _: Loading(), starts_max=5))
        started = trio.current_time()
        async with trio.open_nursery() as nursery:
            for n in range(20):
                nursery.start_soon(system.ref(f"/l/{n}").ask, n)
            await wait_all_tasks_blocked()
            assert system.route_statistics()["/l"].starting == 5
        assert peak == 5
        assert trio.current_time() - started == pytest.approx(4)
        assert system.route_statistics()["/l"].starting == 0


async def test_a_stop_does_not_wait_for_the_start_of_others(autojump_clock):
    """An address that waits for its turn to start can be stopped within its bound."""

    class Endless(Actor):
        async def on_start(self, ctx):
            await trio.sleep_forever()

    async with open_actor_system() as system:
        child = ChildSpec("any", lambda: None, shutdown_seconds=2)
        await system.route(RouteSpec("/l/{id}", lambda _: Endless(), starts_max=1, child=child))
        system.ref("/l/first").tell_nowait(1)
        await wait_all_tasks_blocked()
        second = system.ref("/l/second")
        second.tell_nowait(2)
        await wait_all_tasks_blocked()
        started = trio.current_time()
        await system.stop(second)
        assert trio.current_time() - started <= 2
        assert [letter.message for letter in system.dead_letters.latest()] == [2]


async def test_an_error_in_on_stop_while_passivating_is_a_crash_with_a_budget(autojump_clock):
    """It comes back (its state may not be saved); again and again, it is quarantined."""
    starts = []

    class Forgetful(Actor):
        async def on_start(self, ctx):
            starts.append(ctx.generation)

        async def receive(self, message, ctx):
            return message

        async def on_stop(self, ctx, reason):
            if reason == "passivated":
                raise OSError("disk full")

    async with open_actor_system() as system:
        child = ChildSpec("any", lambda: None, backoff=QUICK, intensity=2, period_seconds=1000)
        await system.route(RouteSpec("/f/{id}", lambda _: Forgetful(), idle_seconds=4, child=child))
        ref = system.ref("/f/x")
        await ref.ask(1)
        await trio.sleep(100)
        assert starts == [1, 2, 3]
        assert system.inspect("/f/x").state == "quarantined"
        assert "disk full" in system.inspect("/f/x").last_error
        with pytest.raises(ActorStopped):
            ref.tell_nowait(1)


async def test_a_first_message_to_an_actor_that_cannot_start_is_not_lost_silently(autojump_clock):
    """on_start fails at the first activation: the asker is told, a tell is a dead letter."""

    class Broken(Actor):
        async def on_start(self, ctx):
            raise OSError("no such file")

    async with open_actor_system() as system:
        await system.route(RouteSpec("/b/{id}", lambda _: Broken()))
        with pytest.raises(ActorStopped):
            await system.ref("/b/x").ask(1)
        system.ref("/b/y").tell_nowait(2)
        await wait_all_tasks_blocked()
        assert 2 in [letter.message for letter in system.dead_letters.latest()]
        assert system.inspect("/b").children == ()


async def test_watchers_keep_the_cell_and_a_passivation_is_no_end(autojump_clock):
    """Passive is not gone: nobody is told; a stop of the passive address tells them once."""
    store, other = {}, {}
    async with open_actor_system() as system:
        await system.route(accounts(store))
        watcher = await system.spawn(ChildSpec("watcher", lambda: Account(other, "watcher")))
        ref = system.ref("/accounts/a")
        await ref.ask(5)
        await watcher.ask(("watch", ref))
        await trio.sleep(20)
        assert nodes(system) == {"/accounts/a": "passive"}
        assert "told" not in other
        assert await ref.ask(1) == 6
        await trio.sleep(20)
        await system.stop(ref)
        await wait_all_tasks_blocked()
        assert other["told"] == [Terminated(ref, "shutdown")]
        assert nodes(system) == {}


async def test_a_stopped_address_can_be_used_again(autojump_clock):
    """stop ends the actor that is there, not the address."""
    store = {}
    async with open_actor_system() as system:
        await system.route(accounts(store))
        ref = system.ref("/accounts/a")
        await ref.ask(5)
        await system.stop(ref)
        assert store["stops"] == [("a", "shutdown")]
        assert await ref.ask(1) == 6


async def test_a_crash_keeps_what_waits_and_the_backoff_applies(autojump_clock):
    """A routed actor is supervised like any other."""
    store = {}
    async with open_actor_system() as system:
        child = ChildSpec("any", lambda: None, backoff=QUICK)
        await system.route(accounts(store, child=child))
        ref = system.ref("/accounts/a")
        ref.tell_nowait("crash")
        ref.tell_nowait(1)
        started = trio.current_time()
        assert await ref.ask(2) == 3
        assert trio.current_time() - started == pytest.approx(0.1)
        assert system.inspect("/accounts/a").restarts == 1


async def test_the_mailbox_of_a_routed_actor_is_bounded_while_it_starts(autojump_clock):
    """What comes before it is up waits in its cell, up to the capacity."""
    store = {}
    async with open_actor_system() as system:
        await system.route(accounts(store))
        ref = system.ref("/accounts/a")
        for _ in range(64):
            ref.tell_nowait(1)
        with pytest.raises(MailboxFull):
            ref.tell_nowait(1)
        assert await ref.ask(0) == 64


async def test_timers_end_with_a_passivation(autojump_clock):
    """They belong to the activation; an actor whose only work is a slow timer goes to sleep."""
    store = {}
    async with open_actor_system() as system:
        await system.route(accounts(store, idle_seconds=2))
        ref = system.ref("/accounts/a")
        await ref.ask("tick")
        await trio.sleep(20)
        assert nodes(system) == {"/accounts/a": "running"}, "a timer's message is use"
        await system.stop(ref)
        assert len(system.timers) == 0


async def test_leaving_stops_what_is_resident_with_reason_shutdown(autojump_clock):
    """All at once, each within its bound, and each may save."""
    store = {}
    async with open_actor_system() as system:
        await system.route(accounts(store))
        for n in range(5):
            await system.ref(f"/accounts/{n}").ask(n)
    assert sorted(store["stops"]) == [(str(n), "shutdown") for n in range(5)]


async def test_a_thousand_rounds_of_sleep_leave_nothing_behind(autojump_clock):
    """Cells, timers and residents are back at nothing after each round."""
    store = {}
    async with open_actor_system() as system:
        await system.route(accounts(store, idle_seconds=1))
        for n in range(200):
            for k in range(5):
                system.ref(f"/accounts/{n}-{k}").tell_nowait(1)
            await trio.sleep(3)
            assert nodes(system) == {}
        shown = system.route_statistics()["/accounts"]
        assert (shown.activations, shown.passivations, shown.resident) == (1000, 1000, 0)
        assert shown.resident_peak == 5


async def test_a_route_that_is_cancelled_while_it_is_made_ends_cleanly():
    """Cancelled at each step of its start: the cancel comes through, and nothing else."""
    for step in range(6):
        with trio.CancelScope() as scope:
            async with open_actor_system() as system, trio.open_nursery() as nursery:

                async def cancel(step=step, system=system):
                    for _ in range(step):
                        await trio.lowlevel.checkpoint()
                    system.root._nursery.cancel_scope.cancel()
                    scope.cancel()

                nursery.start_soon(cancel)
                await system.route(accounts({}))
                await trio.sleep_forever()
        assert scope.cancelled_caught
