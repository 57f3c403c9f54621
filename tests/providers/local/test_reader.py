from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actrio.messages import (
    FinishDelta,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    Usage,
    UsageDelta,
    fold,
)
from actrio.providers.local._reader import ConstrainedReader

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
spaces = st.text(alphabet=" \t\r\n", max_size=6)


def pieces(data: st.DataObject, text: str) -> list[TextDelta]:
    """Cut a text anywhere."""
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=12)))
    bounds = [0, *cuts, len(text)]
    return [TextDelta(text[a:b]) for a, b in pairwise(bounds)]


def as_grammar(data: st.DataObject, members: list[tuple[str, str]]) -> str:
    """Write an object with whitespace wherever the grammar allows it."""
    draw = lambda: data.draw(spaces)
    inner = ",".join(
        f"{draw()}{json.dumps(key)}{draw()}:{draw()}{value}{draw()}" for key, value in members
    )
    return f"{draw()}{{{inner}}}{draw()}"


def read(reader: ConstrainedReader, deltas: list[Any]) -> list[Any]:
    """One batch per delta, as the network would bring them."""
    return [out for delta in deltas for out in reader.read([delta])]


@given(st.data(), st.text(min_size=1), st.dictionaries(st.text(), json_values), st.booleans())
def test_a_call_is_read_back_however_it_is_cut(data, name, arguments, ascii_only):
    """Any name and arguments survive: spaced as a grammar may, cut anywhere."""
    written = json.dumps(arguments, ensure_ascii=ascii_only, indent=data.draw(st.none() | spaces))
    text = as_grammar(
        data, [("tool", json.dumps(name, ensure_ascii=ascii_only)), ("arguments", written)]
    )
    deltas = read(ConstrainedReader(call_number=3), [*pieces(data, text), FinishDelta("stop")])
    output = fold(deltas)
    (call,) = output.message.tool_calls
    assert (call.id, call.name, call.arguments) == ("call_3", name, written)
    assert output.finish_reason == "tool_calls"
    assert output.message.text == ""


@given(st.data(), st.text(), st.booleans())
def test_an_answer_is_read_back_however_it_is_cut(data, answer, ascii_only):
    """Any text survives, escaped or not, and nothing around it is shown."""
    text = as_grammar(data, [("answer", json.dumps(answer, ensure_ascii=ascii_only))])
    output = fold(read(ConstrainedReader(), [*pieces(data, text), FinishDelta("stop")]))
    assert output.message.text == answer
    assert output.finish_reason == "stop"
    assert not output.message.tool_calls


@given(st.data(), json_values)
def test_an_answer_of_the_callers_schema_stays_json(data, value):
    """With an own response schema the answer's JSON text is passed on as it was written."""
    written = json.dumps(value)
    text = as_grammar(data, [("answer", written)])
    reader = ConstrainedReader(schema_answer=True)
    output = fold(read(reader, [*pieces(data, text), FinishDelta("stop")]))
    assert output.message.text == written
    assert output.finish_reason == "stop"


@given(st.data(), st.text())
def test_a_cut_answer_is_a_beginning_of_the_whole(data, answer):
    """What a length limit cuts is a prefix of the answer, and says so."""
    text = as_grammar(data, [("answer", json.dumps(answer))])
    end = data.draw(st.integers(0, text.rindex('"')))
    output = fold(read(ConstrainedReader(), [*pieces(data, text[:end]), FinishDelta("length")]))
    assert answer.startswith(output.message.text)
    assert output.finish_reason == "length"


@given(st.data(), st.text())
def test_any_text_is_survived(data, text):
    """Text in no known form is passed on whole; nothing raises."""
    output = fold(read(ConstrainedReader(), [*pieces(data, text), FinishDelta("stop")]))
    if not text.lstrip().startswith("{"):
        assert output.message.text == text


def test_text_streams_before_the_answer_is_whole():
    """Words are shown as they come, not at the end."""
    reader = ConstrainedReader()
    assert reader.read([TextDelta('{"answer": "Par')]) == [TextDelta("Par")]
    assert reader.read([TextDelta("is\\")]) == [TextDelta("is")]
    assert reader.read([TextDelta('n!"}')]) == [TextDelta("\n!")]


def test_arguments_stream_after_the_name():
    """A call begins with id and name; its arguments follow as fragments."""
    reader = ConstrainedReader()
    assert reader.read([TextDelta('{"tool": "look", "arg')]) == []
    assert reader.read([TextDelta('uments": {"a"')]) == [
        ToolCallDelta(0, id="call_0", name="look"),
        ToolCallDelta(0, arguments='{"a"'),
    ]
    assert reader.read([TextDelta(": [1]}}")]) == [ToolCallDelta(0, arguments=": [1]}")]


def test_a_call_that_is_cut_keeps_its_reason():
    """Half of a call is no call to run: the reason stays length."""
    deltas = ConstrainedReader().read(
        [TextDelta('{"tool": "look", "arguments": {"a": "b'), FinishDelta("length")]
    )
    assert deltas[-1] == FinishDelta("length")


def test_a_head_that_is_cut_shows_nothing():
    """Scaffolding without a meaning yet is never shown to a person."""
    deltas = ConstrainedReader().read([TextDelta('{"tool": "loo'), FinishDelta("length")])
    assert deltas == [FinishDelta("length")]


def test_a_whole_value_is_whole_without_its_brace():
    """The limit may cut the closing brace; the call was complete."""
    deltas = ConstrainedReader().read(
        [TextDelta('{"tool": "look", "arguments": {}'), FinishDelta("length", "length")]
    )
    assert deltas[-1] == FinishDelta("tool_calls", "length")


@pytest.mark.parametrize(
    ("escaped", "shown"),
    [
        (r"\ud83d\ude00", "😀"),
        (r"\ud83dx", "�x"),
        (r"\ude00", "�"),
        (r"\ud83dA", "�A"),
        (r"\uZZZZ", "�"),
        (r"\/\"\\", '/"\\'),
    ],
)
def test_escapes_are_decoded_at_every_cut(escaped, shown):
    """Escapes, pairs and half pairs give the same text wherever they are cut."""
    text = f'{{"answer": "{escaped}"}}'
    for cut in range(len(text)):
        deltas = [TextDelta(text[:cut]), TextDelta(text[cut:])]
        assert fold(read(ConstrainedReader(), deltas)).message.text == shown


def test_other_deltas_pass():
    """Thinking and usage are none of the reader's business."""
    others = [ThinkingDelta("hm"), UsageDelta(Usage(1, 2))]
    assert ConstrainedReader().read(others) == others


def test_an_endless_head_is_passed_on():
    """What is kept back is bounded."""
    text = '{"tool": "' + "x" * 5000
    deltas = ConstrainedReader().read([TextDelta(text)])
    assert deltas == [TextDelta(text)]
