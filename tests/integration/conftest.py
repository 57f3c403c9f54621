"""Worlds that integration tests stand in: a real loopback server, a runtime that uses it."""

from __future__ import annotations

from contextlib import asynccontextmanager

import pytest
import trio

from actrio import ProviderSettings, Settings, open_runtime
from actrio.testing import ScriptedServer


@asynccontextmanager
async def _world(*, max_connections=100, http="auto", **kw):
    server = ScriptedServer()
    async with trio.open_nursery() as nursery:
        port = await nursery.start(server.serve)
        settings = Settings(
            providers={
                "loop": ProviderSettings(
                    base_url=f"http://127.0.0.1:{port}/v1",
                    max_connections=max_connections,
                    http=http,
                )
            }
        )
        async with open_runtime(settings, env={}, **kw) as runtime:
            yield runtime, server
        nursery.cancel_scope.cancel()


@pytest.fixture
def world():
    """Open a runtime whose provider ``loop`` is the scripted one behind a real socket."""
    return _world


async def until(condition, *, seconds=5.0):
    """Wait for something that another task or process brings about; fail if it never comes."""
    with trio.fail_after(seconds):
        while not condition():
            await trio.sleep(0.005)


@pytest.fixture(name="until")
def until_fixture():
    return until
