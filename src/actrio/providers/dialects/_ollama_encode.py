"""A call as the JSON body of Ollama's native API.

Ollama's messages are flat: one text, a list of images beside it, and tool calls without ids. So
what has an order inside a message loses it here, and a result is told by its tool's name and its
place. Thinking goes back where it came without a signature; signed thinking belongs to others.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import msgspec

from actrio.errors import InvalidRequest, NotSupported
from actrio.messages import (
    AssistantMessage,
    Document,
    EmbedInput,
    Image,
    Message,
    ModelInput,
    ModelOptions,
    Thinking,
    ToolMessage,
    UserMessage,
)

__all__ = ["encode_chat", "encode_embed"]

_Json = dict[str, Any]


def encode_chat(call: ModelInput) -> bytes:
    """Return the body for ``/api/chat``.

    Raises:
        NotSupported: A part or option that this wire format cannot carry; names it.
        InvalidRequest: Text that is no Unicode, or values that are no JSON.
    """
    messages: list[_Json] = []
    if call.instructions:
        messages.append({"role": "system", "content": call.instructions})
    for message in call.messages:
        messages.extend(_messages(message))
    # Ollama streams unless told not to, so it is always told.
    body: _Json = {"model": call.model, "messages": messages, "stream": call.stream}
    body.update(_tools(call))
    if call.options.response_schema is not None:
        body["format"] = call.options.response_schema
    think = _think(call.options, call.model)
    if think is not None:
        body["think"] = think
    if options := _options(call.options):
        body["options"] = options
    _merge(body, call.options.vendor)
    return _encoded(body, call.model)


def encode_embed(call: EmbedInput) -> bytes:
    """Return the body for ``/api/embed``.

    Raises:
        InvalidRequest: Text that is no Unicode.
    """
    body: _Json = {"model": call.model, "input": list(call.texts)}
    if call.dimensions is not None:
        body["dimensions"] = call.dimensions
    return _encoded(body, call.model)


def _encoded(body: _Json, model: str) -> bytes:
    try:
        return msgspec.json.encode(body)
    except (UnicodeEncodeError, TypeError, ValueError, RecursionError) as error:
        raise InvalidRequest(
            f"The request to model {model!r} cannot be written as JSON: {error}.",
            remedy="Remove lone surrogates from the text, and values that are no JSON.",
        ) from error


def _tools(call: ModelInput) -> _Json:
    if not call.tools or call.options.tool_choice == "none":
        return {}  # the API has no tool_choice; without tools there is nothing to choose
    if call.options.tool_choice == "required":
        raise NotSupported(
            "Option tool_choice='required': Ollama always lets the model choose.",
            remedy="Leave tool_choice out, and ask for the tool in the instructions.",
        )
    return {
        "tools": [
            {
                "type": "function",
                "function": {
                    "name": tool.name,
                    "description": tool.description,
                    "parameters": tool.parameters,
                },
            }
            for tool in call.tools
        ]
    }


def _think(options: ModelOptions, model: str) -> bool | str | None:
    if options.reasoning_tokens is not None:
        raise NotSupported(
            "Option reasoning_tokens: Ollama cannot bound thinking by tokens.",
            remedy="Use the option reasoning, or bound the whole answer with max_tokens.",
        )
    if options.reasoning is None:
        return None
    if "gpt-oss" not in model:
        # Levels are refused by every other family: 'think value "low" is not supported'.
        return options.reasoning != "off"
    if options.reasoning == "off":
        raise NotSupported(
            f"Option reasoning='off': {model!r} always thinks.",
            remedy="Use reasoning='low', or another model.",
        )
    return options.reasoning


def _options(options: ModelOptions) -> _Json:
    fields = {
        "temperature": options.temperature,
        "top_p": options.top_p,
        "num_predict": options.max_tokens,
        "stop": list(options.stop) or None,
        "seed": options.seed,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _merge(body: _Json, vendor: Mapping[str, Any]) -> None:
    """Add the vendor's own members; those of ``options`` (``num_ctx`` …) one by one."""
    for name, value in vendor.items():
        if name == "options" and isinstance(value, Mapping):
            body["options"] = {**body.get("options", {}), **value}
        else:
            body[name] = value


def _messages(message: Message) -> list[_Json]:
    match message:
        case UserMessage():
            return [_user(message)]
        case AssistantMessage():
            return [_assistant(message)]
        case ToolMessage(results):
            return [
                {"role": "tool", "tool_name": result.name, "content": result.text}
                for result in results
            ]


def _user(message: UserMessage) -> _Json:
    body: _Json = {"role": "user", "content": message.text}
    images: list[str] = []
    for part in message.parts:
        match part:
            case Image():
                images.append(_image(part))
            case Document():
                raise NotSupported(
                    f"Document part {part.name or part.url or part.media_type!r}: "
                    "Ollama takes text and images only.",
                    remedy="Put the document's text into the prompt, or its pages as images.",
                )
            case _:
                pass  # text went into the content
    if images:
        body["images"] = images
    return body


def _image(part: Image) -> str:
    if part.data is None:
        raise NotSupported(
            f"Image part {part.url!r}: Ollama takes an image's bytes, not a link to it.",
            remedy="Fetch it first and pass its bytes as Image(data=...).",
        )
    return base64.b64encode(part.data).decode("ascii")


def _assistant(message: AssistantMessage) -> _Json:
    body: _Json = {"role": "assistant", "content": message.shown}
    thinking = "".join(
        part.text for part in message.parts if isinstance(part, Thinking) and part.signature is None
    )
    if thinking:
        body["thinking"] = thinking
    if message.tool_calls:
        body["tool_calls"] = [
            {"function": {"name": call.name, "arguments": _arguments(call.arguments)}}
            for call in message.tool_calls
        ]
    return body


def _arguments(text: str) -> Any:
    """Return the arguments as the object that Ollama insists on."""
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return {"arguments": text}  # cut or broken: the model shall see what it wrote
    if isinstance(value, dict):
        return msgspec.Raw(text.encode())
    return {} if value is None else {"arguments": value}
