from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actrio.sansio import (
    ID_LENGTH_MAX,
    NESTING_MAX,
    Bad,
    Notification,
    Request,
    Response,
    error_object,
    error_response,
    notification,
    parse_line,
    response,
)


def nested(depth: int) -> bytes:
    """A valid request whose deepest container stands at ``depth``."""
    inner = depth - 1
    return b'{"id":1,"method":"m","params":' + b"[" * inner + b"]" * inner + b"}"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"jsonrpc":"2.0","id":1,"method":"ping"}', Request(1, "ping", {})),
        (b'{"id":"1","method":"ping","params":null}', Request("1", "ping", {})),
        (b'{"id":0,"method":"m","params":[1]}', Request(0, "m", [1])),
        (b'{"method":"m","params":{"a":1}}', Notification("m", {"a": 1})),
        (b'{"id":"srv-1","result":{"ok":true}}', Response("srv-1", {"ok": True})),
        (b'{"id":"srv-1","error":{"code":1}}', Response("srv-1", None, {"code": 1})),
        (b'{"id":"srv-1","result":null}', Response("srv-1")),
        (b'{"id":-9223372036854775808,"method":"m"}', Request(-(2**63), "m", {})),
    ],
)
def test_well_formed_lines(line, message):
    """Requests, notifications and responses come out as they are, ids with their type."""
    assert parse_line(line) == message
    assert type(parse_line(line)) is type(message)


@pytest.mark.parametrize(
    "line",
    [
        b"garbage",
        b'{"id":1,"method":"m"',
        b'{"id":1,"method":"m"} {}',
        b'{"id":1,"method":"\xff"}',
        b'{"id":1,"method":"\xed\xa0\x80"}',
        b'{"id":NaN,"method":"m"}',
        b'{"id":1,"method":"m","params":{"x":Infinity}}',
        b'{"id":1,"method":"m","params":[1e999]}',
        b'{"id":1,"method":"m","params":[' + b"9" * 4300 + b"]}",
        b'{"id":' + b"9" * 4301 + b',"method":"m"}',
        b'{"id":18446744073709551616,"method":"m"}',
        b'{"id":-9223372036854775809,"method":"m"}',
        b"[" * 3_000_000,
        b"[" * 500_000 + b"]" * 500_000,
        b'{"a":' * 5000 + b"1" + b"}" * 5000,
        nested(NESTING_MAX + 1),
    ],
)
def test_what_is_not_json_within_bounds_is_a_parse_error(line):
    """Bad bytes, bad JSON and values beyond the bounds answer -32700 with id null."""
    bad = parse_line(line)
    assert isinstance(bad, Bad)
    assert (bad.code, bad.id) == (-32700, None)
    assert len(bad.message) < 200


def test_nesting_up_to_the_limit_is_read():
    """The limit itself is allowed, and a wide line is not taken for a deep one."""
    assert isinstance(parse_line(nested(NESTING_MAX)), Request)
    wide = b'{"id":1,"method":"m","params":[' + b",".join([b"[[]]"] * 5000) + b"]}"
    assert isinstance(parse_line(wide), Request)


def test_long_digits_inside_text_are_no_number():
    """Only numbers are measured: a string of digits and a long fraction pass."""
    line = b'{"id":1,"method":"m","params":["' + b"9" * 5000 + b'",0.' + b"1" * 5000 + b"]}"
    assert isinstance(parse_line(line), Request)


@pytest.mark.parametrize(
    ("line", "id"),
    [
        (b"[]", None),
        (b'[{"id":1,"method":"m"},{"id":2,"method":"m"}]', None),
        (b'"text"', None),
        (b"1", None),
        (b"true", None),
        (b"null", None),
        (b"{}", None),
        (b'{"id":1}', 1),
        (b'{"id":"a"}', "a"),
        (b'{"id":null,"method":"m"}', None),
        (b'{"id":1.0,"method":"m"}', None),
        (b'{"id":1e2,"method":"m"}', None),
        (b'{"id":true,"method":"m"}', None),
        (b'{"id":{},"method":"m"}', None),
        (b'{"id":[],"method":"m"}', None),
        (b'{"id":"' + b"x" * (ID_LENGTH_MAX + 1) + b'","method":"m"}', None),
        (b'{"jsonrpc":"1.0","id":7,"method":"m"}', 7),
        (b'{"id":7,"method":3}', 7),
        (b'{"id":7,"method":"m","params":"x"}', 7),
        (b'{"result":1}', None),
        (b'{"id":"srv-1","error":"text"}', None),
    ],
)
def test_json_that_is_no_message_is_an_invalid_request(line, id):
    """The answer is -32600 and carries the line's id wherever one could be read."""
    bad = parse_line(line)
    assert isinstance(bad, Bad)
    assert (bad.code, bad.id) == (-32600, id)


def test_answers_are_what_a_peer_reads_back():
    """Notifications and results of ours parse as themselves; an error keeps its id."""
    assert parse_line(json.dumps(notification("m", {})).encode()) == Notification("m", {})
    assert parse_line(json.dumps(response(1, [2])).encode()) == Response(1, [2])
    error = error_object(-32601, "no", {"kind": "method_not_found"})
    assert parse_line(json.dumps(error_response("a", error)).encode()) == Response("a", None, error)
    assert error_response(None, error_object(1, "x")) == {
        "jsonrpc": "2.0",
        "id": None,
        "error": {"code": 1, "message": "x"},
    }


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(id=st.text(max_size=50) | st.integers(-(2**63), 2**64 - 1), method=st.text())
def test_ids_keep_their_type(id, method):
    """Whatever the id is, it comes back equal and of the same type."""
    parsed = parse_line(json.dumps({"id": id, "method": method}, ensure_ascii=False).encode())
    assert isinstance(parsed, Request)
    assert (parsed.id, type(parsed.id), parsed.method) == (id, type(id), method)


@given(
    message=st.fixed_dictionaries(
        {}, optional=dict.fromkeys(("jsonrpc", "id", "method", "params", "result"), json_values)
    ),
    edits=st.lists(st.tuples(st.integers(0, 300), st.binary(max_size=4)), max_size=6),
)
def test_mutated_lines_never_raise(message, edits):
    """Any damage to a line gives a value, and an error code of the table."""
    line = bytearray(json.dumps(message).encode())
    for place, piece in edits:
        line[place : place + 1] = piece
    parsed = parse_line(bytes(line))
    assert not isinstance(parsed, Bad) or parsed.code in {-32700, -32600}


@given(st.binary(max_size=200))
def test_random_bytes_never_raise(data):
    """No bytes at all make the reader raise."""
    assert parse_line(data) is not None
