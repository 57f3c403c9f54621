"""Recorded chat completion requests as our own request values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from actrio.messages import (
    AssistantMessage,
    Document,
    EmbedInput,
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

__all__ = ["read_chat", "read_embeddings"]

_KNOWN: Final = (
    "model", "messages", "tools", "stream", "stream_options", "temperature", "top_p",
    "max_tokens", "max_completion_tokens", "stop", "seed",
)  # fmt: skip

_SYSTEM: Final = {"system", "developer"}
_CHOICES: Final = {"auto", "none", "required"}
_EFFORTS: Final = {"low", "medium", "high"}


def read_chat(body: Mapping[str, Any], *, stream: bool) -> ModelInput:
    """Return a chat completion request as a call."""
    told = objects(body.get("messages"))
    tools = objects(body.get("tools"))
    vendor = rest_of(body, _KNOWN)
    if any(tool.get("type", "function") != "function" for tool in tools):
        vendor["tools"], tools = tools, []
    limit = body.get("max_tokens") or body.get("max_completion_tokens")
    stop = body.get("stop")
    choice: Any = as_text(vendor.get("tool_choice"))
    if choice in _CHOICES:
        del vendor["tool_choice"]
    options: Any = ModelOptions(
        temperature=number_of(body.get("temperature")),
        top_p=number_of(body.get("top_p")),
        max_tokens=count_of(limit),
        stop=(stop,) if isinstance(stop, str) else tuple(stop or ()),
        seed=count_of(body.get("seed")),
        tool_choice=choice if choice in _CHOICES else "auto",
        response_schema=_schema(vendor),
        **_reasoning(vendor),
        vendor=vendor,
    )
    return ModelInput(
        as_text(body.get("model")),
        joined_messages(_message(one) for one in told if as_text(one.get("role")) not in _SYSTEM),
        instructions="\n\n".join(
            text_of(one.get("content")) for one in told if as_text(one.get("role")) in _SYSTEM
        ),
        tools=tuple(spec_of(mapping(tool.get("function")), "parameters") for tool in tools),
        options=options,
        stream=stream,
    )


def read_embeddings(body: Mapping[str, Any]) -> EmbedInput:
    """Return an embedding request as a call; texts that came as token numbers are made up."""
    given = body.get("input", body.get("prompt", ""))
    texts = given if isinstance(given, list) else [given]
    if texts and isinstance(texts[0], int):
        texts = [texts]
    return EmbedInput(
        as_text(body.get("model")),
        tuple(text if isinstance(text, str) else str(text) for text in texts),
        dimensions=count_of(body.get("dimensions")),
    )


def _schema(vendor: dict[str, Any]) -> Mapping[str, Any] | None:
    """Take the answer's schema out of ``vendor``."""
    shape = mapping(mapping(vendor.get("response_format")).get("json_schema"))
    schema = shape.get("schema")
    if not isinstance(schema, dict):
        return None
    del vendor["response_format"]
    return schema


def _reasoning(vendor: dict[str, Any]) -> dict[str, Any]:
    """Take out of ``vendor`` what our options can say about reasoning."""
    effort = as_text(vendor.get("reasoning_effort"))
    if effort in _EFFORTS and "thinking" not in vendor:
        del vendor["reasoning_effort"]
        return {"reasoning": effort}
    if effort == "none":
        del vendor["reasoning_effort"]
        return {"reasoning": "off"}
    told = mapping(vendor.get("reasoning"))
    if told.keys() == {"effort"} and as_text(told["effort"]) in _EFFORTS:
        return {"reasoning": vendor.pop("reasoning")["effort"]}
    if told.keys() == {"max_tokens"}:
        return {"reasoning_tokens": vendor.pop("reasoning")["max_tokens"]}
    return {}


def _message(told: dict[str, Any]) -> Message:
    match told.get("role"):
        case "assistant":
            return AssistantMessage(tuple(_assistant_parts(told)))
        case "tool":
            call_id, name = as_text(told.get("tool_call_id")), as_text(told.get("name"))
            return ToolMessage((ToolResult(call_id, name, text_of(told.get("content"))),))
        case _:
            content = told.get("content")
            if isinstance(content, str):
                return UserMessage((Text(content),))
            return user(_user_part(part) for part in objects(content))


def _user_part(part: dict[str, Any]) -> Text | Image | Document | None:
    match part.get("type"):
        case "text":
            return Text(as_text(part.get("text")))
        case "image_url":
            return Image(url=as_text(mapping(part.get("image_url")).get("url")))
        case "file":
            told = mapping(part.get("file"))
            found = data_uri(told.get("file_data"))
            if found is not None:
                return Document(found[0], as_text(told.get("filename")) or None, found[1])
    return None


def _assistant_parts(told: dict[str, Any]) -> list[Any]:
    parts: list[Any] = []
    if thinking := as_text(told.get("reasoning_content")) or as_text(told.get("reasoning")):
        parts.append(Thinking(thinking))
    details = objects(told.get("reasoning_details"))
    parts += [VendorItem("openrouter", as_text(one.get("type")), json_text(one)) for one in details]
    if text := text_of(told.get("content")):
        parts.append(Text(text))
    for call in objects(told.get("tool_calls")):
        function = mapping(call.get("function"))
        google = mapping(mapping(call.get("extra_content")).get("google"))
        parts.append(
            ToolCall(
                as_text(call.get("id")),
                as_text(function.get("name")),
                as_text(function.get("arguments")),
                google.get("thought_signature"),
            )
        )
    return parts
