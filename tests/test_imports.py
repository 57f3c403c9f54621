"""A program loads what it uses: named here is what it must not have loaded."""

from __future__ import annotations

import subprocess
import sys

import pytest

NAMES = "from actrio import Agent, open_runtime"

TURN = """
import trio
from actrio import Agent, open_runtime

async def main():
    async with open_runtime(env={}) as runtime:
        async with runtime.session(Agent("guide", model="scripted:demo")) as session:
            await session.ask("Hello!")

trio.run(main)
"""

# Libraries that few programs need, or only later; what they bring along is named for those that
# would come by another way.
LIBRARIES = {
    "asyncio",  # of structlog.stdlib
    "cattrs",
    "click",
    "cyclopts",
    "docstring_parser",
    "dotenv",
    "httpcore",
    "httpcore2",
    "httptools",
    "httpx",
    "httpx2",
    "hypercorn",
    "importlib.metadata",
    "platformdirs",
    "pygments",
    "rich",
    "starlette",
    "structlog",
    "tomllib",
    "xllamacpp",
    "yaml",
}
ROOMS = {
    "actrio.acp",
    "actrio.cli",
    "actrio.http",
    "actrio.rpc",
    "actrio.stdio",
    "actrio.stress",
    "actrio.testing",
    "actrio.journal._compaction",
    "actrio.journal._embedded",
    "actrio.journal._repair",
    "actrio.providers._connection",
    "actrio.providers._http",
    "actrio.providers.contract",
    "actrio.providers.dialects._anthropic",
    "actrio.providers.dialects._gemini",
    "actrio.providers.dialects._ollama",
    "actrio.providers.dialects._openai_responses",
    "actrio.providers.local._server",
    "actrio.runtime._load",
    "actrio.wire._documents",
    "actrio.wire._events",
    "actrio.wire._strict",
}
VENDORS = {
    "openai": "actrio.providers.dialects._openai_chat",
    "responses": "actrio.providers.dialects._openai_responses",
    "anthropic": "actrio.providers.dialects._anthropic",
    "gemini": "actrio.providers.dialects._gemini",
    "ollama": "actrio.providers.dialects._ollama",
}


def loaded_by(code: str) -> set[str]:
    """Return the modules that a fresh interpreter has loaded after ``code``."""
    told = f"{code}\nimport sys\nprint(*sys.modules, sep='\\n')"
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_a_program_s_names_load_no_more_than_they_need():
    """Naming an agent and the runtime loads no library and no room that may never be used."""
    loaded = loaded_by(NAMES)
    assert "actrio.runtime._runtime" in loaded
    assert loaded & (LIBRARIES | ROOMS) == set()
    assert "actrio.providers.scripted" not in loaded


def test_a_turn_in_memory_loads_no_library_for_files_network_or_logs():
    """A whole turn of the scripted provider needs trio, attrs and msgspec."""
    loaded = loaded_by(TURN)
    assert "actrio.providers.scripted._connection" in loaded
    assert loaded & (LIBRARIES | ROOMS) == set()


@pytest.mark.parametrize("kind", VENDORS)
def test_one_vendor_s_format_does_not_load_the_others(kind):
    """Each wire format is loaded when it is spoken; the responses carry chat's embeddings."""
    loaded = loaded_by(
        f"from actrio.providers._catalog import make_dialect\nmake_dialect({kind!r}, 'here')"
    )
    others = {module for other, module in VENDORS.items() if other != kind}
    if kind == "responses":
        others.remove(VENDORS["openai"])
    assert VENDORS[kind] in loaded
    assert loaded & others == set()


def test_the_version_loads_nothing():
    """A script that asks for the version does not wait for trio."""
    loaded = loaded_by(
        "from actrio.__main__ import main\n"
        "import contextlib, io\n"
        "with contextlib.redirect_stdout(io.StringIO()): main(['--version'])"
    )
    assert loaded & (LIBRARIES | ROOMS | {"attrs", "msgspec", "trio"}) == set()
