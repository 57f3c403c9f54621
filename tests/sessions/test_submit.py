"""Turns that go on by themselves: accepted, waited for, continued after an end, never run twice."""

from __future__ import annotations

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actrio import Agent, TurnCompleted, before_agent, before_model, open_runtime, tool
from actrio.errors import Conflict, InvalidRequest, NotFound, Overloaded, TurnAborted
from actrio.journal import InputAccepted, TurnEnded
from actrio.messages import StartTurn
from actrio.runtime import Limits, Settings, StoreSettings
from actrio.sessions import oldest_records, read_state
from actrio.testing import cancel_at_each_step, history_problems

SLOW = Agent("slow", model="scripted:echo?ttft=1s", queue_max=20)
RAN: list[str] = []


@tool
async def dig(depth: int) -> str:
    """Dig a hole."""
    RAN.append("dig")
    await trio.sleep(10)
    return "dug"


DIGGER = Agent("digger", model="scripted:demo?ttft=1s", tools=[dig])


@pytest.fixture(autouse=True)
def nothing_ran():
    RAN.clear()


@pytest.fixture
def settings(tmp_path):
    return Settings(
        store=StoreSettings(kind="embedded", folder=str(tmp_path)),
        limits=Limits(idle_seconds=300),
    )


class Calls:
    """Counts the model calls of a runtime."""

    def __init__(self):
        self.seen = []

    def filter(self):
        @before_model
        def count(payload):
            self.seen.append([getattr(m, "text", m.role) for m in payload.messages])

        return count


async def test_submit_returns_at_acceptance_and_the_turn_goes_on(autojump_clock, check_journal):
    """It is on record; whoever submitted may go; its events follow the number it was told."""
    async with open_runtime(env={}) as runtime:
        session = await runtime.open_session(SLOW, id="s")
        await session.ask("before")
        began = trio.current_time()
        accepted = await session.submit("hello", caller="ann")
        assert trio.current_time() == began
        assert (accepted.session, accepted.position, accepted.joined) == ("s", 0, False)
        stored = await oldest_records(runtime.store, "s")
        inputs = [each.record for each in stored if isinstance(each.record, InputAccepted)]
        assert (inputs[-1].turn, inputs[-1].caller, inputs[-1].owned) == (
            accepted.turn,
            "ann",
            False,
        )
        async with session.subscribe(accepted.seq) as events:
            async for event in events:
                assert event.turn == accepted.turn
                if isinstance(event, TurnCompleted):
                    break
        assert event.result.text == "hello"
        await check_journal(runtime, "s")


async def test_ten_concurrent_turns_are_ten_turns(autojump_clock, check_journal, users):
    """Nothing is lost or mixed: ten recorded, ten counted, ten answers, each with its own."""

    @before_agent
    async def count(payload):
        await payload.change_state({"counter": payload.state.get("counter", 0) + 1})

    agent = attrs.evolve(SLOW, filters=(count,))
    async with open_runtime(env={}) as runtime, runtime.session(agent, id="s") as session:
        results = {}

        async def one(number):
            if number % 2:
                results[number] = await session.ask(str(number))
            else:
                accepted = await session.submit(str(number))
                results[number] = await session.wait(accepted.turn)

        async with trio.open_nursery() as nursery:
            for number in range(10):
                nursery.start_soon(one, number)
        assert {n: r.text for n, r in results.items()} == {n: str(n) for n in range(10)}
        view = await check_journal(runtime, "s")
        assert view.metrics.runs == session.turns == 10
        assert view.state == {"counter": 10}
        assert sorted(users(view.history)) == [str(n) for n in range(10)]
        stored = await oldest_records(runtime.store, "s")
        assert sum(isinstance(each.record, TurnEnded) for each in stored) == 10


async def test_failed_and_cancelled_turns_stay_with_their_reason(
    autojump_clock, check_journal, users
):
    """In the history, in the view and in the result of whoever asks later."""
    agent = Agent("a", model="scripted:echo?ttft=1s&fault=cut@1")
    async with open_runtime(env={}) as runtime, runtime.session(agent, id="s") as session:
        failed = await session.submit("one")
        assert (await session.wait(failed.turn)).outcome == "failed"
        cancelled = await session.submit("two")
        await trio.sleep(0.5)
        session.cancel(reason="too slow")
        result = await session.wait(cancelled.turn)
        assert isinstance(result.error, TurnAborted)
        assert result.error.reason == "too slow"
        view = await check_journal(runtime, "s")
        assert users(view.history) == ["one", "two"]
        assert [each.state for each in view.turns] == ["failed", "cancelled"]
        assert view.turns[0].reason
        assert view.turns[1].reason == "too slow"
        assert view.metrics.runs == 2


# --- keys and ids


async def test_a_key_makes_one_turn_of_many_requests(autojump_clock, check_journal, users):
    """Whoever repeats it joins the first: while it runs, waits or has ended, owned or not."""
    async with open_runtime(env={}) as runtime:
        session = await runtime.open_session(SLOW, id="s")
        await session.submit("busy")
        first = await session.submit("hello", key="k")
        again = await session.submit("hello", key="k", if_busy="reject")
        assert (again.turn, again.joined, again.position) == (first.turn, True, 1)
        result = await session.wait(first.turn)
        start = StartTurn("other", None, key="k")
        assert await session.ref.ask(start) == result
        assert (await session.submit("hello", key="k")).turn == first.turn
        assert (await session.submit("hello", key="k2")).turn != first.turn
        await trio.sleep(10)
        assert users((await check_journal(runtime, "s")).history) == ["busy", "hello", "hello"]


async def test_a_key_is_known_after_a_restart(autojump_clock, settings):
    """The request that was repeated because the process ended joins its turn."""
    async with open_runtime(settings, env={}) as runtime:
        session = await runtime.open_session(SLOW, id="s")
        first = await session.submit("hello", key="k")
        await session.wait(first.turn)
    async with open_runtime(settings, env={}) as runtime:
        session = await runtime.open_session(SLOW, id="s")
        again = await session.submit("hello", key="k")
        assert (again.turn, again.joined) == (first.turn, True)
        assert (await session.wait(again.turn)).text == "hello"


async def test_a_turns_id_can_be_chosen_once(autojump_clock):
    """Open or ended, a second one of that id is refused."""
    async with open_runtime(env={}) as runtime:
        session = await runtime.open_session(SLOW, id="s")
        assert (await session.submit("a", id="mine")).turn == "mine"
        for _ in range(2):
            with pytest.raises(Conflict, match="mine"):
                await session.submit("b", id="mine")
            assert (await session.wait("mine")).text == "a"
        with pytest.raises(InvalidRequest):
            await session.ref.ask(StartTurn("t", None))


# --- waiting


async def test_waiting_for_running_ended_and_long_ended_turns(autojump_clock):
    """The same result, at once or in the end, however long ago; a cancelled wait ends nothing."""
    async with open_runtime(env={}) as runtime:
        session = await runtime.open_session(SLOW, id="s")
        accepted = await session.submit("first")
        with trio.move_on_after(0.2):
            await session.wait(accepted.turn)
        running = await session.wait(accepted.turn)
        ended = await session.wait(accepted.turn)
        for number in range(30):
            await session.ask(str(number))
        assert accepted.turn not in {each.turn for each in (await session.view()).turns}
        long_ended = await session.wait(accepted.turn)
        assert running == ended == long_ended
        assert running.text == "first"
        with pytest.raises(NotFound):
            await session.wait("nosuch")


async def test_many_wait_for_one_turn(autojump_clock):
    """All of them are told, while others come and go."""
    async with open_runtime(env={}) as runtime:
        session = await runtime.open_session(SLOW, id="s")
        accepted = await session.submit("first")
        results = []

        async def wait():
            results.append(await session.wait(accepted.turn))

        async with trio.open_nursery() as nursery:
            for _ in range(200):
                nursery.start_soon(wait)
            await wait_all_tasks_blocked()
            assert (await session.view()).status == "running"
        assert len(results) == 200
        assert {each.text for each in results} == {"first"}


async def test_a_turn_that_a_shutdown_left_in_line_goes_on_where_there_is_none(
    autojump_clock, check_journal
):
    """A front end that ends leaves it; the session lives on, and whoever speaks next continues it."""
    async with open_runtime(env={}) as runtime:
        session = await runtime.open_session(SLOW, id="s")
        accepted = await session.submit("hello")
        await wait_all_tasks_blocked()
        waiting = await session.submit("next")
        for turn in (waiting.turn, accepted.turn):
            session.cancel(turn, reason="shutdown")
        await trio.sleep(10)
        with pytest.raises(TurnAborted):
            await session.wait(waiting.turn)
        third = await session.submit("anybody there?")
        assert (await session.wait(waiting.turn)).outcome == "completed"
        assert (await session.wait(third.turn)).outcome == "completed"
        first = await session.wait(accepted.turn)
        assert first.outcome == "completed" or first.error.reason == "shutdown"
        assert (await check_journal(runtime, "s")).status == "idle"


async def test_too_many_who_wait_are_refused_and_hold_up_nobody(autojump_clock):
    """Beyond the bound a waiter is told so; answers and messages still come through."""

    @tool(approval="ask")
    async def launch() -> str:
        """Launch."""
        return "launched"

    agent = Agent("a", model="scripted:demo", tools=[launch], queue_max=300)
    async with open_runtime(env={}) as runtime:
        session = await runtime.open_session(agent, id="s")
        accepted = await session.submit("go")
        while not (asked := await runtime.approvals()):
            await trio.sleep(0.1)
        for number in range(50):
            await session.submit(str(number), if_busy="steer")
        told = []

        async def wait():
            try:
                told.append((await session.wait(accepted.turn)).outcome)
            except Overloaded as error:
                told.append(error.data["limit"])

        async with trio.open_nursery() as nursery:
            for _ in range(400):
                nursery.start_soon(wait)
            await trio.sleep(1000)
            assert told == [256] * 144
            await session.answer(asked[0].approval, "denied")
            await trio.sleep(1)
            for each in await runtime.approvals():
                await session.answer(each.approval, "denied")
        assert told[144:] == ["completed"] * 256


async def test_a_flood_of_messages_starts_every_turn_that_was_accepted(
    autojump_clock, check_journal
):
    """Also those that found no room for being called: more than a mailbox holds come at once."""
    agent = Agent("a", model="scripted:echo", queue_max=1000)
    async with open_runtime(env={}) as runtime:
        session = await runtime.open_session(agent, id="s")
        accepted = []

        async def say(number):
            accepted.append(await session.submit(str(number)))

        async with trio.open_nursery() as nursery:
            for number in range(900):
                nursery.start_soon(say, number)
        with trio.fail_after(1000):
            for each in accepted:
                assert (await session.wait(each.turn)).outcome == "completed"
        view = await check_journal(runtime, "s")
        assert (view.metrics.runs, view.status) == (900, "idle")


async def test_cancelling_submit_at_every_step_never_leaves_a_turn_in_between(
    autojump_clock, check_journal, users
):
    """Either nothing was accepted, or it goes on to its end; the line always moves."""
    async with open_runtime(env={}) as runtime, runtime.session(SLOW, id="s") as session:
        count = 0

        async def say():
            nonlocal count
            count += 1
            await session.submit(str(count), if_busy=("interrupt", "queue", "steer")[count % 3])

        async def check():
            view = await check_journal(runtime, "s")
            for each in view.turns:
                with trio.fail_after(60):
                    await session.wait(each.turn)
            assert (await session.view()).status == "idle"

        assert await cancel_at_each_step(say, check=check) >= 3
        assert (await session.ask("end")).text == "end"
        assert runtime.statistics().dead_letters == {}


# --- over an end


@pytest.mark.parametrize("after", [0.5, 1.5, 5.0, 11.5])
async def test_a_turn_that_a_stop_cut_off_can_be_continued(
    after, autojump_clock, settings, check_journal, users
):
    """Nothing runs by itself in the next runtime: no model is called and no tool is run again."""
    calls = Calls()
    async with open_runtime(settings, env={}, filters=[calls.filter()]) as runtime:
        session = await runtime.open_session(DIGGER, id="s")
        accepted = await session.submit("dig")
        with trio.move_on_after(after):
            await session.wait(accepted.turn)
    made, ran = len(calls.seen), len(RAN)
    async with open_runtime(settings, env={}, filters=[calls.filter()]) as runtime:
        session = await runtime.open_session(DIGGER, id="s")
        await trio.sleep(100)
        assert (len(calls.seen), len(RAN)) == (made, ran)
        view = await check_journal(runtime, "s")
        (cut,) = view.turns
        if cut.state == "completed":
            return  # it got to its end within the grace
        assert (cut.state, cut.reason, cut.resumable) == ("cancelled", "shutdown", True)
        result = await session.wait(accepted.turn)
        assert result.error.reason == "shutdown"
        again = await session.resume()
        assert (await session.wait(again.turn)).outcome == "completed"
        view = await check_journal(runtime, "s")
        assert users(view.history)[0] == "dig"
        assert not any(each.resumable for each in view.turns)
        with pytest.raises(Conflict):
            await session.resume()
        with pytest.raises(Conflict):
            await session.resume(cut.turn)


async def test_what_a_user_cancelled_cannot_be_continued(autojump_clock):
    """Only a stop and a crash leave something to go on with."""
    async with open_runtime(env={}) as runtime:
        session = await runtime.open_session(DIGGER, id="s")
        with pytest.raises(Conflict):
            await session.resume()
        accepted = await session.submit("dig")
        await trio.sleep(3)
        session.cancel()
        await session.wait(accepted.turn)
        for turn in (None, accepted.turn, "nosuch"):
            with pytest.raises(Conflict):
                await session.resume(turn)


async def test_queued_input_outlives_the_process_and_owned_input_does_not(
    autojump_clock, settings, check_journal, users
):
    """What was submitted runs when the session is open again, in its order; nobody asks for more."""
    calls = Calls()
    async with open_runtime(settings, env={}, filters=[calls.filter()]) as runtime:
        session = await runtime.open_session(DIGGER, id="s")
        await session.submit("running")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_ask_quietly, session, "owned")
            await wait_all_tasks_blocked()
            second = await session.submit("second", key="k")
            third = await session.submit("third")
            await trio.sleep(3)
            nursery.cancel_scope.cancel()
    made = len(calls.seen)
    async with open_runtime(settings, env={}, filters=[calls.filter()]) as runtime:
        await trio.sleep(100)
        assert len(calls.seen) == made  # not before it is opened with its agent
        assert [e.state for e in (await runtime.view("s")).turns][-2:] == ["queued", "queued"]
        session = await runtime.open_session(DIGGER, id="s")
        assert (await session.submit("second", key="k")).joined
        assert (await session.wait(second.turn)).outcome == "completed"
        assert (await session.wait(third.turn)).outcome == "completed"
        view = await check_journal(runtime, "s")
        said = users(view.history)
        assert said[-2:] == ["second", "third"]
        assert "owned" not in said
        assert len(calls.seen) == made + 4


async def _ask_quietly(session, text):
    await session.ask(text)


async def test_input_whose_filters_had_begun_is_not_lost_by_a_stop(
    autojump_clock, settings, check_journal
):
    """Before its first record nothing of the turn has happened: it waits for the next opening."""

    @before_agent
    async def slowly(_payload):
        await trio.sleep(10)

    agent = attrs.evolve(SLOW, filters=(slowly,))
    async with open_runtime(settings, env={}) as runtime:
        session = await runtime.open_session(agent, id="s")
        accepted = await session.submit("hello")
        await trio.sleep(1)
    async with open_runtime(settings, env={}) as runtime:
        assert [each.state for each in (await runtime.view("s")).turns] == ["queued"]
        session = await runtime.open_session(agent, id="s")
        assert (await session.wait(accepted.turn)).text == "hello"


@pytest.mark.parametrize("after", [0.5, 5.0, 11.5])
async def test_every_prefix_of_a_journal_opens(after, autojump_clock):
    """A process that ended between any two records: sealed, valid, resumable, and silent."""
    calls = Calls()
    async with open_runtime(env={}, filters=[calls.filter()]) as runtime:
        session = await runtime.open_session(DIGGER, id="s")
        accepted = await session.submit("dig")
        await trio.sleep(after)
        await session.submit("deeper", if_busy="steer")
        following = await session.submit("next")
        await session.wait(accepted.turn)
        await session.wait(following.turn)
        stored = await oldest_records(runtime.store, "s")
        ran = len(RAN)
        for cut in stored[1:]:
            made = len(calls.seen)
            name = f"cut{cut.seq}"
            claim = await runtime.store.claim(name, "somebody")
            records = [each.record for each in stored if each.seq <= cut.seq]
            await runtime.store.append(name, claim.epoch, 0, records)
            await runtime.store.release(claim)
            before = await read_state(runtime.store, name)
            waiting = {each.id for each in before.open.values() if not each.begun}
            opened = await runtime.open_session(DIGGER, id=name)
            view = await opened.view()
            assert history_problems(view.history) == []
            open_ones = {each.turn for each in view.turns if not each.end_seq}
            assert open_ones == waiting
            begun = [each for each in before.open.values() if each.begun]
            assert [each.reason for each in view.turns if each.resumable] == ["crash"] * len(begun)
            for turn in open_ones:  # what was submitted runs
                opened.cancel(turn)
                await opened.wait(turn)
            await trio.sleep(1)
            assert len(calls.seen) == made or waiting
        assert len(RAN) == ran


async def test_whoever_waits_for_a_turn_that_is_stopped_in_line_is_told(autojump_clock):
    """It is kept, and nobody hangs on it."""
    slow = Agent("slow", model="scripted:tokens?tokens=50&itl=100ms")
    async with open_runtime(env={}) as runtime:
        session = await runtime.open_session(slow, id="s")
        await session.submit("first")
        behind = await session.submit("behind")

        async def wait() -> None:
            with pytest.raises(TurnAborted, match="kept for later"):
                await session.wait(behind.turn)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await wait_all_tasks_blocked()
            session.cancel(behind.turn, reason="shutdown")
        assert [turn.state for turn in (await session.view()).turns] == ["running", "queued"]


async def test_a_turn_that_is_being_stopped_when_somebody_speaks_goes_on(autojump_clock):
    """Its task has not ended when the next message comes: it is called again when it has."""
    settings = Settings(limits=Limits(turns=1))
    async with open_runtime(settings, env={}) as runtime:
        other = await runtime.open_session(SLOW, id="other")
        await other.submit("takes the only slot")
        await wait_all_tasks_blocked()
        session = await runtime.open_session(SLOW, id="s")
        first = await session.submit("first")
        await wait_all_tasks_blocked()
        session.cancel(first.turn, reason="shutdown")
        await session.submit("second")
        await trio.sleep(200)  # nothing else is said to the session: a look at it is no message
        turns = (await runtime.view("s")).turns
        assert [turn.state for turn in turns] == ["completed", "completed"]


async def test_a_turn_cancelled_by_a_shutdown_can_be_continued(autojump_clock):
    """A front end that ends does not give its turns up; a user's cancel does."""
    slow = Agent("slow", model="scripted:tokens?tokens=50&itl=100ms")
    async with open_runtime(env={}) as runtime:
        session = await runtime.open_session(slow, id="s")
        for reason, resumable in (("shutdown", True), ("user", False)):
            accepted = await session.submit("go")
            await trio.sleep(1)
            session.cancel(accepted.turn, reason=reason)
            assert (await session.wait(accepted.turn)).outcome == "cancelled"
            assert (await session.view()).turns[-1].resumable is resumable
