from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest

from actrio.rpc._claim import DroppingText


def run_claimed(body: str, *, input: bytes = b"", **options) -> subprocess.CompletedProcess[bytes]:
    """Run ``body`` in a process that claimed its standard streams as ``wire``."""
    program = textwrap.dedent(
        """
        import os, subprocess, sys, trio
        from actrio.rpc._claim import claim_standard_streams

        async def main():
            with claim_standard_streams() as wire:
        """
    )
    program += textwrap.indent(textwrap.dedent(body), " " * 8) + "\n\ntrio.run(main)\n"
    return subprocess.run(
        [sys.executable, "-c", program],
        check=True,
        input=input,
        capture_output=True,
        timeout=30,
        **options,
    )


def test_prints_and_children_never_touch_the_wire():
    """print, os.write and a child's output go to stderr; a child reads /dev/null."""
    done = run_claimed(
        """
        print("printed")
        os.write(1, b"written\\n")
        subprocess.run(["sh", "-c", "echo child; cat"])
        await wire.send.send_all(await wire.receive.receive_some(100))
        """,
        input=b"the wire",
    )
    assert done.stdout == b"the wire"
    assert sorted(done.stderr.split()) == [b"child", b"printed", b"written"]


def test_a_huge_print_loses_nothing_of_the_wire():
    """Two megabytes of print between two lines leave the lines whole."""
    done = run_claimed(
        """
        await wire.send.send_all(b"a" * 200_000 + b"\\n")
        print("x" * 2_000_000)
        await wire.send.send_all(b"b\\n")
        """
    )
    assert done.stdout == b"a" * 200_000 + b"\nb\n"


def test_undrained_stderr_does_not_block():
    """With nobody reading stderr, prints and logs are dropped and the wire goes on."""
    read, write = os.pipe()
    try:
        done = run_claimed_undrained(write)
    finally:
        os.close(read)
        os.close(write)
    assert done == b"done"


def run_claimed_undrained(write: int) -> bytes:
    program = textwrap.dedent(
        """
        import sys, trio
        from actrio.rpc._claim import claim_standard_streams
        async def main():
            with claim_standard_streams() as wire:
                for _ in range(100):
                    print("x" * 10_000)
                    print("y" * 10_000, file=sys.stderr)
                assert wire.log.dropped_bytes > 500_000
                await wire.send.send_all(b"done")
            print("z" * 10_000, file=sys.stderr)
        trio.run(main)
        """
    )
    return subprocess.run(
        [sys.executable, "-c", program],
        check=True,
        stdout=subprocess.PIPE,
        stderr=write,
        stdin=subprocess.DEVNULL,
        timeout=30,
    ).stdout


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2)])
def test_closed_descriptors_count_as_empty_ones(closed, tmp_path):
    """Started with standard descriptors closed, it reads the end of input and writes nowhere."""
    report = tmp_path / "report"
    program = textwrap.dedent(
        f"""
        import os, trio
        from actrio.rpc._claim import claim_standard_streams
        async def main():
            with claim_standard_streams() as wire:
                data = await wire.receive.receive_some(100)
                await wire.send.send_all(b"line")
                print("stray")
            with open({str(report)!r}, "w") as file:
                file.write(repr(data))
        trio.run(main)
        """
    )
    redirections = " ".join({0: "<&-", 1: ">&-", 2: "2>&-"}[fd] for fd in closed)
    command = f'exec "$0" -c "$1" {redirections}'
    done = subprocess.run(
        ["sh", "-c", command, sys.executable, program],
        check=True,
        input=b"in",
        capture_output=True,
        timeout=30,
    )
    assert report.read_text() == ("b''" if 0 in closed else "b'in'")
    assert done.stdout == (b"" if 1 in closed else b"line")
    assert done.stderr == (b"" if 2 in closed else b"stray\n")


def test_blocking_mode_of_shared_files_is_put_back():
    """Both directions on one socket: its open file is blocking again after the block."""
    import socket

    ours, theirs = socket.socketpair()
    program = textwrap.dedent(
        """
        import trio
        from actrio.rpc._claim import claim_standard_streams
        async def main():
            with claim_standard_streams() as wire:
                await wire.send.send_all(await wire.receive.receive_some(10))
        trio.run(main)
        """
    )
    with ours, theirs:
        ours.sendall(b"x")
        subprocess.run(
            [sys.executable, "-c", program], stdin=theirs, stdout=theirs, timeout=30, check=True
        )
        assert ours.recv(10) == b"x"
        assert os.get_blocking(theirs.fileno())


def test_dropping_text_takes_all_that_fits():
    """What the pipe has room for arrives in order, the rest is counted."""
    read, write = os.pipe()
    log = DroppingText(write)
    assert log.write("é" * 10) == 10
    assert os.read(read, 100).decode() == "é" * 10
    log.write("z" * 1_000_000)
    assert 0 < log.dropped_bytes < 1_000_000
    os.set_blocking(write, False)
    assert os.write(write, b"a child's") == 9
    os.close(read)
    log.write("nobody")
    os.close(write)
