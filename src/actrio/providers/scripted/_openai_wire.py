"""The server's side of OpenAI chat completions: a request to a model call, deltas to chunks. Pure."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from typing import Any, Final

import attrs
import msgspec

from actrio.errors import InvalidRequest
from actrio.messages import (
    AssistantMessage,
    AttemptSuperseded,
    CitationDelta,
    Delta,
    Document,
    FinishDelta,
    Image,
    Message,
    ModelInput,
    ModelOptions,
    ModelOutput,
    RefusalDelta,
    Text,
    TextDelta,
    ThinkingDelta,
    ToolCall,
    ToolCallDelta,
    ToolChoice,
    ToolMessage,
    ToolResult,
    ToolSpec,
    Usage,
    UsageDelta,
    UserMessage,
    VendorItemDelta,
)

__all__ = ["DONE", "ChatRequest", "ChunkWriter", "read_request", "whole_answer"]

DONE: Final = b"data: [DONE]\n\n"

_encode = msgspec.json.encode


class _WireFunction(msgspec.Struct):
    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    arguments: str = "{}"


class _WireTool(msgspec.Struct):
    function: _WireFunction


class _WireCall(msgspec.Struct):
    id: str
    function: _WireFunction


class _WireMessage(msgspec.Struct):
    role: str
    content: str | list[dict[str, Any]] | None = None
    tool_calls: list[_WireCall] | None = None
    tool_call_id: str = ""


class _WireRequest(msgspec.Struct):
    model: str
    messages: list[_WireMessage]
    tools: list[_WireTool] | None = None
    tool_choice: str | dict[str, Any] | None = None
    response_format: dict[str, Any] | None = None
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    stream: bool | None = None
    stream_options: dict[str, Any] | None = None


_decode_request = msgspec.json.Decoder(_WireRequest).decode


@attrs.frozen(slots=True)
class ChatRequest:
    """A request as the scripted provider understands it."""

    call: ModelInput
    include_usage: bool


def read_request(body: bytes) -> ChatRequest:
    """Read the body of a chat completions request.

    Raises:
        InvalidRequest: It is not of this wire format; names the place.
    """
    try:
        wire = _decode_request(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(
            f"The body is no chat completions request: {error}.",
            remedy="Send JSON with at least model and messages.",
        ) from None
    names: dict[str, str] = {}
    instructions = "\n".join(
        _plain_text(m.content) for m in wire.messages if m.role in {"system", "developer"}
    )
    call = ModelInput(
        model=wire.model,
        messages=tuple(_conversation(wire.messages, names)),
        instructions=instructions,
        tools=tuple(_tool(tool.function) for tool in wire.tools or ()),
        options=_options(wire),
        stream=bool(wire.stream),
    )
    include_usage = bool((wire.stream_options or {}).get("include_usage"))
    return ChatRequest(call, include_usage)


def _conversation(messages: list[_WireMessage], names: dict[str, str]) -> Iterable[Message]:
    results: list[ToolResult] = []
    for message in messages:
        if message.role == "tool":
            name = names.get(message.tool_call_id, "")
            text = _plain_text(message.content)
            results.append(ToolResult(message.tool_call_id, name, text))
            continue
        if results:
            yield ToolMessage(tuple(results))
            results = []
        if message.role == "user":
            yield UserMessage(tuple(_user_parts(message.content)))
        elif message.role == "assistant":
            calls = [
                ToolCall(call.id, call.function.name, call.function.arguments)
                for call in message.tool_calls or ()
            ]
            names.update((call.id, call.name) for call in calls)
            text = _plain_text(message.content)
            yield AssistantMessage((*([Text(text)] if text else []), *calls))
    if results:
        yield ToolMessage(tuple(results))


def _plain_text(content: str | list[dict[str, Any]] | None) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    return "".join(str(part.get("text", "")) for part in content)


def _user_parts(
    content: str | list[dict[str, Any]] | None,
) -> Iterable[Text | Image | Document]:
    if not isinstance(content, list):
        yield Text(content or "")
        return
    for part in content:
        kind = part.get("type")
        inner = part.get(str(kind))
        if kind == "text":
            yield Text(str(part.get("text", "")))
        elif kind == "image_url" and isinstance(inner, dict):
            yield _image(str(inner.get("url", "")))
        elif kind == "file" and isinstance(inner, dict):
            media_type, data = _data(str(inner.get("file_data", "")))
            yield Document(media_type, name=str(inner.get("filename", "")), data=data)
        else:
            raise InvalidRequest(
                f"There is no content part of type {kind!r}.",
                remedy="Use text, image_url or file.",
            )


def _image(url: str) -> Image:
    if not url.startswith("data:"):
        return Image(url=url)
    media_type, data = _data(url)
    return Image(media_type, data=data)


def _data(uri: str) -> tuple[str, bytes]:
    head, _, text = uri.removeprefix("data:").partition(",")
    try:
        return head.removesuffix(";base64"), base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise InvalidRequest(
            f"A data URI cannot be read: {error}.", remedy="Send it as data:TYPE;base64,DATA."
        ) from None


def _tool(function: _WireFunction) -> ToolSpec:
    parameters = function.parameters or {"type": "object", "properties": {}}
    return ToolSpec(function.name, function.description or "", parameters)


def _options(wire: _WireRequest) -> ModelOptions:
    stop = [wire.stop] if isinstance(wire.stop, str) else wire.stop or []
    schema = (wire.response_format or {}).get("json_schema")
    choice: ToolChoice = "auto"
    if isinstance(wire.tool_choice, dict) or wire.tool_choice == "required":
        choice = "required"
    elif wire.tool_choice == "none":
        choice = "none"
    return ModelOptions(
        temperature=wire.temperature,
        top_p=wire.top_p,
        max_tokens=wire.max_completion_tokens or wire.max_tokens,
        stop=tuple(stop),
        seed=wire.seed,
        tool_choice=choice,
        response_schema=schema.get("schema") if isinstance(schema, dict) else None,
    )


class ChunkWriter:
    """Writes deltas as the events of one stream.

    What all chunks share is encoded once; a text delta costs one small JSON string.
    """

    __slots__ = ("_after", "_before", "_include_usage", "_usage")

    def __init__(self, response_id: str, model: str, created: int, *, include_usage: bool) -> None:
        shared = _encode(
            {
                "id": response_id,
                "object": "chat.completion.chunk",
                "created": created,
                "model": model,
            }
        )
        self._before = b"data: " + shared[:-1] + b',"choices":'
        self._after = b',"usage":null}\n\n' if include_usage else b"}\n\n"
        self._include_usage = include_usage
        self._usage = Usage()

    def opening(self) -> bytes:
        """Return the first chunk, which tells the role."""
        return self._chunk(b'{"role":"assistant","content":""}')

    def event(self, delta: Delta) -> bytes:
        """Return the event of ``delta``; usage gives none of its own."""
        match delta:
            case TextDelta(text):
                return self._chunk(b'{"content":' + _encode(text) + b"}")
            case ToolCallDelta():
                return self._chunk(_encode({"tool_calls": [_call_fragment(delta)]}))
            case FinishDelta(reason):
                return self._chunk(b"{}", _encode(reason))
            case UsageDelta(usage):
                self._usage = usage
                return b""
            case ThinkingDelta(text):
                return self._chunk(b'{"reasoning_content":' + _encode(text) + b"}")
            case RefusalDelta(text):
                return self._chunk(b'{"refusal":' + _encode(text) + b"}")
            case CitationDelta() | VendorItemDelta() | AttemptSuperseded():
                raise AssertionError("a script says nothing of this kind")

    def closing(self) -> bytes:
        """Return what follows the last delta: usage where it was asked for, and the end mark."""
        if not self._include_usage:
            return DONE
        usage = _encode(_usage(self._usage))
        return self._before + b'[],"usage":' + usage + b"}\n\n" + DONE

    def _chunk(self, delta: bytes, finish: bytes = b"null") -> bytes:
        choice = b'[{"index":0,"delta":' + delta + b',"finish_reason":' + finish + b"}]"
        return self._before + choice + self._after


def _call_fragment(delta: ToolCallDelta) -> dict[str, Any]:
    fragment: dict[str, Any] = {"index": delta.index}
    function: dict[str, str] = {"arguments": delta.arguments}
    if delta.id:
        fragment |= {"id": delta.id, "type": "function"}
        function = {"name": delta.name, **function}
    return {**fragment, "function": function}


def _usage(usage: Usage) -> dict[str, int]:
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
    }


def whole_answer(output: ModelOutput, response_id: str, created: int) -> bytes:
    """Return the body of an answer that was not streamed."""
    message: dict[str, Any] = {"role": "assistant", "content": output.message.text or None}
    if calls := output.message.tool_calls:
        message["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in calls
        ]
    return _encode(
        {
            "id": response_id,
            "object": "chat.completion",
            "created": created,
            "model": output.model,
            "choices": [{"index": 0, "message": message, "finish_reason": output.finish_reason}],
            "usage": _usage(output.usage),
        }
    )
