"""The shapes of Gemini's answers, as far as they are read, and what they are called.

Members that are not named here are skipped without being built. Whatever may differ in type
between versions is kept as ``Any`` and looked at with care; the rest is checked by the decoder.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from actrio.messages import Citation, FinishReason, Usage

__all__ = [
    "FINISH",
    "THINKING_MARK",
    "VENDOR",
    "Candidate",
    "Chunk",
    "FunctionCall",
    "Part",
    "WireUsage",
    "citations_of",
    "decode_chunk",
    "decode_chunks",
    "invented_id",
    "is_invented",
    "usage_of",
    "vendor_parts",
]

VENDOR: Final = "gemini"
"""Names this dialect in a `VendorItem`."""

THINKING_MARK: Final = "gemini:"
"""Stands before the signature of a thought. A signature is the vendor's secret and looks like
anybody's; without the mark, another vendor's thought would be sent here and refused."""

_INVENTED: Final = "noid_"

FINISH: Final[Mapping[str, FinishReason]] = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "SAFETY": "content_filter",
    "RECITATION": "content_filter",
    "BLOCKLIST": "content_filter",
    "PROHIBITED_CONTENT": "content_filter",
    "SPII": "content_filter",
    "IMAGE_SAFETY": "content_filter",
    "MALFORMED_FUNCTION_CALL": "error",
    "UNEXPECTED_TOOL_CALL": "error",
    "TOO_MANY_TOOL_CALLS": "error",
    "MISSING_THOUGHT_SIGNATURE": "error",
    "MALFORMED_RESPONSE": "error",
}


class FunctionCall(msgspec.Struct, rename="camel"):
    """``args`` stays the text that the vendor wrote: it must go back unchanged."""

    name: str | None = None
    args: msgspec.Raw = msgspec.Raw(b"{}")
    id: str | None = None

    def arguments(self) -> str:
        text = bytes(self.args).decode("utf-8", "replace").strip()
        return "{}" if text in {"", "null"} else text


class Part(msgspec.Struct, rename="camel"):
    """One part; of the kinds, only the frequent ones are members."""

    text: str | None = None
    thought: bool | None = None
    thought_signature: str | None = None
    function_call: FunctionCall | None = None


class _Content(msgspec.Struct):
    parts: list[Part] | None = None


class Candidate(msgspec.Struct, rename="camel"):
    """One of the answers; only the first is asked for and read."""

    content: _Content | None = None
    finish_reason: str | None = None
    index: int | None = None
    grounding_metadata: Any = None
    citation_metadata: Any = None


class _PromptFeedback(msgspec.Struct, rename="camel"):
    block_reason: str | None = None


class WireUsage(msgspec.Struct, rename="camel"):
    """Cumulative: that of the last event is that of the answer."""

    prompt_token_count: Any = None
    cached_content_token_count: Any = None
    tool_use_prompt_token_count: Any = None
    candidates_token_count: Any = None
    thoughts_token_count: Any = None


class Chunk(msgspec.Struct, rename="camel"):
    """One event of a stream, or a whole answer: they have the same shape."""

    candidates: list[Candidate] | None = None
    usage_metadata: WireUsage | None = None
    prompt_feedback: _PromptFeedback | None = None
    model_version: str | None = None
    response_id: str | None = None
    error: Any = None


class _RawContent(msgspec.Struct):
    parts: list[dict[str, msgspec.Raw]] | None = None


class _RawCandidate(msgspec.Struct):
    content: _RawContent | None = None


class _RawChunk(msgspec.Struct):
    candidates: list[_RawCandidate] | None = None


decode_chunk: Final = msgspec.json.Decoder(Chunk).decode
decode_chunks: Final = msgspec.json.Decoder(Chunk | list[Chunk]).decode
_decode_raw: Final = msgspec.json.Decoder(_RawChunk | list[_RawChunk]).decode

_ABOUT_A_PART: Final = {"thought", "thoughtSignature", "partMetadata", "videoMetadata"}


def vendor_parts(data: str | bytes, chunk: int, candidate: int) -> list[tuple[str, str]]:
    """Return the kind and the JSON text of each part of one candidate, as they were sent.

    A second look at an answer that holds a part of an unusual kind. Paying for it only there
    keeps the reading of text cheap and still loses no member of such a part.

    Args:
        data: What was decoded: one chunk, or a list of them.
        chunk: Which chunk, where it is a list.
        candidate: Which candidate.
    """
    value = _decode_raw(data)
    found = (value[chunk] if isinstance(value, list) else value).candidates or []
    content = found[candidate].content
    parts = (content.parts if content is not None else None) or []
    return [(_kind(part), msgspec.json.encode(part).decode("utf-8", "replace")) for part in parts]


def _kind(part: dict[str, msgspec.Raw]) -> str:
    return next((name for name in part if name not in _ABOUT_A_PART), "")


def usage_of(usage: WireUsage) -> Usage:
    """Return the usage with tool prompts in the input and thoughts in the output."""
    thoughts = _count(usage.thoughts_token_count)
    return Usage(
        input_tokens=_count(usage.prompt_token_count) + _count(usage.tool_use_prompt_token_count),
        output_tokens=_count(usage.candidates_token_count) + thoughts,
        cached_input_tokens=_count(usage.cached_content_token_count),
        reasoning_tokens=thoughts,
    )


def _count(value: Any) -> int:
    return value if isinstance(value, int) and value > 0 else 0


def invented_id(stem: str, index: int) -> str:
    """Return an id for a call that came without one; it is never sent to the vendor."""
    return f"{_INVENTED}{stem}_{index}"


def is_invented(call_id: str) -> bool:
    """Whether `invented_id` made it."""
    return call_id.startswith(_INVENTED)


def citations_of(candidate: Candidate) -> Iterator[Citation]:
    """Yield the sources that a candidate tells, each with the words it supports."""
    grounding = _members(candidate.grounding_metadata)
    chunks = [_members(chunk) for chunk in _items(grounding.get("groundingChunks"))]
    quotes: dict[int, list[str]] = {}
    for support in _items(grounding.get("groundingSupports")):
        members = _members(support)
        quote = _string(_members(members.get("segment")).get("text"))
        for index in _items(members.get("groundingChunkIndices")):
            if isinstance(index, int):
                quotes.setdefault(index, []).append(quote)
    for index, chunk in enumerate(chunks):
        for quote in quotes.get(index, [""]):
            yield _citation(chunk, quote)
    cited = _members(candidate.citation_metadata)
    for source in _items(cited.get("citationSources") or cited.get("citations")):
        yield _citation({"": source}, "")


def _citation(chunk: dict[str, Any], quote: str) -> Citation:
    # A chunk has one member, named after where it was found: web, retrievedContext, maps.
    source = next((value for value in chunk.values() if isinstance(value, dict)), {})
    title = _string(source.get("title"))
    place = _string(source.get("uri")) or title or _string(source.get("fileSearchStore"))
    vendor = msgspec.json.encode(chunk.get("", chunk)).decode("utf-8", "replace")
    return Citation(place, title, quote, vendor)


def _members(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _string(value: Any) -> str:
    return value if isinstance(value, str) else ""
