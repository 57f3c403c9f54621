"""What a streamed chunk costs: `python -m bench.decode` (or `make bench`).

Ways to read the same OpenAI stream, in reads of 1, 4 and 32 events:

    parse       the JSON of each event, the framing already done
    bare        split at blank lines, strip ``data: ``, parse: the least a client can do
    reader      what a connection does with a read: framing in any cut, bounds, errors, deltas
    + fold      the same, and every delta folded into the answer

The parser is msgspec's, the fastest for plain JSON values that we know. *typed* is the same parse
into only the members that chat completions need, which the reader uses too: shown because it is
the harder measure. Microseconds per event of process CPU time, best of five: a shared machine makes
wall time a lottery. The goal is at most 2 µs beyond the parse, and at most 1.5 times the bare split.
"""

from __future__ import annotations

import gc
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec

from actrio.messages import Fold, ModelInput, user_message
from actrio.providers.dialects import OpenAiChat
from actrio.providers.dialects._openai_chat_wire import decode_chunk

EVENTS = int(os.environ.get("BENCH_N", "20000"))
ROUNDS = 5
OVER_PARSE_MAX = 2.0
OVER_BARE_MAX = 1.5

decode_json = msgspec.json.Decoder().decode

CALL = ModelInput("gpt-4o-mini", (user_message("Hi"),))
DIALECT = OpenAiChat("openai")


def events(count: int) -> list[bytes]:
    """Return the events of a stream of ``count`` tokens as OpenAI sends them, 230 bytes each."""
    stem = {
        "id": "chatcmpl-AbCdEfGhIjKlMnOpQrStUvWxYz012",
        "object": "chat.completion.chunk",
        "created": 1763000000,
        "model": "gpt-4o-mini-2024-07-18",
        "service_tier": "default",
        "system_fingerprint": "fp_0123456789",
    }

    def event(delta: dict[str, str], finish: str | None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        body = json.dumps({**stem, "choices": [choice]}, separators=(",", ":"))
        return b"data: " + body.encode() + b"\n\n"

    texts = [" word", " another", ",", " the", " émigré", "\n"]
    made = [event({"content": texts[n % len(texts)]}, None) for n in range(count)]
    return [*made, event({}, "stop")]


def reads(stream: list[bytes], at_once: int) -> list[bytes]:
    return [b"".join(stream[n : n + at_once]) for n in range(0, len(stream), at_once)]


def parse(pieces: list[bytes], decode: Callable[[bytes], Any] = decode_json) -> None:
    for piece in pieces:
        decode(piece)


def bare(pieces: list[bytes], decode: Callable[[bytes], Any] = decode_json) -> None:
    for piece in pieces:
        for block in piece.split(b"\n\n"):
            if block:
                decode(block[6:])


def reader(pieces: list[bytes]) -> None:
    feed = DIALECT.reader(CALL, "text/event-stream").feed
    for piece in pieces:
        feed(piece)


def folded(pieces: list[bytes]) -> None:
    feed = DIALECT.reader(CALL, "text/event-stream").feed
    fold = Fold()
    for piece in pieces:
        for delta in feed(piece):
            fold.add(delta)


def micros(work: Callable[[list[bytes]], None], pieces: list[bytes]) -> float:
    """Return the CPU time per event, best of several rounds."""
    best = float("inf")
    for _ in range(ROUNDS):
        gc.collect()
        began = time.process_time()
        work(pieces)
        best = min(best, time.process_time() - began)
    return best / (EVENTS + 1) * 1e6


def main() -> int:
    stream = events(EVENTS)
    size = sum(map(len, stream)) / len(stream)
    print(
        f"Python {platform.python_version()}, msgspec {msgspec.__version__}, {platform.machine()}"
    )
    print(f"{EVENTS} events of {size:.0f} bytes; µs per event\n")
    documents = [event[6:-2] for event in stream]
    parsed, typed = micros(parse, documents), micros(partial(parse, decode=decode_chunk), documents)
    print(f"parse {parsed:.2f}, typed {typed:.2f}\n")
    print("   read of    bare   typed  reader  + fold  over parse  over bare  (typed)")
    missed = False
    for at_once in (1, 4, 32):
        pieces = reads(stream, at_once)
        ways = (bare, partial(bare, decode=decode_chunk), reader, folded)
        plain, hard, read, fold = (micros(work, pieces) for work in ways)
        over, ratio = read - parsed, read / plain
        missed |= over > OVER_PARSE_MAX or ratio > OVER_BARE_MAX
        print(
            f"{at_once:>7} ev. {plain:>7.2f} {hard:>7.2f} {read:>7.2f} {fold:>7.2f}"
            f" {over:>8.2f} µs {ratio:>8.2f} × ({read - typed:.2f} µs, {read / hard:.2f} ×)"
        )
    print(
        f"\ngoal: over parse ≤ {OVER_PARSE_MAX} µs, over bare ≤ {OVER_BARE_MAX} ×:"
        f" {'missed' if missed else 'reached'}"
    )
    return 1 if missed and "--check" in sys.argv[1:] else 0


if __name__ == "__main__":
    raise SystemExit(main())
