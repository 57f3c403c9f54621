from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any


async def test_bundled_models_are_listed(actrio: Any) -> None:
    """The list names each bundled model, its licence, and how to get it where it is not here."""
    done = await actrio("model", "list")
    assert done.code == 0
    assert "local:smollm2" in done.out
    assert "Apache-2.0" in done.out
    assert "not installed: actrio model install smollm2" in done.out


async def test_an_unknown_model_is_not_installed(actrio: Any) -> None:
    """A name that is no bundled model is told with those that are."""
    done = await actrio("model", "install", "gpt-5")
    assert done.code == 66
    assert "local:smollm2" in done.err


async def test_a_way_to_serve_must_be_chosen(actrio: Any) -> None:
    """serve alone says what there is to choose."""
    done = await actrio("serve")
    assert done.code == 78
    assert "actrio serve --stdio" in done.err


async def test_stdio_is_served_with_the_settings_at_hand(actrio: Any, folder: Path) -> None:
    """serve --stdio reads actrio.toml, answers on stdout, and ends with its input."""
    (folder / "actrio.toml").write_text('[agents.guide]\nmodel = "scripted:echo"\n')
    request = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {}}
    done = await actrio("serve", "--stdio", stdin=json.dumps(request).encode() + b"\n")
    assert done.code == 0, done.err
    answer = json.loads(done.out.splitlines()[0])
    assert answer["id"] == 1
    assert "result" in answer


def test_closed_standard_streams_are_no_accident(environment: dict[str, str], folder: Path) -> None:
    """With stdin, stdout or stderr closed from the start the command works and writes nowhere."""
    command = f"{sys.executable} -m actrio run -m scripted:echo hello"
    for closing in (">&-", "2>&-", "<&- >&- 2>&-"):
        done = subprocess.run(
            ["sh", "-c", f"{command} {closing}"],
            check=False,
            cwd=folder,
            env=environment,
            capture_output=True,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout in {b"", b"hello\n"}
        assert done.stderr == b""
