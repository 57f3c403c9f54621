"""Calls that wait for a person, tools that ask one: for a moment, for days, and for ever."""

from __future__ import annotations

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actrio import Agent, ToolContext, around_agent, before_tool, open_runtime, tool
from actrio.errors import Conflict, InvalidRequest, NotFound
from actrio.messages import (
    ApprovalRequested,
    ApprovalResolved,
    ItemCompleted,
    TurnCompleted,
    TurnResult,
)
from actrio.runtime import Limits, Settings

DAY = 86_400.0
DONE: list[str] = []


@pytest.fixture(autouse=True)
def nothing_done():
    DONE.clear()


@tool(approval="ask")
async def launch(city: str) -> str:
    """Launch a rocket."""
    DONE.append(city)
    return f"launched at {city}"


@tool
async def order(ctx: ToolContext) -> str:
    """Order lunch."""
    dish = await ctx.ask_person("What would you like?", choices=["soup", "bread"])
    DONE.append(dish)
    return f"ordered {dish}"


GUARDED = Agent("guarded", model="scripted:demo?ttft=100ms", tools=[launch])
TWICE = Agent("twice", model="scripted:demo?ttft=100ms&tools=2", tools=[launch])
ASKING = Agent("asking", model="scripted:demo?ttft=100ms", tools=[order])
SETTINGS = Settings(limits=Limits(approval_seconds=60, idle_seconds=300))


async def until_asked(runtime, count=1):
    """Wait until so many approvals are open, and return them."""
    while len(found := await runtime.approvals()) < count:
        await trio.sleep(0.1)
    return found


def results_of(view):
    return [result for m in view.history if m.role == "tool" for result in m.results]


# --- while somebody waits


@pytest.mark.parametrize("decision", ["approved", "denied"])
async def test_an_owner_answers_inside_its_loop(decision, autojump_clock, check_journal):
    """The events tell what is asked and what was decided; the call runs, or the model is told."""
    async with open_runtime(env={}) as runtime, runtime.session(GUARDED, id="s") as session:
        events = []
        async with session.turn("go") as turn:
            async for event in turn:
                events.append(event)
                if isinstance(event, ApprovalRequested):
                    assert (event.about, event.call.name) == ("call", "launch")
                    assert DONE == []
                    assert (await session.view()).status == "waiting"
                    await session.answer(
                        event.approval, decision, by="ann", note="because of the wind"
                    )
        assert turn.result.outcome == "completed"
        kinds = [type(each) for each in events]
        asked, resolved = kinds.index(ApprovalRequested), kinds.index(ApprovalResolved)
        ended = next(
            n
            for n, e in enumerate(events)
            if getattr(e, "kind", "") == "tool_call" and type(e) is ItemCompleted
        )
        assert asked < resolved < ended
        assert events[resolved].decision == decision
        assert (events[resolved].by, events[resolved].note) == ("ann", "because of the wind")
        view = await check_journal(runtime, "s")
        (result,) = results_of(view)
        if decision == "approved":
            assert len(DONE) == 1
            assert result.state == "success"
        else:
            assert DONE == []
            assert "ann" in result.text
            assert "because of the wind" in result.text
        assert view.approvals == ()
        assert await runtime.approvals() == ()


async def test_an_owner_may_think_for_days(autojump_clock):
    """An owned turn stays in memory while its owner is there, however long it takes."""
    async with open_runtime(SETTINGS, env={}) as runtime, runtime.session(GUARDED) as session:
        async with session.turn("go") as turn:
            async for event in turn:
                if isinstance(event, ApprovalRequested):
                    await trio.sleep(3 * DAY)
                    await session.answer(event.approval, "approved")
        assert turn.result.outcome == "completed"
        assert len(DONE) == 1


async def test_a_decision_is_asked_for_and_taken_once(autojump_clock):
    """Who comes second, who decides what fits not, and who names nothing, is told."""
    async with open_runtime(env={}) as runtime:
        session = await runtime.open_session(GUARDED, id="s")
        await session.submit("go")
        (asked,) = await until_asked(runtime)
        with pytest.raises(InvalidRequest):
            await session.answer(asked.approval, "answered", answer="yes")
        with pytest.raises(NotFound):
            await session.answer("nosuch", "approved")
        with pytest.raises(NotFound):
            await runtime.answer("nosuch", asked.approval, "approved")
        await session.answer(asked.approval, "approved")
        with pytest.raises(NotFound):
            await session.answer(asked.approval, "denied")


# --- when nobody waits


@pytest.mark.parametrize("decision", ["approved", "denied"])
async def test_a_turn_that_nobody_owns_sleeps_until_a_person_decides(
    decision, autojump_clock, check_journal
):
    """The session leaves memory; days later the answer wakes it and the turn goes on."""
    async with open_runtime(SETTINGS, env={}) as runtime:
        session = await runtime.open_session(GUARDED, id="s")
        accepted = await session.submit("go")
        await trio.sleep(2 * DAY)
        assert runtime.statistics().sessions_resident == 0
        assert runtime.statistics().turns_running == 0
        (asked,) = await runtime.approvals()
        assert (asked.session, asked.turn, asked.call.name) == ("s", accepted.turn, "launch")
        view = await runtime.view("s")
        assert view.status == "waiting"
        assert [each.state for each in view.turns] == ["waiting"]
        await runtime.answer("s", asked.approval, decision, by="ann")
        result = await session.wait(accepted.turn)
        assert result.outcome == "completed"
        assert result.steps == 2
        assert len(DONE) == (decision == "approved")
        view = await check_journal(runtime, "s")
        assert [m.role for m in view.history] == ["user", "assistant", "tool", "assistant"]
        assert view.metrics.steps == 2
        assert await runtime.approvals() == ()


async def test_who_waits_for_a_turn_that_was_put_aside_gets_its_result(autojump_clock):
    """Before it is put aside, while it is, and from two tasks."""
    async with open_runtime(SETTINGS, env={}) as runtime:
        session = await runtime.open_session(GUARDED, id="s")
        accepted = await session.submit("go")
        results = []

        async def wait():
            results.append(await session.wait(accepted.turn))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await trio.sleep(1000)
            nursery.start_soon(wait)
            await wait_all_tasks_blocked()
            (asked,) = await runtime.approvals()
            await session.answer(asked.approval, "approved")
        assert [each.outcome for each in results] == ["completed", "completed"]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
@pytest.mark.parametrize("pause", [0.0, 1000.0])
async def test_two_calls_of_one_step_are_decided_apart(order, pause, autojump_clock, check_journal):
    """One is approved and one denied, in any order, asleep or not; results stay in call order."""
    async with open_runtime(SETTINGS, env={}) as runtime:
        session = await runtime.open_session(TWICE, id="s")
        accepted = await session.submit("go")
        await until_asked(runtime, 2)
        # Their questions come in any order; the place of a call stands in its item's name.
        told = [e for e in await runtime.events("s") if isinstance(e, ApprovalRequested)]
        asked = {int(event.item.rpartition(".")[2]): event.approval for event in told}
        decisions = ["approved", "denied"]
        for place in order:
            await trio.sleep(pause)
            await runtime.answer("s", asked[place], decisions[place], note=f"n{place}")
        assert (await session.wait(accepted.turn)).outcome == "completed"
        assert len(DONE) == 1
        view = await check_journal(runtime, "s")
        assert [each.state for each in results_of(view)] == ["success", "error"]
        assert view.metrics.tool_calls == 2


@pytest.mark.parametrize("moment", [59.9, 60.0, 60.05, 60.1, 60.15, 60.2, 61.0])
async def test_an_answer_at_the_moment_of_putting_aside_is_not_lost(moment, autojump_clock):
    """Whichever comes first, the turn completes."""
    async with open_runtime(SETTINGS, env={}) as runtime:
        session = await runtime.open_session(GUARDED, id="s")
        accepted = await session.submit("go")
        (asked,) = await until_asked(runtime)
        await trio.sleep(moment - 0.1)
        await session.answer(asked.approval, "approved")
        with trio.fail_after(100):
            assert (await session.wait(accepted.turn)).outcome == "completed"
        assert len(DONE) == 1


async def test_a_fast_call_beside_one_that_waits_runs_once(autojump_clock, check_journal):
    """What has its result keeps it while the turn sleeps."""

    @tool
    async def look() -> str:
        """Look."""
        DONE.append("looked")
        return "seen"

    agent = Agent("a", model="scripted:demo?tools=4", tools=[look, launch])
    async with open_runtime(SETTINGS, env={}) as runtime:
        session = await runtime.open_session(agent, id="s")
        accepted = await session.submit("go")
        await trio.sleep(1000)
        assert runtime.statistics().sessions_resident == 0
        for asked in await until_asked(runtime, 2):
            await runtime.answer("s", asked.approval, "approved")
        assert (await session.wait(accepted.turn)).outcome == "completed"
        assert DONE.count("looked") == 2
        assert len(DONE) == 4
        view = await check_journal(runtime, "s")
        assert [each.name for each in results_of(view)] == ["look", "launch", "look", "launch"]


async def test_messages_wait_behind_a_turn_that_waits_for_a_person(
    autojump_clock, check_journal, users
):
    """It keeps its place in line, asleep or not."""
    async with open_runtime(SETTINGS, env={}) as runtime:
        session = await runtime.open_session(GUARDED, id="s")
        await session.submit("first")
        await trio.sleep(1000)
        second = await session.submit("second")
        assert second.position == 1
        (asked,) = await runtime.approvals()
        await session.answer(asked.approval, "denied")
        (asked,) = await until_asked(runtime)
        assert asked.turn == second.turn
        await session.answer(asked.approval, "denied")
        await session.wait(second.turn)
        assert users((await check_journal(runtime, "s")).history) == ["first", "second"]


# --- ends without a decision


@pytest.mark.parametrize("asleep", [False, True])
@pytest.mark.parametrize("how", ["cancel", "cancel by id", "interrupt", "rollback"])
async def test_a_turn_that_waits_for_a_person_can_be_ended(
    how, asleep, autojump_clock, check_journal, users
):
    """Its call is sealed as not run, its question is expired, and nothing can continue it."""
    async with open_runtime(SETTINGS, env={}) as runtime:
        session = await runtime.open_session(GUARDED, id="s")
        accepted = await session.submit("go")
        (asked,) = await until_asked(runtime)
        await trio.sleep(1000 if asleep else 10)
        assert runtime.statistics().sessions_resident == (not asleep)
        if how in ("interrupt", "rollback"):
            again = await session.submit("no", if_busy=how)
        else:
            session.cancel(accepted.turn if how == "cancel by id" else None, reason="enough")
        result = await session.wait(accepted.turn)
        assert result.outcome == "cancelled"
        if how in ("interrupt", "rollback"):
            session.cancel(again.turn)
            await session.wait(again.turn)
        view = await check_journal(runtime, "s")
        assert view.approvals == ()
        assert not any(each.resumable for each in view.turns)
        assert await runtime.approvals() == ()
        with pytest.raises(NotFound):
            await runtime.answer("s", asked.approval, "approved")
        said = users(view.history)
        if how == "rollback":
            assert "go" not in said
        else:
            assert said[0] == "go"
            sealed = results_of(view)[0]
            assert sealed.state == "sealed"
            assert "had no effect" in sealed.text
        resolved = [e for e in await runtime.events("s") if isinstance(e, ApprovalResolved)]
        assert resolved[0].decision == "expired"
        assert DONE == []


async def test_an_owner_that_leaves_ends_its_turn_and_the_question_with_it(
    autojump_clock, check_journal
):
    """Nobody is left to whom the answer would matter."""
    async with open_runtime(env={}) as runtime, runtime.session(GUARDED, id="s") as session:
        with trio.move_on_after(5):
            await session.ask("go")
        view = await check_journal(runtime, "s")
        assert view.approvals == ()
        assert results_of(view)[0].state == "sealed"


# --- over a restart


@pytest.mark.parametrize("asleep", [True, False])
async def test_an_approval_outlives_the_process(asleep, autojump_clock, tmp_path, check_journal):
    """A new runtime over the same store shows it, and its answer lets the turn go on."""
    store = attrs.evolve(SETTINGS.store, kind="embedded", folder=str(tmp_path))
    settings = attrs.evolve(SETTINGS, store=store)
    async with open_runtime(settings, env={}) as runtime:
        session = await runtime.open_session(GUARDED, id="s")
        accepted = await session.submit("go")
        await until_asked(runtime)
        if asleep:
            await trio.sleep(1000)
    async with open_runtime(settings, env={}) as runtime:
        (asked,) = await runtime.approvals()
        # Nobody could run it here: the decision is kept until somebody opens it who can.
        await runtime.answer("s", asked.approval, "approved")
        assert await runtime.approvals() == ()
        await trio.sleep(1000)
        assert DONE == []
        runtime.register(GUARDED)
        session = await runtime.reopen("s")
        assert (await session.wait(accepted.turn)).outcome == "completed"
        assert len(DONE) == 1
        view = await check_journal(runtime, "s")
        assert view.metrics.steps == 2


async def test_a_changed_call_is_asked_about_again(autojump_clock, check_journal):
    """A person decides about what will run; where a filter changed it since, it is another call."""
    city = ["Oslo"]

    @before_tool
    def elsewhere(call):
        return attrs.evolve(call, arguments=f'{{"city": "{city[0]}"}}')

    agent = attrs.evolve(GUARDED, filters=(elsewhere,))
    async with open_runtime(SETTINGS, env={}) as runtime:
        session = await runtime.open_session(agent, id="s")
        accepted = await session.submit("go")
        await trio.sleep(1000)
        (first,) = await runtime.approvals()
        assert "Oslo" in first.call.arguments
        city[0] = "Rome"
        await runtime.answer("s", first.approval, "approved")
        (second,) = await until_asked(runtime)
        assert second.approval != first.approval
        assert "Rome" in second.call.arguments
        assert DONE == []
        await session.answer(second.approval, "approved")
        assert (await session.wait(accepted.turn)).outcome == "completed"
        assert DONE == ["Rome"]
        await check_journal(runtime, "s")


@pytest.mark.parametrize("how", ["refuses", "answers"])
@pytest.mark.parametrize("tools", [1, 2])
async def test_a_filter_can_end_a_turn_that_wakes(how, tools, autojump_clock, check_journal):
    """What was said stays, calls without a result are sealed, each once; nothing is run."""
    closed = []

    @around_agent
    async def hours(payload, proceed):
        if not closed:
            return await proceed(payload)
        if how == "refuses":
            raise Conflict("We are closed.")
        return TurnResult(outcome="completed", stop_reason="short_circuit", text="closed")

    @tool
    async def look() -> str:
        """Look."""
        return "seen"

    agent = Agent(
        "a",
        model=f"scripted:demo?ttft=100ms&tools={tools}",
        tools=[launch, look],
        filters=[hours],
    )
    async with open_runtime(SETTINGS, env={}) as runtime:
        session = await runtime.open_session(agent, id="s")
        accepted = await session.submit("go")
        await trio.sleep(1000)
        closed.append(1)
        (asked,) = await runtime.approvals()
        await runtime.answer("s", asked.approval, "approved")
        result = await session.wait(accepted.turn)
        assert result.outcome == ("failed" if how == "refuses" else "completed")
        view = await check_journal(runtime, "s")
        assert [m.role for m in view.history] == ["user", "assistant", "tool"]
        assert [r.state for r in results_of(view)] == ["sealed", "success"][:tools]
        assert DONE == []
        closed.clear()
        again = await session.submit("go on")
        (asked,) = await until_asked(runtime)
        await session.answer(asked.approval, "approved")
        assert (await session.wait(again.turn)).outcome == "completed"


async def test_approvals_of_all_sessions_are_listed_by_pages(autojump_clock):
    """Asleep or not; sessions without any are left out; a page begins behind an id."""
    async with open_runtime(SETTINGS, env={}) as runtime:
        for number in range(5):
            session = await runtime.open_session(TWICE, id=f"s{number}")
            await session.submit("go")
        await (await runtime.open_session(ASKING, id="t")).view()
        await trio.sleep(1000)
        asked = await runtime.approvals()
        assert [each.session for each in asked] == [f"s{n}" for n in range(5) for _ in "ab"]
        page = await runtime.approvals(after="s1", limit=2)
        assert [each.session for each in page] == ["s2", "s2", "s3", "s3"]
        await runtime.delete_session("s2")
        assert len(await runtime.approvals()) == 8


# --- questions


async def test_a_tool_asks_a_person_and_goes_on_with_the_answer(autojump_clock, check_journal):
    """The question has its choices; the answer is the tool's, and on record."""
    async with open_runtime(SETTINGS, env={}) as runtime:
        session = await runtime.open_session(ASKING, id="s")
        accepted = await session.submit("lunch")
        await trio.sleep(3600)  # the tool stands in the middle: it stays in memory
        (asked,) = await runtime.approvals()
        assert (asked.about, asked.question) == ("question", "What would you like?")
        assert asked.choices == ("soup", "bread")
        with pytest.raises(InvalidRequest):
            await session.answer(asked.approval, "approved")
        await runtime.answer("s", asked.approval, "answered", answer="soup")
        assert "ordered soup" in (await session.wait(accepted.turn)).text
        assert DONE == ["soup"]
        assert (await check_journal(runtime, "s")).approvals == ()


async def test_a_question_can_be_refused(autojump_clock, check_journal):
    """The tool gets an error, which it or the model can act on."""
    async with (
        open_runtime(SETTINGS, env={}) as runtime,
        runtime.session(ASKING, id="s") as session,
    ):
        async with session.turn("lunch") as turn:
            async for event in turn:
                if isinstance(event, ApprovalRequested):
                    await session.answer(event.approval, "denied")
        assert turn.result.outcome == "completed"
        (result,) = results_of(await check_journal(runtime, "s"))
        assert result.state == "error"
        assert "did not answer" in result.text


async def test_a_question_expires_with_its_turn(autojump_clock, check_journal):
    """A tool that is cut off cannot hear the answer: the question is closed, the call sealed."""
    async with open_runtime(SETTINGS, env={}) as runtime:
        session = await runtime.open_session(ASKING, id="s")
        accepted = await session.submit("lunch")
        (asked,) = await until_asked(runtime)
        session.cancel()
        assert (await session.wait(accepted.turn)).outcome == "cancelled"
        view = await check_journal(runtime, "s")
        assert view.approvals == ()
        assert results_of(view)[0].state == "sealed"
        with pytest.raises(NotFound):
            await session.answer(asked.approval, "answered", answer="soup")


async def test_a_question_beside_an_approval_ends_with_the_process(
    autojump_clock, tmp_path, check_journal
):
    """The approval outlives it; the tool that asked does not, so its question is closed."""
    agent = Agent("both", model="scripted:demo?tools=2", tools=[launch, order])
    store = attrs.evolve(SETTINGS.store, kind="embedded", folder=str(tmp_path))
    settings = attrs.evolve(SETTINGS, store=store)
    async with open_runtime(settings, env={}) as runtime:
        session = await runtime.open_session(agent, id="s")
        accepted = await session.submit("go")
        assert {each.about for each in await until_asked(runtime, 2)} == {"call", "question"}
    async with open_runtime(settings, env={}) as runtime:
        session = await runtime.open_session(agent, id="s")
        (asked,) = (await session.view()).approvals
        assert asked.about == "call"
        await session.answer(asked.approval, "approved")
        assert (await session.wait(accepted.turn)).outcome == "completed"
        view = await check_journal(runtime, "s")
        assert [each.state for each in results_of(view)] == ["success", "sealed"]
        assert "unknown" in results_of(view)[1].text


async def test_events_of_a_turn_that_slept_are_one_story(autojump_clock, check_order, plain):
    """A subscriber who stays sees it end; a replay gives the same recorded events."""
    async with open_runtime(SETTINGS, env={}) as runtime:
        session = await runtime.open_session(TWICE, id="s")
        seen = []
        async with trio.open_nursery() as nursery:

            async def listen():
                async with session.subscribe(0) as events:
                    async for event in events:
                        seen.append(event)
                        if isinstance(event, TurnCompleted):
                            return

            nursery.start_soon(listen)
            await session.submit("go")
            await trio.sleep(1000)
            for asked in await runtime.approvals():
                await trio.sleep(1000)
                await runtime.answer("s", asked.approval, "approved")
        check_order(seen)
        assert plain(seen) == plain(await runtime.events("s"))
