"""An orderly end: streams are told, sessions stay, and it is over in time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import trio

from actrio.http import HttpSettings


async def test_native_streams_end_with_a_word_and_facade_turns_may_finish(serving, request_bytes):
    """An idle event stream ends at once with `stopping`; a façade turn gets its drain time."""
    slow = "scripted:tokens?tokens=10&itl=30ms"
    async with serving(http=HttpSettings(drain_seconds=5)) as service, service.client() as client:
        made = await client.post("/v1/sessions", json={"agent": "assistant"})
        session = made.json()["session"]
        idle, chat = await service.raw(), await service.raw()
        await idle.send_all(request_bytes("GET", f"/v1/sessions/{session}/events"))
        body = {"model": slow, "stream": True, "messages": [{"role": "user", "content": "x"}]}
        await chat.send_all(request_bytes("POST", "/v1/chat/completions", body))
        assert b"retry:" in await idle.receive_some(4096)
        await chat.receive_some(4096)
        service.server.stop()
        with trio.fail_after(1):
            ended = await _all(idle)
        assert b"event: stopping" in ended
        assert ended.endswith(b"0\r\n\r\n")
        with trio.fail_after(5):
            answered = await _all(chat)
        assert b"[DONE]" in answered
        assert answered.endswith(b"0\r\n\r\n")


async def test_a_facade_turn_that_takes_too_long_is_told(serving, request_bytes):
    """At the end of the drain time it gets an error in its own format, and its turn is cancelled."""
    async with serving(http=HttpSettings(drain_seconds=0.2)) as service:
        chat = await service.raw()
        body = {
            "model": "scripted:tokens?tokens=10000&itl=30ms",
            "stream": True,
            "messages": [{"role": "user", "content": "x"}],
        }
        await chat.send_all(request_bytes("POST", "/v1/chat/completions", body))
        await chat.receive_some(4096)
        service.server.stop()
        with trio.fail_after(2):
            answered = await _all(chat)
        assert b'"code":"backpressure"' in answered
        assert b"[DONE]" not in answered
        assert answered.endswith(b"0\r\n\r\n")


async def test_new_requests_are_refused_while_it_stops(serving):
    """On a connection that is still open: 503 and when to come back; readyz says so."""
    async with serving() as service:
        service.app.desk.stops.begin()
        async with service.client() as client:
            refused = await client.get("/v1/models")
            assert refused.status_code == 503
            assert refused.headers["retry-after"] == "2"
            assert (await client.get("/readyz")).status_code == 503
            assert (await client.get("/livez")).status_code == 200


async def test_a_client_that_does_not_read_does_not_delay_the_end(serving, request_bytes):
    """Cut within the bound, although hypercorn shields its writes."""
    async with serving(http=HttpSettings(drain_seconds=0.2)) as service:
        chat = await service.raw()
        body = {
            "model": "scripted:tokens?tokens=1000000",
            "stream": True,
            "messages": [{"role": "user", "content": "x"}],
        }
        await chat.send_all(request_bytes("POST", "/v1/chat/completions", body))
        await trio.sleep(0.5)
        assert service.app.desk.facade_turns, "it is in the middle of a stream that nobody takes"
        service.server.stop()
        # Drain, cut, and the time that a cancelled turn may take to write its ending.
        with trio.fail_after(10):
            while service.app.desk.connections["open"]:
                await trio.sleep(0.01)
        await chat.aclose()


async def test_the_command_ends_in_order_on_sigterm(tmp_path, request_bytes):
    """`actrio serve --http` prints its address, serves, and is gone within its bound."""
    process = await trio.lowlevel.open_process(
        [sys.executable, "-m", "actrio", "serve", "--http", "127.0.0.1:0"],
        stdout=subprocess.PIPE,
        cwd=tmp_path,
        env={**os.environ, "HOME": str(tmp_path)},
    )
    async with process.stdout:
        printed = await process.stdout.receive_some(1000)
        port = int(printed.decode().strip().rpartition(":")[2])
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        await stream.send_all(request_bytes("GET", "/livez"))
        assert b"alive" in await stream.receive_some(4096)
        process.send_signal(signal.SIGTERM)
        with trio.fail_after(5):
            assert await process.wait() == 143
            assert await _all(stream) == b""


async def test_the_command_refuses_an_open_address_without_a_token(tmp_path):
    """Exit code 78, with what to do."""
    done = await trio.run_process(
        [sys.executable, "-m", "actrio", "serve", "--http", "0.0.0.0:0"],
        capture_stderr=True,
        cwd=tmp_path,
        env={**os.environ, "HOME": str(tmp_path)},
        check=False,
    )
    assert done.returncode == 78
    assert b"ACTRIO_HTTP_TOKEN" in done.stderr


async def _all(stream):
    got = b""
    try:
        while data := await stream.receive_some(65536):
            got += data
    except trio.BrokenResourceError:
        pass
    await stream.aclose()
    return got
