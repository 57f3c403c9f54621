"""Runs a client's turns for a while and tells what they cost, in the client's own process.

Imported in every peer's environment, so it needs nothing but the standard library. A client says::

    meter = Meter("name", "distribution", …)
    with meter.importing():
        import library
    meter.run_asyncio(setup, turn)      # or run_trio; turn(state, number, heard) runs one turn

Sessions begin spread over ``stagger_seconds``, so that they do not march in step. What counts is a
window after the warm-up. A thread watches it, because a loop that is too busy must not move the
window; and the process ends there, because what a library does at exit is not the work.

Turns per second are characters heard within the window over the characters of an answer: where a
turn takes longer than the window it still counts what it did, and merged pieces count what they say.
"""

from __future__ import annotations

import json
import math
import os
import resource
import sys
import threading
import time
from array import array
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from bench.peers.work import ANSWER

ERRORS_KEPT: Final = 5  # kinds of errors that are told; the rest is counted
PAUSE_AFTER_ERROR_SECONDS: Final = 0.05

_TICKS: Final = os.sysconf("SC_CLK_TCK")

Turn = Callable[[Any, int, "Heard"], Awaitable[None]]
Setup = Callable[[], Awaitable[Any]]


class Heard:
    """What one turn has heard so far. Call it with each piece of text."""

    __slots__ = ("_meter", "began", "first", "pieces")

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self.pieces: list[str] = []
        self.began = time.perf_counter()
        self.first: float | None = None

    def __call__(self, piece: str) -> None:
        if self.first is None:
            self.first = time.perf_counter()
        self.pieces.append(piece)
        self._meter.characters += len(piece)


def resident_mb(kind: str = "VmRSS") -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(kind):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"/proc/self/status has no {kind}")


def share(values: Sequence[float], part: float) -> float | None:
    """Return the value below which ``part`` of sorted ``values`` lie."""
    return values[min(len(values) - 1, int(part * len(values)))] if values else None


def _cpu_seconds_of(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _busy_seconds_of(core: int) -> float:
    for line in Path("/proc/stat").read_text().splitlines():
        if line.startswith(f"cpu{core} "):
            fields = [int(field) for field in line.split()[1:9]]
            return (sum(fields) - fields[3] - fields[4]) / _TICKS
    return 0.0


class _Moment:
    """All counters at one time."""

    def __init__(self, meter: Meter) -> None:
        used = resource.getrusage(resource.RUSAGE_SELF)
        self.at = time.perf_counter()
        self.cpu = used.ru_utime + used.ru_stime
        self.server_cpu = _cpu_seconds_of(meter.load["server_pid"])
        self.core_busy = _busy_seconds_of(meter.load["core"])
        self.characters = meter.characters
        self.rss_mb = resident_mb()


class Meter:
    """The measure of one client program.

    Args:
        name: The row.
        distributions: Whose versions are told.
    """

    def __init__(self, name: str, *distributions: str) -> None:
        self.load: dict[str, Any] = json.loads(sys.argv[1])
        os.sched_setaffinity(0, {self.load["core"]})
        self.name = name
        self.characters = 0
        self.facts: dict[str, Any] = {}
        self._distributions = distributions
        self._numbers = 0
        self._running: set[Heard] = set()
        # Of each turn when it ended, how long it took, and how long to its first piece. Plain
        # numbers, because what a measurement keeps counts as the library's memory.
        self._ended = array("d")
        self._lost = 0
        self._errors = 0
        self._error_kinds: dict[str, int] = {}

    @contextmanager
    def importing(self) -> Iterator[None]:
        began = time.perf_counter()
        yield
        self.facts["import_ms"] = (time.perf_counter() - began) * 1e3
        self.facts["rss_after_import_mb"] = resident_mb()
        # A fixed loop: how fast this core was just now, to compare runs of different hours.
        began = time.perf_counter()
        for _ in range(1_000_000):
            pass
        self.facts["calibration_ms"] = (time.perf_counter() - began) * 1e3

    def leave_out(self, why: str) -> None:
        """End the program: the row cannot be run."""
        print(json.dumps({"missing": why}))
        sys.exit(0)

    # -- two event loops ---------------------------------------------------------------------------

    def run_asyncio(self, setup: Setup, turn: Turn) -> None:
        import asyncio

        async def main() -> None:
            state = await setup()
            self._watch()
            count = self.load["sessions"]
            await asyncio.gather(
                *(self._session(asyncio.sleep, state, turn, at) for at in range(count))
            )
            await asyncio.sleep(3600)

        asyncio.run(main())

    def run_trio(self, setup: Setup, turn: Turn) -> None:
        import trio

        async def main() -> None:
            await self.within_trio(await setup(), turn)

        trio.run(main)

    async def within_trio(self, state: Any, turn: Turn) -> None:
        """Run all sessions in the Trio program that calls this."""
        import trio

        self._watch()
        async with trio.open_nursery() as nursery:
            for at in range(self.load["sessions"]):
                nursery.start_soon(self._session, trio.sleep, state, turn, at)
            await trio.sleep_forever()

    async def _session(self, sleep: Any, state: Any, turn: Turn, at: int) -> None:
        await sleep(self.load["stagger_seconds"] * at / self.load["sessions"])
        while True:
            self._numbers += 1
            heard = Heard(self)
            self._running.add(heard)
            try:
                await turn(state, self._numbers, heard)
            except Exception as error:  # any library's own: it is counted, the others go on
                self._note(error)
                await sleep(PAUSE_AFTER_ERROR_SECONDS)
            else:
                self._end(heard)
            finally:
                self._running.discard(heard)

    def _end(self, heard: Heard) -> None:
        now = time.perf_counter()
        if "".join(heard.pieces) != ANSWER:
            self._lost += 1
        first = math.nan if heard.first is None else heard.first - heard.began
        self._ended.extend((now, now - heard.began, first))

    def _note(self, error: BaseException) -> None:
        self._errors += 1
        kind = f"{type(error).__name__}: {str(error)[:160]}"
        if kind in self._error_kinds or len(self._error_kinds) < ERRORS_KEPT:
            self._error_kinds[kind] = self._error_kinds.get(kind, 0) + 1

    # -- the window --------------------------------------------------------------------------------

    def _watch(self) -> None:
        threading.Thread(target=self._watched, daemon=True).start()

    def _watched(self) -> None:
        began = time.perf_counter()
        time.sleep(self.load["warm_seconds"])
        first = _Moment(self)
        time.sleep(max(0.0, began + self._window_end - time.perf_counter()))
        last = _Moment(self)
        print(json.dumps(self._told(first, last)), flush=True)
        os._exit(0)

    @property
    def _window_end(self) -> float:
        return float(self.load["warm_seconds"] + self.load["seconds"])

    def _told(self, first: _Moment, last: _Moment) -> dict[str, Any]:
        seconds = last.at - first.at
        turns = (last.characters - first.characters) / len(ANSWER)
        cpu = last.cpu - first.cpu
        numbers = iter(self._ended.tolist())
        # Not strict: this is a thread, and the loop may be in the midst of telling one.
        turns_ended = zip(numbers, numbers, numbers, strict=False)
        ended = [each for each in turns_ended if first.at <= each[0] <= last.at]
        open_since = min((heard.began for heard in tuple(self._running)), default=last.at)
        told = {
            "client": self.name,
            "versions": self._versions(),
            "seconds": seconds,
            "turns": len(ended),
            "turns_per_second": turns / seconds,
            "tokens_per_second": turns * 128 / seconds,
            "cpu_ms_per_turn": cpu / turns * 1e3 if turns else None,
            "cpu_percent": cpu / seconds * 100,
            "server_cpu_percent": (last.server_cpu - first.server_cpu) / seconds * 100,
            "foreign_percent": max(0.0, last.core_busy - first.core_busy - cpu) / seconds * 100,
            "oldest_open_ms": (last.at - open_since) * 1e3,
            "peak_rss_mb": resident_mb("VmHWM"),
            "rss_mb_per_minute": (last.rss_mb - first.rss_mb) / seconds * 60,
            "errors": self._errors,
            "error_kinds": self._error_kinds,
            "lost": self._lost,
        }
        return {**told, **_latencies(ended), **self.facts}

    def _versions(self) -> dict[str, str]:
        found = {}
        for name in self._distributions:
            try:
                found[name] = version(name)
            except PackageNotFoundError:
                found[name] = "?"
        return found


def _latencies(ended: Sequence[tuple[float, float, float]]) -> dict[str, float | None]:
    whole = sorted(each[1] for each in ended)
    first = sorted(each[2] for each in ended if not math.isnan(each[2]))
    told = {f"p{part}_ms": share(whole, part / 100) for part in (50, 95, 99)}
    told["max_ms"] = whole[-1] if whole else None
    told["first_p50_ms"] = share(first, 0.5)
    told["first_p95_ms"] = share(first, 0.95)
    return {name: None if value is None else value * 1e3 for name, value in told.items()}
