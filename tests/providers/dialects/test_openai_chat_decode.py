from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actrio.errors import (
    ContextWindowExceeded,
    ProviderError,
    ProviderProtocolError,
    StreamTruncated,
)
from actrio.messages import (
    Delta,
    FinishDelta,
    ModelInput,
    ModelOutput,
    Text,
    TextDelta,
    Thinking,
    ToolCall,
    Usage,
    VendorItem,
    fold,
    user_message,
)
from actrio.providers._catalog import make_dialect
from actrio.providers.dialects import OpenAiChat

FIXTURES = Path(__file__).parents[3] / "fixtures" / "openai_chat"
PLAIN = OpenAiChat("openai")


def vendor(name: str) -> OpenAiChat:
    return make_dialect("openai", name, vendor=name)


def asked(*, stream: bool = True) -> ModelInput:
    return ModelInput("small", (user_message("Hi"),), stream=stream)


def read(body: bytes, dialect: OpenAiChat = PLAIN, kind: str = "text/event-stream") -> list[Delta]:
    reader = dialect.reader(asked(), kind)
    return [*reader.feed(body), *reader.close()]


def deltas_of(name: str, dialect: OpenAiChat = PLAIN) -> list[Delta]:
    return read((FIXTURES / f"{name}.sse").read_bytes(), dialect)


def answer(name: str, dialect: OpenAiChat = PLAIN) -> ModelOutput:
    return fold(deltas_of(name, dialect))


def whole(name: str, dialect: OpenAiChat = PLAIN) -> ModelOutput:
    body = (FIXTURES / f"{name}.json").read_bytes()
    return fold(read(body, dialect, "application/json; charset=utf-8"))


def test_text_and_usage_are_read() -> None:
    """Text arrives as written, with the line separator JSON may hold, and usage with its cache."""
    output = answer("text")
    assert output.message.text == "Paris – oui\u2028!"
    assert output.finish_reason == "stop"
    assert output.usage == Usage(9, 4, cached_input_tokens=3)


def test_parallel_calls_are_put_together_by_index() -> None:
    """Interleaved fragments of two calls become two whole calls in order of appearance."""
    output = answer("parallel_calls_in_fragments")
    assert output.message.tool_calls == (
        ToolCall("call_a", "weather", '{"city": "Oslo"}'),
        ToolCall("call_b", "time", '{"zone":"UTC"}'),
    )
    assert output.finish_reason == "tool_calls"


def test_empty_ids_and_names_do_not_erase() -> None:
    """A later fragment with a null or empty id or name leaves the first one alone."""
    calls = answer("empty_ids_and_names_in_fragments").message.tool_calls
    assert calls == (ToolCall("call_a", "weather", '{"city":"Oslo"}'),)


def test_calls_without_id_get_one_each() -> None:
    """A result must be able to name its call, so a missing id is made from the answer's own."""
    calls = answer("calls_without_id").message.tool_calls
    assert [(call.id, call.name) for call in calls] == [
        ("chatcmpl-1_0", "weather"),
        ("chatcmpl-1_1", "time"),
    ]


def test_calls_without_index_are_told_apart_by_id() -> None:
    """A new id begins a new call, a fragment without one continues the last."""
    calls = answer("calls_without_index").message.tool_calls
    assert calls == (ToolCall("call_a", "weather", '{"a":1}'), ToolCall("call_b", "time", "{}"))


def test_null_arguments_are_none_and_objects_are_text() -> None:
    """Arguments that are null or an object are read like the text they should have been."""
    calls = answer("null_and_object_arguments").message.tool_calls
    assert [call.arguments for call in calls] == ["{}", '{"city":"Oslo"}']


def test_reasoning_is_thinking() -> None:
    """Both field names that endpoints use for reasoning become thinking, apart from the text."""
    output = answer("reasoning_under_both_names")
    assert output.message.parts[0] == Thinking("First then.")
    assert output.message.text == "Yes."


def test_the_last_usage_wins_and_a_repeated_finish_is_one() -> None:
    """Usage is cumulative, not additive; a second finish adds nothing."""
    output = answer("finish_repeated_usage_twice")
    assert output.usage == Usage(5, 2, reasoning_tokens=1)
    assert output.finish_reason == "stop"


def test_a_refusal_is_shown() -> None:
    """What a model says in place of an answer is its answer."""
    assert answer("refusal").message.refusal == "I can't help with that."


def test_whole_answers_are_read() -> None:
    """An answer that was not streamed gives the same values."""
    output = whole("whole_with_calls")
    assert output.message.tool_calls == (
        ToolCall("call_a", "weather", '{"city":"Oslo"}'),
        ToolCall("chatcmpl-2_1", "now", "{}"),
    )
    assert output.usage == Usage(20, 7)


@pytest.mark.parametrize("name", ["ends_without_finish", "done_without_finish"])
def test_a_stream_without_a_finish_is_truncated(name: str) -> None:
    """No finish_reason, no success; the end mark alone proves nothing."""
    with pytest.raises(StreamTruncated, match="without a finish_reason") as caught:
        deltas_of(name)
    assert caught.value.in_stream
    assert caught.value.retryable


@given(st.integers(0, 10_000))
def test_every_cut_of_a_stream_is_truncated(cut: int) -> None:
    """A stream cut before its finish chunk is never a success."""
    body = (FIXTURES / "parallel_calls_in_fragments.sse").read_bytes()
    end = body.index(b'"finish_reason":"tool_calls"')
    with pytest.raises(StreamTruncated):
        read(body[: cut % end])


@pytest.mark.parametrize(
    ("name", "category"),
    [
        ("error_in_stream", "server"),
        ("error_event_in_stream", "invalid_request"),
        ("groq_tool_use_failed", "invalid_request"),
        ("error_chunk_after_finish", "invalid_request"),
        ("error_in_choice", "server"),
    ],
)
def test_an_error_inside_the_stream_is_raised(name: str, category: str) -> None:
    """A provider that fails after its first token fails the call."""
    with pytest.raises(ProviderError) as caught:
        deltas_of(name)
    assert caught.value.category == category
    assert caught.value.in_stream


def test_context_length_inside_the_stream_is_its_own_error() -> None:
    """llama.cpp's words for a prompt that is too long are understood in a stream, too."""
    with pytest.raises(ContextWindowExceeded, match="larger window"):
        deltas_of("context_length_in_stream")


def test_an_error_in_place_of_a_whole_answer_is_raised() -> None:
    """Status 200 with an error in the body is an error, with the status it tells."""
    with pytest.raises(ProviderError, match="Provider returned error") as caught:
        whole("whole_with_error_at_200")
    assert (caught.value.category, caught.value.status) == ("server", 502)


@pytest.mark.parametrize("data", ["{", "null", "[]", '"text"', '{"choices": 3}', "[" * 99_999])
def test_events_of_another_format_are_a_protocol_error(data: str) -> None:
    """What is no chunk is told as such, with its beginning."""
    with pytest.raises(ProviderProtocolError, match="base_url"):
        read(f"data: {data}\n\n".encode())


@pytest.mark.parametrize("body", [b"", b"{", b"{}", b'{"choices": []}', b"\xff", b"[" * 99_999])
def test_whole_answers_of_another_format_are_a_protocol_error(body: bytes) -> None:
    """So is a document that is no chat completion."""
    with pytest.raises(ProviderProtocolError, match="base_url"):
        read(body, kind="application/json")


@pytest.mark.parametrize("kind", ["text/html", "application/x-ndjson", "image/png"])
def test_another_content_type_is_a_protocol_error(kind: str) -> None:
    """A proxy's page is not read as an answer."""
    with pytest.raises(ProviderProtocolError, match=kind):
        read(b"", kind=kind)


@pytest.mark.parametrize("stream", [True, False])
def test_without_a_content_type_it_is_what_was_asked_for(stream: bool) -> None:
    """Some proxies drop the header."""
    reader = OpenAiChat("openai").reader(asked(stream=stream), "")
    name = "text.sse" if stream else "whole_with_calls.json"
    assert fold([*reader.feed((FIXTURES / name).read_bytes()), *reader.close()]).finish_raw


def test_what_came_before_a_failure_is_not_lost() -> None:
    """The read that ends in an error still gives its text; the next call raises."""
    reader = vendor("groq").reader(asked(), "text/event-stream")
    deltas = reader.feed((FIXTURES / "groq_tool_use_failed.sse").read_bytes())
    assert fold(deltas).message.text == "maybe"
    assert reader.done
    with pytest.raises(ProviderError, match="did not call a tool"):
        reader.close()
    with pytest.raises(ProviderError, match="did not call a tool"):
        reader.feed(b"")


def test_an_endless_event_is_a_protocol_error() -> None:
    """One event has a bound, however slowly it comes."""
    reader = OpenAiChat("openai").reader(asked(), "text/event-stream")
    with pytest.raises(ProviderProtocolError, match="too much"):
        for _ in range(6):
            reader.feed(b"data: " + b" " * 1024 * 1024)


def test_an_endless_document_is_a_protocol_error() -> None:
    """So has an answer that is not streamed."""
    reader = OpenAiChat("openai").reader(asked(), "application/json")
    with pytest.raises(ProviderProtocolError, match="larger than"):
        for _ in range(34):
            reader.feed(b" " * 1024 * 1024)


def test_endless_tool_calls_are_a_protocol_error() -> None:
    """A model that calls without end is stopped."""
    calls = [{"index": number, "id": f"c{number}"} for number in range(300)]
    chunk = {"choices": [{"index": 0, "delta": {"tool_calls": calls}}]}
    with pytest.raises(ProviderProtocolError, match="more than 256 tool calls"):
        read(b"data: " + json.dumps(chunk).encode() + b"\n\n")


def test_an_answer_in_one_read_is_one_piece_of_text() -> None:
    """Also the first read is cut quickly, once its first event told who answers; [DONE] ends it."""
    events = [
        b'{"id":"1","choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}',
        *(b'{"id":"1","choices":[{"index":0,"delta":{"content":"%d "}}]}' % n for n in range(99)),
        b'{"id":"1","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}',
        b"[DONE]",
    ]
    stream = b"".join(b"data: %b\n\n" % event for event in events)
    reader = PLAIN.reader(asked(), "text/event-stream")
    text, finish = reader.feed(stream)
    assert isinstance(text, TextDelta)
    assert text.text == "".join(f"{n} " for n in range(99))
    assert isinstance(finish, FinishDelta)
    assert reader.done
    assert reader.feed(stream) == []


def test_deltas_before_a_finish_are_given_at_once() -> None:
    """A delta never waits for the end of its stream."""
    reader = OpenAiChat("openai").reader(asked(), "text/event-stream")
    data = b'data: {"choices":[{"index":0,"delta":{"content":"now"},"finish_reason":null}]}\n\n'
    assert reader.feed(data) == [TextDelta("now")]
    assert not reader.done


def test_carriage_returns_and_comments_say_nothing() -> None:
    """CRLF and keep-alive comments are framing."""
    assert answer("crlf_and_comments").message.text == "Grüße 🌍"


# -- the vendors' own --------------------------------------------------------------------------------


def test_reasoning_details_are_kept_whole() -> None:
    """OpenRouter's pieces are put together, signature and all, and the encrypted one is an item."""
    output = answer("reasoning_details", vendor("openrouter"))
    thinking, text, signed, encrypted = output.message.parts
    assert (thinking, text) == (Thinking("First then."), Text("Yes."))
    assert isinstance(signed, VendorItem)
    assert isinstance(encrypted, VendorItem)
    assert (signed.vendor, signed.kind) == ("openrouter", "reasoning.text")
    assert json.loads(signed.data) == {
        "type": "reasoning.text",
        "text": "First then.",
        "format": "anthropic-claude-v1",
        "index": 0,
        "signature": "c2lnbmVk",
    }
    assert (encrypted.kind, json.loads(encrypted.data)["data"]) == ("reasoning.encrypted", "ZW5j")
    assert output.usage == Usage(5, 6, reasoning_tokens=3)


def test_reasoning_details_are_nobody_elses() -> None:
    """An endpoint that would not take them back gives none."""
    parts = answer("reasoning_details").message.parts
    assert parts == (Thinking("First then."), Text("Yes."))


def test_a_call_cut_by_the_token_limit_is_not_a_finished_call() -> None:
    """OpenRouter says tool_calls; what the upstream said decides."""
    output = answer("token_limit_told_as_tool_calls", vendor("openrouter"))
    assert (output.finish_reason, output.finish_raw) == ("length", "tool_calls")
    assert output.message.tool_calls[0].arguments == '{"text": "half a'


def test_groq_tells_usage_in_its_extension() -> None:
    """It counts whether or not it was asked for."""
    assert answer("usage_in_groq_extension", vendor("groq")).usage == Usage(4, 2)


def test_a_business_code_counts_inside_a_stream() -> None:
    """GLM says with the same code what it means, wherever it says it."""
    with pytest.raises(ProviderError, match="busy") as caught:
        deltas_of("business_code_in_stream", vendor("glm4"))
    assert (caught.value.category, caught.value.in_stream) == ("overloaded", True)


def test_citations_and_files_stand_beside_the_text() -> None:
    """A source belongs to the text; a parsed file is an item that can go back."""
    text, item = whole("whole_with_citations", vendor("openrouter")).message.parts
    assert isinstance(text, Text)
    assert [(one.source, one.title, one.quote) for one in text.citations] == [
        ("https://example.org/ruby", "Ruby", "Ruby is …")
    ]
    assert isinstance(item, VendorItem)
    assert (item.vendor, item.kind) == ("openrouter", "annotation")


def test_tools_that_the_vendor_runs_are_items_not_calls() -> None:
    """Groq's own search is told, and nobody is asked to run it."""
    output = whole("whole_with_executed_tools", vendor("groq"))
    assert output.message.tool_calls == ()
    assert [part.kind for part in output.message.parts if isinstance(part, VendorItem)] == [
        "executed_tool"
    ]


def test_a_google_signature_stays_with_its_call() -> None:
    """It must go back with the call, and an empty id is made up."""
    (call,) = whole("whole_with_google_signature", vendor("gemini")).message.tool_calls
    assert call == ToolCall("chatcmpl-1_0", "now", "{}", "c2lnbmVk")


def test_a_message_without_content_is_read() -> None:
    """Cerebras leaves the member out, and tells times beside the usage."""
    output = whole("whole_with_time_info", vendor("cerebras"))
    assert output.message.parts == (Thinking("Easy."),)
    assert output.usage == Usage(3, 2, cached_input_tokens=1)


def test_cache_hits_are_cached_tokens() -> None:
    """SiliconFlow tells them under a name of its own, and eos for stop."""
    output = whole("whole_with_cache_hits", vendor("siliconflow"))
    assert (output.finish_reason, output.usage) == ("stop", Usage(9, 2, cached_input_tokens=8))
