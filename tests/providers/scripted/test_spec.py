from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actrio.errors import InvalidRequest
from actrio.providers.scripted import ScriptSpec


def test_everything_that_can_be_said() -> None:
    """Each parameter has its place, durations have units, text is unquoted."""
    text = (
        "tokens?ttft=80ms&itl=0.012s&tokens=128&tool=weather&tools=2&seed=7&fault=cut@3"
        "&text=a%20b%26c%3Dd+e"
    )
    assert ScriptSpec.parse(text) == ScriptSpec(
        kind="tokens",
        ttft_seconds=pytest.approx(0.08),
        itl_seconds=pytest.approx(0.012),
        tokens=128,
        tool="weather",
        tools=2,
        seed=7,
        fault="cut",
        fault_at=3,
        text="a b&c=d+e",
    )


def test_a_bare_kind_is_enough() -> None:
    """No parameter is needed."""
    assert ScriptSpec.parse("demo") == ScriptSpec()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "demo, echo, tokens, json"),
        ("gpt-4o", "demo, echo, tokens, json"),
        ("demo?speed=3", "ttft, itl, tokens, tool, tools, seed, fault, text"),
        ("demo?", None),
        ("demo?&", "Use one of ttft"),
        ("demo?ttft=80", "80ms or 1.5s"),
        ("demo?ttft=-1s", "80ms or 1.5s"),
        ("demo?ttft=inf", "80ms or 1.5s"),
        ("demo?ttft=9999s", "at most 3600s"),
        ("demo?tokens=-1", "from 0 to 1000000"),
        ("demo?tokens=many", "from 0 to 1000000"),
        ("demo?tokens=1000001", "from 0 to 1000000"),
        ("demo?tokens=" + "9" * 5000, "from 0 to 1000000"),
        ("demo?tokens=²", "from 0 to 1000000"),
        ("demo?tools=65", "from 0 to 64"),
        ("demo?fault=fire", "status401, status429"),
        ("demo?fault=slow@3", "without @3"),
        ("demo?fault=cut@x", "from 0 to"),
    ],
)
def test_mistakes_are_told_with_what_is_known(text: str, words: str | None) -> None:
    """Each wrong kind, name and value says what would be right."""
    if words is None:
        ScriptSpec.parse(text)
        return
    with pytest.raises(InvalidRequest) as caught:
        ScriptSpec.parse(text)
    assert words in str(caught.value)


@given(st.text(alphabet="demoechtokns?&=@%+0123456789ms.-ü²", max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    """No text breaks the reader."""
    with suppress(InvalidRequest):
        ScriptSpec.parse(text)
