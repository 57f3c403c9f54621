from __future__ import annotations

import base64
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
import trio.testing

from actrio.rpc import ConnectionLimits
from actrio.runtime import Settings
from actrio.sansio import Line, LineReader
from actrio.stdio import WireRules, serve_stdio


@attrs.define
class StdioClient:
    """A client of ``actrio serve --stdio``: of a real process over pipes, or of one in here."""

    stdin: Any
    stdout: Any
    process: Any = None
    # Ours are as long as the text they carry.
    lines: LineReader = attrs.field(factory=lambda: LineReader(64 * 1024 * 1024))
    waiting: list[dict[str, Any]] = attrs.field(factory=list)
    # Notifications that arrived while an answer was waited for, in order.
    events: list[dict[str, Any]] = attrs.field(factory=list)
    # Answers that arrived while another one was waited for.
    answers: dict[Any, list[dict[str, Any]]] = attrs.field(factory=dict)
    last_id: int = 0
    # Everything that was said, checked against the wire's rules as it is said.
    rules: WireRules = attrs.field(factory=WireRules)
    # Answers requests of the server: takes the message, returns a result, or None for none yet.
    on_request: Callable[[dict[str, Any]], Any] | None = None
    requests: list[dict[str, Any]] = attrs.field(factory=list)
    taken_back: list[dict[str, Any]] = attrs.field(factory=list)

    async def send(self, *messages: Any) -> None:
        for message in messages:
            self.rules.sent(message if isinstance(message, dict) else _read(message))
        lines = [m if isinstance(m, bytes) else json.dumps(m).encode() + b"\n" for m in messages]
        await self.stdin.send_all(b"".join(lines))

    async def receive(self) -> dict[str, Any] | None:
        while not self.waiting:
            data = await self.stdout.receive_some()
            if not data:
                return None
            for line in self.lines.feed(data):
                assert isinstance(line, Line)
                message = json.loads(line.data)
                self.rules.received(message, line_bytes=len(line.data))
                self.waiting.append(message)
        message = self.waiting.pop(0)
        if message.get("method") == "$/cancelRequest":
            self.taken_back.append(message["params"])
        if "method" in message and "id" in message:
            self.requests.append(message)
            result = self.on_request and self.on_request(message)
            if result is not None:
                await self.send({"jsonrpc": "2.0", "id": message["id"], "result": result})
        return message

    async def request(self, method: str, **params: Any) -> int:
        self.last_id += 1
        await self.send({"jsonrpc": "2.0", "id": self.last_id, "method": method, "params": params})
        return self.last_id

    async def answer(self, id: Any) -> dict[str, Any]:
        while not self.answers.get(id):
            message = await self.receive()
            assert message is not None, "the process closed its output"
            if message.get("method") == "event":
                self.events.append(message["params"])
            elif "method" not in message:
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
            if message.get("method") == "event":
                self.events.append(message["params"])
            elif "method" not in message:
                self.answers.setdefault(message["id"], []).append(message)

    async def error(self, method: str, **params: Any) -> dict[str, Any]:
        """Return the error that a request is answered with."""
        return (await self.answer(await self.request(method, **params)))["error"]

    def of(self, type: str) -> list[dict[str, Any]]:
        """Return the events of a type that came so far."""
        return [event for event in self.events if event["type"] == type]

    async def whole(self, value: Any) -> Any:
        """Return a value, read as a blob where it was too large for its line."""
        if not isinstance(value, dict) or "$blob" not in value:
            return value
        data = b""
        while len(data) < value["size"]:
            piece = await self.call("blob/read", blob=value["$blob"], offset=len(data))
            data += base64.b64decode(piece["data"])
        text = data.decode()
        return text if value["media_type"].startswith("text/") else json.loads(text)

    async def rest(self) -> list[dict[str, Any]]:
        """Return everything up to the end of output."""
        messages = []
        while (message := await self.receive()) is not None:
            messages.append(message)
        return messages


def _read(line: bytes) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None


@pytest.fixture
def serve(tmp_path) -> Callable[..., Any]:
    """Start ``actrio serve --stdio`` in an empty folder with nothing configured."""
    quiet = {name: v for name, v in os.environ.items() if not name.startswith("ACTRIO_")}
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    env = {**quiet, "HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path), "PYTHONPATH": path}
    env |= {"XDG_STATE_HOME": str(tmp_path), "ACTRIO_DATA_DIR": str(tmp_path / "data")}

    @asynccontextmanager
    async def serve(
        *arguments: str, initialize: bool = True, declare: dict[str, Any] | None = None
    ) -> AsyncIterator[StdioClient]:
        command = [sys.executable, "-m", "actrio", "serve", "--stdio", *arguments]
        process = await trio.lowlevel.open_process(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=tmp_path,
            env=env,
        )
        client = StdioClient(process.stdin, process.stdout, process)
        try:
            with trio.fail_after(30):
                if initialize:
                    await client.call("initialize", **(declare or {}))
                yield client
                assert client.rules.problems == []
        finally:
            if process.returncode is None:
                process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()
                for stream in (process.stdin, process.stdout, process.stderr):
                    await stream.aclose()

    return serve


@pytest.fixture
def talk(tmp_path) -> Callable[..., Any]:
    """Serve a client in this process, over memory streams."""

    @asynccontextmanager
    async def talk(
        settings: Settings | None = None,
        *,
        declare: dict[str, Any] | None = None,
        limits: ConnectionLimits | None = None,
        on_eof: str = "drain",
        lockstep: bool = False,
        folder: Any = None,
    ) -> AsyncIterator[StdioClient]:
        env = {"ACTRIO_DATA_DIR": str(folder or tmp_path)}
        ours, theirs = trio.testing.memory_stream_pair()
        if lockstep:
            # What it writes waits until it is read, as with a full pipe.
            ours, theirs = trio.testing.lockstep_stream_pair()
        code: int | None = None

        async def serve() -> None:
            nonlocal code
            code = await serve_stdio(
                settings or Settings(),
                on_eof=on_eof,
                limits=limits,
                stdin=theirs,
                stdout=theirs,
                env=env,
            )
            await theirs.aclose()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            client = StdioClient(ours, ours)
            await client.call("initialize", **(declare or {}))
            yield client
            await ours.send_eof()
            await client.rest()
        assert code == 0
        assert client.rules.problems == []

    return talk
