"""The options of a model call as members of an Anthropic request body."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from actrio.errors import InvalidRequest, NotSupported
from actrio.messages import ModelInput, ModelOptions
from actrio.providers.dialects._anthropic_models import (
    ANSWER_TOKENS,
    THINKING_TOKENS,
    THINKING_TOKENS_MIN,
    WHOLE_TOKENS_MAX,
    ModelTraits,
    traits_of,
)
from actrio.providers.dialects._anthropic_schema import closed_schema

__all__ = ["merged", "options_of"]

_Json = dict[str, Any]


def options_of(call: ModelInput) -> _Json:
    """Return the members that the options of ``call`` amount to.

    Raises:
        NotSupported: An option that Anthropic has not; it is named.
        InvalidRequest: Options that contradict each other.
    """
    options, traits = call.options, traits_of(call.model)
    if options.seed is not None:
        raise NotSupported(
            "options.seed: Anthropic takes no seed.",
            remedy="Leave it out; temperature=0 is as near as this vendor comes.",
        )
    budget = _budget(options, traits)
    body: _Json = {"max_tokens": _max_tokens(call, traits, budget)}
    for name, value in (
        ("temperature", options.temperature),
        ("top_p", options.top_p),
        ("stop_sequences", list(options.stop) or None),
        ("tool_choice", _tool_choice(call)),
        ("thinking", _thinking(call, traits, budget)),
        ("output_config", _output_config(options, traits)),
    ):
        if value is not None:
            body[name] = value
    return body


def merged(body: _Json, vendor: Mapping[str, Any]) -> _Json:
    """Return ``body`` with the vendor's own members, which come last and win.

    Two members are added to rather than replaced: ``tools``, because tools that the vendor runs
    stand beside the caller's, and objects that name no ``type`` of their own, because these say
    only more about what is there (``{"tool_choice": {"disable_parallel_tool_use": True}}``).
    """
    for name, value in vendor.items():
        there = body.get(name)
        if name == "tools" and isinstance(value, (list, tuple)):
            body[name] = [*(there or ()), *value]
        elif isinstance(value, Mapping) and "type" not in value:
            # What says more about a choice or about reasoning needs a kind to say it about.
            first = {"type": "auto"} if name == "tool_choice" else {}
            body[name] = {**(there if isinstance(there, dict) else first), **value}
        else:
            body[name] = value
    return body


def _tool_choice(call: ModelInput) -> _Json | None:
    choice = call.options.tool_choice
    if choice == "auto" or not (call.tools or call.options.vendor.get("tools")):
        return None
    return {"type": "any" if choice == "required" else "none"}


def _output_config(options: ModelOptions, traits: ModelTraits) -> _Json | None:
    config: _Json = {}
    if _wants_thinking(options) and traits.thinking == "adaptive" and options.reasoning:
        config["effort"] = options.reasoning
    if options.response_schema is not None:
        schema = closed_schema(options.response_schema)
        config["format"] = {"type": "json_schema", "schema": schema}
    return config or None


def _wants_thinking(options: ModelOptions) -> bool:
    return options.reasoning != "off" and bool(options.reasoning or options.reasoning_tokens)


def _budget(options: ModelOptions, traits: ModelTraits) -> int | None:
    """Return how many tokens the model may think, where that is told in tokens."""
    if not _wants_thinking(options):
        return None
    asked, bound = options.reasoning_tokens, options.max_tokens
    if asked is None:
        if traits.thinking != "budget":
            return None
        # An effort is a wish: half of a bound is left for the answer.
        asked = THINKING_TOKENS[options.reasoning or "medium"]
        if bound is not None:
            asked = min(asked, max(bound // 2, THINKING_TOKENS_MIN))
    if asked < THINKING_TOKENS_MIN or (bound is not None and asked >= bound):
        raise InvalidRequest(
            f"Reasoning of {asked} tokens does not fit: Anthropic takes at least "
            f"{THINKING_TOKENS_MIN}, and fewer than options.max_tokens ({bound}).",
            remedy="Raise options.max_tokens, or change or leave out the reasoning.",
        )
    return asked


def _thinking(call: ModelInput, traits: ModelTraits, budget: int | None) -> _Json | None:
    options = call.options
    if options.reasoning == "off":
        return None if traits.thinking == "none" else {"type": "disabled"}
    if not _wants_thinking(options):
        return None
    if traits.thinking == "none":
        raise NotSupported(
            f"options.reasoning: model {call.model!r} does not reason.",
            remedy="Leave it out, or use a Claude of version 3.7 or later.",
        )
    if budget is not None:
        return {"type": "enabled", "budget_tokens": budget}
    return {"type": "adaptive"}


def _max_tokens(call: ModelInput, traits: ModelTraits, budget: int | None) -> int:
    """Return the bound on output, which this format demands."""
    if call.options.max_tokens is not None:
        return call.options.max_tokens
    bound = traits.max_tokens if call.stream else min(traits.max_tokens, WHOLE_TOKENS_MAX)
    return max(bound, (budget or 0) + ANSWER_TOKENS)
