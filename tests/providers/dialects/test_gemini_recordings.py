"""Recorded traffic of Gemini, decoded and compared with what Google's SDK made of it."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import math
import random
from pathlib import Path
from typing import Any

import pytest

from actrio.errors import ContextWindowExceeded, ProviderError, ProviderProtocolError
from actrio.messages import (
    AssistantMessage,
    EmbedInput,
    ModelInput,
    ModelOutput,
    Text,
    Thinking,
    ToolCall,
    VendorItem,
    fold,
)
from actrio.providers.dialects import Gemini

RECORDINGS = Path(__file__).parents[4] / "shared" / "recordings"
APIS = ("gemini.generate", "gemini.embed", "gemini.models")


def listed(*kinds: str, errors: bool = False) -> list[Any]:
    path = RECORDINGS / "list.json"
    if not path.exists():
        skip = pytest.mark.skip(reason=f"no recordings at {path.parent}")
        return [pytest.param({}, marks=skip, id="absent")]
    return [
        pytest.param(entry, id=entry["id"])
        for entry in json.loads(path.read_text(encoding="utf-8"))["exchanges"]
        if entry["api"] in APIS
        and entry["kind"] in kinds
        and (entry["outcome"] == "error") == errors
    ]


def load(entry: dict[str, Any]) -> dict[str, Any]:
    return json.loads((RECORDINGS / entry["file"]).read_text(encoding="utf-8"))


def decode(exchange: dict[str, Any], body: bytes, cuts: list[int]) -> ModelOutput:
    answer = exchange["response"]
    if answer["status"] != 200:
        raise Gemini().error_from(answer["status"], answer["headers"], body, model="asked")
    call = ModelInput("asked", (), stream=exchange["request"]["stream"])
    reader = Gemini().reader(call, answer["headers"].get("content-type", ""))
    deltas = []
    for start, end in itertools.pairwise([0, *cuts, len(body)]):
        deltas += reader.feed(body[start:end])
    return fold(deltas + reader.close())


def splits(body: bytes, seed: str) -> list[list[int]]:
    """In two random ways; byte by byte and in two at many positions where that is quick."""
    rng = random.Random(seed)
    size = len(body)
    ways = [sorted(rng.choices(range(size + 1), k=n)) for n in (7, size // 11)]
    if size < 20_000:
        ways.append(list(range(1, size)))
        ways += [[cut] for cut in range(1, size, 1 if size < 4000 else 7)]
    return ways


def signature_digests(message: AssistantMessage) -> list[str]:
    digests = []
    for part in message.parts:
        signature = None
        if isinstance(part, VendorItem):
            signature = json.loads(part.data).get("thoughtSignature")
        elif isinstance(part, (Text, Thinking, ToolCall)):
            signature = part.signature
        if signature:
            raw = base64.urlsafe_b64decode(signature.replace("+", "-").replace("/", "_") + "==")
            digests.append(hashlib.sha256(raw).hexdigest()[:16])
    return digests


@pytest.mark.parametrize("entry", listed("chat", "chat_stream"))
def test_a_recorded_answer(entry: dict[str, Any]) -> None:
    """Text, thoughts, calls, finish, usage and signatures equal what the SDK read."""
    exchange = load(entry)
    expected = exchange["expected"]
    output = decode(exchange, exchange["response"]["body"].encode(), [])
    message, usage = output.message, expected["usage"] or {}
    assert message.text == (expected["text"] or "")
    assert message.refusal == (expected["refusal"] or "")
    thoughts = [part.text for part in message.parts if isinstance(part, Thinking)]
    assert "".join(thoughts) == (expected["reasoning"] or "")
    assert output.finish_reason == expected["finish_reason"]
    assert output.finish_raw == expected["finish_reason_raw"]
    assert output.usage.input_tokens == (usage.get("input_tokens") or 0)
    assert output.usage.output_tokens == (usage.get("output_tokens") or 0)
    assert output.usage.cached_input_tokens == (usage.get("cached_input_tokens") or 0)
    assert output.usage.reasoning_tokens == (usage.get("reasoning_tokens") or 0)
    calls = message.tool_calls
    assert len(calls) == len(expected["tool_calls"])
    for call, wanted in zip(calls, expected["tool_calls"], strict=True):
        assert (call.name, json.loads(call.arguments)) == (wanted["name"], wanted["arguments"])
        assert call.id == wanted["id"] or (call.id and not wanted["id"])
    assert len({call.id for call in calls}) == len(calls)
    if "REDACTED" not in exchange["response"]["body"]:
        assert signature_digests(message) == expected.get("thought_signatures_sha256_16", [])
    cited = any(part.citations for part in message.parts if isinstance(part, Text))
    assert cited == bool(expected.get("grounded"))


@pytest.mark.parametrize("entry", listed("chat", "chat_stream"))
def test_no_split_changes_a_recorded_answer(entry: dict[str, Any]) -> None:
    """However the bytes are cut, the whole output is the same."""
    exchange = load(entry)
    body = exchange["response"]["body"].encode()
    output = decode(exchange, body, [])
    for cuts in splits(body, entry["id"]):
        assert decode(exchange, body, cuts) == output


@pytest.mark.parametrize("entry", listed("chat_stream"))
def test_a_recorded_stream_cut_short(entry: dict[str, Any]) -> None:
    """Cut at six tenths, no recorded stream passes for a whole one."""
    exchange = load(entry)
    body = exchange["response"]["body"].encode()
    with pytest.raises(ProviderProtocolError):
        decode(exchange, body[: len(body) * 6 // 10], [])


@pytest.mark.parametrize(
    "entry", listed("chat", "chat_stream", "embedding", "models", "error", errors=True)
)
def test_a_recorded_error(entry: dict[str, Any]) -> None:
    """A refusal has the category, status and delay that its vendor means."""
    exchange = load(entry)
    expected = exchange["expected"]["error"]
    with pytest.raises((ProviderError, ContextWindowExceeded)) as caught:
        decode(exchange, exchange["response"]["body"].encode(), [])
    error = caught.value
    assert isinstance(error, ProviderError)
    assert error.category == expected["category"]
    assert error.status == expected["effective_status"]
    assert error.in_stream == expected["in_stream"]
    assert error.retry_after_seconds == (
        expected["retry_after_s"] or expected["retry_delay_in_body_s"]
    )
    assert expected["message"][:100].rstrip(".") in error.message


@pytest.mark.parametrize("entry", listed("embedding"))
def test_recorded_vectors(entry: dict[str, Any]) -> None:
    """Number, length, order and direction of the vectors equal what the SDK read."""
    exchange = load(entry)
    expected = exchange["expected"]["embedding"]
    call = EmbedInput("asked", ("text",) * expected["count"])
    output = Gemini().embed_output(call, exchange["response"]["body"].encode())
    usage = exchange["expected"]["usage"] or {}
    assert output.usage.input_tokens == (usage.get("promptTokenCount") or 0)
    for vector, first, length in zip(
        output.vectors, expected["first8"], expected["l2"], strict=True
    ):
        assert len(vector) == expected["dims"]
        assert math.hypot(*vector) == pytest.approx(length, rel=1e-4)
        dot = sum(a * b for a, b in zip(vector[:8], first, strict=False))
        assert dot / (math.hypot(*vector[:8]) * math.hypot(*first)) > 0.9999


@pytest.mark.parametrize("entry", listed("models"))
def test_a_recorded_list_of_models(entry: dict[str, Any]) -> None:
    """All names are found, in order."""
    exchange = load(entry)
    names = Gemini().model_names(exchange["response"]["body"].encode())
    wanted = [name.removeprefix("models/") for name in exchange["expected"]["models"]["ids"]]
    assert list(names) == wanted


# -- requests --------------------------------------------------------------------------------------


@pytest.mark.parametrize("entry", listed("chat", "chat_stream"))
def test_a_recorded_answer_goes_back_as_it_came(entry: dict[str, Any]) -> None:
    """The answer, sent as history, has the very parts that the vendor sent."""
    exchange = load(entry)
    body = exchange["response"]["body"]
    message = decode(exchange, body.encode(), []).message
    sent = json.loads(Gemini().request(ModelInput("gemini-2.5-pro", (message,))).body)
    sent_parts = [part for content in sent["contents"] for part in content["parts"]]
    lines = body.split("\r\n") if exchange["request"]["stream"] else [f"data: {body}"]
    events = [json.loads(line[6:]) for line in lines if line.startswith("data: ")]
    came = [
        part
        for event in events
        for candidate in event.get("candidates", [])[:1]
        for part in candidate.get("content", {}).get("parts", [])
    ]
    assert sent_parts == joined(came)


def joined(parts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Unsigned text beside unsigned text of the same sort is one part; nothing is none."""
    result: list[dict[str, Any]] = []
    for part in parts:
        plain = part.keys() <= {"text", "thought"}
        if plain and result and result[-1].keys() == part.keys():
            result[-1]["text"] += part["text"]
        elif not plain or part["text"]:
            result.append(dict(part))
    return result


@pytest.mark.parametrize("entry", listed("embedding"))
def test_a_recorded_embedding_request(entry: dict[str, Any]) -> None:
    """Texts, model, task and length are told where the recorded client told them."""
    exchange = load(entry)
    recorded = exchange["request"]["body"]
    requests = recorded.get("requests") or [{"model": "models/gemini-embedding-001", **recorded}]
    purpose = "query" if requests[0].get("taskType") == "RETRIEVAL_QUERY" else None
    call = EmbedInput(
        requests[0]["model"].removeprefix("models/"),
        tuple(request["content"]["parts"][0]["text"] for request in requests),
        requests[0].get("outputDimensionality"),
        purpose,
    )
    sent = Gemini().embed_request(call)
    path = (
        exchange["request"]["url"].partition("?")[0].replace("embedContent", "batchEmbedContents")
    )
    assert path.endswith(sent.path)
    for request in requests:
        request["content"].pop("role", None)
    assert json.loads(sent.body) == {"requests": requests}
