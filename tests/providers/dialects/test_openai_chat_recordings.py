"""Recorded traffic of real endpoints, decoded and compared with what each vendor's SDK made of it."""

from __future__ import annotations

import itertools
import json
import random
from pathlib import Path
from typing import Any

import pytest

from actrio.errors import ContextWindowExceeded, ProviderError, StreamTruncated
from actrio.messages import Delta, ModelOutput, Thinking, fold
from actrio.providers.dialects import OpenAiChat
from actrio.sansio import SseReader

RECORDINGS = Path(__file__).parents[4] / "shared" / "recordings"

# Chat completions under their own and under other vendors' names.
APIS = {
    "openai.chat",
    "groq.chat",
    "openrouter.chat",
    "cerebras.chat",
    "glm4.chat",
    "siliconflow.chat",
    "modelscope.chat",
    "ollama.openai_compat",
    "gemini.openai_compat",
}
# Their errors are told in numeric business codes, which are no part of this dialect.
BUSINESS_CODES = {"glm4.chat", "siliconflow.chat"}


def listed(*, errors: bool, kinds: tuple[str, ...] = ("chat", "chat_stream", "error")) -> list[Any]:
    path = RECORDINGS / "list.json"
    if not path.exists():
        skip = pytest.mark.skip(reason=f"no recordings at {path.parent}")
        return [pytest.param({}, marks=skip, id="absent")]
    exchanges = json.loads(path.read_text(encoding="utf-8"))["exchanges"]
    return [
        pytest.param(entry, id=entry["id"])
        for entry in exchanges
        if entry["api"] in APIS
        and entry["kind"] in kinds
        and (entry["outcome"] == "error") == errors
    ]


def load(entry: dict[str, Any]) -> dict[str, Any]:
    return json.loads((RECORDINGS / entry["file"]).read_text(encoding="utf-8"))


def decode(exchange: dict[str, Any], body: bytes, cuts: list[int]) -> ModelOutput:
    dialect = OpenAiChat(exchange["provider"])
    decoder = dialect.decoder("asked")
    answer = exchange["response"]
    if answer["status"] != 200:
        raise dialect.error_from(answer["status"], answer["headers"], body, model="asked")
    if not exchange["request"]["stream"]:
        return fold(decoder.decode_whole(body))
    reader = SseReader()
    deltas: list[Delta] = []
    for start, end in itertools.pairwise([0, *cuts, len(body)]):
        for event in reader.feed(body[start:end]):
            deltas.extend(decoder.feed(event))
    decoder.close(leftover=reader.close())
    return fold(deltas)


def splits(body: bytes, seed: str) -> list[list[int]]:
    """Whole, in two random ways, and byte by byte where that is quick."""
    rng = random.Random(seed)
    ways = [[], *(sorted(rng.choices(range(len(body) + 1), k=n)) for n in (7, len(body) // 11))]
    return [*ways, list(range(1, len(body)))] if len(body) < 20_000 else ways


@pytest.mark.parametrize("entry", listed(errors=False))
def test_a_recorded_answer(entry: dict[str, Any]) -> None:
    """Text, reasoning, calls, finish and usage equal what the vendor's SDK read, at any split."""
    exchange = load(entry)
    expected = exchange["expected"]
    body = exchange["response"]["body"].encode()
    usage = expected["usage"] or {}
    for cuts in splits(body, entry["id"]):
        output = decode(exchange, body, cuts)
        assert output.message.text == (expected["text"] or "")
        assert output.message.refusal == (expected.get("refusal") or "")
        thinking = [part.text for part in output.message.parts if isinstance(part, Thinking)]
        assert "".join(thinking) == (expected["reasoning"] or "")
        assert output.finish_reason == expected["finish_reason"]
        assert output.usage.input_tokens == (usage.get("input_tokens") or 0)
        assert output.usage.output_tokens == (usage.get("output_tokens") or 0)
        assert output.usage.cached_input_tokens == (usage.get("cached_input_tokens") or 0)
        assert output.usage.reasoning_tokens == (usage.get("reasoning_tokens") or 0)
        calls = output.message.tool_calls
        assert len(calls) == len(expected["tool_calls"])
        for call, wanted in zip(calls, expected["tool_calls"], strict=True):
            assert (call.name, call.arguments) == (wanted["name"], wanted["arguments_raw"] or "{}")
            # An id that the endpoint left out is made up, so that a result can name its call.
            assert call.id == wanted["id"] or (call.id and not wanted["id"])


@pytest.mark.parametrize("entry", listed(errors=True))
def test_a_recorded_error(entry: dict[str, Any]) -> None:
    """A refusal, or a failure inside a stream, gives the category that its vendor means."""
    exchange = load(entry)
    if (
        entry["api"] in BUSINESS_CODES
        and "business" in exchange["expected"]["error"]["category_basis"]
    ):
        pytest.skip("numeric business codes are no part of this dialect")
    body = exchange["response"]["body"].encode()
    with pytest.raises((ProviderError, ContextWindowExceeded)) as caught:
        decode(exchange, body, [])
    error = caught.value
    found = error.category if isinstance(error, ProviderError) else "context_length"
    assert found == exchange["expected"]["error"]["category"]


@pytest.mark.parametrize("entry", listed(errors=False, kinds=("chat_stream",)))
def test_a_recorded_stream_cut_short(entry: dict[str, Any]) -> None:
    """Cut in front of its finish chunk, no recorded stream passes for a whole one."""
    exchange = load(entry)
    body = exchange["response"]["body"].encode()
    reader = SseReader()
    decoder = OpenAiChat(exchange["provider"]).decoder("asked")
    for event in reader.feed(body[: len(body) * 6 // 10]):
        decoder.feed(event)
    if decoder.finished:
        pytest.skip("its finish chunk lies within the first six tenths")
    with pytest.raises(StreamTruncated):
        decoder.close(leftover=reader.close())
