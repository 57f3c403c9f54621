from __future__ import annotations

import importlib.util
import json
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from actrio.errors import NotConfigured
from actrio.messages import FinishDelta, ModelInput, ModelOutput, TextDelta, fold
from actrio.providers.local import LocalModel, find_model

CHILD = "_server_child.py"


@pytest.fixture(scope="session")
def smollm2() -> Path:
    """The bundled model's file; tests that need it skip where it or the extra is absent."""
    if importlib.util.find_spec("xllamacpp") is None:
        pytest.skip("the extra actrio[local] is not installed")
    try:
        return find_model("smollm2")
    except NotConfigured as error:
        pytest.skip(str(error))


def is_alive(pid: int) -> bool:
    """Whether a process runs; a zombie, which only its parent can bury, does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    try:
        return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.fixture
def gone() -> Callable[[int], Awaitable[None]]:
    """Wait until a process is gone; fail after two seconds."""

    async def wait(pid: int) -> None:
        with trio.fail_after(2):
            while is_alive(pid):
                await trio.sleep(0.01)  # nothing else tells the end of a process of others

    return wait


@pytest.fixture
def server_pids() -> Callable[[], set[int]]:
    """The model servers that this process started and that still run."""

    def find() -> set[int]:
        if not Path("/proc/self/stat").exists():
            pytest.skip("needs /proc to see processes")
        names = (path.name for path in Path("/proc").iterdir())
        return {pid for pid in map(int, filter(str.isdigit, names)) if _is_ours(pid)}

    return find


def _is_ours(pid: int) -> bool:
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
        parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]
    except OSError:
        return False
    return CHILD.encode() in command and int(parent) == os.getpid()


@pytest.fixture
def kill() -> Callable[[int], None]:
    return lambda pid: os.kill(pid, signal.SIGKILL)


@pytest.fixture
def chat() -> Callable[[LocalModel, ModelInput], Awaitable[ModelOutput]]:
    """Ask a model over raw HTTP, streamed, through the model's own adaptation."""

    async def ask(model: LocalModel, request: ModelInput) -> ModelOutput:
        fitted, read = model.adapt(request)
        assert fitted.tools == ()
        endpoint = await model.endpoint()
        deltas: list[Any] = []
        async with (
            httpx.AsyncClient(trust_env=False, timeout=60) as client,
            client.stream(
                "POST",
                f"{endpoint.base_url}/chat/completions",
                json=body(fitted),
                headers={"Authorization": f"Bearer {endpoint.api_key}"},
            ) as response,
        ):
            assert response.status_code == 200, await response.aread()
            async for line in response.aiter_lines():
                if line.startswith("data: {"):
                    deltas += read(chunk_deltas(json.loads(line[6:])))
        return fold(deltas)

    return ask


def body(request: ModelInput) -> dict[str, Any]:
    messages = [{"role": "system", "content": request.instructions}]
    messages += [{"role": m.role, "content": m.text} for m in request.messages]
    options = request.options
    out: dict[str, Any] = {
        "messages": messages,
        "stream": True,
        "temperature": options.temperature,
        "max_tokens": options.max_tokens,
    }
    if options.response_schema is not None:
        schema = {"name": "answer", "schema": options.response_schema, "strict": True}
        out["response_format"] = {"type": "json_schema", "json_schema": schema}
    return out


def chunk_deltas(chunk: dict[str, Any]) -> list[Any]:
    deltas: list[Any] = []
    for choice in chunk["choices"]:
        if text := choice["delta"].get("content"):
            deltas.append(TextDelta(text))
        if reason := choice["finish_reason"]:
            deltas.append(FinishDelta(reason))
    return deltas
