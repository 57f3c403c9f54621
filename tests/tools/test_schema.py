"""From a Python function to what a model is told."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import functools
from typing import TYPE_CHECKING, Annotated, Any, Literal, Optional, TypedDict

import attrs
import msgspec
import pytest

from actrio.errors import InvalidRequest
from actrio.tools import Tool, ToolBox, ToolContext, tool

if TYPE_CHECKING:
    from decimal import Decimal


class Units(enum.Enum):
    METRIC = "metric"
    IMPERIAL = "imperial"


@attrs.frozen
class Place:
    city: str
    zip: int | None = None


@attrs.frozen
class Node:
    value: int
    children: list[Node] = attrs.Factory(list)


class Pair(TypedDict):
    left: int
    right: int


def test_golden_schema():
    """Types, defaults, constraints and descriptions all arrive, and nothing else does."""

    @tool
    async def forecast(
        context: ToolContext,
        place: Place,
        units: Units = Units.METRIC,
        days: Annotated[int, msgspec.Meta(ge=1, le=7, description="How many days.")] = 1,
        mode: Literal["short", "long"] | None = None,
    ) -> str:
        """Tell the weather.

        Only for the coming week.

        Args:
            place: Where, as exactly
                as you can.
            days: Overruled by the annotation.
            mode: How much.
        """
        return ""

    assert forecast.spec.name == "forecast"
    assert forecast.spec.description == "Tell the weather.\n\nOnly for the coming week."
    assert forecast.spec.parameters == {
        "type": "object",
        "properties": {
            "place": {
                "title": "Place",
                "description": "Where, as exactly as you can.",
                "type": "object",
                "properties": {
                    "city": {"type": "string"},
                    "zip": {"anyOf": [{"type": "integer"}, {"type": "null"}], "default": None},
                },
                "required": ["city"],
                "additionalProperties": False,
            },
            "units": {
                "title": "Units",
                "type": "string",
                "enum": ["imperial", "metric"],
                "default": "metric",
            },
            "days": {
                "description": "How many days.",
                "default": 1,
                "type": "integer",
                "minimum": 1,
                "maximum": 7,
            },
            "mode": {
                "description": "How much.",
                "default": None,
                "anyOf": [{"type": "string", "enum": ["long", "short"]}, {"type": "null"}],
            },
        },
        "required": ["place"],
        "additionalProperties": False,
    }


def test_no_arguments_is_an_empty_closed_object():
    """A function without parameters has a schema that allows none."""

    @tool
    def now() -> str:
        return ""

    assert now.spec.parameters == {
        "type": "object",
        "properties": {},
        "required": [],
        "additionalProperties": False,
    }
    assert now.spec.description == ""


def test_recursive_types_keep_their_reference():
    """What has no end stays a definition; the rest has no reference left."""

    @tool
    def count(tree: Node, other: Place, third: Place) -> int:
        return 0

    parameters = count.spec.parameters
    assert list(parameters["$defs"]) == ["Node"]
    assert parameters["properties"]["tree"] == {"$ref": "#/$defs/Node"}
    assert parameters["properties"]["other"] == parameters["properties"]["third"]
    assert parameters["$defs"]["Node"]["additionalProperties"] is False


def test_large_types_used_twice_are_defined_once():
    """Repeating a large definition would cost tokens on every request."""
    wide = attrs.make_class(
        "Wide", {f"field_with_a_long_name_{i}": attrs.field(type=str) for i in range(60)}
    )

    def move(source, target):
        pass

    move.__annotations__ = {"source": wide, "target": wide}
    assert list(tool(move).spec.parameters["$defs"]) == ["Wide"]
    move.__annotations__ = {"source": wide, "target": int}
    assert "$defs" not in tool(move).spec.parameters


def test_parameters_may_be_named_like_keywords():
    """A parameter called enum or default is a parameter, and keeps its schema."""

    @tool
    def odd(enum: str, default: Place, discriminator: int, properties: Pair, type: str = "x"):
        pass

    properties = odd.spec.parameters["properties"]
    assert list(properties) == ["enum", "default", "discriminator", "properties", "type"]
    assert properties["default"]["title"] == "Place"
    assert properties["properties"]["additionalProperties"] is False
    assert properties["type"] == {"type": "string", "default": "x"}


def test_tagged_unions_have_no_openapi_discriminator():
    """The variants tell themselves apart by their tag."""

    class Cat(msgspec.Struct, tag=True):
        lives: int

    class Dog(msgspec.Struct, tag=True):
        tricks: int

    @tool
    def pet(animal: Cat | Dog) -> None:
        pass

    animal = pet.spec.parameters["properties"]["animal"]
    assert list(animal) == ["anyOf"]
    assert [each["title"] for each in animal["anyOf"]] == ["Cat", "Dog"]


def test_a_default_without_json_form_is_left_out():
    """Such a default still holds for the function; the schema only says "not required"."""

    @tool
    def f(x: Any = object) -> None:
        pass

    assert f.spec.parameters["properties"] == {"x": {}}
    assert f.spec.parameters["required"] == []


def test_local_types_optional_contexts_and_old_style_optionals():
    """Annotations of a closure resolve, also where they are only text."""

    @dataclasses.dataclass
    class Local:
        when: dt.date

    @tool
    def f(a: Local, b: Optional[Local] = None, c: int = None, d: ToolContext | None = None):  # noqa: RUF013, UP045
        return a

    properties = f.spec.parameters["properties"]
    assert list(properties) == ["a", "b", "c"]
    assert properties["a"]["properties"]["when"] == {"type": "string", "format": "date"}
    assert properties["c"]["anyOf"] == [{"type": "integer"}, {"type": "null"}]
    assert f.signature.injected == ("d",)


def test_partials_methods_and_decorated_functions():
    """What a partial fixed and what a method is bound to is not for the model."""

    class Shop:
        def __init__(self, prices):
            self.prices = prices

        @tool
        def price(self, item: str) -> int:
            """Say the price.

            :param item: What to buy.
            """
            return self.prices[item]

        def stock(self, item: str) -> int:
            return 1

        async def __call__(self, item: str) -> int:
            return 2

    shop = Shop({"tea": 3})
    assert shop.price.spec.parameters["properties"] == {
        "item": {"description": "What to buy.", "type": "string"}
    }
    assert shop.price("tea") == 3
    assert list(tool(shop.stock).spec.parameters["properties"]) == ["item"]
    called = tool(shop)
    assert (called.name, called.is_async) == ("Shop", True)
    with pytest.raises(InvalidRequest, match="without its instance"):
        ToolBox([Shop.price])
    with pytest.raises(InvalidRequest, match=r"'self' without a type") as caught:
        tool(name="stock")(functools.partial(Shop.stock))
    assert "tool(instance.method)" in caught.value.remedy

    def add(a: int, b: int) -> int:
        return a + b

    partial = tool(functools.partial(add, b=2))
    assert (partial.name, list(partial.spec.parameters["properties"])) == ("add", ["a"])
    assert partial(a=1) == 3

    @functools.wraps(add)
    def wrapped(*args, **kwargs):
        return add(*args, **kwargs)

    assert list(tool(wrapped).spec.parameters["properties"]) == ["a", "b"]


def plain() -> None: ...


def test_options_and_calling_directly():
    """A tool keeps its options, and is still the function."""

    @tool(
        name="add-up",
        description="Add.",
        timeout_seconds=3,
        read_only=True,
        exclusive=True,
        output_bytes_max=9,
        approval="ask",
    )
    def add(a: int, b: int) -> int:
        """Ignored."""
        return a + b

    assert isinstance(add, Tool)
    assert (add.name, add.spec.description, add.timeout_seconds) == ("add-up", "Add.", 3)
    assert (add.read_only, add.exclusive, add.output_bytes_max) == (True, True, 9)
    assert (add.approval, tool(plain).approval) == ("ask", "never")
    assert add(1, b=2) == 3
    assert repr(add) == "<tool add-up>"
    assert not add.is_async
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        add.timeout_seconds = 4


def star(*names: str): ...
def stars(**names: str): ...
def bare(city): ...
def positional(city: str, /): ...
def odd(city: complex): ...
def odd_inside(cities: list[object]): ...
def two_classes(it: Place | Node): ...
def unresolved(amount: Decimal): ...
def generator(a: int):
    yield a


async def async_generator(a: int):
    yield a


@pytest.mark.parametrize(
    ("function", "texts"),
    [
        (star, ["'star'", "*names", "list[str]"]),
        (stars, ["'stars'", "**names"]),
        (bare, ["'city' without a type", "`city: str`"]),
        (positional, ["'city' by position only", "`/`"]),
        (odd, ["'city' of type complex", "cannot come from JSON"]),
        (odd_inside, ["'cities' of type list[object]"]),
        (two_classes, ["'it' of type"]),
        (unresolved, ["'amount' of type 'Decimal'", "is not defined", "TYPE_CHECKING"]),
        (generator, ["is a generator"]),
        (async_generator, ["is a generator"]),
        (lambda: None, ["'<lambda>'", "@tool(name="]),
        (3, ["not a function"]),
        (tool(name="x")(lambda: None), ["a tool already"]),
    ],
)
def test_what_no_model_could_call_is_refused(function, texts):
    """The refusal comes when decorating, names the parameter and says what to write."""
    with pytest.raises(InvalidRequest) as caught:
        tool(function)
    for text in texts:
        assert text in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [
        {"name": "with space"},
        {"name": ""},
        {"name": "x" * 65},
        {"name": "größe"},
        {"timeout_seconds": 0},
        {"timeout_seconds": float("nan")},
        {"output_bytes_max": 0},
        {"approval": "always"},
        {"approval": True},
    ],
)
def test_wrong_options_are_refused(options):
    """So are options out of range."""
    with pytest.raises(InvalidRequest):
        tool(**options)(lambda: None)
