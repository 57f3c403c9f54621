"""The fast transport over real sockets: what it sends, keeps, closes, and how it fails."""

from __future__ import annotations

import socket

import pytest
import trio

from actrio.providers._fast_pool import RESTED_SECONDS
from actrio.testing import cancel_at_each_step

OK = b"HTTP/1.1 200 OK\r\n"
WHOLE = OK + b"content-length: 2\r\n\r\nhi"
PARTS = (OK + b"transfer-encoding: chunked\r\n\r\n", b"2\r\nhi\r\n", b"4\r\n you\r\n0\r\n\r\n")


def told(error: BaseException | None) -> str:
    return f"{error} {told(error.__cause__ or error.__context__)}" if error else ""


async def listening(nursery, connection) -> str:
    """Serve raw connections; return the address."""

    async def serve(*, task_status):
        await trio.serve_tcp(connection, 0, host="127.0.0.1", task_status=task_status)

    (listener,) = await nursery.start(serve)
    return f"http://127.0.0.1:{listener.socket.getsockname()[1]}/"


def pool_of(client):
    return client._transport._pool


async def test_one_request_is_one_write(serving, open_client, library):
    """Head and body, as httpx made them."""
    async with serving(WHOLE) as server, open_client(library) as client:
        answer = await client.post(server.url + "a?b=c", content=b"body", headers={"X-Y": "z"})
        assert (answer.status_code, answer.content) == (200, b"hi")
        assert answer.http_version == "HTTP/1.1"
        assert answer.reason_phrase == "OK"
        head, _, body = server.requests[0].partition(b"\r\n\r\n")
        assert head.startswith(b"POST /a?b=c HTTP/1.1\r\n")
        assert b"\r\nX-Y: z" in head
        assert b"\r\nContent-Length: 4" in head
        assert body == b"body"


async def test_a_body_of_unknown_length(serving, open_client, library):
    """Is gathered, and framed as chunks because httpx says so in its headers."""

    async def pieces():
        yield b"ab"
        yield b"cd"

    async with serving(WHOLE, WHOLE) as server, open_client(library) as client:
        await client.post(server.url, content=pieces())
        assert server.requests[0].endswith(b"\r\n\r\n4\r\nabcd\r\n0\r\n\r\n")


async def test_a_connection_is_used_again(serving, open_client, library):
    """Where the response has ended by its framing, whether it was read or not."""
    async with serving(WHOLE, PARTS, WHOLE) as server, open_client(library) as client:
        for _ in range(3):
            assert (await client.get(server.url)).status_code == 200
        assert server.accepted == 1


@pytest.mark.parametrize(
    "answer",
    [
        OK + b"content-length: 2\r\nconnection: close\r\n\r\nhi",
        OK + b"content-length: 2\r\n\r\nhi and more",
        b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nhi",
        OK + b"\r\nuntil the end",
    ],
)
async def test_a_connection_is_not_used_again(serving, open_client, library, until, answer):
    """Where the peer leaves, or said more than its framing allows."""
    async with serving(answer) as server, open_client(library) as client:
        for _ in range(2):
            assert (await client.get(server.url)).is_success
        assert server.accepted == 2
        await until(lambda: server.open == 0)
        assert pool_of(client).open_connections == 0


async def test_a_response_left_early_closes_its_connection(serving, open_client, library, until):
    """The server learns at once that nobody reads on."""
    async with serving((*PARTS[:2], b"9\r\n")) as server, open_client(library) as client:
        async with client.stream("GET", server.url) as answer:
            assert await anext(answer.extensions["actrio.pieces"]) == b"hi"
        await until(lambda: server.open == 0)
        assert pool_of(client).open_connections == 0


async def test_a_kept_connection_that_died_is_not_asked(serving, open_client, library, until):
    """Each request is sent once, over a connection that lives."""
    async with serving(WHOLE) as server, open_client(library) as client:
        for number in range(5):
            assert (await client.post(server.url, content=b"%d" % number)).text == "hi"
            await until(lambda: server.open == 0)
        assert server.accepted == 5
        assert len(server.requests) == 5


async def test_a_request_is_never_sent_twice(serving, open_client, library):
    """A connection that dies after a byte was written is an error, also where it was kept."""

    async def answer_then_hang_up(stream):
        await stream.receive_some(65536)
        await stream.send_all(WHOLE)
        seen.append(await stream.receive_some(65536))
        await stream.aclose()

    seen = []
    async with trio.open_nursery() as nursery, open_client(library) as client:
        url = await listening(nursery, answer_then_hang_up)
        await client.post(url, content=b"1")
        with pytest.raises(library.RemoteProtocolError, match="disconnected"):
            await client.post(url, content=b"2")
        assert len(seen) == 1
        nursery.cancel_scope.cancel()


async def test_kept_connections_expire(serving, open_client, library, until):
    """After their time a new one is made, and the old one closed."""
    async with (
        serving(WHOLE, WHOLE) as server,
        open_client(library, keep_seconds=0.01) as client,
    ):
        await client.get(server.url)
        await trio.sleep(0.02)
        await client.get(server.url)
        assert server.accepted == 2
        await until(lambda: server.open == 1)


async def test_a_pool_keeps_and_opens_no_more_than_its_bounds(serving, open_client, library, until):
    """Whoever comes beyond them waits; what cannot be kept is closed."""
    limits = {"connections_max": 3, "kept_max": 2}
    async with serving(*[WHOLE] * 20) as server, open_client(library, **limits) as client:
        peak = 0

        async def ask():
            nonlocal peak
            await client.get(server.url)
            peak = max(peak, pool_of(client).open_connections)

        async with trio.open_nursery() as nursery:
            for _ in range(12):
                nursery.start_soon(ask)
        assert peak <= 3
        assert pool_of(client).open_connections == 2
        await until(lambda: server.open == 2)


async def test_another_host_makes_room(serving, open_client, library, until):
    """Connections kept for one host do not keep another from being asked."""
    limits = {"connections_max": 1, "kept_max": 1}
    async with serving(WHOLE) as one, serving(WHOLE) as other:
        async with open_client(library, **limits) as client:
            assert (await client.get(one.url)).content == b"hi"
            assert one.open == 1
            assert (await client.get(other.url)).content == b"hi"
            await until(lambda: one.open == 0)
            assert other.open == 1


async def test_closing_the_client_closes_all(serving, open_client, library, until):
    """Those kept and those in use; whoever still reads is told."""
    async with serving(PARTS[:1], None) as server:
        async with open_client(library) as client:
            request = client.build_request("GET", server.url)
            answer = await client.send(request, stream=True)
        await until(lambda: server.open == 0)
        with pytest.raises(library.ReadError):
            await answer.aread()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X-Y", "a\r\nInjected: b"),
        ("X-Y", "a\nInjected: b"),
        ("X-Y", "a\0b"),
        ("X Y", "a"),
    ],
)
@pytest.mark.parametrize("which", ["fast", "own"])
async def test_a_request_that_cannot_be_sent(serving, open_client, library, which, name, value):
    """No header can end its line and begin another."""
    async with serving(WHOLE) as server, open_client(library, which) as client:
        with pytest.raises(library.LocalProtocolError):
            await client.post(server.url, content=b"body", headers={name: value})
        assert server.requests == []


@pytest.mark.parametrize("length", [3, 5])
async def test_a_body_that_is_not_as_long_as_it_says(serving, open_client, library, length):
    """Is not sent, so that what is left over cannot be taken for another request."""
    async with serving(WHOLE) as server, open_client(library) as client:
        with pytest.raises(library.LocalProtocolError):
            await client.post(server.url, content=b"body", headers={"Content-Length": str(length)})
        assert server.accepted == 0


@pytest.mark.parametrize("which", ["fast", "own"])
async def test_an_address_that_cannot_be_asked(open_client, library, which):
    """Told as httpx tells it."""
    async with open_client(library, which) as client:
        with pytest.raises(library.UnsupportedProtocol):
            await client.get("ftp://localhost/")
        with pytest.raises(library.UnsupportedProtocol):
            await client.get("/nowhere")
        with pytest.raises(library.ConnectError):
            await client.get("http://nobody.invalid/")
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            with pytest.raises(library.ConnectError):
                await client.get(f"http://127.0.0.1:{taken.getsockname()[1]}/")


async def test_an_early_answer_to_a_body_nobody_reads(open_client, library):
    """A server that refuses a large body before it has come is heard."""

    async def refuse(stream):
        async with stream:
            await stream.receive_some(1000)
            await stream.send_all(b"HTTP/1.1 413 X\r\ncontent-length: 2\r\n\r\nno")
            with trio.move_on_after(0.05):
                while await stream.receive_some(1000):
                    pass

    async with trio.open_nursery() as nursery, open_client(library) as client:
        url = await listening(nursery, refuse)
        try:
            answer = await client.post(url, content=b"x" * 50_000_000)
        except library.ReadError:
            pass  # where the kernel throws away what a reset connection had received
        else:
            assert (answer.status_code, answer.text) == (413, "no")
        assert pool_of(client).open_connections == 0
        nursery.cancel_scope.cancel()


# -- time ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", [None, PARTS[:1]])
async def test_silence_is_a_read_timeout(serving, open_client, library, until, answer):
    """Before the head and in the body; the connection is closed."""
    async with serving(answer, None) as server, open_client(library) as client:
        client.timeout = library.Timeout(None, read=0.05)
        with pytest.raises(library.ReadTimeout):
            await client.get(server.url)
        await until(lambda: server.open == 0)
        assert pool_of(client).open_connections == 0


async def test_a_peer_that_takes_nothing_is_a_write_timeout(open_client, library):
    """The send buffer is full and stays so."""
    release = trio.Event()

    async def never_reads(stream):
        async with stream:
            await release.wait()

    async with trio.open_nursery() as nursery, open_client(library) as client:
        client.timeout = library.Timeout(None, write=0.05)
        url = await listening(nursery, never_reads)
        with pytest.raises(library.WriteTimeout):
            await client.post(url, content=b"x" * 50_000_000)
        release.set()
        nursery.cancel_scope.cancel()


async def test_a_full_backlog_is_a_connect_timeout(open_client, library):
    """No answer to a SYN."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        fillers = [socket.socket() for _ in range(4)]
        try:
            for filler in fillers:
                filler.setblocking(False)
                filler.connect_ex(address)
            async with open_client(library) as client:
                client.timeout = library.Timeout(None, connect=0.05)
                with pytest.raises(library.ConnectTimeout):
                    await client.get(f"http://127.0.0.1:{address[1]}/")
        finally:
            for filler in fillers:
                filler.close()


async def test_no_free_connection_is_a_pool_timeout(serving, open_client, library):
    """And the one who has it is not disturbed."""
    async with (
        serving(PARTS[:1], None) as server,
        open_client(library, connections_max=1) as client,
    ):
        async with client.stream("GET", server.url):
            client.timeout = library.Timeout(None, pool=0.05)
            with pytest.raises(library.PoolTimeout):
                await client.get(server.url)
        client.timeout = library.Timeout(5)
        async with client.stream("GET", server.url) as answer:
            assert answer.status_code == 200


# -- TLS -------------------------------------------------------------------------------------------


async def test_an_answer_over_tls(serving, open_client, library, certified, trusting):
    """With the certificate checked against the host that was asked, and the connection kept."""
    async with (
        serving(WHOLE, PARTS, tls=certified) as server,
        open_client(library, context=trusting) as client,
    ):
        assert (await client.get(server.url)).text == "hi"
        assert (await client.get(server.url)).text == "hi you"
        assert server.accepted == 1


@pytest.mark.parametrize("which", ["fast", "own"])
async def test_a_certificate_that_is_not_right(
    serving, open_client, library, until, certified, trusting, which
):
    """Of nobody known, or of another host: refused before anything is sent."""
    async with serving(WHOLE, tls=certified) as server:
        async with open_client(library, which) as client:
            with pytest.raises(library.ConnectError):
                await client.get(server.url)
        async with open_client(library, which, context=trusting) as client:
            with pytest.raises(library.ConnectError) as caught:
                await client.get(server.url, extensions={"sni_hostname": "example.org"})
            assert "example.org" in told(caught.value)
        assert server.requests == []
        await until(lambda: server.open == 0)


async def test_tls_that_stalls_is_a_connect_timeout(open_client, library):
    """The handshake belongs to connecting."""

    async def silent(stream):
        async with stream:
            await trio.sleep_forever()

    async with trio.open_nursery() as nursery, open_client(library) as client:
        client.timeout = library.Timeout(None, connect=0.05)
        url = await listening(nursery, silent)
        with pytest.raises(library.ConnectTimeout):
            await client.get(url.replace("http:", "https:"))
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("which", ["fast", "own"])
async def test_a_cut_below_tls(serving, open_client, library, certified, trusting, which):
    """An end without a goodbye cuts a framed body, as it does without TLS."""
    cut = OK + b"content-length: 20\r\n\r\nhi"
    async with (
        serving(cut, tls=certified) as server,
        open_client(library, which, context=trusting) as client,
    ):
        with pytest.raises(library.RemoteProtocolError, match="closed connection"):
            await client.get(server.url)


# -- cancels ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("tls", [False, True])
async def test_a_cancel_at_any_step_leaks_no_socket(
    serving, open_client, library, until, certified, trusting, tls
):
    """At each step of connecting, sending and reading; afterwards the next request is answered."""
    async with (
        serving(*[PARTS, WHOLE] * 2, tls=certified if tls else None) as server,
        open_client(library, context=trusting if tls else None) as client,
    ):
        pool = pool_of(client)

        async def operation():
            assert (await client.get(server.url)).text == "hi you"
            assert (await client.post(server.url, content=b"x")).text == "hi"

        async def check():
            assert pool.in_use == 0
            pool.close()
            await until(lambda: server.open == 0)

        assert await cancel_at_each_step(operation, check=check) > 5


@pytest.mark.parametrize("there", [True, False])
async def test_a_reader_that_rested_reads_what_is_there_or_waits(open_client, library, there):
    """It tries before it waits, and nothing is lost or doubled either way."""
    proceed = trio.Event()

    async def peer(stream):
        await stream.receive_some()
        await stream.send_all(PARTS[0] + PARTS[1])
        if not there:
            await proceed.wait()
        await stream.send_all(PARTS[2])
        await stream.receive_some()

    async with trio.open_nursery() as nursery, open_client(library) as client:
        url = await listening(nursery, peer)
        async with client.stream("GET", url) as answer:
            pieces = answer.aiter_raw()
            text = await anext(pieces)
            await trio.sleep(3 * RESTED_SECONDS)
            proceed.set()
            text += b"".join([piece async for piece in pieces])
        assert text == b"hi you"
        nursery.cancel_scope.cancel()
