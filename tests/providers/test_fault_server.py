"""A server that fails in every way a network can, over real sockets: each has its outcome, and no
connection is leaked. What needs only time and no sockets is in test_fallback and test_admission.
"""

from __future__ import annotations

import gzip
import json
import socket
import struct
from pathlib import Path

import attrs
import pytest
import trio

from actrio.errors import ProviderError, ProviderProtocolError, ProviderUnreachable, StreamTruncated

CERTIFICATE = Path(__file__).parents[2] / "fixtures" / "tls" / "localhost.pem"

SECONDS = 0.25  # of every time limit here: long for a busy machine, short for a test


def event(text: str, finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish}
    return b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n"


def head(kind: str = "text/event-stream", status: str = "200 OK", **more) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"content-type: {kind}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in more.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


STREAM = head(transfer_encoding="chunked")
WHOLE = STREAM + chunk(event("fine", "stop")) + chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"


async def listen(connection, port=0, *, task_status):
    await trio.serve_tcp(connection, port, host="127.0.0.1", task_status=task_status)


@attrs.define
class FaultServer:
    """Does one thing to the first requests, and answers well from then on."""

    faults: int = 1
    requests: list[bytes] = attrs.field(factory=list)
    open: int = 0

    async def serve(self, do, port=0, *, task_status):
        async def connection(stream):
            self.open += 1
            try:
                async with stream:
                    while request := await self.read(stream):
                        self.requests.append(request)
                        if len(self.requests) <= self.faults:
                            await do(stream)
                            return
                        await stream.send_all(WHOLE)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                pass
            finally:
                self.open -= 1

        async with trio.open_nursery() as nursery:
            (listener,) = await nursery.start(listen, connection, port)
            task_status.started(listener.socket.getsockname()[1])

    async def read(self, stream) -> bytes:
        data = b""
        while b"\r\n\r\n" not in data or not data.endswith(b"}"):
            more = await stream.receive_some(65536)
            if not more:
                return b""
            data += more
        return data


def sends(*pieces: bytes | float):
    async def do(stream):
        for piece in pieces:
            if isinstance(piece, bytes):
                await stream.send_all(piece)
            else:
                await trio.sleep(piece)

    return do


def then_resets(*pieces: bytes):
    async def do(stream):
        await sends(*pieces)(stream)
        await trio.sleep(SECONDS / 3)  # a reset discards what the client has not read
        stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    return do


def then_stalls(*pieces: bytes):
    async def do(stream):
        await sends(*pieces)(stream)
        await stream.receive_some(1)

    return do


def drips(data: bytes):
    async def do(stream):
        for byte in data:
            await stream.send_all(bytes([byte]))
            await trio.sleep(SECONDS / 5)

    return do


@attrs.frozen
class Case:
    """What the server does, and what one attempt comes to."""

    do: object
    error: type[Exception]
    category: str
    passes: bool = True  # whether a second attempt is made
    shown: bool = False  # whether a delta was shown before, so that none is


def refuses(status: str, body: bytes = b'{"error":{"message":"no"}}', **headers) -> object:
    return sends(head("application/json", status, content_length=len(body), **headers) + body)


CASES = {
    "reset before the head": Case(then_resets(), ProviderUnreachable, "network"),
    "reset in the head": Case(then_resets(STREAM[:20]), ProviderUnreachable, "network"),
    "reset before the first delta": Case(then_resets(STREAM), StreamTruncated, "network"),
    "reset after the first delta": Case(
        then_resets(STREAM + chunk(event("a"))), StreamTruncated, "network", shown=True
    ),
    "closed before the head": Case(sends(), ProviderUnreachable, "network"),
    "closed after the first delta": Case(
        sends(STREAM + chunk(event("a"))), StreamTruncated, "network", shown=True
    ),
    "ended without a finish": Case(
        sends(STREAM + chunk(event("a")) + b"0\r\n\r\n"), StreamTruncated, "network", shown=True
    ),
    "stall before the head": Case(then_stalls(), ProviderUnreachable, "timeout"),
    "stall in the head": Case(then_stalls(STREAM[:20]), ProviderUnreachable, "timeout"),
    "stall before the first delta": Case(then_stalls(STREAM), ProviderUnreachable, "timeout"),
    "stall after the first delta": Case(
        then_stalls(STREAM + chunk(event("a"))), ProviderUnreachable, "timeout", shown=True
    ),
    "stall in the body of an error": Case(
        then_stalls(head("application/json", "503 X", content_length=100) + b"{"),
        ProviderError,
        "overloaded",
    ),
    "slow drip": Case(
        drips(STREAM + chunk(event("never whole" * 100))), ProviderUnreachable, "timeout"
    ),
    "signs of life for ever": Case(
        sends(STREAM, *(chunk(b": alive\n\n"), SECONDS / 3) * 20), ProviderUnreachable, "timeout"
    ),
    "500": Case(refuses("500 X"), ProviderError, "server"),
    "502 with a page": Case(
        sends(head("text/html", "502 X", content_length=6) + b"<html>"), ProviderError, "server"
    ),
    "503": Case(refuses("503 X"), ProviderError, "overloaded"),
    "504": Case(refuses("504 X"), ProviderError, "timeout"),
    "529": Case(refuses("529 X"), ProviderError, "overloaded"),
    "429": Case(refuses("429 X"), ProviderError, "rate_limit"),
    "429 retry-after": Case(refuses("429 X", retry_after="0.2"), ProviderError, "rate_limit"),
    "429 retry-after-ms": Case(refuses("429 X", retry_after_ms="200"), ProviderError, "rate_limit"),
    "429 date": Case(
        refuses(
            "429 X",
            retry_after="Thu, 13 Nov 2025 02:13:21 GMT",
            date="Thu, 13 Nov 2025 02:13:20 GMT",
        ),
        ProviderError,
        "rate_limit",
    ),
    "429 reset": Case(
        refuses("429 X", x_ratelimit_remaining_requests="0", x_ratelimit_reset_requests="200ms"),
        ProviderError,
        "rate_limit",
    ),
    "wrong content type": Case(
        sends(head("text/html") + b"<html>hello</html>"),
        ProviderProtocolError,
        "protocol",
        passes=False,
    ),
    "gzip": Case(
        sends(head(content_encoding="gzip") + gzip.compress(event("a", "stop"))),
        ProviderProtocolError,
        "protocol",
        passes=False,
    ),
    "chunk size that is no number": Case(
        sends(STREAM + chunk(event("a")) + b"oops\r\n"),
        ProviderProtocolError,
        "protocol",
        passes=False,
        shown=True,
    ),
    "chunk that is too short": Case(
        sends(STREAM + b"ff\r\n" + event("a")), StreamTruncated, "network", shown=True
    ),
    "a body shorter than its length": Case(
        sends(head("application/json", content_length=100) + b"{}"), StreamTruncated, "network"
    ),
    "no HTTP": Case(sends(b"SSH-2.0-x\r\n\r\n"), ProviderProtocolError, "protocol", passes=False),
    "redirect": Case(
        sends(head("text/html", "307 X", location="http://127.0.0.1:9/", content_length=0)),
        ProviderError,
        "invalid_request",
        passes=False,
    ),
}

FAST = {
    "connect_seconds": SECONDS,
    "idle_seconds": SECONDS,
}


def limits(**more):
    return {"first_byte_seconds": SECONDS, "delta_seconds": 2 * SECONDS, **more}


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr("actrio.providers._connection.ERROR_BODY_SECONDS", SECONDS / 3)


@pytest.mark.parametrize("name", CASES)
async def test_each_fault_has_its_outcome(nursery, connect, http, until, name):
    """One attempt: its error and category; afterwards no call in work and no socket."""
    case = CASES[name]
    server = FaultServer()
    port = await nursery.start(server.serve, case.do)
    seen = []
    async with connect(f"http://127.0.0.1:{port}/v1", http, limits=limits(), **FAST) as client:
        with trio.fail_after(5), pytest.raises(case.error) as caught:
            await client.call("here:m", seen=seen)
        assert caught.value.category == case.category
        assert caught.value.remedy
        assert bool(seen) == case.shown
        told = client.connections.statistics()["here"]
        assert (told.calls_in_work, told.waiting, told.parked) == (0, 0, 0)
        with trio.fail_after(5):
            assert (await client.call("here:m")).message.text == "fine"
    await until(lambda: server.open == 0)


@pytest.mark.parametrize("name", CASES)
async def test_each_fault_passes_or_stands(nursery, connect, name):
    """With retries: what passes ends in one whole answer, what does not or was shown is told."""
    case = CASES[name]
    server = FaultServer()
    port = await nursery.start(server.serve, case.do)
    seen = []
    more = limits(retries_max=1)
    async with connect(f"http://127.0.0.1:{port}/v1", "auto", limits=more, **FAST) as client:
        with trio.fail_after(8):
            if case.passes and not case.shown:
                output = await client.call("here:m", seen=seen)
                assert output.message.text == "fine"
                assert len(server.requests) == 2
            else:
                with pytest.raises(case.error):
                    await client.call("here:m", seen=seen)
                assert len(server.requests) == 1


async def test_a_redirect_takes_the_key_nowhere(nursery, connect, http):
    """The place it names hears nothing."""
    elsewhere, server = FaultServer(0), FaultServer()
    other = await nursery.start(elsewhere.serve, None)
    do = sends(
        head("text/html", "307 X", location=f"http://127.0.0.1:{other}/v1", content_length=0)
    )
    port = await nursery.start(server.serve, do)
    async with connect(f"http://127.0.0.1:{port}/v1", http, key="sk-secret") as client:
        with pytest.raises(ProviderError, match="redirects"):
            await client.call("here:m")
    assert elsewhere.requests == []


async def test_a_refused_connection_passes_when_the_server_is_back(nursery, connect, http):
    """Nobody listens at first; the next attempt finds the server."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    server = FaultServer(0)
    async with connect(f"http://127.0.0.1:{port}/v1", http, limits={"retries_max": 2}) as client:
        async with trio.open_nursery() as inner:
            outputs = []

            async def ask():
                outputs.append(await client.call("here:m"))

            inner.start_soon(ask)
            await trio.sleep(0.1)
            await nursery.start(server.serve, None, port)
        assert outputs[0].message.text == "fine"
        assert client.connections.statistics()["here"].failures == {"network": 1}


async def test_a_half_open_server(connect, http):
    """The kernel accepts, the program never does: silence, ended by the first byte's time."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(8)
        base_url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        async with connect(base_url, http, limits=limits(), **FAST) as client:
            with trio.fail_after(5), pytest.raises(ProviderUnreachable, match="nothing") as caught:
                await client.call("here:m")
            assert caught.value.category == "timeout"
            assert client.connections.statistics()["here"].calls_in_work == 0


async def test_a_connection_that_never_comes_up(connect, http):
    """A full backlog answers no SYN: ended by ``connect_seconds``, and told as such."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        fillers = [socket.socket() for _ in range(4)]
        try:
            for filler in fillers:
                filler.setblocking(False)
                filler.connect_ex(address)
            base_url = f"http://127.0.0.1:{address[1]}/v1"
            settings = {"connect_seconds": SECONDS, "idle_seconds": 5.0}
            async with connect(base_url, http, **settings) as client:
                with trio.fail_after(3), pytest.raises(ProviderUnreachable) as caught:
                    await client.call("here:m")
                assert caught.value.category == "timeout"
                assert "accept a connection" in caught.value.message
        finally:
            for filler in fillers:
                filler.close()


async def test_many_faults_leak_no_connection(nursery, connect, http, until):
    """A hundred calls over twenty sockets, each fault in turn: none is left when all have ended."""
    server = FaultServer(100)
    cases = [case for case in CASES.values() if case.category != "timeout"]
    turns = iter(range(1000))

    async def do(stream):
        await cases[next(turns) % len(cases)].do(stream)

    port = await nursery.start(server.serve, do)
    more = limits(circuit_failures=1000)
    settings = {**FAST, "idle_seconds": 5.0, "max_connections": 20}
    async with connect(f"http://127.0.0.1:{port}/v1", http, limits=more, **settings) as client:

        async def one():
            with trio.move_on_after(10):
                try:
                    await client.call("here:m")
                except ProviderError:
                    return

        async with trio.open_nursery() as inner:
            for _ in range(100):
                inner.start_soon(one)
        told = client.connections.statistics()["here"]
        assert (told.calls_in_work, told.waiting, told.parked) == (0, 0, 0)
        assert server.open <= 20
    await until(lambda: server.open == 0)
