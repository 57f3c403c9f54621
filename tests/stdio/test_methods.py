"""The methods of the wire, one by one, against a whole runtime in this process."""

from __future__ import annotations

import json

import pytest
import trio
import trio.testing

from actrio.runtime import AgentSettings, Settings
from actrio.stdio._table import METHODS

COUNT = "scripted:tokens?tokens=3"
SLOW = "scripted:tokens?itl=20ms&tokens=500"
LOOK = {
    "name": "look_up",
    "description": "Look a word up.",
    "parameters": {
        "type": "object",
        "properties": {"word": {"type": "string"}, "how-often": {"type": "integer"}},
        "required": ["word"],
    },
}


async def created(client, model: str = COUNT, **params) -> str:
    return (await client.call("session/create", model=model, **params))["session"]


def test_there_are_the_25_methods():
    """The table holds the protocol's core, no more and no less."""
    assert len(METHODS) == 25


# agents and models


async def test_agents_are_listed_registered_and_switched(talk):
    """An agent that a client registers is an agent like those of the settings."""
    settings = Settings(agents={"broken": AgentSettings(tools=("nowhere:at_all",))})
    async with talk(settings, declare={"capabilities": {"tools": True}}) as client:
        listed = {each["name"]: each for each in (await client.call("agent/list"))["agents"]}
        assert set(listed) == {"assistant", "broken"}
        assert "nowhere" in listed["broken"]["problem"]
        made = await client.call("agent/register", name="words", model=COUNT, tools=[LOOK])
        assert (made["name"], made["model"]) == ("words", COUNT)
        assert made["tools"][0]["client"] is True
        assert made["tools"][0]["parameters"] == LOOK["parameters"]
        assert await client.call("agent/get", agent="words") == made
        done = await client.call("agent/set_tool", agent="words", tool="look_up", enabled=False)
        assert done == {}
        assert await client.call("agent/register", name="words", model=COUNT, tools=[LOOK]) == made


async def test_models_say_where_they_come_from(talk):
    """Every provider is listed with its state, and nobody is asked for it."""
    async with talk() as client:
        told = await client.call("model/list")
        states = {each["name"]: each["state"] for each in told["providers"]}
        assert told["default"] == "scripted:demo"
        assert states["openai"] == "not-configured"


# sessions


async def test_sessions_are_kept_listed_shown_and_read(talk):
    """What was said is in session/history, in parts; session/get tells the rest."""
    async with talk() as client:
        session = await created(client, "scripted:echo", id="kept", user="ann", labels={"a": "b"})
        for word in ("one", "two"):
            await client.call("turn/start", session=session, prompt=word, wait=True)
        info = await client.call("session/get", session=session)
        assert (info["status"], info["user"], info["labels"]) == ("idle", "ann", {"a": "b"})
        assert (info["messages"], info["subscribed"]) == (4, True)
        assert [turn["state"] for turn in info["turns"]] == ["completed", "completed"]
        assert info["seq"] == client.events[-1]["seq"]
        first = await client.call("session/history", session=session, limit=3)
        assert first["next"] == 3
        rest = await client.call("session/history", session=session, after=first["next"])
        said = [m["parts"][0]["text"] for m in first["messages"] + rest["messages"]]
        assert said == ["one", "one", "two", "two"]
        assert "next" not in rest
        assert [m["role"] for m in first["messages"]] == ["user", "assistant", "user"]
        listed = await client.call("session/list")
        assert [each["session"] for each in listed["sessions"]] == ["kept"]
        assert listed["sessions"][0]["owner"]


async def test_fork_begins_as_the_other_and_goes_its_own_way(talk):
    """A fork has the history up to its point; what is said in it is not said in the other."""
    async with talk() as client:
        session = await created(client, "scripted:echo", id="a")
        await client.call("turn/start", session=session, prompt="one", wait=True)
        at = (await client.call("session/get", session=session))["turns"][0]["end_seq"]
        await client.call("turn/start", session=session, prompt="two", wait=True)
        assert await client.call("session/fork", session=session, at=at, id="b") == {"session": "b"}
        await client.call("turn/start", session="b", prompt="other", wait=True)
        history = (await client.call("session/history", session="b"))["messages"]
        assert [m["parts"][0]["text"] for m in history] == ["one", "one", "other", "other"]
        assert (await client.call("session/get", session="b"))["parent"] == "a"


async def test_subscription_replays_and_goes_live_without_gap_or_duplicate(talk):
    """From bookmark 0 all recorded events come again, then what happens, in order."""
    async with talk() as client:
        session = await created(client, subscribe=False)
        await client.call("turn/start", session=session, prompt="x", wait=True)
        assert client.events == []
        told = await client.call("session/subscribe", session=session, **{"from": 0})
        assert told == {"session": session, "subscribed": True}
        await client.until("turn.completed")
        assert [e["seq"] for e in client.events] == list(range(1, len(client.events) + 1))
        assert not any("n" in e for e in client.events)
        client.events.clear()
        await client.call("turn/start", session=session, prompt="y", wait=True)
        assert client.of("item.delta")
        told = await client.call("session/unsubscribe", session=session)
        assert told == {"session": session, "subscribed": False}
        client.events.clear()
        await client.call("turn/start", session=session, prompt="z", wait=True)
        assert client.events == []


async def test_bookmark_ahead_of_the_session_is_refused(talk):
    """A number that no event has yet would leave events out unsaid."""
    async with talk() as client:
        session = await created(client)
        error = await client.error("session/subscribe", session=session, **{"from": 7})
        assert (error["code"], error["data"]["pointers"]) == (-32602, ["/from"])
        # The subscription that there was goes on.
        result = await client.call("turn/start", session=session, prompt="x", wait=True)
        assert client.events[-1]["result"] == result


async def test_steering_ends_with_the_turn_that_took_it_in(talk, autojump_clock):
    """What a running turn takes in has no events of its own; waiting for it works all the same."""
    async with talk() as client:
        session = await created(client, "scripted:tokens?itl=20ms&tokens=20")
        first = (await client.call("turn/start", session=session, prompt="x"))["turn"]
        await client.until("item.delta")
        steering = await client.call("turn/steer", session=session, prompt="this way")
        result = await client.call("turn/wait", turn=steering["turn"])
        assert result["outcome"] == "completed"
        await client.call("turn/wait", turn=first)


async def test_created_again_it_goes_on_behind_its_bookmark(talk):
    """A session that was let go of is opened again by session/create, and replays what is asked."""
    async with talk() as client:
        session = await created(client, "scripted:echo", id="a")
        await client.call("turn/start", session=session, prompt="one", wait=True)
        assert await client.call("session/close", session=session) == {"closed": True}
        client.events.clear()
        made = await client.call("session/create", id="a", model="scripted:echo", **{"from": 2})
        assert made["seq"] >= 4
        await client.until("turn.completed")
        assert client.events[0]["seq"] == 3


# turns


async def test_five_ways_to_meet_a_busy_session(talk):
    """queue waits, reject refuses, steer joins, interrupt and rollback end the running turn."""
    async with talk() as client:
        session = await created(client, SLOW)

        async def say(prompt: str, **params) -> dict:
            return await client.call("turn/start", session=session, prompt=prompt, **params)

        first = await say("first")
        await client.until("item.delta")
        assert (await say("queued", if_busy="queue"))["position"] == 1
        refused = await client.error("turn/start", session=session, prompt="no", if_busy="reject")
        assert refused["data"]["kind"] == "conflict"
        await client.call("turn/steer", session=session, prompt="this way")
        interrupting = await say("now", if_busy="interrupt")
        assert (await client.until("turn.cancelled", first["turn"]))["result"]
        await client.until("item.delta", interrupting["turn"])
        back = await say("instead", if_busy="rollback")
        await client.until("turn.cancelled", interrupting["turn"])
        await client.until("turn.started", back["turn"])
        await client.call("session/close", session=session)


async def test_idempotency_key_joins_the_turn(talk):
    """The same key twice is one turn, answered twice."""
    async with talk() as client:
        session = await created(client)
        params = {"session": session, "prompt": "once", "idempotency_key": "k1"}
        first = await client.call("turn/start", **params)
        again = await client.call("turn/start", **params)
        assert (again["turn"], again["joined"]) == (first["turn"], True)
        result = await client.call("turn/start", **params, wait=True)
        assert result["turn"] == first["turn"]
        assert len(client.of("turn.started")) == 1


async def test_deadline_cancels_the_turn(talk, autojump_clock):
    """A turn that has not ended by its deadline is cancelled, with that reason."""
    async with talk() as client:
        session = await created(client, SLOW)
        result = await client.call(
            "turn/start", session=session, prompt="x", deadline_ms=500, wait=True
        )
        assert (result["outcome"], result["error"]["data"]["reason"]) == ("cancelled", "deadline")


async def test_answer_at_acceptance_comes_before_the_turns_events(talk):
    """A client knows a turn's id before it hears of the turn."""
    async with talk() as client:
        session = await created(client)
        for _ in range(20):
            id = await client.request("turn/start", session=session, prompt="x")
            while True:
                message = await client.receive()
                if message.get("id") == id:
                    break
                assert message["params"]["type"] != "turn.started"
            await client.until("turn.completed", message["result"]["turn"])


async def test_turn_of_another_time_is_waited_for_by_its_session(talk, tmp_path):
    """With its session named, a turn that an earlier process has run has its result."""
    async with talk(folder=tmp_path) as client:
        session = await created(client, "scripted:echo", id="a")
        turn = (await client.call("turn/start", session=session, prompt="x"))["turn"]
        await client.call("turn/wait", turn=turn)
    settings = Settings()
    async with talk(settings, folder=tmp_path) as client:
        assert (await client.error("turn/wait", turn=turn))["data"]["kind"] == "not_found"


# what is too large


async def test_large_values_are_blobs_that_can_be_read(talk):
    """A text beyond a line leaves as a reference in its event, its result and its history."""
    text = "é" * 600_000
    async with talk() as client:
        session = await created(client, "scripted:echo")
        id = await client.request("turn/start", session=session, prompt=text, wait=True)
        result = (await client.answer(id))["result"]
        assert result["text"]["size"] == 1_200_000
        assert await client.whole(result["text"]) == text
        done = client.of("item.completed")[0]
        assert await client.whole(done["text"]) == text
        page = await client.call("session/history", session=session)
        while "next" in page:
            page = await client.call("session/history", session=session, after=page["next"])
        assert await client.whole(page["messages"][-1]["parts"][0]["text"]) == text


async def test_runtime_is_told_in_full(talk):
    """runtime/stats has bounds beside what is used; the tree is a tree."""
    async with talk() as client:
        session = await created(client)
        stats = await client.call("runtime/stats")
        assert stats["runtime"]["sessions_open"] == 1
        assert stats["connection"]["running"] == 1
        assert session in json.dumps(await client.call("runtime/tree"))


# channels, deltas, credit


@pytest.mark.parametrize("deltas", ["none", "coalesced"])
async def test_fewer_deltas_on_request(talk, autojump_clock, deltas):
    """With none there are none; coalesced, they are fewer and hold the same text."""
    async with talk(declare={"deltas": deltas}) as client:
        client.rules.whole = deltas != "none"
        session = await created(client, "scripted:tokens?tokens=100&itl=10ms")
        result = await client.call("turn/start", session=session, prompt="x", wait=True)
        pieces = client.of("item.delta")
        if deltas == "none":
            assert pieces == []
        else:
            assert "".join(each["text"] for each in pieces) == result["text"]
            assert 5 <= len(pieces) <= 20
            assert all("n_from" in each for each in pieces[:-1])


async def test_only_wanted_channels_are_sent(talk):
    """Without progress no turn is told, and turn/wait still answers."""
    async with talk(declare={"channels": ["control"]}) as client:
        session = await created(client)
        result = await client.call("turn/start", session=session, prompt="x", wait=True)
        assert result["outcome"] == "completed"
        assert client.events == []


async def test_window_holds_events_until_they_are_acknowledged(talk):
    """No more than the window leaves unacknowledged; an acknowledgement lets as many more go."""
    async with talk(declare={"flow": {"window": 4}}) as client:
        session = await created(client, "scripted:tokens?tokens=50")
        await client.call("turn/start", session=session, prompt="x")
        seen = 0
        while not client.of("turn.completed"):
            await trio.testing.wait_all_tasks_blocked(0.01)
            while len(client.events) < seen + 1:
                message = await client.receive()
                client.events.append(message["params"])
            seen = len(client.events)
            sent = (await client.call("runtime/stats"))["connection"]["outbox"]
            assert sent["channel_lines"] <= 4
            last = client.events[-1]
            await client.send(
                {
                    "method": "flow/ack",
                    "params": {"session": session, "seq": last["seq"], "n": last.get("n", 0)},
                }
            )
        assert "".join(e["text"] for e in client.of("item.delta")).split()[-1] == "w50"


async def test_window_is_lifted_at_the_end_of_input(talk):
    """Nobody can acknowledge any more, so what is left of a turn is delivered."""
    async with talk(declare={"flow": {"window": 2}}) as client:
        session = await created(client, "scripted:tokens?tokens=50")
        await client.call("turn/start", session=session, prompt="x")
        await client.stdin.send_eof()
        messages = await client.rest()
        assert messages[-1]["params"]["type"] == "turn.completed"
