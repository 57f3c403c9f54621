"""Whatever a client sends: an answer that can be correlated, and a server that stays up."""

from __future__ import annotations

import copy
import json
import random

import pytest
import trio
import trio.testing
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actrio.rpc import ConnectionLimits
from actrio.runtime import Settings
from actrio.stdio import WireRules, serve_stdio

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


# Mutation of valid lines

VALID = [
    {"id": 1, "method": "initialize", "params": {"capabilities": {"tools": True}}},
    {"id": 2, "method": "session/create", "params": {"id": "s", "model": "scripted:tokens"}},
    {"id": 3, "method": "turn/start", "params": {"session": "s", "prompt": "Hi", "wait": True}},
    {
        "id": 4,
        "method": "turn/start",
        "params": {"session": "s", "parts": [{"type": "text", "text": "é"}]},
    },
    {"id": "5", "method": "turn/wait", "params": {"turn": "t_1", "session": "s"}},
    {"id": 6, "method": "turn/cancel", "params": {"turn": "t_1", "reason": "x"}},
    {"id": 7, "method": "session/subscribe", "params": {"session": "s", "from": 0}},
    {"id": 8, "method": "session/history", "params": {"session": "s", "limit": 3}},
    {"id": 9, "method": "agent/register", "params": {"name": "a", "tools": [{"name": "t"}]}},
    {
        "id": 10,
        "method": "approval/resolve",
        "params": {"session": "s", "approval": "a", "decision": "denied"},
    },
    {"id": 11, "method": "blob/read", "params": {"blob": "b_" + "0" * 40}},
    {"id": 12, "method": "runtime/stats"},
    {"id": 13, "method": "session/close", "params": {"session": "s"}},
    {"id": 14, "method": "session/list", "params": {}},
    {"method": "flow/ack", "params": {"session": "s", "seq": 3}},
    {"method": "$/cancelRequest", "params": {"id": 3}},
    {"id": "srv-1", "result": {"decision": "approved"}},
]

VALUES = [None, True, -1, 0.5, 2**63, "", "s", "x" * 300, [], {}, [None], {"a": 1}, "\u2028"]


def mutated(rng: random.Random) -> bytes:
    """Return a valid line with some damage."""
    message = json.loads(json.dumps(rng.choice(VALID)))
    for _ in range(rng.randrange(3)):
        place = message
        while isinstance(place, dict) and place and rng.random() < 0.6:
            inner = rng.choice(list(place.values()))
            if not isinstance(inner, dict) or not inner:
                break
            place = inner
        key = rng.choice([*place, "extra"])
        if rng.random() < 0.3:
            place.pop(key, None)
        else:
            place[key] = copy.deepcopy(rng.choice(VALUES))
    line = json.dumps(message, ensure_ascii=rng.random() < 0.5).encode("utf-8", "replace")
    if rng.random() < 0.3:
        at = rng.randrange(len(line) + 1)
        line = (
            line[:at] + rng.choice([b"\xff", b"{", b"]", b'"', b"\\", b"\n", b"\x00"]) + line[at:]
        )
    return line + b"\n"


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 2**32))
def test_mutated_lines_never_bring_it_down(seed):
    """Damaged lines are answered within the rules, and the next good request is served."""
    trio.run(converse, seed)


async def converse(seed: int) -> None:
    rng = random.Random(seed)
    rules = WireRules(whole=False)
    ours, theirs = trio.testing.memory_stream_pair()
    code = None

    async def serve() -> None:
        nonlocal code
        code = await serve_stdio(Settings(), stdin=theirs, stdout=theirs, env={})
        await theirs.aclose()

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            lines = [json.dumps(VALID[0]).encode() + b"\n"]
            lines += [mutated(rng) for _ in range(30)]
            lines.append(b'{"id":"last","method":"ping"}\n')
            received = b""
            for line in lines:
                for one in line.splitlines(keepends=True):
                    rules.sent(loaded(one))
                await ours.send_all(line)
            while b'"last"' not in received:
                received += await ours.receive_some()
            await ours.send_eof()
            while data := await ours.receive_some():
                received += data
    assert code == 0
    for one in received.splitlines():
        rules.received(json.loads(one), line_bytes=len(one))
    assert rules.problems == []
    assert set(rules.unanswered) == set()


def loaded(line: bytes):
    try:
        return json.loads(line)
    except ValueError:
        return None
