from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest
import trio

from actrio.cli._folders import data_folder, is_writable
from actrio.providers.scripted import ScriptedServer


async def test_without_settings_everything_is_told(actrio: Any) -> None:
    """Doctor names versions, files, providers with the missing variable, and ends with 0."""
    done = await actrio("doctor")
    assert done.code == 0
    for word in (
        "Python 3.",
        "trio 0.",
        "supported",
        "no file; the defaults hold",
        "scripted:demo",
    ):
        assert word in done.out
    assert "provider openai        not-configured (OPENAI_API_KEY is not set)" in done.out
    assert "→ Set OPENAI_API_KEY" in done.out
    assert "→ actrio model install smollm2" in done.out


async def test_a_default_model_that_cannot_work_is_exit_78(actrio: Any, folder: Path) -> None:
    """Where the default model lacks its key, doctor fails and says what is missing."""
    (folder / "actrio.toml").write_text('model = "openai:gpt-4o-mini"\n')
    done = await actrio("doctor")
    assert done.code == 78
    assert "✗ default model" in done.out
    assert str(folder / "actrio.toml") in done.out
    (folder / ".env").write_text("OPENAI_API_KEY=sk-not-a-real-key-0123456789\n")
    done = await actrio("doctor")
    assert done.code == 0
    assert "sk-not" not in done.out + done.err


@pytest.mark.parametrize(
    ("model", "told"),
    [("nobody:x", "no such provider"), ("local:smollm2", "is not installed"), ("x", "no such")],
)
async def test_other_default_models_that_cannot_work(actrio: Any, model: str, told: str) -> None:
    """An unknown provider or an absent local model fails as well."""
    done = await actrio("doctor", "--json", env={"ACTRIO_MODEL": model})
    found = json.loads(done.out)
    assert done.code == 78
    assert found["ok"] is False
    (check,) = [one for one in found["checks"] if one["name"] == "default model"]
    assert told in check["detail"]
    assert check["remedy"]


async def test_wrong_settings_are_a_finding(actrio: Any, folder: Path) -> None:
    """A broken settings file does not stop doctor, which is there to find it."""
    (folder / "actrio.toml").write_text("model = \n")
    done = await actrio("doctor")
    assert done.code == 78
    assert "✗ settings" in done.out
    assert "actrio.toml:1:" in done.out


async def test_reachability_is_asked_online(actrio: Any, folder: Path) -> None:
    """--online asks each configured provider over the network and tells which answer."""
    async with trio.open_nursery() as nursery:
        server = ScriptedServer()
        await nursery.start(server.serve)
        with socket.socket() as nobody:
            nobody.bind(("127.0.0.1", 0))
            port = nobody.getsockname()[1]
            (folder / "actrio.toml").write_text(
                f'[providers.here]\nbase_url = "{server.base_url}"\n'
                f'[providers.gone]\nbase_url = "http://127.0.0.1:{port}/v1"\n'
            )
            done = await actrio("doctor", "--online")
            (folder / "actrio.toml").write_text(
                f'model = "gone:x"\n[providers.gone]\nbase_url = "http://127.0.0.1:{port}/v1"\n'
            )
            default_gone = await actrio("doctor", "--online")
        nursery.cancel_scope.cancel()
    assert "✓ reach here" in done.out
    assert "✗ reach gone" in done.out
    assert "reach openai" not in done.out
    assert done.code == 0
    assert default_gone.code == 69


def test_a_folder_is_writable_where_it_could_be_made(tmp_path: Path) -> None:
    """A folder that is not there yet counts by its nearest parent, and nothing is made."""
    assert is_writable(tmp_path / "a" / "b")
    assert not (tmp_path / "a").exists()
    (tmp_path / "file").write_text("")
    assert not is_writable(tmp_path / "file" / "b")
    assert data_folder({"ACTRIO_DATA_DIR": str(tmp_path)}) == tmp_path
