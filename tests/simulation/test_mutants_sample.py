"""A few planted bugs in every test run; `make mutants` tries all of them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_a_sample_of_planted_bugs_is_caught():
    """Each is noticed by the tests of the kernel; a table that no longer fits is an error."""
    done = subprocess.run(
        [sys.executable, "tools/mutants.py", "--sample"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "7 of 7 caught" in done.stdout
