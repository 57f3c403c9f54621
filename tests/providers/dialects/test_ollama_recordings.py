"""Recorded traffic of Ollama's native API, decoded and compared with what its own SDK read."""

from __future__ import annotations

import base64
import itertools
import json
import math
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from actrio.errors import ContextWindowExceeded, ProviderError, StreamTruncated
from actrio.messages import (
    AssistantMessage,
    Delta,
    EmbedInput,
    Image,
    Message,
    ModelInput,
    ModelOptions,
    ModelOutput,
    Text,
    Thinking,
    ToolCall,
    ToolMessage,
    ToolResult,
    ToolSpec,
    UserMessage,
    fold,
)
from actrio.providers.dialects import OllamaChat

RECORDINGS = Path(__file__).parents[4] / "shared" / "recordings"
DIALECT = OllamaChat()


def listed(apis: set[str], *kinds: str, outcome: str) -> list[Any]:
    path = RECORDINGS / "list.json"
    if not path.exists():
        skip = pytest.mark.skip(reason=f"no recordings at {path.parent}")
        return [pytest.param({}, marks=skip, id="absent")]
    return [
        pytest.param(entry, id=entry["id"])
        for entry in json.loads(path.read_text(encoding="utf-8"))["exchanges"]
        if entry["api"] in apis and entry["kind"] in kinds and entry["outcome"] == outcome
    ]


CHAT = {"ollama.chat", "ollama.generate"}
EMBED = {"ollama.embed", "ollama.embeddings_legacy"}


def load(entry: dict[str, Any]) -> dict[str, Any]:
    return json.loads((RECORDINGS / entry["file"]).read_text(encoding="utf-8"))


def deltas_of(exchange: dict[str, Any], pieces: Iterable[bytes]) -> list[Delta]:
    call = ModelInput("asked", (), stream=exchange["request"]["stream"])
    kind = exchange["response"]["headers"].get("content-type", "")
    reader = DIALECT.reader(call, kind)
    deltas = [delta for piece in pieces for delta in reader.feed(piece)]
    return deltas + reader.close()


def pieces_of(body: bytes, cuts: list[int]) -> list[bytes]:
    return [body[start:end] for start, end in itertools.pairwise([0, *cuts, len(body)])]


def splits(body: bytes, seed: str) -> list[list[int]]:
    """Whole, at random, byte by byte where that is quick, and at single places."""
    rng = random.Random(seed)
    size = len(body)
    ways = [[], *(sorted(rng.choices(range(size + 1), k=n)) for n in (7, size // 11))]
    if size < 20_000:
        ways.append(list(range(1, size)))
        places = range(1, size, 1 if size < 4_000 else 7)
        ways += [[cut] for cut in (places if size < 4_000 else rng.sample(places, 60))]
    return ways


def check(output: ModelOutput, expected: dict[str, Any]) -> None:
    message = output.message
    usage = expected["usage"]
    assert message.text == (expected["text"] or "")
    thoughts = [part.text for part in message.parts if isinstance(part, Thinking)]
    assert "".join(thoughts) == (expected["reasoning"] or "")
    assert output.finish_reason == expected["finish_reason"]
    assert output.finish_raw == expected["finish_reason_raw"]
    assert output.usage.input_tokens == (usage["input_tokens"] or 0)
    assert output.usage.output_tokens == (usage["output_tokens"] or 0)
    wanted = [(call["name"], call["arguments"]) for call in expected["tool_calls"]]
    calls = message.tool_calls
    assert [(call.name, json.loads(call.arguments)) for call in calls] == wanted
    # The SDK drops ids; ours are the server's or made up, and always different.
    assert len({call.id for call in calls if call.id}) == len(calls)


@pytest.mark.parametrize("entry", listed(CHAT, "chat", "chat_stream", outcome="ok"))
def test_a_recorded_answer(entry: dict[str, Any]) -> None:
    """Text, thinking, calls, finish and usage equal what the SDK read, at any split."""
    exchange = load(entry)
    body = exchange["response"]["body"].encode()
    whole = fold(deltas_of(exchange, [body]))
    check(whole, exchange["expected"])
    for cuts in splits(body, entry["id"]):
        assert fold(deltas_of(exchange, pieces_of(body, cuts))) == whole


@pytest.mark.parametrize("entry", listed(CHAT, "error", "chat_stream", outcome="error"))
def test_a_recorded_error(entry: dict[str, Any]) -> None:
    """A refusal, or a failure inside a stream, gives the category that its vendor means."""
    exchange = load(entry)
    answer, wanted = exchange["response"], exchange["expected"]["error"]
    body = answer["body"].encode()
    with pytest.raises((ProviderError, ContextWindowExceeded)) as caught:
        if answer["status"] != 200:
            raise DIALECT.error_from(answer["status"], answer["headers"], body, model="asked")
        deltas_of(exchange, [body])
    error = caught.value
    assert isinstance(error, ProviderError)
    assert (error.category, error.in_stream) == (wanted["category"], wanted["in_stream"])
    assert error.status == wanted["effective_status"]


def test_what_came_before_a_recorded_failure_is_not_lost() -> None:
    """The read that ends in an error line still gives its text; the next one raises."""
    for parameter in listed(CHAT, "chat_stream", outcome="error"):
        entry = parameter.values[0]
        if not entry:
            pytest.skip("no recordings")
        exchange = load(entry)
        reader = DIALECT.reader(ModelInput("asked", ()), "application/x-ndjson")
        deltas = reader.feed(exchange["response"]["body"].encode())
        assert fold(deltas).message.text == exchange["expected"]["partial"]["text"]
        with pytest.raises(ProviderError):
            reader.close()


@pytest.mark.parametrize("entry", listed(CHAT, "chat_stream", outcome="ok"))
def test_a_recorded_stream_cut_short(entry: dict[str, Any]) -> None:
    """Cut at six tenths, no recorded stream passes for a whole one."""
    exchange = load(entry)
    body = exchange["response"]["body"].encode()
    with pytest.raises(StreamTruncated):
        deltas_of(exchange, [body[: len(body) * 6 // 10]])


@pytest.mark.parametrize("entry", listed(EMBED, "embedding", outcome="ok"))
def test_recorded_vectors(entry: dict[str, Any]) -> None:
    """Number, size, direction and length of the vectors are those that the SDK read."""
    exchange = load(entry)
    body, wanted = exchange["request"]["body"], exchange["expected"]["embedding"]
    texts = body.get("input", body.get("prompt"))
    call = EmbedInput("asked", (texts,) if isinstance(texts, str) else tuple(texts))
    output = DIALECT.embed_output(call, exchange["response"]["body"].encode())
    assert len(output.vectors) == wanted["count"]
    for vector, first8, l2 in zip(output.vectors, wanted["first8"], wanted["l2"], strict=True):
        assert len(vector) == wanted["dims"]
        assert vector[:8] == pytest.approx(first8, abs=1e-6)
        assert math.sqrt(sum(number**2 for number in vector)) == pytest.approx(l2, rel=1e-4)
    usage = exchange["expected"]["usage"] or {}
    assert output.usage.input_tokens == (usage.get("input_tokens") or 0)
    sent = json.loads(DIALECT.embed_request(call).body)
    assert sent["input"] == ([texts] if isinstance(texts, str) else texts)


@pytest.mark.parametrize("entry", listed({"ollama.tags"}, "models", outcome="ok"))
def test_recorded_models(entry: dict[str, Any]) -> None:
    """The names of a server's models are those that the SDK read."""
    exchange = load(entry)
    names = DIALECT.model_names(exchange["response"]["body"].encode())
    assert list(names[:400]) == exchange["expected"]["models"]["ids"]
    assert len(names) == exchange["expected"]["models"]["count"]


def message_of(sent: dict[str, Any]) -> Message:
    if sent["role"] == "tool":
        return ToolMessage((ToolResult("c", sent.get("tool_name", ""), sent["content"]),))
    if sent["role"] == "user":
        images = [Image(data=base64.b64decode(data)) for data in sent.get("images") or ()]
        return UserMessage((Text(sent["content"]), *images))
    parts: list[Any] = [Thinking(sent["thinking"])] if sent.get("thinking") else []
    parts += [Text(sent["content"])] if sent["content"] else []
    for number, call in enumerate(sent.get("tool_calls") or ()):
        function = call["function"]
        parts.append(ToolCall(str(number), function["name"], json.dumps(function["arguments"])))
    return AssistantMessage(tuple(parts))


def call_of(body: dict[str, Any], *, stream: bool) -> ModelInput:
    system = [sent["content"] for sent in body["messages"] if sent["role"] == "system"]
    options = dict(body.get("options") or {})
    known = {
        "temperature": options.pop("temperature", None),
        "max_tokens": options.pop("num_predict", None),
        "seed": options.pop("seed", None),
    }
    think = body.get("think")
    vendor = {"options": options} if options else {}
    return ModelInput(
        body["model"],
        tuple(message_of(sent) for sent in body["messages"] if sent["role"] != "system"),
        instructions="\n".join(system),
        tools=tuple(
            ToolSpec(
                one["function"]["name"],
                one["function"]["description"],
                one["function"]["parameters"],
            )
            for one in body.get("tools") or ()
        ),
        options=ModelOptions(
            **known,
            response_schema=body.get("format") or None,
            reasoning=None if think is None else "medium" if think else "off",
            vendor={**vendor, **{k: body[k] for k in ("keep_alive",) if body.get(k)}},
        ),
        stream=stream,
    )


def seen_by_the_vendor(body: dict[str, Any]) -> dict[str, Any]:
    """The body without what Ollama reads as absent: nulls, empty values, the default to stream."""
    seen = {name: value for name, value in body.items() if value not in (None, "", [], {})}
    seen.setdefault("stream", True)
    messages = []
    for sent in body["messages"]:
        kept = {name: value for name, value in sent.items() if value not in (None, "", [])}
        calls = [{"function": call["function"]} for call in sent.get("tool_calls") or ()]
        messages.append({**kept, "tool_calls": calls} if calls else kept)
    return {**seen, "messages": messages}


@pytest.mark.parametrize("entry", listed({"ollama.chat"}, "chat", "chat_stream", outcome="ok"))
def test_a_recorded_request_is_rebuilt(entry: dict[str, Any]) -> None:
    """From our own value of it, the vendor sees the same call as from the recorded client."""
    exchange = load(entry)
    body = exchange["request"]["body"]
    wire = DIALECT.request(call_of(body, stream=exchange["request"]["stream"]))
    assert exchange["request"]["url"].endswith(wire.path)
    assert seen_by_the_vendor(json.loads(wire.body)) == seen_by_the_vendor(body)
