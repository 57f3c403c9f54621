from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from actrio.errors import (
    ContextWindowExceeded,
    NotSupported,
    ProviderError,
    ProviderProtocolError,
    StreamTruncated,
)
from actrio.messages import (
    Citation,
    Delta,
    EmbedInput,
    ModelInput,
    ModelOutput,
    Refusal,
    Text,
    TextDelta,
    Thinking,
    ToolCall,
    Usage,
    VendorItem,
    fold,
)
from actrio.providers.dialects import OpenAiResponses

FIXTURES = Path(__file__).parents[3] / "fixtures" / "openai_responses"
STREAMS = sorted(path.stem for path in FIXTURES.glob("*.sse"))
FAILING = {
    "bare_error_in_stream",
    "context_length_in_stream",
    "done_without_completed",
    "ends_without_completed",
    "error_event",
    "failed",
    "failed_bad_image",
}
SSE = "text/event-stream; charset=utf-8"


def body_of(name: str) -> bytes:
    return next(FIXTURES.glob(f"{name}.*")).read_bytes()


def read(body: bytes, *cuts: int, kind: str) -> list[Delta]:
    reader = OpenAiResponses("openai").reader(ModelInput("small", ()), kind)
    deltas: list[Delta] = []
    for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True):
        deltas += reader.feed(body[start:end])
    return deltas + reader.close()


def answer(name: str, *cuts: int) -> ModelOutput:
    return fold(read(body_of(name), *cuts, kind=SSE if name in STREAMS else "application/json"))


def items_of(output: ModelOutput, *kinds: str) -> list[dict[str, Any]]:
    items = [part for part in output.message.parts if isinstance(part, VendorItem)]
    return [json.loads(item.data) for item in items if item.kind in kinds]


def test_text_and_usage_are_read() -> None:
    """Text arrives as written, once, with cached and reasoning tokens in the usage."""
    output = answer("text")
    assert output.message.text == "Paris – oui\u2028!"
    assert (output.finish_reason, output.finish_raw) == ("stop", "completed")
    assert output.usage == Usage(9, 4, cached_input_tokens=3, reasoning_tokens=1)


def test_reasoning_is_shown_and_kept_for_the_next_turn() -> None:
    """The summary is thinking; the finished item stands where it was, before its calls."""
    parts = answer("encrypted_reasoning_then_calls").message.parts
    assert parts[0] == Thinking("First then.")
    item = parts[1]
    assert isinstance(item, VendorItem)
    assert (item.vendor, item.kind) == ("openai.responses", "reasoning")
    assert json.loads(item.data)["encrypted_content"] == "gAAA-secret"
    assert parts[2:] == (
        ToolCall("call_a", "weather", '{"city":"Oslo"}'),
        ToolCall("call_b", "now", "{}"),
    )


def test_a_vendor_item_is_the_text_that_came() -> None:
    """Nothing in it is written anew, not even its spaces."""
    (item,) = (
        part
        for part in answer("web_search_with_citations").message.parts
        if isinstance(part, VendorItem) and part.kind == "web_search_call"
    )
    assert item.data.encode() in body_of("web_search_with_citations")


def test_interleaved_calls_are_put_together_by_place() -> None:
    """Fragments belong to the item at their output_index; results name call_id, not id."""
    output = answer("parallel_calls_interleaved")
    assert output.message.tool_calls == (
        ToolCall("call_a", "weather", '{"city":"Oslo"}'),
        ToolCall("call_b", "time", '{"zone":"UTC"}'),
    )
    assert output.finish_reason == "tool_calls"


def test_reasoning_that_ends_late_keeps_its_place() -> None:
    """OpenRouter finishes reasoning after the text it led to; a mark stands where it began."""
    output = answer("reasoning_ends_after_text")
    kinds = [getattr(part, "kind", part.type) for part in output.message.parts]
    assert kinds == ["thinking", "item_place", "text", "reasoning"]
    assert items_of(output, "item_place") == [{"id": "rs_0"}]
    assert output.message.text == "4"


def test_a_refusal_is_no_text() -> None:
    """What the model says in place of an answer is a refusal."""
    assert answer("refusal").message.parts == (Refusal("I can't help with that."),)


@pytest.mark.parametrize(
    ("name", "reason", "raw"),
    [
        ("incomplete_length", "length", "incomplete:max_output_tokens"),
        ("incomplete_content_filter", "content_filter", "incomplete:content_filter"),
        ("incomplete_arguments", "length", "incomplete:max_output_tokens"),
        ("whole_incomplete", "length", "incomplete:max_output_tokens"),
    ],
)
def test_an_incomplete_answer_says_why(name: str, reason: str, raw: str) -> None:
    """Its reason is part of the raw one."""
    output = answer(name)
    assert (output.finish_reason, output.finish_raw) == (reason, raw)


def test_arguments_cut_by_the_limit_stay_as_they_are() -> None:
    """Half a call is told as half a call."""
    calls = answer("incomplete_arguments").message.tool_calls
    assert calls == (ToolCall("call_a", "weather", '{"city":"Os'),)


def test_what_only_the_last_event_tells_is_not_lost() -> None:
    """An item that never ended is taken from the answer at the end."""
    (item,) = items_of(answer("incomplete_while_reasoning"), "reasoning")
    assert item["encrypted_content"] == "gAAA-secret"
    output = answer("only_the_last_event")
    kinds = [getattr(part, "kind", part.type) for part in output.message.parts]
    assert kinds == ["thinking", "reasoning", "message_phase", "text", "tool_call"]
    assert answer("items_without_deltas").message.text == "Hi"


def test_citations_and_server_items() -> None:
    """A note that was streamed is not told twice; one that was not is taken from the item."""
    parts = answer("web_search_with_citations").message.parts
    text = parts[-1]
    assert isinstance(text, Text)
    assert [(note.source, note.title) for note in text.citations] == [
        ("https://example.org/w", "Weather"),
        ("file_1", "notes.txt"),
    ]
    assert json.loads(text.citations[0].vendor)["end_index"] == 9
    assert [part.kind for part in parts[:2] if isinstance(part, VendorItem)] == [
        "reasoning",
        "web_search_call",
    ]


def test_two_messages_stay_two() -> None:
    """A phase stands before each and must go back with it."""
    output = answer("two_messages_with_phases")
    assert items_of(output, "message_phase") == [{"phase": "commentary"}, {"phase": "final_answer"}]
    assert [part.text for part in output.message.parts if isinstance(part, Text)] == [
        "I look.",
        "Rain.",
    ]


def test_a_call_without_any_id_gets_one() -> None:
    """A result must be able to name its call."""
    calls = answer("call_without_any_id").message.tool_calls
    assert calls == (ToolCall("resp_1_0", "weather", "{}"),)


def test_whole_answers_are_read() -> None:
    """An answer that was not streamed gives the same parts in the same places."""
    output = answer("whole_with_everything")
    kinds = [getattr(part, "kind", part.type) for part in output.message.parts]
    assert kinds == [
        "thinking",
        "reasoning",
        "web_search_call",
        "message_phase",
        "text",
        "tool_call",
        "refusal",
    ]
    assert output.finish_reason == "tool_calls"
    assert output.message.text == "Rain."
    assert answer("whole_text").message.parts == (Text("Hi"),)
    note = output.message.parts[4].citations[0]
    assert isinstance(note, Citation)


def test_object_arguments_are_text() -> None:
    """Arguments that some endpoints send as an object are read like the text they should be."""
    calls = answer("whole_with_object_arguments").message.tool_calls
    assert calls[0].arguments == '{"city":"Oslo"}'


@pytest.mark.parametrize(
    ("name", "category"),
    [
        ("failed", "server"),
        ("error_event", "rate_limit"),
        ("failed_bad_image", "invalid_request"),
        ("bare_error_in_stream", "server"),
    ],
)
def test_a_failure_inside_a_stream_is_raised(name: str, category: str) -> None:
    """However it is told, it is typed, and known to have come inside the stream."""
    with pytest.raises(ProviderError) as caught:
        answer(name)
    assert (caught.value.category, caught.value.in_stream) == (category, True)


def test_a_failure_comes_after_what_was_said() -> None:
    """The read that holds text and a failure gives the text, the next call raises."""
    reader = OpenAiResponses("openai").reader(ModelInput("small", ()), SSE)
    assert reader.feed(body_of("failed")) == [TextDelta("Hi")]
    assert reader.done
    for raising in (reader.close, lambda: reader.feed(b"")):
        with pytest.raises(ProviderError, match="The model failed"):
            raising()


def test_context_length_inside_the_stream_is_its_own_error() -> None:
    """A conversation that is too long is a limit, also in a stream."""
    with pytest.raises(ContextWindowExceeded):
        answer("context_length_in_stream")


@pytest.mark.parametrize(
    ("name", "category"),
    [
        ("whole_failed", "server"),
        ("whole_with_error_at_200", "server"),
        ("whole_queued", "protocol"),
    ],
)
def test_a_failure_in_place_of_a_whole_answer_is_raised(name: str, category: str) -> None:
    """Status 200 with a failure in the body is a failure, and so is an unfinished answer."""
    with pytest.raises(ProviderError) as caught:
        answer(name)
    assert (caught.value.category, caught.value.in_stream) == (category, False)


@pytest.mark.parametrize("name", ["ends_without_completed", "done_without_completed"])
def test_a_stream_without_its_last_event_is_truncated(name: str) -> None:
    """No response.completed, no success; [DONE] proves nothing."""
    with pytest.raises(StreamTruncated, match="without its last event") as caught:
        answer(name)
    assert caught.value.retryable


@pytest.mark.parametrize("name", ["text", "incomplete_length", "refusal"])
def test_every_cut_of_a_stream_is_truncated(name: str) -> None:
    """Wherever a stream is cut before its last event ends, it is no success."""
    body = body_of(name)
    for cut in range(len(body) - 1):
        with pytest.raises(StreamTruncated):
            read(body[:cut], kind=SSE)


@pytest.mark.parametrize("name", sorted(set(STREAMS) - FAILING))
def test_no_split_changes_an_answer(name: str) -> None:
    """At every third single split, inside UTF-8 too, the same comes out."""
    whole = answer(name)
    assert all(answer(name, cut) == whole for cut in range(0, len(body_of(name)), 3))


def test_text_is_given_at_once() -> None:
    """A delta never waits for the end of its stream, and the answer's name comes first."""
    reader = OpenAiResponses("openai").reader(ModelInput("small", ()), SSE)
    head = b'data: {"type":"response.created","response":{"id":"resp_9","model":"m"}}\n\n'
    assert reader.feed(head) == []
    assert (reader.response_id, reader.model) == ("resp_9", "m")
    event = b'data: {"type":"response.output_text.delta","output_index":0,"delta":"now"}\n\n'
    assert reader.feed(event) == [TextDelta("now")]
    assert not reader.done


def test_the_type_of_the_answer_decides_how_it_is_read() -> None:
    """A server may answer whole what was to be streamed; a page is refused by its type."""
    dialect = OpenAiResponses("openai")
    streamed, whole = ModelInput("small", ()), ModelInput("small", (), stream=False)
    body = body_of("whole_text")
    for call, kind in ((streamed, "application/json"), (whole, "")):
        reader = dialect.reader(call, kind)
        assert reader.feed(body) == []
        assert fold(reader.close()).message.text == "Hi"
    reader = dialect.reader(streamed, "")
    reader.feed(body_of("text"))
    assert reader.done
    with pytest.raises(ProviderProtocolError, match="text/html"):
        dialect.reader(streamed, "text/html")


@pytest.mark.parametrize(
    "data",
    [
        "{",
        "null",
        "[]",
        '{"type":"response.output_item.done"}',
        '{"type":"response.completed","response":{"output":3}}',
        '{"type":"response.output_item.done","item":{"type":"message","content":"x"}}',
        '{"type":"response.output_text.annotation.added","annotation":[]}',
    ],
)
def test_events_of_another_format_are_a_protocol_error(data: str) -> None:
    """What is no event of this API is told as such, with its beginning."""
    with pytest.raises(ProviderProtocolError, match="responses API"):
        read(f"data: {data}\n\n".encode(), kind=SSE)


@pytest.mark.parametrize("body", [b"{", b"[]", b"{}", b"<p>", b'{"output":[3]}', b"\xff"])
def test_bodies_of_another_format_are_a_protocol_error(body: bytes) -> None:
    """The same holds for a whole answer."""
    with pytest.raises(ProviderProtocolError, match="responses API"):
        read(body, kind="application/json")


def test_an_empty_body_is_a_cut_answer() -> None:
    """Nothing at all is told as a cut, which may be tried again."""
    with pytest.raises(StreamTruncated, match="is empty"):
        read(b"", kind="application/json")


def test_bounds() -> None:
    """An endless event, an endless body, endless items and endless nesting end in an error."""
    piece = b"x" * (1024 * 1024)
    for kind in (SSE, "application/json"):
        reader = OpenAiResponses("openai").reader(ModelInput("small", ()), kind)
        with pytest.raises(ProviderProtocolError):
            for _ in range(40):
                reader.feed(piece)
        with pytest.raises(ProviderProtocolError):
            reader.close()
    event = '{"type":"response.output_text.delta","output_index":%d,"delta":"x"}'
    events = "".join(f"data: {event % index}\n\n" for index in range(5000)).encode()
    with pytest.raises(ProviderProtocolError, match="items"):
        read(events, kind=SSE)
    deep = b'{"type":"response.completed","response":' + b"[" * 100_000
    for body, kind in ((b"data: " + deep + b"\n\n", SSE), (deep, "application/json")):
        with pytest.raises(ProviderProtocolError):
            read(body, kind=kind)


def test_embeddings_are_another_formats() -> None:
    """Without a dialect for them they are refused, with an alternative; with one it makes them."""
    dialect = OpenAiResponses("openai")
    assert dialect.embed_batch_max == 0
    for refused in (
        lambda: dialect.embed_request(EmbedInput("m", ("a",))),
        lambda: dialect.embed_output(EmbedInput("m", ("a",)), b"{}"),
    ):
        with pytest.raises(NotSupported, match="dialect"):
            refused()
