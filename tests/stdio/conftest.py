from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest
import trio

from actrio.sansio import Line, LineReader


@attrs.define
class StdioClient:
    """A client of a real ``actrio serve --stdio`` process, over pipes."""

    process: trio.Process
    # Ours are as long as the text they carry.
    lines: LineReader = attrs.field(factory=lambda: LineReader(64 * 1024 * 1024))
    waiting: list[dict[str, Any]] = attrs.field(factory=list)
    # Notifications that arrived while an answer was waited for, in order.
    events: list[dict[str, Any]] = attrs.field(factory=list)
    # Answers that arrived while another one was waited for.
    answers: dict[Any, list[dict[str, Any]]] = attrs.field(factory=dict)
    last_id: int = 0

    async def send(self, *messages: Any) -> None:
        lines = [m if isinstance(m, bytes) else json.dumps(m).encode() + b"\n" for m in messages]
        await self.process.stdin.send_all(b"".join(lines))

    async def receive(self) -> dict[str, Any] | None:
        while not self.waiting:
            data = await self.process.stdout.receive_some()
            if not data:
                return None
            for line in self.lines.feed(data):
                assert isinstance(line, Line)
                self.waiting.append(json.loads(line.data))
        return self.waiting.pop(0)

    async def request(self, method: str, **params: Any) -> int:
        self.last_id += 1
        await self.send({"jsonrpc": "2.0", "id": self.last_id, "method": method, "params": params})
        return self.last_id

    async def answer(self, id: Any) -> dict[str, Any]:
        while not self.answers.get(id):
            message = await self.receive()
            assert message is not None, "the process closed its output"
            if "method" in message:
                self.events.append(message["params"])
            else:
                self.answers.setdefault(message["id"], []).append(message)
        return self.answers[id].pop(0)

    async def call(self, method: str, **params: Any) -> Any:
        answer = await self.answer(await self.request(method, **params))
        assert "error" not in answer, answer
        return answer["result"]

    async def until(self, type: str, turn: str | None = None) -> dict[str, Any]:
        """Return the next event of ``type``, also one that came before."""
        seen = 0
        while True:
            for event in self.events[seen:]:
                if event["type"] == type and turn in {None, event["turn"]}:
                    return event
            seen = len(self.events)
            message = await self.receive()
            assert message is not None, "the process closed its output"
            assert message["method"] == "event"
            self.events.append(message["params"])

    async def rest(self) -> list[dict[str, Any]]:
        """Return everything up to the end of output."""
        messages = []
        while (message := await self.receive()) is not None:
            messages.append(message)
        return messages


@pytest.fixture
def serve(tmp_path) -> Callable[..., Any]:
    """Start ``actrio serve --stdio`` in an empty folder with nothing configured."""
    quiet = {name: v for name, v in os.environ.items() if not name.startswith("ACTRIO_")}
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    env = {**quiet, "HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path), "PYTHONPATH": path}

    @asynccontextmanager
    async def serve(*arguments: str, initialize: bool = True) -> AsyncIterator[StdioClient]:
        command = [sys.executable, "-m", "actrio", "serve", "--stdio", *arguments]
        process = await trio.lowlevel.open_process(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=tmp_path,
            env=env,
        )
        client = StdioClient(process)
        try:
            with trio.fail_after(30):
                if initialize:
                    await client.call("initialize")
                yield client
        finally:
            if process.returncode is None:
                process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()
                for stream in (process.stdin, process.stdout, process.stderr):
                    await stream.aclose()

    return serve
