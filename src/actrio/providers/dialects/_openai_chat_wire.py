"""The shapes of chat completion answers, and the plain readings of their single members. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

import msgspec

from actrio.messages import FinishReason, Usage

__all__ = [
    "FINISH",
    "Call",
    "Choice",
    "Chunk",
    "Function",
    "Piece",
    "arguments_of",
    "decode_chunk",
    "finish_of",
    "signature_of",
    "text_of",
    "usage_of",
]

FINISH: Final[Mapping[str, FinishReason]] = {
    "stop": "stop",
    "eos": "stop",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "tool_use": "tool_calls",
    "length": "length",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "content_filter": "content_filter",
    "sensitive": "content_filter",
    "error": "error",
    "network_error": "error",
}

_NATIVE_LENGTH: Final = {"length", "max_tokens", "MAX_TOKENS", "max_output_tokens"}


class Function(msgspec.Struct):
    name: str | None = None
    arguments: Any = None


class Call(msgspec.Struct):
    index: int | None = None
    id: str | None = None
    function: Function | None = None
    extra_content: Any = None


class Piece(msgspec.Struct):
    """A ``delta`` of a stream, or the ``message`` of a whole answer."""

    content: Any = None
    refusal: str | None = None
    reasoning_content: Any = None
    reasoning: Any = None
    reasoning_details: Any = None
    tool_calls: list[Call] | None = None
    annotations: Any = None
    images: Any = None
    executed_tools: Any = None


class Choice(msgspec.Struct):
    index: int = 0
    delta: Piece | None = None
    message: Piece | None = None
    finish_reason: str | None = None
    native_finish_reason: str | None = None
    error: Any = None


class Chunk(msgspec.Struct):
    """One event of a stream, or a whole answer; the last members are those of error bodies."""

    id: Any = None
    model: str | None = None
    choices: list[Choice] | None = None
    usage: Any = None
    x_groq: Any = None
    error: Any = None
    errors: Any = None
    status_code: Any = None
    message: Any = None
    code: Any = None
    type: Any = None


decode_chunk = msgspec.json.Decoder(Chunk).decode


class _PlainPiece(msgspec.Struct):
    content: str
    refusal: None = None
    reasoning_content: None = None
    reasoning: None = None
    reasoning_details: None = None
    tool_calls: None = None
    annotations: None = None
    images: None = None
    executed_tools: None = None


class _PlainChoice(msgspec.Struct):
    delta: _PlainPiece
    index: Literal[0] = 0
    finish_reason: None = None
    error: None = None


class PlainChunk(msgspec.Struct):
    """An event that says a piece of text and nothing else; anything else does not decode as one.

    The parser itself looks, while it reads, at what would take a dozen comparisons afterwards.
    """

    choices: tuple[_PlainChoice]
    usage: None = None
    x_groq: None = None
    error: None = None
    errors: None = None


decode_plain = msgspec.json.Decoder(PlainChunk).decode


def finish_of(choice: Choice) -> FinishReason:
    """Return the normalised reason to stop.

    OpenRouter says ``tool_calls`` also of a call that the token limit cut in its middle; what the
    upstream itself said decides then, because half a call must not be run.
    """
    reason = FINISH.get(choice.finish_reason or "", "other")
    if reason == "tool_calls" and choice.native_finish_reason in _NATIVE_LENGTH:
        return "length"
    return reason


def text_of(value: Any) -> str:
    """Return visible text: a string, or the texts of a list of parts."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "".join(
            part["text"]
            for part in value
            if isinstance(part, dict) and isinstance(part.get("text"), str)
        )
    return ""


def arguments_of(value: Any) -> str:
    """Return a call's arguments as the text that they should have been."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        return msgspec.json.encode(value).decode()
    return ""


def signature_of(extra_content: Any) -> str | None:
    """Return Google's signature, as its OpenAI-compatible endpoint hides it in a call."""
    google = extra_content.get("google") if isinstance(extra_content, dict) else None
    signature = google.get("thought_signature") if isinstance(google, dict) else None
    return signature if isinstance(signature, str) else None


def usage_of(value: Any) -> Usage:
    """Return a ``usage`` object's counts; what is missing or senseless counts as none."""
    if not isinstance(value, dict):
        return Usage()
    prompt = _details(value, "prompt_tokens_details")
    completion = _details(value, "completion_tokens_details")
    cached = _count(prompt.get("cached_tokens")) or _count(value.get("prompt_cache_hit_tokens"))
    return Usage(
        input_tokens=_count(value.get("prompt_tokens")),
        output_tokens=_count(value.get("completion_tokens")),
        cached_input_tokens=cached,
        reasoning_tokens=_count(completion.get("reasoning_tokens")),
    )


def _details(value: dict[str, Any], name: str) -> dict[str, Any]:
    details = value.get(name)
    return details if isinstance(details, dict) else {}


def _count(value: Any) -> int:
    return value if isinstance(value, int) and value > 0 else 0
