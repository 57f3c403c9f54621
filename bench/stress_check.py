"""Do our own figures agree with an independent load tool? ``python -m bench.stress_check``

wrk and ``actrio stress --target openai:`` put the same load on the same scripted server, in turns:
so many connections, each asks again when its streamed answer has ended. Compared are turns per
second and the mean time of a turn; both have to agree within 5 %. The server's process, the
connections and the body are the same; only who measures differs.

wrk is taken from the path or from ``WRK``; where there is none the program says so and ends with 0.
On Debian ``apt-get install wrk``; without installing it::

    apt-get download wrk libluajit-5.1-2 libluajit-5.1-common
    for file in *.deb; do dpkg -x $file wrk; done
    WRK=wrk/usr/bin/wrk LD_LIBRARY_PATH=wrk/usr/lib/x86_64-linux-gnu python -m bench.stress_check

``--seconds N`` of each run (5), ``--rounds N`` (3, medians count), ``--connections N`` (20).
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import attrs
import trio

from actrio.stress import StressPlan, closed, scripted_process, stress

MODEL = "tokens?ttft=50ms&itl=10ms&tokens=20"
"""A turn of a quarter of a second: long beside what either tool needs to send and read it."""

APART_MAX = 0.05

PROMPT = "Question: what do you see?"

SCRIPT = """\
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Accept"] = "text/event-stream"
wrk.body = [=[%s]=]
done = function(summary, latency, requests)
  local bad = summary.errors.connect + summary.errors.read + summary.errors.write
    + summary.errors.status + summary.errors.timeout
  io.write(string.format("RESULT %%d %%d %%d %%f %%f %%f\\n", summary.requests, summary.duration,
    bad, latency.mean, latency:percentile(50), latency:percentile(95)))
end
"""

RESULT = re.compile(r"RESULT (\d+) (\d+) (\d+) ([\d.]+) ([\d.]+) ([\d.]+)")


@attrs.frozen
class Measured:
    """What one run gave: turns per second, and times of a turn in milliseconds."""

    turns_per_second: float
    mean_ms: float
    p50_ms: float
    p95_ms: float


def found_wrk() -> str | None:
    given = os.environ.get("WRK")
    return shutil.which(given or "wrk")


def body() -> str:
    return json.dumps(
        {
            "model": MODEL,
            "messages": [{"role": "user", "content": PROMPT}],
            "stream": True,
            "stream_options": {"include_usage": True},
        },
        separators=(",", ":"),
    )


async def by_wrk(wrk: str, url: str, *, connections: int, seconds: int) -> Measured:
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(SCRIPT % body())
        script.flush()
        words = [wrk, "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s"]
        done = await trio.run_process(
            [*words, "-s", script.name, f"{url}/chat/completions"],
            capture_stdout=True,
            stderr=subprocess.STDOUT,
        )
    told = RESULT.search(done.stdout.decode())
    if told is None or told[3] != "0":
        raise SystemExit(f"wrk measured nothing, or met errors:\n{done.stdout.decode()}")
    count, took_us, _, mean_us, p50_us, p95_us = map(float, told.groups())
    return Measured(count / (took_us / 1e6), mean_us / 1e3, p50_us / 1e3, p95_us / 1e3)


async def by_stress(url: str, *, connections: int, seconds: int) -> Measured:
    plan = StressPlan(
        target=f"openai:{url}",
        model=f"scripted:{MODEL}",
        stages=closed(connections, float(seconds)),
        session_turns=1,  # a body of the same length each time, as wrk's
        prompt=PROMPT,
        allow_saturated=True,
    )
    async with stress(plan) as run:
        report = await run.run()
    assert report["verdict"]["passed"], report["verdict"]
    latency = report["latency"]["e2e"]
    return Measured(
        # wrk counts what had ended when the time was over, and so do we.
        report["rates"]["turns_per_second"],
        *(latency[name] * 1e3 for name in ("mean", "p50", "p95")),
    )


async def measured(wrk: str, options: argparse.Namespace) -> tuple[list[Measured], list[Measured]]:
    """Let both measure in turns, so that what else the machine does hits both."""
    theirs, ours = [], []
    load = {"connections": options.connections, "seconds": options.seconds}
    async with scripted_process() as server:
        for _ in range(options.rounds):
            theirs.append(await by_wrk(wrk, server.base_url, **load))
            ours.append(await by_stress(server.base_url, **load))
    return theirs, ours


def report(theirs: list[Measured], ours: list[Measured]) -> bool:
    """Print the table; return whether both agree."""
    agree = True
    print(f"{'':<18}{'wrk':>12}{'actrio':>12}{'apart':>9}")
    for field in attrs.fields(Measured):
        name = field.name
        one, two = (
            statistics.median(getattr(each, name) for each in runs) for runs in (theirs, ours)
        )
        apart = two / one - 1
        judged = name in {"turns_per_second", "mean_ms"}
        agree = agree and (not judged or abs(apart) <= APART_MAX)
        mark = "" if not judged else "  ✓" if abs(apart) <= APART_MAX else "  ✗"
        print(f"{name:<18}{one:>12.1f}{two:>12.1f}{apart:>+9.1%}{mark}")
    return agree


def main() -> int:
    reader = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    reader.add_argument("--seconds", type=int, default=5)
    reader.add_argument("--rounds", type=int, default=3)
    reader.add_argument("--connections", type=int, default=20)
    options = reader.parse_args()
    wrk = found_wrk()
    if wrk is None:
        print("skipped: there is no wrk here. apt-get install wrk, or name it in WRK.")
        return 0
    print(
        f"{options.connections} connections, {options.seconds} s, median of {options.rounds}; "
        f"wrk: {Path(wrk).name}; load {os.getloadavg()[0]:.1f}"
    )
    return 0 if report(*trio.run(measured, wrk, options)) else 1


if __name__ == "__main__":
    sys.exit(main())
