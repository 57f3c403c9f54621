"""What is published is what works: the built wheel alone, in an empty environment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def pip(*arguments, python=sys.executable):
    done = subprocess.run(
        [python, "-m", "pip", "--disable-pip-version-check", "-q", *arguments],
        capture_output=True,
        text=True,
        timeout=110,
    )
    if done.returncode:
        pytest.skip(f"the package registry is not reachable: {done.stderr.strip()[-300:]}")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Build the wheel as a publisher would."""
    folder = tmp_path_factory.mktemp("wheel")
    pip("wheel", "--no-deps", "--wheel-dir", str(folder), str(ROOT))
    return next(folder.glob("actrio-*.whl"))


def test_the_wheel_holds_the_package_and_nothing_else(wheel):
    """py.typed and the child scripts are in it; tests, fixtures and docs are not."""
    names = zipfile.ZipFile(wheel).namelist()
    assert "actrio/py.typed" in names
    assert "actrio/providers/local/_server_child.py" in names
    assert {name.split("/")[0].split("-")[0] for name in names} == {"actrio"}


@pytest.mark.slow
def test_the_wheel_runs_in_an_empty_environment(wheel, tmp_path):
    """Installed alone with its dependencies it answers, streams JSON lines and says its version."""
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    bin_folder = tmp_path / "venv" / "bin"
    pip("install", str(wheel), python=str(bin_folder / "python"))
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "ACTRIO_DATA_DIR": str(tmp_path / "data"),
    }

    def actrio(*arguments):
        return subprocess.run(
            [str(bin_folder / "actrio"), *arguments],
            capture_output=True,
            text=True,
            env=env,
            cwd=tmp_path,
            timeout=60,
        )

    assert actrio("--version").stdout.strip().endswith("0.1.0")
    answer = actrio("run", "hello", "--model", "scripted:echo")
    assert (answer.returncode, answer.stdout.strip()) == (0, "hello")
    events = actrio("run", "hello", "--json", "--model", "scripted:echo").stdout.splitlines()
    assert json.loads(events[0])["type"] == "turn.started"
    assert json.loads(events[-1])["type"] == "turn.completed"
    assert "scripted" in actrio("run", "hello").stdout
