"""A small valid instance of a JSON Schema, deterministic. Pure.

It fills what is required and nothing else. Of strings it knows the common formats, not
``pattern``; of combinations the first branch that works.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from typing import Any, Final

from actrio.errors import InvalidRequest

__all__ = ["instance_of"]

_DEPTH_MAX: Final = 24  # a required value that contains itself has no instance at all

_VALUES_MAX: Final = 10_000  # a type that needs itself twice would double with every level
_CHARACTERS_MAX: Final = 100_000  # what a minLength beyond it asks for is no small instance
_BREAKS: Final = (
    TypeError,
    ValueError,
    AttributeError,
    LookupError,
    ArithmeticError,
    RecursionError,
)

_FORMATS: Final[Mapping[str, str]] = {
    "date": "2026-01-31",
    "date-time": "2026-01-31T12:00:00Z",
    "time": "12:00:00Z",
    "duration": "PT1M",
    "email": "someone@example.org",
    "uri": "https://example.org/",
    "url": "https://example.org/",
    "hostname": "example.org",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "byte": "",
}

_WORDS: Final[Mapping[str, tuple[str, ...]]] = {
    "city": ("Paris", "Oslo", "Lima", "Kyoto", "Accra"),
    "location": ("Paris", "Oslo", "Lima", "Kyoto", "Accra"),
    "country": ("France", "Norway", "Peru", "Japan", "Ghana"),
    "name": ("Ada", "Grace", "Edsger", "Barbara"),
    "language": ("en", "fr", "de"),
    "unit": ("celsius",),
    "expression": ("2 + 2", "6 * 7"),
    "path": ("README.md",),
}
_PLAIN_WORDS: Final = ("alder", "birch", "cedar", "elm", "hazel", "maple", "oak", "pine")

_Schema = Mapping[str, Any]


def instance_of(schema: _Schema, rng: random.Random, *, text: str = "") -> Any:
    """Return a value that ``schema`` accepts.

    Args:
        schema: A JSON Schema; references into itself are followed.
        rng: Chooses among equally good values.
        text: What strings named like a question (query, prompt, text …) say.

    Raises:
        InvalidRequest: It is no JSON Schema.
    """
    try:
        return _Maker(schema, rng, text).make(schema, "", 0)
    except _BREAKS as error:
        # A schema is foreign data of any shape; what breaks on it is the schema, not the reader.
        raise InvalidRequest(
            f"The JSON Schema cannot be understood: {error}.",
            remedy="Check it with a JSON Schema validator.",
        ) from error


class _Maker:
    def __init__(self, root: _Schema, rng: random.Random, text: str) -> None:
        self._root = root
        self._rng = rng
        self._text = text
        self._left = _VALUES_MAX

    def make(self, schema: Any, name: str, depth: int) -> Any:
        self._left -= 1
        if self._left < 0:
            raise ValueError("it asks for too many values")
        if not isinstance(schema, Mapping) or depth > _DEPTH_MAX:
            return None
        schema = self._plain(schema)
        for key in ("const", "default"):
            if key in schema:
                return schema[key]
        for key in ("enum", "examples"):
            if isinstance(schema.get(key), list) and schema[key]:
                return self._rng.choice(schema[key])
        return self._by_type(schema, name, depth)

    def _plain(self, schema: _Schema) -> _Schema:
        """Follow references and take the first branch of each combination."""
        for _ in range(_DEPTH_MAX):
            if "$ref" in schema:
                schema = {**self._resolve(schema["$ref"]), **_without(schema, "$ref")}
            elif schema.get("allOf"):
                merged: dict[str, Any] = {}
                for part in schema["allOf"]:
                    merged = _merge(merged, self._plain(part))
                schema = _merge(_without(schema, "allOf"), merged)
            elif branches := schema.get("anyOf") or schema.get("oneOf"):
                first = next((b for b in branches if b.get("type") != "null"), branches[0])
                schema = _merge(_without(schema, "anyOf", "oneOf"), first)
            else:
                break
        return schema

    def _resolve(self, reference: Any) -> _Schema:
        found: Any = self._root
        for step in str(reference).removeprefix("#").strip("/").split("/"):
            if step:
                key = step.replace("~1", "/").replace("~0", "~")
                found = found.get(key, {}) if isinstance(found, Mapping) else {}
        return found if isinstance(found, Mapping) else {}

    def _by_type(self, schema: _Schema, name: str, depth: int) -> Any:
        kind = schema.get("type")
        if isinstance(kind, list):
            kind = next((one for one in kind if one != "null"), "null")
        if kind is None:
            kind = _guessed_type(schema)
        match kind:
            case "object":
                return self._object(schema, depth)
            case "array":
                return self._array(schema, name, depth)
            case "string":
                return self._string(schema, name)
            case "integer" | "number":
                return _number(schema, whole=kind == "integer", wish=self._rng.randint(1, 9))
            case "boolean":
                return True
            case _:
                return None

    def _object(self, schema: _Schema, depth: int) -> dict[str, Any]:
        properties = schema.get("properties") or {}
        required = schema.get("required") or ()
        return {key: self.make(properties.get(key, {}), key, depth + 1) for key in required}

    def _array(self, schema: _Schema, name: str, depth: int) -> list[Any]:
        prefix = schema.get("prefixItems") or ()
        count = max(int(schema.get("minItems", 0)), len(prefix))
        # Bounded: a schema that asks for a million items is refused by its own size check.
        kinds = [*prefix, *[schema.get("items", {})] * min(count - len(prefix), 1000)]
        return [self.make(kind, name, depth + 1) for kind in kinds]

    def _string(self, schema: _Schema, name: str) -> str:
        if (known := _FORMATS.get(str(schema.get("format", "")))) is not None:
            return known
        words = _WORDS.get(name.lower())
        if words is None and self._text and _names_a_question(name):
            value = self._text[:200]
        else:
            value = self._rng.choice(words or _PLAIN_WORDS)
        return _fit(value, schema)


def _names_a_question(name: str) -> bool:
    return name.lower() in {"query", "question", "prompt", "text", "message", "input", "topic"}


def _guessed_type(schema: _Schema) -> str:
    if "properties" in schema or "required" in schema:
        return "object"
    if "items" in schema or "prefixItems" in schema:
        return "array"
    if "minimum" in schema or "maximum" in schema:
        return "number"
    return "string"


def _fit(value: str, schema: _Schema) -> str:
    least = min(int(schema.get("minLength", 0)), _CHARACTERS_MAX)
    most = int(schema.get("maxLength", max(least, len(value))))
    return value.ljust(least, "x")[:most]


def _number(schema: _Schema, *, whole: bool, wish: int) -> int | float:
    low = _bound(schema, "minimum", "exclusiveMinimum", -math.inf, whole=whole, up=1)
    high = _bound(schema, "maximum", "exclusiveMaximum", math.inf, whole=whole, up=-1)
    value = min(max(float(wish), low), high)
    if step := schema.get("multipleOf"):
        value = math.ceil(value / step) * step
        if value > high:
            value = math.floor(high / step) * step
    return int(value) if whole or value == int(value) else value


def _bound(
    schema: _Schema, name: str, exclusive: str, default: float, *, whole: bool, up: int
) -> float:
    bound = float(schema.get(name, default))
    if isinstance(schema.get(exclusive), (int, float)):
        inside = float(schema[exclusive]) + up * (1.0 if whole else 0.5)
        bound = max(bound, inside) if up > 0 else min(bound, inside)
    return bound


def _without(schema: _Schema, *keys: str) -> dict[str, Any]:
    return {key: value for key, value in schema.items() if key not in keys}


def _merge(first: _Schema, second: _Schema) -> dict[str, Any]:
    merged = {**first, **second}
    if "properties" in first and "properties" in second:
        merged["properties"] = {**first["properties"], **second["properties"]}
    if "required" in first and "required" in second:
        merged["required"] = list(dict.fromkeys([*first["required"], *second["required"]]))
    return merged
