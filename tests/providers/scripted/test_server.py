from __future__ import annotations

import json

import pytest
import trio

from actrio.errors import Conflict
from actrio.providers.scripted import ScriptedServer


def request(body: bytes | dict, *, target: str = "/v1/chat/completions", extra: str = "") -> bytes:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = f"POST {target} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(data)}\r\n{extra}\r\n"
    return head.encode() + data


def chat(model: str, **more) -> bytes:
    return request({"model": model, "messages": [{"role": "user", "content": "Hi"}], **more})


async def open_stream(server: ScriptedServer) -> trio.SocketStream:
    return await trio.open_tcp_stream("127.0.0.1", int(server.base_url.split(":")[2][:-3]))


async def talk(server: ScriptedServer, data: bytes) -> bytes:
    """Send ``data`` and read until the server closes or falls silent."""
    async with await open_stream(server) as stream:
        await stream.send_all(data)
        received = b""
        with trio.move_on_after(0.2):
            while more := await stream.receive_some(65536):
                received += more
        return received


async def test_a_stream_ends_with_usage_and_done(server):
    """Chunks with the opening role, usage where asked for, and the end mark, then keep-alive."""
    data = chat("tokens?tokens=2", stream=True, stream_options={"include_usage": True})
    answer = await talk(server, data)
    assert answer.startswith(b"HTTP/1.1 200")
    assert b"text/event-stream" in answer
    assert b'"role":"assistant"' in answer
    assert b'"completion_tokens":2' in answer
    assert answer.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")


async def test_the_first_delta_leaves_when_it_is_due(server):
    """It does not wait for the next one: a client's time to first token is the script's."""
    async with await open_stream(server) as stream:
        await stream.send_all(chat("tokens?tokens=3&itl=200ms", stream=True))
        received = b""
        while received.count(b'"content"') < 2:  # the first opens the answer, with nothing in it
            received += await stream.receive_some(65536)
        assert received.count(b'"content"') == 2
        assert b"[DONE]" not in received


async def test_pipelined_requests_are_answered_in_order(server):
    """What is sent early belongs to the next request."""
    answer = await talk(server, chat("tokens?tokens=1&text=a") + chat("tokens?tokens=1&text=b"))
    assert answer.index(b'"content":"a"') < answer.index(b'"content":"b"')
    assert server.statistics().requests == 2
    assert server.statistics().connections == 1


async def test_http_1_0_gets_a_body_without_chunks(server):
    """An old client reads until the connection ends."""
    data = chat("tokens?tokens=1", stream=True).replace(b"HTTP/1.1", b"HTTP/1.0")
    answer = await talk(server, data)
    assert b"chunked" not in answer
    assert answer.endswith(b"data: [DONE]\n\n")


async def test_the_models_are_listed(server):
    """GET /v1/models names the kinds of script."""
    answer = await talk(server, b"GET /v1/models HTTP/1.1\r\nhost: x\r\n\r\n")
    names = {model["id"] for model in json.loads(answer.partition(b"\r\n\r\n")[2])["data"]}
    assert names == {"demo", "echo", "tokens", "json"}


@pytest.mark.parametrize(
    ("data", "status", "words"),
    [
        (request(b"{"), 400, "no chat completions request"),
        (request(b"[]"), 400, "no chat completions request"),
        (request({"model": "demo"}), 400, "messages"),
        (chat("genius"), 400, "demo, echo, tokens, json"),
        (request({"model": "demo", "messages": [{"role": 3}]}), 400, "role"),
        (
            request(
                {
                    "model": "demo",
                    "messages": [{"role": "user", "content": [{"type": "video_url"}]}],
                }
            ),
            400,
            "video_url",
        ),
        (request(b"{}", target="/v1/other"), 404, "/v1/chat/completions"),
        (b"GET /v1/chat/completions HTTP/1.1\r\nhost: x\r\n\r\n", 405, "method"),
        (b"nonsense\r\n\r\n", 400, "illegal request line"),
        (b"GET / HTTP/1.1\r\nhost: x\r\nx: " + b"y" * 20_000, 431, "larger than 16384"),
        (b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999\r\n\r\n", 413, "larger"),
    ],
)
async def test_bad_input_is_refused_with_its_reason(server, data, status, words):
    """Each mistake has its status and says what it was; the server goes on."""
    answer = await talk(server, data)
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert words in json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["message"]
    assert b"200 OK" in (await talk(server, chat("tokens"))).replace(b"200 \r\n", b"200 OK\r\n")
    assert server.statistics().errors == 0


async def test_a_body_beyond_the_bound_is_refused_while_it_is_sent(server, until):
    """A chunked body without a length is stopped at the bound, and its sender learns why."""
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
    piece = b"%x\r\n%b\r\n" % (2**20, b"x" * 2**20)
    async with await open_stream(server) as stream:
        await stream.send_all(head)
        for _ in range(33):
            await stream.send_all(piece)
        with trio.fail_after(5):
            assert (await stream.receive_some(100)).startswith(b"HTTP/1.1 413 ")
    await until(lambda: server.statistics().connections_open == 0)
    assert server.statistics().errors == 0


async def test_expect_100_continue_is_answered(server):
    """A client that asks before it uploads is told to go on."""
    data = chat("tokens?tokens=1").replace(b"\r\n\r\n", b"\r\nexpect: 100-continue\r\n\r\n", 1)
    head, _, body = data.partition(b"\r\n\r\n")
    async with await open_stream(server) as stream:
        await stream.send_all(head + b"\r\n\r\n")
        with trio.fail_after(2):
            assert (await stream.receive_some(100)).startswith(b"HTTP/1.1 100 ")
            await stream.send_all(body)
            assert (await stream.receive_some(100)).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("script", ["tokens?ttft=1000s", "tokens?itl=1ms&tokens=100000"])
async def test_a_client_that_leaves_ends_its_answer(server, until, script, stream):
    """Silent or streaming, the server notices at once and stops."""
    connection = await open_stream(server)
    await connection.send_all(chat(script, stream=stream))
    await until(lambda: server.statistics().streams_open == 1)
    await connection.aclose()
    await until(lambda: server.statistics().streams_open == 0)
    await until(lambda: server.statistics().connections_open == 0)
    assert server.statistics().disconnects == 1
    assert server.statistics().errors == 0


async def test_cancelling_the_nursery_closes_everything():
    """A server that is stopped leaves no connection and no answer."""
    server = ScriptedServer()
    with pytest.raises(Conflict, match="does not serve yet"):
        _ = server.base_url
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve)
        async with await open_stream(server) as stream:
            await stream.send_all(chat("tokens?itl=1ms&tokens=100000", stream=True))
            await stream.receive_some(100)
            assert server.statistics().streams_open == 1
            nursery.cancel_scope.cancel()
    told = server.statistics()
    assert (told.streams_open, told.connections_open, told.errors) == (0, 0, 0)


async def test_requests_round_trip_through_both_wire_formats():
    """What the client's side encodes, the server's side reads back as the same call."""
    from actrio.messages import (
        AssistantMessage,
        Document,
        Image,
        ModelInput,
        ModelOptions,
        Text,
        ToolCall,
        ToolMessage,
        ToolResult,
        ToolSpec,
        UserMessage,
        user_message,
    )
    from actrio.providers.dialects import OpenAiChat
    from actrio.providers.scripted._openai_wire import read_request

    call = ModelInput(
        "demo",
        (
            UserMessage((Text("a"), Image("image/png", data=b"x"), Document(name="d", data=b"y"))),
            AssistantMessage((Text("b"), ToolCall("c1", "t", "{}"), ToolCall("c2", "t", "{}"))),
            ToolMessage((ToolResult("c1", "t", "r"), ToolResult("c2", "t", "s"))),
            user_message("c"),
        ),
        instructions="Be brief.",
        tools=(ToolSpec("t", "does", {"type": "object", "properties": {}}),),
        options=ModelOptions(0.5, 0.9, 7, ("END",), 3, "required", {"type": "object"}),
    )
    found = read_request(OpenAiChat("x").encode(call))
    assert found.call == call
    assert found.include_usage
