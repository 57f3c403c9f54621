"""Plant one fault after the other in a copy of the kernel, and demand that the tests notice.

``python tools/mutants.py [NAME …] [--sample] [--simulation] [--processes N]``

Each mutant runs in a process of its own against a copy of ``src/actrio/actors``; everything else
is the working tree. ``--simulation`` leaves the hand-written tests of the kernel out, to see what
the simulation and the machines find alone.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import attrs

sys.path.insert(0, str(Path(__file__).resolve().parent))

from mutants_table import MUTANTS, Mutant

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "src" / "actrio"
WRITTEN = ["tests/actors", "tests/simulation/test_found.py", "tests/simulation/test_planted.py"]
DRAWN = ["tests/machines", "tests/faults/test_kernel_sweep.py", "tests/simulation/test_programs.py"]
SEEDS = "1000"
"""Seeds within which a fault must show: a few seconds of them, so a sweep would find it at once."""
LIMIT_SECONDS = 240
"""A run that takes longer hangs, and a hang is noticed too; a clean one takes a tenth of it."""


@attrs.frozen
class Verdict:
    """What became of one mutant."""

    mutant: Mutant
    caught: bool
    by: str
    seconds: float


def plant(mutant: Mutant | None, where: Path) -> None:
    """Make a package ``actrio`` in ``where`` whose kernel has the fault."""
    package = where / "actrio"
    package.mkdir()
    for each in PACKAGE.iterdir():
        if each.name not in ("actors", "__pycache__"):
            (package / each.name).symlink_to(each)
    shutil.copytree(
        PACKAGE / "actors", package / "actors", ignore=shutil.ignore_patterns("__pycache__")
    )
    if mutant is None:
        return
    path = package / "actors" / mutant.file
    source = path.read_text()
    if source.count(mutant.old) != 1:
        raise SystemExit(
            f"mutant {mutant.name}: its text occurs {source.count(mutant.old)} times in "
            f"{mutant.file}, not once. Write it anew for the kernel as it is now."
        )
    path.write_text(source.replace(mutant.old, mutant.new))


def run(mutant: Mutant | None, tests: list[str]) -> Verdict:
    """Run ``tests`` against the kernel with the fault."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mutant-") as name:
        plant(mutant, Path(name))
        try:
            done = subprocess.run(
                [sys.executable, "-m", "pytest", "-x", "-q", "--timeout=30", *ARGUMENTS, *tests],
                cwd=ROOT,
                env={
                    **os.environ,
                    "PYTHONPATH": name,
                    "PYTHONDONTWRITEBYTECODE": "1",
                    "SIMULATION_SEEDS": SEEDS,
                },
                capture_output=True,
                text=True,
                timeout=LIMIT_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return Verdict(mutant or NOBODY, True, "hangs", time.monotonic() - began)
    return Verdict(
        mutant or NOBODY, done.returncode != 0, first_failure(done.stdout), time.monotonic() - began
    )


ARGUMENTS = ["-p", "no:cacheprovider", "--tb=no", "--no-header"]
NOBODY = Mutant("unchanged", "", "", "", "the kernel as it is")


def first_failure(output: str) -> str:
    """Return the test that failed first, as pytest names it."""
    found = re.search(r"^(?:FAILED|ERROR) (\S+)", output, re.MULTILINE)
    if found:
        return found[1].removeprefix("tests/")
    return "hangs" if "Timeout" in output else output.strip()[-200:]


def check_texts() -> None:
    """Refuse a table that no longer fits the kernel."""
    names = [mutant.name for mutant in MUTANTS]
    assert len(names) == len(set(names)), "two mutants have one name"
    for mutant in MUTANTS:
        with tempfile.TemporaryDirectory(prefix="mutant-") as name:
            plant(mutant, Path(name))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="mutants to run; all without")
    parser.add_argument("--sample", action="store_true", help="only the quick sample")
    parser.add_argument("--simulation", action="store_true", help="without hand-written tests")
    parser.add_argument("--processes", type=int, default=2)
    args = parser.parse_args()
    check_texts()
    chosen = [m for m in MUTANTS if not args.names or m.name in args.names]
    chosen = [m for m in chosen if m.sample or not args.sample]
    tests = DRAWN if args.simulation else [*WRITTEN, *DRAWN]
    with ThreadPoolExecutor(args.processes) as pool:
        if not args.sample:
            clean = pool.submit(run, None, tests).result()
            if clean.caught:
                print(f"the kernel as it is fails: {clean.by}")
                return 2
            print(f"{'unchanged':<36} passes, {clean.seconds:.0f} s")
        verdicts = [pool.submit(run, m, tests) for m in chosen if not m.equivalent]
        missed = [show(each.result()) for each in verdicts].count(False)
    for mutant in chosen:
        if mutant.equivalent:
            print(f"{mutant.name:<36} equivalent: {mutant.equivalent}")
    print(f"{len(verdicts) - missed} of {len(verdicts)} caught")
    return 1 if missed else 0


def show(verdict: Verdict) -> bool:
    """Print one line; return whether it was caught."""
    what = verdict.by if verdict.caught else "NOT CAUGHT"
    print(f"{verdict.mutant.name:<36} {verdict.seconds:4.0f} s  {what}", flush=True)
    return verdict.caught


if __name__ == "__main__":
    sys.exit(main())
