"""What OpenAI's clients send, as far as it is understood here.

Members that are not named are ignored, as OpenAI does with what it does not know. Members that
would change the answer and cannot be served are named, so that they are refused.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

__all__ = [
    "ChatRequest",
    "ContentPart",
    "EmbeddingRequest",
    "FunctionTool",
    "ResponseFormat",
]

NonNegative = Annotated[int, msgspec.Meta(ge=0)]
Positive = Annotated[int, msgspec.Meta(ge=1)]
Temperature = Annotated[float, msgspec.Meta(ge=0, le=2)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
ModelName = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]


class _ImageUrl(msgspec.Struct, frozen=True):
    url: str
    detail: str | None = None


class _File(msgspec.Struct, frozen=True):
    file_data: str | None = None
    filename: str | None = None


class ContentPart(msgspec.Struct, frozen=True):
    """A part of a message: ``text``, ``image_url``, ``file`` or ``refusal``."""

    type: str
    text: str | None = None
    image_url: _ImageUrl | None = None
    file: _File | None = None
    refusal: str | None = None


class _CalledFunction(msgspec.Struct, frozen=True):
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
    arguments: str = "{}"


class _ToolCall(msgspec.Struct, frozen=True):
    id: Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
    function: _CalledFunction
    type: Literal["function"] = "function"


class ChatMessage(msgspec.Struct, frozen=True):
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[ContentPart] | None = None
    tool_calls: list[_ToolCall] | None = None
    tool_call_id: str | None = None
    refusal: str | None = None
    name: str | None = None


class _Function(msgspec.Struct, frozen=True):
    name: Annotated[str, msgspec.Meta(pattern="^[a-zA-Z0-9_-]{1,64}$")]
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class FunctionTool(msgspec.Struct, frozen=True):
    """A tool that the client runs itself."""

    function: _Function
    type: Literal["function"] = "function"


class _NamedFunction(msgspec.Struct, frozen=True):
    name: str


class _NamedChoice(msgspec.Struct, frozen=True):
    function: _NamedFunction
    type: Literal["function"] = "function"


class _JsonSchema(msgspec.Struct, frozen=True):
    name: str = "answer"
    schema: dict[str, Any] | None = None
    strict: bool | None = None


class ResponseFormat(msgspec.Struct, frozen=True):
    """What form the answer has."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: _JsonSchema | None = None


class _StreamOptions(msgspec.Struct, frozen=True):
    include_usage: bool = False


class ChatRequest(msgspec.Struct, frozen=True):
    """Body of ``POST /v1/chat/completions``."""

    model: ModelName
    messages: Annotated[list[ChatMessage], msgspec.Meta(min_length=1, max_length=10_000)]
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    temperature: Temperature | None = None
    top_p: Share | None = None
    max_tokens: Positive | None = None
    max_completion_tokens: Positive | None = None
    stop: str | Annotated[list[str], msgspec.Meta(max_length=16)] | None = None
    seed: int | None = None
    tools: Annotated[list[FunctionTool], msgspec.Meta(max_length=128)] | None = None
    tool_choice: Literal["none", "auto", "required"] | _NamedChoice | None = None
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat | None = None
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh"] | None = None
    n: Positive | None = None
    # Understood, and refused where given: the answer would not be what was asked for.
    logprobs: bool | None = None
    audio: dict[str, Any] | None = None
    functions: list[dict[str, Any]] | None = None
    web_search_options: dict[str, Any] | None = None


class EmbeddingRequest(msgspec.Struct, frozen=True):
    """Body of ``POST /v1/embeddings``."""

    model: ModelName
    input: str | Annotated[list[str | int | list[int]], msgspec.Meta(min_length=1, max_length=2048)]
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Positive | None = None
    user: str | None = None
