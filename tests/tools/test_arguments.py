"""Arguments: read strictly, or everything wrong with them told at once."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
from decimal import Decimal
from typing import Annotated, Any, Literal

import attrs
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actrio.tools import ARGUMENTS_BYTES_MAX, tool
from actrio.tools._arguments import ArgumentsInvalid, read_arguments


class Units(enum.Enum):
    C = "c"
    F = "f"


@attrs.frozen
class Place:
    city: str = attrs.field(validator=attrs.validators.min_len(1))
    zip: int | None = None


@dataclasses.dataclass
class Node:
    v: int
    children: list[Node] = dataclasses.field(default_factory=list)


@tool
def book(
    place: Place,
    nights: Annotated[int, msgspec.Meta(ge=1)],
    units: Units = Units.C,
    tags: list[str] = [],  # noqa: B006
    prices: dict[int, Decimal] | None = None,
    tree: Node | None = None,
    pair: tuple[int, str] = (1, "a"),
    day: dt.date | None = None,
    size: Literal["s", "l"] = "s",
    rate: float = 1.0,
) -> None:
    pass


@tool
def free(anything: Any = None, many: dict[str, Any] | None = None) -> None:
    pass


def read(text, of=book):
    return read_arguments(of.name, of.signature, text)


def problems(text, of=book):
    with pytest.raises(ArgumentsInvalid) as caught:
        read(text, of)
    return str(caught.value)


def test_values_arrive_as_the_declared_types():
    """What the function declares is what it gets; what was left out is left to its defaults."""
    assert read(
        '{"place":{"city":"Rome"},"nights":2,"units":"f","prices":{"1":0.10},'
        '"tree":{"v":1,"children":[{"v":2}]},"pair":[2,"b"],"day":"2026-01-02","rate":1}'
    ) == {
        "place": Place("Rome"),
        "nights": 2,
        "units": Units.F,
        "prices": {1: Decimal("0.10")},
        "tree": Node(1, [Node(2)]),
        "pair": (2, "b"),
        "day": dt.date(2026, 1, 2),
        "rate": 1.0,
    }


def test_all_problems_are_told_with_path_expected_and_got():
    """One answer tells the model everything that it must correct."""
    text = problems(
        '{"place":{"city":5,"zap":1},"units":"k","tags":["a",3],"prices":{"1":"x"},'
        '"tree":{"v":1,"children":[{"v":2,"children":[{"w":2}]}]},"pair":[1],"day":"soon",'
        '"size":"m","rate":"fast","colour":1,"a b":2}'
    )
    assert text.splitlines() == [
        "The arguments of book are not valid, so nothing was run. Correct and call again:",
        "- $.colour: unknown argument; allowed are place, nights, units, tags, prices, tree, pair, day, size, rate",
        '- $["a b"]: unknown argument; allowed are place, nights, units, tags, prices, tree, pair, day, size, rate',
        "- $.place.zap: unknown argument; allowed are city, zip",
        "- $.place.city: expected string; got 5",
        "- $.nights: missing; expected integer",
        '- $.units: expected one of "c", "f"; got "k"',
        "- $.tags[1]: expected string; got 3",
        '- $.prices["1"]: expected string (decimal) (Invalid decimal string); got "x"',
        "- $.tree.children[0].children[0].w: unknown argument; allowed are v, children",
        "- $.tree.children[0].children[0].v: missing; expected integer",
        "- $.pair: expected array of length 2; got [1]",
        '- $.day: expected string (date) or null (Invalid RFC3339 encoded date); got "soon"',
        '- $.size: expected one of "l", "s"; got "m"',
        '- $.rate: expected number; got "fast"',
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"place":{"city":"x"},"nights":0}', "$.nights: expected int >= 1; got 0"),
        ('{"place":{"city":"x"},"nights":1.5}', "$.nights: expected integer; got 1.5"),
        ('{"place":{"city":"x"},"nights":true}', "$.nights: expected integer; got true"),
        ('{"place":{"city":"x"},"nights":"3"}', '$.nights: expected integer; got "3"'),
        ('{"place":{"city":""},"nights":1}', "$.place: expected object with city, zip ("),
        ('{"place":"x","nights":1}', '$.place: expected object with city, zip; got "x"'),
        ('{"place":null,"nights":1}', "$.place: expected object with city, zip; got null"),
        ('{"place":{"city":"x","zip":"y"},"nights":1}', "$.place.zip: expected integer or null"),
        ('{"place":{"city":"x"},"nights":1,"tags":"a"}', "$.tags: expected array of string"),
    ],
)
def test_single_problems(text, told):
    """Nothing is coerced, and a validator of the tool's own type speaks for itself."""
    assert told in problems(text)


@pytest.mark.parametrize("text", ["", "  ", "null", " null\n", "{}"])
def test_nothing_counts_as_no_arguments(text):
    """Models write these for a tool without arguments; a required one is then missing."""
    assert read(text, free) == {}
    assert "$.nights: missing" in problems(text)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"nights": 1,}', "trailing comma in object (byte 13), near"),
        ('{"nights": 1', "truncated"),
        ("nights=1", "(byte 4), near nights=1"),
        ("[1, 2]", "not a JSON object"),
        ('"text"', "not a JSON object"),
        ('{"anything": ' + "[" * 100_000 + "]" * 100_000 + "}", "nested too deeply"),
        ('{"anything": "\ud800"}', "no valid Unicode"),
        ('{"anything": "' + "x" * ARGUMENTS_BYTES_MAX + '"}', "larger than 1048576 bytes"),
        ('{"anything": "' + "ü" * (ARGUMENTS_BYTES_MAX // 2) + '"}', "larger than 1048576 bytes"),
    ],
)
def test_what_is_no_json_object_says_where(text, told):
    """Position and excerpt for broken JSON, and a bound on its size."""
    answer = problems(text, free)
    assert told in answer
    assert "nothing was run" in answer
    assert len(answer) < 500


def test_many_problems_are_bounded():
    """A thousand problems tell the first twenty and that there are more."""
    text = problems('{"place":{"city":"x"},"nights":1,"tags":[' + ",".join("1" * 9999) + "]}")
    assert text.count("\n") == 21
    assert text.endswith("- and more")
    assert problems('{"' + '":1,"'.join(map(str, range(9999))) + '":1}').endswith("- and more")


def test_a_problem_deep_down_is_told_in_time():
    """Where a value is deeper than the search, the level that the search reached is told."""
    deep = '{"v":"x"}'
    for _ in range(100):
        deep = '{"v":1,"children":[' + deep + "]}"
    text = problems('{"place":{"city":"x"},"nights":1,"tree":' + deep + "}")
    assert text.count(".children[0]") == 16


def test_tagged_unions_are_told_by_their_variant():
    """The tag says which variant was meant."""

    class Cat(msgspec.Struct, tag=True):
        lives: int

    class Dog(msgspec.Struct, tag=True):
        tricks: int

    @tool
    def pet(animal: Cat | Dog) -> None:
        pass

    assert read('{"animal":{"type":"Dog","tricks":3}}', pet) == {"animal": Dog(3)}
    assert "$.animal.tricks: expected integer" in problems(
        '{"animal":{"type":"Dog","tricks":""}}', pet
    )
    assert "$.animal.lives: unknown" in problems(
        '{"animal":{"type":"Dog","tricks":1,"lives":1}}', pet
    )
    assert "$.animal: expected" in problems('{"animal":{"type":"Cow"}}', pet)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["city", "zip", "v", "children", "x", "1"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@given(
    st.dictionaries(st.sampled_from([*(p.name for p in book.signature.parameters), "other"]), JSON)
)
def test_any_object_is_read_or_explained(given):
    """Whatever a model writes, the answer is the arguments or a text with a path per problem."""
    try:
        values = read(msgspec.json.encode(given).decode())
    except ArgumentsInvalid as problem:
        first, *rest = str(problem).split("\n")
        assert "nothing was run" in first
        assert rest
        assert all(line.startswith("- $") or line == "- and more" for line in rest)
    else:
        assert set(values) == set(given)


@given(st.text())
def test_any_text_is_read_or_explained(text):
    """No text raises anything else."""
    try:
        read(text, free)
    except ArgumentsInvalid as problem:
        told = str(problem)
    else:
        told = "nothing was run"
    assert "nothing was run" in told
