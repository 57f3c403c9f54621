"""Deadlines: of native turns, of the older contract's messages; told by kind and status."""

from __future__ import annotations

import json

import pytest
import trio

from actrio.agents import Agent
from actrio.http import _deadlines
from actrio.sansio import SseReader

SLOW = Agent("slow", model="scripted:tokens?tokens=3&ttft=300s")
EVENTS = {"accept": "text/event-stream"}


async def opened(client, agent="slow"):
    answer = await client.post("/v1/sessions", json={"agent": agent})
    return f"/v1/sessions/{answer.json()['session']}"


async def test_a_native_turn_ends_at_its_deadline_though_nobody_listens(serving):
    """Cancelled with the reason deadline, and told as deadline_exceeded wherever one asks."""
    async with serving(SLOW) as service, service.client() as client:
        path = await opened(client)
        body = {"prompt": "Go.", "deadline_ms": 200}
        turn = (await client.post(f"{path}/turns", json=body)).json()["turn"]
        with trio.fail_after(5):
            while service.runtime.statistics().turns_running:
                await trio.sleep(0.01)
            told = (await client.get(f"{path}/turns/{turn}?wait=true")).json()
        assert told["state"] == "cancelled"
        assert told["result"]["error"]["kind"] == "deadline_exceeded"
        view = (await client.get(path)).json()
        assert view["turns"][-1]["reason"] == "deadline"
        json_only = {"accept": "application/json"}
        page = (await client.get(f"{path}/events", headers=json_only)).json()
        assert page["events"][-1]["result"]["error"]["kind"] == "deadline_exceeded"
        assert not service.app.desk.deadlines._running


async def test_a_stream_ends_with_the_kind(serving):
    """The terminal event of a streamed turn says why."""
    async with serving(SLOW) as service, service.client() as client:
        path = await opened(client)
        body = {"prompt": "Go.", "deadline_ms": 100}
        with trio.fail_after(5):
            answer = await client.post(f"{path}/turns", json=body, headers=EVENTS)
        last = list(SseReader().feed(answer.content))[-1]
        assert last.event == "turn.cancelled"
        assert json.loads(last.data)["result"]["error"]["kind"] == "deadline_exceeded"


async def test_who_waits_gets_504(serving):
    """With ?wait=true the answer is the turn's: its result, or its failure's status."""
    quick = Agent("quick", model="scripted:echo")
    async with serving(SLOW, quick) as service, service.client() as client:
        path = await opened(client)
        with trio.fail_after(5):
            late = await client.post(
                f"{path}/turns?wait=true", json={"prompt": "Go.", "deadline_ms": 100}
            )
        assert (late.status_code, late.json()["kind"]) == (504, "deadline_exceeded")
        assert late.json()["code"] == "timeout"
        path = await opened(client, "quick")
        body = {"prompt": "Hi.", "deadline_ms": 60_000}
        done = await client.post(f"{path}/turns?wait=true", json=body)
        assert (done.status_code, done.json()["result"]["text"]) == (200, "Hi.")


async def test_a_joined_turn_keeps_its_first_deadline(serving):
    """The same key and body are one turn with one deadline."""
    async with serving(SLOW) as service, service.client() as client:
        path, key = await opened(client), {"idempotency-key": "k"}
        body = {"prompt": "Go.", "deadline_ms": 60_000}
        for joined in (False, True):
            told = (await client.post(f"{path}/turns", json=body, headers=key)).json()
            assert told["joined"] is joined
        assert service.app.desk.deadlines._running == {told["turn"]}
        await client.post(f"{path}:close")


async def test_a_queued_turn_has_its_deadline_too(serving):
    """From its acceptance on: it never begins."""
    async with serving(SLOW) as service, service.client() as client:
        path = await opened(client)
        first = (await client.post(f"{path}/turns", json={"prompt": "Go."})).json()["turn"]
        body = {"prompt": "Then.", "deadline_ms": 100}
        second = (await client.post(f"{path}/turns", json=body)).json()["turn"]
        with trio.fail_after(5):
            told = (await client.get(f"{path}/turns/{second}?wait=true")).json()
        assert told["result"]["error"]["kind"] == "deadline_exceeded"
        assert (await client.get(f"{path}/turns/{first}")).json()["state"] == "running"
        await client.post(f"{path}:close")


async def test_more_deadlines_than_may_run_are_refused(serving, monkeypatch):
    """Before the turn is accepted."""
    monkeypatch.setattr(_deadlines, "DEADLINES_MAX", 1)
    async with serving(SLOW) as service, service.client() as client:
        path, body = await opened(client), {"prompt": "Go.", "deadline_ms": 60_000}
        assert (await client.post(f"{path}/turns", json=body)).status_code == 202
        assert (await client.post(f"{path}/turns", json=body)).status_code == 429
        assert len((await client.get(path)).json()["turns"]) == 1
        await client.post(f"{path}:close")


@pytest.mark.parametrize("streams", [True, False])
@pytest.mark.parametrize("by", ["message", "agent"])
async def test_timeout_ms_of_the_older_contract(serving, streams, by):
    """Of a message, or of the agent for all of them: 504 and `timeout`, or an error frame."""
    async with serving() as service, service.client() as client:
        model = {"provider": "scripted", "modelId": "tokens?ttft=300s"}
        more = {"timeoutMs": 100}
        body = {"name": "late", "model": {**model, **(more if by == "agent" else {})}}
        agent = (await client.post("/agents", json=body)).json()["agentId"]
        made = (await client.post(f"/agents/{agent}/sessions", json={})).json()["sessionId"]
        message = {"messages": [{"role": "user", "content": "Go."}]}
        message |= more if by == "message" else {}
        with trio.fail_after(5):
            answer = await client.post(
                f"/agents/{agent}/sessions/{made}/messages?stream={str(streams).lower()}",
                json=message,
            )
        if streams:
            last = json.loads(answer.text.strip().rpartition("data: ")[2])
            assert (last["type"], last["error"]["code"]) == ("error", "timeout")
        else:
            assert (answer.status_code, answer.json()["code"]) == (504, "timeout")
        view = (await client.get(f"/v1/sessions/{made}")).json()
        assert view["turns"][-1]["reason"] == "deadline"
        if by == "agent":  # it holds for native turns of the agent as well
            with trio.fail_after(5):
                late = await client.post(
                    f"/v1/sessions/{made}/turns?wait=true", json={"prompt": "Again."}
                )
            assert late.status_code == 504
