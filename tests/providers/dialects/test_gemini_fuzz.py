"""Whatever an endpoint sends is deltas or one of our errors."""

from __future__ import annotations

import itertools
import random
from pathlib import Path

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from actrio.errors import ContextWindowExceeded, ProviderError
from actrio.messages import Delta, EmbedInput, ModelInput, ModelOutput, fold
from actrio.providers.dialects import Gemini

FIXTURES = sorted((Path(__file__).parents[3] / "fixtures" / "gemini").glob("*.[js]*"))


_MEMBERS = [
    *("candidates", "content", "parts", "text", "thought", "thoughtSignature", "functionCall"),
    *("name", "args", "id", "finishReason", "usageMetadata", "promptTokenCount", "error", "code"),
    *("promptFeedback", "blockReason", "groundingMetadata", "groundingChunks", "web", "uri"),
    *("groundingSupports", "segment", "groundingChunkIndices", "citationMetadata", "index"),
    *("citationSources", "executableCode", "details", "@type", "retryDelay", "message", "status"),
]
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(_MEMBERS), inner),
)


def outcome(body: bytes, content_type: str, cuts: tuple[int, ...]) -> ModelOutput | None:
    reader = Gemini().reader(ModelInput("gemini-test", ()), content_type)
    deltas: list[Delta] = []
    try:
        for start, end in itertools.pairwise([0, *cuts, len(body)]):
            deltas += reader.feed(body[start:end])
        return fold(deltas + reader.close())
    except (ProviderError, ContextWindowExceeded):
        return None


@given(
    st.dictionaries(st.sampled_from(_MEMBERS), _VALUES)
    | _VALUES.map(lambda value: {"candidates": [value]})
    | _VALUES.map(lambda value: {"candidates": [{"content": {"parts": [value]}}]})
    | _VALUES.map(lambda value: {"candidates": [{"groundingMetadata": value}]})
    | _VALUES.map(lambda value: {"error": value})
)
def test_no_json_value_breaks_the_reader(value: object) -> None:
    """Whatever JSON an endpoint sends, it is deltas or one of our errors."""
    body = msgspec.json.encode(value)
    outcome(body, "application/json", ())
    outcome(b"data: " + body + b"\r\n\r\n", "text/event-stream", ())


@given(st.sampled_from(FIXTURES), st.randoms(use_true_random=False))
def test_no_mutation_breaks_the_reader(path: Path, rng: random.Random) -> None:
    """Flipped bits, lost and repeated pieces, bad UTF-8: a result or one of our errors."""
    body = bytearray(path.read_bytes())
    for _ in range(rng.randrange(1, 6)):
        at = rng.randrange(len(body) or 1)
        end = min(len(body), at + rng.randrange(60))
        match rng.randrange(5):
            case 0 if body:
                body[at] ^= 1 << rng.randrange(8)
            case 1:
                del body[at:end]
            case 2:
                body[at:at] = body[at:end]
            case 3:
                body[at:at] = rng.choice([b"\xff", b"\r\n\r\ndata: ", b"[" * 2000, b"\0", b"null"])
            case 4:
                events = bytes(body).split(b"\r\n\r\n")
                rng.shuffle(events)
                body = bytearray(b"\r\n\r\n".join(events))
    data = bytes(body)
    cuts = tuple(sorted(rng.choices(range(len(data) + 1), k=3)))
    outcome(data, "application/json", cuts)
    assert outcome(data, "text/event-stream", cuts) == outcome(data, "text/event-stream", ())
    assert Gemini().error_from(400, {}, data, model="gemini-test").message
    try:
        Gemini().embed_output(EmbedInput("gemini-test", ("a",)), data)
    except (ProviderError, ContextWindowExceeded):
        pass
