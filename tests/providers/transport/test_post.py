"""A provider's POST goes straight into the fast transport, and tells what httpx's client would."""

from __future__ import annotations

import pytest

from actrio.errors import ConfigError
from actrio.providers import ProviderSettings, load_http
from actrio.providers._http import Talk

ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nX-Two: a\r\nx-two: b\r\nX-Name: M\xfcller\r\n"
    b"content-length: 2\r\n\r\nhi"
)
BOTH = pytest.mark.parametrize("transport", ["fast", "httpx"])


async def posted(url, transport, headers):
    library = load_http()
    settings = ProviderSettings(transport=transport)
    with library.translated(Talk("test", "m")):
        async with (
            library.client(settings, library.tls_context(), trust_env=False) as client,
            library.post(client, url, headers=headers, body=b"body") as answer,
        ):
            body = b"".join([piece async for piece in answer.pieces])
            return answer.status, answer.headers, body


def head_of(request):
    lines = request.partition(b"\r\n\r\n")[0].split(b"\r\n")
    pairs = [line.lower().partition(b": ")[::2] for line in lines[1:]]
    assert len(pairs) == len(dict(pairs)), "no header stands twice"
    return lines[0], dict(pairs)


async def test_both_ways_send_and_tell_the_same(serving):
    """What is asked for, and Host, Connection and Content-Length; headers by lower-case name."""
    sent, told = [], []
    headers = {"content-type": "application/json", "accept": "*/*", "accept-encoding": "identity"}
    for transport in ("fast", "httpx"):
        async with serving(ANSWER) as server:
            url = server.url + "v1/chat?a=b"
            told.append(await posted(url, transport, {**headers, "user-agent": "test"}))
            line, found = head_of(server.requests[0])
            assert found.pop(b"host").startswith(b"localhost:")
            sent.append((line, found))
    assert sent[0] == sent[1]
    assert told[0] == told[1]
    assert told[0][1]["x-two"] == "a, b"


@BOTH
async def test_headers_of_the_settings_replace_what_is_added(serving, transport):
    """A host of one's own is sent, once."""
    async with serving(ANSWER) as server:
        await posted(server.url, transport, {"Host": "gateway.example"})
        assert head_of(server.requests[0])[1][b"host"] == b"gateway.example"


@BOTH
async def test_an_address_with_a_user_logs_in(serving, transport):
    """That is httpx's matter, below either transport."""
    async with serving(ANSWER) as server:
        await posted(server.url.replace("//", "//me:secret@"), transport, {})
        assert head_of(server.requests[0])[1][b"authorization"].startswith(b"basic ")


@BOTH
@pytest.mark.parametrize("url", ["ftp://127.0.0.1/", "127.0.0.1/v1", "http://"])
async def test_an_address_that_leads_nowhere_is_told(transport, url):
    """As wrong settings, which it is."""
    with pytest.raises(ConfigError, match="unusable base_url"):
        await posted(url, transport, {})


async def test_a_header_cannot_bring_another_one():
    """Nothing is sent."""
    with pytest.raises(ConfigError):
        await posted("http://127.0.0.1:9/", "fast", {"x-key": "a\r\nx-evil: b"})


async def test_cookies_are_not_kept(serving):
    """Each call is told apart by its key alone."""
    cookie = ANSWER.replace(b"X-Two: a", b"Set-Cookie: a=b; Path=/")
    library = load_http()
    async with (
        serving(cookie, cookie) as server,
        library.client(ProviderSettings(), library.tls_context(), trust_env=False) as client,
    ):
        for _ in range(2):
            async with library.post(client, server.url, headers={}, body=b"{}") as answer:
                assert [piece async for piece in answer.pieces] == [b"hi"]
        assert b"cookie" not in head_of(server.requests[1])[1]
