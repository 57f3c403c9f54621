"""The clients of the Agent Client Protocol that other people wrote, each in a folder of its own."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).resolve().parent
PEERS = HERE.parents[2] / ".venv" / "peers"

PYTHON_SDK = "agent-client-protocol==0.12.1"
NODE_SDK = "@agentclientprotocol/sdk@2.4.0"
ACPX = "acpx@0.1.15"

INSTALL_SECONDS = 100  # below the time limit of one test; some seconds where the registry is near
RUN_SECONDS = 60

TOOLS = '''
from actrio import tool


@tool(approval="ask")
def refund(order: str) -> str:
    """Pay a customer's money back."""
    return f"paid for {order}"
'''

SETTINGS = """
[agents.clerk]
model = "scripted:demo"
tools = ["shop_tools:refund"]

[agents.slow]
model = "scripted:tokens?itl=20ms&tokens=500"
"""


def installed(name: str, install: Callable[[Path], Sequence[Any]]) -> Path:
    """Return the folder of a client; installed when it is first needed, and kept."""
    folder = PEERS / name
    PEERS.mkdir(parents=True, exist_ok=True)
    with (PEERS / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two runs may want it at the same time
        if not (folder / "ready").exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            _run(name, install(folder))
            (folder / "ready").touch()
    return folder


def _run(name: str, command: Sequence[Any]) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=INSTALL_SECONDS)
    except subprocess.TimeoutExpired:
        pytest.skip(f"{name} was not installed within {INSTALL_SECONDS} s")
    except subprocess.CalledProcessError as error:
        told = error.stderr.strip().splitlines() or ["the installer says nothing"]
        pytest.skip(f"{name} cannot be installed here: {told[-1]}")


@pytest.fixture(scope="session")
def python_sdk() -> Path:
    """A Python that has the protocol's own SDK."""
    version = f"py{sys.version_info[0]}.{sys.version_info[1]}"

    def install(folder: Path) -> Sequence[Any]:
        venv.create(folder, with_pip=True)
        # Only binary packages: installing one then runs no code of it.
        pip = [folder / "bin" / "python", "-m", "pip", "install", "-q", "--only-binary", ":all:"]
        return [*pip, "--retries", "1", "--disable-pip-version-check", PYTHON_SDK]

    return installed(f"acp-{version}", install) / "bin" / "python"


@pytest.fixture(scope="session")
def node_packages() -> Path:
    """A folder with the protocol's TypeScript SDK and the acpx program."""
    if shutil.which("npm") is None or shutil.which("node") is None:
        pytest.skip("Node.js with npm is not installed")

    def install(folder: Path) -> Sequence[Any]:
        # Without scripts: installing a package then runs no code of it.
        npm = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", folder]
        return [*npm, NODE_SDK, ACPX]

    return installed("acp-node", install) / "node_modules"


@pytest.fixture
def shop(tmp_path) -> Path:
    """A project with an agent whose tool needs leave, and one that takes its time."""
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "shop_tools.py").write_text(TOOLS)
    (folder / "actrio.toml").write_text(SETTINGS)
    return folder


@pytest.fixture
def environment(tmp_path) -> dict[str, str]:
    """An environment without anybody's keys and settings."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("ACTRIO_") and not name.endswith(("_API_KEY", "_TOKEN"))
    }
    homes = {
        "HOME": str(tmp_path),
        "XDG_CONFIG_HOME": str(tmp_path),
        "XDG_STATE_HOME": str(tmp_path),
    }
    return {**kept, **homes, "ACTRIO_DATA_DIR": str(tmp_path / "data")}


@pytest.fixture
def report_of(shop, environment) -> Callable[..., Any]:
    """Run a client's program against ``actrio acp`` and return what it found."""

    def run(*command: Any) -> Any:
        agent = json.dumps([sys.executable, "-m", "actrio", "acp"])
        done = subprocess.run(
            [*command, agent, str(shop)],
            cwd=shop,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=RUN_SECONDS,
        )
        assert done.returncode == 0, done.stderr[-4000:]
        return json.loads(done.stdout.splitlines()[-1])

    return run
