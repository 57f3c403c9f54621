"""A JSON Schema of an answer as Anthropic's structured output takes it.

Anthropic refuses objects that are not closed and constraints that it cannot enforce. Closing an
object that says nothing about further members changes nothing that its author meant. A constraint
that cannot be enforced goes into the description, where the model reads it; the answer is checked
against the whole schema on our side anyway. The vendor's own client does the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from actrio.errors import InvalidRequest, NotSupported

__all__ = ["closed_schema"]

_DEPTH_MAX: Final = 64  # deeper than any hand-written type; a recursive value must not overflow
_FORMATS: Final = frozenset(
    "date-time time date duration email hostname uri ipv4 ipv6 uuid".split()  # noqa: SIM905
)
_KEPT: Final = frozenset(
    "type enum const default description title required pattern $ref".split()  # noqa: SIM905
)
_DROPPED: Final = frozenset({"additionalProperties", "discriminator", "$schema", "$id"})
_LISTS: Final = ("anyOf", "allOf")
_NAMED: Final = ("properties", "$defs", "definitions")


def closed_schema(schema: Mapping[str, Any], path: str = "$", depth: int = 0) -> dict[str, Any]:
    """Return ``schema`` with closed objects and without what the vendor cannot enforce.

    Raises:
        NotSupported: An object that may have members of any name; says where.
        InvalidRequest: It is nested too deeply.
    """
    if depth > _DEPTH_MAX:
        raise InvalidRequest(
            f"options.response_schema is nested more than {_DEPTH_MAX} deep.",
            remedy="Use a flatter type, or $ref for a recursive one.",
        )
    kept: dict[str, Any] = {}
    hints: dict[str, Any] = {}
    for name, value in schema.items():
        if name in _NAMED and isinstance(value, Mapping):
            kept[name] = {key: _inner(item, f"{path}.{key}", depth) for key, item in value.items()}
        elif (name in _LISTS or name == "oneOf") and isinstance(value, (list, tuple)):
            # The vendor knows no oneOf; what matches exactly one matches any.
            kept["anyOf" if name == "oneOf" else name] = [
                _inner(item, path, depth) for item in value
            ]
        elif name == "items":
            kept[name] = _inner(value, f"{path}[]", depth)
        elif _is_kept(name, value):
            kept[name] = value
        elif name not in _DROPPED:
            hints[name] = value
    _close(kept, schema, path)
    return _described(kept, hints)


def _inner(schema: Any, path: str, depth: int) -> Any:
    return closed_schema(schema, path, depth + 1) if isinstance(schema, Mapping) else schema


def _is_kept(name: str, value: Any) -> bool:
    if name == "format":
        return isinstance(value, str) and value in _FORMATS
    if name == "minItems":
        return isinstance(value, int) and value <= 1
    return name in _KEPT


def _close(kept: dict[str, Any], schema: Mapping[str, Any], path: str) -> None:
    further = schema.get("additionalProperties", False)
    if further is not False:
        raise NotSupported(
            f"options.response_schema: the object at {path} may have members of any name, which "
            "Anthropic's structured output cannot express.",
            remedy="Name its members, or use a list of objects with a key and a value.",
        )
    kind = schema.get("type")
    if kind == "object" or (isinstance(kind, (list, tuple)) and "object" in kind):
        kept["additionalProperties"] = False


def _described(kept: dict[str, Any], hints: dict[str, Any]) -> dict[str, Any]:
    if hints:
        told = msgspec.json.encode(hints).decode()
        description = kept.get("description")
        kept["description"] = f"{description}\n\n{told}" if description else told
    return kept
