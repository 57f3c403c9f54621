"""Recorded traffic of responses APIs, decoded and compared with what OpenAI's SDK made of it."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from actrio.errors import ContextWindowExceeded, ProviderError, StreamTruncated
from actrio.messages import (
    AssistantMessage,
    Delta,
    Document,
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
    VendorItem,
    fold,
)
from actrio.providers.dialects import OpenAiResponses

RECORDINGS = Path(__file__).parents[4] / "shared" / "recordings"
APIS = {"openai.responses", "openrouter.responses"}
DIALECTS = {
    "openai": OpenAiResponses("openai"),
    "openrouter": OpenAiResponses("openrouter", host="openrouter"),
}


def listed(*kinds: str, outcome: str) -> list[Any]:
    path = RECORDINGS / "list.json"
    if not path.exists():
        skip = pytest.mark.skip(reason=f"no recordings at {path.parent}")
        return [pytest.param({}, marks=skip, id="absent")]
    return [
        pytest.param(entry, id=entry["id"])
        for entry in json.loads(path.read_text(encoding="utf-8"))["exchanges"]
        if entry["api"] in APIS and entry["kind"] in kinds and entry["outcome"] == outcome
    ]


def load(entry: dict[str, Any]) -> dict[str, Any]:
    return json.loads((RECORDINGS / entry["file"]).read_text(encoding="utf-8"))


def read(exchange: dict[str, Any], pieces: Iterable[bytes]) -> tuple[list[Delta], str]:
    call = ModelInput("asked", (), stream=exchange["request"]["stream"])
    kind = exchange["response"]["headers"].get("content-type", "")
    reader = DIALECTS[exchange["provider"]].reader(call, kind)
    deltas = [delta for piece in pieces for delta in reader.feed(piece)]
    return deltas + reader.close(), reader.response_id


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
    message, usage = output.message, expected["usage"]
    assert message.text == (expected["text"] or "")
    assert message.refusal == (expected["refusal"] or "")
    thoughts = [part.text for part in message.parts if isinstance(part, Thinking)]
    assert "".join(thoughts) == (expected["reasoning"] or "")
    assert output.finish_reason == expected["finish_reason"]
    assert output.finish_raw == expected["finish_reason_raw"]
    found = output.usage
    assert found.input_tokens == (usage["input_tokens"] or 0)
    assert found.output_tokens == (usage["output_tokens"] or 0)
    assert found.total_tokens == (usage["total_tokens"] or 0)
    assert found.cached_input_tokens == (usage["cached_input_tokens"] or 0)
    assert found.reasoning_tokens == (usage["reasoning_tokens"] or 0)
    wanted = [(c["id"], c["name"], c["arguments_raw"]) for c in expected["tool_calls"]]
    assert [(call.id, call.name, call.arguments) for call in message.tool_calls] == wanted
    check_items(message, expected)


def check_items(message: AssistantMessage, expected: dict[str, Any]) -> None:
    items = [part for part in message.parts if isinstance(part, VendorItem)]
    kinds = [
        item.kind for item in items if item.kind not in {"reasoning", "message_phase", "item_place"}
    ]
    assert kinds == expected["server_items"]
    encrypted = [item for item in items if json.loads(item.data).get("encrypted_content")]
    assert len(encrypted) == expected["encrypted_reasoning_items"]
    citations = [
        note for part in message.parts if isinstance(part, Text) for note in part.citations
    ]
    assert len(citations) == expected["citations"]


@pytest.mark.parametrize("entry", listed("chat", "chat_stream", outcome="ok"))
def test_a_recorded_answer(entry: dict[str, Any]) -> None:
    """Text, reasoning, calls, items, finish and usage equal what the SDK read, at any split."""
    exchange = load(entry)
    body = exchange["response"]["body"].encode()
    deltas, response_id = read(exchange, [body])
    whole = fold(deltas)
    check(whole, exchange["expected"])
    assert response_id == exchange["expected"]["response_id"]
    for cuts in splits(body, entry["id"]):
        assert fold(read(exchange, pieces_of(body, cuts))[0]) == whole


@pytest.mark.parametrize("entry", listed("error", "chat_stream", outcome="error"))
def test_a_recorded_error(entry: dict[str, Any]) -> None:
    """A refusal, or a failure inside a stream, gives the category that its vendor means."""
    exchange = load(entry)
    answer, wanted = exchange["response"], exchange["expected"]["error"]
    body = answer["body"].encode()
    dialect = DIALECTS[exchange["provider"]]
    with pytest.raises((ProviderError, ContextWindowExceeded)) as caught:
        if answer["status"] != 200:
            raise dialect.error_from(answer["status"], answer["headers"], body, model="asked")
        read(exchange, [body])
    error = caught.value
    assert isinstance(error, ProviderError)
    assert (error.category, error.in_stream) == (wanted["category"], wanted["in_stream"])
    assert error.status == wanted.get("effective_status")


@pytest.mark.parametrize("entry", listed("chat_stream", outcome="ok"))
def test_a_recorded_stream_cut_short(entry: dict[str, Any]) -> None:
    """Cut at six tenths, no recorded stream passes for a whole one."""
    exchange = load(entry)
    body = exchange["response"]["body"].encode()
    with pytest.raises(StreamTruncated):
        read(exchange, [body[: len(body) * 6 // 10]])


@pytest.mark.parametrize("entry", listed("chat", "chat_stream", outcome="ok"))
def test_a_recorded_answer_goes_back_item_by_item(entry: dict[str, Any]) -> None:
    """What came out of an answer goes back as the items that its last event lists, in order."""
    exchange = load(entry)
    body = exchange["response"]["body"]
    output = fold(read(exchange, [body.encode()])[0])
    dialect = DIALECTS[exchange["provider"]]
    sent = json.loads(dialect.request(ModelInput("gpt-5", (output.message,))).body)["input"]
    if exchange["request"]["stream"]:
        events = [json.loads(line[6:]) for line in body.splitlines() if line.startswith("data: {")]
        listed_items = events[-1]["response"]["output"]
    else:
        listed_items = json.loads(body)["output"]
    kept = [item for item in listed_items if can_go_back(item)]
    if all(item["type"] == "reasoning" for item in kept):
        kept.clear()  # reasoning that nothing follows would be refused
    assert [seen_item(item) for item in sent] == [seen_item(item) for item in kept]


def can_go_back(item: dict[str, Any]) -> bool:
    return item["type"] != "reasoning" or bool(item.get("encrypted_content") or item.get("content"))


def parts_of(content: Any) -> tuple[Text | Image | Document, ...]:
    if isinstance(content, str):
        return (Text(content),)
    parts: list[Text | Image | Document] = []
    for part in content:
        match part["type"]:
            case "input_text":
                parts.append(Text(part["text"]))
            case "input_image":
                parts.append(Image(url=part["image_url"]))
            case "input_file":
                parts.append(Document(url=part["file_url"]))
    return tuple(parts)


def own_parts(item: dict[str, Any], vendor: str) -> list[Any]:
    match item.get("type", "message"):
        case "message":
            return [Text(part["text"]) for part in item["content"]]
        case "function_call":
            return [ToolCall(item["call_id"], item["name"], item["arguments"])]
        case kind:
            return [VendorItem(vendor, kind, json.dumps(item))]


def messages_of(items: list[dict[str, Any]], vendor: str) -> tuple[Message, ...]:
    messages: list[Message] = []
    for item in items:
        if item.get("role") == "user":
            messages.append(UserMessage(parts_of(item["content"])))
        elif item.get("type") == "function_call_output":
            messages.append(ToolMessage((ToolResult(item["call_id"], "", item["output"]),)))
        else:
            before = messages.pop().parts if messages and messages[-1].role == "assistant" else ()
            messages.append(AssistantMessage((*before, *own_parts(item, vendor))))
    return tuple(messages)


def is_system(item: dict[str, Any]) -> bool:
    return item.get("role") in {"system", "developer"}


def call_of(exchange: dict[str, Any]) -> ModelInput:
    body = exchange["request"]["body"]
    items = [item for item in body["input"] if not is_system(item)]
    instructions = [body["instructions"]] if body.get("instructions") else []
    instructions += [seen_text(item["content"]) for item in body["input"] if is_system(item)]
    tools = body.get("tools") or []
    format_ = (body.get("text") or {}).get("format", {})
    vendor: dict[str, Any] = {}
    if served := [tool for tool in tools if tool["type"] != "function"]:
        vendor["tools"] = served
    for name in ("prompt_cache_key", "prompt_cache_options", "provider"):
        if body.get(name):
            vendor[name] = body[name]
    if format_ and "schema" not in format_:
        vendor["text"] = body["text"]
    reasoning = dict(body.get("reasoning") or {})
    effort = reasoning.pop("effort", None)
    if effort == "minimal":
        effort = "off"
    if reasoning:
        vendor["reasoning"] = reasoning
    return ModelInput(
        body["model"],
        messages_of(items, f"{exchange['provider']}.responses"),
        instructions="\n".join(instructions),
        tools=tuple(
            ToolSpec(tool["name"], tool["description"], tool["parameters"])
            for tool in tools
            if tool["type"] == "function"
        ),
        options=ModelOptions(
            temperature=body.get("temperature"),
            max_tokens=body.get("max_output_tokens"),
            response_schema=format_.get("schema"),
            reasoning=effort,
            vendor=vendor,
        ),
        stream=exchange["request"]["stream"],
    )


def seen_text(content: Any) -> str:
    return content if isinstance(content, str) else "".join(part["text"] for part in content)


def seen_item(item: dict[str, Any]) -> Any:
    """An item without what means the same when it is left out."""
    if item.get("role") == "assistant":
        said = [part.get("text", part.get("refusal")) for part in item["content"]]
        return ("assistant", said, item.get("phase"))
    match item.get("type", "message"):
        case "message" if isinstance(item["content"], str):
            return ("user", [{"type": "input_text", "text": item["content"]}])
        case "message":
            keep = ("type", "text", "image_url", "file_url")
            return ("user", [{n: part[n] for n in keep if n in part} for part in item["content"]])
        case "function_call":
            return (item["call_id"], item["name"], item["arguments"])
        case "function_call_output":
            return (item["call_id"], item["output"])
        case "reasoning":
            # The last event of a stream has it encrypted anew, and OpenRouter makes up another id.
            told = str(item.get("id"))
            new = {"encrypted_content": bool(item.get("encrypted_content")), "id": told[:6]}
            return {**item, **new}
        case _:
            return item


def seen_by_the_vendor(body: dict[str, Any]) -> dict[str, Any]:
    told = [body["instructions"]] if body.get("instructions") else []
    told += [seen_text(item["content"]) for item in body["input"] if is_system(item)]
    format_ = dict((body.get("text") or {}).get("format") or {})
    for ignored in ("name", "strict"):
        format_.pop(ignored, None)
    return {
        "items": [seen_item(item) for item in body["input"] if not is_system(item)],
        "told": told,
        # Strictness is ours to choose: each client here chose another one for the same schema.
        "tools": sorted(
            json.dumps({**tool, "strict": None}, sort_keys=True) for tool in body.get("tools") or ()
        ),
        "format": format_,
        "model": body["model"],
        "stream": bool(body.get("stream")),
        **{
            name: body[name]
            for name in (
                "reasoning",
                "temperature",
                "max_output_tokens",
                "prompt_cache_key",
                "prompt_cache_options",
                "provider",
            )
            if body.get(name) is not None
        },
    }


@pytest.mark.parametrize("entry", listed("chat", "chat_stream", outcome="ok"))
def test_a_recorded_request_is_rebuilt(entry: dict[str, Any]) -> None:
    """From our own value of it, the vendor sees the same call as from the recorded client."""
    exchange = load(entry)
    body = exchange["request"]["body"]
    if isinstance(body["input"], str):
        body["input"] = [{"role": "user", "content": body["input"]}]
    wire = DIALECTS[exchange["provider"]].request(call_of(exchange))
    ours = json.loads(wire.body)
    assert exchange["request"]["url"].endswith(wire.path)
    assert seen_by_the_vendor(ours) == seen_by_the_vendor(body)
    assert ours["store"] is False
    # Only models that reason take it; every recorded client that asked for it was served.
    if "reasoning.encrypted_content" in (body.get("include") or ()):
        assert ours["include"] == ["reasoning.encrypted_content"]
    if body["model"].startswith("gpt-4"):
        assert "include" not in ours
