"""Recorded traffic of real endpoints, decoded and compared with what each vendor's SDK made of it."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from actrio.errors import ContextWindowExceeded, ProviderError, StreamTruncated
from actrio.messages import ModelInput, ModelOutput, Thinking, fold
from actrio.providers.contract import Exchange, load_exchanges
from actrio.providers.contract._apis import asked_of, dialect_of
from actrio.providers.contract._compare import differences
from actrio.providers.contract._request_diff import differing_fields
from actrio.providers.contract._result import from_models, from_vectors

RECORDINGS = Path(__file__).parents[4] / "shared" / "recordings"

# Chat completions under their own and under other vendors' names.
CHAT = {
    "openai.chat",
    "groq.chat",
    "openrouter.chat",
    "cerebras.chat",
    "glm4.chat",
    "siliconflow.chat",
    "modelscope.chat",
    "ollama.openai_compat",
    "gemini.openai_compat",
    "anthropic.openai_compat",
}
OTHERS = {
    f"{vendor}.{interface}"
    for vendor in ("openai", "groq", "openrouter", "cerebras", "glm4", "siliconflow", "modelscope")
    for interface in ("embeddings", "models")
}
LOADED = load_exchanges(RECORDINGS) if RECORDINGS.is_dir() else []


def listed(kinds: Iterable[str], outcome: str, apis: Iterable[str] = CHAT) -> list[Any]:
    if not LOADED:
        skip = pytest.mark.skip(reason=f"no recordings at {RECORDINGS}")
        return [pytest.param(None, marks=skip, id="absent")]
    return [
        pytest.param(one, id=one.id)
        for one in LOADED
        if one.api in apis and one.kind in kinds and one.expected["outcome"] == outcome
    ]


def decode(exchange: Exchange, body: bytes, cuts: list[int]) -> ModelOutput:
    dialect = dialect_of(exchange)
    if exchange.status != 200:
        raise dialect.error_from(exchange.status, exchange.headers, body, model="asked")
    call = ModelInput("asked", (), stream=exchange.stream)
    reader = dialect.reader(call, exchange.headers.get("content-type", ""))
    deltas = []
    for start, end in itertools.pairwise([0, *cuts, len(body)]):
        deltas += reader.feed(body[start:end])
    deltas += reader.close()
    return fold(deltas)


def splits(body: bytes, seed: str) -> list[list[int]]:
    """In random ways, byte by byte, and at single positions, as far as that is quick."""
    chance, size = random.Random(seed), len(body)
    ways = [sorted(chance.choices(range(size + 1), k=count)) for count in (7, size // 11)]
    if size < 20_000:
        ways.append([*range(1, size)])
    if size < 4_000:
        ways += [[place] for place in range(1, size)]
    elif size < 20_000:
        ways += [[place] for place in chance.sample(range(1, size, 7), 40)]
    return ways


@pytest.mark.parametrize("exchange", listed(("chat", "chat_stream"), "ok"))
def test_a_recorded_answer(exchange: Exchange) -> None:
    """Text, reasoning, calls, finish and usage equal what the vendor's SDK read, at any split."""
    expected = exchange.expected
    usage = expected["usage"] or {}
    output = decode(exchange, exchange.body, [])
    assert output.message.text == (expected["text"] or "")
    assert output.message.refusal == (expected.get("refusal") or "")
    thinking = [part.text for part in output.message.parts if isinstance(part, Thinking)]
    assert "".join(thinking) == (expected["reasoning"] or "")
    assert output.finish_reason == expected["finish_reason"]
    assert output.finish_raw == expected["finish_reason_raw"]
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
    for cuts in splits(exchange.body, exchange.id):
        assert decode(exchange, exchange.body, cuts) == output


@pytest.mark.parametrize(
    "exchange", listed(("chat", "chat_stream", "error"), "error", CHAT | OTHERS)
)
def test_a_recorded_error(exchange: Exchange) -> None:
    """A refusal, or a failure inside an answer, gives the category and status that are meant."""
    expected = exchange.expected["error"]
    with pytest.raises((ProviderError, ContextWindowExceeded)) as caught:
        decode(exchange, exchange.body, [])
    error = caught.value
    if isinstance(error, ContextWindowExceeded):
        assert expected["category"] == "context_length"
        assert error.data["status"] == expected["effective_status"]
        return
    assert (error.category, error.in_stream) == (expected["category"], expected["in_stream"])
    assert error.status == expected["effective_status"]
    if expected["retry_after_s"] is not None:
        assert error.retry_after_seconds == pytest.approx(expected["retry_after_s"], abs=0.5)


@pytest.mark.parametrize("exchange", listed(("chat_stream",), "ok"))
def test_a_recorded_stream_cut_short(exchange: Exchange) -> None:
    """Cut at six tenths, no recorded stream passes for a whole one, unless its end has come."""
    body = exchange.body[: len(exchange.body) * 6 // 10]
    try:
        output = decode(exchange, body, [])
    except StreamTruncated:
        return
    raw = f'"finish_reason":"{exchange.expected["finish_reason_raw"]}"'.encode()
    assert raw in body.replace(b": ", b":")
    assert output.message.text == (exchange.expected["text"] or "")


@pytest.mark.parametrize("exchange", listed(("embedding",), "ok", OTHERS))
def test_recorded_vectors(exchange: Exchange) -> None:
    """Number, length and direction of the vectors are as the vendor's SDK reads them."""
    output = dialect_of(exchange).embed_output(asked_of(exchange).call, exchange.body)
    assert differences(exchange, from_vectors(exchange.id, output)) == []


@pytest.mark.parametrize("exchange", listed(("models",), "ok", OTHERS))
def test_recorded_models(exchange: Exchange) -> None:
    """All ids are read, in their order."""
    names = dialect_of(exchange).model_names(exchange.body)
    assert differences(exchange, from_models(exchange.id, names)) == []


# What a recorded client said that our values do not, or say otherwise; see deviations.md.
OURS_TO_CHOOSE = {
    "tools[].function.strict (only recorded)",
    "tools[].cache_control (only recorded)",
    "stream_options (only ours)",
    "max_tokens (only recorded)",
    "max_tokens (only ours)",
    "max_completion_tokens (only recorded)",
    "max_completion_tokens (only ours)",
    "messages[].name (only recorded)",
    "messages[].reasoning_content (only recorded)",
    "response_format.json_schema.name",
    "response_format.json_schema.description (only recorded)",
    "thinking (only ours)",
}


@pytest.mark.parametrize("exchange", listed(("chat", "chat_stream"), "ok"))
def test_a_recorded_request_is_built_again(exchange: Exchange) -> None:
    """Messages, tools and options: what we send for the same conversation says the same."""
    asked = asked_of(exchange)
    if exchange.asked is None or not asked.family:
        pytest.skip("no request was recorded")
    if "input_audio" in json.dumps(exchange.asked):
        pytest.skip("sound is no value of ours")
    wire = dialect_of(exchange).request(asked.call)
    fields = differing_fields(asked.family, exchange.asked, json.loads(wire.body))
    assert set(fields) <= OURS_TO_CHOOSE
