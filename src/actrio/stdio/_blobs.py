"""Values that are too large for a line leave as blobs.

``{"$blob": "b_…", "size": 2000000, "media_type": "text/plain"}`` stands in the value's place, and
``blob/read`` gives the bytes: of a text its UTF-8, of anything else its JSON. The largest texts go
first, because that is what makes lines long (a tool's output, a document); where there is no large
text, the largest members of the result go as a whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import attrs
import msgspec

from actrio.journal import BlobPort
from actrio.wire import json_line

__all__ = ["BlobShrinker"]

_TEXT_MIN: Final = 4096
"""Shorter texts stay: a reference has a hundred bytes, and a round trip costs more than they do."""


@attrs.frozen(slots=True)
class _Place:
    """A value and where it stands."""

    container: Any
    key: Any
    size: int

    def value(self) -> Any:
        return self.container[self.key]


class BlobShrinker:
    """Makes messages fit into a line.

    Args:
        blobs: Where large values go.
        bytes_max: Longest line.
    """

    def __init__(self, blobs: BlobPort, *, bytes_max: int) -> None:
        self._blobs = blobs
        self._bytes_max = bytes_max

    async def shrink(self, message: dict[str, Any]) -> dict[str, Any]:
        """Return ``message`` with large values replaced; as it is where nothing can be."""
        copy: dict[str, Any] = _mutable(msgspec.to_builtins(message, str_keys=True))
        body = copy.get("params", copy.get("result", copy.get("error")))
        excess = len(json_line(copy)) - self._bytes_max
        for place in sorted(_texts(body), key=lambda place: -place.size):
            if excess <= 0:
                return copy
            excess -= await self._replace(
                place, place.value().encode("utf-8", "replace"), "text/plain"
            )
        members = sorted(_members(body), key=lambda place: -place.size)
        for place in members:
            if excess <= 0:
                return copy
            excess -= await self._replace(place, json_line(place.value()), "application/json")
        return copy

    async def _replace(self, place: _Place, data: bytes, media_type: str) -> int:
        """Put a reference in the place, and return about how many bytes that saves."""
        ref = await self._blobs.put(data, media_type=media_type)
        told = {"$blob": ref.id, "size": ref.size, "media_type": ref.media_type}
        before = len(json_line(place.value()))
        place.container[place.key] = told
        return before - len(json_line(told))


def _mutable(value: Any) -> Any:
    """Return a deep copy in dicts and lists."""
    if isinstance(value, dict):
        return {key: _mutable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_mutable(item) for item in value]
    return value


def _texts(value: Any) -> Iterator[_Place]:
    for key, item in _items(value):
        if isinstance(item, str):
            if len(item) >= _TEXT_MIN:
                yield _Place(value, key, len(item))
        else:
            yield from _texts(item)


def _members(body: Any) -> Iterator[_Place]:
    for key, item in _items(body):
        if isinstance(item, (dict, list)) and "$blob" not in item:
            yield _Place(body, key, len(json_line(item)))


def _items(value: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, dict):
        yield from list(value.items())
    elif isinstance(value, list):
        yield from enumerate(value)
