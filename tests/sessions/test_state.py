"""``session.state``: who changes it, what it may hold, how long it lasts."""

from __future__ import annotations

import datetime as dt

import attrs
import pytest
import trio

from actrio import Agent, ToolContext, around_agent, before_agent, open_runtime, tool
from actrio.errors import InvalidRequest, LimitExceeded
from actrio.journal import StateChanged
from actrio.messages import StateUpdated
from actrio.runtime import Limits, Settings
from actrio.sessions import STATE_BYTES_MAX, oldest_records

PLAIN = Agent("plain", model="scripted:echo")
SETTINGS = Settings(limits=Limits(idle_seconds=60))


async def test_a_program_changes_state_and_reads_it(autojump_clock, check_journal):
    """Keys are set and removed; the whole state is the answer; events and records say who did it."""
    async with open_runtime(env={}) as runtime:
        session = await runtime.open_session(PLAIN, id="s")
        assert await session.change_state({"a": 1, "b": [True, None, "ü"]}, by="ann") == {
            "a": 1,
            "b": [True, None, "ü"],
        }
        assert await session.change_state({"c": {"d": 1.5}}, remove=["a", "nosuch"]) == {
            "b": [True, None, "ü"],
            "c": {"d": 1.5},
        }
        view = await check_journal(runtime, "s")
        assert view.state == {"b": [True, None, "ü"], "c": {"d": 1.5}}
        told = await runtime.events("s")
        assert [(e.values, e.removed, e.by) for e in told if isinstance(e, StateUpdated)] == [
            ({"a": 1, "b": [True, None, "ü"]}, (), "ann"),
            ({"c": {"d": 1.5}}, ("a", "nosuch"), ""),
        ]
        assert await session.change_state({}) == view.state
        assert (await session.view()).seq == view.seq


@pytest.mark.parametrize(
    "value",
    [
        {1, 2},
        b"bytes",
        object(),
        float("nan"),
        float("inf"),
        dt.date(2026, 1, 1),
        "\ud800",
        lambda: 1,
        PLAIN,
    ],
    ids=["set", "bytes", "object", "nan", "inf", "date", "half a character", "function", "attrs"],
)
async def test_state_is_json_and_nothing_else(value, autojump_clock, check_journal):
    """What JSON does not have is refused, as a value and inside of one; nothing has changed."""
    async with open_runtime(env={}) as runtime:
        session = await runtime.open_session(PLAIN, id="s")
        await session.change_state({"kept": 1})
        for wrong in (value, [value], {"deep": {"er": value}}):
            with pytest.raises(InvalidRequest, match="JSON"):
                await session.change_state({"x": wrong})
        assert (await check_journal(runtime, "s")).state == {"kept": 1}
        assert (await session.ask("hi")).text == "hi"


async def test_what_is_kept_is_what_json_makes_of_it(autojump_clock, check_journal):
    """Tuples become lists, in memory as in the journal; later changes of a value are not heard."""
    mine = {"inner": [1]}
    async with open_runtime(env={}) as runtime:
        session = await runtime.open_session(PLAIN, id="s")
        answer = await session.change_state({"t": (1, (2,)), "m": mine})
        mine["inner"].append(2)
        assert answer == {"t": [1, [2]], "m": {"inner": [1]}}
        answer["m"]["inner"].append(3)
        assert (await check_journal(runtime, "s")).state == {"t": [1, [2]], "m": {"inner": [1]}}


async def test_state_has_a_largest_size(autojump_clock, check_journal):
    """A change that goes beyond it is refused as a whole; what makes room is taken."""
    async with open_runtime(env={}) as runtime:
        session = await runtime.open_session(PLAIN, id="s")
        await session.change_state({"a": "x" * (STATE_BYTES_MAX - 100)})
        with pytest.raises(LimitExceeded) as caught:
            await session.change_state({"b": "x" * 200})
        assert caught.value.data["bytes_max"] == STATE_BYTES_MAX
        await session.change_state({"b": "x" * 200}, remove=["a"])
        assert list((await check_journal(runtime, "s")).state) == ["b"]


async def test_tools_and_filters_change_it_under_the_one_writer(check_journal):
    """Async and sync tools, filters around the turn; each sees what was changed before."""
    # In real time: a virtual clock does not wait for the sync tool's thread.

    @tool
    async def count(ctx: ToolContext) -> str:
        """Count."""
        now = await ctx.change_state({"count": ctx.state.get("count", 0) + 1})
        return str(now["count"])

    @tool
    def note(ctx: ToolContext) -> str:
        """Note."""
        ctx.change_state_sync({"noted": True}, remove=["gone"])
        return str(sorted(ctx.state))

    @around_agent
    async def outer(payload, proceed):
        await payload.change_state({"gone": 1, "turns": payload.state.get("turns", 0) + 1})
        result = await proceed(payload)
        await payload.change_state({"last": result.text[:3]}, by="outer")
        return result

    agent = Agent("a", model="scripted:demo?tools=2", tools=[count, note], filters=[outer])
    async with open_runtime(env={}) as runtime:
        session = await runtime.open_session(agent, id="s")
        for _ in range(3):
            await session.ask("go")
        view = await check_journal(runtime, "s")
        assert view.state == {"count": 3, "noted": True, "turns": 3, "last": "The"}
        stored = await oldest_records(runtime.store, "s")
        by = {each.record.by for each in stored if isinstance(each.record, StateChanged)}
        assert by == {"tool count", "tool note", "filter", "outer"}


async def test_a_wrong_change_is_the_tools_error_and_the_turn_goes_on(
    autojump_clock, check_journal
):
    """The tool can act on it; else the model is told; other turns are not touched."""

    @tool
    async def spoil(ctx: ToolContext) -> str:
        """Spoil."""
        await ctx.change_state({"x": {1}})
        return "done"

    @tool
    async def flood(ctx: ToolContext) -> str:
        """Flood."""
        try:
            await ctx.change_state({"x": "x" * STATE_BYTES_MAX})
        except LimitExceeded:
            return "too much"
        return "done"

    agent = Agent("a", model="scripted:demo?tools=2", tools=[spoil, flood])
    async with open_runtime(env={}) as runtime:
        session = await runtime.open_session(agent, id="s")
        queued = []
        async with trio.open_nursery() as nursery:

            async def ask():
                queued.append(await session.ask("go"))

            for _ in range(3):
                nursery.start_soon(ask)
        assert [each.outcome for each in queued] == ["completed"] * 3
        view = await check_journal(runtime, "s")
        results = [r for m in view.history if m.role == "tool" for r in m.results]
        assert [each.state for each in results] == ["error", "success"] * 3
        assert view.state == {}


async def test_state_outlives_sleep_and_process(autojump_clock, tmp_path):
    """It is there when the session comes back, here and in the next process."""
    store = attrs.evolve(SETTINGS.store, kind="embedded", folder=str(tmp_path))
    settings = attrs.evolve(SETTINGS, store=store)
    async with open_runtime(settings, env={}) as runtime:
        session = await runtime.open_session(PLAIN, id="s")
        await session.change_state({"a": [1]})
        await trio.sleep(1000)
        assert runtime.statistics().sessions_resident == 0
        assert await session.change_state({"b": 2}) == {"a": [1], "b": 2}
    async with open_runtime(settings, env={}) as runtime:
        assert (await runtime.view("s")).state == {"a": [1], "b": 2}
        session = await runtime.open_session(PLAIN, id="s")
        assert await session.change_state({}, remove=["a"]) == {"b": 2}


async def test_what_a_cancelled_or_rolled_back_turn_changed_stays(autojump_clock, check_journal):
    """A change is made when it is made; only the history is taken back."""

    @before_agent
    async def mark(payload):
        await payload.change_state({"seen": payload.message.text})

    agent = Agent("a", model="scripted:echo?ttft=1s", filters=[mark])
    async with open_runtime(env={}) as runtime:
        session = await runtime.open_session(agent, id="s")
        await session.submit("one")
        await trio.sleep(0.5)
        session.cancel()
        await session.submit("two")
        await trio.sleep(0.5)
        assert (await session.view()).state == {"seen": "two"}
        await session.ask("three", if_busy="rollback")
        assert (await check_journal(runtime, "s")).state == {"seen": "three"}


async def test_a_filters_own_value_must_have_a_json_form(autojump_clock, check_journal):
    """An output that cannot be recorded fails its turn, by the filter's fault; the session lives."""

    @around_agent
    async def strange(payload, proceed):
        return attrs.evolve(await proceed(payload), output=object())

    agent = Agent("a", model="scripted:echo", filters=[strange])
    async with open_runtime(env={}) as runtime, runtime.session(agent, id="s") as session:
        async with session.turn("hi") as turn:
            async for _ in turn:
                pass
        assert turn.result.outcome == "failed"
        assert "JSON" in str(turn.result.error)
        assert runtime.statistics().restarts == 0
        await check_journal(runtime, "s")
