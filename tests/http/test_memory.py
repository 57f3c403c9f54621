"""What a server keeps of clients that behaved badly: nothing."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import trio

ROUNDS = 16
GROWTH_KB_MAX = 512  # a leak of two kilobytes per client would be more
"""From the second round to the last; one connection's kilobytes, kept, would be ten times that."""


def resident_kb(pid):
    return (
        int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024
    )


async def one_client(port, number, request_bytes):
    """Behave badly, each number in its own way."""
    with contextlib.suppress(OSError, trio.BrokenResourceError):
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            match number % 5:
                case 0:  # a body that is too large, most of it sent
                    head = b"POST /agents HTTP/1.1\r\nhost: localhost\r\ncontent-length: 90000000"
                    await stream.send_all(head + b"\r\n\r\n" + b"x" * 100_000)
                    await stream.receive_some(4096)
                case 1:  # half a head
                    await stream.send_all(b"GET /livez HTTP/1.1\r\nhost: loc" + b"x" * 8000)
                case 2:  # a stream that is left at its first bytes
                    body = {
                        "model": "scripted:tokens?tokens=100000",
                        "stream": True,
                        "messages": [{"role": "user", "content": "x" * 10_000}],
                    }
                    await stream.send_all(request_bytes("POST", "/v1/chat/completions", body))
                    await stream.receive_some(4096)
                case 3:  # half-closed, waiting
                    await stream.send_all(request_bytes("GET", "/v1/models"))
                    await stream.send_eof()
                    await stream.receive_some(65536)
                case _:  # garbage
                    await stream.send_all(os.urandom(20_000))
                    await stream.receive_some(4096)


def flat_rounds(sizes):
    """Count the rounds after the second in which almost nothing was added."""
    steps = (later - earlier for earlier, later in itertools.pairwise(sizes[1:]))
    return sum(step < GROWTH_KB_MAX for step in steps)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="no /proc")
async def test_memory_is_flat_under_clients_that_behave_badly(tmp_path, request_bytes):
    """Rounds of four hundred: after the second there are rounds that cost nothing.

    Garbage comes and goes in steps, because the service's collector looks rarely; what leaked
    would stay in every round.
    """
    process = await trio.lowlevel.open_process(
        [sys.executable, "-m", "actrio", "serve", "--http", "127.0.0.1:0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=tmp_path,
        env={**os.environ, "HOME": str(tmp_path), "ACTRIO_DATA_DIR": str(tmp_path / "data")},
    )
    sizes = []
    async with process.stdout:
        port = int((await process.stdout.receive_some(1000)).decode().strip().rpartition(":")[2])
        with trio.fail_after(100):
            for _ in range(ROUNDS):
                async with trio.open_nursery() as nursery:
                    for number in range(400):
                        nursery.start_soon(one_client, port, number, request_bytes)
                async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
                    while True:  # until the last of the round is gone
                        await stream.send_all(request_bytes("GET", "/metrics"))
                        told = await stream.receive_some(65536)
                        if b"actrio_http_connections_open 1\n" in told:
                            break
                        await trio.sleep(0.05)
                sizes.append(resident_kb(process.pid))
                if flat_rounds(sizes) >= 2:
                    break
        process.send_signal(signal.SIGTERM)
        with trio.fail_after(10):
            await process.wait()
    assert flat_rounds(sizes) >= 2, sizes
