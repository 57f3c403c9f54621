"""Reads one HTTP/1.1 response with llhttp's C code (`httptools`): bytes in, head and body out. Pure.

llhttp finds the borders; what is decided here is what it leaves open: which interim answers are
passed over, which framing the body has, what the end of the connection means in it, and what is
bounded. It is as lenient as h11, which reads for httpx, where endpoints of the world were seen to
need it: a line may end in a bare LF, spaces may follow a chunk's size, and ``Transfer-Encoding``
wins over ``Content-Length`` (that connection is not used again). llhttp calls these dangerous
because a proxy beside it might read the same bytes otherwise; behind a client nobody reads.

What remains different, see ``tests/providers/transport/test_reader.py``. Refused here and taken by
h11: a ``Content-Length`` that stands twice and equal, control characters in a header's value or a
chunk's extension, a header folded over two lines (llhttp's leniency for these lets a bare CR end a
head). Taken here and refused by h11: an empty line before the status line, a chunk's size with
leading zeros beyond 20 digits, ``RTSP/`` or ``ICE/`` in place of ``HTTP/``.

A reader is used once: whatever one response leaves in its parser cannot reach the next.
"""

from __future__ import annotations

from typing import Final

import attrs
from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

__all__ = ["IDLE_BYTES_MAX", "Head", "ResponseReader"]

IDLE_BYTES_MAX: Final = 100 * 1024
"""Bytes that bring neither a head nor a part of a body: heads, chunk extensions, trailers. As
httpcore; node.js allows 80 KiB of head, most servers send less than 8."""


@attrs.frozen(slots=True)
class Head:
    """The status line and the headers, as they came."""

    status: int
    version: str
    reason: bytes
    headers: list[tuple[bytes, bytes]]


class _Stop(Exception):
    """Ends the parser's run from a callback."""


class ResponseReader:
    """Reads one response.

    After each `feed`, in this order: ``head`` (None: not whole yet), `take` (what came of the
    body), ``failure`` (what is wrong with what followed), ``done``.

    Args:
        head_only: The answer to a HEAD, which has no body whatever its headers say.

    Attributes:
        head: The final answer's, once it is whole.
        done: The response has ended, as its framing says.
        failure: Why it cannot be read further.
        reusable: Whether the connection may serve another request. True only when done, without a
            byte beyond the end.
    """

    __slots__ = (
        "_ends_with_connection",
        "_head_only",
        "_headers",
        "_idle_bytes",
        "_keep_alive",
        "_parser",
        "_pieces",
        "_reason",
        "done",
        "failure",
        "head",
        "on_body",
        "reusable",
    )

    def __init__(self, *, head_only: bool = False) -> None:
        self.head: Head | None = None
        self.done = False
        self.failure: str | None = None
        self.reusable = False
        self._head_only = head_only
        self._headers: list[tuple[bytes, bytes]] = []
        self._reason = b""
        self._pieces: list[bytes] = []
        self._idle_bytes = 0
        self._keep_alive = False
        self._ends_with_connection = False
        self.on_body = self._pieces.append  # called per chunk, so it is C from end to end
        # The parser holds our methods and we hold it: a cycle, cut as soon as it has no more to do.
        self._parser: HttpResponseParser | None = HttpResponseParser(self)
        self._parser.set_dangerous_leniencies(
            lenient_chunked_length=True,
            lenient_data_after_close=True,
            lenient_optional_cr_before_lf=True,
            lenient_spaces_after_chunk_size=True,
            lenient_version=True,
        )

    def feed(self, data: bytes) -> None:
        """Read ``data``, everything one read of the socket gave; empty: the connection ended."""
        if self._parser is None:
            return
        if not data:
            self._end()
        else:
            self._parse(self._parser, data)
        if self.done or self.failure is not None:
            self.release()

    def take(self) -> bytes:
        """Return what came of the body since the last time, as one piece."""
        pieces = self._pieces
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        return data

    def release(self) -> None:
        """Let the parser go; nothing more is read."""
        self._parser = None

    def _parse(self, parser: HttpResponseParser, data: bytes) -> None:
        pieces, head = len(self._pieces), self.head
        try:
            parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade) as error:
            # Beyond the end it is nobody's answer: the connection is not used again, that is all.
            self.reusable = False
            if not self.done and self.failure is None:
                self.failure = str(error)
            return
        if len(self._pieces) > pieces or self.head is not head:
            self._idle_bytes = 0
            return
        self._idle_bytes += len(data)
        if self._idle_bytes > IDLE_BYTES_MAX and not self.done:
            self.failure = f"more than {IDLE_BYTES_MAX} bytes of headers, or without an end"

    def _end(self) -> None:
        if self._ends_with_connection:
            self.done = True
        elif self.head is None:
            # The words are httpcore's: `_http` tells by them an end from bytes that are no HTTP.
            self.failure = "Server disconnected without sending a response."
        else:
            self.failure = "peer closed connection without sending complete message body"

    # -- called by the parser ----------------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self.done:
            raise _Stop

    def on_status(self, reason: bytes) -> None:
        self._reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.head is not None:
            return  # a trailer; nobody asked for one
        self._headers.append((name, value.strip(b" \t")))

    def on_headers_complete(self) -> None:
        parser = self._parser
        assert parser is not None
        status = parser.get_status_code()
        if 100 <= status < 200 and status != 101:
            return
        if status < 200:
            self._refuse(f"status {status}, which nobody asked for")
        version = parser.get_http_version()
        lengths = self._values(b"content-length")
        encodings = self._values(b"transfer-encoding")
        if encodings and [one.lower() for one in encodings] != [b"chunked"]:
            self._refuse("Only Transfer-Encoding: chunked is supported")
        self._keep_alive = (
            parser.should_keep_alive() and version == "1.1" and not (lengths and encodings)
        )
        bodiless = self._head_only or status in (204, 304)
        self._ends_with_connection = not (lengths or encodings or bodiless)
        self.head = Head(status, version, self._reason, self._headers)
        if self._head_only:
            self.done = True  # not reusable: the parser waits for a body
            raise _Stop

    def on_message_complete(self) -> None:
        if self.head is None:
            self._headers, self._reason = [], b""
            return
        self.done = True
        self.reusable = self._keep_alive

    def _values(self, wanted: bytes) -> list[bytes]:
        return [value for name, value in self._headers if name.lower() == wanted]

    def _refuse(self, why: str) -> None:
        self.failure = why
        raise _Stop
