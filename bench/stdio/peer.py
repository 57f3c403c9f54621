"""The client's end of real pipes: a process of the server, and what came from it, with its times."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import trio


@attrs.define
class Peer:
    """A client of one ``actrio serve --stdio`` process."""

    process: trio.Process
    started: float
    buffered: bytes = b""
    last_id: int = 0

    async def send(self, method: str, **params: Any) -> int:
        self.last_id += 1
        message = {"id": self.last_id, "method": method, "params": params}
        assert self.process.stdin is not None
        await self.process.stdin.send_all(json.dumps(message).encode() + b"\n")
        return self.last_id

    async def lines(self) -> list[bytes]:
        """Return the next whole lines; none at the end of output."""
        assert self.process.stdout is not None
        while True:
            data = await self.process.stdout.receive_some(256 * 1024)
            if not data:
                return []
            *whole, self.buffered = (self.buffered + data).split(b"\n")
            if whole:
                return whole

    async def answer(self, id: int) -> Any:
        """Skip everything up to the answer to ``id``, and return its result."""
        while True:
            for line in await self.lines():
                message = json.loads(line)
                if message.get("id") == id:
                    assert "result" in message, message
                    return message["result"]

    async def call(self, method: str, **params: Any) -> Any:
        return await self.answer(await self.send(method, **params))

    def resident_bytes(self) -> int:
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(text.split("VmRSS:")[1].split()[0]) * 1024


@asynccontextmanager
async def served(*arguments: str, settings: str = "") -> AsyncIterator[Peer]:
    """Start a server in an empty folder, with its own data."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "actrio.toml").write_text(settings)
        quiet = {name: v for name, v in os.environ.items() if not name.startswith("ACTRIO_")}
        here = dict.fromkeys(("HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME"), folder)
        started = time.perf_counter()
        process = await trio.lowlevel.open_process(
            [sys.executable, "-m", "actrio", "serve", "--stdio", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=folder,
            env={**quiet, **here, "ACTRIO_DATA_DIR": folder},
        )
        try:
            yield Peer(process, started)
        finally:
            if process.returncode is None:
                process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()
