"""What an answer amounts to, in the words of the recordings: one plain record for each exchange."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import attrs

from actrio.errors import ContextWindowExceeded, ProviderError, StreamTruncated
from actrio.messages import (
    Delta,
    EmbedOutput,
    Fold,
    ModelOutput,
    Thinking,
    ToolCall,
    Usage,
    UsageDelta,
)

__all__ = ["Result", "from_error", "from_models", "from_output", "from_vectors"]

Json = dict[str, Any]


@attrs.frozen(slots=True)
class Result:
    """The normalised result of one exchange; members that do not apply are None.

    Attributes:
        tool_calls: With ``arguments`` as a JSON value; None where they are no JSON.
        raw_arguments: The same as the model wrote them.
        models: The ids in a list of models; it is not emitted.
    """

    id: str
    outcome: Literal["ok", "error", "truncated"]
    text: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: list[Json] | None = None
    raw_arguments: tuple[str, ...] = ()
    finish_reason: str | None = None
    usage: Json | None = None
    embedding: Json | None = None
    error: Json | None = None
    models: tuple[str, ...] | None = None

    def members(self) -> Json:
        """Return what is emitted."""
        return {
            name: getattr(self, name)
            for name in (
                "id", "outcome", "text", "reasoning", "refusal", "tool_calls", "finish_reason",
                "usage", "embedding", "error",
            )
        }  # fmt: skip


def from_output(exchange_id: str, output: ModelOutput, deltas: Sequence[Delta]) -> Result:
    """Return the result of a model call that was answered.

    Args:
        exchange_id: Whose.
        output: What the connection gave.
        deltas: What it gave on the way; usage that never came is None, not 0.
    """
    told = any(isinstance(delta, UsageDelta) for delta in deltas)
    unsaid = output.finish_reason == "other" and not output.finish_raw
    return attrs.evolve(
        _of_message(exchange_id, "ok", output),
        finish_reason=None if unsaid else output.finish_reason,
        usage=_usage(output.usage) if told else None,
    )


def from_vectors(exchange_id: str, output: EmbedOutput) -> Result:
    """Return the result of an embedding call."""
    vectors = output.vectors
    embedding = {
        "count": len(vectors),
        "dims": len(vectors[0]) if vectors else 0,
        "first8": [list(vector[:8]) for vector in vectors],
        "l2": [round(math.sqrt(math.fsum(n * n for n in vector)), 6) for vector in vectors],
    }
    return Result(exchange_id, "ok", embedding=embedding, usage=_usage(output.usage))


def from_models(exchange_id: str, names: Iterable[str]) -> Result:
    """Return the result of a list of models."""
    return Result(exchange_id, "ok", models=tuple(names))


def from_error(
    exchange_id: str,
    error: ProviderError | ContextWindowExceeded,
    deltas: Iterable[Delta],
    *,
    status: int,
) -> Result:
    """Return the result of an exchange that failed.

    Args:
        exchange_id: Whose.
        error: What the connection raised.
        deltas: What came before.
        status: The answer's HTTP status, for failures inside an answer with success.
    """
    fold = Fold()
    for delta in deltas:
        fold.add(delta)
    partial = fold.output()
    outcome: Literal["error", "truncated"] = "error"
    if isinstance(error, StreamTruncated):
        outcome = "truncated"
    return attrs.evolve(_of_message(exchange_id, outcome, partial), error=_error(error, status))


def _of_message(
    exchange_id: str, outcome: Literal["ok", "error", "truncated"], output: ModelOutput
) -> Result:
    message = output.message
    thinking = "".join(part.text for part in message.parts if isinstance(part, Thinking))
    return Result(
        exchange_id,
        outcome,
        text=message.text,
        reasoning=thinking,
        refusal=message.refusal or None,
        tool_calls=[_call(call) for call in message.tool_calls],
        raw_arguments=tuple(call.arguments for call in message.tool_calls),
    )


def _call(call: ToolCall) -> Json:
    return {"id": call.id, "name": call.name, "arguments": parsed(call.arguments)}


def parsed(arguments: str) -> Any:
    """Return the JSON value of a call's arguments; None where they are no JSON."""
    try:
        return json.loads(arguments or "{}")
    except (ValueError, RecursionError):
        return None


def _usage(usage: Usage) -> Json:
    return {**attrs.asdict(usage), "total_tokens": usage.total_tokens}


def _error(error: ProviderError | ContextWindowExceeded, status: int) -> Json:
    if isinstance(error, ContextWindowExceeded):
        return {
            "category": "context_length",
            "http_status": error.data.get("status") if status >= 400 else status,
            "message": error.message,
            "retry_after_seconds": None,
            "in_stream": bool(error.data.get("in_stream")),
        }
    return {
        "category": error.category,
        "http_status": error.status if status >= 400 else status,
        "message": error.message,
        "retry_after_seconds": error.retry_after_seconds,
        "in_stream": error.in_stream,
    }
