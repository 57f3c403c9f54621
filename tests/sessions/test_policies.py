"""What a session does with a message while a turn runs: who is next, what stays, what is on record."""

from __future__ import annotations

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actrio import Agent, before_agent, before_model, open_runtime, tool
from actrio.errors import Conflict, NotFound, Overloaded, TurnAborted
from actrio.journal import InputAccepted, StepBegun, TurnEnded
from actrio.runtime import Limits, Settings
from actrio.sessions import oldest_records

SLOW = Agent("slow", model="scripted:echo?ttft=1s", queue_max=20)


@tool
async def dig(depth: int) -> str:
    """Dig a hole."""
    await trio.sleep(10)
    return f"dug {depth}"


DIGGER = Agent("digger", model="scripted:demo?ttft=1s", tools=[dig])


async def records_of(runtime, session_id, *kinds):
    stored = await oldest_records(runtime.store, session_id)
    return [each.record for each in stored if isinstance(each.record, kinds)]


# --- queue and reject


async def test_submitted_and_owned_messages_stand_in_one_line(autojump_clock, check_journal, users):
    """First come, first served, whoever owns them; positions count those in front."""
    async with open_runtime(env={}) as runtime:
        session = await runtime.open_session(SLOW, id="s")
        order = []
        async with trio.open_nursery() as nursery:

            async def own(text):
                await session.ask(text)
                order.append(text)

            first = await session.submit("a")
            nursery.start_soon(own, "b")
            await wait_all_tasks_blocked()
            third = await session.submit("c")
            nursery.start_soon(own, "d")
            await wait_all_tasks_blocked()
            assert (first.position, third.position) == (0, 2)
            view = await session.view()
            assert view.status == "running"
            assert [each.state for each in view.turns] == ["running", "queued", "queued", "queued"]
        assert order == ["b", "d"]
        view = await check_journal(runtime, "s")
        assert users(view.history) == ["a", "b", "c", "d"]
        assert (view.status, view.metrics.runs) == ("idle", 4)


async def test_rejected_messages_leave_nothing(autojump_clock, check_journal):
    """Conflict, owned and unowned; no record, no event; the running turn hears nothing of it."""
    async with open_runtime(env={}) as runtime:
        session = await runtime.open_session(SLOW, id="s", if_busy="reject")
        running = await session.submit("a")
        await trio.sleep(0.01)  # it has begun
        before = await session.view()
        for say in (session.submit, session.ask):
            with pytest.raises(Conflict, match=running.turn):
                await say("b")
        assert await session.view() == before
        assert (await session.wait(running.turn)).outcome == "completed"
        assert (await session.ask("now")).text == "now"
        await check_journal(runtime, "s")


@pytest.mark.parametrize("policy", ["queue", "steer"])
async def test_a_full_line_refuses_with_its_bound(policy, autojump_clock, check_journal):
    """Overloaded tells the limit; what is refused leaves nothing."""
    agent = Agent("a", model="scripted:echo?ttft=1s", queue_max=2)
    async with open_runtime(env={}) as runtime:
        session = await runtime.open_session(agent, id="s")
        for text in "abc":
            await session.submit(text, if_busy=policy)
            await trio.sleep(0.1)
        before = await session.view()
        with pytest.raises(Overloaded) as caught:
            await session.submit("d", if_busy=policy)
        assert caught.value.data["limit"] == 2
        assert await session.view() == before


@pytest.mark.parametrize("policy", ["interrupt", "rollback"])
async def test_a_line_without_places_can_still_be_interrupted(
    policy, autojump_clock, check_journal
):
    """What takes the running turn's place does not wait behind it: queue_max does not count it."""
    agent = Agent("a", model="scripted:echo?ttft=1s", queue_max=0)
    async with open_runtime(env={}) as runtime:
        session = await runtime.open_session(agent, id="s")
        first = await session.submit("a")
        with pytest.raises(Overloaded):
            await session.submit("b")
        second = await session.submit("c", if_busy=policy)
        assert (await session.wait(first.turn)).outcome == "cancelled"
        assert (await session.wait(second.turn)).text == "c"
        await check_journal(runtime, "s")


# --- interrupt


@pytest.mark.parametrize("owned", [True, False])
async def test_an_interrupt_ends_the_running_turn_and_is_next(
    owned, autojump_clock, check_journal, users
):
    """Before those that stand in line; the interrupted turn keeps its message and its reason."""
    async with open_runtime(env={}) as runtime:
        session = await runtime.open_session(SLOW, id="s")
        first = await session.submit("a")
        queued = [await session.submit(text) for text in ("b", "c")]
        await trio.sleep(0.5)
        began = trio.current_time()
        if owned:
            assert (await session.ask("now", if_busy="interrupt")).text == "now"
            assert trio.current_time() - began == pytest.approx(1.0)
        else:
            taken = await session.submit("now", if_busy="interrupt")
            assert taken.position <= 1
            assert (await session.wait(taken.turn)).text == "now"
        interrupted = await session.wait(first.turn)
        assert interrupted.outcome == "cancelled"
        assert isinstance(interrupted.error, TurnAborted)
        assert interrupted.error.reason == "interrupted"
        for each in queued:
            await session.wait(each.turn)
        view = await check_journal(runtime, "s")
        assert users(view.history) == ["a", "now", "b", "c"]
        assert [each.reason for each in view.turns] == ["interrupted", "", "", ""]


async def test_the_latest_interrupt_is_next(autojump_clock, check_journal, users):
    """Each goes in front of all that wait, the interrupts before it included."""
    async with open_runtime(env={}) as runtime:
        session = await runtime.open_session(SLOW, id="s")
        await session.submit("a")
        await session.submit("queued")
        accepted = [await session.submit(text, if_busy="interrupt") for text in ("b", "c", "d")]
        for each in accepted:
            await session.wait(each.turn)
        await trio.sleep(5)
        view = await check_journal(runtime, "s")
        said = users(view.history)
        assert said[-1] == "queued"
        assert said.index("d") < said.index("queued")
        assert view.status == "idle"


async def test_an_interrupt_stops_a_tool_and_tells_the_model(autojump_clock, check_journal):
    """The call that ran is sealed, so the next turn is valid for a provider."""
    async with open_runtime(env={}) as runtime:
        session = await runtime.open_session(DIGGER, id="s")
        await session.submit("dig")
        await trio.sleep(3)
        assert (await session.ask("stop", if_busy="interrupt")).outcome == "completed"
        view = await check_journal(runtime, "s")
        sealed = next(r for m in view.history if m.role == "tool" for r in m.results)
        assert sealed.state == "sealed"
        assert "interrupted" in sealed.text


async def test_an_interrupt_comes_before_what_was_to_steer(autojump_clock, check_journal, users):
    """The interrupt is next; what was said to steer the turn it ended comes after it."""
    async with open_runtime(env={}) as runtime:
        session = await runtime.open_session(SLOW, id="s")
        await session.submit("a")
        await trio.sleep(0.5)
        await session.submit("queued")
        await session.submit("steer", if_busy="steer")
        await session.submit("now", if_busy="interrupt")
        await trio.sleep(10)
        view = await check_journal(runtime, "s")
        assert users(view.history) == ["a", "now", "steer", "queued"]


async def test_a_turn_that_waits_for_a_slot_can_be_interrupted(autojump_clock, check_journal):
    """It leaves nothing but its reason; the next one takes its place in the line for slots."""
    settings = Settings(limits=Limits(turns=1))
    async with open_runtime(settings, env={}) as runtime:
        other = await runtime.open_session(SLOW, id="other")
        session = await runtime.open_session(SLOW, id="s")
        await other.submit("x")
        first = await session.submit("a")
        second = await session.submit("b", if_busy="interrupt")
        assert (await session.wait(first.turn)).outcome == "cancelled"
        assert (await session.wait(second.turn)).text == "b"
        view = await check_journal(runtime, "s")
        assert [each.text for each in view.history] == ["b", "b"]


async def test_only_one_turn_runs_whatever_comes(autojump_clock, check_journal):
    """Interrupts, rollbacks, steering, cancels and queueing at every moment: never two at once."""
    running = peak = 0

    @before_agent
    async def count(payload):
        nonlocal running, peak
        running += 1
        peak = max(peak, running)
        try:
            await trio.sleep(0.3)
        finally:
            running -= 1

    agent = Agent("a", model="scripted:echo?ttft=700ms", queue_max=50)
    policies = ["queue", "interrupt", "steer", "rollback", "queue", "interrupt"]
    async with open_runtime(env={}, filters=[count]) as runtime:
        session = await runtime.open_session(agent, id="s")
        accepted = []
        for number in range(48):
            policy = policies[number % len(policies)]
            accepted.append(await session.submit(str(number), if_busy=policy))
            if number % 7 == 0:
                session.cancel()
            await trio.sleep((number * 37 % 11) / 10)
        results = [await session.wait(each.turn) for each in accepted]
        assert peak == 1
        assert {each.outcome for each in results} == {"completed", "cancelled"}
        assert (await check_journal(runtime, "s")).status == "idle"


# --- rollback


@pytest.mark.parametrize("owned", [True, False])
async def test_a_rollback_leaves_nothing_of_the_turn_in_the_history(
    owned, autojump_clock, check_journal, users
):
    """Message, calls, results and what steered it are gone; the record and its reason stay."""
    async with open_runtime(env={}) as runtime:
        session = await runtime.open_session(DIGGER, id="s")
        first = await session.submit("dig")
        steered = await session.submit("deeper", if_busy="steer")
        await trio.sleep(11.5)  # in the second step
        assert users(session.history) == []
        if owned:
            await session.ask("other", if_busy="rollback")
        else:
            await session.wait((await session.submit("other", if_busy="rollback")).turn)
        view = await check_journal(runtime, "s")
        assert users(view.history) == ["other"]
        result = await session.wait(first.turn)
        assert (result.outcome, result.error.reason) == ("cancelled", "rolled back")
        assert (await session.wait(steered.turn)).outcome == "cancelled"
        ended = await records_of(runtime, "s", TurnEnded)
        assert [each.kept for each in ended] == [False, True]


# --- steer


async def test_steering_is_taken_in_before_the_next_step(autojump_clock, check_journal):
    """Between a step's tool results and its next model call, in the order in which it came."""
    calls = []

    @before_model
    def look(payload):
        calls.append([(m.role, getattr(m, "text", "")) for m in payload.messages])

    async with open_runtime(env={}, filters=[look]) as runtime:
        session = await runtime.open_session(DIGGER, id="s")
        host = await session.submit("dig")
        await trio.sleep(3)
        accepted = [await session.submit(text, if_busy="steer") for text in ("left", "right")]
        assert [each.position for each in accepted] == [0, 0]
        result = await session.wait(host.turn)
        assert [role for role, _ in calls[1]] == ["user", "assistant", "tool", "user", "user"]
        assert [text for _, text in calls[1][3:]] == ["left", "right"]
        for each in accepted:
            assert await session.wait(each.turn) == result
        view = await check_journal(runtime, "s")
        assert view.metrics.runs == 1
        steps = await records_of(runtime, "s", StepBegun)
        assert [each.taken for each in steps[:2]] == [(), tuple(each.turn for each in accepted)]
        assert [each.reason for each in view.turns if each.reason] == ["steered", "steered"]


@pytest.mark.parametrize("owned", [True, False])
async def test_steering_keeps_a_turn_from_ending(owned, autojump_clock, check_journal, users):
    """What comes during the last model call is answered by one more step of the same turn."""
    async with open_runtime(env={}) as runtime:
        session = await runtime.open_session(SLOW, id="s")
        host = await session.submit("a")
        await trio.sleep(0.5)
        if owned:
            result = await session.ask("b", if_busy="steer")
        else:
            result = await session.wait((await session.submit("b", if_busy="steer")).turn)
        assert result == await session.wait(host.turn)
        assert (result.text, result.steps, result.turn) == ("b", 2, host.turn)
        view = await check_journal(runtime, "s")
        assert [m.role for m in view.history] == ["user", "assistant", "user", "assistant"]


async def test_waiting_for_what_was_taken_in_waits_for_the_turn_that_took_it(autojump_clock):
    """Asked before, while and long after: the result is the turn's, not an empty one."""
    async with open_runtime(env={}) as runtime:
        session = await runtime.open_session(DIGGER, id="s")
        await session.submit("dig")
        steered = await session.submit("deeper", if_busy="steer")
        await trio.sleep(1.5)  # taken in with the first step
        results = []
        async with trio.open_nursery() as nursery:

            async def wait():
                results.append(await session.wait(steered.turn))

            nursery.start_soon(wait)
            await wait_all_tasks_blocked()
            assert results == []
        for number in range(20):
            await session.ask(str(number))
        results.append(await session.wait(steered.turn))
        assert results[0] == results[1]
        assert "dug" in results[0].text


@pytest.mark.parametrize("how", ["fails", "cancelled", "steps used up"])
async def test_what_was_to_steer_a_turn_that_ends_otherwise_is_the_next_turn(
    how, autojump_clock, check_journal, users
):
    """Before those that stand in line, in order."""
    model = {
        "fails": "scripted:echo?ttft=1s&fault=cut@1",
        "cancelled": "scripted:echo?ttft=1s",
        "steps used up": "scripted:echo?ttft=1s",
    }[how]
    agent = Agent("a", model=model, steps_max=1 if how == "steps used up" else 10)
    async with open_runtime(env={}) as runtime:
        session = await runtime.open_session(agent, id="s")
        host = await session.submit("a")
        await trio.sleep(0.5)
        await session.submit("queued")
        steered = [await session.submit(text, if_busy="steer") for text in ("b", "c")]
        if how == "cancelled":
            session.cancel(host.turn)
        await trio.sleep(10)
        view = await check_journal(runtime, "s")
        assert users(view.history) == ["a", "b", "c", "queued"]
        assert view.metrics.runs == 4
        for each in steered:
            assert (await session.wait(each.turn)).turn == each.turn


@pytest.mark.parametrize("owned", [True, False])
async def test_steering_can_be_taken_back_before_it_is_taken_in(
    owned, autojump_clock, check_journal, users
):
    """Its owner leaves, or it is cancelled by its id: the running turn never hears of it."""
    async with open_runtime(env={}) as runtime:
        session = await runtime.open_session(DIGGER, id="s")
        host = await session.submit("dig")
        await trio.sleep(3)
        if owned:
            with trio.move_on_after(1):
                await session.ask("deeper", if_busy="steer")
        else:
            steered = await session.submit("deeper", if_busy="steer")
            session.cancel(steered.turn)
            assert (await session.wait(steered.turn)).outcome == "cancelled"
        assert (await session.wait(host.turn)).outcome == "completed"
        view = await check_journal(runtime, "s")
        assert users(view.history) == ["dig"]
        assert [each.state for each in view.turns] == ["cancelled", "completed"]


async def test_a_message_without_a_running_turn_is_a_turn_whatever_its_policy(
    autojump_clock, check_journal
):
    """Nobody is there to be interrupted, rolled back or steered."""
    async with open_runtime(env={}) as runtime:
        session = await runtime.open_session(SLOW, id="s")
        for policy in ("queue", "reject", "interrupt", "steer", "rollback"):
            assert (await session.ask(policy, if_busy=policy)).text == policy
        view = await check_journal(runtime, "s")
        assert view.metrics.runs == 5
        accepted = await records_of(runtime, "s", InputAccepted)
        assert {each.if_busy for each in accepted} == {"queue"}


async def test_policies_of_agent_session_and_message_apply_in_that_order(autojump_clock):
    """The nearest one counts."""
    agent = Agent("a", model="scripted:echo?ttft=1s", if_busy="reject")
    async with open_runtime(env={}) as runtime:
        async with (
            runtime.session(agent, id="s") as strict,
            runtime.session(agent, id="s", if_busy="queue") as patient,
        ):
            await strict.submit("a")
            with pytest.raises(Conflict):
                await strict.submit("b")
            await patient.submit("c")
            with pytest.raises(Conflict):
                await patient.submit("d", if_busy="reject")
            await strict.submit("e", if_busy="queue")


# --- cancel


async def test_any_turn_can_be_cancelled_by_its_id(autojump_clock, check_journal, users):
    """Running or in line, owned or not; None is the one that runs; the others go on."""
    async with open_runtime(env={}) as runtime:
        session = await runtime.open_session(SLOW, id="s")
        turns = [await session.submit(text) for text in "abcd"]
        session.cancel(turns[2].turn, reason="not needed")
        session.cancel()
        results = [await session.wait(each.turn) for each in turns]
        assert [each.outcome for each in results] == [
            "cancelled",
            "completed",
            "cancelled",
            "completed",
        ]
        assert [r.error.reason for r in results if r.error] == ["user", "not needed"]
        view = await check_journal(runtime, "s")
        assert users(view.history) == ["a", "b", "d"] or users(view.history) == ["b", "d"]
        with pytest.raises(NotFound):
            await session.wait("nosuch")
