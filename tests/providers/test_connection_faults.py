"""What real endpoints, proxies and networks do wrong, from raw sockets, with both libraries."""

from __future__ import annotations

import json
import socket
import struct

import pytest
import trio

from actrio.errors import (
    ActrioError,
    ConfigError,
    LimitExceeded,
    ProviderError,
    ProviderProtocolError,
    ProviderUnreachable,
    StreamTruncated,
)
from actrio.messages import fold
from actrio.providers._reading import ANSWER_CHARACTERS_MAX

KEY = "sk-secret-0123456789"


def chunked(*pieces: bytes, end: bool = True, kind: str = "text/event-stream") -> bytes:
    head = f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ntransfer-encoding: chunked\r\n\r\n"
    body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return head.encode() + body + (b"0\r\n\r\n" if end else b"")


def plain(status: int, body: bytes, kind: str = "application/json", extra: str = "") -> bytes:
    head = f"HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n{extra}"
    return head.encode() + b"\r\n" + body


def event(text: str, finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish}
    return b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"


def answering(data: bytes):
    async def answer(stream, request):
        await stream.send_all(data)

    return answer


@pytest.mark.parametrize(
    "case",
    [
        (plain(401, b'{"error":{"message":"no"}}'), ProviderError, "auth", "key"),
        (plain(404, b'{"error":{"message":"none"}}'), ProviderError, "not_found", "name"),
        (plain(413, b"too big", "text/plain"), ProviderError, "invalid_request", "too big"),
        (plain(429, b"{}", extra="retry-after: 3\r\n"), ProviderError, "rate_limit", "later"),
        (plain(500, b"<html><title>Oh</title></html>", "text/html"), ProviderError, "server", "Oh"),
        (
            plain(400, b'{"error":{"message":"bad"}}', "text/event-stream"),
            ProviderError,
            "invalid_request",
            "bad",
        ),
        (plain(302, b"", extra="location: /x\r\n"), ProviderError, "invalid_request", "redirects"),
        (plain(204, b""), ProviderError, "invalid_request", "204"),
        (plain(200, b"<html>", "text/html"), ProviderProtocolError, "protocol", "text/html"),
        (plain(200, b"not json"), ProviderProtocolError, "protocol", "not json"),
        (plain(200, b"{}"), ProviderProtocolError, "protocol", "choices"),
        (chunked(event("a"), b"data: {oops\n\n"), ProviderProtocolError, "protocol", "oops"),
        (chunked(b"data: " + b"x" * 5_000_000), ProviderProtocolError, "protocol", "longer"),
        (chunked(event("a")), StreamTruncated, "network", "finish_reason"),
        (chunked(event("a"), DONE), StreamTruncated, "network", "finish_reason"),
        (chunked(event("a"), b'data: {"ch'), StreamTruncated, "network", "middle of an event"),
        (chunked(event("a"), end=False), StreamTruncated, "network", "cut"),
        (chunked(event("a", "stop"), end=False), StreamTruncated, "network", "cut"),
        (chunked(event("a"))[:-30], StreamTruncated, "network", "cut"),
        (b"HTTP/1.1 200 OK\r\ncontent-le", ProviderUnreachable, "network", "ended"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", ProviderProtocolError, "protocol", "no HTTP"),
        (b"", ProviderUnreachable, "network", "ended"),
        (chunked(event("a"), end=False) + b"oops\r\n", ProviderProtocolError, "protocol", "HTTP"),
        (
            plain(200, b"no gzip", extra="content-encoding: gzip\r\n"),
            ProviderProtocolError,
            "protocol",
            "compressed",
        ),
    ],
)
async def test_every_wrong_answer_has_its_error(raw_server, connect, http, case):
    """Status, form or end: each has a typed error that says what happened; the actor lives on."""
    data, kind, category, words = case
    base_url = await raw_server(answering(data))
    async with connect(base_url, http) as client:
        for _ in range(2):
            with pytest.raises(kind, match=words) as caught:
                await client.call("here:small")
            assert caught.value.category == category
            assert caught.value.remedy
        assert client.connections.statistics()["here"].calls_in_work == 0


async def test_an_answer_without_end_is_ended(raw_server, connect, http):
    """It has a largest size in characters; the call fails, the socket closes, the actor lives on."""
    piece = chunked(event("x" * 500_000), end=False)
    head, _, chunk = piece.partition(b"\r\n\r\n")
    closed = trio.Event()

    async def answer(stream, request):
        await stream.send_all(head + b"\r\n\r\n")
        try:
            while True:
                await stream.send_all(chunk)
        except trio.BrokenResourceError:
            closed.set()

    base_url = await raw_server(answer)
    async with connect(base_url, http) as client:
        with trio.fail_after(20), pytest.raises(LimitExceeded, match="longer than") as caught:
            await client.call("here:small")
        assert caught.value.data["limit"] == ANSWER_CHARACTERS_MAX
        assert caught.value.remedy
        with trio.fail_after(5):
            await closed.wait()
        assert client.connections.statistics()["here"].requests == 1


async def test_a_stream_that_stops_after_its_end_mark_is_whole(raw_server, connect, http):
    """After finish and ``[DONE]`` nothing is missing, even where the body has no proper end."""
    data = chunked(event("a"), event("b", "stop"), DONE, end=False)

    async def answer(stream, request):
        await stream.send_all(data)
        await stream.receive_some(1)  # hold it open until the client leaves

    base_url = await raw_server(answer)
    async with connect(base_url, http) as client:
        with trio.fail_after(2):
            assert (await client.call("here:small")).message.text == "ab"


async def test_bytes_split_anywhere(raw_server, connect, http):
    """Chunks that cut characters and events apart read as the whole."""
    body = event("é") + event("\U0001f600", "stop") + DONE
    data = chunked(*(bytes([byte]) for byte in body))
    base_url = await raw_server(answering(data))
    async with connect(base_url, http) as client:
        assert (await client.call("here:small")).message.text == "é\U0001f600"


async def test_deltas_arrive_before_the_answer_ends(raw_server, connect, http):
    """The first delta is out while the server still waits to send the second."""
    first_seen = trio.Event()

    async def answer(stream, request):
        whole = chunked(event("a"), event("b", "stop"), DONE)
        cut = whole.index(event("b", "stop")) - 4
        await stream.send_all(whole[:cut])
        await first_seen.wait()
        await stream.send_all(whole[cut:])

    base_url = await raw_server(answer)
    async with connect(base_url, http) as client:
        ref, name = await client.connections.open("here:small")
        from actrio.messages import ModelInput, user_message

        seen = []
        with trio.fail_after(2):
            async with ref.stream(ModelInput(name, (user_message("Hi"),))) as stream:
                async for deltas in stream:
                    seen.extend(deltas)
                    first_seen.set()
    assert fold(seen).message.text == "ab"


async def test_a_refused_connection(connect, http):
    """Nobody listens: unreachable, at once, and retryable."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        base_url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        async with connect(base_url, http) as client:
            with pytest.raises(ProviderUnreachable, match="cannot be reached") as caught:
                await client.call("here:small")
    assert caught.value.category == "network"
    assert caught.value.retryable


async def test_an_unknown_host(connect, http):
    """A name that does not resolve is unreachable, not a crash."""
    async with connect("http://nobody.invalid:9/v1", http, key=KEY) as client:
        with pytest.raises(ProviderUnreachable, match="cannot be reached"):
            await client.call("here:small")


@pytest.mark.parametrize("begun", [True, False])
async def test_a_reset_connection(raw_server, connect, http, begun):
    """A reset before the answer is unreachable, in its middle it is a cut."""

    async def answer(stream, request):
        if begun:
            await stream.send_all(chunked(event("a"), end=False))
            await trio.sleep(0.05)  # let the client read it: a reset discards what is unread
        stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    base_url = await raw_server(answer)
    async with connect(base_url, http) as client:
        with pytest.raises(StreamTruncated if begun else ProviderUnreachable):
            await client.call("here:small")


@pytest.mark.parametrize("begun", [True, False])
async def test_silence_ends_after_idle_seconds(raw_server, connect, http, begun):
    """A server that says nothing is given up after the configured time between two reads."""

    async def answer(stream, request):
        if begun:
            await stream.send_all(chunked(event("a"), end=False))
        await stream.receive_some(1)

    base_url = await raw_server(answer)
    async with connect(base_url, http, idle_seconds=0.1) as client:
        with pytest.raises(ProviderUnreachable, match="sent nothing") as caught:
            await client.call("here:small")
    assert (caught.value.category, caught.value.in_stream) == ("timeout", begun)


async def test_an_error_body_without_an_end_does_not_hold_the_error_up(
    raw_server, connect, http, monkeypatch
):
    """The status alone decides; its body is waited for only so long."""
    monkeypatch.setattr("actrio.providers._connection.ERROR_BODY_SECONDS", 0.05)

    async def answer(stream, request):
        await stream.send_all(b"HTTP/1.1 503 X\r\ncontent-length: 100\r\n\r\nbusy")
        await stream.receive_some(1)

    base_url = await raw_server(answer)
    async with connect(base_url, http) as client:
        with trio.fail_after(2), pytest.raises(ProviderError, match="busy") as caught:
            await client.call("here:small")
    assert caught.value.category == "overloaded"


@pytest.mark.parametrize("where", ["status", "stream", "body"])
async def test_an_echoed_key_is_redacted(raw_server, connect, http, where):
    """A provider that quotes the key back does not get it into any of our texts."""
    sent = []

    async def answer(stream, request):
        sent.append(request)
        message = f"Bad key {KEY} and {KEY}, header X-Team team-secret"
        error = json.dumps({"error": {"message": message, "code": KEY}}).encode()
        answers = {
            "status": plain(401, error),
            "stream": chunked(event("a"), b"data: " + error + b"\n\n"),
            "body": plain(200, f"{{oops {KEY}".encode()),
        }
        await stream.send_all(answers[where])

    base_url = await raw_server(answer)
    async with connect(base_url, http, key=KEY, headers={"X-Team": "team-secret"}) as client:
        with pytest.raises(ActrioError) as caught:
            await client.call("here:small")
    assert sent[0].lower().count(KEY.encode()) == 1
    assert f"authorization: bearer {KEY}".encode() in sent[0].lower()
    error = caught.value
    told = " ".join([str(error), repr(error), repr(error.args), str(error.data), str(error.remedy)])
    assert KEY not in told
    assert "team-secret" not in told
    assert "[redacted]" in told
    assert error.__cause__ is None


@pytest.mark.parametrize("proxy", ["nonsense://user:pass-word@x", "http://[::1"])
async def test_a_proxy_that_is_none(connect, http, monkeypatch, proxy):
    """Wrong proxy settings are told as such, without the password they may hold."""
    monkeypatch.setenv("ALL_PROXY", proxy)
    async with connect("http://provider.invalid/v1", http, key=KEY) as client:
        with pytest.raises(ConfigError, match="HTTPS_PROXY") as caught:
            await client.call("here:small")
    assert "pass-word" not in str(caught.value)


async def test_loopback_asks_no_proxy(server, connect, http, monkeypatch):
    """A server on this machine is talked to directly, whatever the environment says."""
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    async with connect(server.base_url, http) as client:
        assert (await client.call("here:echo")).message.text == "Hi"
