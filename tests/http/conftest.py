"""A real server on a free port of loopback, in the test's own Trio program."""

from __future__ import annotations

import json
import shutil
import subprocess
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import httpx
import pytest
import trio

from actrio.agents import Agent
from actrio.http import HttpApp, HttpServer, HttpSettings, http_app, listen_http, serve_http
from actrio.runtime import Runtime, Settings, open_runtime

ROOT = Path(__file__).resolve().parents[2]


@attrs.frozen
class Service:
    """A running service and what it runs on."""

    runtime: Runtime
    app: HttpApp
    server: HttpServer
    nursery: trio.Nursery

    @property
    def url(self) -> str:
        return self.server.addresses[0]

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    async def raw(self) -> trio.SocketStream:
        return await trio.open_tcp_stream("127.0.0.1", self.port)

    async def exchange(self, data: bytes, *, half_close: bool = False) -> bytes:
        """Send bytes and return everything that comes back."""
        stream = await self.raw()
        async with stream:
            await stream.send_all(data)
            if half_close:
                await stream.send_eof()
            return await read_all(stream)

    def client(self, **more: Any) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self.url, timeout=20, trust_env=False, **more)


async def read_all(stream: trio.SocketStream) -> bytes:
    pieces = []
    try:
        while data := await stream.receive_some(65536):
            pieces.append(data)
    except trio.BrokenResourceError:
        pass
    return b"".join(pieces)


@pytest.fixture
def serving():
    """Open a service: ``async with serving() as service``."""

    @asynccontextmanager
    async def open_service(
        *agents: Agent,
        http: HttpSettings | None = None,
        settings: Settings | None = None,
        address: str = "127.0.0.1",
        env: dict[str, str] | None = None,
        filters: Any = (),
    ):
        async with open_runtime(settings, env=env or {}, filters=filters) as runtime:
            app = http_app(runtime, http, agents=agents, address=address, env=env or {})
            async with trio.open_nursery() as nursery:
                server = await nursery.start(serve_http, app, await listen_http("127.0.0.1:0"))
                yield Service(runtime, app, server, nursery)
                nursery.cancel_scope.cancel()

    return open_service


@pytest.fixture(name="read_all")
def read_all_of_a_stream():
    """Read a stream to its end, however it ends."""
    return read_all


@pytest.fixture
def request_bytes():
    """Make a whole request of its parts."""

    def make(method: str, path: str, body: Any = None, **headers: str) -> bytes:
        data = b"" if body is None else json.dumps(body).encode()
        lines = [f"{method} {path} HTTP/1.1", "host: localhost"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        if body is not None:
            lines.append(f"content-length: {len(data)}")
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + data

    return make


@pytest.fixture(scope="session")
def node_modules():
    """The npm clients, installed once into the project's cache; skipped where that cannot be."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("node and npm are not installed")
    folder = ROOT / ".venv" / "node"
    wanted = ("openai@7", "eventsource@5", "autocannon@8")
    if not all((folder / "node_modules" / each.partition("@")[0]).is_dir() for each in wanted):
        folder.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            ["npm", "install", "--no-audit", "--no-fund", "--prefix", str(folder), *wanted],
            capture_output=True,
            text=True,
            check=False,
            timeout=110,
        )
        if done.returncode:
            pytest.skip(f"npm cannot install {' '.join(wanted)}: {done.stderr[-200:]}")
    return folder
