"""A model call as the JSON body of OpenAI chat completions."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from actrio.errors import InvalidRequest, NotSupported
from actrio.messages import (
    AssistantMessage,
    Document,
    Image,
    Message,
    ModelInput,
    ModelOptions,
    Text,
    ToolMessage,
    UserMessage,
)

__all__ = ["MaxTokensField", "encode_request"]

MaxTokensField = Literal["max_completion_tokens", "max_tokens"]
"""OpenAI's reasoning models refuse ``max_tokens``; many compatible endpoints know only that."""

_NAME_FORBIDDEN = re.compile(r"[^A-Za-z0-9_-]+")
_SCHEMA_DEPTH_MAX = 64  # deeper than any hand-written type; a recursive value must not overflow

_Json = dict[str, Any]


def encode_request(request: ModelInput, max_tokens_field: MaxTokensField) -> bytes:
    """Return the request body.

    Raises:
        NotSupported: A part that this wire format cannot carry; it is named.
        InvalidRequest: Text that is no Unicode, or values that are no JSON.
    """
    messages: list[_Json] = []
    if request.instructions:
        messages.append({"role": "system", "content": request.instructions})
    for message in request.messages:
        messages.extend(_messages(message))
    body: _Json = {"model": request.model, "messages": messages}
    if request.tools:
        body["tools"] = [_tool(tool) for tool in request.tools]
        if request.options.tool_choice != "auto":
            body["tool_choice"] = request.options.tool_choice
    body.update(_options(request.options, max_tokens_field))
    if request.stream:
        body["stream"] = True
        body["stream_options"] = {"include_usage": True}
    try:
        return msgspec.json.encode(body)
    except (UnicodeEncodeError, TypeError, ValueError, RecursionError) as error:
        raise InvalidRequest(
            f"The request to model {request.model!r} cannot be written as JSON: {error}.",
            remedy="Remove lone surrogates from the text, and values that are no JSON.",
        ) from error


def _tool(tool: Any) -> _Json:
    return {
        "type": "function",
        "function": {
            "name": tool.name,
            "description": tool.description,
            "parameters": tool.parameters,
        },
    }


def _options(options: ModelOptions, max_tokens_field: MaxTokensField) -> _Json:
    fields = {
        "temperature": options.temperature,
        "top_p": options.top_p,
        max_tokens_field: options.max_tokens,
        "stop": list(options.stop) or None,
        "seed": options.seed,
        "response_format": _response_format(options.response_schema),
    }
    return {name: value for name, value in fields.items() if value is not None}


def _response_format(schema: Mapping[str, Any] | None) -> _Json | None:
    if schema is None:
        return None
    name = _NAME_FORBIDDEN.sub("_", str(schema.get("title", "")))[:64] or "answer"
    shape: _Json = {"name": name, "schema": schema}
    if _is_strict(schema):
        shape["strict"] = True
    return {"type": "json_schema", "json_schema": shape}


def _is_strict(schema: Any, depth: int = 0) -> bool:
    """Whether every object is closed and requires all it names, as OpenAI's strict mode asks.

    Strict mode guarantees the shape; a schema that does not meet its rules would be refused.
    """
    if depth > _SCHEMA_DEPTH_MAX:
        return False
    if isinstance(schema, (list, tuple)):
        return all(_is_strict(item, depth + 1) for item in schema)
    if not isinstance(schema, Mapping):
        return True
    if schema.get("type") == "object":
        named = set(schema.get("properties", {}))
        if schema.get("additionalProperties") is not False or named != set(
            schema.get("required", ())
        ):
            return False
    return all(_is_strict(value, depth + 1) for value in schema.values())


def _messages(message: Message) -> list[_Json]:
    match message:
        case UserMessage():
            return [{"role": "user", "content": _user_content(message)}]
        case AssistantMessage():
            return [_assistant(message)]
        case ToolMessage(results):
            return [
                {"role": "tool", "tool_call_id": result.call_id, "content": result.text}
                for result in results
            ]


def _user_content(message: UserMessage) -> str | list[_Json]:
    # A plain string where possible: every compatible endpoint takes it, some take nothing else.
    if all(isinstance(part, Text) for part in message.parts):
        return message.text
    return [_user_part(part) for part in message.parts]


def _user_part(part: Text | Image | Document) -> _Json:
    match part:
        case Text(text):
            return {"type": "text", "text": text}
        case Image():
            url = part.url if part.url is not None else _data_uri(part.media_type, part.data)
            return {"type": "image_url", "image_url": {"url": url}}
        case Document():
            return _document(part)


def _document(part: Document) -> _Json:
    if part.data is None:
        raise NotSupported(
            f"Document part {part.name or part.url!r}: OpenAI chat completions take a file's "
            "bytes, not a link to it.",
            remedy="Fetch it first and pass its bytes as Document(data=...).",
        )
    file_data = _data_uri(part.media_type, part.data)
    return {
        "type": "file",
        "file": {"filename": part.name or "document", "file_data": file_data},
    }


def _data_uri(media_type: str, data: bytes | None) -> str:
    return f"data:{media_type};base64,{base64.b64encode(data or b'').decode('ascii')}"


def _assistant(message: AssistantMessage) -> _Json:
    # Thinking does not go back: this wire format has no place for it and some endpoints refuse it.
    body: _Json = {"role": "assistant", "content": message.text or None}
    if message.tool_calls:
        body["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in message.tool_calls
        ]
    elif body["content"] is None:
        body["content"] = ""  # an empty answer is valid only as a string
    return body
