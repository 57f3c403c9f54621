from __future__ import annotations

import itertools
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
    user_message,
)
from actrio.providers.dialects import AnthropicMessages

FIXTURES = Path(__file__).parents[3] / "fixtures" / "anthropic"
STREAMS = sorted(FIXTURES.glob("*.sse"))
WHOLE = sorted(FIXTURES.glob("whole_*.json"))
BODIES = [path.read_bytes() for path in (*STREAMS, *WHOLE)]
SSE, JSON = "text/event-stream; charset=utf-8", "application/json"


def read(body: bytes, kind: str = SSE, cuts: tuple[int, ...] = ()) -> list[Delta]:
    call = ModelInput("claude-small-5", (user_message("Hi"),), stream=kind == SSE)
    reader = AnthropicMessages().reader(call, kind)
    deltas: list[Delta] = []
    for start, end in itertools.pairwise([0, *cuts, len(body)]):
        deltas.extend(reader.feed(body[start:end]))
    return [*deltas, *reader.close()]


def answer(name: str) -> ModelOutput:
    return fold(read((FIXTURES / f"{name}.sse").read_bytes()))


def whole(name: str) -> ModelOutput:
    return fold(read((FIXTURES / f"{name}.json").read_bytes(), JSON))


def outcome(body: bytes, kind: str, cuts: tuple[int, ...] = ()) -> ModelOutput | tuple[type, str]:
    try:
        return fold(read(body, kind, cuts))
    except (ProviderError, ContextWindowExceeded) as error:
        return type(error), str(error)


def stream(*events: object) -> bytes:
    return b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)


@pytest.mark.parametrize("name", ["text_with_pings", "text_in_crlf"])
def test_text_is_read_past_pings_and_either_line_end(name: str) -> None:
    """Pings say nothing; text arrives as written."""
    output = answer(name)
    assert output.message.text.startswith("Paris – oui")
    assert (output.finish_reason, output.finish_raw) == ("stop", "end_turn")
    assert output.usage == Usage(10, 5)


def test_a_delta_is_given_at_once_and_the_answer_is_known_by_name() -> None:
    """Text never waits for the end of its block; the model and the id come from the answer."""
    call = ModelInput("claude-small", (user_message("Hi"),))
    reader = AnthropicMessages().reader(call, SSE)
    assert reader.model == "claude-small"
    body = (FIXTURES / "text_with_pings.sse").read_bytes()
    head, tail = body.split(b"\n\n", 5)[:5], body.split(b"\n\n", 5)[5]
    assert reader.feed(b"\n\n".join(head) + b"\n\n")[-1] == TextDelta("Paris – ")
    assert (reader.model, reader.response_id, reader.done) == ("claude-small-5", "msg_1", False)
    reader.feed(tail)
    assert reader.done
    assert reader.feed(b"whatever follows") == []
    assert reader.close() == []


def test_parallel_calls_are_put_together() -> None:
    """Fragments make whole calls in order; a call whose only fragment is empty has no arguments."""
    output = answer("parallel_calls_in_fragments")
    assert output.message.parts == (
        Text("Let me see."),
        ToolCall("toolu_a", "weather", '{"city": "Oslo"}'),
        ToolCall("toolu_b", "now", "{}"),
    )
    assert output.finish_reason == "tool_calls"


def test_a_call_may_come_whole_and_without_an_id() -> None:
    """Imitations send the arguments with the start; a missing id is made from the answer's own."""
    calls = answer("call_whole_at_its_start").message.tool_calls
    assert calls == (ToolCall("msg_1_0", "weather", '{"city":"Oslo"}'),)


def test_a_call_cut_by_the_token_limit_keeps_what_was_written() -> None:
    """Nothing is made up: the arguments end where the model was stopped."""
    output = answer("call_cut_by_the_token_limit")
    assert output.message.tool_calls == (ToolCall("toolu_a", "weather", '{"city": "Os'),)
    assert output.finish_reason == "length"


def test_thinking_keeps_its_signature() -> None:
    """Reasoning and its signature are one part, and its tokens are counted."""
    output = answer("thinking_with_signature")
    assert output.message.parts == (Thinking("First then.", "c2lnbmVk"), Text("Yes."))
    assert output.usage == Usage(10, 9, reasoning_tokens=4)


def test_thinking_without_its_text_keeps_its_signature() -> None:
    """A vendor that withholds the reasoning still wants each signature back."""
    parts = answer("thinking_omitted").message.parts
    assert parts == (Thinking("", "b25l"), Thinking("", "dHdv"), Text("Yes."))


def test_redacted_thinking_is_an_item_of_the_vendor() -> None:
    """Encrypted reasoning is kept as it came, in its place."""
    item, text = answer("redacted_thinking").message.parts
    data = '{"type":"redacted_thinking","data":"c2VjcmV0"}'
    assert (item, text) == (VendorItem("anthropic", "redacted_thinking", data), Text("Yes."))


def test_server_tools_and_citations() -> None:
    """A server tool's call holds its joined input, its result is untouched, the text is cited."""
    output = answer("web_search_with_citations")
    first, call, result, cited = output.message.parts
    assert first == Text("Searching.")
    assert isinstance(call, VendorItem)
    assert call.kind == "server_tool_use"
    assert json.loads(call.data)["input"] == {"query": "oslo rain"}
    assert isinstance(result, VendorItem)
    assert json.loads(result.data)["content"][0]["encrypted_content"] == "ZW5j"
    assert isinstance(cited, Text)
    (citation,) = cited.citations
    assert (citation.source, citation.quote) == ("https://example.org/oslo", "It rains.")
    assert json.loads(citation.vendor)["encrypted_index"] == "aWR4"
    assert output.message.tool_calls == ()
    assert output.usage == Usage(140, 40, cached_input_tokens=20)


@pytest.mark.parametrize(
    ("name", "reason", "raw"),
    [
        ("refusal", "content_filter", "refusal"),
        ("pause_in_a_server_tool", "pause", "pause_turn"),
        ("unknown_blocks_and_events", "pause", "compaction"),
        ("stop_sequence_without_text", "stop", "stop_sequence"),
    ],
)
def test_reasons_to_stop(name: str, reason: str, raw: str) -> None:
    """Each reason is told in our words and in the vendor's."""
    output = answer(name)
    assert (output.finish_reason, output.finish_raw) == (reason, raw)


def test_a_full_window_is_a_length() -> None:
    """The window is one more bound on the answer."""
    assert whole("whole_beyond_the_window").finish_reason == "length"


def test_blocks_of_a_new_type_are_kept() -> None:
    """What only the vendor understands goes back with what its fragments said."""
    (item,) = answer("unknown_blocks_and_events").message.parts
    assert isinstance(item, VendorItem)
    assert json.loads(item.data) == {"type": "compaction", "content": "So far: hello."}


def test_usage_is_cumulative() -> None:
    """The second telling wins where it says something; the first one counts where it does not."""
    assert answer("usage_told_twice").usage == Usage(100, 12, cached_input_tokens=90)


def test_whole_answers_are_read() -> None:
    """An answer that was not streamed gives the same values."""
    output = whole("whole_with_every_block")
    thinking, redacted, text, call = output.message.parts
    assert thinking == Thinking("Hm.", "c2ln")
    assert isinstance(redacted, VendorItem)
    assert isinstance(text, Text)
    assert text.citations[0] == Citation("document 0", "", "Oslo", text.citations[0].vendor)
    assert call == ToolCall("toolu_a", "weather", call.arguments)
    assert json.loads(call.arguments) == {"city": "Oslo"}
    assert output.usage == Usage(26, 7, cached_input_tokens=5)


@pytest.mark.parametrize("name", ["ends_without_stop_reason", "stops_without_stop_reason"])
def test_a_stream_without_a_stop_reason_is_truncated(name: str) -> None:
    """No reason, no success; the end mark alone proves nothing."""
    with pytest.raises(StreamTruncated, match="without a stop_reason") as caught:
        answer(name)
    assert caught.value.in_stream
    assert caught.value.retryable


@given(st.integers(0, 10_000))
def test_every_cut_is_truncated(cut: int) -> None:
    """An answer cut before its reason to stop, or in its JSON, is never a success."""
    body = (FIXTURES / "parallel_calls_in_fragments.sse").read_bytes()
    with pytest.raises(StreamTruncated):
        read(body[: cut % body.index(b'"stop_reason":"tool_use"')])
    body = (FIXTURES / "whole_with_every_block.json").read_bytes()
    with pytest.raises(StreamTruncated):
        read(body[: cut % len(body.strip())], JSON)


def test_an_error_in_the_stream_is_raised_after_what_came_before_it() -> None:
    """What arrived in the same read is given first; the next call, or the end, raises."""
    body = (FIXTURES / "error_in_stream.sse").read_bytes()
    call = ModelInput("claude-small-5", (user_message("Hi"),))
    for ask in (lambda reader: reader.close(), lambda reader: reader.feed(b"more")):
        reader = AnthropicMessages().reader(call, SSE)
        assert TextDelta("Hel") in reader.feed(body)
        with pytest.raises(ProviderError) as caught:
            ask(reader)
        error = caught.value
        assert (error.category, error.status, error.in_stream) == ("overloaded", None, True)
        assert (error.request_id, error.retryable) == ("req_1", True)


def test_context_length_inside_the_stream_is_its_own_error() -> None:
    """A prompt that is too long is told as such, wherever the vendor says it."""
    with pytest.raises(ContextWindowExceeded, match="larger window"):
        answer("context_length_in_stream")


def test_an_error_in_place_of_a_whole_answer_is_raised() -> None:
    """Status 200 with an error in the body is an error."""
    with pytest.raises(ProviderError, match="Internal server error") as caught:
        whole("whole_with_error_at_200")
    assert (caught.value.category, caught.value.in_stream) == ("server", False)


@pytest.mark.parametrize(
    "body",
    [
        b"data: {\n\n",
        b"data: []\n\n",
        b'data: {"type":3}\n\n',
        stream({"type": "content_block_start", "index": 0, "content_block": {}}),
        stream({"type": "content_block_start", "index": 0, "content_block": [[]]}),
        stream({"type": "content_block_delta", "index": 9, "delta": {"type": "input_json_delta"}}),
        b'data: {"delta":' + b"[" * 20_000 + b"\n\n",
    ],
)
def test_events_of_another_format_are_a_protocol_error(body: bytes) -> None:
    """What is no event of this API is told as such, with its beginning."""
    with pytest.raises(ProviderProtocolError, match="base_url"):
        read(body)


@pytest.mark.parametrize("body", [b"[]", b"<html>", b'{"content": 3}', b"{}", b'{"id": "\xff"}'])
def test_documents_of_another_format_are_a_protocol_error(body: bytes) -> None:
    """What is no message is told as such."""
    with pytest.raises(ProviderProtocolError, match="base_url"):
        read(body, JSON)


def test_a_web_page_is_no_answer() -> None:
    """The content type says so before anything is read; without one, the question decides."""
    with pytest.raises(ProviderProtocolError, match="text/html"):
        read(b"", "text/html")
    assert fold(read((FIXTURES / "whole_beyond_the_window.json").read_bytes(), "")).message.text


def test_an_answer_is_bounded() -> None:
    """Neither an event, nor an answer, nor the number of its blocks can grow without end."""
    block = {"type": "content_block_start", "index": 0, "content_block": {"type": "text"}}
    with pytest.raises(ProviderProtocolError, match="more than 4096 blocks"):
        read(stream(block) * 4_097)
    call = ModelInput("claude-small-5", (user_message("Hi"),))
    piece = b":" * (1024 * 1024 - 2) + b"\n\n"
    for kind, size in ((SSE, 1024 * 1024), (JSON, 1024 * 1024)):
        reader = AnthropicMessages().reader(call, kind)
        with pytest.raises(ProviderProtocolError, match="bytes"):
            for _ in range(65 * 1024 * 1024 // size):
                reader.feed(piece)
    reader = AnthropicMessages().reader(call, SSE)
    with pytest.raises(ProviderProtocolError, match="is too much"):
        for _ in range(5):
            reader.feed(b"x" * 1024 * 1024)


@pytest.mark.parametrize("path", [*STREAMS, *WHOLE], ids=lambda path: path.stem)
def test_every_split_of_every_fixture_gives_the_same(path: Path) -> None:
    """Where the network cuts a body says nothing."""
    body, kind = path.read_bytes(), SSE if path.suffix == ".sse" else JSON
    wanted = outcome(body, kind)
    assert outcome(body, kind, tuple(range(1, len(body)))) == wanted
    for cut in range(0, len(body), 1 if len(body) < 1_000 else 7):
        assert outcome(body, kind, (cut,)) == wanted


@st.composite
def mutated(draw: st.DrawFn) -> tuple[bytes, str]:
    """A fixture with flipped bits, a lost or a doubled piece, or events in another order."""
    body = draw(st.sampled_from(BODIES))
    kind = SSE if body.startswith(b"event") else JSON
    blocks = body.split(b"\n\n")
    order = draw(st.lists(st.integers(0, len(blocks) - 1), max_size=2 * len(blocks)))
    data = bytearray(b"\n\n".join(blocks[n] for n in order) if draw(st.booleans()) else body)
    for place, bit in draw(st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 7)))):
        if data:
            data[place % len(data)] ^= 1 << bit
    start, end = sorted(draw(st.tuples(*[st.integers(0, 1 << 12)] * 2)))
    junk = draw(st.sampled_from([b"", b"\xff\xfe", b"[" * 5_000, b'{"a":' * 5_000, b"\n\n", b"\0"]))
    if draw(st.booleans()):
        data[start:end] = junk
    return bytes(data), draw(st.sampled_from([kind, kind, kind, SSE, JSON]))


@given(mutated(), st.integers(0, 1 << 16))
def test_no_mutation_breaks_the_readers(case: tuple[bytes, str], cut: int) -> None:
    """Whatever arrives is an answer or one of our errors, and the same one however it is cut."""
    body, kind = case
    found = outcome(body, kind)
    assert outcome(body, kind, (cut % (len(body) + 1),)) == found


WORDS = (
    "type index delta content_block message usage error text partial_json thinking signature "
    "citation stop_reason input id name content content_block_start content_block_delta tool_use "
    "content_block_stop message_start message_delta input_json_delta text_delta"
)
MEMBERS = st.sampled_from(WORDS.split())


@given(
    st.lists(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | MEMBERS,
            lambda inner: st.lists(inner) | st.dictionaries(MEMBERS, inner),
        )
    )
)
def test_no_json_value_breaks_the_readers(values: list[object]) -> None:
    """Whatever JSON an endpoint sends, it is deltas or one of our errors."""
    outcome(stream(*values), SSE)
    outcome(json.dumps(values[:1] and values[0]).encode(), JSON)
