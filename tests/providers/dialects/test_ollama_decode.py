from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actrio.errors import (
    ContextWindowExceeded,
    ProviderError,
    ProviderProtocolError,
    StreamTruncated,
)
from actrio.messages import (
    AssistantMessage,
    Delta,
    EmbedInput,
    ModelInput,
    ModelOutput,
    TextDelta,
    Thinking,
    ToolCall,
    Usage,
    fold,
)
from actrio.providers.dialects import OllamaChat

FIXTURES = Path(__file__).parents[3] / "fixtures" / "ollama"
STREAMS = sorted(path.stem for path in FIXTURES.glob("*.ndjson"))


def body_of(name: str) -> bytes:
    return next(FIXTURES.glob(f"{name}.*")).read_bytes()


def read(body: bytes, *cuts: int, call: ModelInput | None = None, kind: str) -> list[Delta]:
    reader = OllamaChat().reader(call or ModelInput("small", (), stream=False), kind)
    ends = [*cuts, len(body)]
    deltas: list[Delta] = []
    for start, end in zip([0, *cuts], ends, strict=True):
        deltas += reader.feed(body[start:end])
    return deltas + reader.close()


def answer(name: str, *cuts: int, call: ModelInput | None = None) -> ModelOutput:
    kind = "application/x-ndjson" if name in STREAMS else "application/json; charset=utf-8"
    return fold(read(body_of(name), *cuts, call=call, kind=kind))


def test_text_and_usage_are_read() -> None:
    """Text arrives as written, with the line separator that JSON may hold, and usage at the end."""
    output = answer("text")
    assert output.message.text == "Paris – oui\u2028!"
    assert (output.finish_reason, output.usage) == ("stop", Usage(9, 4))


def test_thinking_stays_apart_from_the_text() -> None:
    """The thinking field is thinking, in a stream and in a whole answer."""
    assert answer("thinking").message.parts[0] == Thinking("First then.")
    assert answer("whole_text").message.parts[0] == Thinking("Easy.")


def test_calls_keep_their_ids_and_say_tool_calls() -> None:
    """One call per line, object arguments as text; the reason is put right, Ollama says stop."""
    output = answer("calls_one_per_line")
    assert output.message.tool_calls == (
        ToolCall("call_a", "weather", '{"city":"Oslo"}'),
        ToolCall("call_b", "time", "{}"),
    )
    assert (output.finish_reason, output.finish_raw) == ("tool_calls", "stop")


@pytest.mark.parametrize("name", ["calls_without_id", "calls_with_one_id_twice"])
def test_every_call_gets_an_id_of_its_own(name: str) -> None:
    """An id that is missing or taken is made up, from the time of the answer."""
    ids = [call.id for call in answer(name).message.tool_calls]
    assert len(set(ids)) == 2
    assert ids[1] == "call_20260807T060811017589Z_1"


def test_an_id_of_an_earlier_turn_is_not_given_out_again() -> None:
    """Made up or told, an id that the conversation already has would name two calls."""
    taken = ("call_a", "call_20260807T060811017589Z_0", "call_20260807T060811017589Z_1")
    earlier = AssistantMessage(tuple(ToolCall(id_, "f") for id_ in taken))
    call = ModelInput("small", (earlier,))
    for name in ("calls_with_one_id_twice", "calls_without_id"):
        ids = [made.id for made in answer(name, call=call).message.tool_calls]
        assert len({*ids, *taken}) == 5


def test_whole_answers_are_read() -> None:
    """An answer that was not streamed gives the same values; absent arguments are none."""
    calls = answer("whole_with_calls").message.tool_calls
    assert calls[0] == ToolCall("call_a", "weather", '{"city":"Oslo"}')
    assert (calls[1].name, calls[1].arguments) == ("now", "{}")


def test_arguments_in_a_string_are_unpacked() -> None:
    """Where a proxy sends the arguments as OpenAI would, they are read all the same."""
    calls = answer("whole_with_string_arguments").message.tool_calls
    assert calls[0].arguments == '{"city": "Oslo"}'


@pytest.mark.parametrize(
    ("name", "reason", "raw"),
    [
        ("length", "length", "length"),
        ("no_done_reason", "other", ""),
        ("unloaded", "other", "unload"),
    ],
)
def test_why_it_stopped(name: str, reason: str, raw: str) -> None:
    """Known reasons are named, unknown and missing ones are not made up."""
    output = answer(name)
    assert (output.finish_reason, output.finish_raw) == (reason, raw)


@pytest.mark.parametrize(("name", "text"), [("generate", " Yes."), ("whole_generate", "Why not?")])
def test_the_older_endpoint_is_read(name: str, text: str) -> None:
    """/api/generate differs in where the text is, and in nothing else that counts."""
    output = answer(name)
    assert output.message.text == text
    assert (output.finish_reason, output.usage) == ("stop", Usage(9, 4))


def test_the_last_line_may_lack_its_end() -> None:
    """A whole last line without a line feed still ends the answer."""
    assert answer("last_line_without_newline").message.text == "Hi"


@pytest.mark.parametrize("name", ["ends_without_done", "whole_without_done"])
def test_no_done_no_answer(name: str) -> None:
    """Text without done:true is a cut answer, however much of it came."""
    with pytest.raises(StreamTruncated, match="without done:true") as caught:
        answer(name)
    assert caught.value.retryable


@pytest.mark.parametrize("name", ["text", "calls_one_per_line", "generate"])
def test_every_cut_of_a_stream_is_truncated(name: str) -> None:
    """Wherever a stream is cut before its last object ends, it is no success."""
    body = body_of(name)
    for cut in range(len(body) - 1):
        with pytest.raises(StreamTruncated):
            read(body[:cut], kind="application/x-ndjson")


@pytest.mark.parametrize("name", ["text", "thinking", "calls_without_id", "generate"])
def test_no_split_changes_an_answer(name: str) -> None:
    """At every single split, inside UTF-8 too, the same comes out."""
    whole = answer(name)
    assert all(answer(name, cut) == whole for cut in range(len(body_of(name))))


def test_text_is_given_at_once() -> None:
    """A delta never waits for the end of its stream."""
    reader = OllamaChat().reader(ModelInput("small", ()), "application/x-ndjson")
    line = b'{"model":"m","message":{"role":"assistant","content":"now"},"done":false}\n'
    assert reader.feed(line) == [TextDelta("now")]
    assert reader.model == "m"
    assert not reader.done


def test_nothing_counts_after_the_end() -> None:
    """What follows done:true is not read."""
    reader = OllamaChat().reader(ModelInput("small", ()), "application/x-ndjson")
    reader.feed(body_of("text"))
    assert reader.done
    assert reader.feed(b'{"error":"late"}\n') == []
    assert reader.close() == []


def test_an_error_line_comes_after_what_was_said() -> None:
    """The read that holds text and an error gives the text, the next call raises the error."""
    reader = OllamaChat().reader(ModelInput("small", ()), "application/x-ndjson")
    assert reader.feed(body_of("error_in_stream")) == [TextDelta("Hi")]
    assert reader.done
    for raising in (reader.close, lambda: reader.feed(b"")):
        with pytest.raises(ProviderError, match="while running the model") as caught:
            raising()
        assert (caught.value.category, caught.value.in_stream) == ("server", True)


def test_an_error_line_may_tell_its_status() -> None:
    """A status in the line counts as one of an answer would."""
    with pytest.raises(ProviderError) as caught:
        answer("error_in_stream_with_status")
    assert (caught.value.category, caught.value.status) == ("overloaded", 503)


def test_a_prompt_that_is_too_long_is_its_own_error() -> None:
    """Ollama's words for it are understood."""
    with pytest.raises(ContextWindowExceeded):
        answer("context_length_in_stream")


def test_an_error_in_place_of_a_whole_answer_is_raised() -> None:
    """Status 200 with an error in the body is an error."""
    with pytest.raises(ProviderError, match="failed to generate") as caught:
        answer("whole_with_error_at_200")
    assert not caught.value.in_stream


@pytest.mark.parametrize("body", [b"{", b"null", b"[]", b'{"message":3}', b'{"done":"x"}', b"<p>"])
def test_another_format_is_a_protocol_error(body: bytes) -> None:
    """What is no answer of Ollama is told as such, with its beginning."""
    with pytest.raises(ProviderProtocolError, match="Ollama server"):
        read(body, kind="application/json")
    with pytest.raises(ProviderProtocolError, match="Ollama server"):
        read(body + b"\n", kind="application/x-ndjson")


def test_another_type_is_a_protocol_error() -> None:
    """A page is refused by its type."""
    with pytest.raises(ProviderProtocolError, match="text/html"):
        OllamaChat().reader(ModelInput("small", ()), "text/html; charset=utf-8")


def test_bounds() -> None:
    """An endless line, an endless body, endless calls and endless nesting all end in an error."""
    call = ModelInput("small", (), stream=False)
    piece = b"x" * (1024 * 1024)
    for kind in ("application/x-ndjson", "application/json"):
        reader = OllamaChat().reader(call, kind)
        with pytest.raises(ProviderProtocolError):
            for _ in range(40):
                reader.feed(piece)
        with pytest.raises(ProviderProtocolError):
            reader.close()
    calls = json.dumps({"message": {"tool_calls": [{"function": {"name": "f"}}] * 600}})
    for body in (calls.encode(), b'{"message":' + b"[" * 100_000, b'{"x":' + b"[" * 100_000):
        with pytest.raises(ProviderProtocolError):
            read(body, kind="application/json")


def test_vectors_are_read() -> None:
    """The present and the older form, in the order of the texts."""
    two = OllamaChat().embed_output(EmbedInput("small", ("a", "b")), body_of("embed"))
    assert two.vectors == ((0.5, 0.5), (0.5, -0.5))
    assert (two.usage, two.model) == (Usage(8), "small")
    one = OllamaChat().embed_output(EmbedInput("small", ("a",)), body_of("embeddings_legacy"))
    assert one.vectors == ((0.25, 1.0, -0.5),)


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b"[",
        b'{"embeddings":[[1]]}',
        b'{"embeddings":[[1],[]]}',
        b'{"embeddings":[["x"],[1]]}',
    ],
)
def test_vectors_that_do_not_fit_the_texts_are_refused(body: bytes) -> None:
    """Another number of vectors, or none in them, never passes for an answer."""
    with pytest.raises(ProviderProtocolError):
        OllamaChat().embed_output(EmbedInput("small", ("a", "b")), body)


def test_models_are_listed() -> None:
    """Names come from either field that servers use."""
    assert OllamaChat().model_names(body_of("tags")) == ("small:latest", "old:latest")
    for body in (b"{}", b"<html>"):
        with pytest.raises(ProviderProtocolError):
            OllamaChat().model_names(body)


def outcome(body: bytes, kind: str) -> None:
    try:
        fold(read(body, kind=kind))
    except (ProviderError, ContextWindowExceeded):
        return


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    body = bytearray(body_of(draw(st.sampled_from(STREAMS))))
    for _ in range(draw(st.integers(1, 6))):
        place = draw(st.integers(0, max(0, len(body) - 1)))
        match draw(st.sampled_from(["flip", "cut", "drop", "insert"])):
            case "flip" if body:
                body[place] ^= 1 << draw(st.integers(0, 7))
            case "cut":
                del body[place:]
            case "drop":
                del body[place : place + draw(st.integers(1, 40))]
            case _:
                body[place:place] = draw(st.sampled_from([b"\xff", b"[" * 3000, b"{", b'"', b"\n"]))
    lines = bytes(body).split(b"\n")
    return b"\n".join(
        draw(st.permutations(lines)) + draw(st.lists(st.sampled_from(lines), max_size=2))
    )


@settings(max_examples=200, deadline=None)
@given(mutated(), st.sampled_from(["application/x-ndjson", "application/json"]))
def test_no_damage_breaks_the_reader(body: bytes, kind: str) -> None:
    """Flipped, cut, doubled, reordered, nested: deltas or one of our errors."""
    outcome(body, kind)


FIELDS = st.sampled_from(
    [
        "message",
        "content",
        "thinking",
        "tool_calls",
        "function",
        "arguments",
        "name",
        "id",
        "done",
        "done_reason",
        "error",
        "status",
        "eval_count",
        "response",
        "model",
        "created_at",
    ]
)


@settings(max_examples=200, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELDS, inner),
        max_leaves=12,
    )
)
def test_no_json_value_breaks_the_reader(value: Any) -> None:
    """Whatever JSON a server sends, it is deltas or one of our errors."""
    outcome(json.dumps(value).encode(), "application/x-ndjson")


@given(st.sampled_from(["embed", "embeddings_legacy", "tags"]), st.data())
def test_no_damage_breaks_the_other_answers(name: str, data: st.DataObject) -> None:
    """Vectors and lists of models, too, are values or one of our errors."""
    body = bytearray(body_of(name))
    for _ in range(data.draw(st.integers(1, 5))):
        body[data.draw(st.integers(0, len(body) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    cut = bytes(body[: data.draw(st.integers(0, len(body)))])
    dialect = OllamaChat()
    for read_it in (
        lambda: dialect.embed_output(EmbedInput("small", ("a",)), cut),
        lambda: dialect.model_names(cut),
    ):
        try:
            read_it()
        except (ProviderError, ContextWindowExceeded):
            pass
