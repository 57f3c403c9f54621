"""Which transport carries a provider's requests."""

from __future__ import annotations

import subprocess
import sys

import attrs
import pytest
import trio

from actrio.errors import ConfigError, NotConfigured
from actrio.providers import ProviderSettings, load_http

BODY = b'data: {"choices":[{"index":0,"delta":{"content":"fine"},"finish_reason":"stop"}]}\n\n'
WHOLE = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: %d\r\n\r\n%b" % (
    len(BODY),
    BODY,
)


def carried_by(settings=None, *, http="auto", trust_env=True, library=None) -> str:
    library = library or load_http(http)
    client = library.client(
        settings or ProviderSettings(), library.tls_context(), trust_env=trust_env
    )
    return type(client._transport).__name__


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch):
    for name in ("ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.mark.parametrize("http", ["httpx", "httpx2"])
def test_the_fast_one_is_the_default(http):
    """Below either library."""
    assert carried_by(http=http) == "FastTransport"


def test_the_settings_say_which():
    """The library's own where it is asked for; nothing else is known."""
    assert carried_by(ProviderSettings(transport="httpx")) == "AsyncHTTPTransport"
    assert carried_by(ProviderSettings(transport="fast")) == "FastTransport"
    with pytest.raises(ConfigError, match=r"providers\.\*\.transport is 'slow'"):
        ProviderSettings(transport="slow")


@pytest.mark.parametrize("choice", ["auto", "fast"])
def test_a_proxy_is_the_librarys_own_matter(monkeypatch, choice):
    """Where the environment names one and counts; loopback never asks it."""
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    settings = ProviderSettings(transport=choice)
    assert carried_by(settings) == "AsyncHTTPTransport"
    assert carried_by(settings, trust_env=False) == "FastTransport"


def test_without_httptools():
    """The library's own, unless the fast one was asked for by name."""
    library = attrs.evolve(load_http(), fast_type=None)
    assert carried_by(library=library) == "AsyncHTTPTransport"
    with pytest.raises(NotConfigured, match="httptools") as caught:
        carried_by(ProviderSettings(transport="fast"), library=library)
    assert "pip install" in caught.value.remedy


def test_httptools_is_loaded_with_the_first_connection():
    """Not by importing the room."""
    program = (
        "import sys, actrio.providers as p; print('httptools' in sys.modules);"
        "p.load_http(); print('httptools' in sys.modules)"
    )
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert told.stdout.split() == [b"False", b"True"]


async def test_a_call_through_a_proxy(nursery, monkeypatch):
    """The proxy is asked, whatever transport the settings name."""
    seen = []

    async def proxy(stream):
        async with stream:
            seen.append(await stream.receive_some(65536))
            await stream.send_all(WHOLE)

    async def serve(*, task_status):
        await trio.serve_tcp(proxy, 0, host="127.0.0.1", task_status=task_status)

    (listener,) = await nursery.start(serve)
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{listener.socket.getsockname()[1]}")
    library = load_http()
    settings = ProviderSettings(transport="fast")
    async with library.client(settings, library.tls_context(), trust_env=True) as client:
        url = "http://provider.invalid/v1/chat"
        async with library.post(client, url, headers={}, body=b"{}") as answer:
            body = b"".join([piece async for piece in answer.pieces])
    assert body == BODY
    assert seen[0].startswith(b"POST http://provider.invalid/v1/chat HTTP/1.1\r\n")
