from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actrio.errors import ConfigError, InvalidRequest
from actrio.wire import structure


def _positive(_instance: Any, attribute: Any, value: int) -> None:
    if value <= 0:
        raise InvalidRequest(f"{attribute.name} must be positive.", remedy="Write 1 or more.")


@attrs.frozen
class Endpoint:
    base_url: str | None = None
    retries: int = attrs.field(default=1, validator=_positive)
    wait_seconds: float = 1.0
    enabled: bool = True
    headers: Mapping[str, str] = attrs.field(factory=dict)
    dialect: Literal["openai", "other"] = "openai"
    folder: Path | None = None


@attrs.frozen
class Config:
    name: str
    endpoints: Mapping[str, Endpoint] = attrs.field(factory=dict)
    tools: tuple[str, ...] = ()


def refused(data: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        structure(Config, data, source="actrio.toml")
    assert caught.value.remedy
    return str(caught.value)


def test_good_data_becomes_values() -> None:
    """Tables, lists, paths and an integer where a float is due become the attrs value."""
    data = {
        "name": "x",
        "tools": ["a", "b"],
        "endpoints": {"one": {"wait_seconds": 3, "folder": "/tmp", "headers": {"a": "b"}}},
    }
    config = structure(Config, data, source="actrio.toml")
    endpoint = Endpoint(wait_seconds=3.0, folder=Path("/tmp"), headers={"a": "b"})
    assert config == Config("x", {"one": endpoint}, ("a", "b"))


def test_unknown_key_names_file_place_and_the_close_match() -> None:
    """A key that has no place is refused with the nearest allowed one and all allowed ones."""
    told = refused({"name": "x", "endpoints": {"one": {"base_ur": "http://x"}}})
    assert told == (
        "actrio.toml: endpoints.one.base_ur: unknown key. "
        'Did you mean "base_url"? Allowed there: base_url, dialect, enabled, folder, headers, '
        "retries, wait_seconds."
    )


@pytest.mark.parametrize(
    ("endpoint", "told"),
    [
        ({"retries": "3"}, "retries: expected a whole number, found a string ('3')"),
        ({"retries": 3.0}, "retries: expected a whole number, found a number (3.0)"),
        ({"retries": True}, "retries: expected a whole number, found true or false (True)"),
        ({"enabled": "off"}, "enabled: expected true or false, found a string ('off')"),
        ({"enabled": 1}, "enabled: expected true or false, found a whole number (1)"),
        ({"wait_seconds": True}, "wait_seconds: expected a finite number"),
        ({"wait_seconds": float("nan")}, "wait_seconds: expected a finite number"),
        ({"base_url": 3}, "base_url: expected a string, found a whole number (3)"),
        ({"headers": {"a": 1}}, "headers.a: expected a string"),
        ({"headers": ["a"]}, "headers: expected a table, found a list"),
        ({"dialect": "gemini"}, 'dialect: expected one of "openai", "other", found a string'),
        ({"folder": 1}, "folder: expected a path as a string"),
        ({"retries": 0}, "retries must be positive. Write 1 or more."),
    ],
)
def test_wrong_values_are_never_coerced(endpoint: dict[str, Any], told: str) -> None:
    """A value of another type is refused with place, expectation and finding."""
    message = refused({"name": "x", "endpoints": {"one": endpoint}})
    assert message.startswith("actrio.toml: endpoints.one")
    assert told in message


def test_shapes_are_checked() -> None:
    """A string is no list, a list is no table, and a needed key must be there."""
    assert "tools: expected a list, found a string" in refused({"name": "x", "tools": "abc"})
    assert "tools[1]: expected a string" in refused({"name": "x", "tools": ["a", 1]})
    assert "endpoints.one: expected a table" in refused({"name": "x", "endpoints": {"one": 1}})
    assert "actrio.toml: expected a table" in refused([])
    assert "name: missing. Add this key." in refused({})


def test_all_problems_are_told_at_once() -> None:
    """Several problems are one error that lists them, also for programs."""
    with pytest.raises(ConfigError) as caught:
        structure(Config, {"nme": "x", "tools": 3}, source="a.yaml")
    assert "a.yaml has 3 problems" in caught.value.message
    assert [one["path"] for one in caught.value.data["problems"]] == ["name", "tools", "nme"]


def test_many_problems_are_cut() -> None:
    """A hopeless file is told by its first problems and the number of the others."""
    told = refused({"name": "x", "tools": list(range(100))})
    assert "100 problems" in told
    assert "… and 92 more." in told
    assert len(told.splitlines()) < 12


def test_a_text_in_the_wrong_place_is_not_repeated() -> None:
    """A string of the wrong type is not quoted, for it may be a secret."""
    told = refused({"name": "x", "endpoints": {"one": {"retries": "sk-abcdefghijklmnop"}}})
    assert "sk-" not in told


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["name", "tools", "endpoints", "x"]), inner)
        ),
    )
)
def test_any_data_is_a_value_or_a_config_error(data: Any) -> None:
    """Whatever a parser gives, the outcome is a Config or one ConfigError, nothing else."""
    outcome: Config | ConfigError
    try:
        outcome = structure(Config, data, source="any.json")
    except ConfigError as error:
        outcome = error
    assert isinstance(outcome, Config) or outcome.message.startswith("any.json")
