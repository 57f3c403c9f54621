"""Parameters out of plain JSON, and how a wrong one is told."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar, get_args, get_type_hints

import attrs
import msgspec

from actrio.rpc import Refused, fault

__all__ = ["names_of", "read_params"]

P = TypeVar("P")


def read_params(method: str, params: Mapping[str, Any], kind: type[P], *, more: bool = False) -> P:
    """Return ``params`` as what ``method`` takes.

    Args:
        method: For the text of an error.
        params: What came.
        kind: An attrs class.
        more: Whether members that it does not have are ignored.

    Raises:
        Refused: One is missing, unknown or of the wrong type; the answer points at it.
    """
    unknown = [] if more else list(_unknown(params, kind, ""))
    if unknown:
        known = ", ".join(names_of(kind)) or "no parameters"
        text = f"has no parameter {unknown[0].rpartition('/')[2][:100]!r}"
        raise _wrong(method, text, unknown, f"It takes {known}.")
    try:
        return msgspec.convert({_field(kind, k): v for k, v in params.items()}, kind)
    except msgspec.ValidationError as error:
        text, _, place = str(error).partition(" - at `$")
        named = re.search(r"field `(.+)`", text)
        pointer = _pointer(place.rstrip("`")) + (f"/{named[1]}" if named else "")
        accepted = ", ".join(names_of(kind))
        raise _wrong(
            method, f"{text[:1].lower()}{text[1:]}", [_public(pointer)], f"It takes {accepted}."
        ) from error


def names_of(kind: type[Any]) -> list[str]:
    """Return the members of ``kind`` as they are called on the wire."""
    return [_name(field.name) for field in attrs.fields(kind)]


def _name(field: str) -> str:
    # ``from`` is a word of Python's, and the word for a bookmark.
    return field.removesuffix("_")


def _field(kind: type[Any], name: str) -> str:
    return f"{name}_" if f"{name}_" in _nested(kind) else name  # type: ignore[arg-type]  # as below


def _public(pointer: str) -> str:
    return pointer.removesuffix("_")


def _unknown(value: Any, kind: type[Any], path: str) -> Iterator[str]:
    """Yield JSON pointers to members that have no field; msgspec ignores those of attrs classes."""
    if not isinstance(value, Mapping):
        return
    nested = _nested(kind)  # type: ignore[arg-type]  # a class is hashable
    for name, member in value.items():
        field = _field(kind, name)
        if field not in nested or name != _name(field):
            yield f"{path}/{name}"
            continue
        inner = nested[field]
        if inner is None:
            continue
        if isinstance(member, list):
            for index, each in enumerate(member):
                yield from _unknown(each, inner, f"{path}/{name}/{index}")
        else:
            yield from _unknown(member, inner, f"{path}/{name}")


@functools.cache
def _nested(kind: type[Any]) -> dict[str, type[Any] | None]:
    """Return each field of ``kind`` with the attrs class that its values are made of, if any."""
    hints = get_type_hints(kind)
    return {field.name: _attrs_in(hints[field.name]) for field in attrs.fields(kind)}


def _attrs_in(hint: Any) -> type[Any] | None:
    if attrs.has(hint):
        return hint
    return next((found for each in get_args(hint) if (found := _attrs_in(each))), None)


def _wrong(method: str, text: str, pointers: list[str], remedy: str) -> Refused:
    message = f"{method}: {text.rstrip('.')}."
    return Refused(fault("invalid_params", message, remedy=remedy, pointers=pointers))


def _pointer(path: str) -> str:
    """Return a msgspec path (``.parts[0].type``) as a JSON pointer (``/parts/0/type``)."""
    return re.sub(r"[.\[]", "/", path).replace("]", "")
