"""The server's log: in a file, bounded, and never a reason to wait."""

from __future__ import annotations

import json
import os

import pytest

from actrio.errors import ConfigError
from actrio.rpc import _log_file
from actrio.rpc._log_file import LogFile


def test_lines_arrive_in_order_and_belong_to_the_user(tmp_path):
    """What was written is in the file when it is closed; only its owner may read it."""
    log = LogFile(tmp_path / "state" / "log.jsonl")
    for number in range(100):
        log.write(f"{number}\n")
    log.close()
    assert log.path.read_text().split() == [str(n) for n in range(100)]
    assert log.path.stat().st_mode & 0o777 == 0o600


def test_a_full_file_is_kept_beside_the_new_one(tmp_path, monkeypatch):
    """Beyond the bound a new file begins, and one old one is kept."""
    monkeypatch.setattr(_log_file, "FILE_BYTES_MAX", 1000)
    for _ in range(5):
        log = LogFile(tmp_path / "log.jsonl")
        log.write("x" * 599 + "\n")
        log.close()
    assert sorted(each.name for each in tmp_path.iterdir()) == ["log.1.jsonl", "log.jsonl"]
    assert log.path.stat().st_size == 600


def test_a_disk_that_hangs_drops_lines_and_says_so(tmp_path):
    """A writer never waits: what does not fit the queue is counted, and told by the next line."""
    fifo = tmp_path / "log.jsonl"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    log = LogFile(fifo)
    for _ in range(100):
        log.write("x" * 10_000 + "\n")
    assert log.dropped_lines > 50
    read = b""
    while log._queued_bytes:
        try:
            read += os.read(reader, 1 << 20)
        except BlockingIOError:
            continue
    log.write("after\n")
    while b"after" not in read:
        try:
            read += os.read(reader, 1 << 20)
        except BlockingIOError:
            continue
    log.close()
    os.close(reader)
    told = next(json.loads(line) for line in read.splitlines() if b"log.dropped" in line)
    assert told["lines"] == log.dropped_lines


def test_an_unwritable_log_is_the_operators_matter(tmp_path):
    """A folder in the file's place is told with what to do."""
    with pytest.raises(ConfigError, match="--log-file"):
        LogFile(tmp_path)
