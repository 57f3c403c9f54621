from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actrio.errors import ConfigError
from actrio.wire import parse_document


@pytest.mark.parametrize(
    ("format", "content"),
    [
        ("toml", b'a = 1\n[b]\nc = "x"\n'),
        ("yaml", b"a: 1\nb:\n  c: x\n"),
        ("json", b'{"a": 1, "b": {"c": "x"}}'),
        ("json", b'\xef\xbb\xbf{"a": 1, "b": {"c": "x"}}'),
    ],
)
def test_three_languages_say_the_same(format: str, content: bytes) -> None:
    """The same table in each language gives the same data."""
    assert parse_document(content, source="f", format=format) == {"a": 1, "b": {"c": "x"}}


@pytest.mark.parametrize("format", ["toml", "yaml"])
def test_an_empty_file_is_an_empty_table(format: str) -> None:
    """A file with nothing in it sets nothing."""
    assert parse_document(b"", source="f", format=format) == {}


@pytest.mark.parametrize(
    ("format", "content", "match"),
    [
        ("toml", b"a = 1\nb = \n", r"a\.toml:2:\d+: not valid TOML: Invalid value"),
        ("toml", b"a = 1\na = 2\n", r"a\.toml:2:\d+: not valid TOML: Cannot overwrite"),
        ("toml", b"a = [1,\n", r"a\.toml:2: not valid TOML"),
        ("yaml", b"a: 1\nb: [1\nc: 2\n", r"a\.yaml:3:2: not valid YAML"),
        ("yaml", b"a: !!python/object:os.system x\n", r"a\.yaml:1:4: not valid YAML"),
        ("yaml", b"a: !!bool maybe\n", "not valid YAML"),
        ("yaml", b"a: !!timestamp soon\n", "not valid YAML"),
        ("yaml", b"- 1\n", r"a\.yaml: holds no table"),
        ("json", b'{"a": 1,\n "b": }', r"a\.json:2:7: not valid JSON: Expecting value"),
        ("json", b'{"a": NaN}', "NaN is no JSON"),
        ("json", b"[1]", "holds no table"),
        ("json", b'{"a": ' + b"1" * 5000 + b"}", "not valid JSON"),
        ("json", b'{"a":' * 100_000, "nested too deeply"),
        ("toml", b"a = 1\n# \xff\n", r"a\.toml:2: not UTF-8"),
        ("toml", b"#" * (1024 * 1024 + 1), "more than a configuration"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_line(format: str, content: bytes, match: str) -> None:
    """Each unreadable file is a ConfigError with file, line and remedy."""
    with pytest.raises(ConfigError, match=match) as caught:
        parse_document(content, source=f"a.{format}", format=format)
    assert caught.value.remedy


@pytest.mark.parametrize("format", ["toml", "yaml", "json"])
@given(content=st.binary() | st.text("{}[]:=,'\"\\\n\t -&*!|>#a1.é").map(str.encode))
def test_any_bytes_are_a_table_or_a_config_error(format: str, content: bytes) -> None:
    """No bytes make the parser raise anything but ConfigError."""
    outcome: object
    try:
        outcome = parse_document(content, source="f", format=format)
    except ConfigError as error:
        outcome = error
    assert isinstance(outcome, (dict, ConfigError))
