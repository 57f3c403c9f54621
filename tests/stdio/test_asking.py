"""What the server asks of the client: leave for a call, an answer to a question, a tool to run."""

from __future__ import annotations

from typing import Annotated

import msgspec
import pytest
import trio
import trio.testing

from actrio.runtime import AgentSettings, Settings
from actrio.tools import ToolContext, tool

WORD = {
    "type": "object",
    "properties": {"word": {"type": "string"}, "how-often": {"type": "integer"}},
    "required": ["word"],
}


@tool(approval="ask")
async def wipe(folder: str = "scratch") -> str:
    """Wipe a folder."""
    return f"wiped {folder}"


@tool
async def ask_colour(context: ToolContext, kind: Annotated[str, msgspec.Meta()] = "car") -> str:
    """Ask a person for a colour."""
    return "chosen: " + await context.ask_person(f"Which colour for the {kind}?", ["red", "blue"])


@pytest.fixture
def agents(monkeypatch) -> Settings:
    """Agents whose one tool needs a person."""
    import sys
    import types

    module = types.ModuleType("asking_tools")
    module.wipe, module.ask_colour = wipe, ask_colour
    monkeypatch.setitem(sys.modules, "asking_tools", module)
    return Settings(
        model="scripted:demo",
        agents={
            "wiper": AgentSettings(tools=("asking_tools:wipe",)),
            "painter": AgentSettings(tools=("asking_tools:ask_colour",)),
        },
    )


async def turn_of(client, agent: str | None = None, **params) -> tuple[str, str]:
    session = (await client.call("session/create", agent=agent, **params))["session"]
    turn = await client.call("turn/start", session=session, prompt="Please.")
    return session, turn["turn"]


def tool_text(client) -> str:
    (item,) = [e for e in client.of("item.completed") if e["kind"] == "tool_call"]
    return item["result"]["text"]


async def test_leave_is_asked_for_and_given(talk, agents):
    """The request comes behind its event, the call runs, and approval.resolved says who decided."""
    async with talk(
        agents, declare={"capabilities": {"approval": True}, "client": {"name": "ed"}}
    ) as client:
        client.on_request = lambda _: {"decision": "approved", "note": "fine"}
        session, turn = await turn_of(client, "wiper")
        result = await client.call("turn/wait", turn=turn)
        assert result["outcome"] == "completed"
        (asked,) = client.requests
        assert asked["method"] == "approval/request"
        assert asked["params"]["call"]["name"] == "wipe"
        assert (asked["params"]["session"], asked["params"]["turn"]) == (session, turn)
        (resolved,) = client.of("approval.resolved")
        assert (resolved["decision"], resolved["by"]) == ("approved", "ed")
        assert tool_text(client).startswith("wiped")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"decision": "denied", "note": "not on a Friday"}, "not on a Friday"),
        ({"decision": "perhaps"}, "could not answer"),
        ({"verdict": "approved"}, "could not answer"),
    ],
)
async def test_denial_and_nonsense_are_told_to_the_model(talk, agents, answer, said):
    """A client that says no, or something unreadable, has denied; the turn goes on."""
    async with talk(agents, declare={"capabilities": {"approval": "request"}}) as client:
        client.on_request = lambda _: answer
        _, turn = await turn_of(client, "wiper")
        assert (await client.call("turn/wait", turn=turn))["outcome"] == "completed"
        assert client.of("approval.resolved")[0]["decision"] == "denied"
        assert said in tool_text(client)


async def test_undeclared_is_denied_and_never_hangs(talk, agents):
    """A client that declared nothing is not asked: the model is told that nobody could be."""
    async with talk(agents) as client:
        texts = {"wiper": "nobody could be asked", "painter": "did not answer"}
        for agent, text in texts.items():
            client.events.clear()
            _, turn = await turn_of(client, agent)
            assert (await client.call("turn/wait", turn=turn))["outcome"] == "completed"
            assert client.of("approval.resolved")[0]["decision"] == "denied"
            assert client.requests == []
            (item,) = [e for e in client.of("item.completed") if e["kind"] == "tool_call"]
            assert text in item["result"]["text"]
            assert "nobody could be asked" in client.of("approval.resolved")[0]["note"]


async def test_by_events_the_client_resolves_in_its_own_time(talk, agents):
    """With `event` no request comes; approval/list shows what waits, approval/resolve decides."""
    async with talk(agents, declare={"capabilities": {"approval": "event"}}) as client:
        session, turn = await turn_of(client, "wiper")
        asked = await client.until("approval.requested")
        (waiting,) = (await client.call("approval/list"))["approvals"]
        assert (waiting["session"], waiting["approval"]) == (session, asked["approval"])
        assert (await client.call("session/get", session=session))["status"] == "waiting"
        params = {"session": session, "approval": asked["approval"], "decision": "approved"}
        assert await client.call("approval/resolve", **params) == {}
        assert (await client.call("turn/wait", turn=turn))["outcome"] == "completed"
        assert (await client.error("approval/resolve", **params))["data"]["kind"] == "not_found"
        assert client.requests == []


async def test_decided_elsewhere_the_request_is_taken_back(talk, agents):
    """approval/resolve while a request is open settles it, and the request is cancelled."""
    async with talk(agents, declare={"capabilities": {"approval": True}}) as client:
        session, turn = await turn_of(client, "wiper")
        asked = await client.until("approval.requested")
        await trio.testing.wait_all_tasks_blocked()
        await client.call(
            "approval/resolve", session=session, approval=asked["approval"], decision="denied"
        )
        await client.call("turn/wait", turn=turn)
        (request,) = [each for each in client.requests if each["method"] == "approval/request"]
        assert {"id": request["id"]} in client.taken_back


async def test_question_is_asked_and_answered(talk, agents):
    """A tool's question comes with its choices; the answer goes back to the tool."""
    async with talk(agents, declare={"capabilities": {"question": True}}) as client:
        client.on_request = lambda _: {"answer": "blue", "by": "Bo"}
        _, turn = await turn_of(client, "painter")
        await client.call("turn/wait", turn=turn)
        (asked,) = client.requests
        assert asked["method"] == "question/ask"
        assert asked["params"]["choices"] == ["red", "blue"]
        assert tool_text(client) == "chosen: blue"
        assert client.of("approval.resolved")[0]["by"] == "Bo"


async def test_cancel_while_a_person_is_asked_resolves_and_ends(talk, agents):
    """approval.resolved follows also on cancel, and the turn ends."""
    async with talk(agents, declare={"capabilities": {"approval": True}}) as client:
        _, turn = await turn_of(client, "wiper")
        await client.until("approval.requested")
        await client.call("turn/cancel", turn=turn)
        await client.until("turn.cancelled")
        assert client.of("approval.resolved")[0]["decision"] == "expired"


async def test_end_of_input_denies_what_waits(talk, agents):
    """Nobody can answer after the end of input: what waits is denied, and the turn finishes."""
    for how in (True, "event"):
        async with talk(agents, declare={"capabilities": {"approval": how}}) as client:
            await turn_of(client, "wiper")
            await client.until("approval.requested")
            await trio.testing.wait_all_tasks_blocked()
            await client.stdin.send_eof()
            events = [m["params"] for m in await client.rest() if m.get("method") == "event"]
            (resolved,) = [e for e in events if e["type"] == "approval.resolved"]
            assert (resolved["decision"], "has left" in resolved["note"]) == ("denied", True)
            assert events[-1]["type"] == "turn.completed"


# tools of the client's


TOOL = {"name": "look_up", "description": "Look a word up.", "parameters": WORD}


async def test_client_runs_its_own_tool(talk):
    """A tool declared with the session is called with arguments that its schema has."""
    async with talk(declare={"capabilities": {"tools": True}}) as client:
        client.on_request = lambda m: {"text": f"found {m['params']['arguments']['word']!r}"}
        session, turn = await turn_of(client, model="scripted:demo", tools=[TOOL])
        assert (await client.call("turn/wait", turn=turn))["outcome"] == "completed"
        (asked,) = client.requests
        assert asked["method"] == "tool/call"
        params = asked["params"]
        assert (params["session"], params["turn"], params["tool"]) == (session, turn, "look_up")
        assert isinstance(params["arguments"]["word"], str)
        assert tool_text(client).startswith("found")
        # The same declaration again is the same agent.
        await turn_of(client, model="scripted:demo", tools=[TOOL])


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"value": {"hits": 2}}, '{"hits":2}'),
        ({"text": "no such word", "error": True}, "no such word"),
        ({"words": 1}, "cannot be read"),
    ],
)
async def test_what_a_client_tool_answers_is_read_by_the_model(talk, answer, said):
    """A value is read as JSON; an error and an unreadable result are errors of the call."""
    async with talk(declare={"capabilities": {"tools": True}}) as client:
        client.on_request = lambda _: answer
        _, turn = await turn_of(client, model="scripted:demo", tools=[TOOL])
        await client.call("turn/wait", turn=turn)
        assert said in tool_text(client)


async def test_client_tool_of_a_client_that_did_not_declare_is_refused(talk):
    """The model is told that nothing was run, and nothing hangs."""
    async with talk() as client:
        _, turn = await turn_of(client, model="scripted:demo", tools=[TOOL])
        assert (await client.call("turn/wait", turn=turn))["outcome"] == "completed"
        assert "did not declare" in tool_text(client)
        assert client.requests == []


async def test_client_tool_has_its_deadline(talk, autojump_clock):
    """A client that does not answer in time is told that the call is void; the turn goes on."""
    async with talk(declare={"capabilities": {"tools": True}}) as client:
        slow = {**TOOL, "timeout_ms": 500}
        _, turn = await turn_of(client, model="scripted:demo", tools=[slow])
        assert (await client.call("turn/wait", turn=turn))["outcome"] == "completed"
        assert "did not end within 0.5 s" in tool_text(client)
        assert client.taken_back == [{"id": client.requests[0]["id"]}]


async def test_client_that_leaves_in_a_tool_call_ends_it(talk):
    """At the end of input a tool call that nobody can answer is an error, and the turn finishes."""
    async with talk(declare={"capabilities": {"tools": True}}) as client:
        await turn_of(client, model="scripted:demo", tools=[TOOL])
        while not client.requests:
            await client.receive()
        await client.stdin.send_eof()
        events = [m["params"] for m in await client.rest() if m.get("method") == "event"]
        assert events[-1]["type"] == "turn.completed"
        (call,) = [e for e in events if e["type"] == "item.completed" and e["kind"] == "tool_call"]
        assert "has left" in call["result"]["text"]


async def test_unusable_schema_is_refused_at_once(talk):
    """Parameters that are no object's schema are -32602."""
    async with talk() as client:
        wrong = {**TOOL, "parameters": {"type": "string"}}
        error = await client.error("session/create", tools=[wrong])
        assert error["code"] == -32602
        assert "look_up" in error["message"]


async def test_draining_still_hears_decisions(talk, agents):
    """After shutdown new requests are refused, but what running turns wait for can be decided."""
    async with talk(agents, declare={"capabilities": {"approval": True}}) as client:
        session, _ = await turn_of(client, "wiper")
        asked = await client.until("approval.requested")
        while not client.requests:
            await client.receive()
        assert (await client.call("shutdown"))["turns"] == 1
        assert (await client.error("session/list"))["data"]["kind"] == "conflict"
        request = client.requests[0]
        await client.send({"id": request["id"], "result": {"decision": "approved"}})
        resolved = await client.until("approval.resolved")
        assert (resolved["approval"], resolved["decision"]) == (asked["approval"], "approved")
        await client.until("turn.completed")
        assert session == resolved["session"]
