"""Connections that behave badly: refused or served, and nobody else is harmed."""

from __future__ import annotations

import json
import random
import time

import pytest
import trio

from actrio.http import HttpLimits, HttpSettings, serve_http
from actrio.http import _serve as serving_module

QUICK = HttpSettings(
    limits=HttpLimits(
        head_seconds=0.3,
        body_idle_seconds=0.3,
        write_seconds=0.5,
        body_bytes=100_000,
        head_bytes=8192,
        connections=50,
    )
)


async def is_well(service):
    async with service.client() as client:
        answer = await client.get("/livez")
        assert answer.status_code == 200


def status_of(answer):
    return int(answer.split(b" ", 2)[1])


@pytest.mark.parametrize(
    "head",
    [
        b"\r\n\r\n",
        b"garbage\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET  / HTTP/1.1\r\nhost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n",
        b"GET /\xff\x00 HTTP/1.1\r\nhost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: localhost\r\ncontent-length: -5\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"POST /agents HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: frob\r\n\r\n",
        b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nhost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: localhost\r\n" + b"x: y\r\n" * 5000 + b"\r\n",
        b"GET /v1/sessions/%ff%00%2e%2e HTTP/1.1\r\nhost: localhost\r\n\r\n",
        b"GET /v1/sessions?limit=%zz&&&&==1 HTTP/1.1\r\nhost: localhost\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
async def test_bad_heads_are_refused(serving, head):
    """Each gets a 4xx or a closed connection, never a 500, and the service goes on."""
    async with serving(http=QUICK) as service:
        with trio.fail_after(5):
            answer = await service.exchange(head, half_close=True)
        if answer.startswith(b"HTTP/1."):
            assert 400 <= status_of(answer) < 500 or status_of(answer) == 501
        await is_well(service)


async def test_mutated_requests_never_break_it(serving, request_bytes):
    """Five hundred mutations of a good request: no 500, no hung connection, no dead service."""
    chance = random.Random(7)
    good = request_bytes("POST", "/v1/sessions", {"agent": "assistant"}, accept="*/*")
    async with serving(http=QUICK) as service:

        async def send(data):
            with trio.fail_after(10):
                answer = await service.exchange(data, half_close=True)
            if answer.startswith(b"HTTP/1."):
                # 501 is the answer to a transfer encoding that nobody knows.
                assert status_of(answer) < 500 or status_of(answer) == 501

        for _ in range(25):
            async with trio.open_nursery() as nursery:
                for _ in range(20):
                    data = bytearray(good)
                    for _ in range(chance.randint(1, 6)):
                        place = chance.randrange(len(data))
                        choice = chance.random()
                        if choice < 0.4:
                            data[place] = chance.randrange(256)
                        elif choice < 0.7:
                            del data[place : place + chance.randint(1, 9)]
                        else:
                            data[place:place] = chance.randbytes(chance.randint(1, 9))
                    nursery.start_soon(send, bytes(data))
        await is_well(service)


async def test_a_head_that_trickles_is_408(serving, read_all):
    """Slowloris: a byte now and then does not hold a connection open."""
    async with serving(http=QUICK) as service:
        stream = await service.raw()
        began = time.monotonic()

        async def trickle():
            for byte in b"GET /livez HTTP/1.1\r\nhost: localhost\r\nx: " + b"a" * 1000:
                try:
                    await stream.send_all(bytes([byte]))
                except trio.BrokenResourceError:
                    return
                await trio.sleep(0.02)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(trickle)
            answer = await read_all(stream)
            nursery.cancel_scope.cancel()
        assert status_of(answer) == 408
        assert time.monotonic() - began < 2
        # A second request on a connection that was good before is no exception.
        await stream.aclose()
        async with await service.raw() as stream:
            await stream.send_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n")
            assert status_of(await stream.receive_some(4096)) == 200
            await stream.send_all(b"GET /li")
            assert status_of(await read_all(stream)) == 408


async def test_a_body_that_stops_is_408(serving):
    """A body that does not come does not hold its request."""
    async with serving(http=QUICK) as service:
        head = b"POST /agents HTTP/1.1\r\nhost: localhost\r\ncontent-length: 50\r\n\r\n{"
        async with await service.raw() as stream:
            await stream.send_all(head)
            with trio.fail_after(5):
                assert status_of(await stream.receive_some(4096)) == 408


@pytest.mark.parametrize("chunked", [False, True])
async def test_an_oversized_body_is_413_and_the_refusal_arrives(serving, chunked):
    """The client reads its 413 although it was still sending."""
    async with serving(http=QUICK) as service:
        stream = await service.raw()
        way = b"transfer-encoding: chunked" if chunked else b"content-length: 50000000"
        await stream.send_all(
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n" + way + b"\r\n\r\n"
        )
        piece = b"x" * 50_000
        frame = b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece
        got = b""

        async def send():
            for _ in range(1000):
                try:
                    await stream.send_all(frame)
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    return

        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(send)
                got = await stream.receive_some(4096)
                nursery.cancel_scope.cancel()
        assert status_of(got) == 413
        await stream.aclose()
        await is_well(service)
        with trio.fail_after(5):
            while service.app.desk.connections["open"]:
                await trio.sleep(0.01)


async def test_two_requests_in_one_packet_are_answered_in_order(serving):
    """Pipelining."""
    async with serving() as service:
        one = b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n"
        two = b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
        answer = await service.exchange(one + two)
    assert answer.index(b"alive") < answer.index(b"ready")


async def test_connections_beyond_the_bound_are_503_and_the_others_unharmed(serving):
    """The 51st is told so at once; a place that becomes free is taken again."""
    async with serving(http=QUICK) as service:
        held = []
        for _ in range(50):
            stream = await service.raw()
            await stream.send_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n")
            assert status_of(await stream.receive_some(4096)) == 200
            held.append(stream)
        answer = await service.exchange(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n")
        assert status_of(answer) == 503
        assert b"retry-after: 1\r\n" in answer
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["limit"] == 50
        for stream in held:
            await stream.aclose()
        with trio.fail_after(5):
            while service.app.desk.connections["open"]:
                await trio.sleep(0.01)
        await is_well(service)


@pytest.mark.slow
async def test_two_thousand_connections(serving):
    """All are served or refused, and the memory they took does not stay."""
    http = HttpSettings(limits=HttpLimits(connections=1500, calls_per_caller=3000))
    async with serving(http=http) as service:
        counts = {200: 0, 503: 0, 0: 0}

        async def one():
            try:
                stream = await service.raw()
                await stream.send_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n")
                answer = await stream.receive_some(4096)
            except OSError:
                answer = b""
            except trio.BrokenResourceError:
                answer = b""
            counts[status_of(answer) if answer else 0] += 1
            await everybody.wait()
            await stream.aclose()

        everybody = trio.Event()
        async with trio.open_nursery() as nursery:
            for _ in range(2000):
                nursery.start_soon(one)
            with trio.fail_after(60):
                while sum(counts.values()) < 2000:
                    await trio.sleep(0.05)
            everybody.set()
        assert counts[200] == 1500
        assert counts[503] + counts[0] == 500
        with trio.fail_after(10):
            while service.app.desk.connections["open"]:
                await trio.sleep(0.01)
        await is_well(service)


async def test_a_client_that_does_not_read_is_cut(serving, request_bytes):
    """A stream nobody takes ends within the write bound, and its turn of the façade with it."""
    async with serving(http=QUICK) as service:
        body = {
            "model": "scripted:tokens?tokens=1000000",
            "stream": True,
            "messages": [{"role": "user", "content": "Go."}],
        }
        stream = await service.raw()
        await stream.send_all(request_bytes("POST", "/v1/chat/completions", body))
        with trio.fail_after(5):
            while not service.app.desk.facade_turns:
                await trio.sleep(0.01)
            while service.app.desk.facade_turns:
                await trio.sleep(0.01)
        await is_well(service)
        await stream.aclose()


@pytest.mark.parametrize("streams", [True, False])
async def test_a_facade_client_that_leaves_ends_its_turn(serving, request_bytes, streams):
    """Within a second, down to the provider's connection; also where nothing is sent yet."""
    async with serving() as service:
        body = {
            "model": "scripted:tokens?tokens=3&ttft=300s",
            "stream": streams,
            "messages": [{"role": "user", "content": "Go."}],
        }
        stream = await service.raw()
        await stream.send_all(request_bytes("POST", "/v1/chat/completions", body))
        with trio.fail_after(5):
            while not service.runtime.statistics().turns_running:
                await trio.sleep(0.01)
        await stream.aclose()
        with trio.fail_after(1):
            while service.runtime.statistics().turns_running or service.app.desk.facade_turns:
                await trio.sleep(0.01)


async def test_a_half_closed_client_counts_as_gone(serving, request_bytes, read_all):
    """Whoever closes its sending side in the middle of a request is told nothing more."""
    async with serving() as service:
        body = {
            "model": "scripted:tokens?ttft=300s",
            "messages": [{"role": "user", "content": "x"}],
        }
        running = service.runtime.statistics
        with trio.fail_after(3):
            async with await service.raw() as stream:
                await stream.send_all(request_bytes("POST", "/v1/chat/completions", body))
                while not running().turns_running:
                    await trio.sleep(0.01)
                await stream.send_eof()
                assert await read_all(stream) == b""
            while running().turns_running:
                await trio.sleep(0.01)


async def test_an_exception_below_http_ends_one_connection(serving, monkeypatch):
    """What hypercorn itself raises stays in its connection."""
    real = serving_module._Connection.run
    broken = []

    async def run(self):
        if not broken:
            broken.append(True)
            raise RuntimeError("a bug below")
        await real(self)

    monkeypatch.setattr(serving_module._Connection, "run", run)
    async with serving() as service:
        assert await service.exchange(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n") == b""
        await is_well(service)


async def test_websockets_are_refused(serving):
    """There is none; the handshake is answered."""
    async with serving() as service:
        answer = await service.exchange(
            b"GET /v1 HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
            b"sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
    assert status_of(answer) == 403


def test_the_seam_is_one_function():
    """What hypercorn is can be changed in one file."""
    assert serve_http.__module__ == "actrio.http._serve"
