"""The same server under somebody else's load tool: ``python -m bench.http.sanity``.

`wrk` (Debian: ``apt-get install wrk``; or its path in ``BENCH_WRK``) asks for whole answers of a
scripted agent. What it counts is set beside what our own client counts, so that an error in ours
would show: both within a factor of two, and neither with an answer that is not 200.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Final

import trio

from bench.http.__main__ import server
from bench.http.client import open_connection, request

CLIENTS: Final = int(os.environ.get("BENCH_CLIENTS", "100"))
SECONDS: Final = int(os.environ.get("BENCH_SECONDS", "6"))
FACTOR_MAX: Final = 2.0

_BODY: Final = json.dumps(
    {"model": "scripted:echo", "messages": [{"role": "user", "content": "Say this."}]}
)
_SCRIPT: Final = f"""
wrk.method = "POST"
wrk.body = [[{_BODY}]]
wrk.headers["content-type"] = "application/json"
"""


def with_wrk(wrk: str, port: int) -> tuple[float, int]:
    """Return requests per second, and how many went wrong."""
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(_SCRIPT)
        script.flush()
        url = f"http://localhost:{port}/v1/chat/completions"
        command = [wrk, "-t1", f"-c{CLIENTS}", f"-d{SECONDS}s", "--latency", "-s", script.name, url]
        told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    rate = re.search(r"Requests/sec:\s+([\d.]+)", told)
    assert rate is not None, told
    wrong = re.search(r"Non-2xx or 3xx responses: (\d+)", told)
    socket_errors = re.search(r"connect (\d+), read (\d+), write (\d+), timeout (\d+)", told)
    count = int(wrong[1]) if wrong else 0
    count += sum(map(int, socket_errors.groups())) if socket_errors else 0
    print("\n".join(f"  {line.strip()}" for line in told.splitlines() if "%" in line))
    return float(rate[1]), count


async def _ask(port: int, until: float, counts: list[int]) -> None:
    asked = request("POST", "/v1/chat/completions", _BODY.encode(), accept="*/*")
    stream = await open_connection(port)
    async with stream:
        while time.perf_counter() < until:
            await stream.send_all(asked)
            got = b""
            while not got.endswith(b"}\n"):
                data = await stream.receive_some(65536)
                assert data, "the connection was closed"
                got += data
            counts[b" 200 " not in got[:20]] += 1


async def with_ours(port: int) -> tuple[float, int]:
    """Return the same, by our own client."""
    counts, began = [0, 0], time.perf_counter()
    ask = partial(_ask, port, began + SECONDS, counts)
    async with trio.open_nursery() as nursery:
        for _ in range(CLIENTS):
            nursery.start_soon(ask)
    return counts[0] / (time.perf_counter() - began), counts[1]


def main() -> int:
    wrk = os.environ.get("BENCH_WRK") or shutil.which("wrk")
    if wrk is None or not Path(wrk).exists():
        print("wrk is not installed: apt-get install wrk, or name it in BENCH_WRK", file=sys.stderr)
        return 69
    with server() as (port, _):
        trio.run(with_ours, port)  # warm
        ours, wrong = trio.run(with_ours, port)
        print(f"our client  {ours:7.1f} answers/s   wrong {wrong}")
        theirs, refused = with_wrk(wrk, port)
        print(f"wrk         {theirs:7.1f} answers/s   wrong {refused}")
    factor = max(ours, theirs) / min(ours, theirs)
    print(f"factor      {factor:.2f} (goal: at most {FACTOR_MAX:g})")
    return 0 if factor <= FACTOR_MAX and not wrong + refused else 1


if __name__ == "__main__":
    raise SystemExit(main())
