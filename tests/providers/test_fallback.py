"""Retries, restarts and models that stand in: what follows a failure, and what never does."""

from __future__ import annotations

import json

import pytest
import trio

from actrio import Agent, ItemCompleted, ItemDelta, Settings, open_runtime
from actrio.errors import ProviderError, ProviderUnreachable, StreamTruncated
from actrio.messages import AttemptSuperseded, ModelInput, fold, user_message
from actrio.providers import ConnectionLimits, ProviderSettings
from actrio.testing import MemoryNetwork, Reply, cancel_at_each_step

CUT = Reply(
    body=(
        b'data: {"choices":[{"index":0,"delta":{"content":"hal"},"finish_reason":null}]}\n\n',
        "reset",
    )
)


def error(status: int, code: str = "", **headers) -> Reply:
    body = json.dumps({"error": {"message": "no", "code": code}}).encode()
    told = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status, {"content-type": "application/json", **told}, (body,))


@pytest.mark.parametrize(
    "failure",
    [
        error(500),
        error(503),
        error(429),
        error(408),
        Reply(fault="refused"),
        Reply(fault="reset"),
        Reply(fault="timeout"),
        Reply(delay_seconds=float("inf")),
        Reply(body=("stall",)),
        Reply(body=("reset",)),
        Reply(body=()),
    ],
)
async def test_what_passes_is_tried_again(autojump_clock, offline, stream_reply, failure):
    """Before the first delta a call is repeated, later each time, and the asker sees one answer."""
    network = MemoryNetwork([failure, failure, stream_reply("fine")])
    seen = []
    async with offline(network, idle_seconds=30) as client:
        output = await client.call("here:m", seen=seen)
        told = client.connections.statistics()["here"]
    assert output.message.text == fold(seen).message.text == "fine"
    assert not [delta for delta in seen if isinstance(delta, AttemptSuperseded)]
    assert (told.calls, told.requests, told.retries, network.open) == (1, 3, 2, 0)
    first, second, third = (request.at for request in network.requests)
    assert second - first >= 0.5
    assert third - second >= 1.0


@pytest.mark.parametrize(
    "failure",
    [
        error(401),
        error(402),
        error(429, "insufficient_quota"),
        error(400),
        error(400, "context_length_exceeded"),
        error(400, "content_filter"),
        error(404),
        error(500, x_should_retry="false"),
        Reply(200, {"content-type": "text/html"}, (b"<html>",)),
    ],
)
async def test_what_does_not_pass_is_not(autojump_clock, offline, failure):
    """Quota, auth, invalid requests, length, filters, and where the provider says so: once."""
    network = MemoryNetwork([failure])
    async with offline(network) as client:
        with pytest.raises(Exception, match="here"):
            await client.call("here:m")
    assert len(network.requests) == 1


async def test_what_a_good_answer_says_of_retrying_means_nothing(
    autojump_clock, offline, stream_reply
):
    """Some vendors send ``retry-after`` with every answer; an error in such a stream is no pause."""
    overloaded = b'data: {"error":{"message":"busy","type":"overloaded_error"}}\n\n'
    headers = {"retry-after": "30", "x-should-retry": "false"}
    network = MemoryNetwork([Reply(200, headers, (overloaded,)), stream_reply("fine")])
    async with offline(network) as client:
        assert (await client.call("here:m")).message.text == "fine"
        assert client.connections.statistics()["here"].pauses == 0
    first, second = (request.at for request in network.requests)
    assert second - first < 1


async def test_the_last_failure_is_told(autojump_clock, offline):
    """After the last attempt its error stands, and nothing is left."""
    network = MemoryNetwork([error(500), error(503), error(502)])
    async with offline(network) as client:
        with pytest.raises(ProviderError, match="502"):
            await client.call("here:m")
        told = client.connections.statistics()["here"]
    assert len(network.requests) == 3
    assert (told.failures, told.parked) == ({"server": 2, "overloaded": 1}, 0)


async def test_an_answer_that_was_shown_is_not_repeated(autojump_clock, offline):
    """After the first delta a broken stream is an error: nobody sees a beginning twice."""
    network = MemoryNetwork([CUT])
    seen = []
    async with offline(network) as client:
        with pytest.raises(StreamTruncated):
            await client.call("here:m", seen=seen)
    assert fold(seen).message.text == "hal"
    assert len(network.requests) == 1


async def test_an_asker_without_a_stream_saw_nothing(autojump_clock, offline, stream_reply):
    """Whoever asks for the whole answer alone gets it, also when the first attempt broke off."""
    network = MemoryNetwork([CUT, stream_reply("fine")])
    async with offline(network) as client:
        ref, name = await client.connections.open("here:m")
        output = await ref.ask(ModelInput(name, (user_message("Hi"),)))
    assert output.message.text == "fine"


async def test_a_stream_may_begin_anew_where_that_is_set(autojump_clock, offline, stream_reply):
    """A marker stands between the attempts, and the fold of all deltas is the last one's answer."""
    network = MemoryNetwork([CUT, CUT, stream_reply("fine")])
    seen = []
    async with offline(network, limits={"restart_streams": True}) as client:
        output = await client.call("here:m", seen=seen)
    assert [delta.attempt for delta in seen if isinstance(delta, AttemptSuperseded)] == [2, 3]
    assert output.message.text == fold(seen).message.text == "fine"


async def test_a_turn_shows_a_superseded_attempt_as_such(raw_server):
    """Its item is completed as superseded, the next attempt has an item of its own."""
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"
    piece = b'data: {"choices":[{"index":0,"delta":{"content":"%s"},"finish_reason":%s}]}\n\n'
    answers = iter([head + piece % (b"hal", b"null"), head + piece % (b"fine", b'"stop"')])

    async def answer(stream, request):
        await stream.send_all(next(answers))

    limits = ConnectionLimits(restart_streams=True)
    here = ProviderSettings(base_url=await raw_server(answer), limits=limits)
    async with open_runtime(Settings(providers={"here": here}), env={}) as runtime:
        async with runtime.session(Agent("a", model="here:m")) as session:
            async with session.turn("Hi") as turn:
                events = [event async for event in turn]
    assert turn.result.text == "fine"
    completed = [event for event in events if isinstance(event, ItemCompleted)]
    assert [(event.status, event.text) for event in completed] == [
        ("superseded", "hal"),
        ("completed", "fine"),
    ]
    assert [event.attempt for event in events if isinstance(event, ItemDelta)] == [1, 2]


async def test_a_call_ends_within_its_total_time(autojump_clock, offline):
    """Queue, pauses and attempts together have a bound."""
    slow = (b": alive\n\n", 5.0) * 1000
    network = MemoryNetwork([Reply(body=slow)])
    async with offline(network, limits={"total_seconds": 60}) as client:
        began = trio.current_time()
        with pytest.raises(ProviderUnreachable, match="60 s") as caught:
            await client.call("here:m")
        assert trio.current_time() - began == pytest.approx(60)
        assert caught.value.category == "timeout"
        assert network.open == 0


@pytest.mark.parametrize(
    ("reply", "seconds", "words", "begun"),
    [
        (Reply(delay_seconds=float("inf")), 7, "first_byte_seconds", False),
        (Reply(body=("stall",)), 20, "idle_seconds", True),
        (Reply(body=(b": alive\n\n", "stall")), 20, "idle_seconds", True),
        (Reply(body=(b": alive\n\n", 15.0) * 100), 50, "signs of life", True),
        (Reply(body=(b"d", b"a", b"t", b"a", 19.0) * 100), 50, "signs of life", True),
        (Reply(body=(*CUT.body[:1], 15.0, *CUT.body[:1], "stall")), 35, "idle_seconds", True),
    ],
)
async def test_each_phase_has_its_time(autojump_clock, offline, reply, seconds, words, begun):
    """First byte, silence, and signs of life without an answer; each says which setting it was."""
    network = MemoryNetwork([reply])
    limits = {"retries_max": 0, "first_byte_seconds": 7, "delta_seconds": 50}
    async with offline(network, idle_seconds=20, limits=limits) as client:
        began = trio.current_time()
        with pytest.raises(ProviderUnreachable, match=words) as caught:
            await client.call("here:m")
        assert trio.current_time() - began == pytest.approx(seconds, abs=0.01)
        assert (caught.value.category, caught.value.in_stream) == ("timeout", begun)
        assert network.open == 0


async def test_a_slow_reader_costs_the_provider_no_time(autojump_clock, offline, stream_reply):
    """While the asker does not read, no phase runs out."""
    body = [b'data: {"choices":[{"index":0,"delta":{"content":"x"}}]}\n\n'] * 5
    network = MemoryNetwork([Reply(body=(*body, *stream_reply("!").body))])
    async with offline(network, idle_seconds=1) as client:
        ref, name = await client.connections.open("here:m")
        async with ref.stream(ModelInput(name, (user_message("Hi"),)), credit=1) as stream:
            async for _ in stream:
                await trio.sleep(30)
        assert stream.result.message.text == "xxxxx!"


async def test_a_cancel_at_any_step_of_a_retried_call(autojump_clock, offline, stream_reply):
    """In the queue, in the pause, between attempts or in a stream: no place and no answer is kept."""
    slow = stream_reply("fine", delay_seconds=0.5)
    network = MemoryNetwork(lambda _: next(replies, slow))
    limits = {"circuit_failures": 1000}
    async with offline(network, max_connections=1, limits=limits) as client:

        async def contended():
            nonlocal replies
            replies = iter([error(429, retry_after="2"), error(500), CUT, slow])
            async with trio.open_nursery() as nursery:
                for caller in "abc":
                    nursery.start_soon(ask, caller)

        async def ask(caller):
            ref, name = await client.connections.open("here:m")
            call = ModelInput(name, (user_message("Hi"),), caller=caller)
            await ref.ask(call)

        async def check():
            nonlocal requests
            requests = len(network.requests)
            network.requests.clear()
            told = client.connections.statistics()["here"]
            assert (told.calls_in_work, told.waiting, told.parked) == (0, 0, 0)
            assert network.open == 0
            await trio.sleep(10)  # let the pause and the timer pass

        replies = iter(())
        requests = 0
        await client.call("here:m")
        runs = await cancel_at_each_step(contended, check=check)
        assert runs > 40
        assert requests == 6  # of the last run: three calls and three further attempts
        assert (await client.call("here:m")).message.text == "fine"


# -- other models in its place -------------------------------------------------------------------


def by_host(hosts):
    """Answer as the host of the request says, and remember whom was asked."""
    asked = []

    def reply(request):
        name = request.url.split("/")[2].split(".")[0]
        asked.append((name, json.loads(request.body)["model"]))
        return hosts[name]

    return MemoryNetwork(reply), asked


def provider(name: str, *fallback: str, **limits) -> ProviderSettings:
    return ProviderSettings(
        base_url=f"http://{name}.localhost:1/v1",
        limits=ConnectionLimits(fallback=fallback, **{"retries_max": 0, **limits}),
    )


async def test_models_stand_in_in_order(autojump_clock, offline, stream_reply):
    """The first fails, the second too, the third answers; its name is on the answer."""
    network, asked = by_host({"a": error(500), "b": error(503), "c": stream_reply("fine")})
    others = {"a": provider("a", "b:two", "c:three"), "b": provider("b"), "c": provider("c")}
    seen = []
    async with offline(network, others=others) as client:
        output = await client.call("a:one", seen=seen)
        told = client.connections.statistics()
    assert asked == [("a", "one"), ("b", "two"), ("c", "three")]
    assert (output.message.text, output.model) == ("fine", "three")
    assert fold(seen).message.text == "fine"
    assert (told["a"].fallbacks, told["b"].fallbacks) == (1, 0)


async def test_lists_that_name_each_other_end(autojump_clock, offline):
    """Each model is asked once; the first error stands, with what became of the others."""
    network, asked = by_host({"a": error(500), "b": error(503)})
    others = {"a": provider("a", "b:two"), "b": provider("b", "a:one")}
    async with offline(network, others=others) as client:
        with pytest.raises(ProviderError, match="500") as caught:
            await client.call("a:one")
    assert asked == [("a", "one"), ("b", "two")]
    assert list(caught.value.data["fallback"]) == ["b:two"]


@pytest.mark.parametrize("failure", [error(401), error(400), error(402), CUT])
async def test_no_model_stands_in_for_a_wrong_call_or_a_broken_answer(
    autojump_clock, offline, failure, stream_reply
):
    """What would fail there too, and what was shown already, is told."""
    network, asked = by_host({"a": failure, "b": stream_reply("fine")})
    others = {"a": provider("a", "b:two"), "b": provider("b")}
    async with offline(network, others=others) as client:
        with pytest.raises(ProviderError):
            await client.call("a:one")
    assert asked == [("a", "one")]


async def test_whoever_wants_this_model_alone_says_so(autojump_clock, offline, stream_reply):
    """``fallback=False`` on the call."""
    network, asked = by_host({"a": error(500), "b": stream_reply("fine")})
    others = {"a": provider("a", "b:two"), "b": provider("b")}
    async with offline(network, others=others) as client:
        with pytest.raises(ProviderError):
            await client.call("a:one", fallback=False)
    assert asked == [("a", "one")]


async def test_an_open_circuit_and_a_missing_key_lead_on(autojump_clock, offline, stream_reply):
    """A provider that is left alone is passed over at once, one without a key too."""
    network, asked = by_host({"a": error(500), "c": stream_reply("fine")})
    others = {
        "a": provider("a", "nokey:x", "c:three", circuit_failures=1),
        "nokey": ProviderSettings(base_url="https://nokey.invalid/v1"),
        "c": provider("c"),
    }
    async with offline(network, others=others) as client:
        for _ in range(3):
            assert (await client.call("a:one")).message.text == "fine"
    assert [name for name, _ in asked] == ["a", "c", "c", "c"]


async def test_the_scripted_provider_can_stand_in(autojump_clock, offline):
    """Any model that can be opened can, also one without a socket."""
    network, _ = by_host({"a": error(500)})
    async with offline(network, others={"a": provider("a", "scripted:echo")}) as client:
        assert (await client.call("a:one", prompt="Hello")).message.text == "Hello"
