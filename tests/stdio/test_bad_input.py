"""Whatever a client sends: an answer that can be correlated, and a server that stays up."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actrio.rpc import ConnectionLimits

DEEP = b"[" * 200 + b"]" * 200


@pytest.mark.parametrize(
    ("line", "id", "code"),
    [
        pytest.param(b"garbage", None, -32700, id="garbage"),
        pytest.param(b"\xff\xfe\xfd", None, -32700, id="no UTF-8"),
        pytest.param(b'{"id":1,"method":"ping","params":{"x":NaN}}', None, -32700, id="NaN"),
        pytest.param(b'{"id":1,"method":"ping","params":' + DEEP + b"}", None, -32700, id="deep"),
        pytest.param(b'{"id":' + b"9" * 4300 + b',"method":"ping"}', None, -32700, id="huge int"),
        pytest.param(b'[{"id":1,"method":"ping"}]', None, -32600, id="batch"),
        pytest.param(b"7", None, -32600, id="scalar"),
        pytest.param(b'"ping"', None, -32600, id="string"),
        pytest.param(b"x" * 5000, None, -32600, id="too long"),
        pytest.param(b'{"id":null,"method":"ping"}', None, -32600, id="id null"),
        pytest.param(b'{"id":1.5,"method":"ping"}', None, -32600, id="id float"),
        pytest.param(b'{"id":true,"method":"ping"}', None, -32600, id="id bool"),
        pytest.param(b'{"id":{},"method":"ping"}', None, -32600, id="id object"),
        pytest.param(b'{"id":4,"method":7}', 4, -32600, id="method no string"),
        pytest.param(b'{"id":4,"jsonrpc":"1.0","method":"ping"}', 4, -32600, id="jsonrpc 1.0"),
        pytest.param(b'{"id":4,"method":"no/such"}', 4, -32601, id="unknown method"),
        pytest.param(b'{"id":"4","method":"ping","params":[1]}', "4", -32602, id="positional"),
        pytest.param(b'{"id":4,"method":"turn/wait","params":{}}', 4, -32602, id="bad params"),
        pytest.param(b'{"id":4,"method":"initialize"}', 4, -32005, id="second initialize"),
        pytest.param(b'{"method":"no/such"}', None, None, id="unknown notification"),
        pytest.param(b'{"id":"srv-9","result":1}', None, None, id="answer to nothing"),
        pytest.param(b"", None, None, id="blank"),
        pytest.param(b"\r", None, None, id="CR"),
        pytest.param(b'{"id":4,"method":"ping"}\r', 4, 0, id="CRLF"),
    ],
)
async def test_the_table_of_bad_input(talk, line, id, code):
    """Each row gets its code and id, or nothing at all; a good request is answered behind it."""
    async with talk(limits=ConnectionLimits(line_bytes_max=4999)) as client:
        await client.send(line + b"\n")
        ping = await client.request("ping")
        if code is not None:
            answer = await client.answer(id)
            assert ("result" in answer) if code == 0 else (answer["error"]["code"] == code)
            if code == -32602 and b"turn/wait" in line:
                assert answer["error"]["data"]["pointers"] == ["/turn"]
        assert (await client.answer(ping))["result"] == {}
        assert client.answers.get(None, []) == []


# Damage to valid lines: tools/fuzz.py --stdio does the same for hours


@pytest.fixture(scope="module")
def fuzz():
    """Load tools/fuzz_stdio.py."""
    place = Path(__file__).parents[2] / "tools" / "fuzz_stdio.py"
    spec = importlib.util.spec_from_file_location("fuzz_stdio", place)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(seed=st.integers(0, 2**32))
def test_damaged_lines_never_bring_it_down(fuzz, seed):
    """Damaged lines are answered within the rules, and the next good request is served."""
    rules = trio.run(fuzz.converse, seed, 30)
    assert rules.problems == []
    assert rules.unanswered == []


@pytest.mark.parametrize(
    "seed",
    [
        853000,  # a second subscription while the first one was being taken back
        706500,  # a turn that was being stopped while somebody spoke (three times in forty)
    ],
)
def test_conversations_that_once_broke_a_rule(fuzz, seed):
    """Each was found among a million lines, and is had again."""
    rules = trio.run(fuzz.converse, seed, fuzz.CONVERSATION)
    assert rules.problems == []
    assert rules.unanswered == []
