"""A model call as the JSON body of chat completions. Pure."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from actrio.errors import InvalidRequest, NotSupported
from actrio.messages import (
    AssistantMessage,
    Document,
    Image,
    Message,
    ModelInput,
    Text,
    Thinking,
    ToolCall,
    ToolMessage,
    ToolSpec,
    UserMessage,
)
from actrio.providers.dialects._openai_chat_deviations import Deviations
from actrio.providers.dialects._openai_chat_items import items_back
from actrio.providers.dialects._openai_chat_options import option_members

__all__ = ["as_json", "encode_request"]

_Json = dict[str, Any]

_CACHE_MARK: Final = {"type": "ephemeral"}

_SHAPE_IN_WORDS: Final = "Answer with one JSON object that matches this JSON Schema:"


def encode_request(call: ModelInput, provider: str, deviations: Deviations) -> bytes:
    """Return the request body.

    Raises:
        NotSupported: A part or option that this vendor cannot carry; it is named.
        InvalidRequest: Text that is no Unicode, or values that are no JSON.
    """
    body: _Json = {"model": call.model, "messages": _all_messages(call, provider, deviations)}
    if call.tools:
        body["tools"] = [_tool(tool) for tool in call.tools]
        if call.options.tool_choice != "auto":
            body["tool_choice"] = call.options.tool_choice
    body.update(option_members(call, provider, deviations))
    if call.stream:
        body["stream"] = True
        if deviations.stream_usage:
            body["stream_options"] = {"include_usage": True}
    return as_json(_merged(body, call.options.vendor), call.model)


def _merged(body: _Json, vendor: Mapping[str, Any]) -> _Json:
    """Return ``body`` with the vendor's own members, which come last.

    Tools join ours, because tools that the vendor runs stand beside the caller's; an object says
    more about the one that is there; None takes a member out; anything else takes its place.
    """
    for name, value in vendor.items():
        there = body.get(name)
        if value is None:
            body.pop(name, None)
        elif name == "tools" and isinstance(value, (list, tuple)):
            body[name] = [*(there or ()), *value]
        elif isinstance(value, Mapping) and isinstance(there, dict):
            body[name] = {**there, **value}
        else:
            body[name] = value
    return body


def as_json(body: _Json, model: str) -> bytes:
    """Return ``body`` as JSON.

    Raises:
        InvalidRequest: It holds text that is no Unicode, or values that are no JSON.
    """
    try:
        return msgspec.json.encode(body)
    except (UnicodeEncodeError, TypeError, ValueError, RecursionError) as error:
        raise InvalidRequest(
            f"The request to model {model!r} cannot be written as JSON: {error}.",
            remedy="Remove lone surrogates from the text, and values that are no JSON.",
        ) from error


def _all_messages(call: ModelInput, provider: str, deviations: Deviations) -> list[_Json]:
    instructions = _instructions(call, deviations)
    messages: list[_Json] = []
    if instructions:
        messages.append({"role": "system", "content": instructions})
    for message in call.messages:
        messages.extend(_messages(message, provider, deviations))
    if call.options.cache_prompt and call.model.startswith(deviations.cache_control or ("\0",)):
        _mark_for_cache(messages)
    return messages


def _instructions(call: ModelInput, deviations: Deviations) -> str:
    schema = call.options.response_schema
    if schema is None or deviations.structured == "json_schema":
        return call.instructions
    told = as_json(dict(schema), call.model).decode()
    return f"{call.instructions}\n\n{_SHAPE_IN_WORDS}\n{told}".lstrip()


def _mark_for_cache(messages: list[_Json]) -> None:
    """Mark the instructions, and what the user said last: the next turn begins with both."""
    users = [message for message in messages if message["role"] == "user"]
    for message in [*messages[:1], *users[-1:]]:
        content = message["content"]
        if isinstance(content, str):
            content = message["content"] = [{"type": "text", "text": content}]
        if content:
            content[-1]["cache_control"] = _CACHE_MARK


def _tool(tool: ToolSpec) -> _Json:
    return {
        "type": "function",
        "function": {
            "name": tool.name,
            "description": tool.description,
            "parameters": tool.parameters,
        },
    }


def _messages(message: Message, provider: str, deviations: Deviations) -> list[_Json]:
    match message:
        case UserMessage():
            return [{"role": "user", "content": _user_content(message, provider, deviations)}]
        case AssistantMessage():
            return [_assistant(message, provider, deviations)]
        case ToolMessage(results):
            return [
                {"role": "tool", "tool_call_id": result.call_id, "content": result.text}
                for result in results
            ]


def _user_content(message: UserMessage, provider: str, deviations: Deviations) -> str | list[_Json]:
    # A plain string where possible: every compatible endpoint takes it, some take nothing else.
    if all(isinstance(part, Text) for part in message.parts):
        return message.text
    return [_user_part(part, provider, deviations) for part in message.parts]


def _user_part(part: Text | Image | Document, provider: str, deviations: Deviations) -> _Json:
    match part:
        case Text(text):
            return {"type": "text", "text": text}
        case Image():
            url = part.url if part.url is not None else _data_uri(part.media_type, part.data)
            return {"type": "image_url", "image_url": {"url": url}}
        case Document():
            return _document(part, provider, deviations)


def _document(part: Document, provider: str, deviations: Deviations) -> _Json:
    if not deviations.documents:
        raise NotSupported(
            f"Document part {part.name or part.url!r}: {provider} takes no files.",
            remedy="Pass its text or images of its pages, or use openai, anthropic or gemini.",
        )
    if part.data is None and not deviations.document_links:
        raise NotSupported(
            f"Document part {part.name or part.url!r}: chat completions take a file's bytes, "
            "not a link to it.",
            remedy="Fetch it first and pass its bytes as Document(data=...).",
        )
    file_data = part.url if part.data is None else _data_uri(part.media_type, part.data)
    return {
        "type": "file",
        "file": {"filename": part.name or "document", "file_data": file_data},
    }


def _data_uri(media_type: str, data: bytes | None) -> str:
    return f"data:{media_type};base64,{base64.b64encode(data or b'').decode('ascii')}"


def _assistant(message: AssistantMessage, provider: str, deviations: Deviations) -> _Json:
    body: _Json = {"role": "assistant", "content": message.shown or None}
    own = message.vendor in {"", provider}  # reasoning and signatures mean nothing elsewhere
    if own:
        body.update(_reasoning_back(message, deviations))
    if message.tool_calls:
        signed = own and deviations.thought_signatures
        body["tool_calls"] = [_call(call, signed=signed) for call in message.tool_calls]
    elif body["content"] is None:
        body["content"] = ""  # an empty answer is valid only as a string
    return body


def _call(call: ToolCall, *, signed: bool) -> _Json:
    told: _Json = {
        "id": call.id,
        "type": "function",
        "function": {"name": call.name, "arguments": call.arguments},
    }
    if call.signature is not None and signed:
        told["extra_content"] = {"google": {"thought_signature": call.signature}}
    return told


def _reasoning_back(message: AssistantMessage, deviations: Deviations) -> _Json:
    """Return the members that bring reasoning back to who reads it.

    Signed reasoning is another vendor's: no member of this wire format holds a signature, but
    those inside OpenRouter's own items.
    """
    member = deviations.reasoning_back
    if member == "reasoning_details":
        found = {name: items_back(message, name) for name in (member, "annotations")}
        return {name: items for name, items in found.items() if items}
    if not member:
        return {}
    text = "".join(
        part.text for part in message.parts if isinstance(part, Thinking) and part.signature is None
    )
    return {member: text} if text else {}
