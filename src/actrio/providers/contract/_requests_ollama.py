"""Recorded requests of Ollama's own interface as our own request values."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any, Final

from actrio.messages import (
    AssistantMessage,
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
)
from actrio.providers.contract._recorded import (
    as_text,
    count_of,
    joined_messages,
    json_text,
    mapping,
    number_of,
    objects,
    rest_of,
    spec_of,
)

__all__ = ["read_ollama"]

_KNOWN: Final = ("model", "messages", "prompt", "system", "tools", "stream", "options", "images")


def read_ollama(body: Mapping[str, Any], *, stream: bool) -> ModelInput:
    """Return a request of ``/api/chat`` as a call; one of ``/api/generate`` as the same in words."""
    told = objects(body.get("messages"))
    if "prompt" in body:
        told = [{"role": "system", "content": body.get("system")}]
        told.append({"role": "user", "content": body["prompt"], "images": body.get("images")})
    vendor = rest_of(body, _KNOWN)
    options = dict(mapping(body.get("options")))
    think, shape = vendor.get("think"), vendor.get("format")
    reasoning: Any = {True: "medium", False: "off"}.get(think) if think is not None else None
    if reasoning is not None:
        del vendor["think"]
    if isinstance(shape, dict) or not shape:
        vendor.pop("format", None)
    known = ModelOptions(
        temperature=number_of(options.pop("temperature", None)),
        top_p=number_of(options.pop("top_p", None)),
        max_tokens=count_of(options.pop("num_predict", None)),
        seed=count_of(options.pop("seed", None)),
        stop=tuple(options.pop("stop", None) or ()),
        response_schema=shape if isinstance(shape, dict) and shape else None,
        reasoning=reasoning,
        vendor=vendor,
    )
    vendor.update({"options": options} if options else {})
    system = [as_text(one.get("content")) for one in told if one.get("role") == "system"]
    return ModelInput(
        as_text(body.get("model")),
        joined_messages(_message(one) for one in told if one.get("role") != "system"),
        instructions="\n".join(text for text in system if text),
        tools=tuple(
            spec_of(mapping(tool.get("function")), "parameters")
            for tool in objects(body.get("tools"))
        ),
        options=known,
        stream=stream,
    )


def _message(told: dict[str, Any]) -> Message:
    text = as_text(told.get("content"))
    match told.get("role"):
        case "tool":
            return ToolMessage((ToolResult("", as_text(told.get("tool_name")), text),))
        case "assistant":
            return AssistantMessage(tuple(_assistant_parts(told)))
    images = told.get("images")
    pictures = [_image(data) for data in images] if isinstance(images, list) else []
    return UserMessage((Text(text), *pictures))


def _image(data: Any) -> Image:
    try:
        return Image(data=base64.b64decode(as_text(data)))
    except binascii.Error:
        return Image(data=b"")


def _assistant_parts(told: dict[str, Any]) -> list[Any]:
    parts: list[Any] = []
    if thinking := as_text(told.get("thinking")):
        parts.append(Thinking(thinking))
    if text := as_text(told.get("content")):
        parts.append(Text(text))
    for number, call in enumerate(objects(told.get("tool_calls"))):
        function = mapping(call.get("function"))
        call_id = as_text(call.get("id")) or str(number)
        given = json_text(function.get("arguments") or {})
        parts.append(ToolCall(call_id, as_text(function.get("name")), given))
    return parts
