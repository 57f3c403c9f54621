"""A result beside the expected one: which fields differ. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import attrs

from actrio.providers.contract._exchange import Exchange
from actrio.providers.contract._result import Result

__all__ = ["Difference", "differences"]

COSINE_MIN: Final = 0.9999
LENGTH_TOLERANCE: Final = 1e-3
SHOWN_CHARACTERS: Final = 160

_COUNTS: Final = ("input_tokens", "output_tokens", "cached_input_tokens", "reasoning_tokens")


@attrs.frozen(slots=True)
class Difference:
    """One field of one exchange that is not as expected."""

    id: str
    field: str
    expected: str
    found: str


def differences(exchange: Exchange, result: Result) -> list[Difference]:
    """Return where ``result`` is not what the vendor's own client reads."""
    expected = exchange.expected
    if result.outcome != expected.get("outcome"):
        told = f"{result.outcome} {(result.error or {}).get('message', '')}"
        return [_difference(exchange, "outcome", expected.get("outcome"), told.strip())]
    if result.outcome == "truncated":
        return []
    if result.outcome != "ok":
        pairs = _error_pairs(expected.get("error") or {}, result.error or {})
    elif exchange.kind == "embedding":
        pairs = _embedding_pairs(expected, result)
    elif exchange.kind == "models":
        pairs = _model_pairs(expected, result)
    else:
        pairs = _chat_pairs(expected, result)
    return [
        _difference(exchange, field, wanted, found)
        for field, wanted, found in pairs
        if wanted != found
    ]


_Pair = tuple[str, Any, Any]


def _chat_pairs(expected: Mapping[str, Any], result: Result) -> Iterator[_Pair]:
    for field in ("text", "reasoning", "refusal"):
        yield field, expected.get(field) or "", getattr(result, field) or ""
    yield from _call_pairs(expected.get("tool_calls") or (), result)
    yield "finish_reason", expected.get("finish_reason"), result.finish_reason
    yield from _usage_pairs(expected.get("usage"), result.usage)


def _call_pairs(wanted: Sequence[Mapping[str, Any]], result: Result) -> Iterator[_Pair]:
    calls = result.tool_calls or []
    yield "tool_calls", len(wanted), len(calls)
    for place, (want, call, raw) in enumerate(
        zip(wanted, calls, result.raw_arguments, strict=False)
    ):
        field = f"tool_calls[{place}]"
        # An id that the vendor left out is made up, so that a result can name its call.
        yield f"{field}.id", want["id"] or True, call["id"] if want["id"] else bool(call["id"])
        yield f"{field}.name", want["name"], call["name"]
        if want.get("arguments_valid", True):
            yield f"{field}.arguments", want["arguments"], call["arguments"]
        else:
            yield f"{field}.arguments", want["arguments_raw"], raw


def _usage_pairs(
    wanted: Mapping[str, Any] | None, found: Mapping[str, Any] | None
) -> Iterator[_Pair]:
    """Compare counts; what a vendor does not tell counts as none, and so does no usage at all."""
    for name in _COUNTS:
        yield f"usage.{name}", (wanted or {}).get(name) or 0, (found or {}).get(name) or 0


def _model_pairs(expected: Mapping[str, Any], result: Result) -> Iterator[_Pair]:
    names, wanted = result.models or (), expected["models"]
    # Google lists resource names; what a request takes is the name behind the slash.
    ids = [name.removeprefix("models/") for name in wanted["ids"]]
    yield "models.count", wanted["count"], len(names)
    yield "models.ids", ids, list(names[: len(ids)])


def _error_pairs(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> Iterator[_Pair]:
    for field in ("category", "http_status", "in_stream"):
        yield f"error.{field}", wanted.get(field), found.get(field)


def _embedding_pairs(expected: Mapping[str, Any], result: Result) -> Iterator[_Pair]:
    wanted, found = expected["embedding"], result.embedding or {}
    yield "embedding.count", wanted["count"], found.get("count")
    yield "embedding.dims", wanted["dims"], found.get("dims")
    for place, (first8, other8) in enumerate(zip(wanted["first8"], found["first8"], strict=False)):
        close = _cosine(first8, other8) >= COSINE_MIN
        yield f"embedding.first8[{place}]", first8, first8 if close else other8
    for place, (length, other) in enumerate(zip(wanted["l2"], found["l2"], strict=False)):
        close = math.isclose(length, other, rel_tol=LENGTH_TOLERANCE)
        yield f"embedding.l2[{place}]", length, length if close else other
    usage = expected.get("usage") or {}
    told = usage.get("input_tokens", usage.get("promptTokenCount"))
    yield "usage.input_tokens", told or 0, (result.usage or {}).get("input_tokens") or 0


def _cosine(first: Sequence[float], second: Sequence[float]) -> float:
    lengths = math.hypot(*first) * math.hypot(*second)
    if lengths == 0 or len(first) != len(second):
        return 1.0 if list(first) == list(second) else 0.0
    return math.fsum(a * b for a, b in zip(first, second, strict=True)) / lengths


def _difference(exchange: Exchange, field: str, wanted: Any, found: Any) -> Difference:
    return Difference(exchange.id, field, _shown(wanted), _shown(found))


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}…"
