"""Our providers against llmock, a mock server that nobody here wrote: another reading of five of
the vendors' wire formats, broken streams included."""

from __future__ import annotations

import json

import pytest

from actrio.errors import (
    ActrioError,
    ProviderError,
    ProviderProtocolError,
    ProviderUnreachable,
    StreamTruncated,
)
from actrio.messages import (
    EmbedInput,
    ModelInput,
    ModelOptions,
    TextDelta,
    ToolMessage,
    ToolResult,
    ToolSpec,
    fold,
    user_message,
)

WORDS = "The quick brown fox jumps over the lazy dog – twice."
REPLY = {"type": "reply", "text": WORDS}

WEATHER = ToolSpec(
    "get_weather",
    "Tells the weather in a city.",
    {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
)
NUMBER = {
    "type": "object",
    "properties": {"n": {"type": "integer"}},
    "required": ["n"],
    "additionalProperties": False,
}


def fault(kind: str, after_chunks: int = 7, **more) -> dict:
    """Break a stream within its words: the most that comes before them is four events."""
    return {"type": "stream_fault", "kind": kind, "after_chunks": after_chunks, **more}


def text_of(seen) -> str:
    return "".join(delta.text for delta in seen if isinstance(delta, TextDelta))


async def test_a_whole_answer(connect, mock, wire):
    """Text, a reason to stop and usage."""
    mock.script(REPLY)
    async with connect(wire) as peer:
        output = await peer.chat()
    assert (output.message.text, output.finish_reason) == (WORDS, "stop")
    assert output.usage.input_tokens > 0
    assert output.usage.output_tokens > 0


async def test_a_streamed_answer(connect, mock, wire):
    """The same in pieces, and the pieces fold into the result."""
    mock.script(REPLY)
    seen = []
    async with connect(wire) as peer:
        output = await peer.stream(seen)
    assert (output.message.text, output.finish_reason) == (WORDS, "stop")
    assert (text_of(seen), fold(seen).message) == (WORDS, output.message)
    assert output.usage.output_tokens > 0


@pytest.mark.parametrize("stream", [False, True])
async def test_a_tool_call_and_its_result(connect, mock, wire, stream):
    """The call arrives whole, and the mock takes our history with its result."""
    mock.script(
        {"type": "reply", "tool_calls": [{"name": "get_weather", "arguments": {"city": "Ås"}}]}
    )
    question = user_message("What is the weather?")
    async with connect(wire) as peer:
        ref, name = await peer.ref()
        first = ModelInput(name, (question,), tools=(WEATHER,), stream=stream)
        output = await ref.ask(first)
        (call,) = output.message.tool_calls
        assert (output.finish_reason, call.name) == ("tool_calls", "get_weather")
        assert json.loads(call.arguments) == {"city": "Ås"}
        mock.script(REPLY)
        result = ToolMessage((ToolResult(call.id, call.name, "4°C"),))
        messages = (question, output.message, result)
        answer = await ref.ask(ModelInput(name, messages, tools=(WEATHER,), stream=stream))
    assert answer.message.text == WORDS


@pytest.mark.parametrize("wire", ["openai", "responses", "gemini"])
async def test_a_structured_answer(connect, wire):
    """The mock reads the schema out of our request and keeps to it."""
    async with connect(wire) as peer:
        output = await peer.chat("A number!", options=ModelOptions(response_schema=NUMBER))
    assert isinstance(json.loads(output.message.text)["n"], int)


async def test_embeddings(connect):
    """One vector per text, all of one length, and the same text is the same vector."""
    async with connect("openai") as peer:
        ref, _ = await peer.ref()
        output = await ref.ask(EmbedInput("text-embedding-3-small", ("a cat", "a dog", "a cat")))
    assert len(output.vectors) == 3
    assert output.vectors[0] == output.vectors[2]
    assert len({len(vector) for vector in output.vectors}) == 1


@pytest.mark.parametrize(
    ("status", "category"),
    [
        (400, "invalid_request"),
        (401, "auth"),
        (404, "not_found"),
        (429, "rate_limit"),
        (500, "server"),
        (503, "overloaded"),
    ],
)
async def test_an_error_in_the_vendors_own_shape(connect, mock, wire, status, category):
    """Its category is ours, its retry hint is kept, and the key is in no text of it."""
    seconds = 7 if status in {429, 503} else None
    mock.script({"type": "fail", "status": status, "retry_after": seconds})
    async with connect(wire) as peer:
        with pytest.raises(ProviderError) as caught:
            await peer.chat()
    error = caught.value
    assert (error.category, error.status) == (category, status)
    assert error.retry_after_seconds == seconds
    assert error.remedy
    assert peer.key not in f"{error!r} {error} {error.data} {error.remedy}"


async def test_a_stream_that_is_disconnected(connect, mock, wire):
    """What came is seen, and then the cut is told; no answer is made of it."""
    mock.script(REPLY, fault("disconnect"))
    await broken(connect, wire, StreamTruncated)


async def test_a_stream_that_ends_early_in_silence(connect, mock, wire):
    """A clean end without a reason to stop is no end: no vendor's own client says so."""
    mock.script(REPLY, fault("truncate"))
    await broken(connect, wire, StreamTruncated)


async def test_a_malformed_event(connect, mock, wire):
    """An event that is no JSON is told as the peer's mistake."""
    mock.script(REPLY, fault("malformed"))
    await broken(connect, wire, ProviderProtocolError)


async def test_a_stream_that_stalls(connect, mock, wire):
    """Silence between two deltas ends after ``idle_seconds``, as a timeout."""
    mock.script(REPLY, fault("stall", stall_seconds=5))
    error = await broken(connect, wire, ProviderUnreachable, idle_seconds=0.3)
    assert error.category == "timeout"


async def broken(connect, wire, kind: type[ActrioError], **settings) -> ProviderError:
    """Read a broken stream; its beginning is seen, and the connection works afterwards."""
    seen = []
    async with connect(wire, **settings) as peer:
        with pytest.raises(kind) as caught:
            await peer.stream(seen)
        assert text_of(seen)
        assert WORDS.startswith(text_of(seen))
        assert text_of(seen) != WORDS
        peer.mock.reset()
        peer.mock.script(REPLY)
        assert (await peer.chat()).message.text == WORDS
        statistics = peer.connections.statistics()[peer.provider]
        assert (statistics.calls_in_work, statistics.waiting) == (0, 0)
    return caught.value


async def test_its_verdict_on_our_retries(connect, mock, wire):
    """By its own account no hint is ignored, nothing hopeless repeated, no half answer taken."""
    async with connect(wire, retries_max=3) as peer:
        mock.script({"type": "fail", "status": 429, "retry_after": 0.2}, REPLY)
        assert (await peer.chat("limited")).message.text == WORDS
        mock.script({"type": "fail", "status": 401})
        with pytest.raises(ProviderError):
            await peer.chat("refused")
        mock.script(fault("disconnect", after_chunks=0), REPLY, REPLY)
        assert (await peer.stream([], "cut")).message.text == WORDS
    assert mock.told("requests")["count"] == 5
    verdict = mock.told("verdict")
    assert (verdict["passed"], verdict["findings"]) == (True, [])
