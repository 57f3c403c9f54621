from __future__ import annotations

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
from actrio.messages import Delta, ModelOutput, TextDelta, Thinking, ToolCall, Usage, fold
from actrio.providers.dialects import OpenAiChat
from actrio.sansio import SseEvent, SseReader

FIXTURES = Path(__file__).parents[3] / "fixtures" / "openai_chat"


def deltas_of(name: str) -> list[Delta]:
    reader = SseReader()
    decoder = OpenAiChat("openai").decoder("small")
    body = (FIXTURES / f"{name}.sse").read_bytes()
    deltas = [delta for event in reader.feed(body) for delta in decoder.feed(event)]
    decoder.close(leftover=reader.close())
    return deltas


def answer(name: str) -> ModelOutput:
    return fold(deltas_of(name))


def whole(name: str) -> ModelOutput:
    body = (FIXTURES / f"{name}.json").read_bytes()
    return fold(OpenAiChat("openai").decoder("small").decode_whole(body))


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
    reader = SseReader()
    decoder = OpenAiChat("openai").decoder("small")
    for event in reader.feed(body[: cut % end]):
        decoder.feed(event)
    with pytest.raises(StreamTruncated):
        decoder.close(leftover=reader.close())


@pytest.mark.parametrize(
    ("name", "category"),
    [("error_in_stream", "server"), ("error_event_in_stream", "invalid_request")],
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


@pytest.mark.parametrize("data", ["{", "null", "[]", '"text"', '{"choices": 3}', "\ud800"])
def test_events_of_another_format_are_a_protocol_error(data: str) -> None:
    """What is no chunk is told as such, with its beginning."""
    decoder = OpenAiChat("openai").decoder("small")
    with pytest.raises(ProviderProtocolError, match="base_url"):
        decoder.feed(SseEvent("message", data))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "choices",
                        "delta",
                        "tool_calls",
                        "index",
                        "function",
                        "usage",
                        "error",
                        "content",
                        "finish_reason",
                        "arguments",
                    ]
                ),
                inner,
            )
        ),
    )
)
def test_no_json_value_breaks_the_decoder(value: object) -> None:
    """Whatever JSON an endpoint sends, it is deltas or one of our errors."""
    import msgspec

    decoder = OpenAiChat("openai").decoder("small")
    try:
        deltas = decoder.feed(SseEvent("message", msgspec.json.encode(value).decode()))
    except (ProviderError, ContextWindowExceeded):
        return
    fold(deltas)


def test_deltas_before_a_finish_are_given_at_once() -> None:
    """A delta never waits for the end of its stream."""
    decoder = OpenAiChat("openai").decoder("small")
    data = '{"choices":[{"index":0,"delta":{"content":"now"},"finish_reason":null}]}'
    assert decoder.feed(SseEvent("message", data)) == [TextDelta("now")]
