from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

Command = Callable[..., Awaitable["Ended"]]


@attrs.frozen
class Ended:
    """What a finished command left: its exit code and what it wrote."""

    code: int
    out: str
    err: str


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """An environment without anybody's keys, settings or models."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("ACTRIO_") and not name.endswith(("_API_KEY", "_TOKEN"))
    }
    return {
        **kept,
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "ACTRIO_DATA_DIR": str(tmp_path / "data"),
        "COLUMNS": "80",
        "NO_COLOR": "1",
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder in which commands run."""
    path = tmp_path / "project"
    path.mkdir()
    return path


@pytest.fixture
def actrio(environment: dict[str, str], folder: Path) -> Command:
    """Run ``python -m actrio`` to its end over real pipes."""

    async def run(*arguments: str, stdin: bytes = b"", env: Mapping[str, str] = {}) -> Ended:
        done = await trio.run_process(
            [sys.executable, "-m", "actrio", *arguments],
            stdin=stdin,
            capture_stdout=True,
            capture_stderr=True,
            check=False,
            cwd=folder,
            env={**environment, **env},
        )
        return Ended(done.returncode, done.stdout.decode(), done.stderr.decode())

    return run


@pytest.fixture
def started(
    environment: dict[str, str], folder: Path
) -> Callable[..., AbstractAsyncContextManager[trio.Process]]:
    """Start ``python -m actrio`` and hand over the process, which is ended afterwards."""

    @asynccontextmanager
    async def start(*arguments: str, **streams: Any) -> AsyncIterator[trio.Process]:
        given = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        process = await trio.lowlevel.open_process(
            [sys.executable, "-m", "actrio", *arguments],
            cwd=folder,
            env=environment,
            **{**given, **streams},
        )
        try:
            yield process
        finally:
            with trio.CancelScope(shield=True):
                if process.returncode is None:
                    process.kill()
                await process.wait()
                for stream in (process.stdin, process.stdout, process.stderr):
                    if stream is not None:
                        await trio.aclose_forcefully(stream)

    return start
