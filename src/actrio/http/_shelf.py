"""Responses of the OpenAI façade that no session can carry, bounded, in memory.

What the client alone knows has no place in a session of ours: calls of its own tools and their
results, a history that it brings, a change of the model. Where sessions are in memory themselves,
all responses are here, because a shelf forgets and a store does not.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Final

import attrs

from actrio.messages import Message

__all__ = ["Kept", "ResponseShelf"]

_SHELF_RESPONSES_MAX: Final = 2000
_SHELF_BYTES_MAX: Final = 64 * 1024 * 1024
"""About; each response counts with its request's size."""


@attrs.frozen(slots=True)
class Kept:
    """One response: the conversation up to it, as it was told, and its size in bytes, about."""

    conversation: tuple[Message, ...]
    told: Mapping[str, Any]
    size: int


class ResponseShelf:
    """Responses that can be gone on from, the oldest leave first. They are in memory only."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, Kept] = OrderedDict()
        self._bytes = 0

    def find(self, id: str) -> Kept | None:
        """Return a response; ``None`` where it is not, or no longer, here."""
        found = self._kept.get(id)
        if found is not None:
            self._kept.move_to_end(id)
        return found

    def put(self, id: str, kept: Kept) -> None:
        """Keep a response."""
        self._kept[id] = kept
        self._bytes += kept.size
        while len(self._kept) > _SHELF_RESPONSES_MAX or self._bytes > _SHELF_BYTES_MAX:
            _, gone = self._kept.popitem(last=False)
            self._bytes -= gone.size

    def drop(self, id: str) -> None:
        """Forget a response that is here."""
        self._bytes -= self._kept.pop(id).size
