from __future__ import annotations

from typing import Any

import attrs

from actrio.acp._replay import replayed_updates, title_of
from actrio.acp._updates import Toolbox, TurnUpdates
from actrio.agents import Agent
from actrio.messages import ItemCompleted, ItemDelta, TurnCompleted, TurnResult, user_message
from actrio.runtime import Runtime, open_runtime
from actrio.sessions import exported
from actrio.tools import tool

PARROT = Agent("parrot", model="scripted:echo")


@tool
async def look(order: str) -> str:
    """Look an order up."""
    return f"{order} is a lamp"


async def told(runtime: Runtime, session: str, agent: Agent = PARROT) -> list[dict[str, Any]]:
    records = await exported(runtime.store, session)
    return list(replayed_updates(session, records, Toolbox(agent.tools, "/shop", frozenset())))


def said(updates: list[dict[str, Any]], kind: str = "user_message_chunk") -> list[str]:
    return [each["content"]["text"] for each in updates if each["sessionUpdate"] == kind]


async def test_what_was_rewound_is_not_told(autojump_clock):
    """A conversation that went back to an earlier record shows what counts, in order."""
    async with open_runtime() as runtime:
        async with runtime.session(PARROT, id="s") as session:
            await session.ask("One.")
            seq = (await session.view()).turns[-1].end_seq
            await session.ask("Two.")
            await runtime.rewind("s", to=seq)
            await session.ask("Three.")
            assert said(await told(runtime, "s")) == ["One.", "Three."]
            await runtime.rewind("s", to=seq)
            assert said(await told(runtime, "s")) == ["One."]


async def test_a_fork_tells_what_it_began_with(autojump_clock):
    """Also what stands in the other session's journal, with its tool calls and their results."""
    agent = Agent("clerk", model="scripted:demo", tools=[look])
    async with open_runtime() as runtime:
        async with runtime.session(agent, id="s") as session:
            await session.ask("One.")
        child = await runtime.fork("s")
        async with runtime.session(agent, id=child) as session:
            await session.ask("Two.")
        updates = await told(runtime, child, agent)
        assert said(updates) == ["One.", "Two."]
        begun = [each for each in updates if each["sessionUpdate"] == "tool_call"]
        ended = [each for each in updates if each["sessionUpdate"] == "tool_call_update"]
        assert [each["toolCallId"] for each in begun] == [each["toolCallId"] for each in ended]
        assert len({each["toolCallId"] for each in begun}) == 2
        assert {each["status"] for each in ended} == {"completed"}


async def test_what_a_summary_or_the_window_took_from_the_model_is_still_told(autojump_clock):
    """The person has seen it, so it is there again."""
    short = attrs.evolve(PARROT, name="short", window_tokens=20)
    async with open_runtime() as runtime:
        async with runtime.session(PARROT, id="s") as session:
            await session.ask("One.")
            await session.ask("Two.")
            await session.compact("They counted.")
            await session.ask("Three.")
        assert said(await told(runtime, "s")) == ["One.", "Two.", "Three."]
        texts = [f"{number} " + "word " * 20 for number in range(4)]
        async with runtime.session(short, id="w") as session:
            for text in texts:
                await session.ask(text)
            assert len(session.history) < 8
        assert said(await told(runtime, "w", short)) == texts


async def test_turns_that_left_nothing_are_not_told(autojump_clock):
    """A rolled back turn is gone; one that was cancelled shows what it had said."""
    slow = Agent("slow", model="scripted:tokens?itl=1s&tokens=50")
    async with open_runtime() as runtime:
        async with runtime.session(slow, id="s") as session:
            async with session.turn("Gone.") as turn:
                async for event in turn:
                    if event.type == "item.delta":
                        break
                await session.submit("Stays.", if_busy="rollback")
            async with session.turn("Cut off.") as turn:
                async for event in turn:
                    if isinstance(event, ItemDelta):
                        session.cancel(turn.id)
        updates = await told(runtime, "s", slow)
        assert said(updates) == ["Stays.", "Cut off."]
        assert said(updates, "agent_message_chunk")[-1].startswith("w1")


def test_titles_are_the_first_words():
    """One line, cut to what a list shows; nothing where nothing was said."""
    assert title_of([]) is None
    assert title_of([user_message("  \nWhere is it?\nThe lamp.")]) == "Where is it?"
    assert len(title_of([user_message("x" * 500)]) or "") == 80


def test_an_item_whose_deltas_were_lost_is_told_whole():
    """A completed item gives what its deltas had not; a filter's answer is told at the end."""
    place = {"session": "s", "turn": "t", "seq": 1, "ts": 0.0}
    updates = TurnUpdates(Toolbox((), "/", frozenset()))
    delta = ItemDelta(item="t.1.m", kind="message", text="Good ", **place)
    whole = ItemCompleted(item="t.1.m", kind="message", text="Good day", **place)
    texts = [u["content"]["text"] for event in (delta, whole) for u in updates.of(event)]
    assert texts == ["Good ", "day"]
    result = TurnResult(outcome="completed", stop_reason="short_circuit", text="No.")
    end = TurnCompleted(result=result, **place)
    assert list(updates.of(end)) == []
    (only,) = TurnUpdates(Toolbox((), "/", frozenset())).of(end)
    assert only["content"]["text"] == "No."
