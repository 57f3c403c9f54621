from __future__ import annotations

import random
from contextlib import suppress
from typing import Any

import attrs
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actrio.errors import InvalidRequest
from actrio.providers.scripted._instance import instance_of


def made(schema: dict[str, Any], seed: int = 0, text: str = "") -> Any:
    return instance_of(schema, random.Random(seed), text=text)


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"const": 7}, 7),
        ({"default": "x", "type": "string"}, "x"),
        ({"enum": ["only"]}, "only"),
        ({"type": "boolean"}, True),
        ({"type": "null"}, None),
        ({"type": ["null", "boolean"]}, True),
        ({"type": "string", "format": "date"}, "2026-01-31"),
        ({"type": "integer", "minimum": 20}, 20),
        ({"type": "integer", "exclusiveMinimum": 20}, 21),
        ({"type": "integer", "maximum": -3}, -3),
        ({"type": "number", "exclusiveMaximum": 0}, -0.5),
        ({"type": "integer", "minimum": 11, "multipleOf": 5}, 15),
        ({"type": "string", "minLength": 300, "enum": None, "maxLength": 300}, None),
        ({"type": "array", "items": {"type": "boolean"}, "minItems": 2}, [True, True]),
        ({"type": "array", "items": {"type": "boolean"}}, []),
        ({"type": "array", "prefixItems": [{"const": 1}, {"const": 2}]}, [1, 2]),
        ({"anyOf": [{"type": "null"}, {"const": 3}]}, 3),
        (
            {
                "allOf": [
                    {"type": "object", "properties": {"a": {"const": 1}}, "required": ["a"]},
                    {"properties": {"b": {"const": 2}}, "required": ["b"]},
                ]
            },
            {"a": 1, "b": 2},
        ),
        ({"$ref": "#/$defs/a~1b", "$defs": {"a/b": {"const": 5}}}, 5),
        ({"properties": {"x": {"const": 1}, "y": {"const": 2}}, "required": ["x"]}, {"x": 1}),
        ({"$ref": "#"}, None),
    ],
)
def test_a_minimal_instance(schema: dict[str, Any], value: Any) -> None:
    """What is required and nothing else, within the stated bounds."""
    found = made(schema)
    if schema.get("minLength"):
        assert len(found) == 300
    elif schema == {"$ref": "#"}:
        assert isinstance(found, str)  # a reference to itself says nothing, so anything is right
    else:
        assert found == value


def test_questions_are_answered_with_the_text() -> None:
    """A string named like a question says what the user said."""
    schema = {"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]}
    assert made(schema, text="Where is Lima?") == {"query": "Where is Lima?"}


def test_the_seed_decides() -> None:
    """The same seed gives the same value, and some other seed another."""
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    values = [made(schema, seed)["city"] for seed in range(20)]
    assert values == [made(schema, seed)["city"] for seed in range(20)]
    assert len(set(values)) > 1


@attrs.define
class Leg:
    to: str
    kilometres: float


@attrs.define
class Trip:
    name: str
    legs: tuple[Leg, Leg]
    paid: bool
    first: Leg
    note: str | None


def test_an_instance_of_a_types_schema_is_of_that_type() -> None:
    """What msgspec says of a type, and what is made of it, agree."""
    schema = msgspec.json.schema(Trip)
    trip = msgspec.convert(made(schema), Trip)
    assert isinstance(trip.first, Leg)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "integer", "minimum": "x"},
        {"type": "object", "required": 3},
        {"type": "object", "properties": ["x"], "required": ["a"]},
        {"anyOf": 3},
        {"type": "number", "multipleOf": "x"},
        {"allOf": [{"$ref": "#"}]},
        {
            "type": "object",
            "properties": {"a": {"$ref": "#"}, "b": {"$ref": "#"}},
            "required": ["a", "b"],
        },
    ],
)
def test_no_schema_is_told(schema: dict[str, Any]) -> None:
    """A schema that is none is the caller's mistake."""
    with pytest.raises(InvalidRequest, match="JSON Schema"):
        made(schema)


keys = st.sampled_from(
    ["type", "properties", "items", "required", "anyOf", "allOf", "$ref", "enum", "minimum", "a"]
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["object", "#", "a"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(keys, json_values, max_size=5))
def test_any_json_is_an_instance_or_no_schema(schema: dict[str, Any]) -> None:
    """Nothing else than an instance or our error comes of it."""
    with suppress(InvalidRequest):
        made(schema)
