"""The session as others see it: history with its window, summary, metrics, turns, approvals."""

from __future__ import annotations

import pytest
import trio

from actrio import Agent, before_model, open_runtime, tool
from actrio.errors import Conflict, InvalidRequest, NotFound, SessionOwned
from actrio.journal import HistoryTrimmed
from actrio.messages import HistoryChanged, UserMessage
from actrio.runtime import Limits, Settings, StoreSettings
from actrio.sessions import oldest_records
from actrio.testing import history_problems

ECHO = Agent("echo", model="scripted:echo")


@tool
async def dig(depth: int) -> str:
    """Dig a hole."""
    await trio.sleep(2)
    return "dug"


DIGGER = Agent("digger", model="scripted:demo?ttft=1s", tools=[dig])


async def test_a_new_session_says_what_it_was_made_with(autojump_clock):
    """Agent, user, model, labels, cache policy, and when; nothing else yet."""
    now = 1000.0
    async with open_runtime(env={}, clock=lambda: now) as runtime:
        session = await runtime.open_session(
            DIGGER, id="s", user="ann", labels={"team": "a"}, cache_policy="long"
        )
        view = await session.view()
        assert view == await runtime.view("s")
        assert (view.session, view.agent, view.user) == ("s", "digger", "ann")
        assert (view.model, view.labels) == ("scripted:demo?ttft=1s", {"team": "a"})
        assert (view.cache_policy, view.status) == ("long", "idle")
        assert (view.created_at, view.updated_at) == (1000.0, 1000.0)
        assert (view.seq, view.last_seq, view.history, view.turns) == (0, 1, (), ())
        # What it was made with stays, whoever opens it.
        again = await runtime.open_session(DIGGER, id="s", user="bob", labels={"team": "b"})
        assert await again.view() == view


async def test_metrics_add_up(autojump_clock, check_journal):
    """Turns, steps, calls, tokens and seconds of all turns, however they ended."""
    async with open_runtime(env={}) as runtime:
        session = await runtime.open_session(DIGGER, id="s")
        results = [await session.ask("dig"), await session.ask("again")]
        accepted = await session.submit("never mind")
        await trio.sleep(0.5)
        session.cancel()
        await session.wait(accepted.turn)
        metrics = (await check_journal(runtime, "s")).metrics
        assert (metrics.runs, metrics.steps, metrics.tool_calls) == (3, 5, 2)
        assert metrics.usage == results[0].usage + results[1].usage
        assert metrics.model_seconds == pytest.approx(4.5, abs=0.1)
        assert metrics.run_seconds == pytest.approx(8.5, abs=0.1)


async def test_turns_show_how_far_they_have_come(autojump_clock, check_journal):
    """Queued, running, and how they ended; with the records that forks and rewinds speak of."""
    async with open_runtime(env={}) as runtime:
        session = await runtime.open_session(DIGGER, id="s")
        first = await session.submit("one")
        second = await session.submit("two")
        await trio.sleep(1.5)
        view = await check_journal(runtime, "s")
        assert [(each.turn, each.state) for each in view.turns] == [
            (first.turn, "running"),
            (second.turn, "queued"),
        ]
        assert view.status == "running"
        await session.wait(second.turn)
        view = await check_journal(runtime, "s")
        assert [each.state for each in view.turns] == ["completed", "completed"]
        assert view.turns[0].end_seq < view.last_seq
        assert all(each.seq < each.end_seq and each.text for each in view.turns)
        for number in range(20):
            await session.ask(str(number))
        view = await check_journal(runtime, "s")
        assert len(view.turns) == 8
        assert view.metrics.runs == 22


async def test_a_view_is_a_value(autojump_clock):
    """What happens later, and what its reader does with it, changes nothing."""
    async with open_runtime(env={}) as runtime:
        session = await runtime.open_session(ECHO, id="s", labels={"a": "b"})
        await session.change_state({"x": [1]})
        view = await session.view()
        view.state["x"].append(2)
        view.state["y"] = 1
        view.labels["a"] = "c"
        await session.ask("hi")
        assert view.history == ()
        view = await session.view()
        assert (view.state, view.labels) == ({"x": [1]}, {"a": "b"})


async def test_a_session_is_viewed_wherever_it_is(autojump_clock, tmp_path):
    """Asleep, or open in another process; what is not there is not found."""
    settings = Settings(
        store=StoreSettings(kind="embedded", folder=str(tmp_path)), limits=Limits(idle_seconds=60)
    )
    async with open_runtime(settings, env={}) as runtime:
        async with (
            runtime.session(ECHO, id="s") as session,
            open_runtime(settings, env={}) as other,
        ):
            await session.ask("hi")
            view = await session.view()
            assert await other.view("s") == view
            other.register(ECHO)
            with pytest.raises(SessionOwned):
                await other.reopen("s")
            with pytest.raises(SessionOwned):
                await other.rewind("s", 1)
        session = await runtime.open_session(ECHO, id="s")
        await trio.sleep(1000)
        assert runtime.statistics().sessions_resident == 0
        asleep = await runtime.view("s")
        assert asleep.history == view.history
        with pytest.raises(Conflict, match="view"):
            _ = session.history
        with pytest.raises(NotFound):
            await runtime.view("nosuch")
        entries = await runtime.sessions()
        assert [(each.session, each.waiting) for each in entries] == [("s", 0)]


# --- window


async def test_a_window_leaves_out_whole_turns_and_says_so(autojump_clock, check_journal, users):
    """The model is shown the latest ones that fit; each trim is on record and told."""
    shown = []

    @before_model
    def look(payload):
        shown.append(payload.messages)

    agent = Agent(
        "a",
        model="scripted:demo",
        tools=[dig],
        window_tokens=1000,
        filters=[look],
    )
    async with open_runtime(env={}) as runtime, runtime.session(agent, id="s") as session:
        for number in range(30):
            await session.ask(f"{number} " + "word " * 100)
        view = await check_journal(runtime, "s")
        assert 0 < len(users(view.history)) < 30
        assert users(view.history)[-1].startswith("29 ")
        assert view.trimmed + len(view.history) == 30 * 4
        for messages in shown:
            assert history_problems(messages) == []
            assert isinstance(messages[0], UserMessage)
            assert sum(len(str(m)) for m in messages) < 4000 * 3
        stored = await oldest_records(runtime.store, "s")
        trims = [each.record for each in stored if isinstance(each.record, HistoryTrimmed)]
        assert sum(each.messages for each in trims) == view.trimmed
        told = [e for e in await runtime.events("s") if isinstance(e, HistoryChanged)]
        assert [(e.change, e.messages) for e in told] == [("trimmed", t.messages) for t in trims]
        assert len(trims) > 10


async def test_a_window_that_is_too_small_keeps_the_last_turn(autojump_clock, check_journal, users):
    """One turn is always there, and the message that is to be answered."""
    agent = Agent("a", model="scripted:echo", window_tokens=1)
    async with open_runtime(env={}) as runtime, runtime.session(agent, id="s") as session:
        for number in range(5):
            assert (await session.ask(str(number))).text == str(number)
        assert users((await check_journal(runtime, "s")).history) == ["3", "4"]


# --- compaction


async def test_a_summary_stands_for_the_oldest_messages(autojump_clock, check_journal, users):
    """Cut back to whole turns; the summary has a version; the model is shown it from then on."""
    shown = []

    @before_model
    def look(payload):
        shown.append([m.text for m in payload.messages])

    agent = Agent("a", model="scripted:echo", filters=[look])
    async with open_runtime(env={}) as runtime, runtime.session(agent, id="s") as session:
        for number in range(4):
            await session.ask(str(number))
        view = await session.compact("numbers were said", messages=5)
        assert len(view.history) == 5
        assert (view.summary, view.summary_version) == ("numbers were said", 1)
        assert "numbers were said" in view.history[0].text
        assert users(view.history)[1:] == ["2", "3"]
        await session.ask("next")
        assert "numbers were said" in shown[-1][0]
        view = await session.compact("all of it")
        assert len(view.history) == 1
        assert view.summary_version == 2
        assert await check_journal(runtime, "s") == view
        told = [e for e in await runtime.events("s") if isinstance(e, HistoryChanged)]
        assert [(e.change, e.messages) for e in told] == [("compacted", 4), ("compacted", 7)]


async def test_a_compaction_needs_something_to_stand_for(autojump_clock, check_journal):
    """A summary without text, of nothing, or of half a turn is refused."""
    async with open_runtime(env={}) as runtime, runtime.session(ECHO, id="s") as session:
        with pytest.raises(InvalidRequest):
            await session.compact("nothing was said")
        await session.ask("hi")
        for summary, messages in (("", None), ("x", 0), ("x", -1), ("x", 1)):
            with pytest.raises(InvalidRequest):
                await session.compact(summary, messages=messages)
        assert len((await check_journal(runtime, "s")).history) == 2
        assert len((await session.compact("x", messages=10)).history) == 1
