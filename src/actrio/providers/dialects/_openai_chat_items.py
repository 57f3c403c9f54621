"""What only its vendor understands in a chat completion, as vendor items and citations. Pure.

OpenRouter tells reasoning twice: as text, and as ``reasoning_details``, fragments of what the
upstream vendor made, with its signatures and encrypted pieces. The details must go back whole and
in order, or the upstream refuses the next turn; so they are put together and kept as items.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from actrio.errors import InvalidRequest
from actrio.messages import AssistantMessage, Citation, VendorItem

__all__ = ["OPENROUTER", "ReasoningDetails", "citation_of", "items_back", "vendor_item"]

OPENROUTER: Final = "openrouter"

_JOINED: Final = ("text", "summary")
DETAILS_MAX: Final = 1024
"""Pieces of reasoning in one answer; a thinking model with tools makes a few dozen."""


class ReasoningDetails:
    """Puts the fragments of one answer's ``reasoning_details`` together."""

    __slots__ = ("_drafts", "_texts")

    def __init__(self) -> None:
        self._drafts: dict[tuple[Any, ...], dict[str, Any]] = {}
        self._texts: dict[tuple[Any, ...], list[str]] = {}

    def add(self, details: Any) -> bool:
        """Take in what one chunk has; False where there are too many."""
        for detail in details if isinstance(details, list) else ():
            if isinstance(detail, dict):
                self._add_one(detail)
        return len(self._drafts) <= DETAILS_MAX

    def _add_one(self, detail: dict[str, Any]) -> None:
        kind, index, data = (detail.get(name) for name in ("type", "index", "data"))
        # Encrypted pieces come whole, and several may share an index.
        key = (str(kind), str(index), data if isinstance(data, str) else "")
        draft = self._drafts.setdefault(key, {})
        for name, value in detail.items():
            if name in _JOINED and isinstance(value, str):
                draft.setdefault(name, "")
                self._texts.setdefault((*key, name), []).append(value)
            elif value is not None or name not in draft:
                draft[name] = value

    def take(self) -> list[VendorItem]:
        """Return the pieces so far, in the order in which they began, and forget them."""
        items = []
        for key, draft in self._drafts.items():
            for name in _JOINED:
                if (*key, name) in self._texts:
                    draft[name] = "".join(self._texts[*key, name])
            items.append(vendor_item(OPENROUTER, str(draft.get("type") or "reasoning"), draft))
        self._drafts.clear()
        self._texts.clear()
        return items


def vendor_item(vendor: str, kind: str, value: Any) -> VendorItem:
    """Return a decoded JSON value as an item."""
    return VendorItem(vendor, kind, msgspec.json.encode(value).decode())


def items_back(message: AssistantMessage, member: str) -> list[Any]:
    """Return OpenRouter's items of ``message`` that go back in ``member``.

    Raises:
        InvalidRequest: One of them is no JSON.
    """
    if member == "reasoning_details":
        return list(_decoded(message, lambda kind: kind.startswith("reasoning")))
    return list(_decoded(message, lambda kind: kind == "annotation"))


def _decoded(message: AssistantMessage, wanted: Any) -> Iterable[Any]:
    for part in message.parts:
        if isinstance(part, VendorItem) and part.vendor == OPENROUTER and wanted(part.kind):
            try:
                yield msgspec.json.decode(part.data)
            except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
                raise InvalidRequest(
                    f"The vendor item {part.kind!r} in the history is no JSON: {error}.",
                    remedy="Keep what the model sent unchanged, or leave the item out.",
                ) from None


def citation_of(annotation: Any) -> Citation | None:
    """Return the source that a ``url_citation`` names; None for any other annotation."""
    inner = annotation.get("url_citation") if isinstance(annotation, dict) else None
    if not isinstance(inner, dict):
        return None
    source, title, quote = (_word(inner.get(name)) for name in ("url", "title", "content"))
    return Citation(source or title, title, quote, msgspec.json.encode(annotation).decode())


def _word(value: Any) -> str:
    return value if isinstance(value, str) else ""
