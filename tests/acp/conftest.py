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
import trio.testing

from actrio.acp import serve_acp
from actrio.agents import Agent
from actrio.runtime import Settings, StoreSettings
from actrio.sansio import Line, LineReader

FOLDER = "/home/ada/shop"


@attrs.define
class Editor:
    """A client of ``actrio acp``, as simple as one can be."""

    stdin: Any
    stdout: Any
    process: Any = None
    lines: LineReader = attrs.field(factory=lambda: LineReader(64 * 1024 * 1024))
    waiting: list[dict[str, Any]] = attrs.field(factory=list)
    # Everything that came, in order.
    seen: list[dict[str, Any]] = attrs.field(factory=list)
    # What requests of the agent are answered with, by method; a callable is given the params.
    answers: dict[str, Any] = attrs.field(factory=dict)
    requests: list[dict[str, Any]] = attrs.field(factory=list)
    last_id: int = 0

    async def send(self, *messages: Any) -> None:
        lines = [m if isinstance(m, bytes) else json.dumps(m).encode() + b"\n" for m in messages]
        await self.stdin.send_all(b"".join(lines))

    async def receive(self) -> dict[str, Any] | None:
        while not self.waiting:
            data = await self.stdout.receive_some()
            if not data:
                return None
            self.waiting += [
                json.loads(line.data) for line in self.lines.feed(data) if isinstance(line, Line)
            ]
        message = self.waiting.pop(0)
        self.seen.append(message)
        if "method" in message and "id" in message:
            self.requests.append(message)
            answer = self.answers.get(message["method"])
            if callable(answer):
                answer = answer(message["params"])
            if answer is not None:
                await self.send({"jsonrpc": "2.0", "id": message["id"], **answer})
        return message

    async def request(self, method: str, **params: Any) -> int:
        self.last_id += 1
        await self.send({"jsonrpc": "2.0", "id": self.last_id, "method": method, "params": params})
        return self.last_id

    async def notify(self, method: str, **params: Any) -> None:
        await self.send({"jsonrpc": "2.0", "method": method, "params": params})

    async def answer(self, id: int) -> dict[str, Any]:
        for message in self.seen:
            if "method" not in message and message["id"] == id:
                return message
        while (message := await self.receive()) is not None:
            if "method" not in message and message["id"] == id:
                return message
        raise AssertionError("the agent closed its output")

    async def call(self, method: str, **params: Any) -> Any:
        answer = await self.answer(await self.request(method, **params))
        assert "error" not in answer, answer
        return answer["result"]

    async def error(self, method: str, **params: Any) -> dict[str, Any]:
        return (await self.answer(await self.request(method, **params)))["error"]

    async def new(self, **params: Any) -> str:
        return (await self.call("session/new", cwd=FOLDER, mcpServers=[], **params))["sessionId"]

    async def load(self, session: str) -> Any:
        return await self.call("session/load", sessionId=session, cwd=FOLDER, mcpServers=[])

    def prompt(self, session: str, text: str = "Hello.") -> Any:
        return self.request(
            "session/prompt", sessionId=session, prompt=[{"type": "text", "text": text}]
        )

    async def ask(self, session: str, text: str = "Hello.") -> Any:
        answer = await self.answer(await self.prompt(session, text))
        assert "error" not in answer, answer
        return answer["result"]["stopReason"]

    def updates(self, kind: str | None = None) -> list[dict[str, Any]]:
        """Return the updates that came so far, of all sessions."""
        found = [m["params"]["update"] for m in self.seen if m.get("method") == "session/update"]
        return [each for each in found if kind in {None, each["sessionUpdate"]}]

    def text(self, kind: str = "agent_message_chunk") -> str:
        return "".join(each["content"]["text"] for each in self.updates(kind))

    async def until_update(self, kind: str) -> dict[str, Any]:
        while not self.updates(kind):
            assert await self.receive() is not None, "the agent closed its output"
        return self.updates(kind)[-1]

    async def until_request(self, method: str) -> dict[str, Any]:
        while not (found := [each for each in self.requests if each["method"] == method]):
            assert await self.receive() is not None, "the agent closed its output"
        return found[-1]

    async def rest(self) -> list[dict[str, Any]]:
        messages = []
        while (message := await self.receive()) is not None:
            messages.append(message)
        return messages


@pytest.fixture
def edit(tmp_path) -> Callable[..., Any]:
    """Serve an editor in this process, over memory streams; sessions are kept in files."""

    @asynccontextmanager
    async def edit(
        agent: Agent | str = "scripted:echo",
        *,
        settings: Settings | None = None,
        initialize: bool = True,
        env: dict[str, str] | None = None,
        **capabilities: Any,
    ) -> AsyncIterator[Editor]:
        ours, theirs = trio.testing.memory_stream_pair()
        given = settings or Settings(store=StoreSettings(kind="embedded", folder=str(tmp_path)))
        ending: list[str] = []

        async def serve() -> None:
            served = agent if isinstance(agent, Agent) else Agent("clerk", model=agent)
            ending.append(
                await serve_acp(served, given, stdin=theirs, stdout=theirs, env=env or {})
            )
            await theirs.aclose()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            editor = Editor(ours, ours)
            if initialize:
                await editor.call("initialize", protocolVersion=1, clientCapabilities=capabilities)
            yield editor
            await ours.send_eof()
            await editor.rest()
        assert ending == ["eof"]

    return edit


@pytest.fixture
def folder(tmp_path):
    """An empty folder in which a process is started."""
    path = tmp_path / "project"
    path.mkdir()
    return path


@pytest.fixture
def environment(tmp_path) -> dict[str, str]:
    """An environment without anybody's keys and settings."""
    quiet = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("ACTRIO_") and not name.endswith(("_API_KEY", "_TOKEN"))
    }
    home = str(tmp_path)
    homes = {"HOME": home, "XDG_CONFIG_HOME": home, "XDG_STATE_HOME": home}
    return {**quiet, **homes, "ACTRIO_DATA_DIR": str(tmp_path / "data")}


@pytest.fixture
def started(folder, environment) -> Callable[..., Any]:
    """Start ``actrio acp`` as a process."""

    @asynccontextmanager
    async def started(*arguments: str, initialize: bool = True) -> AsyncIterator[Editor]:
        process = await trio.lowlevel.open_process(
            [sys.executable, "-m", "actrio", "acp", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=folder,
            env=environment,
        )
        editor = Editor(process.stdin, process.stdout, process)
        try:
            with trio.fail_after(30):
                if initialize:
                    await editor.call("initialize", protocolVersion=1)
                yield editor
        finally:
            if process.returncode is None:
                process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()
                for stream in (process.stdin, process.stdout, process.stderr):
                    await stream.aclose()

    return started
