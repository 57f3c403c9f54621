from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest

from actrio.errors import (
    ContextWindowExceeded,
    ProviderError,
    ProviderProtocolError,
    StreamTruncated,
)
from actrio.messages import (
    AssistantMessage,
    Citation,
    Delta,
    ModelInput,
    ModelOutput,
    Text,
    TextDelta,
    Thinking,
    ToolCall,
    Usage,
    VendorItem,
    fold,
)
from actrio.providers.dialects import Gemini

FIXTURES = Path(__file__).parents[3] / "fixtures" / "gemini"
STREAMS = sorted(path.stem for path in FIXTURES.glob("*.sse"))
FAILING = {"ends_without_finish", "error_in_stream", "text_and_error_in_one_read_then_more"}
CALL = ModelInput("gemini-test", ())


def deltas_of(body: bytes, content_type: str, cuts: tuple[int, ...] = ()) -> list[Delta]:
    reader = Gemini().reader(CALL, content_type)
    deltas: list[Delta] = []
    for start, end in itertools.pairwise([0, *cuts, len(body)]):
        deltas += reader.feed(body[start:end])
    return deltas + reader.close()


def streamed(name: str, *cuts: int) -> ModelOutput:
    body = (FIXTURES / f"{name}.sse").read_bytes()
    return fold(deltas_of(body, "text/event-stream", cuts))


def whole(name: str) -> ModelOutput:
    body = (FIXTURES / f"{name}.json").read_bytes()
    return fold(deltas_of(body, "application/json; charset=UTF-8", (7,)))


def test_text_and_the_last_usage() -> None:
    """Text arrives as written; usage is cumulative, with tool prompts and thoughts counted in."""
    output = streamed("text_with_cumulative_usage")
    assert output.message.parts == (Text("Paris – oui\u2028!"),)
    assert output.usage == Usage(11, 8, cached_input_tokens=4, reasoning_tokens=3)
    assert (output.finish_reason, output.finish_raw) == ("stop", "STOP")


def test_thought_parts_are_thinking() -> None:
    """Thoughts are told apart from the text."""
    output = streamed("thought_parts")
    assert output.message.parts == (Thinking("First then."), Text("Yes."))


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        (
            "signature_on_empty_final_text",
            (Text("Four it is.", ""), Text("", "c2lnbg==")),
        ),
        (
            "signature_on_first_text",
            (Thinking("Hm."), Text("Four ", "c2lnbg=="), Text("it is.")),
        ),
        ("signature_without_text", (Text("Four.", ""), Text("", "c2lnbg=="))),
        ("signed_thought", (Thinking("Hm.", "gemini:dGg="), Text("Four."))),
    ],
)
def test_each_part_keeps_its_own_signature(name: str, parts: tuple[object, ...]) -> None:
    """A signed part never joins an unsigned neighbour: each must go back as it came."""
    assert streamed(name).message.parts == parts


def test_parallel_calls_without_ids_get_one_each() -> None:
    """A result must be able to name its call; only the first call of a step is signed."""
    output = streamed("parallel_calls_without_ids")
    assert output.message.tool_calls == (
        ToolCall("noid_R1_0", "weather", '{"city":"Oslo"}', "c2lnbg=="),
        ToolCall("noid_R1_1", "weather", '{"city":"Rome"}'),
    )
    assert (output.finish_reason, output.finish_raw) == ("tool_calls", "STOP")


def test_an_invented_id_is_new_in_its_conversation() -> None:
    """Even where a vendor repeats its response ids, no two calls share an id."""
    earlier = AssistantMessage((ToolCall("noid_R1_0", "now"), ToolCall("noid_R1_1", "now")))
    reader = Gemini().reader(ModelInput("gemini-test", (earlier,)), "text/event-stream")
    body = (FIXTURES / "parallel_calls_without_ids.sse").read_bytes()
    calls = fold(reader.feed(body)).message.tool_calls
    assert [call.id for call in calls] == ["noid_R1_2", "noid_R1_3"]


def test_ids_of_the_vendor_stay_and_empty_text_is_no_part() -> None:
    """The id that came is the call's id; what is empty and unsigned adds nothing."""
    output = streamed("call_with_id_then_empty_text")
    assert output.message.parts == (ToolCall("96c1su3s", "now", "{}", "c2lnbg=="),)


def test_a_repeated_id_is_replaced() -> None:
    """Two calls with one id could not be told apart by their results."""
    calls = streamed("calls_with_the_same_id").message.tool_calls
    assert [call.id for call in calls] == ["a", "noid_R1_1"]


def test_missing_arguments_are_none() -> None:
    """A call without arguments, or with null, has the empty object."""
    calls = streamed("call_without_arguments").message.tool_calls
    assert [(call.name, call.arguments) for call in calls] == [("now", "{}"), ("then", "{}")]


def test_code_execution_is_kept_as_items() -> None:
    """What the vendor ran itself is no tool call of ours, and goes back as it came."""
    output = whole("code_execution")
    code, result, text = output.message.parts
    assert isinstance(code, VendorItem)
    assert isinstance(result, VendorItem)
    assert (code.vendor, code.kind, result.kind) == (
        "gemini",
        "executableCode",
        "codeExecutionResult",
    )
    assert json.loads(code.data) == {
        "executableCode": {"language": "PYTHON", "code": "print(2**8)\n"},
        "thoughtSignature": "c2lnbg==",
    }
    assert text == Text("It is 256.")
    assert output.usage.input_tokens == 40


def test_server_tools_and_sources() -> None:
    """Searches are items in their place, and each source is told with the words it supports."""
    *items, text = whole("server_tool_and_grounding").message.parts
    assert [item.kind for item in items if isinstance(item, VendorItem)] == [
        "toolCall",
        "toolResponse",
    ]
    assert isinstance(text, Text)
    assert text.signature == "Yw=="
    first, second = text.citations
    assert (first.source, first.title, first.quote) == (
        "https://example.org/oslo",
        "example.org",
        "Oslo is the capital.",
    )
    assert json.loads(first.vendor)["web"]["title"] == "example.org"
    assert (second.source, second.quote) == ("fileSearchStores/x", "")


def test_repeated_sources_are_told_once_and_belong_to_the_words() -> None:
    """An empty part that only carries a signature has nothing to cite."""
    text, signed = streamed("grounding_repeated_before_empty_signed_text").message.parts
    assert isinstance(text, Text)
    assert [citation.quote for citation in text.citations] == ["Oslo."]
    assert signed == Text("", "c2lnbg==")


def test_citation_sources_are_citations() -> None:
    """Recitation is told by address."""
    (text,) = whole("citation_sources").message.parts
    assert isinstance(text, Text)
    (citation,) = text.citations
    assert isinstance(citation, Citation)
    assert citation.source == "https://example.org/hamlet"
    assert json.loads(citation.vendor)["endIndex"] == 12


def test_a_picture_is_an_item() -> None:
    """What a model draws is kept whole, signature included."""
    _, picture = whole("picture").message.parts
    assert isinstance(picture, VendorItem)
    assert picture.kind == "inlineData"
    assert json.loads(picture.data)["thoughtSignature"] == "c2lnbg=="


@pytest.mark.parametrize(
    ("name", "reason", "raw"),
    [
        ("prompt_blocked", "content_filter", "promptFeedback:PROHIBITED_CONTENT"),
        ("safety_without_content", "content_filter", "SAFETY"),
        ("max_tokens", "length", "MAX_TOKENS"),
        ("malformed_function_call", "error", "MALFORMED_FUNCTION_CALL"),
    ],
)
def test_reasons_to_stop(name: str, reason: str, raw: str) -> None:
    """Each reason is told in our words and in the vendor's."""
    output = streamed(name)
    assert (output.finish_reason, output.finish_raw) == (reason, raw)


def test_the_first_of_several_candidates_is_read() -> None:
    """Candidates are told apart by index, whatever their order."""
    assert whole("two_candidates").message.text == "first"


def test_a_stream_may_come_as_one_array() -> None:
    """A gateway that does not stream sends the same chunks as one JSON array."""
    output = whole("stream_as_array")
    assert (output.message.text, output.usage) == ("Paris", Usage(5, 2))


def test_a_whole_answer_without_candidates_is_an_empty_one() -> None:
    """It is not cut, so it is complete; why it is empty nobody said."""
    output = whole("whole_without_candidates")
    assert (output.message.parts, output.finish_reason) == ((), "other")


@pytest.mark.parametrize("name", [name for name in STREAMS if name not in FAILING])
def test_no_split_changes_a_stream(name: str) -> None:
    """However the bytes are cut, inside CRLF and UTF-8 sequences too, the result is the same."""
    size = (FIXTURES / f"{name}.sse").stat().st_size
    output = streamed(name)
    assert all(streamed(name, cut) == output for cut in range(1, size))
    assert streamed(name, *range(1, size)) == output


def test_deltas_are_given_at_once() -> None:
    """A delta never waits for the end of its stream."""
    reader = Gemini().reader(CALL, "text/event-stream")
    event = b'data: {"candidates":[{"content":{"parts":[{"text":"now"}]}}]}\r\n\r\n'
    assert reader.feed(event) == [TextDelta("now")]
    assert not reader.done


def test_the_answer_names_its_model_and_id() -> None:
    """The vendor's own account of both is kept."""
    reader = Gemini().reader(CALL, "text/event-stream")
    reader.feed((FIXTURES / "thought_parts.sse").read_bytes())
    assert (reader.model, reader.response_id) == ("gemini-test-001", "R1")


@pytest.mark.parametrize("name", [name for name in STREAMS if name not in FAILING])
def test_a_stream_cut_before_its_last_event_is_truncated(name: str) -> None:
    """Without a reason to stop there is no success."""
    body = (FIXTURES / f"{name}.sse").read_bytes()
    end = body.rindex(b"data:")
    for cut in {0, end // 2, end, end + 30}:
        with pytest.raises(StreamTruncated) as caught:
            deltas_of(body[:cut], "text/event-stream")
        assert caught.value.retryable


def test_a_stream_without_a_reason_to_stop_is_truncated() -> None:
    """The end of the bytes proves nothing."""
    with pytest.raises(StreamTruncated, match="without a finishReason"):
        streamed("ends_without_finish")


@pytest.mark.parametrize("cut", [0, 40, 200])
def test_a_whole_answer_that_was_cut_is_truncated(cut: int) -> None:
    """Half a document is a broken connection, not another wire format."""
    body = (FIXTURES / "two_candidates.json").read_bytes()[:cut]
    with pytest.raises(StreamTruncated, match="was cut"):
        deltas_of(body, "application/json")


def test_an_error_in_the_stream_is_raised() -> None:
    """A failure after the first token fails the call, with its category."""
    with pytest.raises(ProviderError, match="overloaded") as caught:
        streamed("error_in_stream")
    assert (caught.value.category, caught.value.status) == ("overloaded", 503)
    assert caught.value.in_stream


def test_what_came_before_an_error_is_returned_first() -> None:
    """One read with text and an error gives the text, then the error at every further call."""
    reader = Gemini().reader(CALL, "text/event-stream")
    body = (FIXTURES / "text_and_error_in_one_read_then_more.sse").read_bytes()
    assert fold(reader.feed(body)).message.text == "Par"
    assert reader.done
    for again in (lambda: reader.feed(b""), reader.close):
        with pytest.raises(ProviderError) as caught:
            again()
        assert (caught.value.category, caught.value.retry_after_seconds) == ("rate_limit", 7.0)


def test_an_error_in_place_of_a_whole_answer_is_raised() -> None:
    """Status 200 with an error in the body is an error; one about length is its own."""
    with pytest.raises(ProviderError) as caught:
        whole("error_overloaded")
    assert (caught.value.category, caught.value.in_stream) == ("overloaded", False)
    with pytest.raises(ContextWindowExceeded, match="1200293"):
        whole("error_context_length")


@pytest.mark.parametrize("data", ["{", "null", "[]", '"text"', '{"candidates": 3}', "[" * 100_000])
def test_events_of_another_format_are_a_protocol_error(data: str) -> None:
    """What is no event of Gemini is told as such."""
    with pytest.raises(ProviderProtocolError, match="base_url"):
        deltas_of(f"data: {data}\n\n".encode(), "text/event-stream")


@pytest.mark.parametrize("body", [b"{}", b"null", b"[]", b'{"candidates": []}', b"\xff\xfe"])
def test_bodies_of_another_format_are_a_protocol_error(body: bytes) -> None:
    """What is no answer of Gemini is told as such."""
    with pytest.raises(ProviderProtocolError, match="base_url"):
        deltas_of(body, "application/json")


@pytest.mark.parametrize("name", ["stream_as_array", "error_overloaded"])
def test_a_document_under_the_type_of_a_stream_is_read(name: str) -> None:
    """The first byte tells a JSON document from events, whatever the header says."""
    body = b"\r\n " + (FIXTURES / f"{name}.json").read_bytes()
    if name.startswith("error"):
        with pytest.raises(ProviderError, match="overloaded"):
            deltas_of(body, "text/event-stream", (1, 2, 3, 4))
    else:
        assert fold(deltas_of(body, "text/event-stream", (1, 2, 3, 4))) == whole(name)


def test_another_content_type_is_a_protocol_error() -> None:
    """A web page is not read at all."""
    with pytest.raises(ProviderProtocolError, match="'text/html'"):
        Gemini().reader(CALL, "text/html; charset=utf-8")


def test_calls_are_bounded() -> None:
    """An endless list of calls ends in an error, and what came before it is kept."""
    part = b'{"functionCall":{"name":"f"}}'
    event = b'data: {"candidates":[{"content":{"parts":[' + b",".join([part] * 1000) + b"]}}]}\n\n"
    reader = Gemini().reader(CALL, "text/event-stream")
    assert sum(len(reader.feed(event)) for _ in range(5)) == 4096
    with pytest.raises(ProviderProtocolError, match="4096"):
        reader.close()
