"""Run many simulated programs of the kernel, one for each seed, and count what happened in them.

``python tools/sweep.py [--seeds N] [--first SEED] [--processes N] [--stop-at N]``

``SEEDS`` in the environment is the default of ``--seeds``. A failing seed is printed with the
command that repeats it; the exit code is then 1. ``--only SEED`` runs one and shows its program.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator

from actrio.testing import ProgramReport, random_program, run_program

CHUNK = 250
"""Seeds that one process takes at a time: a second's work."""


def run_chunk(first: int, count: int) -> tuple[Counter[str], list[ProgramReport]]:
    """Run ``count`` seeds from ``first``; return the sums and the reports of those that failed."""
    total: Counter[str] = Counter()
    failed: list[ProgramReport] = []
    virtual = cpu = 0.0
    for seed in range(first, first + count):
        report = run_program(random_program(seed), seed=seed)
        total.update(report.counts)
        total["seeds"] += 1
        virtual += report.virtual_seconds
        cpu += report.cpu_seconds
        if report.problems:
            failed.append(report)
    total["virtual ms"] = round(virtual * 1000)
    total["cpu ms"] = round(cpu * 1000)
    return total, failed


def chunks(first: int, seeds: int) -> Iterator[tuple[int, int]]:
    for start in range(first, first + seeds, CHUNK):
        yield start, min(CHUNK, first + seeds - start)


def sweep(first: int, seeds: int, processes: int, stop_at: int) -> int:
    """Run the seeds; print the table; return how many failed."""
    total: Counter[str] = Counter()
    failed: list[ProgramReport] = []
    began = time.monotonic()
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        jobs = [pool.apply_async(run_chunk, chunk) for chunk in chunks(first, seeds)]
        for job in jobs:
            counts, reports = job.get()
            total.update(counts)
            failed.extend(reports)
            if sys.stderr.isatty():
                print(f"\r{total['seeds']} seeds, {len(failed)} failed", end="", file=sys.stderr)
            if len(failed) >= stop_at:
                pool.terminate()
                break
    if sys.stderr.isatty():
        print(file=sys.stderr)
    show(total, time.monotonic() - began)
    for report in failed[:stop_at]:
        print(
            f"\nseed {report.seed} failed; repeat it with: python tools/sweep.py --only {report.seed}"
        )
        for problem in report.problems[:5]:
            print(f"  {problem[-1500:]}")
    return len(failed)


def show(total: Counter[str], wall_seconds: float) -> None:
    """Print the sums as a table."""
    cpu = total.pop("cpu ms") / 1000
    virtual = total.pop("virtual ms") / 3_600_000
    seeds = total.pop("seeds")
    rows = [
        ("seeds", f"{seeds:,}"),
        *((name, f"{total.pop(name):,}") for name in FIRST),
        ("virtual hours", f"{virtual:,.1f}"),
        ("CPU seconds", f"{cpu:,.0f} ({1000 * cpu / max(seeds, 1):.1f} ms per seed)"),
        ("wall seconds", f"{wall_seconds:,.0f}"),
        *((name, f"{count:,}") for name, count in sorted(total.items())),
    ]
    for name, value in rows:
        print(f"{name:<28} {value:>12}")


FIRST = ("messages", "restarts", "kills", "cancels", "activations", "passivations", "escalations")


def repeat(seed: int) -> int:
    """Run one seed; show its program and what was wrong."""
    program = random_program(seed)
    print(program)
    report = run_program(program, seed=seed)
    print(f"\ntrace {report.trace_hash}, {report.virtual_seconds:.3f} virtual seconds")
    for problem in report.problems:
        print(problem)
    return len(report.problems)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=int(os.environ.get("SEEDS", "100000")))
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--stop-at", type=int, default=1, help="failing seeds after which to stop")
    parser.add_argument("--only", type=int, help="run this seed alone and show it")
    args = parser.parse_args()
    if args.only is not None:
        return 1 if repeat(args.only) else 0
    return 1 if sweep(args.first, args.seeds, args.processes, args.stop_at) else 0


if __name__ == "__main__":
    sys.exit(main())
