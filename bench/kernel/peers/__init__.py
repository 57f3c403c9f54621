"""Other actor libraries, each in a virtual environment of its own, measured the same way.

A peer that does not install is left out, with the reason; nothing of it reaches actrio's environment.
"""

from __future__ import annotations

import json
import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).parent
VENVS = HERE.parents[1] / ".venvs"
INSTALL_SECONDS = 300
RUN_SECONDS = 180

PEERS = {"pykka": "pykka", "autogen-core": "autogen-core"}
"""What is installed for each; the program is the file of that name with underscores."""


def measure(name: str) -> dict[str, float | str]:
    """Return what a peer's program measures, or under ``missing`` why there is nothing."""
    python = VENVS / name / "bin" / "python"
    try:
        if not python.exists():
            _install(name, python)
        program = HERE / f"on_{name.replace('-', '_')}.py"
        done = subprocess.run(
            [str(python), str(program)],
            check=True,
            capture_output=True,
            timeout=RUN_SECONDS,
        )
    except (subprocess.SubprocessError, OSError) as error:
        text = getattr(error, "stderr", None) or b""
        return {"missing": (text.decode().strip().splitlines() or [repr(error)])[-1]}
    found: dict[str, float | str] = json.loads(done.stdout.splitlines()[-1])
    return found


def _install(name: str, python: Path) -> None:
    print(f"installing {name} into {python.parents[1]} …", file=sys.stderr)
    VENVS.mkdir(parents=True, exist_ok=True)
    (VENVS / ".gitignore").write_text("*\n")
    venv.create(VENVS / name, with_pip=True)
    command = [str(python), "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
    try:
        subprocess.run(
            [*command, PEERS[name]], check=True, capture_output=True, timeout=INSTALL_SECONDS
        )
    except subprocess.SubprocessError:
        python.unlink()  # not there, then: the next run tries again
        raise
