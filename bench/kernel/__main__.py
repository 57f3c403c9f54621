"""The kernel against the raw Trio floor, and on demand against its peers, in one table.

``python -m bench.kernel`` (or ``make bench``): everything but the peers, under a minute.
``--peers`` also installs and measures other actor libraries, each in an environment of its own.
``--flat`` also looks for growth over a million messages and 10^5 restarts and activations.
``--quick`` runs everything small, to see that it runs. ``--json`` prints the rows as JSON.

Rates are per second of process CPU time, best of several runs; memory is resident, in a fresh
process each. What is to be reached stands beside what was measured.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import platform
import sys

import attrs
import trio

from bench.kernel import floor, kernel, rings
from bench.kernel.measure import N, best, in_own_process
from bench.kernel.peers import PEERS, measure


@attrs.frozen
class Row:
    """One line: the floor and actrio in the same unit, and what is to be reached.

    Args:
        at_least: Of the floor where there is one (``times_floor``), else in the row's unit.
        at_most: The same, where less is better.
        peer_key: Under what a peer's program reports the same.
    """

    what: str
    unit: str
    actrio: float
    floor: float | None = None
    at_least: float | None = None
    at_most: float | None = None
    times_floor: bool = False
    peer_key: str = ""

    @property
    def ratio(self) -> float | None:
        return self.actrio / self.floor if self.floor else None

    @property
    def reached(self) -> bool | None:
        value = self.ratio if self.times_floor else self.actrio
        if value is None or (self.at_least is None and self.at_most is None):
            return None
        if self.at_least is not None:
            return value >= self.at_least
        return value <= (self.at_most or 0.0)

    @property
    def to_reach(self) -> str:
        if self.at_least is not None:
            return f"≥ {_short(self.at_least)}" + (" ×" if self.times_floor else "")
        return f"≤ {_short(self.at_most)}" if self.at_most is not None else ""


def rates(repeats: int, quick: bool) -> list[Row]:
    few = 200 if quick else 5000
    pairs = functools.partial(best, repeats)
    rows = []
    for clients, least in ((1, 0.75), (100, 0.9)):
        low, ours = pairs(lambda c=clients: floor.ask(c), lambda c=clients: kernel.ask(c))
        rows.append(
            Row(
                f"ask, {clients} client(s)",
                "/s",
                ours,
                low,
                at_least=least,
                times_floor=True,
                peer_key=f"ask_{clients}",
            )
        )
    low, ours = pairs(lambda: floor.ask(1, deadline=True), lambda: kernel.ask(1, deadline=True))
    rows.append(Row("ask, each with a deadline of its own", "/s", ours, low))
    low, ours = pairs(floor.tell, kernel.tell)
    rows.append(Row("tell, batched", "/s", ours, low, at_least=1e6, peer_key="tell"))
    low, ours = pairs(floor.tell_awaited, kernel.tell_awaited)
    rows.append(Row("tell, awaited each", "/s", ours, low))
    for size, tokens in ((100, 10), (1000, 100)):
        low, ours = pairs(
            lambda s=size, t=tokens: floor.ring(s, t), lambda s=size, t=tokens: kernel.ring(s, t)
        )
        rows.append(Row(f"ring of {size}, {tokens} tokens, hops", "/s", ours, low))
    low, ours = pairs(floor.stream, kernel.stream)
    rows.append(Row("streamed item", "µs", 1e6 / ours, 1e6 / low, at_most=1.5))
    low, ours = pairs(lambda: floor.spawn_and_stop(few), lambda: kernel.spawn_and_stop(few))
    rows.append(Row("spawn and stop", "µs", 1e6 / ours, 1e6 / low, peer_key="spawn_us"))
    (ours,) = pairs(lambda: kernel.wake_and_sleep(few))
    rows.append(Row("wake one address, put one to sleep", "µs", 1e6 / ours))
    (ours,) = pairs(lambda: kernel.restart_storm(few // 5))
    rows.append(Row(f"restart storm of {few // 5}, each", "µs", 1e6 / ours))
    (ours,) = pairs(lambda: kernel.deep_tree(50))
    rows.append(Row("tree of 50 floors, up, asked, down", "ms", 1e3 / ours))
    low, ours = pairs(rings.channel, rings.ring)
    rows.append(Row("mailbox alone: put and take", "/s", ours, low))
    return rows


def memory(quick: bool) -> list[Row]:
    count = 1000 if quick else 20_000
    low = in_own_process("floor_tasks", count)["bytes_each"]
    slot = in_own_process("slot_tasks", count)["bytes_each"]
    idle = in_own_process("idle_actors", count)["bytes_each"]
    asleep = in_own_process("sleeping_addresses", count)["bytes_each"]
    living = 1000 if quick else 100_000
    many = in_own_process("many", living)
    assert many["tasks_left"] == 0, many
    return [
        Row("parked task with an empty ring", "bytes", slot, low),
        Row("idle actor", "bytes", idle, low, at_most=6 * 1024, peer_key="idle"),
        Row("address asleep, its ref held", "bytes", asleep, at_most=300),
        Row(f"{living:,} actors: start", "s", many["spawn_seconds"], at_most=10),
        Row(f"{living:,} actors: whole process", "GB", many["rss_gb"], at_most=0.6),
        Row(f"{living:,} actors: full collection", "s", many["collection_seconds"]),
        Row(f"{living:,} actors: clean stop", "s", many["stop_seconds"], at_most=10),
    ]


def flat(quick: bool) -> list[Row]:
    share = 100 if quick else 1
    return [
        Row(what, "%", in_own_process(name, rounds // share)["growth_percent"], at_most=2)
        for what, name, rounds in (
            ("growth over 10^6 messages", "flat_messages", 10**6),
            ("growth over 10^5 restarts", "flat_restarts", 10**5),
            ("growth over 10^5 activations", "flat_addresses", 10**5),
        )
    ]


def _short(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:,.3g}"


def table(rows: list[Row], peers: dict[str, dict[str, float | str]]) -> None:
    heads = ["what", "unit", "raw Trio", "actrio", "ratio", "to reach", "", *peers]
    lines = [heads]
    for row in rows:
        ratio = f"{row.ratio:.2f}" if row.ratio is not None else ""
        mark = {True: "ok", False: "below", None: ""}[row.reached]
        told = [peers[name].get(row.peer_key) for name in peers]
        shown = [_short(value) if isinstance(value, float) else "" for value in told]
        value, low = _short(row.actrio), _short(row.floor)
        lines.append([row.what, row.unit, low, value, ratio, row.to_reach, mark, *shown])
    widths = [max(len(line[at]) for line in lines) for at in range(len(heads))]
    for line in lines:
        left = [cell.ljust(width) for cell, width in zip(line[:2], widths[:2], strict=True)]
        right = [cell.rjust(width) for cell, width in zip(line[2:], widths[2:], strict=True)]
        print("  ".join(left + right).rstrip())
    for name, found in peers.items():
        print(f"{name}: {found.get('version') or 'left out: ' + str(found.get('missing'))}")


def peers_found() -> dict[str, dict[str, float | str]]:
    found = {name: measure(name) for name in PEERS}
    for each in found.values():
        if isinstance(spawn := each.get("spawn"), float):
            each["spawn_us"] = 1e6 / spawn
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.kernel", description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print the rows as JSON")
    parser.add_argument("--peers", action="store_true", help="install and measure the peers")
    parser.add_argument("--flat", action="store_true", help="look for growth over many rounds")
    parser.add_argument("--quick", action="store_true", help="small numbers of everything")
    parser.add_argument("--repeats", type=int, default=5, help="runs of which the best counts")
    wanted = parser.parse_args()
    repeats = 1 if wanted.quick else wanted.repeats
    rows = rates(repeats, wanted.quick) + memory(wanted.quick)
    if wanted.flat:
        rows += flat(wanted.quick)
    peers = peers_found() if wanted.peers else {}
    machine = f"Python {platform.python_version()}, trio {trio.__version__}, {os.cpu_count()} CPUs"
    if wanted.json:
        shown = [{**attrs.asdict(row), "ratio": row.ratio, "reached": row.reached} for row in rows]
        print(json.dumps({"machine": machine, "n": N, "rows": shown, "peers": peers}, indent=1))
    else:
        print(f"{machine}, N={N:,}, best of {repeats}, per second of CPU time")
        table(rows, peers)
    return 0


if __name__ == "__main__":
    sys.exit(main())
