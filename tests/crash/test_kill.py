"""What was acknowledged is there after SIGKILL, in order, once."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

RUNNER = Path(__file__).with_name("kill_runner.py")


def test_nothing_acknowledged_is_lost_to_fifty_kills(tmp_path):
    """At random moments and at every boundary of a write; `make crash` does a thousand."""
    command = [sys.executable, RUNNER, tmp_path, "50"]
    done = subprocess.run(command, capture_output=True, text=True)
    told = json.loads(done.stdout)
    assert (told["lost"], done.returncode) == (0, 0), done.stderr
    assert told["kills"] == 50
    assert told["acknowledged"] > 100
