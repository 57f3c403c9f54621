"""Peers that nobody here wrote, each in an environment of its own, so that none of their
requirements reaches ours."""

from __future__ import annotations

import fcntl
import re
import shutil
import subprocess
import sys
import time
import venv
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import httpx
import pytest

from actrio.actors import open_actor_system
from actrio.messages import Delta, ModelInput, ModelOutput, user_message
from actrio.providers import ConnectionLimits, Connections, ProviderSettings

PEERS = Path(__file__).resolve().parents[2] / ".venv" / "peers"
LLMOCK = "llmock==0.2.2"

INSTALL_SECONDS = 100  # 13 s where the registry is near; below the time limit of one test
START_SECONDS = 20
LISTENS = re.compile(r"running on (http://127\.0\.0\.1:\d+)")

PROMPT = "Say something about a fox."  # the mock counts a shorter one as no token at all

FORMATS = {
    "openai": ("openai", "/v1", None),
    "responses": ("openai", "/v1", "responses"),
    "anthropic": ("anthropic", "/anthropic", None),
    "gemini": ("gemini", "/gemini/v1beta", None),
    "groq": ("groq", "/groq/openai/v1", None),
}
"""By wire format: the catalog's vendor, where the mock speaks it, and which of its dialects."""


@pytest.fixture(scope="session")
def llmock_program() -> Path:
    """The mock's program; installed when it is first needed, and kept for further runs."""
    version = f"py{sys.version_info[0]}.{sys.version_info[1]}"
    folder = PEERS / f"{LLMOCK.replace('==', '-')}-{version}"
    PEERS.mkdir(parents=True, exist_ok=True)
    with (PEERS / f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two runs may want it at the same time
        if not (folder / "ready").exists():
            _install(folder)
    return folder / "bin" / "llmock"


def _install(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    venv.create(folder, with_pip=True)
    # Only binary packages: installing one then runs no code of it.
    command = [folder / "bin" / "python", "-m", "pip", "install", "-q", "--only-binary", ":all:"]
    try:
        subprocess.run(
            [*command, "--retries", "1", "--disable-pip-version-check", LLMOCK],
            check=True,
            capture_output=True,
            text=True,
            timeout=INSTALL_SECONDS,
        )
    except subprocess.TimeoutExpired:
        pytest.skip(f"{LLMOCK} was not installed within {INSTALL_SECONDS} s")
    except subprocess.CalledProcessError as error:
        told = error.stderr.strip().splitlines() or ["pip says nothing"]
        pytest.skip(f"{LLMOCK} cannot be installed here: {told[-1]}")
    (folder / "ready").touch()


@attrs.frozen
class Mock:
    """The running mock: what it is told to do next, and what it thinks of its clients."""

    base_url: str
    _admin: httpx.Client = attrs.field(repr=False)

    def script(self, *behaviors: dict[str, Any]) -> None:
        """Let the next request meet ``behaviors``."""
        self._admin.post("/_llmock/scenario", json={"behaviors": behaviors}).raise_for_status()

    def reset(self) -> None:
        self._admin.post("/_llmock/reset").raise_for_status()

    def told(self, what: str) -> dict[str, Any]:
        """Return its account of the requests, or its verdict."""
        return self._admin.get(f"/_llmock/{what}").raise_for_status().json()


@pytest.fixture(scope="session")
def _running(llmock_program: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mock]:
    log = tmp_path_factory.mktemp("llmock") / "log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [llmock_program, "serve", "--host", "127.0.0.1", "--port", "0"],
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        with httpx.Client(base_url=_address(process, log), trust_env=False) as admin:
            yield Mock(str(admin.base_url).rstrip("/"), admin)
    finally:
        process.terminate()
        process.wait(timeout=10)


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    """Return where it listens: it picks a free port itself, and tells it in its log."""
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and process.poll() is None:
        if found := LISTENS.search(log.read_text()):
            return found[1]
        time.sleep(0.02)
    process.kill()
    raise AssertionError(f"llmock does not serve: {log.read_text()[-2000:]}")


@pytest.fixture
def mock(_running: Mock) -> Mock:
    """The mock, with nothing scripted and nothing remembered."""
    _running.reset()
    return _running


@attrs.frozen
class Peer:
    """Our provider of one wire format, with the mock at its other end."""

    mock: Mock
    connections: Connections
    provider: str
    key: str

    async def ref(self, model: str = "any-model") -> Any:
        return await self.connections.open(f"{self.provider}:{model}")

    async def chat(self, prompt: str = PROMPT, **more: Any) -> ModelOutput:
        ref, name = await self.ref()
        return await ref.ask(ModelInput(name, (user_message(prompt),), stream=False, **more))

    async def stream(self, seen: list[Delta], prompt: str = PROMPT, **more: Any) -> ModelOutput:
        ref, name = await self.ref()
        call = ModelInput(name, (user_message(prompt),), **more)
        async with ref.stream(call) as stream:
            async for deltas in stream:
                seen.extend(deltas)
        return stream.result


@pytest.fixture
def connect(mock: Mock) -> Callable[..., Any]:
    """Open our provider of a wire format: ``async with connect("anthropic") as peer``."""

    @asynccontextmanager
    async def opened(wire: str, *, retries_max: int = 0, **settings: Any) -> AsyncIterator[Peer]:
        provider, path, dialect = FORMATS[wire]
        key = "sk-planted-for-the-mock"
        chosen = ProviderSettings(
            base_url=mock.base_url + path,
            api_key_env="PEER_KEY",
            dialect=dialect,
            limits=ConnectionLimits(retries_max=retries_max),
            **settings,
        )
        async with open_actor_system() as system:
            connections = Connections(system, settings={provider: chosen}, env={"PEER_KEY": key})
            yield Peer(mock, connections, provider, key)

    return opened


@pytest.fixture(params=sorted(FORMATS))
def wire(request: pytest.FixtureRequest) -> str:
    """Each wire format that the mock speaks and we do."""
    return request.param
