"""A process that is a protocol's own: its log, its signals, its exit codes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from contextlib import contextmanager

import pytest

from actrio.rpc import exit_code_of

PROGRAM = """
import sys, time, trio
from actrio.rpc import serve_process
from actrio.telemetry import RoomLog

log = RoomLog("actrio.test")

class Stopping:
    def __init__(self):
        self.asked = trio.Event()
    def stop(self):
        self.asked.set()

async def serve(process):
{body}

sys.exit(trio.run(lambda: serve_process(serve, log_name="own.jsonl")))
"""


@contextmanager
def serving(tmp_path, body: str):
    """Start a process that speaks ``body``, and wait for its first byte where it says one."""
    program = PROGRAM.format(body=textwrap.indent(textwrap.dedent(body), " " * 4))
    homes = {"HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **homes},
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def log_of(tmp_path) -> list[str]:
    (file,) = tmp_path.rglob("own.jsonl")
    return [json.loads(line)["event"] for line in file.read_text().splitlines()]


@pytest.mark.parametrize(
    ("ending", "code"),
    [("eof", 0), ("closed", 0), ("broken", 0), ("protocol", 65), ("stalled", 75)],
)
def test_each_ending_has_its_exit_code(ending, code):
    """A peer that leaves is no failure; one that speaks nonsense or does not read is."""
    assert exit_code_of(ending) == code


def test_the_log_goes_to_the_file_of_that_name(tmp_path):
    """Each protocol has a log of its own in the user's state folder."""
    with serving(tmp_path, 'log.warning("said")\nreturn "protocol"') as process:
        assert process.wait(30) == 65
        assert process.stderr.read() == b""
    assert log_of(tmp_path) == ["said"]


def test_without_a_place_for_it_the_log_goes_to_standard_error(tmp_path):
    """A state folder that cannot be written stops nothing."""
    (tmp_path / "actrio").write_text("in the way")
    with serving(tmp_path, 'log.warning("said")\nreturn "eof"') as process:
        assert process.wait(30) == 0
        assert b"said" in process.stderr.read()


def test_a_signal_before_the_protocol_stands_cancels_all(tmp_path):
    """While it is still being opened there is nothing to stop in order."""
    body = """
    await process.stdout.send_all(b"!")
    await trio.sleep_forever()
    """
    with serving(tmp_path, body) as process:
        assert process.stdout.read(1) == b"!"
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 143


def test_a_signal_stops_the_protocol_in_order(tmp_path):
    """It is told, says its last words, and the shell's code is returned."""
    body = """
    own = Stopping()
    process.stop_on_signal(own)
    await process.stdout.send_all(b"!")
    await own.asked.wait()
    await process.stdout.send_all(b"bye")
    return "closed"
    """
    with serving(tmp_path, body) as process:
        assert process.stdout.read(1) == b"!"
        process.send_signal(signal.SIGINT)
        assert process.stdout.read() == b"bye"
        assert process.wait(30) == 130


def test_it_ends_in_time_whatever_holds_the_loop(tmp_path):
    """Asked to end in time, the process is gone within two seconds, with the code of a good end."""
    body = """
    await process.stdout.send_all(b"!")
    process.end_in_time()
    time.sleep(30)
    """
    with serving(tmp_path, body) as process:
        assert process.stdout.read(1) == b"!"
        began = time.monotonic()
        assert process.wait(30) == 0
        assert time.monotonic() - began < 2.2


def test_who_ends_in_time_is_left_alone(tmp_path):
    """The clock that was set is stopped by the end that it was set for."""
    body = """
    process.end_in_time()
    return "stalled"
    """
    with serving(tmp_path, body) as process:
        assert process.wait(30) == 75
