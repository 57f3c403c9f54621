"""Damaged answers: a result or one of our errors, whatever became of the bytes."""

from __future__ import annotations

import itertools
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actrio.errors import ContextWindowExceeded, ProviderError
from actrio.messages import EmbedInput, ModelInput, ModelOutput, fold
from actrio.providers._catalog import make_dialect

FOLDER = Path(__file__).parents[3] / "fixtures"
STREAMS = [path.read_bytes() for path in sorted((FOLDER / "openai_chat").glob("*.sse"))]
DOCUMENTS = [path.read_bytes() for path in sorted((FOLDER / "openai_chat").glob("*.json"))]
VECTORS = [path.read_bytes() for path in sorted((FOLDER / "openai_embeddings").glob("*.json"))]
OURS = (ProviderError, ContextWindowExceeded)
NAMES = ("openai", "openrouter", "glm4", "gemini")
JUNK = (
    b"[" * 3000,
    b'{"a":' * 3000,
    b"\xff\xfe",
    b"null",
    b"1e999",
    b'"\\ud800"',
    b"\0",
    b"9" * 400,
)


def damaged(body: bytes, seed: int) -> bytes:
    """Flip bits, cut, repeat and shuffle events, and put junk in."""
    chance = random.Random(seed)
    data = bytearray(body)
    for _ in range(chance.randrange(6)):
        place = chance.randrange(len(data) or 1)
        match chance.randrange(6):
            case 0 if data:
                data[place] ^= 1 << chance.randrange(8)
            case 1:
                del data[place:]
            case 2:
                data[place:place] = chance.choice(JUNK)
            case 3:
                events = bytes(data).split(b"\n\n")
                chance.shuffle(events)
                data = bytearray(b"\n\n".join(events))
            case 4:
                data += data[place : place + 300]
            case _:
                data[place : place + chance.randrange(9)] = b""
    return bytes(data)


def read(name: str, body: bytes, kind: str, cuts: list[int]) -> ModelOutput | str:
    """Return what the answer amounts to, or the text of the error."""
    dialect = make_dialect("openai", name, vendor=name)
    reader = dialect.reader(ModelInput("small", ()), kind)
    deltas = []
    try:
        for start, end in itertools.pairwise([0, *sorted(cuts), len(body)]):
            deltas += reader.feed(body[start:end])
        deltas += reader.close()
    except OURS as error:
        return str(error)
    return fold(deltas)


@given(st.sampled_from(NAMES), st.sampled_from(STREAMS), st.integers(), st.lists(st.integers(0)))
def test_a_damaged_stream(name: str, body: bytes, seed: int, cuts: list[int]) -> None:
    """It gives a result or a typed error, the same however it was cut."""
    data = damaged(body, seed)
    within = [cut % (len(data) + 1) for cut in cuts]
    assert read(name, data, "text/event-stream", within) == (
        read(name, data, "text/event-stream", [])
    )


@given(st.sampled_from(NAMES), st.sampled_from(DOCUMENTS), st.integers(), st.integers(200, 599))
def test_a_damaged_document(name: str, body: bytes, seed: int, status: int) -> None:
    """So does an answer that is not streamed, and the body of an error."""
    data = damaged(body, seed)
    read(name, data, "application/json", [])
    error = make_dialect("openai", name, vendor=name).error_from(status, {}, data, model="small")
    assert isinstance(error, OURS)


@given(st.sampled_from(VECTORS), st.integers())
def test_damaged_vectors(body: bytes, seed: int) -> None:
    """So does an answer with vectors."""
    dialect = make_dialect("openai", "openai", vendor="openai")
    call = EmbedInput("small", ("one", "two"))
    try:
        output = dialect.embed_output(call, damaged(body, seed))
    except OURS:
        return
    assert len(output.vectors) == 2


@pytest.mark.parametrize("body", STREAMS)
def test_every_split_gives_the_same(body: bytes) -> None:
    """Byte by byte, and at each single position."""
    whole = read("openrouter", body, "text/event-stream", [])
    for cuts in ([*range(1, len(body))], *([place] for place in range(1, len(body)))):
        assert read("openrouter", body, "text/event-stream", cuts) == whole


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(
            st.sampled_from(
                [
                    "choices", "delta", "message", "tool_calls", "index", "function", "usage",
                    "error", "errors", "content", "finish_reason", "arguments", "annotations",
                    "reasoning_details", "x_groq", "extra_content", "metadata", "code", "details",
                ]
            ),
            inner,
        )
    ),
)  # fmt: skip


@given(JSON, st.sampled_from(NAMES))
def test_no_json_value_breaks_the_decoder(value: object, name: str) -> None:
    """Whatever JSON an endpoint sends, it is deltas or one of our errors."""
    import msgspec

    body = msgspec.json.encode(value)
    read(name, b"data: " + body + b"\n\n", "text/event-stream", [])
    read(name, body, "application/json", [])
    make_dialect("openai", name, vendor=name).error_from(400, {}, body, model="small")
