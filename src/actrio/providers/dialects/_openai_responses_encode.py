"""A model call as the JSON body of OpenAI's responses API. Pure.

An assistant's message becomes a list of items, in the order of its parts. What the vendor made
itself (encrypted reasoning, its own tools' calls) goes back as it came, but for two cases in
which the vendor would refuse it: what another provider made, and reasoning that nothing follows,
which is what an answer cut short leaves behind.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from typing import Any, Final, Literal

import msgspec

from actrio.errors import InvalidRequest, NotSupported
from actrio.messages import (
    AssistantMessage,
    Document,
    Image,
    Message,
    ModelInput,
    ModelOptions,
    Refusal,
    Text,
    Thinking,
    ToolCall,
    ToolMessage,
    UserMessage,
    VendorItem,
)
from actrio.providers.dialects._openai_responses_wire import PHASE, PLACE, vendor_of

__all__ = ["ResponsesHost", "encode_request"]

ResponsesHost = Literal["openai", "openrouter"]
"""OpenRouter wants an id on every assistant message, and takes a bound on reasoning in tokens."""

CALL_ID_CHARACTERS_MAX: Final = 64
"""Longer ids are refused; those that other vendors have made may be longer."""

_NAME_FORBIDDEN: Final = re.compile(r"[^A-Za-z0-9_-]+")
_SCHEMA_DEPTH_MAX: Final = (
    64  # deeper than any hand-written type; a recursive value must not overflow
)
_REASONS: Final = re.compile(r"(?:^|[/:])(?:o\d|gpt-[5-9]|codex)(?!.*chat)")
"""Models that reason; the others refuse to be asked for encrypted reasoning."""

_Json = dict[str, Any]


def encode_request(call: ModelInput, provider: str, host: ResponsesHost) -> bytes:
    """Return the request body.

    Raises:
        NotSupported: A part or option that this wire format cannot carry; names it.
        InvalidRequest: Text that is no Unicode, or values that are no JSON.
    """
    items: list[Any] = []
    for message in call.messages:
        items.extend(_items(message, provider, host, len(items)))
    body: _Json = {"model": call.model, "input": items, "store": False}
    if call.instructions:
        body["instructions"] = call.instructions
    if call.tools:
        body["tools"] = [_tool(tool) for tool in call.tools]
        if call.options.tool_choice != "auto":
            body["tool_choice"] = call.options.tool_choice
    body.update(_options(call.options, call.model, host))
    if _REASONS.search(call.model) or "reasoning" in body:
        body["include"] = ["reasoning.encrypted_content"]
    if call.stream:
        body["stream"] = True
    _merge(body, call.options.vendor)
    try:
        return msgspec.json.encode(body)
    except (UnicodeEncodeError, TypeError, ValueError, RecursionError) as error:
        raise InvalidRequest(
            f"The request to model {call.model!r} cannot be written as JSON: {error}.",
            remedy="Remove lone surrogates from the text, and values that are no JSON.",
        ) from error


def _merge(body: _Json, vendor: Mapping[str, Any]) -> None:
    for name, value in vendor.items():
        ours = body.get(name)
        if isinstance(ours, Mapping) and isinstance(value, Mapping):
            body[name] = {**ours, **value}
        elif isinstance(ours, list) and isinstance(value, (list, tuple)):
            body[name] = [*ours, *value]
        else:
            body[name] = value


def _tool(tool: Any) -> _Json:
    return {
        "type": "function",
        "name": tool.name,
        "description": tool.description,
        "parameters": tool.parameters,
        # Left out it would mean true here, and optional parameters would become required.
        "strict": False,
    }


def _options(options: ModelOptions, model: str, host: ResponsesHost) -> _Json:
    for name, value in (("stop", options.stop or None), ("seed", options.seed)):
        if value is not None:
            raise NotSupported(
                f"Option {name}: OpenAI's responses API has none.",
                remedy=f"Leave {name} out, or use the provider's chat completions dialect.",
            )
    fields = {
        "temperature": options.temperature,
        "top_p": options.top_p,
        "max_output_tokens": options.max_tokens,
        "text": _text_format(options.response_schema),
        "reasoning": _reasoning(options, model, host) or None,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _reasoning(options: ModelOptions, model: str, host: ResponsesHost) -> _Json:
    members: _Json = {}
    if options.reasoning is not None and (effort := _effort(options.reasoning, model)):
        members["effort"] = effort
    if options.reasoning_tokens is not None:
        if host != "openrouter":
            raise NotSupported(
                "Option reasoning_tokens: OpenAI cannot bound reasoning by tokens.",
                remedy="Use the option reasoning, or bound the whole answer with max_tokens.",
            )
        members["max_tokens"] = options.reasoning_tokens
    return members


def _effort(asked: str, model: str) -> str | None:
    if asked != "off":
        return asked
    name = model.rpartition("/")[2]
    if re.match(r"o\d", name):
        raise NotSupported(
            f"Option reasoning='off': {model!r} always reasons.",
            remedy="Use reasoning='low', or another model.",
        )
    if re.match(r"gpt-5(?!\.\d)", name):
        return "minimal"  # the least that the first generation takes
    # A model that does not reason refuses the option; through a router nobody knows which do.
    return "none" if "/" in model or _REASONS.search(model) else None


def _text_format(schema: Mapping[str, Any] | None) -> _Json | None:
    if schema is None:
        return None
    name = _NAME_FORBIDDEN.sub("_", str(schema.get("title", "")))[:64] or "answer"
    return {
        "format": {
            "type": "json_schema",
            "name": name,
            "schema": schema,
            "strict": _is_closed(schema),
        }
    }


def _is_closed(schema: Any, depth: int = 0) -> bool:
    """Whether every object is closed and requires all it names, as strict mode asks."""
    if depth > _SCHEMA_DEPTH_MAX:
        return False
    if isinstance(schema, (list, tuple)):
        return all(_is_closed(item, depth + 1) for item in schema)
    if not isinstance(schema, Mapping):
        return True
    if schema.get("type") == "object" and (
        schema.get("additionalProperties") is not False
        or set(schema.get("properties", {})) != set(schema.get("required", ()))
    ):
        return False
    return all(_is_closed(value, depth + 1) for value in schema.values())


def _items(message: Message, provider: str, host: ResponsesHost, before: int) -> list[Any]:
    match message:
        case UserMessage():
            return [{"role": "user", "content": _user_content(message)}]
        case AssistantMessage():
            return _Assistant(vendor_of(provider), host, before).items(message)
        case ToolMessage(results):
            return [
                {
                    "type": "function_call_output",
                    "call_id": _call_id(result.call_id),
                    "output": result.text,
                }
                for result in results
            ]


def _call_id(told: str) -> str:
    if len(told) <= CALL_ID_CHARACTERS_MAX:
        return told
    return f"call_{hashlib.sha256(told.encode(errors='surrogatepass')).hexdigest()[:48]}"


def _user_content(message: UserMessage) -> str | list[_Json]:
    if len(message.parts) == 1 and isinstance(message.parts[0], Text):
        return message.text
    return [_user_part(part) for part in message.parts]


def _user_part(part: Text | Image | Document) -> _Json:
    match part:
        case Text(text):
            return {"type": "input_text", "text": text}
        case Image(url=None):
            return {"type": "input_image", "image_url": _data_uri(part)}
        case Image():
            return {"type": "input_image", "image_url": part.url}
        case Document(url=None):
            name = part.name or "document"
            return {"type": "input_file", "filename": name, "file_data": _data_uri(part)}
        case Document():
            return {"type": "input_file", "file_url": part.url}


def _data_uri(part: Image | Document) -> str:
    return f"data:{part.media_type};base64,{base64.b64encode(part.data or b'').decode('ascii')}"


class _Assistant:
    """Turns one assistant's message into items."""

    def __init__(self, vendor: str, host: ResponsesHost, before: int) -> None:
        self._vendor = vendor
        self._host = host
        self._before = before
        self._done: list[Any] = []  # items; None for one that may come later
        self._reasoning: set[int] = set()  # places of reasoning items in them
        self._places: dict[str, int] = {}  # id of an item -> the place that is kept for it
        self._content: list[_Json] = []
        self._phase: str | None = None

    def items(self, message: AssistantMessage) -> list[Any]:
        for part in message.parts:
            match part:
                case Text(text):
                    self._say({"type": "output_text", "text": text})
                case Refusal(text):
                    self._say({"type": "refusal", "refusal": text})
                case Thinking():
                    self._flush()  # what was thought goes back as the item it came with
                case ToolCall():
                    self._flush()
                    self._done.append(_function_call(part))
                case VendorItem() if part.vendor == self._vendor:
                    self._own(part)
        self._flush()
        return [item for item in self._done[: self._end()] if item is not None]

    def _end(self) -> int:
        """Return how far the items may go back."""
        end = len(self._done)
        while end and (self._done[end - 1] is None or end - 1 in self._reasoning):
            end -= 1
        # Through OpenRouter, Gemini's signature comes as reasoning after what it signs.
        return len(self._done) if end and self._host == "openrouter" else end

    def _own(self, item: VendorItem) -> None:
        try:
            value = msgspec.json.decode(item.data)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            raise InvalidRequest(
                f"The vendor item {item.kind!r} of {item.vendor} is no JSON ({error}).",
                remedy="Pass items on as they came.",
            ) from None
        self._flush()
        told = value if isinstance(value, dict) else {}
        if item.kind == PHASE:
            self._phase = told.get("phase")
            return
        place = self._place(told.get("id"))
        if item.kind == PLACE:
            return
        if item.kind == "reasoning":
            self._reasoning.add(place)
        self._done[place] = msgspec.Raw(item.data.encode())

    def _place(self, item_id: Any) -> int:
        kept = self._places.get(item_id) if isinstance(item_id, str) else None
        if kept is not None:
            return kept
        place = len(self._done)
        self._done.append(None)
        if isinstance(item_id, str):
            self._places[item_id] = place
        return place

    def _say(self, part: _Json) -> None:
        if self._host == "openrouter" and part["type"] == "output_text":
            part["annotations"] = []
        self._content.append(part)

    def _flush(self) -> None:
        if not self._content:
            return
        item: _Json = {"type": "message", "role": "assistant", "content": self._content}
        if self._phase is not None:
            item["phase"] = self._phase
        if self._host == "openrouter":
            item["id"] = f"msg_{self._before + len(self._done)}"
            item["status"] = "completed"
        self._done.append(item)
        self._content = []
        self._phase = None


def _function_call(call: ToolCall) -> _Json:
    return {
        "type": "function_call",
        "call_id": _call_id(call.id),
        "name": call.name,
        "arguments": call.arguments,
    }
