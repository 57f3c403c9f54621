"""Options of a model call as members of a chat completion's body. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from actrio.errors import NotSupported
from actrio.messages import ModelInput, ModelOptions
from actrio.providers.dialects._openai_chat_deviations import Deviations

__all__ = ["option_members"]

_Json = dict[str, Any]

_NAME_FORBIDDEN: Final = re.compile(r"[^A-Za-z0-9_-]+")
_SCHEMA_DEPTH_MAX: Final = 64
"""Deeper than any hand-written type; a recursive value must not overflow."""


def option_members(call: ModelInput, provider: str, deviations: Deviations) -> _Json:
    """Return the members that ``call.options`` come to, but for those that the vendor defines.

    Raises:
        NotSupported: An option that this vendor has no member for.
    """
    options = call.options
    members = {
        "temperature": options.temperature,
        "top_p": options.top_p,
        deviations.max_tokens_field: options.max_tokens,
        "stop": list(options.stop) or None,
        "seed": options.seed,
        "response_format": _response_format(options.response_schema, deviations),
        **_reasoning(call.model, options, provider, deviations),
    }
    return {name: value for name, value in members.items() if value is not None}


def _reasoning(model: str, options: ModelOptions, provider: str, deviations: Deviations) -> _Json:
    effort, tokens = options.reasoning, options.reasoning_tokens
    if effort is None and tokens is None:
        return {}
    wanted = effort != "off"
    match deviations.reasoning:
        case "reasoning":
            if not wanted:
                return {"reasoning": {"enabled": False}}
            return {"reasoning": {"max_tokens": tokens} if tokens else {"effort": effort}}
        case "enable_thinking":
            return {"enable_thinking": wanted, "thinking_budget": tokens if wanted else None}
    if effort is None:
        raise NotSupported(
            f"options.reasoning_tokens: {provider} takes no bound on reasoning in tokens.",
            remedy='Set options.reasoning to "low", "medium" or "high" beside it.',
        )
    if deviations.reasoning == "thinking":
        takes_effort = wanted and model.startswith(deviations.effort_models or ("\0",))
        return {
            "thinking": {"type": "enabled" if wanted else "disabled"},
            "reasoning_effort": effort if takes_effort else None,
        }
    return {"reasoning_effort": effort if wanted else "none"}


def _response_format(schema: Mapping[str, Any] | None, deviations: Deviations) -> _Json | None:
    if schema is None:
        return None
    if deviations.structured == "json_object":
        return {"type": "json_object"}
    name = _NAME_FORBIDDEN.sub("_", str(schema.get("title", "")))[:64] or "answer"
    shape: _Json = {"name": name, "schema": schema}
    if deviations.strict and _is_strict(schema):
        shape["strict"] = True
    return {"type": "json_schema", "json_schema": shape}


def _is_strict(schema: Any, depth: int = 0) -> bool:
    """Whether every object is closed and requires all it names, as OpenAI's strict mode asks.

    Strict mode guarantees the shape; a schema that does not meet its rules would be refused.
    """
    if depth > _SCHEMA_DEPTH_MAX:
        return False
    if isinstance(schema, (list, tuple)):
        return all(_is_strict(item, depth + 1) for item in schema)
    if not isinstance(schema, Mapping):
        return True
    if schema.get("type") == "object":
        named = set(schema.get("properties", {}))
        if schema.get("additionalProperties") is not False or named != set(
            schema.get("required", ())
        ):
            return False
    return all(_is_strict(value, depth + 1) for value in schema.values())
