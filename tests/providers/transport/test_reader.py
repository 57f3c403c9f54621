"""The fast transport's reader beside h11, which reads for httpx."""

from __future__ import annotations

import h11
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from actrio.providers._fast_reader import IDLE_BYTES_MAX, ResponseReader

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"transfer-encoding: chunked\r\n\r\n"


def by_h11(pieces, *, head_only=False):
    """Return head, body and end, as h11 reads them: ``end``, ``more`` or ``refused``."""
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=IDLE_BYTES_MAX)
    method = "HEAD" if head_only else "GET"
    connection.send(h11.Request(method=method, target="/", headers=[("Host", "x")]))
    connection.send(h11.EndOfMessage())
    head, body = None, b""
    try:
        for piece in pieces:
            connection.receive_data(piece)
            while (event := connection.next_event()) not in (h11.NEED_DATA, h11.PAUSED):
                if isinstance(event, h11.Response):
                    headers = [(name, value) for name, value in event.headers.raw_items()]
                    head = (event.status_code, headers)
                elif isinstance(event, h11.Data):
                    body += bytes(event.data)
                elif isinstance(event, h11.EndOfMessage):
                    return head, body, "end"
                elif isinstance(event, h11.ConnectionClosed):
                    return head, body, "refused"
    except h11.RemoteProtocolError:
        return head, body, "refused"
    return head, body, "more"


def by_us(pieces, *, head_only=False):
    reader = ResponseReader(head_only=head_only)
    body = b""
    for piece in pieces:
        reader.feed(piece)
        body += reader.take()
    head = None
    if reader.head is not None:
        assert reader.head.headers is not None
        # h11 writes the one value it knows in lower case.
        headers = [
            (name, value.lower() if name.lower() == b"transfer-encoding" else value)
            for name, value in reader.head.headers
        ]
        head = (reader.head.status, headers)
    end = "end" if reader.done else "refused" if reader.failure is not None else "more"
    assert not (reader.done and reader.failure)
    assert not reader.reusable or reader.done
    return head, body, end


def cut(data: bytes, places) -> list[bytes]:
    ends = sorted({place % (len(data) + 1) for place in places} | {len(data)})
    pieces = [data[begin:end] for begin, end in zip([0, *ends], ends, strict=False)]
    return [piece for piece in pieces if piece]


SAME = [
    b"HTTP/1.1 200 OK\ncontent-length: 2\n\nhi",
    b"HTTP/1.1 200\r\ncontent-length: 2\r\n\r\nhi",
    b"HTTP/1.1 200 \r\nA: b \t\r\ncontent-length: 2\r\n\r\nhi",
    b"HTTP/1.1 200 \x01\xff\r\ncontent-length: 2\r\n\r\nhi",
    b"HTTP/1.1  200 OK\r\n\r\n",
    b"HTTP/1.1 20 OK\r\n\r\n",
    b"HTTP/1.1 099 OK\r\n\r\n",
    b"HTTP/1.1 999 OK\r\ncontent-length: 0\r\n\r\n",
    b"HTTP/3.7 200 OK\r\ncontent-length: 2\r\n\r\nhi",
    b"http/1.1 200 OK\r\n\r\n",
    b"SSH-2.0-OpenSSH\r\n\r\n",
    OK + b"content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
    OK + b"content-length: 2\r\ncontent-length: 3\r\n\r\nhi",
    OK + b"content-length: +2\r\n\r\nhi",
    OK + b"content-length:\r\n\r\nhi",
    OK + b"transfer-encoding: gzip, chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
    OK + b"transfer-encoding: identity\r\n\r\nhi",
    OK + b"transfer-encoding: Chunked\r\n\r\n2;a=b\r\nhi\r\n0\r\nT: x\r\n\r\n",
    OK + b"A: b\x00c\r\n\r\nhi",
    OK + b"A: b\x0bc\r\n\r\nhi",
    OK + b"A: b\r\r\ncontent-length: 2\r\n\r\nhi",
    OK + b"A: b\xffc\r\n\r\nhi",
    OK + b"A : b\r\n\r\nhi",
    OK + b"A:\r\n\r\nhi",
    OK + b": b\r\n\r\nhi",
    OK + b"nocolon\r\n\r\nhi",
    b"HTTP/1.1 100 C\r\n\r\nHTTP/1.1 103 E\r\nLink: x\r\n\r\nHTTP/1.1 204 N\r\n\r\n",
    b"HTTP/1.1 101 C\r\nupgrade: x\r\nconnection: upgrade\r\n\r\nabc",
    b"HTTP/1.1 101 C\r\n\r\nabc",
    b"HTTP/1.1 204 N\r\ncontent-length: 2\r\n\r\n",
    b"HTTP/1.1 304 N\r\ntransfer-encoding: chunked\r\n\r\n",
    b"HTTP/1.1 204 N\r\n\r\nextra",
    OK + b"content-length: 2\r\n\r\nhiextra",
    OK + b"content-length: 2\r\nconnection: close\r\n\r\nhiextra",
    OK + b"content-length: 2\r\n\r\nhi" + OK + b"\r\nnobody's",
    OK + b"content-length: 0\r\n\r\n",
    OK + b"\r\nbody until the end",
    OK + b"connection: upgrade\r\nupgrade: h2c\r\n\r\nbody",
    CHUNKED + b"2 \r\nhi\r\n0 \r\n\r\n",
    CHUNKED + b"2\r\nhixx",
    CHUNKED + b"-2\r\nhi",
    CHUNKED + b"2\r\nhi\r\n0\r\nbad trailer\r\n\r\n",
    CHUNKED + b"5\r\nshort",
]


@pytest.mark.parametrize("data", SAME)
def test_the_same_as_h11(data):
    """Head, body and end, in one piece, cut at every byte, and at the connection's end."""
    assert by_us([data]) == by_h11([data])
    assert by_us([data, b""]) == by_h11([data, b""])
    for place in range(1, len(data)):
        pieces = [data[:place], data[place:]]
        assert by_us([*pieces, b""]) == by_h11([*pieces, b""])


OTHERWISE = [
    (OK + b"A: b\x01c\r\ncontent-length: 2\r\n\r\nhi", "refused", "end"),
    (OK + b"A: b\r\n c\r\ncontent-length: 2\r\n\r\nhi", "refused", "end"),
    (OK + b"content-length: 2\r\ncontent-length: 2\r\n\r\nhi", "refused", "end"),
    (OK + b"content-length: 2, 2\r\n\r\nhi", "refused", "end"),
    (CHUNKED + b"2;\x01\r\nhi\r\n0\r\n\r\n", "refused", "end"),
    (b"\r\n" + OK + b"content-length: 2\r\n\r\nhi", "end", "refused"),
    (CHUNKED + b"%021d\r\nhi\r\n0\r\n\r\n" % 2, "end", "refused"),
    (b"RTSP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nhi", "end", "refused"),
]


@pytest.mark.parametrize(("data", "ours", "theirs"), OTHERWISE)
def test_where_it_differs_from_h11(data, ours, theirs):
    """What the head of the module tells, and nothing that a provider was seen to send."""
    assert by_us([data])[2] == ours
    assert by_h11([data])[2] == theirs


@pytest.mark.parametrize("head", [OK + b"content-length: 2\r\n\r\n", CHUNKED, OK + b"\r\n"])
def test_an_answer_to_a_head_request_has_no_body(head):
    """Whatever its headers say; its connection is not used again."""
    assert by_us([head], head_only=True) == by_h11([head], head_only=True)


@pytest.mark.parametrize(
    ("data", "reusable"),
    [
        (OK + b"content-length: 2\r\n\r\nhi", True),
        (OK + b"content-length: 2\r\n\r\nhi\r\n", True),
        (CHUNKED + b"2\r\nhi\r\n0\r\nT: x\r\n\r\n", True),
        (b"HTTP/1.1 204 N\r\n\r\n", True),
        (OK + b"content-length: 2\r\n\r\nhix", False),
        (OK + b"content-length: 2\r\n\r\nhi" + OK, False),
        (OK + b"content-length: 2\r\nconnection: close\r\n\r\nhi", False),
        (OK + b"content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", False),
        (b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\nconnection: keep-alive\r\n\r\nhi", False),
    ],
)
def test_which_connection_may_serve_again(data, reusable):
    """One whose response ended by its framing, without a byte beyond, and whose peer stays."""
    reader = ResponseReader()
    reader.feed(data)
    assert reader.done
    assert reader.reusable is reusable


def test_a_body_until_the_end_never_leaves_a_connection():
    """The end of the connection is the end of the body."""
    reader = ResponseReader()
    reader.feed(OK + b"\r\nbody")
    assert (reader.take(), reader.done) == (b"body", False)
    reader.feed(b"")
    assert (reader.done, reader.reusable) == (True, False)


@pytest.mark.parametrize(
    "begin", [OK, OK + b"a: ", CHUNKED + b"2;", CHUNKED + b"0\r\nt: ", b"HTTP/1.1 100 C\r\n\r\n"]
)
@pytest.mark.parametrize("filler", [b"x" * 1000, b"x: y\r\n" * 100])
def test_what_brings_nothing_is_bounded(begin, filler):
    """A head, an extension or a trailer without an end is refused, as is one of too many lines."""
    reader = ResponseReader()
    reader.feed(begin)
    fed = 0
    while reader.failure is None:
        assert fed <= IDLE_BYTES_MAX + len(filler)
        reader.feed(filler)
        fed += len(filler)


def test_one_read_is_one_piece():
    """Chunks that came together are handed over together."""
    reader = ResponseReader()
    reader.feed(CHUNKED + b"2\r\nab\r\n2\r\ncd\r\n2\r\ne")
    assert reader.take() == b"abcde"
    assert reader.take() == b""
    reader.feed(b"f\r\n0\r\n\r\n")
    assert reader.take() == b"f"
    assert reader.done


names = st.sampled_from([b"a", b"Content-Type", b"x-Y", b"connection", b"set-cookie", b"etag"])
octets = st.sampled_from([*range(0x20, 0x7F), *range(0x80, 0x100), 0x09, 0x00, 0x0D])
values = st.lists(octets, max_size=12).map(bytes) | st.sampled_from(
    [b"close", b"keep-alive", b"text/html", b""]
)
lines = st.builds(lambda name, value: name + b": " + value + b"\r\n", names, values)
status_lines = st.sampled_from(
    [
        OK,
        b"HTTP/1.1 204 No Content\r\n",
        b"HTTP/1.1 304 Not Modified\r\n",
        b"HTTP/1.0 500 X\r\n",
        b"HTTP/1.1 404\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 101 S\r\n",
        b"HTTP/1.1 2x0 OK\r\n",
    ]
)


@st.composite
def bodies(draw) -> bytes:
    """A body with the headers that frame it, rightly or wrongly."""
    data = draw(st.binary(max_size=60))
    framing = draw(st.sampled_from(["length", "wrong length", "chunked", "end", "both"]))
    if framing == "length":
        return b"content-length: %d\r\n\r\n%b" % (len(data), data)
    if framing == "wrong length":
        return b"content-length: %d\r\n\r\n%b" % (draw(st.integers(0, 80)), data)
    if framing == "end":
        return b"\r\n" + data
    head = b"transfer-encoding: chunked\r\n"
    if framing == "both":
        head += b"content-length: 3\r\n"
    return head + b"\r\n" + draw(chunked_bodies(data))


@st.composite
def chunked_bodies(draw, data: bytes) -> bytes:
    made = b""
    while data:
        size = draw(st.integers(1, len(data)))
        told = draw(st.sampled_from([b"%x", b"%X", b"0%x", b"%x;a=b", b'%x;a="b"', b"%x  "])) % size
        made += told + b"\r\n" + data[:size] + b"\r\n"
        data = data[size:]
    if draw(st.integers(0, 9)) == 0:
        made += draw(st.sampled_from([b"zz\r\n", b"\r\n", b"-1\r\n", b"1\r\nxy\r\n", b"f" * 21]))
    trailer = draw(st.sampled_from([b"", b"", b"t: x\r\n", b"t : x\r\n", b"t\r\n"]))
    return made + b"0\r\n" + trailer + b"\r\n"


@st.composite
def responses(draw) -> bytes:
    """A response, whole or cut short, alone or followed by what nobody asked for."""
    data = draw(status_lines) + b"".join(draw(st.lists(lines, max_size=3))) + draw(bodies())
    change = draw(st.sampled_from(["none", "cut", "extra"]))
    if change == "cut":
        return data[: draw(st.integers(0, len(data)))]
    if change == "extra":
        return data + draw(st.sampled_from([b"x", b"\r\n", OK, OK + b"\r\n" + b"x" * 10]))
    return data


places = st.lists(st.integers(0, 1000), max_size=6)


@given(responses(), places)
@settings(max_examples=400)
def test_made_responses_read_as_by_h11(data, cuts):
    """Right ones, wrong ones and cut ones, in any pieces, to the end of the connection."""
    pieces = [*cut(data, cuts), b""]
    assert by_us(pieces) == by_h11(pieces)


@given(responses(), places)
@settings(max_examples=200)
def test_the_pieces_do_not_matter(data, cuts):
    """Cut anywhere, the same comes of it."""
    assert by_us([*cut(data, cuts), b""]) == by_us([data, b""] if data else [b""])


@given(st.binary(max_size=200) | responses(), places)
@example(b"", [])
@settings(max_examples=300)
def test_any_bytes_end_in_an_answer_or_a_refusal(data, cuts):
    """Nothing but its own outcomes comes out of it, and it always ends with the connection."""
    _, _, end = by_us([*cut(data, cuts), b""])
    assert end in ("end", "refused")
