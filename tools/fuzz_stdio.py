"""Feed damaged lines to whole stdio servers: each answer within the wire's rules, memory flat.

``python tools/fuzz.py --stdio [--cases N] [--first SEED] [--processes N] [--only SEED]``

A case is a number: it chooses a valid line, some damage to it, and sometimes bytes that are no line
at all. Five hundred of them are one conversation with a server in this process. What must hold:

* the server stays up, and the next good request is answered;
* each request has its one answer, and the transcript passes `actrio.stdio.WireRules`;
* memory of the process is bounded.
"""

from __future__ import annotations

import copy
import json
import random
import resource
import sys
import traceback
from typing import Any

import structlog
import trio
import trio.testing

from actrio.rpc import ConnectionLimits
from actrio.runtime import Settings
from actrio.stdio import WireRules, serve_stdio

CONVERSATION = 500
"""Lines of one conversation."""

SECONDS_MAX = 120

VALID: list[dict[str, Any]] = [
    {"id": 1, "method": "initialize", "params": {"capabilities": {"tools": True}}},
    {"id": 2, "method": "session/create", "params": {"id": "s", "model": "scripted:tokens"}},
    {"id": 3, "method": "turn/start", "params": {"session": "s", "prompt": "Hi", "wait": True}},
    {
        "id": 4,
        "method": "turn/start",
        "params": {"session": "s", "parts": [{"type": "text", "text": "é"}], "if_busy": "steer"},
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
    {"id": 15, "method": "session/fork", "params": {"session": "s", "at": 3}},
    {"id": 16, "method": "agent/list"},
    {"method": "flow/ack", "params": {"session": "s", "seq": 3}},
    {"method": "$/cancelRequest", "params": {"id": 3}},
    {"id": "srv-1", "result": {"decision": "approved"}},
]

VALUES = [None, True, -1, 0.5, 2**63, "", "s", "x" * 300, [], {}, [None], {"a": 1}, "\u2028"]
BYTES = [b"\xff", b"{", b"]", b'"', b"\\", b"\n", b"\x00", b"\xef\xbb\xbf", b"[" * 300]


def damaged_line(rng: random.Random) -> bytes:
    """Return a valid line with some damage, or none."""
    message = copy.deepcopy(rng.choice(VALID))
    for _ in range(rng.randrange(3)):
        place: Any = message
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
        line = line[:at] + rng.choice(BYTES) + line[at:]
    return line + b"\n"


def loaded(line: bytes) -> Any:
    """Return what a line says, ``None`` where that is nothing."""
    try:
        return json.loads(line.decode())
    except (ValueError, RecursionError):
        return None


async def converse(seed: int, lines: int) -> WireRules:
    """Send that many damaged lines to a server, and return what its answers were."""
    rng = random.Random(seed)
    rules = WireRules(whole=False)
    ours, theirs = trio.testing.memory_stream_pair()
    code: int | None = None

    async def serve() -> None:
        nonlocal code
        # Bad lines in a row are the matter here, so they do not end it; nor do many at once.
        limits = ConnectionLimits(protocol_errors_max=10**9, in_flight_max=10**6, running_max=10**6)
        code = await serve_stdio(
            Settings(), on_eof="cancel", limits=limits, stdin=theirs, stdout=theirs, env={}
        )
        await theirs.aclose()

    received = bytearray()
    ended = trio.Event()

    async def read() -> None:
        while data := await ours.receive_some():
            received.extend(data)
            if b'"the last one"' in data or b'"the last one"' in received[-2000:]:
                ended.set()

    with trio.fail_after(SECONDS_MAX):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            nursery.start_soon(read)
            first = json.dumps(VALID[0]).encode() + b"\n"
            last = b'{"id":"the last one","method":"ping"}\n'
            for line in [first, *(damaged_line(rng) for _ in range(lines)), last]:
                for one in line.splitlines():
                    rules.sent(loaded(one))
                await ours.send_all(line)
            await ended.wait()
            await ours.send_eof()
    assert code == 0, f"the server ended with {code}"
    for answer in bytes(received).split(b"\n"):
        if answer:
            rules.received(json.loads(answer), line_bytes=len(answer))
    return rules


def run_conversation(work: tuple[int, int]) -> tuple[int, int, str, int]:
    """Return the seed, the lines, what is wrong (or nothing) and the peak memory."""
    seed, lines = work
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    problem = ""
    try:
        rules = trio.run(converse, seed, lines)
        if rules.problems or rules.unanswered:
            problem = f"{rules.problems[:5]}, unanswered: {rules.unanswered[:5]}"
    except Exception:  # whatever escapes is what is looked for
        problem = traceback.format_exc()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return seed, lines, problem, peak if sys.platform == "darwin" else peak * 1024


def conversations(first: int, cases: int) -> list[tuple[int, int]]:
    """Return seed and length of each conversation."""
    return [(first + n, min(CONVERSATION, cases - n)) for n in range(0, cases, CONVERSATION)]
