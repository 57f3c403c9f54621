"""What sessions acknowledged is there after SIGKILL, once, and every session goes on."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

RUNNER = Path(__file__).with_name("session_runner.py")


@pytest.mark.timeout(300)
def test_sessions_survive_fifty_kills(tmp_path):
    """Turns with tools, approvals, state and lines of inputs; `make crash` does a thousand."""
    command = [sys.executable, RUNNER, tmp_path, "50"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout, done.stderr
    told = json.loads(done.stdout)
    assert (told["problems"], done.returncode) == (0, 0), done.stderr
    assert told["kills"] == 50
    assert told["accepted"] > 50
    assert told["effects"] > 50
    assert told["gone on"] >= 32
