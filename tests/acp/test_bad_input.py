from __future__ import annotations

import json
import random

import pytest

VALID = [
    {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocolVersion": 1}},
    {"jsonrpc": "2.0", "id": 2, "method": "session/new", "params": {"cwd": "/x", "mcpServers": []}},
    {
        "jsonrpc": "2.0",
        "id": 3,
        "method": "session/prompt",
        "params": {"sessionId": "s", "prompt": [{"type": "text", "text": "x"}]},
    },
    {"jsonrpc": "2.0", "method": "session/cancel", "params": {"sessionId": "s"}},
    {"jsonrpc": "2.0", "method": "$/cancel_request", "params": {"requestId": 3}},
    {"jsonrpc": "2.0", "id": 4, "method": "session/list", "params": {"cwd": None}},
    {
        "jsonrpc": "2.0",
        "id": 5,
        "method": "session/set_config_option",
        "params": {"sessionId": "s", "configId": "model", "value": "scripted:echo"},
    },
    {"jsonrpc": "2.0", "id": "srv-1", "result": {"outcome": {"outcome": "selected"}}},
]

VALUES = [None, True, 0, -1, 1.5, "", "x", [], {}, [[]], {"type": "text"}, "\ud800", "s" * 300]


def mutated(message, chance):
    """Return a message with one member changed, removed or added, anywhere in it."""
    copy = json.loads(json.dumps(message))
    place = copy
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        if not keys:
            return copy
        key = chance.choice(keys)
        inner = place[key]
        if isinstance(inner, (dict, list)) and inner and chance.random() < 0.6:
            place = inner
            continue
        what = chance.randrange(3)
        if what == 0:
            place[key] = chance.choice(VALUES)
        elif what == 1 and isinstance(place, dict):
            del place[key]
        elif isinstance(place, dict):
            place[chance.choice(["extra", "_meta", "type"])] = chance.choice(VALUES)
        return copy


@pytest.mark.parametrize("seed", range(10))
async def test_mutated_lines_are_survived(edit, seed):
    """Whatever is wrong with a line, the next right one is answered, and each id at most once."""
    chance = random.Random(seed)
    async with edit() as editor:
        session = await editor.new()
        for _ in range(200):
            line = json.dumps(mutated(chance.choice(VALID), chance)).replace('"s"', f'"{session}"')
            data = line.encode()
            if chance.random() < 0.05:
                data = data[: chance.randrange(len(data))]
            await editor.send(data + b"\n")
            if chance.random() < 0.1:
                editor.last_id += 1000
                assert "sessions" in await editor.call("session/list")
        editor.last_id += 1000
        assert await editor.ask(session) == "end_turn"


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"no json\n", -32700),
        (b"[]\n", -32600),
        (b"\xff\n", -32700),
        (b"5\n", -32600),
        (b'{"id":null,"method":"session/list"}\n', -32600),
    ],
)
async def test_bad_lines_are_told(edit, line, code):
    """What cannot be read is answered without an id, and the connection goes on."""
    async with edit() as editor:
        await editor.send(line)
        told = await editor.receive()
        assert told["id"] is None
        assert told["error"]["code"] == code
        assert await editor.ask(await editor.new()) == "end_turn"
