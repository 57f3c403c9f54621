"""The older contract, with its names and states as they were written."""

from __future__ import annotations

import json

import pytest
import trio

from actrio.agents import Agent
from actrio.http import HttpSettings
from actrio.sansio import SseReader
from actrio.tools import tool


@tool
def opening_hours() -> str:
    """Tell when the shop is open."""
    return "nine to five"


@tool
async def slow_tool() -> str:
    """Take a while."""
    await trio.sleep(60)
    return "done"


SHOP = Agent("shop", model="scripted:demo", tools=[opening_hours, slow_tool])


def agent_body(name="Weather bot", **more):
    return {"name": name, "model": {"provider": "scripted", "modelId": "echo"}, **more}


def said(text="Say this back."):
    return {"messages": [{"role": "user", "content": text}]}


async def made(client, **more):
    answer = await client.post("/agents", json=agent_body(**more))
    assert answer.status_code == 201, answer.text
    agent = answer.json()["agentId"]
    session = (await client.post(f"/agents/{agent}/sessions", json={})).json()["sessionId"]
    return agent, session


async def test_the_first_story(serving):
    """Create an agent, open a session, say something, look at its state."""
    async with serving() as service, service.client() as client:
        agent, session = await made(client)
        assert len(agent) == 36
        found = (await client.get(f"/agents/{agent}")).json()
        assert found["name"] == "Weather bot"
        assert found["model"]["modelId"] == "echo"
        path = f"/agents/{agent}/sessions/{session}"
        before = (await client.get(path)).json()
        assert (before["state"], before["agentId"]) == ("idle", agent)
        assert before["createdAt"].endswith("Z")
        answer = (await client.post(f"{path}/messages?stream=false", json=said())).json()
        assert answer["content"] == "Say this back."
        assert answer["state"] == "completed"
        assert set(answer["usage"]) == {"promptTokens", "completionTokens", "latencyMs"}
        assert (await client.get(path)).json()["state"] == "completed"
        listed = (await client.get("/agents")).json()["agents"]
        assert agent in [each["agentId"] for each in listed]


async def test_an_id_is_the_same_after_a_restart(serving):
    """It follows from the name, so clients can keep it."""
    ids = []
    for _ in range(2):
        async with serving() as service, service.client() as client:
            ids.append((await made(client))[0])
    assert ids[0] == ids[1]


async def test_a_stream_of_tokens_ends_with_end(serving):
    """Frames of type token and one of type end; status 200, or 207 where the settings want it."""
    for status in (200, 207):
        async with serving(http=HttpSettings(stream_status=status)) as service:
            async with service.client() as client:
                agent, session = await made(client)
                path = f"/agents/{agent}/sessions/{session}/messages?stream=true"
                answer = await client.post(path, json=said())
        assert answer.status_code == status
        frames = [json.loads(event.data) for event in SseReader().feed(answer.content)]
        assert "".join(f["delta"] for f in frames if f["type"] == "token") == "Say this back."
        assert frames[-1]["type"] == "end"
        assert frames[-1]["done"] is True
        assert frames[-1]["state"] == "completed"
        assert frames[-1]["usage"]["completionTokens"] == 3


async def test_tools_are_told_with_their_state(serving):
    """success, and disabled after the switch: the turn goes on, and says what is missing."""
    async with serving(SHOP) as service, service.client() as client:
        agent, session = await made(
            client,
            model={"provider": "scripted", "modelId": "demo?tool=opening_hours"},
            tools={"registered": ["opening_hours", "slow_tool"], "enabled": ["opening_hours"]},
        )
        path = f"/agents/{agent}/sessions/{session}/messages"
        answer = (await client.post(path, json=said())).json()
        (call,) = answer["toolCalls"]
        assert (call["name"], call["status"], call["output"]) == (
            "opening_hours",
            "success",
            "nine to five",
        )
        assert {"feature": "tool:slow_tool", "reason": "disabled"} in answer["degraded"]
        switched = await client.patch(
            f"/agents/{agent}/tools/opening_hours", json={"enabled": False}
        )
        assert switched.json() == {"toolName": "opening_hours", "enabled": False}
        answer = await client.post(path, json=said())
        assert answer.status_code == 200
        assert {"feature": "tool:opening_hours", "reason": "disabled"} in answer.json()["degraded"]
        assert [each["status"] for each in answer.json()["toolCalls"]] in ([], ["disabled"])
        unknown = await client.patch(f"/agents/{agent}/tools/absent", json={"enabled": True})
        assert unknown.status_code == 404


async def test_a_tool_that_takes_too_long_is_a_timeout(serving):
    """toolTimeoutMs bounds a call; the state says so and the turn goes on."""
    async with serving(SHOP) as service, service.client() as client:
        agent, session = await made(
            client,
            model={"provider": "scripted", "modelId": "demo?tool=slow_tool"},
            tools={"registered": ["slow_tool"], "toolTimeoutMs": 100},
        )
        answer = await client.post(f"/agents/{agent}/sessions/{session}/messages", json=said())
        (call,) = answer.json()["toolCalls"]
        assert call["status"] == "timeout"


async def test_what_is_not_there_degrades_visibly(serving):
    """Memory and MCP servers are asked for and answered with what happens instead."""
    async with serving() as service, service.client() as client:
        agent, session = await made(
            client,
            memory={"storeType": "badger", "namespace": "n", "retention": "24h", "tokenWindow": 9},
            tools={"mcpEndpoints": ["http://localhost:1/mcp"]},
        )
        answer = await client.post(f"/agents/{agent}/sessions/{session}/messages", json=said())
        features = {each["feature"] for each in answer.json()["degraded"]}
        assert features == {"memory", "mcpEndpoints"}
        assert answer.json()["content"] == "Say this back."
        told = (await client.get(f"/agents/{agent}")).json()["memory"]
        assert told == {
            "storeType": "badger",
            "namespace": "n",
            "retention": "24h",
            "tokenWindow": 9,
        }


async def test_a_session_that_streams_takes_no_second_message(serving):
    """409 while it is streaming; its state says so."""
    async with serving() as service, service.client() as client:
        agent, session = await made(
            client, model={"provider": "scripted", "modelId": "tokens?tokens=3&ttft=300s"}
        )
        path = f"/agents/{agent}/sessions/{session}"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: client.post(f"{path}/messages", json=said()))
            with trio.fail_after(5):
                while (await client.get(path)).json()["state"] != "streaming":
                    await trio.sleep(0.01)
            refused = await client.post(f"{path}/messages", json=said())
            assert refused.status_code == 409
            assert {"code", "message", "details"} <= set(refused.json())
            await client.post(f"/v1/sessions/{session}:close")
            with trio.fail_after(5):
                while (await client.get(path)).json()["state"] != "cancelled":
                    await trio.sleep(0.01)
            nursery.cancel_scope.cancel()


async def test_timeout_ms_ends_a_message(serving):
    """504 with the code timeout; the session is usable again."""
    async with serving() as service, service.client() as client:
        model = {"provider": "scripted", "modelId": "tokens?ttft=300s", "timeoutMs": 100}
        agent, session = await made(client, model=model)
        path = f"/agents/{agent}/sessions/{session}"
        with trio.fail_after(5):
            answer = await client.post(f"{path}/messages", json=said())
        assert answer.status_code == 504
        assert answer.json()["code"] == "timeout"


async def test_a_provider_that_fails_has_a_status_and_a_terminal_frame(serving):
    """Never 200 with the error as its text; in a stream the last frame is type error."""
    async with serving() as service, service.client() as client:
        model = {"provider": "scripted", "modelId": "echo?fault=status500"}
        agent, session = await made(client, model=model)
        path = f"/agents/{agent}/sessions/{session}"
        answer = await client.post(f"{path}/messages", json=said())
        assert answer.status_code == 502
        streamed = await client.post(f"{path}/messages?stream=true", json=said())
        last = json.loads(list(SseReader().feed(streamed.content))[-1].data)
        assert (last["type"], last["done"], last["state"]) == ("error", True, "errored")
        assert set(last["error"]) == {"code", "message", "details"}
        assert (await client.get(path)).json()["state"] == "errored"


async def test_a_provider_without_its_key_is_503(serving):
    """And the variable is named."""
    async with serving() as service, service.client() as client:
        agent, session = await made(client, model={"provider": "openai", "modelId": "gpt-4o"})
        answer = await client.post(f"/agents/{agent}/sessions/{session}/messages", json=said())
        assert answer.status_code == 503
        assert "OPENAI_API_KEY" in answer.text


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": "x"},
        {"name": "", "model": {"provider": "scripted", "modelId": "x"}},
        {"name": "x", "model": {"provider": "nowhere", "modelId": "x"}},
        {"name": "x", "model": {"provider": "scripted"}},
        {"name": "x", "model": {"provider": "scripted", "modelId": "x", "temperature": 3}},
        {"name": "x", "model": {"provider": "scripted", "modelId": "x", "maxTokens": 0}},
        {"name": "x", "model": {"provider": "scripted", "modelId": "x", "timeoutMs": 1}},
        agent_body(tools={"registered": ["absent"]}),
        agent_body(tools={"registered": [], "enabled": ["x"]}),
        agent_body(memory={"storeType": "redis"}),
    ],
)
async def test_a_wrong_agent_is_400(serving, body):
    """With code, message and details, as the contract has it."""
    async with serving() as service, service.client() as client:
        answer = await client.post("/agents", json=body)
    assert answer.status_code == 400
    assert {"code", "message", "details"} <= set(answer.json())


async def test_what_is_not_there_is_404(serving):
    """Agents, sessions of another agent, fixtures."""
    async with serving(SHOP) as service, service.client() as client:
        agent, session = await made(client)
        shop = (await client.get("/agents/shop")).json()["agentId"]
        for path in (
            "/agents/none",
            f"/agents/{agent}/sessions/none",
            f"/agents/{shop}/sessions/{session}",
            "/contracts/fixtures/none",
            "/contracts/fixtures/..%2f_app",
        ):
            assert (await client.get(path)).status_code == 404
        again = await client.post("/agents", json=agent_body())
        assert again.status_code == 409


async def test_fixtures_hold_against_this_server(serving):
    """What a fixture says to send gives what it says to expect."""
    async with serving() as service, service.client() as client:
        chat = (await client.get("/contracts/fixtures/scripted-chat")).json()
        answer = await client.post(
            "/agents", json={"name": "fixture", "model": chat["request"]["model"]}
        )
        agent = answer.json()["agentId"]
        session = (await client.post(f"/agents/{agent}/sessions", json={})).json()["sessionId"]
        got = await client.post(
            f"/agents/{agent}/sessions/{session}/messages",
            json={"messages": chat["request"]["messages"]},
        )
        expected = chat["expected"]
        assert got.json()["content"] == expected["content"]
        assert got.json()["state"] == expected["state"]
        for name, tokens in expected["usage"].items():
            difference = abs(got.json()["usage"][name] - tokens)
            assert difference <= chat["tolerance"]["tokenTolerance"]
        embedding = (await client.get("/contracts/fixtures/scripted-embedding")).json()
        answer = await client.post("/v1/embeddings", json=embedding["request"])
        vector = answer.json()["data"][0]["embedding"]
        assert len(vector) == embedding["expected"]["dimensions"]
