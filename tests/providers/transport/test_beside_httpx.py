"""The fast transport beside httpx's own, over real sockets: the same answer, or the same exception.

What differs on purpose is in test_reader.py; nothing of it is made here.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

RECORDINGS = Path(__file__).parents[4] / "shared" / "recordings"

HEADERS_OF_FRAMING = {"content-length", "transfer-encoding", "content-encoding", "connection"}


async def outcome(client, library, url: str, method: str = "POST"):
    """Return what a caller sees: status, headers, body so far, and the exception's name."""
    body = b""
    told = None
    try:
        request = client.build_request(method, url, content=b"{}")
        response = await client.send(request, stream=True)
    except library.HTTPError as error:
        return type(error).__name__
    pieces = response.aiter_raw()
    try:
        async for piece in pieces:
            body += piece
    except library.HTTPError as error:
        told = type(error).__name__
    finally:
        await pieces.aclose()
        await response.aclose()
    headers = [
        # h11 writes the one value it knows in lower case.
        (name, value.lower() if name.lower() == b"transfer-encoding" else value)
        for name, value in response.headers.raw
    ]
    return response.status_code, response.reason_phrase, headers, body, told


async def both(serving, open_client, library, *answer: bytes, method: str = "POST"):
    found = []
    async with serving(answer) as server:
        for which in ("fast", "own"):
            async with open_client(library, which, timeout=5) as client:
                found.append(await outcome(client, library, server.url, method))
    return found


def recorded():
    path = RECORDINGS / "list.json"
    if not path.exists():
        return []
    return json.loads(path.read_text(encoding="utf-8"))["exchanges"]


def wire(response: dict, framing: str, rng: random.Random) -> bytes:
    """Return a recorded response as it may have come, framed anew."""
    body = response["body"].encode()
    headers = {
        name: value
        for name, value in response["headers"].items()
        if name.lower() not in HEADERS_OF_FRAMING
    }
    lines = [f"HTTP/1.1 {response['status']} X", *(f"{n}: {v}" for n, v in headers.items())]
    head = "\r\n".join(lines).encode() + b"\r\n"
    if framing == "length":
        return head + b"content-length: %d\r\n\r\n" % len(body) + body
    if framing == "end":
        return head + b"connection: close\r\n\r\n" + body
    chunks = []
    while body:
        size = rng.choice([1, 30, 300, 3000, 30_000])
        chunks.append(b"%x\r\n%b\r\n" % (len(body[:size]), body[:size]))
        body = body[size:]
    return head + b"transfer-encoding: chunked\r\n\r\n" + b"".join(chunks) + b"0\r\n\r\n"


@pytest.mark.parametrize("framing", ["length", "chunked", "end"])
async def test_recorded_answers(serving, open_client, library, framing):
    """Every answer that a provider was recorded to give, in each framing, is read the same."""
    entries = recorded()
    if not entries:
        pytest.skip(f"no recordings at {RECORDINGS}")
    rng = random.Random(7)
    answers = []
    for entry in entries:
        exchange = json.loads((RECORDINGS / entry["file"]).read_text(encoding="utf-8"))
        answers.append((entry["file"], wire(exchange["response"], framing, rng)))
    for begin in range(0, len(answers), 50):
        some = answers[begin : begin + 50]
        async with serving(*(data for _, data in some)) as server:
            if framing != "end":
                await compared_on_one_connection(open_client, library, server, some)
        if framing == "end":
            for file, data in some:
                fast, own = await both(serving, open_client, library, data)
                assert fast == own, file
                assert fast[-1] is None, file


async def compared_on_one_connection(open_client, library, server, some):
    async with (
        open_client(library, "fast") as fast_client,
        open_client(library, "own") as own_client,
    ):
        for file, _ in some:
            fast = await outcome(fast_client, library, server.url)
            assert fast == await outcome(own_client, library, server.url), file
            assert fast[-1] is None, file
        assert server.accepted == 2


OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"transfer-encoding: chunked\r\n\r\n"
CASES = {
    "nothing": b"",
    "half a head": OK + b"content-le",
    "no http": b"SSH-2.0-OpenSSH\r\n\r\n",
    "interim answers": b"HTTP/1.1 100 C\r\n\r\nHTTP/1.1 103 E\r\nlink: x\r\n\r\n" + OK + b"\r\nhi",
    "an interim answer alone": b"HTTP/1.1 100 C\r\n\r\n",
    "another protocol": b"HTTP/1.1 101 S\r\nupgrade: x\r\nconnection: upgrade\r\n\r\nabc",
    "204": b"HTTP/1.1 204 N\r\ncontent-length: 5\r\n\r\n",
    "304": b"HTTP/1.1 304 N\r\ntransfer-encoding: chunked\r\n\r\n",
    "cut in its length": OK + b"content-length: 10\r\n\r\nhi",
    "cut in a chunk": CHUNKED + b"5\r\nhi",
    "cut between chunks": CHUNKED + b"2\r\nhi\r\n",
    "cut in the end": CHUNKED + b"2\r\nhi\r\n0\r\n",
    "a size that is none": CHUNKED + b"2\r\nhi\r\noops\r\n",
    "trailers": CHUNKED + b"2;a=b\r\nhi\r\n0\r\nT: x\r\nU: y\r\n\r\n",
    "extra": OK + b"content-length: 2\r\n\r\nhi and more",
    "both framings": OK + b"content-length: 9\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "compressed framing": OK + b"transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "two lengths": OK + b"content-length: 1\r\ncontent-length: 2\r\n\r\nhi",
    "a head without an end": OK + b"a: b\r\n" * 40_000,
    "a header without an end": OK + b"a: " + b"b" * 200_000,
    "many headers": OK + b"a: b\r\n" * 5_000 + b"content-length: 0\r\n\r\n",
    "an old server": b"HTTP/1.0 200 OK\nContent-Type: text/plain\n\nhi",
    "a large body": OK + b"content-length: 3000000\r\n\r\n" + b"x" * 3_000_000,
}


@pytest.mark.parametrize("case", CASES)
async def test_wrong_and_rare_answers(serving, open_client, library, case):
    """The same status, headers and body, or the same exception after the same part of a body."""
    fast, own = await both(serving, open_client, library, CASES[case])
    assert fast == own


@pytest.mark.parametrize("head", [OK + b"content-length: 5\r\n\r\n", CHUNKED, OK + b"\r\n"])
async def test_answers_to_a_head_request(serving, open_client, library, head):
    """Have no body, whatever they say."""
    fast, own = await both(serving, open_client, library, head, method="HEAD")
    assert fast == own
    assert fast[3] == b""


@st.composite
def answers(draw) -> list[bytes]:
    """A response in pieces: right, wrong, cut short or followed by more."""
    status = draw(st.sampled_from([b"200 OK", b"204 N", b"404", b"500 X", b"2x0 X", b"304 N"]))
    version = draw(st.sampled_from([b"1.1", b"1.1", b"1.0"]))
    data = b"HTTP/" + version + b" " + status + b"\r\n"
    texts = st.text("ab;=, é\t", max_size=8).map(str.encode)
    for value in draw(st.lists(texts, max_size=3)):
        data += b"x-y: " + value + b"\r\n"
    if draw(st.integers(0, 9)) == 0:
        data += draw(st.sampled_from([b"no colon\r\n", b": x\r\n", b"a b: c\r\n", b"a: b\0\r\n"]))
    body = draw(st.binary(max_size=200))
    framing = draw(st.sampled_from(["length", "chunked", "end"]))
    if framing == "length":
        data += b"content-length: %d\r\n\r\n" % draw(st.sampled_from([len(body), 0, 300])) + body
    elif framing == "chunked":
        data += b"transfer-encoding: chunked\r\n\r\n"
        while body:
            size = draw(st.integers(1, len(body)))
            extension = draw(st.sampled_from([b"", b"", b";a", b";a=b", b" "]))
            data += b"%x%b\r\n%b\r\n" % (size, extension, body[:size])
            body = body[size:]
        if draw(st.integers(0, 4)) == 0:
            data += draw(st.sampled_from([b"oops\r\n", b"-1\r\n", b"1\r\nxy\r\n", b"\r\n"]))
        trailer = draw(st.sampled_from([b"", b"", b"t: x\r\n", b"t x\r\n"]))
        data += b"0\r\n" + trailer + b"\r\n"
    else:
        data += b"\r\n" + body
    if draw(st.booleans()):
        data = data[: draw(st.integers(0, len(data)))]
    elif draw(st.integers(0, 3)) == 0:
        data += draw(st.sampled_from([b"x", OK, OK + b"\r\nmore"]))
    ends = sorted(draw(st.sets(st.integers(1, max(1, len(data) - 1)), max_size=4)))
    pieces = [data[a:b] for a, b in zip([0, *ends], [*ends, len(data)], strict=True)]
    return [piece for piece in pieces if piece]


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(answer=answers())
def test_made_answers(serving, open_client, library, answer):
    """Whatever is sent, in whatever pieces."""

    async def compare():
        with trio.fail_after(20):
            fast, own = await both(serving, open_client, library, *answer)
        assert fast == own

    trio.run(compare)
