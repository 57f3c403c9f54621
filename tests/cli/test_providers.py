from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import trio

from actrio.providers.scripted import ScriptedServer

VENDORS = {
    "anthropic", "cerebras", "gemini", "glm4", "groq", "modelscope", "ollama", "openai",
    "openrouter", "siliconflow",
}  # fmt: skip


async def test_every_provider_is_listed(actrio: Any, folder: Path) -> None:
    """Available, not configured with the variable named, or disabled, and what each can do."""
    (folder / "actrio.toml").write_text("[providers.groq]\nenabled = false\n")
    done = await actrio("providers", env={"OPENROUTER_API_KEY": "sk-or-not-a-real-key-123456"})
    assert done.code == 0
    assert "✓ openrouter   available" in done.out
    assert "- groq         disabled" in done.out
    assert "· gemini       not-configured (GOOGLE_API_KEY is not set)" in done.out
    assert "→ Set GOOGLE_API_KEY (or GEMINI_API_KEY)" in done.out
    assert "embeddings" in done.out
    assert "sk-or" not in done.out + done.err


async def test_as_json(actrio: Any) -> None:
    """One object, with every vendor in it."""
    told = json.loads((await actrio("providers", "--json")).out)
    found = {one["name"]: one for one in told["providers"]}
    assert found.keys() >= VENDORS | {"local", "scripted"}
    assert found["openai"]["missing_env"] == "OPENAI_API_KEY"
    assert "embeddings" not in found["cerebras"]["can"]
    assert found["openai"]["checked"] is None


@pytest.mark.parametrize(
    ("model", "code", "words"),
    [("", 0, "it answers"), ("demo?fault=auth", 1, "✗ here")],
)
async def test_a_cheap_call(
    actrio: Any, folder: Path, nursery: trio.Nursery, model: str, code: int, words: str
) -> None:
    """A server that answers is ok, and one that is not there fails, each with its reason."""
    server = ScriptedServer()
    await nursery.start(server.serve)
    base_url = "http://127.0.0.1:1/v1" if model else server.base_url
    (folder / "actrio.toml").write_text(
        f'[providers.here]\nbase_url = "{base_url}"\n[providers.ollama]\nenabled = false\n'
        "[providers.here.limits]\nretries_max = 0\n"
    )
    done = await actrio("providers", "--check")
    assert done.code == code, done.out
    assert words in done.out
    nursery.cancel_scope.cancel()
