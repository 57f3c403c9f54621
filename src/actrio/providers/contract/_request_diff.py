"""Our request beside the recorded client's: which fields the vendor would see differently. Pure.

Both are first written in one way where two spellings mean the same to the vendor: members that are
null, defaults spelled out, text alone or as the only part of a list, roles that may be left out.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from actrio.providers.contract._recorded import as_text, mapping, objects, text_of
from actrio.providers.contract._requests_gemini import camel_members

__all__ = ["differing_fields"]

Json = dict[str, Any]


def differing_fields(
    family: str, recorded: Mapping[str, Any], ours: Mapping[str, Any]
) -> list[str]:
    """Return the paths at which two request bodies of one wire format differ.

    Args:
        family: ``chat``, ``responses``, ``anthropic``, ``gemini``, ``ollama`` or ``embedding``.
        recorded: What the recorded client sent.
        ours: What we send for the same call.
    """
    plain = _PLAIN.get(family, _same)
    first, second = (plain(json.loads(json.dumps(body))) for body in (recorded, ours))
    return list(dict.fromkeys(_paths(_without_nulls(first), _without_nulls(second), "")))


def _paths(first: Any, second: Any, path: str) -> Iterator[str]:
    if isinstance(first, dict) and isinstance(second, dict):
        for name in sorted({*first, *second}):
            inner = f"{path}.{name}" if path else name
            if name in first and name in second:
                yield from _paths(first[name], second[name], inner)
            else:
                yield f"{inner} ({'only recorded' if name in first else 'only ours'})"
    elif isinstance(first, list) and isinstance(second, list) and len(first) == len(second):
        for one, other in zip(first, second, strict=True):
            yield from _paths(one, other, f"{path}[]")
    elif first != second:
        yield path


def _without_nulls(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    if isinstance(value, dict):
        return {name: _without_nulls(one) for name, one in value.items() if one is not None}
    return value


def _same(body: Json) -> Json:
    return body


def _plain_chat(body: Json) -> Json:
    told, messages = [], []
    for message in objects(body.get("messages")):
        if as_text(message.get("role")) in {"system", "developer"}:
            told.append(text_of(message.get("content")))
        else:
            messages.append(_plain_chat_message(message))
    if body.get("tool_choice") == "auto":
        del body["tool_choice"]
    body["stream"] = bool(body.get("stream"))
    return {**body, "messages": messages, "system": "\n\n".join(told)}


def _plain_chat_message(message: Json) -> Json:
    content = message.get("content")
    if not isinstance(content, str) and all(
        part.get("type") == "text" for part in objects(content)
    ):
        content = text_of(content)
    message["content"] = content or None
    for call in objects(message.get("tool_calls")):
        function = mapping(call.get("function"))
        function["arguments"] = _json_or_text(function.get("arguments"))
    return message


def _json_or_text(value: Any) -> Any:
    try:
        return json.loads(value or "{}")
    except (TypeError, ValueError):
        return value


def _plain_responses(body: Json) -> Json:
    given = body.pop("input", [])
    items = [{"role": "user", "content": given}] if isinstance(given, str) else objects(given)
    told = [body.pop("instructions", None) or ""]
    plain = []
    for item in items:
        if as_text(item.get("role")) in {"system", "developer"}:
            told.append(text_of(item.get("content")))
        else:
            plain.append(_plain_item(item))
    body["stream"] = bool(body.get("stream"))
    if body.get("tool_choice") == "auto":
        del body["tool_choice"]
    for name in ("store", "include"):
        body.pop(name, None)  # what the server keeps is ours to choose
    return {**body, "input": plain, "system": "\n".join(text for text in told if text)}


def _plain_item(item: Json) -> Json:
    if item.get("type", "message") == "message":
        content = item.get("content")
        parts = (
            [{"type": "text", "text": content}] if isinstance(content, str) else objects(content)
        )
        for part in parts:
            part.pop("annotations", None)
            part.pop("logprobs", None)
            if part.get("type") in {"input_text", "output_text"}:
                part["type"] = "text"
        return {"role": item.get("role"), "content": parts}
    for name in ("id", "status"):
        if item["type"] in {"function_call", "function_call_output"}:
            item.pop(name, None)
    return item


def _plain_anthropic(body: Json) -> Json:
    messages: list[Json] = []
    for message in objects(body.get("messages")):
        blocks = [_plain_block(block) for block in _blocks(message.get("content"))]
        if messages and messages[-1]["role"] == message.get("role"):
            messages[-1]["content"] += blocks
        else:
            messages.append({"role": message.get("role"), "content": blocks})
    if body.get("tool_choice") == {"type": "auto"}:
        del body["tool_choice"]
    body["stream"] = bool(body.get("stream"))
    body["system"] = text_of(body.get("system"))
    return {**body, "messages": messages}


def _blocks(content: Any) -> list[Json]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else objects(content)


def _plain_block(block: Json) -> Json:
    if block.get("type") == "tool_result":
        block["content"] = _blocks(block.get("content"))
        block["is_error"] = bool(block.get("is_error"))
    return block


def _plain_gemini(body: Json) -> Json:
    body = camel_members(body)
    told = mapping(body.get("systemInstruction"))
    told.pop("role", None)
    for content in (*objects(body.get("contents")), told):
        if content is not told:
            content.setdefault("role", "user")
        for part in objects(content.get("parts")):
            if part.get("thought") is False:
                del part["thought"]
        content["parts"] = [part for part in objects(content.get("parts")) if part != {"text": ""}]
    for tool in objects(body.get("tools")):
        for one in objects(tool.get("functionDeclarations")):
            _rename(one, "parameters", "parametersJsonSchema")
    if body.get("toolConfig") == {"functionCallingConfig": {"mode": "AUTO"}}:
        del body["toolConfig"]
    config = body.setdefault("generationConfig", {})
    _rename(config, "responseSchema", "responseJsonSchema")
    thinking = config.setdefault("thinkingConfig", {})
    thinking.setdefault("includeThoughts", False)
    if isinstance(level := thinking.get("thinkingLevel"), str):
        thinking["thinkingLevel"] = level.lower()
    return {**body, "tools": sorted(body.get("tools") or [], key=str)}


def _rename(value: Json, old: str, new: str) -> None:
    if old in value:
        value[new] = value.pop(old)


def _plain_ollama(body: Json) -> Json:
    body = {name: value for name, value in body.items() if value not in (None, "", [], {})}
    body.setdefault("stream", True)
    messages = []
    for message in objects(body.get("messages")):
        kept = {name: value for name, value in message.items() if value not in (None, "", [])}
        for call in objects(kept.get("tool_calls")):
            call.pop("id", None)
        messages.append(kept)
    return {**body, "messages": messages}


def _plain_embedding(body: Json) -> Json:
    given = body.get("input")
    body["input"] = given if isinstance(given, list) else [given]
    return body


_PLAIN: Final[Mapping[str, Callable[[Json], Json]]] = {
    "chat": _plain_chat,
    "responses": _plain_responses,
    "anthropic": _plain_anthropic,
    "gemini": _plain_gemini,
    "ollama": _plain_ollama,
    "embedding": _plain_embedding,
}
