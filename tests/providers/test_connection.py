"""Connections over real sockets to the scripted server, with both HTTP libraries."""

from __future__ import annotations

import attrs
import pytest
import trio

from actrio.actors import ChildSpec, open_actor_system
from actrio.errors import (
    ContextWindowExceeded,
    InvalidRequest,
    ProviderError,
    ProviderProtocolError,
    ProviderUnreachable,
    StreamTruncated,
)
from actrio.messages import ModelInput, ModelOptions, TextDelta, ToolSpec, fold, user_message
from actrio.providers import Endpoint, ProviderConnection, ProviderSettings, load_http
from actrio.providers.dialects import OpenAiChat

WEATHER = ToolSpec(
    "weather",
    "Tells the weather.",
    {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
)


async def test_a_streamed_answer(server, connect, http):
    """Deltas come in tuples, and what they fold into is the result."""
    seen = []
    async with connect(server.base_url, http) as client:
        output = await client.call("here:tokens?tokens=40", seen=seen)
    assert output.message.text == " ".join(f"w{n}" for n in range(1, 41))
    assert output.finish_reason == "stop"
    assert output.usage.output_tokens == 40
    assert (output.model, output.request_id) == ("tokens?tokens=40", "req_1")
    assert fold(seen).message == output.message


async def test_an_answer_that_is_not_streamed(server, connect, http):
    """The same call without a stream gives the same answer."""
    async with connect(server.base_url, http) as client:
        streamed = await client.call("here:demo?seed=3", tools=(WEATHER,))
        whole = await client.call("here:demo?seed=3", tools=(WEATHER,), stream=False)
    assert whole.message == streamed.message
    assert whole.usage == streamed.usage


async def test_an_ask_gives_the_result_alone(server, connect, http):
    """Whoever does not want deltas asks."""
    async with connect(server.base_url, http) as client:
        ref, name = await client.connections.open("here:echo")
        output = await ref.ask(ModelInput(name, (user_message("Hello there"),)))
    assert output.message.text == "Hello there"


async def test_tool_calls_and_a_schema(server, connect, http):
    """Tool calls come whole, and a response schema gives an instance of it."""
    async with connect(server.base_url, http) as client:
        output = await client.call("here:demo?tools=2", tools=(WEATHER,))
        assert [call.name for call in output.message.tool_calls] == ["weather", "weather"]
        assert len({call.id for call in output.message.tool_calls}) == 2
        assert output.finish_reason == "tool_calls"
        schema = {"type": "object", "properties": {"n": {"const": 7}}, "required": ["n"]}
        output = await client.call("here:json", options=ModelOptions(response_schema=schema))
        assert output.message.text == '{"n": 7}'


@pytest.mark.parametrize("where", ["here", "scripted"])
@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    "case",
    [
        ("status401", ProviderError, "auth"),
        ("status429", ProviderError, "rate_limit"),
        ("status500", ProviderError, "server"),
        ("context", ContextWindowExceeded, None),
        ("cut@3", StreamTruncated, "network"),
        ("reset@3", StreamTruncated, "network"),
        ("reset", ProviderUnreachable, "network"),
        ("badjson@3", ProviderProtocolError, "protocol"),
        ("stall@3", ProviderUnreachable, "timeout"),
    ],
)
async def test_each_fault_has_its_error(server, connect, where, stream, case):
    """A fault raises the same typed error over HTTP and in process, and the next call does well."""
    fault, kind, category = case
    async with connect(server.base_url, "auto", idle_seconds=0.1) as client:
        chosen = {"here": client.connections._settings["here"]}
        chosen["scripted"] = chosen["here"]
        client.connections._settings = chosen
        if not stream and where == "here" and fault in {"cut@3", "reset@3"}:
            kind = ProviderUnreachable  # without a stream nothing had begun
        with pytest.raises(kind) as caught:
            await client.call(f"{where}:tokens?fault={fault}", stream=stream)
        assert getattr(caught.value, "category", None) == category
        assert caught.value.remedy
        assert (await client.call(f"{where}:tokens?tokens=1")).message.text == "w1"
    assert server.statistics().errors == 0


async def test_what_came_before_a_fault_is_delivered(server, connect, http):
    """A stream is a prefix and then exactly one end."""
    seen = []
    async with connect(server.base_url, http) as client:
        with pytest.raises(ProviderProtocolError):
            await client.call("here:tokens?fault=badjson@5", seen=seen)
    assert fold(seen).message.text == "w1 w2 w3 w4 w5 "


async def test_a_wrong_script_is_refused_with_the_known_ones(server, connect, http):
    """A model that the provider does not know is told with what it does know."""
    async with connect(server.base_url, http) as client:
        with pytest.raises(ProviderError, match="demo, echo, tokens, json"):
            await client.call("here:genius")


async def test_text_that_cannot_be_sent_is_refused_before_it_is(server, connect, http):
    """A request that is no JSON never reaches the provider and harms no other call."""
    async with connect(server.base_url, http) as client:
        with pytest.raises(InvalidRequest):
            await client.call("here:echo", prompt="\ud800")
        assert server.statistics().requests == 0
        assert (await client.call("here:echo")).message.text == "Hi"


async def test_connections_are_used_again(server, connect, http):
    """Call after call goes over one connection."""
    async with connect(server.base_url, http) as client:
        for _ in range(20):
            await client.call("here:tokens?tokens=3")
        assert server.statistics().connections == 1
        assert server.statistics().requests == 20


async def test_lanes_grow_to_the_bound_and_no_further(server, connect, http, until):
    """At most ``max_connections`` calls are in work; the others wait and all are answered."""
    outputs = []

    async def one(client):
        outputs.append(await client.call("here:tokens?ttft=200ms&tokens=2"))

    async with connect(server.base_url, http, max_connections=25) as client:
        async with trio.open_nursery() as nursery:
            for _ in range(60):
                nursery.start_soon(one, client)
        assert len(outputs) == 60
        told = client.connections.statistics()["here"]
        assert (told.lanes, told.peak_calls_in_work, told.calls_in_work) == (3, 25, 0)
        assert server.statistics().connections_peak <= 25
    await until(lambda: server.statistics().connections_open == 0)


async def test_a_slow_reader_slows_the_provider(server, connect, http):
    """While nobody reads, the server's answer stands still: nothing is buffered without bound."""
    async with connect(server.base_url, http) as client:
        ref, name = await client.connections.open("here:tokens?tokens=500000")
        async with ref.stream(ModelInput(name, (user_message("Hi"),)), credit=1) as stream:
            await anext(stream)
            before = -1
            with trio.fail_after(5):
                while before != server.statistics().deltas:
                    before = server.statistics().deltas
                    await trio.sleep(0.2)
            assert before < 200_000


async def test_leaving_a_stream_closes_its_socket_while_the_server_is_silent(
    server, connect, http, until
):
    """The server learns of the leaving between two deltas and stops; the slot is free again."""
    async with connect(server.base_url, http) as client:
        ref, name = await client.connections.open("here:tokens?fault=stall@1")
        async with ref.stream(ModelInput(name, (user_message("Hi"),))) as stream:
            await anext(stream)
            assert server.statistics().streams_open == 1
        await until(lambda: server.statistics().streams_open == 0)
        assert server.statistics().disconnects == 1
        assert client.connections.statistics()["here"].calls_in_work == 0


async def test_a_prompt_of_four_megabytes_is_sent(server, connect, http):
    """A long prompt is no special case on its way."""
    async with connect(server.base_url, http) as client:
        output = await client.call("here:tokens?tokens=1", prompt="x" * 4_000_000)
    assert output.usage.input_tokens == 1_000_001


async def test_a_call_can_be_fitted_to_a_model_that_needs_help(server, http):
    """``adapt`` rewrites the call on its way out and each batch of deltas on its way in."""

    def adapt(call):
        longer = attrs.evolve(call, messages=(user_message("Hello there"),))

        def shout(deltas):
            return [
                TextDelta(delta.text.upper()) if isinstance(delta, TextDelta) else delta
                for delta in deltas
            ]

        return longer, shout

    async def endpoint():
        return Endpoint(server.base_url)

    library = load_http(http)
    async with open_actor_system() as system:
        spec = ChildSpec(
            "fitted",
            lambda: ProviderConnection(
                dialect=OpenAiChat("fitted"),
                endpoint=endpoint,
                http=library,
                tls_context=library.tls_context(),
                trust_env=False,
                settings=ProviderSettings(),
                adapt=adapt,
            ),
        )
        ref = await system.spawn(spec)
        output = await ref.ask(ModelInput("echo", (user_message("Hi"),)))
    assert output.message.text == "HELLO THERE"


class CancelAt(trio.abc.Instrument):
    """Cancels a scope after the n-th task step since it was made."""

    def __init__(self, scope: trio.CancelScope, steps: int) -> None:
        self.scope = scope
        self.left = steps

    def after_task_step(self, task) -> None:
        self.left -= 1
        if self.left == 0:
            self.scope.cancel()


async def test_a_cancel_at_any_step_leaves_nothing_behind(server, connect, http, until):
    """Cancelled at the first, second, third … step until one call completes untouched."""
    async with connect(server.base_url, http) as client:
        await client.call("here:tokens")
        completed = 0
        for steps in range(1, 500):
            with trio.CancelScope() as scope:
                instrument = CancelAt(scope, steps)
                trio.lowlevel.add_instrument(instrument)
                try:
                    await client.call("here:tokens?itl=1ms&tokens=4")
                finally:
                    trio.lowlevel.remove_instrument(instrument)
            assert client.connections.statistics()["here"].calls_in_work == 0
            await until(lambda: server.statistics().streams_open == 0)
            # The last steps are the server's own; a few in a row mean that the sweep is through.
            completed = 0 if scope.cancelled_caught else completed + 1
            if completed == 5:
                break
        else:
            pytest.fail("500 steps were not enough")
        assert server.statistics().errors == 0
        assert (await client.call("here:tokens?tokens=1")).message.text == "w1"
        await until(lambda: server.statistics().connections_open <= 1)
