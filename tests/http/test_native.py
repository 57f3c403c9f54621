"""Native routes: sessions, turns, events with resume, approvals."""

from __future__ import annotations

import json

import pytest
import trio

from actrio.agents import Agent
from actrio.http import HttpSettings
from actrio.sansio import SseReader
from actrio.tools import tool

# The client libraries leave their generators to the garbage collector where a stream is left early.
pytestmark = pytest.mark.filterwarnings("ignore:.*was garbage collected before:ResourceWarning")

EVENTS = {"accept": "text/event-stream"}


@tool(approval="ask")
def delete_file(path: str) -> str:
    """Delete one file."""
    return f"deleted {path}"


async def opened(client, agent="assistant", **more):
    answer = await client.post("/v1/sessions", json={"agent": agent, **more})
    assert answer.status_code == 201, answer.text
    return answer.json()["session"]


async def events_of(answer):
    reader = SseReader()
    async for data in answer.aiter_bytes():
        for event in reader.feed(data):
            yield event


async def test_a_turn_is_accepted_and_goes_on_by_itself(serving):
    """202 with where to listen; its result can be waited for."""
    async with serving() as service, service.client() as client:
        session = await opened(client)
        accepted = await client.post(f"/v1/sessions/{session}/turns", json={"prompt": "Hello."})
        assert accepted.status_code == 202
        told = accepted.json()
        assert told["session"] == session
        done = await client.get(f"/v1/sessions/{session}/turns/{told['turn']}?wait=true")
        assert done.json()["result"]["outcome"] == "completed"
        location = accepted.headers["location"]
        async with client.stream("GET", location, headers=EVENTS) as stream:
            seen = [event async for event in events_of(stream)]
        assert seen[0].event == "turn.started"
        assert seen[-1].event == "turn.completed"
        over = await client.get(location, headers={**EVENTS, "last-event-id": seen[-1].id})
        assert over.status_code == 204


async def test_a_turn_can_be_streamed_at_once(serving):
    """With Accept: text/event-stream the answer is its events, and where to resume."""
    async with serving() as service, service.client() as client:
        session = await opened(client)
        async with client.stream(
            "POST", f"/v1/sessions/{session}/turns", json={"prompt": "Hi."}, headers=EVENTS
        ) as stream:
            assert stream.status_code == 200
            assert stream.headers["cache-control"] == "no-store"
            assert stream.headers["x-accel-buffering"] == "no"
            assert f"/v1/sessions/{session}/events?turn=" in stream.headers["location"]
            seen = [event async for event in events_of(stream)]
    text = "".join(json.loads(e.data)["text"] for e in seen if e.event == "item.delta")
    final = json.loads(seen[-1].data)
    assert seen[-1].event == "turn.completed"
    assert final["result"]["text"] == text


async def test_a_broken_stream_is_resumed_without_gap_or_duplicate(serving, request_bytes):
    """Cut at every byte of a stream: with Last-Event-ID the recorded events are 1..N, each once."""
    async with serving() as service, service.client() as client:
        session = await opened(client)
        for _ in range(2):
            turn = (
                await client.post(f"/v1/sessions/{session}/turns", json={"prompt": "Hello."})
            ).json()["turn"]
            await client.get(f"/v1/sessions/{session}/turns/{turn}?wait=true")
        wanted = (await client.get(f"/v1/sessions/{session}")).json()["seq"]

        async def read(after, enough):
            """Read a stream until ``enough`` says so and drop the connection."""
            path = f"/v1/sessions/{session}/events?from=0"
            more = {} if after is None else {"last_event_id": str(after)}
            got = b""
            async with await service.raw() as stream:
                await stream.send_all(request_bytes("GET", path, **more))
                while not enough(got):
                    got += await stream.receive_some(65536)
            return got

        last = b"id: %d\n" % wanted
        whole = await read(None, lambda got: last in got and got.endswith(b"\n\n\r\n"))
        length = len(whole)
        for cut in [*range(200, length, 37), length]:
            first = (await read(None, lambda got, cut=cut: len(got) >= cut))[:cut]
            seen = _numbers(first)
            after = seen[-1] if seen else None
            if after != wanted:
                rest = await read(after, lambda got: last in got and got.endswith(b"\n\n\r\n"))
                seen += _numbers(rest)
            assert seen == list(range(1, wanted + 1)), cut


def _numbers(answer):
    """Return the ids that a client would have, of a chunked answer that may be cut anywhere."""
    _, _, body = answer.partition(b"\r\n\r\n")
    data = b""
    while body:
        size, end, body = body.partition(b"\r\n")
        if not end:
            break
        length = int(size, 16)
        data += body[:length]
        body = body[length + 2 :]
    return [int(event.id) for event in SseReader().feed(data) if event.event != "message"]


async def test_events_go_over_from_the_past_to_the_present(serving):
    """A stream that begins in the past shows what is said now, once."""
    async with serving() as service, service.client() as client:
        session = await opened(client)
        path = f"/v1/sessions/{session}/turns"
        first = (await client.post(path, json={"prompt": "One."})).json()["turn"]
        await client.get(f"{path}/{first}?wait=true")
        seen = []
        async with client.stream(
            "GET", f"/v1/sessions/{session}/events?from=0", headers=EVENTS
        ) as stream:
            async for event in events_of(stream):
                seen.append(event)
                if event.event == "turn.completed":
                    if len([e for e in seen if e.event == "turn.completed"]) == 2:
                        break
                    await client.post(path, json={"prompt": "Two."})
    live_only = {"item.delta", "item.started"}
    numbers = [int(event.id) for event in seen if event.event not in live_only]
    assert numbers == list(range(1, len(numbers) + 1))


async def test_recorded_events_come_as_pages_too(serving):
    """For programs without a reader of event streams."""
    async with serving() as service, service.client() as client:
        session = await opened(client)
        turn = (await client.post(f"/v1/sessions/{session}/turns", json={"prompt": "One."})).json()[
            "turn"
        ]
        await client.get(f"/v1/sessions/{session}/turns/{turn}?wait=true")
        path, json_only = f"/v1/sessions/{session}/events", {"accept": "application/json"}
        page = (await client.get(f"{path}?limit=2", headers=json_only)).json()
        rest = (await client.get(f"{path}?from={page['next']}", headers=json_only)).json()
    assert [event["seq"] for event in page["events"] + rest["events"]] == [1, 2, 3, 4]


async def test_an_idle_stream_is_kept_alive(serving):
    """A comment after silence, so that proxies do not close it."""
    http = HttpSettings(keep_alive_seconds=0.2)
    async with serving(http=http) as service, service.client() as client:
        session = await opened(client)
        got = b""
        async with client.stream("GET", f"/v1/sessions/{session}/events", headers=EVENTS) as stream:
            async for data in stream.aiter_bytes():
                got += data
                if got.count(b": ka\n\n") == 2:
                    break
    assert got.startswith(b"retry: ")


async def test_too_many_listeners_of_one_session_are_refused_before_the_head(
    serving, request_bytes
):
    """429 for one more; a turn that is sent then is accepted all the same, as 202."""
    async with serving() as service, service.client() as client:
        session = await opened(client)
        held = []
        for _ in range(64):
            stream = await service.raw()
            await stream.send_all(request_bytes("GET", f"/v1/sessions/{session}/events"))
            assert b" 200 " in await stream.receive_some(4096)
            held.append(stream)
        refused = await client.get(f"/v1/sessions/{session}/events")
        assert refused.status_code == 429
        assert refused.json()["limit"] == 64
        accepted = await client.post(
            f"/v1/sessions/{session}/turns", json={"prompt": "Hi."}, headers=EVENTS
        )
        assert accepted.status_code == 202
        for stream in held:
            await stream.aclose()


async def test_a_native_turn_goes_on_without_its_client(serving):
    """The client leaves in the middle; the turn ends by itself and is there to be read."""
    agent = Agent("slow", model="scripted:tokens?tokens=20&itl=20ms")
    async with serving(agent) as service, service.client() as client:
        session = await opened(client, "slow")
        async with client.stream(
            "POST", f"/v1/sessions/{session}/turns", json={"prompt": "Go."}, headers=EVENTS
        ) as stream:
            async for event in events_of(stream):
                if event.event == "item.delta":
                    turn = json.loads(event.data)["turn"]
                    break
        done = await client.get(f"/v1/sessions/{session}/turns/{turn}?wait=true")
        assert done.json()["result"]["outcome"] == "completed"
        assert len(done.json()["result"]["text"].split()) == 20


async def test_a_native_turn_can_end_with_its_client(serving):
    """on_disconnect=cancel."""
    agent = Agent("slow", model="scripted:tokens?tokens=2000&itl=20ms")
    http = HttpSettings(on_disconnect="cancel")
    async with serving(agent, http=http) as service, service.client() as client:
        session = await opened(client, "slow")
        async with client.stream(
            "POST", f"/v1/sessions/{session}/turns", json={"prompt": "Go."}, headers=EVENTS
        ) as stream:
            async for event in events_of(stream):
                if event.event == "item.delta":
                    turn = json.loads(event.data)["turn"]
                    break
        with trio.fail_after(2):
            done = await client.get(f"/v1/sessions/{session}/turns/{turn}?wait=true")
        assert done.json()["result"]["outcome"] == "cancelled"


async def test_an_idempotency_key_joins_the_same_turn(serving):
    """The same key and body give the same turn, also as a stream; another body is 422."""
    async with serving() as service, service.client() as client:
        session = await opened(client)
        path, key = f"/v1/sessions/{session}/turns", {"idempotency-key": "k-1"}
        first = (await client.post(path, json={"prompt": "Once."}, headers=key)).json()
        await client.get(f"{path}/{first['turn']}?wait=true")
        again = (await client.post(path, json={"prompt": "Once."}, headers=key)).json()
        assert (again["turn"], again["joined"]) == (first["turn"], True)
        assert again["state"] == "completed"
        other = await client.post(path, json={"prompt": "Twice."}, headers=key)
        assert other.status_code == 422
        with trio.fail_after(3):
            streamed = await client.post(path, json={"prompt": "Once."}, headers={**key, **EVENTS})
        assert "turn.completed" in streamed.text
        history = (await client.get(f"/v1/sessions/{session}")).json()["history"]
        assert len(history) == 2


async def test_busy_sessions_do_as_they_are_told(serving):
    """reject is 409, a full line 429, cancel ends a turn, steering joins it."""
    agent = Agent("slow", model="scripted:tokens?tokens=3&ttft=300s", queue_max=2)
    async with serving(agent) as service, service.client() as client:
        session = await opened(client, "slow")
        path = f"/v1/sessions/{session}/turns"
        turn = (await client.post(path, json={"prompt": "Go."})).json()["turn"]
        refused = await client.post(path, json={"prompt": "x", "if_busy": "reject"})
        assert refused.status_code == 409
        steered = await client.post(f"/v1/turns/{turn}:steer", json={"prompt": "Be brief."})
        assert steered.status_code == 202
        queued = await client.post(path, json={"prompt": "x"})
        assert queued.json()["state"] == "queued"
        full = await client.post(path, json={"prompt": "x"})
        assert full.status_code == 429
        assert full.json()["error"] == "backpressure"
        assert (await client.post(f"{path}/{turn}:cancel")).json()["cancelled"] is True
        done = await client.get(f"{path}/{turn}?wait=true")
        assert done.json()["state"] == "cancelled"
        again = await client.post(f"/v1/turns/{turn}:cancel")
        assert again.json()["cancelled"] is False
        assert (await client.post("/v1/turns/t_none:cancel")).status_code == 404
        await client.post(f"/v1/sessions/{session}:close")


async def test_a_person_decides_over_http(serving):
    """The question is listed, is an event, and its answer lets the turn go on."""
    agent = Agent("ops", model="scripted:demo", tools=[delete_file])
    async with serving(agent) as service, service.client() as client:
        session = await opened(client, "ops")
        path = f"/v1/sessions/{session}/turns"
        turn = (await client.post(path, json={"prompt": "Tidy up."})).json()["turn"]
        with trio.fail_after(5):
            while not (waiting := (await client.get("/v1/approvals")).json()["approvals"]):
                await trio.sleep(0.01)
        (asked,) = waiting
        assert asked["session"] == session
        assert (await client.get(f"{path}/{turn}")).json()["state"] == "waiting"
        decided = await client.post(
            f"/v1/approvals/{asked['approval']}", json={"decision": "approved", "note": "fine"}
        )
        assert decided.status_code == 200
        done = await client.get(f"{path}/{turn}?wait=true")
        assert "deleted" in done.json()["result"]["text"]
        gone = await client.post(f"/v1/approvals/{asked['approval']}", json={"decision": "denied"})
        assert gone.status_code in {404, 409}


async def test_sessions_are_listed_forked_rewound_compacted_and_removed(serving):
    """What can be done with a session beside talking."""
    async with serving() as service, service.client() as client:
        session = await opened(client, id="mine", user="u", labels={"a": "b"})
        path = f"/v1/sessions/{session}"
        for text in ("One.", "Two."):
            turn = (await client.post(f"{path}/turns", json={"prompt": text})).json()["turn"]
            await client.get(f"{path}/turns/{turn}?wait=true")
        view = (await client.get(path)).json()
        assert (view["user"], view["labels"], len(view["history"])) == ("u", {"a": "b"}, 4)
        first_end = view["turns"][0]["end_seq"]
        forked = await client.post(f"{path}:fork", json={"at": first_end, "id": "other"})
        assert forked.status_code == 201
        assert len(forked.json()["history"]) == 2
        listed = (await client.get("/v1/sessions?limit=1")).json()
        assert [each["session"] for each in listed["sessions"]] == ["mine"]
        listed = (await client.get(f"/v1/sessions?after={listed['next']}")).json()
        assert [each["session"] for each in listed["sessions"]] == ["other"]
        rewound = await client.post(f"{path}:rewind", json={"to": first_end})
        assert len(rewound.json()["history"]) == 2
        compacted = await client.post(f"{path}:compact", json={"summary": "Greetings."})
        assert compacted.json()["summary"] == "Greetings."
        state = await client.patch(f"{path}/state", json={"values": {"x": 1}})
        assert state.json() == {"state": {"x": 1}}
        assert (await client.delete(path)).status_code == 204
        assert (await client.get(path)).status_code == 404


async def test_agents_are_made_of_what_is_here(serving):
    """Tools by name from the agents that are here; code cannot be sent."""
    ops = Agent("ops", model="scripted:demo", tools=[delete_file])
    async with serving(ops) as service, service.client() as client:
        made = await client.post("/v1/agents", json={"name": "two", "tools": ["delete_file"]})
        assert made.status_code == 201
        assert made.json()["tools"][0]["enabled"] is True
        for wrong, status in (
            ({"name": "two"}, 409),
            ({"name": "three", "tools": ["os:system"]}, 422),
            ({"name": "three", "model": "nowhere:x"}, 422),
            ({"name": "a b"}, 422),
            ({"name": "three", "tool": []}, 422),
        ):
            assert (await client.post("/v1/agents", json=wrong)).status_code == status
        off = await client.patch("/v1/agents/two/tools/delete_file", json={"enabled": False})
        assert off.json()["tools"][0]["enabled"] is False


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/sessions/none"),
        ("GET", "/v1/sessions/none/events"),
        ("POST", "/v1/sessions/none/turns"),
        ("GET", "/v1/sessions/none/turns/t"),
        ("DELETE", "/v1/sessions/none"),
        ("POST", "/v1/sessions/none:fork"),
        ("POST", "/v1/approvals/none"),
        ("GET", "/v1/agents/none"),
    ],
)
async def test_what_is_not_there_is_404(serving, method, path):
    """Whatever is asked of it."""
    body = {"POST": {"prompt": "x"} if "turns" in path else {}}.get(method)
    if "approvals" in path:
        body = {"decision": "denied"}
    async with serving() as service, service.client() as client:
        answer = await client.request(method, path, json=body)
    assert answer.status_code == 404, answer.text
