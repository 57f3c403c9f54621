"""How the vendors of chat completions differ from each other, as data. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import attrs

from actrio.errors import ErrorCategory

__all__ = ["Deviations", "MaxTokensField", "ReasoningBack", "ReasoningRequest"]

MaxTokensField = Literal["max_completion_tokens", "max_tokens"]
"""OpenAI's reasoning models refuse ``max_tokens``; many compatible endpoints know only that."""

ReasoningRequest = Literal["reasoning_effort", "thinking", "enable_thinking", "reasoning"]
"""The member that asks for reasoning: ``reasoning_effort`` is a word; ``thinking`` an object with a
type (GLM); ``enable_thinking`` a boolean with ``thinking_budget`` beside it (Qwen's family);
``reasoning`` an object with an effort or a bound in tokens (OpenRouter)."""

ReasoningBack = Literal["", "reasoning", "reasoning_content", "reasoning_details"]
"""The member of an assistant message that brings reasoning back; empty where nobody reads it."""


@attrs.frozen(slots=True, kw_only=True)
class Deviations:
    """One vendor's chat completions; the defaults suit an endpoint that nothing is known of.

    Attributes:
        max_tokens_field: How the bound on output is called.
        stream_usage: Whether ``stream_options`` may ask for usage.
        structured: How an answer of a given shape is asked for. ``json_object`` promises JSON
            only, so the schema is told in words as well.
        strict: Whether a schema that meets the rules of OpenAI's strict mode asks for it.
        reasoning: How reasoning is asked for.
        effort_models: Beginnings of the names of models that take ``reasoning_effort`` beside
            ``thinking``.
        reasoning_back: Where reasoning goes in the next request.
        thought_signatures: Whether tool calls carry Google's signatures.
        cache_control: Beginnings of the names of models whose prompt is cached only where it is
            marked.
        documents: Whether a file's bytes can be sent.
        document_links: Whether a link to a file can be sent as well.
        business_codes: Numeric codes in error bodies that say more than the status.
        embed_batch_max: Texts in one embedding request; 0 where there are no embeddings.
        embed_encoding: ``encoding_format`` of vectors; None where it is not known there.
    """

    max_tokens_field: MaxTokensField = "max_tokens"
    stream_usage: bool = True
    structured: Literal["json_schema", "json_object"] = "json_schema"
    strict: bool = True
    reasoning: ReasoningRequest = "reasoning_effort"
    effort_models: tuple[str, ...] = ()
    reasoning_back: ReasoningBack = ""
    thought_signatures: bool = False
    cache_control: tuple[str, ...] = ()
    documents: bool = True
    document_links: bool = False
    business_codes: Mapping[str, ErrorCategory] = attrs.field(factory=dict, hash=False)
    embed_batch_max: int = 256
    embed_encoding: Literal["float", "base64"] | None = "float"
