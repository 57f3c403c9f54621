"""Feed mutated response bodies to every wire format: a result or a typed error, never anything else.

``python tools/fuzz.py [--cases N] [--first SEED] [--processes N] [--only SEED]``

Each case is one number: it chooses a vendor of the catalog, one of the wire formats it speaks, a
body of ``fixtures/`` of that format (sometimes of another), some damage to it, and how its bytes
are split. The answer is read as the connection reads it; every third body is also read as an error
and as vectors. What must hold in each case:

* nothing is raised but our own errors, and none of those that mean a bug;
* it ends: CPU time is bounded by the body's length, and a watchdog ends a case that hangs;
* what comes out is bounded by what went in, and memory by a fixed size.

With ``--stdio`` it feeds damaged lines to whole stdio servers instead, see tools/fuzz_stdio.py.

A failure is printed with the command that repeats it; the exit code is then 1.
"""

from __future__ import annotations

import argparse
import faulthandler
import importlib.util
import multiprocessing
import os
import random
import resource
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, get_args

import attrs

from actrio.errors import ActrioError, BugError, ContextWindowExceeded, ProviderError
from actrio.messages import EmbedInput, Fold, ModelInput, user_message
from actrio.providers._catalog import CATALOG, make_dialect
from actrio.providers._retry import stated_delay
from actrio.providers._settings import DialectName
from actrio.providers.dialects import Dialect

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
FOLDERS = {"openai": "openai_chat", "responses": "openai_responses"}
TYPES = {
    ".sse": "text/event-stream",
    ".ndjson": "application/x-ndjson",
    ".json": "application/json",
}

CHUNK = 2000
"""Cases that one process takes at a time: a second's work."""

SECONDS_MAX = 1.0
SECONDS_PER_BYTE_MAX = 20e-6
"""CPU time of one case; ordinary ones take a hundredth of it. Ten times what the slowest needs."""

HANG_SECONDS = 120
MEMORY_BYTES_MAX = 1024 * 1024 * 1024
OUTPUT_FACTOR_MAX = 8
"""Characters out per byte in: an escaped control character is the worst honest case."""

STATUSES = (400, 401, 402, 403, 404, 408, 409, 413, 422, 429, 500, 502, 503, 504, 529, 307)
GIANT = 5 * 1024 * 1024  # longer than an event may be
BIG = 64 * 1024


@attrs.frozen
class Body:
    """One body to begin with."""

    name: str
    kind: str
    data: bytes


@attrs.frozen
class Failure:
    """One case that did not hold."""

    seed: int
    name: str
    problem: str


def load_bodies() -> dict[str, list[Body]]:
    """Return the fixtures by wire format."""
    found: dict[str, list[Body]] = {}
    for dialect in get_args(DialectName):
        folder = FIXTURES / FOLDERS.get(dialect, dialect)
        found[dialect] = [
            Body(f"{folder.name}/{path.name}", TYPES[path.suffix], path.read_bytes())
            for path in sorted(folder.glob("*"))
            if path.suffix in TYPES
        ]
        assert found[dialect], f"{folder} has no bodies"
    return found


BODIES = load_bodies()
SPOKEN: Sequence[tuple[str, str]] = [
    (vendor, dialect) for vendor, facts in CATALOG.items() for dialect in facts.dialects
]


VALUES = (
    *(b"null", b"true", b"-1", b"0.5", b"1e999", b"9" * 400, b"123456789012345678901"),
    *(b'""', b'"null"', b'"429"', b'"\\ud800"'),
    *(b"[]", b"{}", b"[null]", b'{"a":1}', b'["x",1,{}]'),
)
"""What stands in a value's place: every JSON type, and what vendors have been seen to send."""


# -- damage --------------------------------------------------------------------------------------


def flip_bits(rng: random.Random, data: bytes, _: bytes) -> bytes:
    damaged = bytearray(data)
    for _n in range(rng.randint(1, 8)):
        at = rng.randrange(len(damaged))
        damaged[at] ^= 1 << rng.randrange(8)
    return bytes(damaged)


def truncate(rng: random.Random, data: bytes, _: bytes) -> bytes:
    return data[: rng.randrange(len(data))]


def cut_out(rng: random.Random, data: bytes, _: bytes) -> bytes:
    at = rng.randrange(len(data))
    return data[:at] + data[at + rng.randint(1, 200) :]


def shuffle_events(rng: random.Random, data: bytes, _: bytes) -> bytes:
    if len(data) > BIG:
        return data  # hundreds of copies would fill the memory before anybody reads them
    separator = b"\n\n" if b"\n\n" in data else b"\n"
    events = data.split(separator)
    for _n in range(rng.randint(1, 4)):
        event = rng.choice(events)
        match rng.randrange(3):
            case 0:
                events.insert(rng.randrange(len(events) + 1), event)
            case 1:
                events.remove(event)
                events.insert(rng.randrange(len(events) + 1), event)
            case _:
                events += [event] * rng.randint(1, 300)
    return separator.join(events)


def bad_utf8(rng: random.Random, data: bytes, _: bytes) -> bytes:
    piece = rng.choice([b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xf0\x9f", b"\x00", b"\xef\xbb\xbf"])
    at = rng.randrange(len(data))
    return data[:at] + piece + data[at:]


def other_value(rng: random.Random, data: bytes, _: bytes) -> bytes:
    """Put another JSON value behind some colon."""
    places = [at for at, byte in enumerate(data) if byte == 58]
    if not places:
        return data
    value = rng.choice(VALUES)
    at = rng.choice(places) + 1
    end = min((n for n in (data.find(c, at) for c in (b",", b"}", b"]")) if n > 0), default=at)
    return data[:at] + value + data[end:]


def nest(rng: random.Random, data: bytes, _: bytes) -> bytes:
    depth = rng.choice([10, 200, 5000, 100_000])
    opening, closing = rng.choice([(b"[", b"]"), (b'{"a":', b"}")])
    value = opening * depth + b"1" + (closing * depth if rng.random() < 0.8 else b"")
    colon = data.find(b":", rng.randrange(len(data)))
    at = colon + 1 if colon >= 0 else len(data)
    return data[:at] + value + b"," + data[at:]


def grow(rng: random.Random, data: bytes, _: bytes) -> bytes:
    """Make one string long; rarely, longer than any bound."""
    size = GIANT if rng.random() < 0.002 else rng.choice([1000, 20_000])
    quote = data.find(b'"', rng.randrange(len(data)))
    at = quote + 1 if quote >= 0 else len(data)
    return data[:at] + rng.choice([b"x", b"\\u0041", b" ", b"\\\\"]) * (size // 4) + data[at:]


def splice(rng: random.Random, data: bytes, other: bytes) -> bytes:
    return data[: rng.randrange(len(data))] + other[rng.randrange(len(other)) :]


def line_ends(rng: random.Random, data: bytes, _: bytes) -> bytes:
    return data.replace(b"\n", rng.choice([b"\r\n", b"\r", b"\n\n", b"\n: ping\n", b""]))


DAMAGES: Sequence[Callable[[random.Random, bytes, bytes], bytes]] = (
    flip_bits,
    truncate,
    cut_out,
    shuffle_events,
    bad_utf8,
    other_value,
    other_value,
    nest,
    grow,
    splice,
    line_ends,
)


# -- one case ------------------------------------------------------------------------------------


def split(rng: random.Random, data: bytes) -> list[bytes]:
    """Cut the bytes as a network might: whole, in some pieces, or (short ones) one by one."""
    if len(data) < 400 and rng.random() < 0.1:
        return [data[n : n + 1] for n in range(len(data))]
    cuts = sorted(rng.randrange(len(data) + 1) for _ in range(rng.choice([0, 0, 1, 3, 20])))
    return [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]


def read(dialect: Dialect, body: Body, pieces: list[bytes]) -> str:
    """Read an answer as the connection does; return what came of it."""
    call = ModelInput("m", (user_message("Hi"),), stream=body.kind != TYPES[".json"])
    fold = Fold()
    shown = 0
    try:
        reader = dialect.reader(call, body.kind)
        for piece in pieces:
            for delta in reader.feed(piece):
                fold.add(delta)
                shown += len(getattr(delta, "text", "") or getattr(delta, "arguments", ""))
            if reader.done:
                break
        for delta in reader.close():
            fold.add(delta)
    except ActrioError as error:
        return outcome_of(error)
    finally:
        size = sum(map(len, pieces))
        assert shown <= size * OUTPUT_FACTOR_MAX + 4096, f"{shown} characters of {size} bytes"
    fold.output()
    return "answer"


def outcome_of(error: ActrioError) -> str:
    assert not isinstance(error, BugError), f"a bug, by its own account: {error!r}"
    assert isinstance(error, (ProviderError, ContextWindowExceeded)), f"unexpected: {error!r}"
    assert error.message
    assert len(error.message) < 20_000, "a message without bound"
    return error.category if isinstance(error, ProviderError) else "context_length"


def read_as_error(rng: random.Random, dialect: Dialect, data: bytes) -> None:
    seconds = rng.choice(["3", "-1", "nan", "1e99", "Thu, 99 Foo", "", "2m", "\x00"])
    headers = {
        "content-type": "application/json",
        rng.choice(["retry-after", "retry-after-ms", "x-ratelimit-reset", "date"]): seconds,
        "x-ratelimit-remaining": "0",
    }
    error = dialect.error_from(rng.choice(STATUSES), headers, data[:65536], model="m")
    outcome_of(error)
    delay = stated_delay(error, headers, 0.0)
    assert delay is None or delay >= 0


def read_as_vectors(dialect: Dialect, data: bytes) -> None:
    call = EmbedInput("m", ("a", "b"))
    try:
        output = dialect.embed_output(call, data)
    except ActrioError as error:
        if error.kind != "not_supported":
            outcome_of(error)
    else:
        assert len(output.vectors) == len(call.texts)


def run_case(seed: int) -> tuple[str, Failure | None]:
    rng = random.Random(seed)
    vendor, kind = rng.choice(SPOKEN)
    dialect = make_dialect(kind, vendor, vendor=vendor)  # type: ignore[arg-type]
    own = BODIES[kind] if rng.random() < 0.95 else rng.choice(list(BODIES.values()))
    body = rng.choice(own)
    other = rng.choice(own)
    data = body.data
    for damage in rng.choices(DAMAGES, k=rng.choice([1, 1, 1, 2, 3])):
        if data:
            data = damage(rng, data, other.data)
    pieces = split(rng, data)
    began = time.process_time()
    try:
        outcome = read(dialect, body, pieces)
        if seed % 3 == 0:
            read_as_error(rng, dialect, data)
            read_as_vectors(dialect, data)
    except Exception:  # whatever escapes is what is looked for
        return "failed", Failure(seed, f"{vendor} {kind} {body.name}", traceback.format_exc())
    spent = time.process_time() - began
    if spent > SECONDS_MAX + len(data) * SECONDS_PER_BYTE_MAX:
        problem = f"{spent:.1f} s of CPU for {len(data)} bytes"
        return "failed", Failure(seed, f"{vendor} {kind} {body.name}", problem)
    return outcome, None


def run_chunk(first: int, count: int) -> tuple[Counter[str], list[Failure], int]:
    outcomes: Counter[str] = Counter()
    failures = []
    for seed in range(first, first + count):
        faulthandler.dump_traceback_later(HANG_SECONDS, exit=True)
        outcome, failure = run_case(seed)
        outcomes[outcome] += 1
        if failure is not None:
            failures.append(failure)
    faulthandler.cancel_dump_traceback_later()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return outcomes, failures, peak if sys.platform == "darwin" else peak * 1024


def _run_chunk(work: tuple[int, int]) -> tuple[Counter[str], list[Failure], int]:
    return run_chunk(*work)


# -- the command ---------------------------------------------------------------------------------


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--cases", type=int, default=int(os.environ.get("FUZZ_CASES", "1000000")))
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--only", type=int)
    parser.add_argument("--stdio", action="store_true", help="lines to the stdio server instead")
    chosen = parser.parse_args(arguments)
    if chosen.stdio:
        return fuzz_stdio(chosen)
    if chosen.only is not None:
        outcome, failure = run_case(chosen.only)
        print(failure.problem if failure else outcome)
        return 1 if failure else 0
    last = chosen.first + chosen.cases
    chunks = [(n, min(CHUNK, last - n)) for n in range(chosen.first, last, CHUNK)]
    began = time.monotonic()
    outcomes: Counter[str] = Counter()
    failures: list[Failure] = []
    peak = 0
    for done, told in enumerate(_results(chunks, chosen.processes), 1):
        outcomes += told[0]
        failures += told[1]
        peak = max(peak, told[2])
        if sys.stderr.isatty():
            print(
                f"\r{sum(outcomes.values())} cases, {len(failures)} failed", end="", file=sys.stderr
            )
        if len(failures) >= 20 or done == len(chunks):
            break
    return _report(outcomes, failures, peak, time.monotonic() - began)


def fuzz_stdio(chosen: argparse.Namespace) -> int:
    """Damaged lines to whole stdio servers; see tools/fuzz_stdio.py."""
    lines = _beside("fuzz_stdio")
    if chosen.only is not None:
        work = [(chosen.only, lines.CONVERSATION)]
    else:
        work = lines.conversations(chosen.first, chosen.cases)
    began = time.monotonic()
    done = failed = peak = 0
    with multiprocessing.get_context("spawn").Pool(chosen.processes) as pool:
        for seed, count, problem, memory in pool.imap_unordered(_converse, work):
            done, peak = done + count, max(peak, memory)
            if problem:
                failed += 1
                print(f"\n{problem}\nagain: python tools/fuzz.py --stdio --only {seed}")
    seconds = time.monotonic() - began
    print(f"{done} damaged lines in {seconds:.0f} s, {failed} conversations failed")
    print(f"peak memory of a process: {peak / 1e6:.0f} MB")
    return 1 if failed or peak > MEMORY_BYTES_MAX else 0


def _converse(work: tuple[int, int]) -> tuple[int, int, str, int]:
    told: tuple[int, int, str, int] = _beside("fuzz_stdio").run_conversation(work)
    return told


def _beside(name: str) -> Any:
    """Return the program of that name beside this one, as a module."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _results(chunks: list[tuple[int, int]], processes: int) -> Any:
    if processes == 1:
        yield from map(_run_chunk, chunks)
        return
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        yield from pool.imap_unordered(_run_chunk, chunks)


def _report(outcomes: Counter[str], failures: list[Failure], peak: int, seconds: float) -> int:
    for failure in failures[:5]:
        print(f"\n{failure.name}: {failure.problem}")
        print(f"again: python tools/fuzz.py --only {failure.seed}")
    total = sum(outcomes.values())
    print(f"\n{total} mutated bodies over {len(SPOKEN)} vendors' wire formats in {seconds:.0f} s")
    print(", ".join(f"{name} {count}" for name, count in outcomes.most_common()))
    print(f"peak memory of a process: {peak / 1e6:.0f} MB")
    if peak > MEMORY_BYTES_MAX:
        print(f"more than {MEMORY_BYTES_MAX / 1e6:.0f} MB")
        return 1
    return 1 if failures else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
