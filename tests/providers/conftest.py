from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import attrs
import pytest
import trio

from actrio.actors import open_actor_system
from actrio.messages import Delta, ModelInput, ModelOutput, user_message
from actrio.providers import ConnectionLimits, Connections, ProviderSettings
from actrio.providers.scripted import ScriptedServer
from actrio.testing import MemoryNetwork, Reply


@pytest.fixture(
    params=[("httpx", "auto"), ("httpx2", "auto"), ("httpx2", "httpx")],
    ids=["httpx", "httpx2", "httpx2-own"],
)
def carrier(request):
    """A library and a transport: ours below each of the two, and one of their own."""
    return request.param


@pytest.fixture
def http(carrier):
    """Each of the two HTTP libraries that the seam accepts; `connect` knows the transport."""
    return carrier[0]


@pytest.fixture
async def server(nursery):
    """A scripted server on a free loopback port."""
    scripted = ScriptedServer()
    await nursery.start(scripted.serve)
    return scripted


@attrs.define
class Client:
    """Calls one endpoint, provider ``here``, through its connection actor."""

    connections: Connections

    async def call(
        self, model: str, prompt: str = "Hi", seen: list[Delta] | None = None, **more
    ) -> ModelOutput:
        ref, name = await self.connections.open(model)
        request = ModelInput(name, (user_message(prompt),), **more)
        async with ref.stream(request) as stream:
            async for deltas in stream:
                assert isinstance(deltas, tuple)
                assert deltas
                if seen is not None:
                    seen.extend(deltas)
        return stream.result


@pytest.fixture
def connect(request):
    """Open a client of an endpoint: ``async with connect(base_url, http) as client``."""
    carried = "carrier" in request.fixturenames
    transport = request.getfixturevalue("carrier")[1] if carried else "auto"

    @asynccontextmanager
    async def opened(base_url: str, http: str, key: str = "", **settings) -> AsyncIterator[Client]:
        # One attempt is what most tests are about; what follows a failure has tests of its own.
        limits = ConnectionLimits(**{"retries_max": 0, **settings.pop("limits", {})})
        chosen = ProviderSettings(
            base_url=base_url,
            http=http,
            transport=settings.pop("transport", transport),
            api_key_env="HERE_KEY" if key else None,
            limits=limits,
            **settings,
        )
        async with open_actor_system() as system:
            yield Client(Connections(system, settings={"here": chosen}, env={"HERE_KEY": key}))

    return opened


@pytest.fixture
def offline():
    """Open a client of a network in memory: ``async with offline(network) as client``."""

    @asynccontextmanager
    async def opened(network: MemoryNetwork, **settings) -> AsyncIterator[Client]:
        limits = ConnectionLimits(**settings.pop("limits", {}))
        more, env = settings.pop("others", {}), settings.pop("env", {})
        here = ProviderSettings(base_url="http://127.0.0.1:1/v1", limits=limits, **settings)
        async with open_actor_system() as system:
            yield Client(
                Connections(
                    system,
                    settings={"here": here, **more},
                    env=env,
                    transport=network.transport,
                )
            )

    return opened


def chunk(text: str = "", finish: str | None = None, **more) -> bytes:
    choices = [{"index": 0, "delta": {"content": text}, "finish_reason": finish}]
    return b"data: " + json.dumps({"choices": choices, **more}).encode() + b"\n\n"


@pytest.fixture
def stream_reply():
    """Make a whole streamed answer: ``stream_reply("text", usage=(in, out))``."""

    def made(text: str, *, usage: tuple[int, int] = (1, 1), **more) -> Reply:
        told = {"prompt_tokens": usage[0], "completion_tokens": usage[1]}
        body = (chunk(text), chunk(finish="stop", usage=told), b"data: [DONE]\n\n")
        return Reply(body=body, **more)

    return made


@pytest.fixture
def gather():
    """Run functions at the same time and return what each gave."""

    async def together(functions) -> list:
        results = [None] * len(functions)

        async def one(place, function):
            results[place] = await function()

        async with trio.open_nursery() as nursery:
            for place, function in enumerate(functions):
                nursery.start_soon(one, place, function)
        return results

    return together


@pytest.fixture
def until():
    """Wait, at most two seconds of real time, until a condition on a real socket holds."""

    async def wait(holds: Callable[[], bool]) -> None:
        with trio.fail_after(2):
            while not holds():
                await trio.sleep(0.001)

    return wait


@pytest.fixture
def raw_server(nursery):
    """Serve a function over raw sockets: ``base_url = await raw_server(answer)``.

    ``answer(stream, request)`` is called for each request with its bytes; the connection is closed
    when it returns.
    """

    async def serve(answer: Callable[[trio.SocketStream, bytes], Awaitable[None]]) -> str:
        async def connection(stream: trio.SocketStream) -> None:
            async with stream:
                with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                    await answer(stream, await read_request(stream))

        listeners = await nursery.start(trio.serve_tcp, connection, 0)
        port = listeners[0].socket.getsockname()[1]
        return f"http://127.0.0.1:{port}/v1"

    return serve


async def read_request(stream: trio.SocketStream) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        more = await stream.receive_some(65536)
        if not more:
            return data
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    length = next(
        (int(line.split(b":")[1]) for line in lines if line[:15] == b"content-length:"), 0
    )
    while len(body) < length:
        body += await stream.receive_some(65536)
    return head + b"\r\n\r\n" + body
