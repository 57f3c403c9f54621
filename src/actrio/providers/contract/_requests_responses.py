"""Recorded requests of OpenAI's responses interface as our own request values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from actrio.messages import (
    AssistantMessage,
    Document,
    Image,
    Message,
    ModelInput,
    ModelOptions,
    Text,
    ToolCall,
    ToolMessage,
    ToolResult,
    VendorItem,
)
from actrio.providers.contract._recorded import (
    as_text,
    count_of,
    data_uri,
    joined_messages,
    json_text,
    mapping,
    number_of,
    objects,
    rest_of,
    spec_of,
    text_of,
    user,
)

__all__ = ["read_responses"]

_KNOWN: Final = (
    "model", "input", "instructions", "tools", "stream", "temperature", "top_p",
    "max_output_tokens", "store", "include",
)  # fmt: skip

_SYSTEM: Final = {"system", "developer"}
_CHOICES: Final = {"auto", "none", "required"}
_EFFORTS: Final = {"low", "medium", "high"}


def read_responses(body: Mapping[str, Any], provider: str, *, stream: bool) -> ModelInput:
    """Return a responses request as a call; other items than text and calls stay items."""
    given = body.get("input")
    items = [{"role": "user", "content": given}] if isinstance(given, str) else objects(given)
    told = [as_text(body.get("instructions"))]
    told += [text_of(item.get("content")) for item in items if as_text(item.get("role")) in _SYSTEM]
    tools = objects(body.get("tools"))
    vendor = rest_of(body, _KNOWN)
    if served := [tool for tool in tools if tool.get("type") != "function"]:
        vendor["tools"] = served
    choice: Any = as_text(vendor.get("tool_choice"))
    if choice in _CHOICES:
        del vendor["tool_choice"]
    options: Any = ModelOptions(
        temperature=number_of(body.get("temperature")),
        top_p=number_of(body.get("top_p")),
        max_tokens=count_of(body.get("max_output_tokens")),
        tool_choice=choice if choice in _CHOICES else "auto",
        response_schema=_schema(vendor),
        reasoning=_effort(vendor),
        vendor=vendor,
    )
    return ModelInput(
        as_text(body.get("model")),
        joined_messages(
            _message(item, f"{provider}.responses")
            for item in items
            if as_text(item.get("role")) not in _SYSTEM
        ),
        instructions="\n".join(text for text in told if text),
        tools=tuple(
            spec_of(tool, "parameters") for tool in tools if tool.get("type") == "function"
        ),
        options=options,
        stream=stream,
    )


def _schema(vendor: dict[str, Any]) -> Mapping[str, Any] | None:
    text = mapping(vendor.get("text"))
    schema = mapping(text.get("format")).get("schema")
    if not isinstance(schema, dict):
        return None
    vendor["text"] = {name: value for name, value in text.items() if name != "format"}
    return schema


def _effort(vendor: dict[str, Any]) -> Any:
    reasoning = mapping(vendor.get("reasoning"))
    effort = as_text(reasoning.get("effort"))
    if effort not in _EFFORTS:
        return None
    vendor["reasoning"] = {name: one for name, one in reasoning.items() if name != "effort"}
    return effort


def _message(item: dict[str, Any], vendor: str) -> Message:
    kind = item.get("type", "message")
    if item.get("role") == "user":
        content = item.get("content")
        if isinstance(content, str):
            return user([Text(content)])
        return user(_user_part(part) for part in objects(content))
    if kind == "function_call_output":
        output = item.get("output")
        text = output if isinstance(output, str) else text_of(output)
        return ToolMessage((ToolResult(as_text(item.get("call_id")), "", text),))
    if kind == "message":
        return AssistantMessage((Text(text_of(item.get("content"))),))
    if kind == "function_call":
        call_id, name = as_text(item.get("call_id")), as_text(item.get("name"))
        return AssistantMessage((ToolCall(call_id, name, as_text(item.get("arguments"))),))
    return AssistantMessage((VendorItem(vendor, as_text(kind), json_text(item)),))


def _user_part(part: dict[str, Any]) -> Text | Image | Document | None:
    match part.get("type"):
        case "input_text":
            return Text(as_text(part.get("text")))
        case "input_image" if isinstance(part.get("image_url"), str):
            return Image(url=part["image_url"])
        case "input_file" if isinstance(part.get("file_url"), str):
            return Document(url=part["file_url"])
        case "input_file":
            found = data_uri(part.get("file_data"))
            if found is not None:
                return Document(found[0], as_text(part.get("filename")) or None, found[1])
    return None
