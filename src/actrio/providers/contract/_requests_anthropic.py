"""Recorded Anthropic messages requests as our own request values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from actrio.messages import (
    AssistantMessage,
    Document,
    Image,
    Message,
    ModelInput,
    ModelOptions,
    Text,
    Thinking,
    ToolCall,
    ToolMessage,
    ToolResult,
    UserMessage,
    VendorItem,
)
from actrio.providers.contract._recorded import (
    as_text,
    count_of,
    file_of,
    joined_messages,
    json_text,
    mapping,
    number_of,
    objects,
    rest_of,
    spec_of,
    text_of,
)

__all__ = ["read_anthropic"]

_KNOWN: Final = (
    "model", "messages", "system", "tools", "stream", "temperature", "top_p", "max_tokens",
    "stop_sequences",
)  # fmt: skip

_CHOICES: Final[Mapping[str, Any]] = {"any": "required", "none": "none", "auto": "auto"}


def read_anthropic(body: Mapping[str, Any], *, stream: bool) -> ModelInput:
    """Return a messages request as a call."""
    tools = objects(body.get("tools"))
    vendor = rest_of(body, _KNOWN)
    if served := [tool for tool in tools if "input_schema" not in tool]:
        vendor["tools"] = served
    choice = mapping(vendor.get("tool_choice"))
    plain_choice = choice.keys() == {"type"} and as_text(choice["type"]) in _CHOICES
    if plain_choice:
        del vendor["tool_choice"]
    options = ModelOptions(
        temperature=number_of(body.get("temperature")),
        top_p=number_of(body.get("top_p")),
        max_tokens=count_of(body.get("max_tokens")),
        stop=tuple(body.get("stop_sequences") or ()),
        tool_choice=_CHOICES[choice["type"]] if plain_choice else "auto",
        response_schema=_schema(vendor),
        cache_prompt="cache_control" in json_text(body.get("messages")),
        vendor=vendor,
    )
    return ModelInput(
        as_text(body.get("model")),
        joined_messages(
            message for told in objects(body.get("messages")) for message in _messages(told)
        ),
        instructions=text_of(body.get("system")),
        tools=tuple(spec_of(tool, "input_schema") for tool in tools if "input_schema" in tool),
        options=options,
        stream=stream,
    )


def _schema(vendor: dict[str, Any]) -> Mapping[str, Any] | None:
    config = mapping(vendor.get("output_config"))
    schema = mapping(config.get("format")).get("schema")
    if not isinstance(schema, dict):
        return None
    vendor["output_config"] = {name: one for name, one in config.items() if name != "format"}
    return schema


def _messages(told: dict[str, Any]) -> Iterator[Message]:
    content = told.get("content")
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else objects(content)
    if told.get("role") == "assistant":
        yield AssistantMessage(tuple(_said_part(block) for block in blocks))
        return
    results = [_result(block) for block in blocks if block.get("type") == "tool_result"]
    parts = [part for block in blocks if (part := _asked_part(block)) is not None]
    if results:
        yield ToolMessage(tuple(results))
    if parts or not results:
        yield UserMessage(tuple(parts))


def _result(block: dict[str, Any]) -> ToolResult:
    state: Any = "error" if block.get("is_error") else "success"
    return ToolResult(as_text(block.get("tool_use_id")), "", text_of(block.get("content")), state)


def _said_part(block: dict[str, Any]) -> Any:
    match block.get("type"):
        case "text":
            return Text(as_text(block.get("text")))
        case "thinking":
            return Thinking(as_text(block.get("thinking")), as_text(block.get("signature")))
        case "tool_use":
            name, given = as_text(block.get("name")), block.get("input")
            return ToolCall(as_text(block.get("id")), name, json_text(given))
        case kind:
            return VendorItem("anthropic", as_text(kind), json_text(block))


def _asked_part(block: dict[str, Any]) -> Text | Image | Document | None:
    source, kind = mapping(block.get("source")), block.get("type")
    if kind == "text":
        return Text(as_text(block.get("text")))
    if kind not in {"image", "document"}:
        return None
    title = as_text(block.get("title")) or None
    match source.get("type"):
        case "url":
            url = as_text(source.get("url"))
            return Image(url=url) if kind == "image" else Document(name=title, url=url)
        case "base64":
            part = file_of(source.get("media_type"), source.get("data"))
            return Document(part.media_type, title, part.data) if kind == "document" else part
        case "text":
            media_type = as_text(source.get("media_type"))
            return Document(media_type, title, as_text(source.get("data")).encode())
    return None
