"""A scripted provider that costs as little as Python allows, in a process of its own.

``python -m bench.peers.server`` prints its port and serves OpenAI chat completions as server-sent
events until it is killed. The answer is always `work.ANSWER`, one event and one HTTP chunk for each
piece. ``GET /stats`` tells what it did and how late its pieces left.

What is measured is the client, so the server must never be what is waited for. A task for each
connection would cost two switches for each write; so this is one loop over epoll with three lines
of work, each served in turns:

- *ready*: answers without a delay, one write of ``--per-write`` pieces for each pass, so that a
  client sees several reads, as from a network, and no connection is served to its end first;
- *opening* and *going on*: paced answers that wait for their first piece, or their next one. All
  wait the same time, so each line is in order of what is due without being sorted.

Piece i is due at the request's arrival + first + i × gap: a late piece does not delay the next.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import select
import socket
import time
from collections import deque
from collections.abc import Sequence
from typing import Any, Final

from bench.peers.work import CHUNKS, MODEL, PIECES, TOOL_NAME

BACKLOG: Final = 4096  # a thousand clients may come in one instant
REQUEST_BYTES_MAX: Final = 4 * 1024 * 1024
READ_BYTES: Final = 65536
EARLY_SECONDS: Final = 0.0002  # epoll counts whole milliseconds, so what is nearly due goes now

_ID: Final = b"chatcmpl-0000000000000000"  # of a fixed width: each answer puts its own in its place
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_STREAMED: Final = re.compile(rb'"stream" *: *true')
_USAGE: Final = re.compile(rb'"include_usage" *: *true')
_HEAD: Final = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
    b"cache-control: no-cache\r\nx-request-id: req_bench\r\ntransfer-encoding: chunked\r\n\r\n"
)


def _chunk(data: bytes) -> bytes:
    event = b"data: " + data + b"\n\n"
    return b"%x\r\n%b\r\n" % (len(event), event)


def _event(delta: dict[str, Any] | None, *, finish: str | None = None, usage: Any = None) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    body = {
        "id": _ID.decode(),
        "object": "chat.completion.chunk",
        "created": 1_750_000_000,
        "model": MODEL,
        "service_tier": "default",
        "system_fingerprint": "fp_bench000",
        "choices": [] if delta is None else [choice],
        "usage": usage,
    }
    return _chunk(json.dumps(body, separators=(",", ":")).encode())


_ROLE: Final = _event({"role": "assistant", "content": "", "refusal": None})
_TEXT: Final = tuple(_event({"content": piece}) for piece in PIECES)
_TOTAL: Final = _event(
    None,
    usage={"prompt_tokens": 128, "completion_tokens": CHUNKS, "total_tokens": 128 + CHUNKS},
)
_END: Final = _chunk(b"[DONE]") + b"0\r\n\r\n"


def _call(call_id: str) -> tuple[bytes, ...]:
    """Return a tool call as it is streamed: its name, then its arguments in pieces."""
    arguments = '{"city": "Paris, France"}'
    opened = {"name": TOOL_NAME, "arguments": ""}
    first = {"index": 0, "id": call_id, "type": "function", "function": opened}
    rest = (
        {"index": 0, "function": {"arguments": arguments[at : at + 4]}}
        for at in range(0, len(arguments), 4)
    )
    head = _event({"role": "assistant", "content": None, "tool_calls": [first]})
    return (head, *(_event({"tool_calls": [part]}) for part in rest))


def wants_tool(body: bytes) -> bool:
    """Return whether tools are offered and none has answered since the user spoke."""
    asked = json.loads(body)
    last = asked["messages"][-1]["role"]
    return bool(asked.get("tools")) and last != "tool"


class Connection:
    """One client's socket: bytes that came, bytes that did not go yet, and the answer in work."""

    __slots__ = ("at", "due", "id", "inbox", "open", "outbox", "parts", "sock", "stalled")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.inbox = b""
        self.outbox = b""  # at most one answer: the next request is read after it
        self.parts: Sequence[bytes] = ()
        self.at = 0
        self.due = 0.0
        self.id = _ID
        self.open = True
        self.stalled = False  # waits for its socket, in none of the three lines


class Server:
    """All connections and what is due when.

    Args:
        first_seconds: From a request to its first piece of text.
        gap_seconds: From one piece to the next; 0 sends all at once.
        per_write: Pieces for each write where there is no gap.
        tools: Answer with a tool call where tools are offered.
    """

    def __init__(
        self, *, first_seconds: float, gap_seconds: float, per_write: int, tools: bool
    ) -> None:
        self._first = first_seconds
        self._gap = gap_seconds
        self._per_write = per_write
        self._tools = tools
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
        self._listener.setblocking(False)
        self._epoll = select.epoll()
        self._epoll.register(self._listener, select.EPOLLIN)
        self._connections: dict[int, Connection] = {}
        self._ready: deque[Connection] = deque()
        self._opening: deque[Connection] = deque()
        self._going_on: deque[Connection] = deque()
        self.requests = 0
        self.refused = 0
        self.late_seconds_max = 0.0
        self.late_seconds_sum = 0.0
        self.paced = 0

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    def serve(self) -> None:
        while True:
            for fd, event in self._epoll.poll(self._patience(), 1024):
                if fd == self._listener.fileno():
                    self._accept()
                elif (connection := self._connections.get(fd)) is not None:
                    if event & select.EPOLLOUT:
                        self._drain(connection)
                    if event & ~select.EPOLLOUT:
                        self._read(connection)
            for _ in range(len(self._ready)):
                self._advance(self._ready.popleft())
            self._send_due()

    def _patience(self) -> float:
        if self._ready:
            return 0.0
        lines = (self._opening, self._going_on)
        due = min((line[0].due for line in lines if line), default=None)
        return -1 if due is None else max(0.0, due - time.perf_counter() - EARLY_SECONDS)

    # -- sockets -----------------------------------------------------------------------------------

    def _accept(self) -> None:
        for _ in range(64):
            try:
                sock, _address = self._listener.accept()
            except BlockingIOError:
                return
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._connections[sock.fileno()] = Connection(sock)
            self._epoll.register(sock, select.EPOLLIN)

    def _close(self, connection: Connection) -> None:
        if connection.open:
            connection.open = False
            del self._connections[connection.sock.fileno()]
            connection.sock.close()

    def _send(self, connection: Connection, data: bytes) -> None:
        if connection.outbox:
            connection.outbox += data
            return
        try:
            sent = connection.sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._close(connection)
            return
        if sent < len(data):
            connection.outbox = data[sent:]
            self._epoll.modify(connection.sock, select.EPOLLIN | select.EPOLLOUT)

    def _drain(self, connection: Connection) -> None:
        waiting, connection.outbox = connection.outbox, b""
        self._send(connection, waiting)
        if connection.open and not connection.outbox:
            self._epoll.modify(connection.sock, select.EPOLLIN)
            if connection.stalled:
                connection.stalled = False
                self._ready.append(connection)

    def _read(self, connection: Connection) -> None:
        try:
            data = connection.sock.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        connection.inbox += data
        if not data or len(connection.inbox) > REQUEST_BYTES_MAX:
            self._close(connection)
        elif not connection.parts:
            self._next_request(connection)

    # -- requests ----------------------------------------------------------------------------------

    def _next_request(self, connection: Connection) -> None:
        inbox = connection.inbox
        end = inbox.find(b"\r\n\r\n") + 4
        if end < 4:
            return
        length = _LENGTH.search(inbox, 0, end)
        whole = end + (int(length[1]) if length else 0)
        if len(inbox) < whole:
            return
        connection.inbox = inbox[whole:]
        self._answer(connection, inbox[: inbox.find(b"\r\n")], inbox[end:whole])

    def _answer(self, connection: Connection, line: bytes, body: bytes) -> None:
        if line.startswith(b"GET /stats"):
            self._send_json(connection, b"200 OK", self._statistics())
        elif b"/chat/completions " not in line or not _STREAMED.search(body):
            self.refused += 1
            told = {"error": {"message": "only streamed chat completions", "type": "invalid"}}
            self._send_json(connection, b"400 Bad Request", told)
        else:
            self._begin(connection, body)

    def _statistics(self) -> dict[str, float]:
        return {
            "requests": self.requests,
            "refused": self.refused,
            "late_ms_max": self.late_seconds_max * 1e3,
            "late_ms_mean": self.late_seconds_sum / max(1, self.paced) * 1e3,
            "cpu_seconds": time.process_time(),
        }

    def _send_json(self, connection: Connection, status: bytes, told: Any) -> None:
        body = json.dumps(told).encode()
        head = b"content-type: application/json\r\ncontent-length: %d" % len(body)
        self._send(connection, b"HTTP/1.1 %b\r\n%b\r\n\r\n%b" % (status, head, body))
        if connection.open and connection.inbox:
            self._next_request(connection)

    # -- answers -----------------------------------------------------------------------------------

    def _begin(self, connection: Connection, body: bytes) -> None:
        self.requests += 1
        connection.id = b"chatcmpl-%016x" % self.requests
        if self._tools and wants_tool(body):
            pieces, finish = _call(f"call_{self.requests:016x}"), "tool_calls"
        else:
            pieces, finish = _TEXT, "stop"
        last = _event({}, finish=finish) + (_TOTAL if _USAGE.search(body) else b"") + _END
        connection.at = 0
        if self._gap:
            connection.parts = (*pieces[:-1], pieces[-1] + last)
            self._send(connection, (_HEAD + _ROLE).replace(_ID, connection.id))
            connection.due = time.perf_counter() + self._first
            self._opening.append(connection)
            return
        step = self._per_write
        writes = [b"".join(pieces[at : at + step]) for at in range(0, len(pieces), step)]
        writes[0] = _HEAD + _ROLE + writes[0]
        writes[-1] += last
        connection.parts = writes
        self._advance(connection)

    def _advance(self, connection: Connection) -> None:
        """Send the next write of an answer without a delay; a full socket is waited for."""
        if not connection.open:
            return
        if connection.outbox:
            connection.stalled = True
        elif self._send_part(connection):
            self._ready.append(connection)

    def _send_part(self, connection: Connection) -> bool:
        """Send one part; return whether another follows."""
        part = connection.parts[connection.at]
        connection.at += 1
        self._send(connection, part.replace(_ID, connection.id))
        if not connection.open:
            return False
        if connection.at < len(connection.parts):
            return True
        connection.parts = ()
        if connection.inbox:
            self._next_request(connection)
        return False

    def _send_due(self) -> None:
        """Send what is due of both lines, in the order in which it is due."""
        opening, going_on = self._opening, self._going_on
        now = time.perf_counter() + EARLY_SECONDS
        while True:
            line = going_on
            if opening and (not going_on or opening[0].due < going_on[0].due):
                line = opening
            if not line or line[0].due > now:
                return
            connection = line.popleft()
            if not connection.open:
                continue
            late = now - EARLY_SECONDS - connection.due
            self.late_seconds_max = max(self.late_seconds_max, late)
            self.late_seconds_sum += late
            self.paced += 1
            if self._send_part(connection):
                connection.due += self._gap
                going_on.append(connection)


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.peers.server", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--first-ms", type=float, default=0.0, help="to the first piece, with a gap"
    )
    parser.add_argument("--gap-ms", type=float, default=0.0, help="from one piece to the next")
    parser.add_argument("--per-write", type=int, default=16, help="pieces a write, without a gap")
    parser.add_argument("--tools", action="store_true", help="one tool call for each turn")
    parser.add_argument("--core", type=int, help="the only core to run on")
    wanted = parser.parse_args()
    if wanted.core is not None:
        os.sched_setaffinity(0, {wanted.core})
    server = Server(
        first_seconds=wanted.first_ms / 1e3,
        gap_seconds=wanted.gap_ms / 1e3,
        per_write=wanted.per_write,
        tools=wanted.tools,
    )
    print(server.port, flush=True)
    server.serve()


if __name__ == "__main__":
    main()
