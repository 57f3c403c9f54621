"""The journal against a bare group-commit loop on the same disk, in one table.

``python -m bench.journal``: about two minutes. ``--quick`` runs everything small, to see that it runs.
What SQLite does with a flipped bit is measured by ``bench/journal/sqlite_flip.py``.
"""

from __future__ import annotations

import argparse
import gc
import struct
import tempfile
import time
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from actrio.journal import Checkpoint, StateChanged, open_embedded_store, record_codec
from bench.journal.floor import bare

RECORD = StateChanged(values={"call_id": "call_0123456789"}, by="t_0123456789")
ROUNDS = 7


@asynccontextmanager
async def stall_probe(stalls: list[float]) -> AsyncIterator[None]:
    """Note how much later than asked a task that sleeps a millisecond wakes."""

    async def probe() -> None:
        while True:
            began = time.perf_counter()
            await trio.sleep(0.001)
            stalls.append(time.perf_counter() - began - 0.001)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(probe)
        yield
        nursery.cancel_scope.cancel()


async def ours(
    folder: Path, durability: Any, *, sessions: int, seconds: float
) -> tuple[float, list[float], list[float], float, float]:
    times: list[float] = []
    stalls: list[float] = []
    async with open_embedded_store(folder, durability=durability) as store:
        claims = [await store.claim(f"s_{number:020}", "bench") for number in range(sessions)]
        until = time.perf_counter() + seconds

        async def session(claim: Any) -> None:
            last = claim.last_seq
            while time.perf_counter() < until:
                began = time.perf_counter()
                last = await store.append(claim.session, claim.epoch, last, (RECORD,))
                times.append(time.perf_counter() - began)

        worked = time.process_time()
        async with stall_probe(stalls), trio.open_nursery() as nursery:
            for claim in claims:
                nursery.start_soon(session, claim)
        worked = time.process_time() - worked
        size = store.statistics().bytes_written / max(1, store.statistics().records)
    return len(times) / seconds, times, stalls, size, worked / len(times)


def at(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000


def encoded_line() -> bytes:
    """Return a record as a journal of the least kind would write it: JSON, length, CRC."""
    body = record_codec.to_json((RECORD,))
    return struct.pack("<II", len(body), zlib.crc32(body)) + body


async def rates(root: Path, seconds: float) -> None:
    for durability in ("batch", "always"):
        rounds: list[tuple[float, str]] = []
        for number in range(ROUNDS):
            folder = root / f"{durability}{number}"
            folder.mkdir()
            rate, times, stalls, size, work = await ours(
                folder / "store", durability, sessions=100, seconds=seconds
            )
            ready = b"x" * int(size)
            floors, works, floor_stalls, floor_times = [], [], [], []
            for line in (encoded_line, lambda ready=ready: ready):
                worked = time.process_time()
                async with stall_probe(floor_stalls):
                    floor, floor_times = await bare(
                        folder,
                        sessions=100,
                        seconds=seconds,
                        sync=durability == "always",
                        line=line,
                    )
                floors.append(floor)
                works.append((time.process_time() - worked) / len(floor_times))
            told = (
                f"{rate:8.0f}/s  p99 {at(times, 0.99):.1f} ms  stall p99.9 {at(stalls, 0.999):.1f} ms",
                f"| floor {floors[0]:8.0f}/s  p99 {at(floor_times, 0.99):.1f} ms",
                f"stall {at(floor_stalls, 0.999):.1f} ms, ratio {rate / floors[0]:.2f}",
                f"| floor without encoding {floors[1]:8.0f}/s, ratio {rate / floors[1]:.2f}",
                f"| processor {work * 1e6:.1f} µs, the floor's {works[0] * 1e6:.1f} µs,",
                f"ratio {works[0] / work:.2f}",
            )
            rounds.append((rate / floors[0], "  ".join(told)))
        print(f"{durability:7}{sorted(rounds)[ROUNDS // 2][1]}", flush=True)


async def opening(root: Path) -> None:
    folder = root / "opening"
    async with open_embedded_store(folder) as store:
        claim = await store.claim("long", "bench")
        text = StateChanged(values={"text": "x" * 200})
        for last in range(0, 9990, 10):
            await store.append("long", claim.epoch, last, (text,) * 10)
        await store.append("long", claim.epoch, 9990, (Checkpoint(snapshot={"n": 1}), *(text,) * 9))
        await store.release(claim)
        times = []
        for _ in range(20):
            began = time.perf_counter()
            claim = await store.claim("long", "bench")
            found = await store.read("long")
            times.append(time.perf_counter() - began)
            assert len(found) == 10
            await store.release(claim)
        began = time.perf_counter()
        assert len(await store.read("long", 1)) == 10_000
        whole = time.perf_counter() - began
    print(
        f"claim and read a session of 10,000 records from a checkpoint: {at(times, 0.5):.2f} ms (≤ 10)"
    )
    print(f"all 10,000 records: {whole * 1000:.0f} ms")


def resident() -> int:
    gc.collect()
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("no VmRSS")


async def passivated(root: Path, sessions: int) -> None:
    folder = root / "passivated"
    async with open_embedded_store(folder) as store:
        before = resident()

        async def some(first: int) -> None:
            for number in range(first, sessions, 50):
                claim = await store.claim(f"s_{number:024}", "bench")
                await store.append(claim.session, claim.epoch, 0, (RECORD,))
                await store.release(claim)

        async with trio.open_nursery() as nursery:
            for first in range(50):
                nursery.start_soon(some, first)
        after = resident()
    per = (after - before) / sessions
    print(
        f"{sessions:,} passivated sessions: {(after - before) / 1e6:.1f} MB, {per:.0f} bytes each (≤ 50 MB at 100,000)"
    )
    for what in ("with its index file", "without it"):
        began = time.perf_counter()
        async with open_embedded_store(folder) as store:
            assert store.statistics().sessions == sessions
            opened = time.perf_counter() - began
            began = time.perf_counter()
            assert len(await store.list(after=f"s_{sessions // 2:024}", limit=1000)) > 100
            listed = time.perf_counter() - began
        print(
            f"opening that store {what}: {opened * 1000:.0f} ms;"
            f" a page of 1,000 from its middle: {listed * 1000:.1f} ms"
        )
        (folder / "index.snap").unlink()


async def compacting(root: Path, sessions: int) -> None:
    """Remove nine sessions of ten, then compact while another one appends."""
    times: list[float] = []
    stalls: list[float] = []
    text = StateChanged(values={"text": "x" * 500})
    async with open_embedded_store(root / "compacting", segment_bytes_max=4_000_000) as store:
        for number in range(sessions):
            claim = await store.claim(f"s_{number:024}", "bench")
            await store.append(claim.session, claim.epoch, 0, (text,) * 5)
            if number % 10:
                await store.remove(claim)
            else:
                await store.release(claim)
        claim = await store.claim("beside", "bench")
        compacted = trio.Event()

        async def appending() -> None:
            last = 0
            while not compacted.is_set():
                began = time.perf_counter()
                last = await store.append("beside", claim.epoch, last, (RECORD,))
                times.append(time.perf_counter() - began)

        async with stall_probe(stalls), trio.open_nursery() as nursery:
            nursery.start_soon(appending)
            began = time.perf_counter()
            report = await store.compact()
            took = time.perf_counter() - began
            compacted.set()
    print(
        f"compacting {report.bytes_before / 1e6:.0f} MB to {report.bytes_after / 1e6:.0f} MB:"
        f" {took:.2f} s; meanwhile appends p99 {at(times, 0.99):.1f} ms,"
        f" stall p99.9 {at(stalls, 0.999):.1f} ms"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    steps: list[Callable[[Path], Any]] = [
        # First, while the process has no freed memory that would hide what this takes.
        lambda root: passivated(root, 1000 if quick else 100_000),
        opening,
        lambda root: compacting(root, 300 if quick else 5000),
        lambda root: rates(root, 0.2 if quick else 2.0),
    ]
    for step in steps:
        with tempfile.TemporaryDirectory() as root:
            trio.run(step, Path(root))


if __name__ == "__main__":
    main()
