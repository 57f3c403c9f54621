from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from actrio.errors import ContextWindowExceeded, ProviderError
from actrio.messages import ModelInput, fold
from actrio.providers.dialects import OpenAiResponses

STREAMS = sorted((Path(__file__).parents[3] / "fixtures" / "openai_responses").glob("*.sse"))
SSE = "text/event-stream"


def outcome(body: bytes, kind: str) -> None:
    try:
        reader = OpenAiResponses("openai").reader(ModelInput("small", ()), kind)
        fold([*reader.feed(body[:99]), *reader.feed(body[99:]), *reader.close()])
    except (ProviderError, ContextWindowExceeded):
        return


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    events = draw(st.sampled_from(STREAMS)).read_bytes().split(b"\n\n")
    if draw(st.booleans()):
        events = draw(st.permutations(events)) + draw(st.lists(st.sampled_from(events), max_size=3))
    body = bytearray(b"\n\n".join(events))
    for _ in range(draw(st.integers(0, 6))):
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
    return bytes(body)


@settings(max_examples=200, deadline=None)
@given(mutated())
def test_no_damage_breaks_the_reader(body: bytes) -> None:
    """Flipped, cut, doubled, reordered, nested: deltas or one of our errors."""
    outcome(body, SSE)


FIELDS = st.sampled_from(
    [
        "type",
        "output_index",
        "delta",
        "item",
        "response",
        "annotation",
        "code",
        "message",
        "error",
        "id",
        "model",
        "status",
        "output",
        "usage",
        "content",
        "summary",
        "text",
        "refusal",
        "annotations",
        "call_id",
        "name",
        "arguments",
        "phase",
    ]
)
WORDS = st.sampled_from(
    [
        "message",
        "function_call",
        "reasoning",
        "completed",
        "incomplete",
        "failed",
        "response.completed",
        "response.output_item.done",
        "response.output_item.added",
        "response.output_text.delta",
        "error",
        "response.function_call_arguments.delta",
        "response.output_text.annotation.added",
    ]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELDS, inner),
    max_leaves=14,
)


@settings(max_examples=200, deadline=None)
@given(VALUES, WORDS)
def test_no_json_value_breaks_the_reader(value: Any, kind: str) -> None:
    """Whatever JSON an endpoint sends, it is deltas or one of our errors."""
    typed = {"type": kind, **value} if isinstance(value, dict) else value
    outcome(f"data: {json.dumps(typed)}\n\n".encode(), SSE)
    outcome(json.dumps(value).encode(), "application/json")
