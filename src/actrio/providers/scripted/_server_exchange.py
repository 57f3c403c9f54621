"""One connection of the scripted server: requests in, answers out, until the peer leaves.

h11 reads requests and writes response heads. The chunks of a stream are framed by hand, because
h11 costs more per chunk than everything else here together; it still writes the end of the body,
so its state and the bytes on the wire agree.

While an answer is on its way, a second task reads the socket: that is the only way to learn that
a silent reader has gone. What it reads early belongs to the next request.
"""

from __future__ import annotations

import itertools
import socket
import struct
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any, Final

import attrs
import h11
import msgspec
import trio

from actrio.errors import ActrioError
from actrio.messages import Delta, ModelInput, fold
from actrio.providers.scripted._faults import REFUSALS, Refusal, refusal
from actrio.providers.scripted._openai_wire import (
    ChatRequest,
    ChunkWriter,
    read_request,
    whole_answer,
)
from actrio.providers.scripted._script import Fault, Timed, script
from actrio.providers.scripted._server_counts import ServerCounts
from actrio.providers.scripted._spec import KINDS, ScriptSpec

__all__ = ["BODY_BYTES_MAX", "HEAD_BYTES_MAX", "Exchange"]

HEAD_BYTES_MAX: Final = 16 * 1024
"""Of a request's line and headers; what nginx and h11 allow by default."""

BODY_BYTES_MAX: Final = 32 * 1024 * 1024
"""Of a request's body; OpenAI's own limit is of this size, images included."""

IDLE_SECONDS: Final = 75.0
"""How long a connection may take for its next request; nginx's default."""

EARLY_BYTES_MAX: Final = 64 * 1024
"""Read ahead while an answer is on its way; beyond it the peer waits, as TCP intends."""

DELTAS_PER_SEND: Final = 16
"""Deltas without a delay between them that share one chunk: fewer system calls, prompt enough."""

LINGER_SECONDS: Final = 2.0
"""How long a refused upload is read and dropped, so that the peer gets to read the refusal."""

_READ_BYTES: Final = 64 * 1024
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)


class _Refused(Exception):
    """The request is not served; never leaves this module."""

    def __init__(self, answer: Refusal) -> None:
        super().__init__(answer.status)
        self.answer = answer


class Exchange:
    """Serves one connection."""

    def __init__(self, stream: trio.SocketStream, counts: ServerCounts) -> None:
        self._stream = stream
        self._counts = counts
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_BYTES_MAX)
        self._early = b""
        self._gone = False
        self._request_id = ""

    async def run(self) -> None:
        """Serve request after request until either side ends it."""
        try:
            while not self._gone and (found := await self._next_request()) is not None:
                self._request_id = self._counts.begin_request()
                await self._answer(*found)
                if self._h11.our_state is not h11.DONE or self._h11.their_state is not h11.DONE:
                    return
                self._h11.start_next_cycle()
        except _Refused as refused:
            await self._send_refusal(refused.answer, closing=True)
            await self._linger()
        except h11.RemoteProtocolError as error:
            if self._h11.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
                await self._send_refusal(_not_http(error), closing=True)
                await self._linger()

    # -- reading -----------------------------------------------------------------------------------

    async def _next_request(self) -> tuple[h11.Request, bytes] | None:
        if self._early:
            self._h11.receive_data(self._early)
            self._early = b""
        request: h11.Request | None = None
        body = bytearray()
        with trio.move_on_after(IDLE_SECONDS):
            while True:
                event = self._h11.next_event()
                if event is h11.NEED_DATA:
                    await self._read_more()
                elif isinstance(event, h11.Request):
                    request = event
                    _check_size(_content_length(event))
                elif isinstance(event, h11.Data):
                    body += event.data
                    _check_size(len(body))
                elif isinstance(event, h11.EndOfMessage) and request is not None:
                    return request, bytes(body)
                else:
                    return None
        return None

    async def _read_more(self) -> None:
        if self._h11.they_are_waiting_for_100_continue:
            await self._send_event(h11.InformationalResponse(status_code=100, headers=[]))
        self._h11.receive_data(await self._stream.receive_some(_READ_BYTES))

    async def _linger(self) -> None:
        await self._stream.send_eof()
        with trio.move_on_after(LINGER_SECONDS):
            left = BODY_BYTES_MAX
            while left > 0 and (data := await self._stream.receive_some(_READ_BYTES)):
                left -= len(data)

    # -- answering ---------------------------------------------------------------------------------

    async def _answer(self, request: h11.Request, body: bytes) -> None:
        path = request.target.partition(b"?")[0].removeprefix(b"/v1")
        match request.method, path:
            case b"POST", b"/chat/completions":
                await self._chat(body)
            case b"GET", b"/models":
                models = [{"id": kind, "object": "model", "owned_by": "actrio"} for kind in KINDS]
                await self._send_json(200, msgspec.json.encode({"object": "list", "data": models}))
            case _, b"/chat/completions" | b"/models":
                await self._send_refusal(refusal(405, "This path knows another method."))
            case _:
                await self._send_refusal(
                    refusal(404, "There are /v1/chat/completions and /v1/models.")
                )

    async def _chat(self, body: bytes) -> None:
        try:
            request = read_request(body)
            spec = ScriptSpec.parse(request.call.model)
            plan = script(spec, request.call)
            first = next(plan)
        except ActrioError as error:
            await self._send_refusal(refusal(400, str(error)))
            return
        plan = itertools.chain([first], plan)
        if request.call.stream:
            await self._unless_gone(self._stream_answer, request, plan)
        else:
            await self._unless_gone(self._whole_answer, request.call, plan)

    async def _unless_gone(self, fn: Callable[..., Awaitable[None]], *args: Any) -> None:
        """Run ``fn`` and end it at once when the peer leaves."""
        self._counts.begin_stream()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._watch, nursery.cancel_scope)
                try:
                    await fn(*args)
                except trio.BrokenResourceError:
                    self._gone = True
                nursery.cancel_scope.cancel()
        finally:
            self._counts.end_stream(disconnected=self._gone)

    async def _watch(self, scope: trio.CancelScope) -> None:
        try:
            while data := await self._stream.receive_some(_READ_BYTES):
                self._early += data
                if len(self._early) > EARLY_BYTES_MAX:
                    await trio.sleep_forever()
        except trio.ClosedResourceError:
            return  # a scripted fault closed it from this side
        except trio.BrokenResourceError:
            pass  # a reset is a way to leave, too
        # An end of data counts as leaving: no HTTP client closes one half and reads the other.
        self._gone = True
        scope.cancel()

    async def _stream_answer(self, request: ChatRequest, plan: Iterator[Timed]) -> None:
        writer = ChunkWriter(
            f"chatcmpl-{self._request_id}",
            request.call.model,
            int(time.time()),
            include_usage=request.include_usage,
        )
        pending = [writer.opening()]
        due = trio.current_time()
        for timed in plan:
            if timed.delay_seconds > 0:
                # The head waits for the first delta: until then the answer may be a refusal.
                if self._h11.our_state is h11.SEND_BODY or len(pending) > 1:
                    await self._send_chunk(pending)
                due += timed.delay_seconds
                await trio.sleep_until(due)
            if isinstance(timed.item, Fault):
                await self._misbehave(timed.item, pending)
                return
            pending.append(writer.event(timed.item))
            self._counts.deltas += 1
            if len(pending) >= DELTAS_PER_SEND:
                await self._send_chunk(pending)
        pending.append(writer.closing())
        await self._send_chunk(pending, last=True)

    async def _misbehave(self, fault: Fault, pending: list[bytes]) -> None:
        if (answer := REFUSALS.get(fault.kind)) is not None:
            await self._send_refusal(answer)
            return
        begun = self._h11.our_state is h11.SEND_BODY
        if fault.kind == "badjson":
            pending.append(b'data: {"choices": [{"index": 0, "delta": {"con\n\n')
        if begun or len(pending) > 1 or fault.kind == "cut":
            await self._send_chunk(pending)
        await self._break_off(fault)

    async def _break_off(self, fault: Fault) -> None:
        if fault.kind == "stall":
            await trio.sleep_forever()
        if fault.kind == "reset":
            self._stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        await self._stream.aclose()

    async def _whole_answer(self, call: ModelInput, plan: Iterator[Timed]) -> None:
        deltas: list[Delta] = []
        due = trio.current_time()
        for timed in plan:
            due += timed.delay_seconds
            if isinstance(timed.item, Fault):
                await trio.sleep_until(due)
                await self._whole_fault(timed.item)
                return
            deltas.append(timed.item)
        await trio.sleep_until(due)
        self._counts.deltas += len(deltas)
        output = attrs.evolve(fold(deltas), model=call.model)
        body = whole_answer(output, f"chatcmpl-{self._request_id}", int(time.time()))
        await self._send_json(200, body)

    async def _whole_fault(self, fault: Fault) -> None:
        if (answer := REFUSALS.get(fault.kind)) is not None:
            await self._send_refusal(answer)
        elif fault.kind == "badjson":
            await self._send_json(200, b'{"choices": [')
        else:
            await self._break_off(fault)

    # -- writing -----------------------------------------------------------------------------------

    async def _send_chunk(self, pending: list[bytes], *, last: bool = False) -> None:
        """Send what is pending as one chunk, with the head before it and the end after it."""
        pieces = []
        if self._h11.our_state is h11.SEND_RESPONSE:
            pieces.append(self._head(200, [("content-type", "text/event-stream; charset=utf-8")]))
        payload = b"".join(pending)
        pending.clear()
        if payload:
            # HTTP/1.0 knows no chunks: there the body is all until the connection ends.
            chunked = self._h11.their_http_version != b"1.0"
            pieces.append(b"%x\r\n%b\r\n" % (len(payload), payload) if chunked else payload)
        if last:
            pieces.append(self._h11.send(h11.EndOfMessage()) or b"")
        await self._stream.send_all(b"".join(pieces))

    async def _send_json(
        self, status: int, body: bytes, headers: Iterable[tuple[str, str]] = ()
    ) -> None:
        head = self._head(
            status,
            [
                ("content-type", "application/json"),
                ("content-length", str(len(body))),
                *headers,
            ],
        )
        data = self._h11.send(h11.Data(data=body)) or b""
        end = self._h11.send(h11.EndOfMessage()) or b""
        await self._stream.send_all(head + data + end)

    async def _send_refusal(self, answer: Refusal, *, closing: bool = False) -> None:
        headers = list(answer.headers.items())
        if closing:
            headers.append(("connection", "close"))
        await self._send_json(answer.status, answer.body, headers)

    def _head(self, status: int, headers: Iterable[tuple[str, str]]) -> bytes:
        response = h11.Response(
            status_code=status,
            headers=[
                ("server", "actrio-scripted"),
                ("x-request-id", self._request_id or "req_0"),
                *headers,
            ],
        )
        return self._h11.send(response) or b""

    async def _send_event(self, event: h11.InformationalResponse) -> None:
        await self._stream.send_all(self._h11.send(event) or b"")


def _not_http(error: h11.RemoteProtocolError) -> Refusal:
    if error.error_status_hint == 431:
        return refusal(431, f"The head is larger than {HEAD_BYTES_MAX} bytes.")
    return refusal(error.error_status_hint, f"That is no HTTP/1.1 request: {error}.")


def _content_length(request: h11.Request) -> int:
    return next((int(value) for name, value in request.headers if name == b"content-length"), 0)


def _check_size(size: int) -> None:
    if size > BODY_BYTES_MAX:
        raise _Refused(refusal(413, f"The body is larger than {BODY_BYTES_MAX} bytes."))
