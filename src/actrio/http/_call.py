"""One request in work: its head, its body within bounds, and its one answer."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import parse_qs

import attrs
import msgspec
import trio

from actrio.errors import InvalidRequest
from actrio.http._gate import Caller
from actrio.http._problems import Refusal
from actrio.wire import json_line

if TYPE_CHECKING:
    from actrio.http._connection import ClientStream
    from actrio.http._desk import Desk
    from actrio.http._operations import Operation

__all__ = ["Answer", "Call", "Gone", "Receive", "Refused", "Send", "json_answer"]

T = TypeVar("T")

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_DISCARD_SECONDS: Final = 1.0
"""For what a refused client still sends; closing at once would take the refusal from it."""


class Gone(Exception):
    """The client left before its request was complete."""


class Refused(Exception):
    """Raised to answer with exactly this refusal."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


@attrs.frozen(slots=True)
class Answer:
    """A whole answer."""

    status: int
    body: bytes = b""
    content_type: bytes = b"application/json"
    headers: tuple[tuple[bytes, bytes], ...] = ()


def json_answer(
    value: Any, status: int = 200, headers: tuple[tuple[bytes, bytes], ...] = ()
) -> Answer:
    """Return ``value`` as an answer."""
    return Answer(status, json_line(value), headers=headers)


class Call:
    """One request. ``path`` holds the parameters of its path."""

    __slots__ = (
        "_query",
        "_receive",
        "_send",
        "_together",
        "body_bytes",
        "body_complete",
        "caller",
        "desk",
        "headers",
        "method",
        "operation",
        "path",
        "request_id",
        "scope",
        "started",
        "template",
    )

    def __init__(
        self, desk: Desk, scope: MutableMapping[str, Any], receive: Receive, send: Send, id: str
    ) -> None:
        self.desk = desk
        self.scope = scope
        self.method: str = scope["method"]
        self.headers: dict[str, str] = {}
        for name, value in scope["headers"]:
            self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")
        self.request_id = id
        self.caller = Caller("")
        self.path: dict[str, str] = {}
        self.template = ""
        self.operation: Operation | None = None  # once its path and method are known
        self.started = False
        self.body_complete = False
        self.body_bytes = 0
        self._receive = receive
        self._send = send
        self._query: dict[str, list[str]] | None = None
        # Our server's connection: head and body, last piece and end travel in one packet.
        self._together: ClientStream | None = scope.get("extensions", {}).get(
            "actrio.write_together"
        )

    # -- what came ---------------------------------------------------------------------------------

    def query(self, name: str) -> str | None:
        """Return the last value of a query parameter."""
        if self._query is None:
            text = self.scope["query_string"].decode("latin-1")
            try:
                # 64 parameters are more than any route takes; parsing them is not free.
                self._query = parse_qs(text, keep_blank_values=True, max_num_fields=64)
            except ValueError as error:
                raise InvalidRequest(
                    "The query has too many parameters.", remedy="Send fewer."
                ) from error
        found = self._query.get(name)
        return found[-1] if found else None

    def count(self, name: str, default: int, *, most: int) -> int:
        """Return a query parameter that is a positive number, at most ``most``."""
        text = self.query(name)
        if text is None:
            return default
        if not text.isascii() or not text.isdigit() or len(text) > 9 or int(text) < 1:
            raise InvalidRequest(f"{name} is no number.", remedy=f"Send {name}=1 to {most}.")
        return min(int(text), most)

    def truth(self, name: str) -> bool | None:
        """Return a query parameter that is ``true`` or ``false``."""
        text = self.query(name)
        if text not in {None, "true", "false"}:
            raise InvalidRequest(
                f"{name} is neither true nor false.", remedy=f"Send {name}=true or {name}=false."
            )
        return None if text is None else text == "true"

    @property
    def wants_events(self) -> bool:
        """Whether ``Accept`` asks for an event stream."""
        return "text/event-stream" in self.headers.get("accept", "")

    async def body(self) -> bytes:
        """Return the whole body.

        Raises:
            Refused: It is larger than the bound (413), or does not come (408).
            Gone: The client left.
        """
        limits = self.desk.settings.limits
        declared = self.headers.get("content-length", "")
        if declared.isdigit() and int(declared) > limits.body_bytes:
            raise _too_large(limits.body_bytes)
        pieces: list[bytes] = []
        size = 0
        with trio.move_on_after(limits.body_seconds):
            while True:
                with trio.move_on_after(limits.body_idle_seconds):
                    message = await self._receive()
                    if message["type"] == "http.disconnect":
                        raise Gone
                    pieces.append(message.get("body", b""))
                    size += len(pieces[-1])
                    if size > limits.body_bytes:
                        raise _too_large(limits.body_bytes)
                    if not message.get("more_body", False):
                        self.body_complete = True
                        self.body_bytes = size
                        return b"".join(pieces)
                    continue
                break
        raise Refused(
            Refusal(
                status=408,
                kind="deadline_exceeded",
                message="The body did not come in time.",
                remedy="Send it in one go.",
                retryable=True,
            )
        )

    async def read(self, decoder: msgspec.json.Decoder[T], *, empty: bytes = b"{}") -> T:
        """Return the JSON body as what ``decoder`` reads.

        Raises:
            InvalidRequest: It is not of that shape; says where.
            Refused: It is no JSON.
        """
        data = await self.body() or empty
        _check_depth(data, self.desk.settings.limits.json_depth)
        try:
            return decoder.decode(data)
        except msgspec.ValidationError as error:
            text, _, place = str(error).partition(" - at `$")
            pointer = re.sub(r"[.\[]", "/", place.rstrip("`")).replace("]", "")
            raise InvalidRequest(
                f"The body is wrong at {pointer or '/'}: {text}.",
                remedy="GET /openapi.json describes what it may be.",
                data={"pointer": pointer, "param": pointer.lstrip("/") or None},
            ) from error
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            raise Refused(_no_json(str(error))) from error

    # -- what goes ---------------------------------------------------------------------------------

    async def start(
        self, status: int, headers: tuple[tuple[bytes, bytes], ...] | list[tuple[bytes, bytes]]
    ) -> None:
        """Send an answer's head."""
        self.started = True
        if self._together is not None:
            self._together.hold()
        told = [*headers, (b"x-request-id", self.request_id.encode())]
        if self.desk.settings.rate_limit_headers:
            told += self.desk.rate_limit_headers(self.caller.name)
        if origin := self.caller.origin:
            told += [(b"access-control-allow-origin", origin.encode()), (b"vary", b"origin")]
        self.desk.answered[self.template, self.method[:8], status] += 1
        await self._send({"type": "http.response.start", "status": status, "headers": told})

    def settle(self) -> None:
        """Say that this call will last: what only its beginning needed is let go of."""
        self.headers = {}
        if self._together is not None:
            self._together.settle()
            self.scope["headers"] = []

    async def write(self, data: bytes, *, more: bool = True) -> None:
        """Send a piece of an answer's body."""
        together = self._together
        if together is not None and not more:
            together.hold()
        await self._send({"type": "http.response.body", "body": data, "more_body": more})
        if together is not None:
            await together.release()

    async def answer(self, answer: Answer) -> None:
        """Send a whole answer."""
        if self.body_complete or not _may_have_body(self):
            await self._answer(answer)
            return
        # The client may still be sending: what it sends is thrown away, or neither would go on.
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._discard)
            await self._answer(answer)
            nursery.cancel_scope.deadline = trio.current_time() + _DISCARD_SECONDS

    async def _answer(self, answer: Answer) -> None:
        headers = [
            (b"content-type", answer.content_type),
            (b"content-length", b"%d" % len(answer.body)),
            (b"cache-control", b"no-store"),
            *answer.headers,
        ]
        if answer.status in {204, 304}:
            headers = list(answer.headers)
        await self.start(answer.status, headers)
        await self.write(answer.body, more=False)

    async def _discard(self) -> None:
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect" or not message.get("more_body", False):
                return

    # -- whether the client is still there -----------------------------------------------------------

    async def until_gone(self) -> None:
        """Return when the client has left. Only one task may ask, and after the body was read."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    @asynccontextmanager
    async def while_here(self) -> AsyncIterator[None]:
        """Run a block that is cancelled when the client leaves.

        Raises:
            Gone: It left.
        """
        gone = False

        async def listen() -> None:
            nonlocal gone
            await self.until_gone()
            gone = True
            nursery.cancel_scope.cancel(reason="the client left")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen)
            yield
            nursery.cancel_scope.cancel()
        if gone:
            raise Gone


def _may_have_body(call: Call) -> bool:
    return "content-length" in call.headers or "transfer-encoding" in call.headers


def _too_large(limit: int) -> Refused:
    return Refused(
        Refusal(
            status=413,
            kind="limit_exceeded",
            message=f"The body has more than {limit} bytes.",
            remedy="Send less, or store large things as blobs.",
            details={"limit": limit},
            headers=((b"connection", b"close"),),
        )
    )


def _no_json(text: str) -> Refusal:
    return Refusal(
        status=400,
        kind="parse",
        message=f"The body is not JSON: {text[:200]}.",
        remedy="Send a JSON object in UTF-8.",
    )


_STRUCTURE: Final = re.compile(rb'"(?:[^"\\]|\\.)*+"|[\[{]|[\]}]')


def _check_depth(data: bytes, depth_max: int) -> None:
    """Refuse a body that is nested too deeply, before anything recursive sees it."""
    if data.count(b"[") + data.count(b"{") <= depth_max:
        return
    depth = 0
    for found in _STRUCTURE.finditer(data):
        first = found.group()[0]
        if first in b"[{":
            depth += 1
            if depth > depth_max:
                raise Refused(_no_json(f"it is nested deeper than {depth_max}"))
        elif first in b"]}":
            depth -= 1
