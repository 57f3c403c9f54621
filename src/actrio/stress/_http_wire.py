"""Requests to actrio's own HTTP interface, and its event streams: only what is looked at is decoded."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Final, Self

import attrs
import msgspec

from actrio.errors import StreamTruncated
from actrio.providers import Answer, HttpLibrary
from actrio.sansio import SseReader
from actrio.stress._stdio_wire import (
    TERMINALS,
    WireEvent,
    WireFault,
    WireResult,
    ending_of,
    ending_of_fault,
)
from actrio.stress._turns import Ending, Listener

__all__ = ["Asking", "EventReading", "Refused", "Talk"]

_EVENTS: Final = msgspec.json.Decoder(WireEvent)

_HEARD: Final = TERMINALS | {"turn.started", "item.delta", "item.completed"}

REFUSAL_BYTES_MAX: Final = 65_536
"""Of the body of a refusal: a problem is a few hundred bytes."""


class _Problem(msgspec.Struct, frozen=True):
    """What is read of ``application/problem+json``."""

    kind: str = "internal"
    message: str = ""
    details: dict[str, Any] = {}
    retryAfterMs: float | None = None  # noqa: N815 - the contract's word


@attrs.frozen(slots=True)
class Talk:
    """Where a call stands, for the words of its failure: what `HttpLibrary.translated` asks for."""

    provider: str
    model: str = ""
    in_stream: bool = False

    def truncated(self, how: str) -> StreamTruncated:
        return StreamTruncated(
            f"The answer of {self.provider} {how}.",
            provider=self.provider,
            category="network",
            in_stream=True,
        )


class Refused(Exception):
    """The service answered with an error; never leaves the HTTP target."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(f"HTTP {status}")
        self.status = status
        self.fault = _fault(status, body)

    @property
    def ending(self) -> Ending:
        """Return how a turn ended that was refused so."""
        told = ending_of_fault(self.fault)
        return attrs.evolve(told, label=f"HTTP {self.status} {told.label}")


def _fault(status: int, body: bytes) -> WireFault:
    try:
        told = msgspec.json.decode(body, type=_Problem)
    except msgspec.MsgspecError:
        return WireFault("internal", body[:300].decode("utf-8", "replace"))
    kind = "overloaded" if status == 429 else told.kind
    category = str(told.details.get("category", ""))
    return WireFault(kind, told.message, category, retry_after_ms=told.retryAfterMs)


class Asking:
    """One client of the service.

    Args:
        http: The library.
        client: Its client, which this one owns.
        url: Where the service is.
        headers: Of every request.
        name: The target's, for errors.
    """

    def __init__(
        self, http: HttpLibrary, client: Any, url: str, headers: Mapping[str, str], name: str
    ) -> None:
        self._http = http
        self._client = client
        self._url = url
        self._headers = headers
        self._stream_headers = {**headers, "accept": "text/event-stream"}
        self._talk: Any = Talk(name)

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._client.__aexit__(kind, error, trace)

    async def request(self, method: str, path: str, body: Any = None) -> Any:
        """Return the answer's JSON value; None of an empty one.

        Raises:
            Refused: It is an error.
            ProviderUnreachable: There is none.
        """
        with self._http.translated(self._talk):
            answer = await self._client.request(
                method,
                f"{self._url}{path}",
                headers=self._headers,
                content=b"" if body is None else msgspec.json.encode(body),
            )
        if answer.status_code >= 300:
            raise Refused(answer.status_code, answer.content)
        return msgspec.json.decode(answer.content) if answer.content else None

    @asynccontextmanager
    async def events(self, path: str, body: bytes) -> AsyncIterator[AsyncIterator[bytes]]:
        """Post ``body`` and give the pieces of the event stream that answers.

        Raises:
            Refused: It is an error, or no event stream.
            ProviderUnreachable: There is none, or it broke off.
        """
        with self._http.translated(self._talk):
            async with self._http.post(
                self._client, f"{self._url}{path}", headers=self._stream_headers, body=body
            ) as answer:
                if answer.status not in {200, 207} or not _is_stream(answer):
                    raise Refused(answer.status, await _start_of(answer))
                yield answer.pieces


def _is_stream(answer: Answer) -> bool:
    return answer.headers.get("content-type", "").startswith("text/event-stream")


async def _start_of(answer: Answer) -> bytes:
    content = b""
    async for piece in answer.pieces:
        content += piece
        if len(content) > REFUSAL_BYTES_MAX:
            break
    return content


class EventReading:
    """What has been read of one turn's events."""

    def __init__(self, heard: Listener) -> None:
        self._heard = heard
        self._sse = SseReader()
        self._result: WireResult | None = None
        self._terminals = 0
        self._stopping = False
        self.turn = ""

    @property
    def ended(self) -> bool:
        """Whether the terminal event is there."""
        return self._terminals > 0

    def feed(self, piece: bytes) -> None:
        """Take the next bytes."""
        for event in self._sse.feed(piece):
            if event.event == "stopping":
                self._stopping = True
            if event.event not in _HEARD:
                continue
            told = _EVENTS.decode(event.data)
            self.turn = self.turn or told.turn
            if event.event == "item.delta":
                if told.kind == "message":
                    self._heard.text(told.text)
            elif event.event == "item.completed":
                self._heard.completed(told)
            elif event.event in TERMINALS:
                self._terminals += 1
                self._result = told.result

    def ending(self) -> Ending:
        """Return how the turn ended, now that nothing more comes."""
        if self._terminals != 1:
            detail = "the service stopped" if self._stopping else self.turn
            return Ending("lost", f"{self._terminals} terminal events", detail)
        return ending_of(self._result or WireResult())
