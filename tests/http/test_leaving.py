"""Clients that leave, in each way and in each state: noticed within a second, and acted upon."""

from __future__ import annotations

import json
import socket
import struct

import pytest
import trio

from actrio.agents import Agent
from actrio.providers import ProviderSettings
from actrio.runtime import Settings
from actrio.sansio import SseReader

SLOW = "scripted:tokens?tokens=30&itl=30ms"
WAYS = ["close", "reset", "half-close"]


async def leave(stream, way):
    """Leave as a client does, as a crashed one, or only for sending."""
    if way == "half-close":
        await stream.send_eof()
        return
    if way == "reset":
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    await stream.aclose()


async def until(condition, seconds=1.0):
    with trio.fail_after(seconds):
        while not condition():
            await trio.sleep(0.005)


async def read_until(stream, wanted):
    got = b""
    while wanted not in got:
        data = await stream.receive_some(65536)
        assert data, got
        got += data
    return got


def chat(model):
    return {"model": model, "stream": True, "messages": [{"role": "user", "content": "Go."}]}


@pytest.mark.parametrize("way", WAYS)
async def test_an_idle_connection(serving, way):
    """Between two requests: its place is free again."""
    async with serving() as service:
        stream = await service.raw()
        await stream.send_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n")
        assert (await stream.receive_some(4096)).startswith(b"HTTP/1.1 200 ")
        assert service.app.desk.connections["open"] == 1
        await leave(stream, way)
        await until(lambda: not service.app.desk.connections["open"])
        await stream.aclose()


@pytest.mark.parametrize("way", WAYS)
async def test_an_event_stream_on_which_nothing_happens(serving, request_bytes, way):
    """No frame has to fail first: the subscription and the session are let go of."""
    async with serving() as service, service.client() as client:
        session = (await client.post("/v1/sessions", json={"agent": "assistant"})).json()["session"]
        stream = await service.raw()
        await stream.send_all(request_bytes("GET", f"/v1/sessions/{session}/events"))
        await read_until(stream, b"retry:")
        assert service.runtime.statistics().sessions_open == 1
        await leave(stream, way)
        desk = service.app.desk
        await until(lambda: not desk.stops.streams and not desk.calls)
        await until(lambda: not service.runtime.statistics().sessions_open)
        await stream.aclose()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses"])
async def test_a_facade_client_in_the_middle_of_its_stream(serving, request_bytes, path, way):
    """Its turn is cancelled, and nothing of it is left."""
    body = chat(SLOW) if path.endswith("completions") else {**chat(SLOW), "input": "Go."}
    async with serving() as service:
        stream = await service.raw()
        await stream.send_all(request_bytes("POST", path, body))
        await read_until(stream, b"w2")
        await leave(stream, way)
        desk, statistics = service.app.desk, service.runtime.statistics
        await until(lambda: not (desk.facade_turns or desk.calls or statistics().turns_running))
        assert not desk.facade._running
        await stream.aclose()


@pytest.mark.parametrize("streams", [True, False])
@pytest.mark.parametrize("way", WAYS)
async def test_the_cancel_of_a_facade_client_reaches_the_provider(
    serving, request_bytes, way, streams
):
    """The provider's socket is closed within the second, however far the answer had come."""
    asked, closed = trio.Event(), trio.Event()

    async def provider(stream):
        await read_until(stream, b"\r\n\r\n")
        chunk = {"choices": [{"index": 0, "delta": {"role": "assistant", "content": "one "}}]}
        event = b"data: " + json.dumps(chunk).encode() + b"\n\n"
        await stream.send_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n" + event)
        asked.set()
        try:
            while await stream.receive_some(4096):
                pass
        except trio.BrokenResourceError:
            pass
        closed.set()

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, provider, 0)
        port = listeners[0].socket.getsockname()[1]
        vendor = ProviderSettings(base_url=f"http://127.0.0.1:{port}/v1")
        settings = Settings(providers={"openai": vendor})
        async with serving(settings=settings, env={"OPENAI_API_KEY": "x" * 20}) as service:
            stream = await service.raw()
            body = {**chat("openai:any"), "stream": streams}
            await stream.send_all(request_bytes("POST", "/v1/chat/completions", body))
            with trio.fail_after(5):
                await asked.wait()
                if streams:
                    await read_until(stream, b"one ")
            await leave(stream, way)
            with trio.fail_after(1):
                await closed.wait()
            await stream.aclose()
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("way", WAYS)
async def test_a_native_turn_goes_on_and_is_resumed(serving, request_bytes, way):
    """The leaving is noticed, the turn is not touched, and Last-Event-ID goes on behind it."""
    agent = Agent("slow", model=SLOW)
    async with serving(agent) as service, service.client() as client:
        path = "/v1/sessions/one"
        await client.post("/v1/sessions", json={"agent": "slow", "id": "one"})
        stream = await service.raw()
        turn = {"prompt": "Go."}
        await stream.send_all(
            request_bytes("POST", f"{path}/turns", turn, accept="text/event-stream")
        )
        got = await read_until(stream, b"item.delta")
        location = got.partition(b"location: ")[2].partition(b"\r\n")[0].decode()
        await leave(stream, way)
        await until(lambda: not service.app.desk.stops.streams)
        assert service.runtime.statistics().turns_running == 1
        seen = [line for line in got.split(b"\n") if line.startswith(b"id: ")]
        headers = {"last-event-id": seen[-1][4:].strip().decode(), "accept": "text/event-stream"}
        with trio.fail_after(10):
            answer = await client.get(location, headers=headers)
        events = list(SseReader().feed(answer.content))
        assert events[-1].event == "turn.completed"
        assert len(json.loads(events[-1].data)["result"]["text"].split()) == 30
        numbers = [int(each.id) for each in events if each.event not in {"item.delta", "message"}]
        recorded = sorted(set(numbers))
        assert recorded[0] == int(headers["last-event-id"]) + 1
        await stream.aclose()


async def test_a_client_that_waits_for_a_native_turn(serving, request_bytes):
    """With ?wait=true it holds a request, not the turn: that goes on."""
    agent = Agent("slow", model=SLOW)
    async with serving(agent) as service, service.client() as client:
        await client.post("/v1/sessions", json={"agent": "slow", "id": "one"})
        stream = await service.raw()
        path = "/v1/sessions/one/turns?wait=true"
        await stream.send_all(request_bytes("POST", path, {"prompt": "Go."}))
        await until(lambda: service.runtime.statistics().turns_running, 5)
        await stream.aclose()
        await until(lambda: not service.app.desk.calls)
        turn = (await client.get("/v1/sessions/one")).json()["turns"][-1]
        assert turn["state"] == "running"
        done = await client.get(f"/v1/sessions/one/turns/{turn['turn']}?wait=true")
        assert done.json()["result"]["outcome"] == "completed"


async def test_a_session_does_not_wait_for_an_owner_that_left(serving, request_bytes):
    """A turn whose only reader is gone runs at its own pace, not at the pace of the stall bound."""
    agent = Agent("long", model="scripted:tokens?tokens=20000")
    async with serving(agent) as service, service.client() as client:
        await client.post("/v1/sessions", json={"agent": "long", "id": "one"})
        stream = await service.raw()
        turn = request_bytes(
            "POST", "/v1/sessions/one/turns", {"prompt": "Go."}, accept="text/event-stream"
        )
        await stream.send_all(turn)
        await read_until(stream, b"item.delta")
        await leave(stream, "reset")
        # It is paced by its reader for 30 s at most; without one there is nothing to wait for.
        with trio.fail_after(10):
            while service.runtime.statistics().turns_running:
                await trio.sleep(0.01)
        view = (await client.get("/v1/sessions/one")).json()
        assert view["turns"][-1]["state"] == "completed"
