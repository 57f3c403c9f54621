"""The shapes of OpenAI's responses API, as far as they are read. Pure.

Only what every event has is decoded at once; an item stays the text it came as until its type is
known, because what only the vendor understands must go back to it unchanged.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from actrio.messages import Citation, Usage

__all__ = [
    "PHASE",
    "PLACE",
    "Event",
    "FunctionCall",
    "ItemHead",
    "MessageItem",
    "ReasoningItem",
    "Response",
    "ResponseHead",
    "citation_of",
    "json_text",
    "text_of",
    "usage_of",
    "vendor_of",
]

PHASE: Final = "message_phase"
"""Kind of the vendor item that stands before a message which has a phase (``commentary``,
``final_answer``): newer models want it back, and two messages of one answer stay two."""

PLACE: Final = "item_place"
"""Kind of the vendor item that keeps the place of one which ended after the next had begun."""

_EMPTY: Final = msgspec.Raw(b"")


class Event(msgspec.Struct):
    """One event of a stream, whatever its type."""

    type: str = ""
    output_index: int = 0
    delta: Any = None
    item: msgspec.Raw = _EMPTY
    response: msgspec.Raw = _EMPTY
    annotation: msgspec.Raw = _EMPTY
    code: Any = None
    message: Any = None
    error: Any = None


class ResponseHead(msgspec.Struct):
    """Who answers."""

    id: Any = None
    model: Any = None


class Response(msgspec.Struct):
    """A whole answer, or what the last event of a stream repeats of it."""

    id: Any = None
    model: Any = None
    status: Any = None
    error: Any = None
    incomplete_details: Any = None
    output: list[msgspec.Raw] | None = None
    usage: Any = None


class ItemHead(msgspec.Struct):
    """What every item of an output has."""

    type: str = ""
    id: Any = None
    phase: Any = None


class _Part(msgspec.Struct):
    text: Any = None
    refusal: Any = None
    annotations: list[msgspec.Raw] | None = None


class MessageItem(msgspec.Struct):
    """Words of the model."""

    content: list[_Part] | None = None


class FunctionCall(msgspec.Struct):
    """A wish to run one of the caller's tools; results name ``call_id``, not ``id``."""

    id: Any = None
    call_id: Any = None
    name: Any = None
    arguments: Any = None


class ReasoningItem(msgspec.Struct):
    """Reasoning: summarised, in the open, encrypted, or only told to have been."""

    summary: list[_Part] | None = None
    content: list[_Part] | None = None
    encrypted_content: Any = None

    @property
    def shown(self) -> str:
        parts = [*(self.summary or ()), *(self.content or ())]
        return "".join(text_of(part.text) for part in parts)

    @property
    def can_return(self) -> bool:
        """Whether there is anything in it for a vendor that keeps nothing itself."""
        return bool(self.encrypted_content or self.content)


class _Annotation(msgspec.Struct):
    url: Any = None
    title: Any = None
    file_id: Any = None
    filename: Any = None


def citation_of(raw: msgspec.Raw) -> Citation:
    """Return where a text is from; the quoted words are told by position only."""
    note = msgspec.json.decode(raw, type=_Annotation)
    name = text_of(note.title) or text_of(note.filename)
    source = text_of(note.url) or text_of(note.file_id) or name
    return Citation(source, name, vendor=json_text(raw))


def vendor_of(provider: str) -> str:
    """Return the name under which items are kept; nobody else can read what is encrypted."""
    return f"{provider}.responses"


def json_text(raw: msgspec.Raw) -> str:
    """Return the JSON as the text it came as."""
    return bytes(raw).decode("utf-8", "replace")


def text_of(value: Any) -> str:
    """Return a text, or an empty one where there is something else."""
    return value if isinstance(value, str) else ""


def usage_of(value: Any) -> Usage:
    """Return the tokens; input includes what was cached, output what was reasoned."""
    if not isinstance(value, dict):
        return Usage()
    return Usage(
        input_tokens=_count(value, "input_tokens"),
        output_tokens=_count(value, "output_tokens"),
        cached_input_tokens=_count(value.get("input_tokens_details"), "cached_tokens"),
        reasoning_tokens=_count(value.get("output_tokens_details"), "reasoning_tokens"),
    )


def _count(value: Any, name: str) -> int:
    count = value.get(name) if isinstance(value, dict) else None
    return count if isinstance(count, int) and count > 0 else 0
