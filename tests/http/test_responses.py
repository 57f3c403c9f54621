"""`previous_response_id` as lineage of sessions: it outlives the process."""

from __future__ import annotations

import json

import pytest
import trio

from actrio.agents import Agent
from actrio.http import _shelf
from actrio.http._lineage import place_of
from actrio.http._openai_read import Asked
from actrio.messages import user_message
from actrio.runtime import Settings, StoreSettings
from actrio.sessions import oldest_records

WORDS = [f"word{number}" for number in range(20)]

TOOL = {"type": "function", "name": "look", "parameters": {"type": "object", "properties": {}}}


@pytest.fixture
def kept(tmp_path):
    """Settings with a store in files."""
    return Settings(store=StoreSettings(kind="embedded", folder=str(tmp_path / "store")))


async def respond(client, text="Hi.", status=200, **more):
    body = {"model": "scripted:echo", "input": text, **more}
    answer = await client.post("/v1/responses", json=body)
    assert answer.status_code == status, answer.text
    return answer.json()


def said(response):
    return "".join(
        part["text"]
        for item in response["output"]
        if item["type"] == "message"
        for part in item["content"]
    )


async def spoken(service, response):
    """Return what the session of a response holds, as texts."""
    view = await service.runtime.view(response["id"][:21])
    return [message.text for message in view.history]


async def test_a_conversation_outlives_the_service(serving, kept):
    """Going on after a restart from the last response, and from an earlier one."""
    async with serving(settings=kept) as service, service.client() as client:
        first = await respond(client, "one")
        second = await respond(client, "two", previous_response_id=first["id"])
        assert await spoken(service, second) == ["one", "one", "two", "two"]
        assert second["id"][:21] == first["id"][:21]
        assert not service.app.desk.shelf._kept
    async with serving(settings=kept) as service, service.client() as client:
        third = await respond(client, "three", previous_response_id=second["id"])
        assert third["id"][:21] == first["id"][:21]
        assert (await spoken(service, third))[-2:] == ["three", "three"]
        branch = await respond(client, "other", previous_response_id=first["id"])
        assert branch["id"][:21] != first["id"][:21]
        assert await spoken(service, branch) == ["one", "one", "other", "other"]
        assert branch["usage"]["input_tokens"] == second["usage"]["input_tokens"]
        onward = await respond(client, "more", previous_response_id=branch["id"])
        assert await spoken(service, onward) == ["one", "one", "other", "other", "more", "more"]


async def test_a_fork_is_a_reference(serving, kept):
    """The history of a branch stands in the other session's journal, and is not written again."""
    async with serving(settings=kept) as service, service.client() as client:
        first = await respond(client, "one")
        await respond(client, "two", previous_response_id=first["id"])
        branch = await respond(client, "other", previous_response_id=first["id"])
        records = await oldest_records(service.runtime.store, branch["id"][:21])
    assert [stored.record.kind for stored in records[:3]] == [
        "session.created",
        "session.forked",
        "input.accepted",
    ]


async def test_an_old_response_is_found_in_the_records(serving, kept):
    """Also where the session's state no longer knows its turn."""
    async with serving(settings=kept) as service, service.client() as client:
        chain = [await respond(client, "0")]
        for number in range(1, 12):
            chain.append(await respond(client, str(number), previous_response_id=chain[-1]["id"]))
        assert len({each["id"][:21] for each in chain}) == 1
        branch = await respond(client, "other", previous_response_id=chain[1]["id"])
        assert await spoken(service, branch) == ["0", "0", "1", "1", "other", "other"]


async def test_two_requests_that_go_on_from_one_response_at_once(serving, kept):
    """Each gets its own line; neither sees the other's words."""
    slow = "scripted:echo?ttft=50ms"
    async with serving(settings=kept) as service, service.client() as client:
        first = await respond(client, "one", model=slow)
        found = {}

        async def go_on(text):
            found[text] = await respond(client, text, model=slow, previous_response_id=first["id"])

        async with trio.open_nursery() as nursery:
            for text in WORDS:
                nursery.start_soon(go_on, text)
        for text, response in found.items():
            assert await spoken(service, response) == ["one", "one", text, text]
        assert len({each["id"][:21] for each in found.values()}) == len(WORDS)


async def test_a_response_is_read_back_after_a_restart(serving, kept):
    """Its id, model, words, usage and what it went on from, also across a fork."""
    async with serving(settings=kept) as service, service.client() as client:
        first = await respond(client, "one")
        second = await respond(client, "two", previous_response_id=first["id"])
        branch = await respond(client, "other", previous_response_id=first["id"])
    async with serving(settings=kept) as service, service.client() as client:
        for told in (first, second, branch):
            again = (await client.get(f"/v1/responses/{told['id']}")).json()
            for member in ("id", "model", "status", "output", "usage", "previous_response_id"):
                assert again[member] == told[member], member
        assert (await client.delete(f"/v1/responses/{first['id']}")).status_code == 409
        assert (await client.delete(f"/v1/responses/{branch['id']}")).status_code == 200
        assert (await client.get(f"/v1/responses/{branch['id']}")).status_code == 404
        assert (await client.get(f"/v1/responses/{second['id']}")).status_code == 200


async def test_a_turn_that_failed_or_was_left_is_not_gone_on_from(
    serving, kept, request_bytes, read_all
):
    """The next one forks from the response before it, without what went wrong."""
    broken = Agent("broken", model="scripted:tokens?tokens=3&ttft=300s")
    async with serving(broken, settings=kept) as service, service.client() as client:
        first = await respond(client, "one")
        await respond(client, "", previous_response_id=first["id"], status=422)
        body = {"model": "agent:broken", "input": "go"}
        stream = await service.raw()
        await stream.send_all(request_bytes("POST", "/v1/responses", body))
        with trio.fail_after(5):
            while not service.runtime.statistics().turns_running:
                await trio.sleep(0.01)
        await stream.aclose()
        with trio.fail_after(2):
            while service.runtime.statistics().turns_running:
                await trio.sleep(0.01)
        (left,) = [
            each
            for each in await service.runtime.sessions()
            if (await service.runtime.view(each.session)).labels["openai.model"] == "agent:broken"
        ]
        (turn,) = (await service.runtime.view(left.session)).turns
        gone = left.session + turn.turn.removeprefix("t_")
        assert turn.state == "cancelled"
        assert (await client.get(f"/v1/responses/{gone}")).status_code == 404
        await respond(client, "on", previous_response_id=gone, status=404)


async def test_what_a_session_cannot_carry_is_on_the_shelf(serving, kept):
    """Tools of the client, a history that it brings, another model: in memory, and said so."""
    brought = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": "c"},
    ]
    async with serving(settings=kept) as service, service.client() as client:
        first = await respond(client, "one")
        shelf = service.app.desk.shelf._kept
        with_tools = await respond(client, tools=[TOOL], previous_response_id=first["id"])
        with_history = await respond(client, brought)
        other_model = await respond(
            client, model="scripted:tokens", previous_response_id=first["id"]
        )
        assert set(shelf) == {each["id"] for each in (with_tools, with_history, other_model)}
        assert other_model["usage"]["input_tokens"] == with_tools["usage"]["input_tokens"]
        onward = await respond(client, "two", previous_response_id=with_history["id"])
        assert onward["id"] in shelf
        assert len(await service.runtime.sessions()) == 1
    async with serving(settings=kept) as service, service.client() as client:
        await respond(client, "x", previous_response_id=onward["id"], status=404)


async def test_several_messages_of_the_user_are_one_input(serving, kept):
    """A session's turn has one message; nothing of the list is lost."""
    items = [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]
    async with serving(settings=kept) as service, service.client() as client:
        told = await respond(client, items)
        assert (await spoken(service, told))[0] == "ab"


async def test_a_store_in_memory_does_not_grow_with_responses(serving, monkeypatch):
    """They are on the shelf, which forgets the oldest first."""
    monkeypatch.setattr(_shelf, "_SHELF_RESPONSES_MAX", 3)
    async with serving() as service, service.client() as client:
        told = [await respond(client, str(number)) for number in range(5)]
        assert await service.runtime.sessions() == ()
        await respond(client, "x", previous_response_id=told[0]["id"], status=404)
        assert said(await respond(client, "x", previous_response_id=told[4]["id"])) == "x"


async def test_a_streamed_response_is_kept_too(serving, kept):
    """Its id is told in the first event, and names the session from then on."""
    async with serving(settings=kept) as service, service.client() as client:
        body = {"model": "scripted:echo", "input": "one", "stream": True}
        streamed = (await client.post("/v1/responses", json=body)).text
        events = [json.loads(line[6:]) for line in streamed.splitlines() if line[:6] == "data: "]
        first = events[0]["response"]["id"]
        assert events[-1]["type"] == "response.completed"
        second = await respond(client, "two", previous_response_id=first)
        assert await spoken(service, second) == ["one", "one", "two", "two"]


async def test_two_that_look_at_a_session_in_the_same_instant(serving, kept):
    """Only one of them takes it, although both would find it idle."""
    async with serving(settings=kept) as service, service.client() as client:
        first = await respond(client, "one")
        facade = service.app.desk.facade
        place = await place_of(service.runtime, first["id"])
        served = facade.resolve("scripted:echo")
        outcomes = []

        async def go_on():
            asked = Asked(prompt=user_message("on"))
            async with facade.kept_turn(served, asked, place) as running:
                async for _ in running.turn:
                    pass
            outcomes.append((running.turn.result.outcome, running.response[:21]))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(go_on)
            nursery.start_soon(go_on)
        assert [outcome for outcome, _ in outcomes] == ["completed", "completed"]
        assert len({session for _, session in outcomes}) == 2
        assert not facade._lines
