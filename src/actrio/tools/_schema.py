"""JSON Schema as a model reads it: small, closed, with few references.

msgspec makes the schema of each parameter's type. What is done to it here:

* Objects of named fields are closed (``additionalProperties: false``); `_arguments` enforces it.
* References are replaced by what they refer to, because several providers' constrained decoders
  follow ``$ref`` badly or not at all. Kept are the recursive ones, which have no end, and large
  ones used in several places, which would cost tokens on every request.
* An enumeration of strings or integers says so in ``type`` too; Gemini requires it.
* OpenAPI's ``discriminator`` is left out: it is no JSON Schema and holds references of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

__all__ = ["describe", "object_schema", "schema_of"]

INLINE_BYTES_MAX: Final = 2048
"""Largest definition repeated in each place that uses it; above, one ``$defs`` entry is shorter."""

_PREFIX: Final = "#/$defs/"

_DATA: Final = frozenset({"default", "enum", "const", "examples", "required"})
"""Keywords whose values are data, not schemas."""

_Schema = dict[str, Any]


def schema_of(annotation: Any) -> dict[str, Any]:
    """Return the schema of one type; raises TypeError where JSON has no form for it."""
    (schema,), components = msgspec.json.schema_components(
        [annotation], ref_template=_PREFIX + "{name}"
    )
    return _resolved(schema, components)


def object_schema(
    properties: Mapping[str, Any], extras: Mapping[str, Mapping[str, Any]], required: Sequence[str]
) -> dict[str, Any]:
    """Return the schema of an object with these typed properties and no others.

    Args:
        properties: The type of each property.
        extras: Keywords to add to a property's schema where its type does not give them.
        required: Which of them must be there.
    """
    schemas, components = msgspec.json.schema_components(
        list(properties.values()), ref_template=_PREFIX + "{name}"
    )
    whole: dict[str, Any] = {
        "type": "object",
        "properties": {
            name: {**extras.get(name, {}), **schema}
            for name, schema in zip(properties, schemas, strict=True)
        },
        "required": list(required),
        "additionalProperties": False,
    }
    return _resolved(whole, components)


def _resolved(schema: _Schema, components: Mapping[str, _Schema]) -> _Schema:
    uses = Counter(_references(schema))
    for component in components.values():
        uses.update(_references(component))
    kept = {
        name
        for name, component in components.items()
        if _is_recursive(name, components)
        or (uses[name] > 1 and len(msgspec.json.encode(component)) > INLINE_BYTES_MAX)
    }
    resolved = _tidied(_inlined(schema, components, kept))
    if kept:
        # In the components' own order, so that equal functions have equal schemas.
        resolved["$defs"] = {
            name: _tidied(_inlined(component, components, kept))
            for name, component in components.items()
            if name in kept
        }
    return resolved


def _rebuilt(schema: _Schema, change: Callable[[_Schema], _Schema]) -> _Schema:
    """Return ``schema`` with ``change`` applied to each schema that stands directly in it.

    A property may have any name, ``default`` and ``enum`` among them, and a default may be any
    value: so it matters which key is a keyword, which is a name, and which holds only data.
    """
    result: _Schema = {}
    for key, value in schema.items():
        if key == "discriminator":
            continue
        if key == "properties":
            result[key] = {name: change(each) for name, each in value.items()}
        elif isinstance(value, dict) and key not in _DATA:
            result[key] = change(value)
        elif isinstance(value, list) and key not in _DATA:
            result[key] = [change(each) if isinstance(each, dict) else each for each in value]
        else:
            result[key] = value
    return result


def _references(schema: _Schema) -> list[str]:
    found: list[str] = []

    def collect(node: _Schema) -> _Schema:
        if "$ref" in node:
            found.append(node["$ref"].removeprefix(_PREFIX))
        return _rebuilt(node, collect)

    collect(schema)
    return found


def _is_recursive(name: str, components: Mapping[str, _Schema]) -> bool:
    reached: set[str] = set()
    waiting = [name]
    while waiting:
        for target in _references(components[waiting.pop()]):
            if target == name:
                return True
            if target not in reached:
                reached.add(target)
                waiting.append(target)
    return False


def _inlined(schema: _Schema, components: Mapping[str, _Schema], kept: set[str]) -> _Schema:
    def inline(node: _Schema) -> _Schema:
        name = node.get("$ref", "").removeprefix(_PREFIX)
        if not name or name in kept:
            return _rebuilt(node, inline)
        # What stands beside a reference (a description, a default) is nearer to the reader.
        beside = {key: value for key, value in node.items() if key != "$ref"}
        return inline({**components[name], **beside})

    return inline(schema)


def _tidied(schema: _Schema) -> _Schema:
    """Return ``schema`` with objects of named fields closed, and enumerations typed."""
    tidied = _rebuilt(schema, _tidied)
    if "properties" in tidied:
        tidied.setdefault("additionalProperties", False)
    if "enum" in tidied and "type" not in tidied:
        kinds = {_KINDS.get(type(each)) for each in tidied["enum"]}
        if len(kinds) == 1 and None not in kinds:
            tidied["type"] = kinds.pop()
    return tidied


_KINDS: Final = {str: "string", int: "integer"}


def describe(schema: Mapping[str, Any]) -> str:
    """Say in a few words what ``schema`` wants, for a model that has just missed it."""
    if "enum" in schema:
        return "one of " + ", ".join(_json(value) for value in schema["enum"])
    if "const" in schema:
        return _json(schema["const"])
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(describe(each) for each in schema["anyOf"]))
    kind = str(schema.get("type", "object" if "$ref" in schema else "any value"))
    if kind == "array" and isinstance(schema.get("items"), dict) and schema["items"]:
        return f"array of {describe(schema['items'])}"
    if kind == "object" and schema.get("properties"):
        return f"object with {', '.join(schema['properties'])}"
    return f"{kind} ({schema['format']})" if "format" in schema else kind


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
