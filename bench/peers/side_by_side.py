"""The owner's load for ten minutes, by actrio and by Agno at the same time.

``python -m bench.peers.side_by_side`` (``--seconds 600``): 100 sessions with prompts of 128 tokens, a
streamed answer of 128 pieces, 50 ms to the first and 10 ms for each. Agno has a core for itself, which
it needs; actrio shares the other one with both servers. Exits with 1 where something is not reached.
"""

from __future__ import annotations

import argparse
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import attrs

from bench.peers.environments import PEERS
from bench.peers.runs import cores, run
from bench.peers.scenarios import SCENARIOS

WARM_SECONDS: Final = 60.0  # caches fill, and the collector has come by

COLUMNS: Final = (
    ("turns", "turns", 0),
    ("turns/s", "turns_per_second", 1),
    ("CPU ms/turn", "cpu_ms_per_turn", 2),
    ("CPU %", "cpu_percent", 0),
    ("p50 ms", "p50_ms", 1),
    ("p95 ms", "p95_ms", 1),
    ("p99 ms", "p99_ms", 1),
    ("max ms", "max_ms", 1),
    ("peak MB", "peak_rss_mb", 1),
    ("MB/min", "rss_mb_per_minute", 2),
    ("errors", "errors", 0),
    ("lost", "lost", 0),
)


def cells(told: dict[str, Any]) -> str:
    return " | ".join(f"{told[name]:,.{digits}f}" for _, name, digits in COLUMNS)


def main() -> int:
    """Run both and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0)
    seconds = parser.parse_args().seconds
    warm = min(WARM_SECONDS, seconds / 4)
    found = next(each for each in SCENARIOS if each.name == "S2")
    scenario = attrs.evolve(found, seconds=seconds, warm_seconds=warm, slow_times=1.0)
    one, other = cores()
    places = {"actrio": (one, one), "Agno": (other, one)}
    peers = [peer for peer in PEERS if peer.name in places]
    with ThreadPoolExecutor(len(peers)) as pool:
        runs = [pool.submit(run, peer, scenario, places[peer.name]) for peer in peers]
        told = {peer.name: each.result() for peer, each in zip(peers, runs, strict=True)}
    ours, theirs = told["actrio"], told["Agno"]
    print(f"|  | {' | '.join(title for title, _, _ in COLUMNS)} |")
    print(f"| --- |{' ---: |' * len(COLUMNS)}")
    for name, row in told.items():
        print(f"| {name} | {cells(row)} |")
    reached = {
        "p95 of Agno's (≤ 0.7)": (ratio := ours["p95_ms"] / theirs["p95_ms"], ratio <= 0.7),
        "memory of Agno's (≤ 0.75)": (
            ratio := ours["peak_rss_mb"] / theirs["peak_rss_mb"],
            ratio <= 0.75,
        ),
        "CPU for a turn of Agno's (≤ 0.75)": (
            ratio := ours["cpu_ms_per_turn"] / theirs["cpu_ms_per_turn"],
            ratio <= 0.75,
        ),
        "errors and lost (0)": (wrong := ours["errors"] + ours["lost"], wrong == 0),
        "MB/min (< 1)": (slope := ours["rss_mb_per_minute"], slope < 1),
    }
    print()
    for what, (value, well) in reached.items():
        print(f"{'✓' if well else '✗'} {what}: {value:.2f}")
    return 0 if all(well for _, well in reached.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
