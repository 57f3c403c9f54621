"""What clients of OpenAI's responses interface send, as far as it is understood here."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from actrio.http._openai_types import ModelName, Positive, Share, Temperature

__all__ = ["ResponseFunctionTool", "ResponseItem", "ResponsePart", "ResponseRequest"]


class ResponsePart(msgspec.Struct, frozen=True):
    """``input_text``, ``output_text``, ``input_image``, ``input_file`` or ``refusal``."""

    type: str
    text: str | None = None
    image_url: str | None = None
    file_data: str | None = None
    filename: str | None = None
    refusal: str | None = None


class ResponseItem(msgspec.Struct, frozen=True):
    """A message, a function call that was made, or what came of one."""

    type: Literal["message", "function_call", "function_call_output", "reasoning"] = "message"
    role: Literal["user", "assistant", "system", "developer"] | None = None
    content: str | list[ResponsePart] | None = None
    call_id: str | None = None
    name: str | None = None
    arguments: str | None = None
    output: str | list[ResponsePart] | None = None


class ResponseFunctionTool(msgspec.Struct, frozen=True):
    """A tool that the client runs itself; ``type`` may be no other."""

    type: str
    name: Annotated[str, msgspec.Meta(pattern="^[a-zA-Z0-9_-]{1,64}$")] | None = None
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class _NamedChoice(msgspec.Struct, frozen=True):
    name: str
    type: Literal["function"] = "function"


class _Format(msgspec.Struct, frozen=True):
    type: Literal["text", "json_object", "json_schema"] = "text"
    name: str | None = None
    schema: dict[str, Any] | None = None


class _Text(msgspec.Struct, frozen=True):
    format: _Format | None = None


class _Reasoning(msgspec.Struct, frozen=True):
    effort: Literal["none", "minimal", "low", "medium", "high", "xhigh"] | None = None


class ResponseRequest(msgspec.Struct, frozen=True):
    """Body of ``POST /v1/responses``."""

    model: ModelName
    input: str | Annotated[list[ResponseItem], msgspec.Meta(min_length=1, max_length=10_000)]
    instructions: str | None = None
    previous_response_id: str | None = None
    store: bool | None = None
    stream: bool | None = None
    temperature: Temperature | None = None
    top_p: Share | None = None
    max_output_tokens: Positive | None = None
    tools: Annotated[list[ResponseFunctionTool], msgspec.Meta(max_length=128)] | None = None
    tool_choice: Literal["none", "auto", "required"] | _NamedChoice | None = None
    parallel_tool_calls: bool | None = None
    text: _Text | None = None
    reasoning: _Reasoning | None = None
    metadata: dict[str, str] | None = None
    # Understood, and refused where given: the answer would not be what was asked for.
    background: bool | None = None
    conversation: Any = None
    prompt: dict[str, Any] | None = None
