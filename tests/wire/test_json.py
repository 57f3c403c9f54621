from __future__ import annotations

import json
import math
from typing import Any, NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actrio.errors import InvalidRequest
from actrio.wire import json_line

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters()), inner, max_size=4)
    ),
    max_leaves=12,
)


def _refuse(constant: str) -> NoReturn:
    raise AssertionError(f"{constant} is not JSON")


def _finite(value: Any) -> Any:
    match value:
        case float():
            return value if math.isfinite(value) else None
        case list():
            return [_finite(item) for item in value]
        case dict():
            return {key: _finite(item) for key, item in value.items()}
    return value


@given(anything)
def test_line_is_strict_json_of_the_same_value(value: Any) -> None:
    """A strict parser reads back the value, with null in the place of what JSON cannot say."""
    line = json_line(value)
    assert json.loads(line, parse_constant=_refuse) == _finite(value)


@given(anything)
def test_line_is_one_line(value: Any) -> None:
    """No reader of lines finds a break inside, and the bytes are valid UTF-8."""
    text = json_line(value).decode("utf-8")
    assert text.endswith("\n")
    assert len(text.splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a\u2028b", b'"a\\u2028b"\n'),
        ("a\u2029b", b'"a\\u2029b"\n'),
        ("a\x85b", b'"a\\u0085b"\n'),
        ("a\x0b\x1cb", b'"a\\u000b\\u001cb"\n'),
        ("\ud83d", b'"\\ud83d"\n'),
        ("é", b'"\xc3\xa9"\n'),
    ],
)
def test_line_breaks_and_half_characters_are_escaped(text: str, line: bytes) -> None:
    """Unicode line breaks and lone surrogates leave as escapes, other letters as they are."""
    assert json_line(text) == line


def test_what_has_no_json_form_is_refused() -> None:
    """An arbitrary object is an InvalidRequest that names its type."""
    with pytest.raises(InvalidRequest, match="object"):
        json_line({"a": object()})
