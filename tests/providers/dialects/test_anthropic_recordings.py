"""Recorded traffic of Anthropic, decoded and compared with what the vendor's SDK made of it."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import random
from pathlib import Path
from typing import Any

import pytest

from actrio.errors import ContextWindowExceeded, ProviderError, StreamTruncated
from actrio.messages import (
    AssistantMessage,
    Document,
    Image,
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
    VendorItem,
    fold,
    user_message,
)
from actrio.providers.dialects import AnthropicMessages

RECORDINGS = Path(__file__).parents[4] / "shared" / "recordings"
DIALECT = AnthropicMessages()


def listed(*kinds: str, outcome: str, api: str = "anthropic.messages") -> list[Any]:
    path = RECORDINGS / "list.json"
    if not path.exists():
        skip = pytest.mark.skip(reason=f"no recordings at {path.parent}")
        return [pytest.param({}, marks=skip, id="absent")]
    exchanges = json.loads(path.read_text(encoding="utf-8"))["exchanges"]
    found = [
        pytest.param(entry, id=entry["id"])
        for entry in exchanges
        if (entry["api"], entry["outcome"]) == (api, outcome) and entry["kind"] in kinds
    ]
    assert found
    return found


def load(entry: dict[str, Any]) -> dict[str, Any]:
    return json.loads((RECORDINGS / entry["file"]).read_text(encoding="utf-8"))


def decode(exchange: dict[str, Any], body: bytes, cuts: list[int]) -> ModelOutput:
    told = exchange["response"]
    if told["status"] != 200:
        raise DIALECT.error_from(told["status"], told["headers"], body, model="asked")
    call = ModelInput("asked", (user_message("Hi"),), stream=exchange["request"]["stream"])
    reader = DIALECT.reader(call, told["headers"].get("content-type") or "")
    deltas = []
    for start, end in itertools.pairwise([0, *cuts, len(body)]):
        deltas.extend(reader.feed(body[start:end]))
    deltas.extend(reader.close())
    output = fold(deltas)
    return ModelOutput(
        output.message,
        output.finish_reason,
        output.usage,
        reader.model,
        reader.response_id,
        output.finish_raw,
    )


def splits(body: bytes, seed: str) -> list[list[int]]:
    """In three random ways, byte by byte, and at single positions, as far as that is quick."""
    rng, size = random.Random(seed), len(body)
    ways = [sorted(rng.choices(range(size + 1), k=n)) for n in (1, 7, size // 11)]
    if size < 20_000:
        ways.append(list(range(1, size)))
        ways.extend([cut] for cut in range(1, size, 1 if size < 4_000 else 7 * (size // 4_000)))
    return ways


@pytest.mark.parametrize("entry", listed("chat", "chat_stream", outcome="ok"))
def test_a_recorded_answer(entry: dict[str, Any]) -> None:
    """Everything the vendor's SDK read is read, the same at any split."""
    exchange = load(entry)
    body = exchange["response"]["body"].encode()
    output = decode(exchange, body, [])
    compare(output, exchange["expected"])
    for cuts in splits(body, entry["id"]):
        assert decode(exchange, body, cuts) == output


def compare(output: ModelOutput, expected: dict[str, Any]) -> None:
    parts, usage = output.message.parts, expected["usage"]
    thinking = [part for part in parts if isinstance(part, Thinking)]
    items = [part.kind for part in parts if isinstance(part, VendorItem)]
    assert output.message.text == (expected["text"] or "")
    assert output.message.refusal == (expected["refusal"] or "")
    assert "".join(part.text for part in thinking) == (expected["reasoning"] or "")
    assert [fingerprint(part.signature) for part in thinking if part.signature] == (
        expected["thought_signatures_sha256_16"]
    )
    assert items.count("redacted_thinking") == expected["redacted_thinking_blocks"]
    assert [kind for kind in items if kind != "redacted_thinking"] == expected["server_items"]
    assert (
        sum(len(part.citations) for part in parts if isinstance(part, Text))
        == (expected["citations"])
    )
    assert [(c.id, c.name, json.loads(c.arguments)) for c in output.message.tool_calls] == [
        (call["id"], call["name"], call["arguments"]) for call in expected["tool_calls"]
    ]
    assert output.finish_reason == expected["finish_reason"]
    assert output.finish_raw == expected["finish_reason_raw"]
    assert (output.model, output.request_id) == (expected["model"], expected["response_id"])
    assert output.usage.input_tokens == usage["input_tokens"]
    assert output.usage.output_tokens == usage["output_tokens"]
    assert output.usage.total_tokens == usage["total_tokens"]
    assert output.usage.cached_input_tokens == (usage["cached_input_tokens"] or 0)
    assert output.usage.reasoning_tokens == (usage["reasoning_tokens"] or 0)


def fingerprint(signature: str | None) -> str:
    return hashlib.sha256((signature or "").encode()).hexdigest()[:16]


@pytest.mark.parametrize(
    "entry",
    [
        *listed("error", "chat_stream", outcome="error"),
        *listed("error", outcome="error", api="anthropic.models"),
    ],
)
def test_a_recorded_error(entry: dict[str, Any]) -> None:
    """A refusal, or a failure inside a stream, gives the category that its vendor means."""
    exchange = load(entry)
    expected = exchange["expected"]["error"]
    body = exchange["response"]["body"].encode()
    with pytest.raises((ProviderError, ContextWindowExceeded)) as caught:
        decode(exchange, body, [])
    error = caught.value
    if isinstance(error, ContextWindowExceeded):
        assert expected["category"] == "context_length"
        assert error.data["status"] == expected["http_status"]
    else:
        assert error.category == expected["category"]
        assert error.in_stream == expected["in_stream"]
        assert error.status == (None if error.in_stream else expected["http_status"])
        assert error.retry_after_seconds == expected["retry_after_s"]
    assert expected["message"].rstrip(".") in error.message


@pytest.mark.parametrize("entry", listed("chat_stream", outcome="ok"))
def test_a_recorded_stream_cut_short(entry: dict[str, Any]) -> None:
    """Cut at six tenths, no recorded stream passes for a whole one."""
    exchange = load(entry)
    body = exchange["response"]["body"].encode()
    with pytest.raises(StreamTruncated):
        decode(exchange, body[: len(body) * 6 // 10], [])


@pytest.mark.parametrize("entry", listed("models", outcome="ok", api="anthropic.models"))
def test_a_recorded_list_of_models(entry: dict[str, Any]) -> None:
    """All ids are read, in their order."""
    exchange = load(entry)
    ids = DIALECT.model_ids(exchange["response"]["body"].encode())
    assert ids == exchange["expected"]["models"]["ids"]


@pytest.mark.parametrize(
    "entry",
    [
        *listed("chat", "chat_stream", outcome="ok"),
        *listed("error", "chat_stream", outcome="error"),
    ],
)
def test_a_recorded_request(entry: dict[str, Any]) -> None:
    """The call that a recorded body amounts to is sent as that body, as far as it can be said."""
    body = load(entry)["request"]["body"]
    sent = json.loads(DIALECT.request(call_of(body)).body)
    assert sayable(sent) == sayable(body)


def call_of(body: dict[str, Any]) -> ModelInput:
    """Return the model call that a recorded request body amounts to."""
    vendor = {
        name: body[name] for name in ("cache_control", "output_format", "metadata") if name in body
    }
    if server_tools := [tool for tool in body.get("tools") or [] if "type" in tool]:
        vendor["tools"] = server_tools
    choice, thinking = body.get("tool_choice"), body.get("thinking") or {}
    simple = {"any": "required", "none": "none", "auto": "auto"}
    if choice and (len(choice) > 1 or choice["type"] not in simple):
        vendor["tool_choice"], choice = choice, None
    if thinking.get("type") == "adaptive":  # without an effort, which our value always tells
        vendor["thinking"] = thinking
    config = body.get("output_config") or {}
    if "effort" in config:
        vendor["output_config"] = {"effort": config["effort"]}
    options = ModelOptions(
        temperature=body.get("temperature"),
        max_tokens=body["max_tokens"],
        stop=tuple(body.get("stop_sequences") or ()),
        tool_choice=simple[choice["type"]] if choice else "auto",
        response_schema=config["format"]["schema"] if "format" in config else None,
        reasoning_tokens=thinking.get("budget_tokens"),
        cache_prompt="cache_control" in json.dumps(body),
        vendor=vendor,
    )
    return ModelInput(
        body["model"],
        tuple(message for told in body["messages"] for message in messages_of(told)),
        "".join(block["text"] for block in as_blocks(body.get("system") or [])),
        tuple(tool_of(tool) for tool in body.get("tools") or [] if "type" not in tool),
        options,
        stream=body.get("stream") or False,
    )


def tool_of(tool: dict[str, Any]) -> ToolSpec:
    return ToolSpec(tool["name"], tool["description"], tool["input_schema"])


def as_blocks(content: str | list[Any]) -> list[Any]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def text_of(content: str | list[Any]) -> str:
    """Return the text of a tool's result; ours has nothing else."""
    return "".join(part["text"] for part in as_blocks(content) if part["type"] == "text")


def messages_of(message: dict[str, Any]) -> list[Any]:
    blocks = as_blocks(message["content"])
    if message["role"] == "assistant":
        return [AssistantMessage(tuple(said_part(block) for block in blocks))]
    results = tuple(
        ToolResult(
            block["tool_use_id"],
            "",
            text_of(block["content"]),
            "error" if block.get("is_error") else "success",
        )
        for block in blocks
        if block["type"] == "tool_result"
    )
    parts = tuple(asked_part(block) for block in blocks if is_sayable(block))
    return [*([ToolMessage(results)] if results else []), *([UserMessage(parts)] if parts else [])]


def is_sayable(block: dict[str, Any]) -> bool:
    """Whether a user's message can hold it: files kept at the vendor are no value of ours."""
    source = block.get("source") or {}
    return block["type"] in {"text", "image", "document"} and source.get("type") != "file"


def said_part(block: dict[str, Any]) -> Any:
    match block["type"]:
        case "text":
            return Text(block["text"])
        case "thinking":
            return Thinking(block["thinking"], block["signature"])
        case "tool_use":
            return ToolCall(block["id"], block["name"], json.dumps(block["input"]))
        case kind:
            return VendorItem("anthropic", kind, json.dumps(block))


def asked_part(block: dict[str, Any]) -> Any:
    if block["type"] == "text":
        return Text(block["text"])
    source, title = block["source"], block.get("title")
    match block["type"], source["type"]:
        case "image", "url":
            return Image(url=source["url"])
        case "image", "base64":
            return Image(source["media_type"], bytes_of(source["data"]))
        case "document", "url":
            return Document(name=title, url=source["url"])
        case "document", "base64":
            return Document(source["media_type"], title, bytes_of(source["data"]))
    return Document(source["media_type"], title, source["data"].encode())


def bytes_of(data: str) -> bytes:
    # Long pictures are replaced by a note in the recordings.
    return data.encode() if data.startswith("<elided") else base64.b64decode(data)


def sayable(body: dict[str, Any]) -> dict[str, Any]:
    """Return what of a request body our values can say, in one spelling.

    Left out are: where cache marks stand, switches of single tools, ``is_error`` where it is false,
    citations wished for a document, pictures in a tool's result, and blocks that are no value of
    ours.
    """
    plain = unmarked(body)
    plain["messages"] = joined(plain["messages"])
    plain["system"] = "".join(block["text"] for block in as_blocks(plain.get("system") or []))
    for tool in plain.get("tools") or []:
        if "type" not in tool:
            for switch in ("strict", "defer_loading"):
                tool.pop(switch, None)
            tool["input_schema"].setdefault("type", "object")
    plain["tools"] = sorted(plain.get("tools") or [], key=lambda tool: tool["name"])
    if plain.get("tool_choice") == {"type": "auto"}:
        del plain["tool_choice"]
    plain["stream"] = plain.get("stream") or False
    return plain


def unmarked(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: unmarked(item) for name, item in value.items() if name != "cache_control"}
    return [unmarked(item) for item in value] if isinstance(value, list) else value


def joined(messages: list[Any]) -> list[Any]:
    """Return the messages with neighbours of one role joined, results first, as blocks."""
    whole: list[Any] = []
    for message in messages:
        blocks = [spelled(block) for block in as_blocks(message["content"])]
        blocks = [block for block in blocks if message["role"] == "assistant" or keeps(block)]
        if whole and whole[-1]["role"] == message["role"]:
            whole[-1]["content"].extend(blocks)
        else:
            whole.append({"role": message["role"], "content": blocks})
    return whole


def keeps(block: dict[str, Any]) -> bool:
    return block["type"] == "tool_result" or is_sayable(block)


def spelled(block: dict[str, Any]) -> dict[str, Any]:
    if block["type"] == "tool_result":
        block["content"] = text_of(block["content"])
        if not block.get("is_error"):
            block.pop("is_error", None)
    if block["type"] == "document":
        block.pop("citations", None)
    source = block.get("source") or {}
    if source.get("type") == "base64":
        source["data"] = base64.b64encode(bytes_of(source["data"])).decode()
    return block
