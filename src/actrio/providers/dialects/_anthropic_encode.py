"""A model call as the JSON body of the Anthropic messages API.

Roles alternate, so neighbours of one role become one message, and the results of tools are blocks
of a user message. Reasoning goes back only with its signature, and what the vendor alone
understands exactly as it came; other vendors' items are left out.
"""

from __future__ import annotations

import base64
import re
from typing import Any, Final

import msgspec

from actrio.errors import InvalidRequest, NotSupported
from actrio.messages import (
    AssistantMessage,
    Citation,
    Document,
    Image,
    Message,
    ModelInput,
    Refusal,
    Text,
    Thinking,
    ToolCall,
    ToolMessage,
    ToolResult,
    ToolSpec,
    UserMessage,
    VendorItem,
)
from actrio.providers.dialects._anthropic_options import merged, options_of

__all__ = ["encode_request"]

_Json = dict[str, Any]

_ID_FORBIDDEN: Final = re.compile(r"[^A-Za-z0-9_-]")
_CITATIONS: Final = frozenset(
    {
        "char_location",
        "page_location",
        "content_block_location",
        "search_result_location",
        "web_search_result_location",
    }
)
_TEXT_TYPES: Final = ("text/", "application/json", "application/xml", "application/yaml")
_EPHEMERAL: Final = {"type": "ephemeral"}
_MARKED_MESSAGES: Final = 2
"""The vendor takes four marks and looks back some 20 blocks from each. One after tools and
instructions, two on the last user messages: then a step with many results still finds the last."""

_decode_object = msgspec.json.Decoder(dict[str, Any]).decode
_NO_JSON: Final = (msgspec.DecodeError, RecursionError)


def encode_request(call: ModelInput, vendor: str) -> bytes:
    """Return the request body.

    Raises:
        NotSupported: A part or option that this wire format cannot carry; it is named.
        InvalidRequest: Text that is no Unicode, or values that are no JSON.
    """
    try:
        return msgspec.json.encode(_body(call, vendor))
    except (UnicodeEncodeError, TypeError, ValueError, RecursionError) as error:
        raise InvalidRequest(
            f"The request to model {call.model!r} cannot be written as JSON: {error}.",
            remedy="Remove lone surrogates from the text, and values that are no JSON.",
        ) from error


def _body(call: ModelInput, vendor: str) -> _Json:
    messages = _messages(call.messages, vendor)
    body: _Json = {"model": call.model, "messages": messages}
    if call.instructions:
        body["system"] = call.instructions
    if call.tools:
        body["tools"] = [_tool(tool) for tool in call.tools]
    if call.options.cache_prompt:
        _mark(body)
    body.update(options_of(call))
    if call.stream:
        body["stream"] = True
    return merged(body, call.options.vendor)


def _mark(body: _Json) -> None:
    """Ask for a cache of the prompt's beginning, and of the conversation so far."""
    if "system" in body:
        body["system"] = [{"type": "text", "text": body["system"], "cache_control": _EPHEMERAL}]
    elif body.get("tools"):
        body["tools"][-1]["cache_control"] = _EPHEMERAL
    asked = [message for message in body["messages"] if message["role"] == "user"]
    for message in asked[-_MARKED_MESSAGES:]:
        message["content"][-1]["cache_control"] = _EPHEMERAL


def _tool(tool: ToolSpec) -> _Json:
    schema = {"type": "object", **tool.parameters}  # the vendor insists on the type
    return {"name": tool.name, "description": tool.description, "input_schema": schema}


def _messages(messages: tuple[Message, ...], vendor: str) -> list[_Json]:
    joined: list[_Json] = []
    for message in messages:
        role = "assistant" if isinstance(message, AssistantMessage) else "user"
        blocks = _blocks(message, vendor)
        if not blocks:
            continue
        if joined and joined[-1]["role"] == role:
            joined[-1]["content"].extend(blocks)
        else:
            joined.append({"role": role, "content": blocks})
    return joined


def _blocks(message: Message, vendor: str) -> list[_Json | msgspec.Raw]:
    blocks: list[_Json | msgspec.Raw | None]
    match message:
        case UserMessage(parts):
            blocks = [_user_block(part) for part in parts]
        case AssistantMessage(parts):
            blocks = [_assistant_block(part, vendor) for part in parts]
        case ToolMessage(results):
            blocks = [_result(result) for result in results]
    return [block for block in blocks if block is not None]


def _user_block(part: Text | Image | Document) -> _Json | None:
    match part:
        case Text(text):
            return _text(text)
        case Image():
            return {"type": "image", "source": _source(part.media_type, part.data, part.url)}
        case Document():
            return _document(part)


def _text(text: str, citations: tuple[Citation, ...] = ()) -> _Json | None:
    if not text.strip():
        return None  # the vendor refuses a text without anything to read
    block: _Json = {"type": "text", "text": text}
    own = [found for citation in citations if (found := _citation(citation)) is not None]
    if own:
        block["citations"] = own
    return block


def _citation(citation: Citation) -> msgspec.Raw | None:
    """Return the vendor's own object, so that its encrypted index is not lost."""
    try:
        kind = _decode_object(citation.vendor).get("type")
    except _NO_JSON:
        return None
    return msgspec.Raw(citation.vendor) if kind in _CITATIONS else None


def _source(media_type: str, data: bytes | None, url: str | None) -> _Json:
    if data is None:
        return {"type": "url", "url": url}
    return {"type": "base64", "media_type": media_type, "data": base64.b64encode(data).decode()}


def _document(part: Document) -> _Json:
    block: _Json = {"type": "document", "source": _document_source(part)}
    if part.name:
        block["title"] = part.name
    return block


def _document_source(part: Document) -> _Json:
    media_type = part.media_type
    if media_type == "application/pdf":
        return _source(media_type, part.data, part.url)
    named = f"Document part {part.name or part.url or ''!r} of type {media_type!r}"
    if part.data is None:
        raise NotSupported(
            f"{named}: Anthropic fetches only PDF documents from a link.",
            remedy="Fetch it first and pass its bytes as Document(data=...).",
        )
    if not media_type.startswith(_TEXT_TYPES):
        raise NotSupported(
            f"{named}: Anthropic reads PDF and plain text.",
            remedy="Convert it to PDF or to text.",
        )
    try:
        text = part.data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InvalidRequest(
            f"{named} is not UTF-8.", remedy="Pass its text encoded as UTF-8."
        ) from None
    return {"type": "text", "media_type": "text/plain", "data": text}


def _assistant_block(
    part: Text | Thinking | Refusal | ToolCall | VendorItem, vendor: str
) -> _Json | msgspec.Raw | None:
    match part:
        case Text(text, _, citations):
            return _text(text, citations)
        case Refusal(text):
            return _text(text)
        case Thinking(text, signature):
            # Without its signature the vendor refuses it.
            if not signature:
                return None
            return {"type": "thinking", "thinking": text, "signature": signature}
        case ToolCall():
            return {
                "type": "tool_use",
                "id": _call_id(part.id),
                "name": part.name,
                "input": _arguments(part.arguments),
            }
        case VendorItem():
            return _item(part) if part.vendor == vendor else None


def _call_id(given: str) -> str:
    # Ids of other vendors may hold dots and colons, which the vendor refuses.
    return _ID_FORBIDDEN.sub("_", given)


def _arguments(text: str) -> msgspec.Raw | _Json:
    """Return the arguments as the model wrote them; the vendor takes nothing but an object."""
    if not text.strip():
        return {}
    try:
        _decode_object(text)
    except _NO_JSON:
        return {} if text.strip() == "null" else {"unreadable_arguments": text}
    return msgspec.Raw(text)


def _item(item: VendorItem) -> msgspec.Raw:
    try:
        _decode_object(item.data)
    except _NO_JSON as error:
        raise InvalidRequest(
            f"The vendor item {item.kind!r} in the history is no JSON object ({error}).",
            remedy="Pass vendor items as they were received, or leave them out.",
        ) from None
    return msgspec.Raw(item.data)


def _result(result: ToolResult) -> _Json:
    block: _Json = {
        "type": "tool_result",
        "tool_use_id": _call_id(result.call_id),
        "content": result.text,
    }
    if result.is_error:
        block["is_error"] = True
    return block
