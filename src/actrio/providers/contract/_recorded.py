"""What the readers of recorded requests share: tolerant looks into JSON that somebody else wrote."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from actrio.messages import (
    AssistantMessage,
    Document,
    Image,
    Message,
    ToolMessage,
    ToolResult,
    ToolSpec,
    UserMessage,
)

__all__ = [
    "as_text",
    "count_of",
    "data_uri",
    "file_of",
    "joined_messages",
    "json_text",
    "mapping",
    "number_of",
    "objects",
    "rest_of",
    "spec_of",
    "text_of",
]

Json = dict[str, Any]


def mapping(value: Any) -> Json:
    """Return an object; an empty one where it is none."""
    return value if isinstance(value, dict) else {}


def objects(value: Any) -> list[Json]:
    """Return the objects of a list."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def as_text(value: Any) -> str:
    """Return a string; an empty one where it is none."""
    return value if isinstance(value, str) else ""


def text_of(content: Any) -> str:
    """Return content that is a string or a list of parts with text as one text."""
    if isinstance(content, str):
        return content
    return "".join(as_text(part.get("text")) for part in objects(content))


def number_of(value: Any) -> float | None:
    """Return a number."""
    fits = isinstance(value, (int, float)) and not isinstance(value, bool)
    return value if fits else None


def count_of(value: Any) -> int | None:
    """Return a whole number."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def json_text(value: Any) -> str:
    """Return a JSON value as text."""
    return msgspec.json.encode(value).decode()


def rest_of(body: Mapping[str, Any], known: Iterable[str]) -> Json:
    """Return the members that no option of ours stands for: they are sent as they are."""
    left = set(body) - set(known)
    return {name: value for name, value in body.items() if name in left and value is not None}


def spec_of(tool: Mapping[str, Any], schema: str) -> ToolSpec:
    """Return a tool, whose JSON Schema is in the member ``schema``."""
    parameters = mapping(tool.get(schema))
    return ToolSpec(as_text(tool.get("name")), as_text(tool.get("description")), parameters)


def data_uri(uri: Any) -> tuple[str, bytes] | None:
    """Return the media type and the bytes of a data URI; None for any other text."""
    head, comma, data = as_text(uri).partition(",")
    if not comma or not head.startswith("data:") or not head.endswith(";base64"):
        return None
    try:
        return head[5:-7], base64.b64decode(data, validate=True)
    except binascii.Error:
        return None


def file_of(media_type: Any, data: Any) -> Image | Document:
    """Return base64 data as the part that its type asks for."""
    kind = as_text(media_type) or "application/octet-stream"
    try:
        raw = base64.b64decode(as_text(data))
    except binascii.Error:
        raw = b""
    return Image(kind, raw) if kind.startswith("image/") else Document(kind, data=raw)


def joined_messages(messages: Iterable[Message]) -> tuple[Message, ...]:
    """Return ``messages`` with neighbours of one role made one, but for the user's."""
    return tuple(_joined(messages))


def _joined(messages: Iterable[Message]) -> Iterator[Message]:
    last: Message | None = None
    for message in messages:
        match last, message:
            case ToolMessage(results), ToolMessage(more):
                last = ToolMessage(_both(results, more))
            case AssistantMessage(), AssistantMessage():
                last = AssistantMessage((*last.parts, *message.parts))
            case _:
                if last is not None:
                    yield last
                last = message
    if last is not None:
        yield last


def _both(first: tuple[ToolResult, ...], second: tuple[ToolResult, ...]) -> tuple[ToolResult, ...]:
    return (*first, *second)


def user(parts: Iterable[Any]) -> UserMessage:
    """Return the parts that could be read as a user's message."""
    return UserMessage(tuple(part for part in parts if part is not None))
