"""A connection to one provider with one credential, as an actor.

One call is one deferred handling: POST, look at the status first (an error may come as an event
stream, and an event stream as plain text), then decode what each read brings and emit it as one
tuple. The response is open only inside ``async with``, so a cancel, which travels from the asker
to the read it waits in, closes the HTTP/1.1 connection, and the provider learns that nobody
listens.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from typing import Any, Final

import trio

from actrio.actors import Actor, Context, ExitReason
from actrio.errors import ActrioError, LimitExceeded
from actrio.messages import Delta, Fold, ModelInput, ModelOutput
from actrio.providers._endpoint import Endpoint
from actrio.providers._http import Answer, HttpLibrary, Lanes, LanesStatistics, Talk
from actrio.providers._redaction import redact_error
from actrio.providers._settings import ProviderSettings
from actrio.providers.dialects import OpenAiChat, OpenAiChatDecoder, request_id_of
from actrio.sansio import SseReader

__all__ = ["Adapt", "ProviderConnection"]

Adapt = Callable[[ModelInput], tuple[ModelInput, Callable[[Iterable[Delta]], list[Delta]]]]
"""Rewrites a call, and gives a rewriting of its batches of deltas, for models that need help."""

ERROR_BODY_BYTES_MAX: Final = 64 * 1024
"""Read of an answer with an error status: the longest recorded one has 2 KiB, the rest is HTML."""

ERROR_BODY_SECONDS: Final = 5.0
"""How long such a body may take; the status alone is a good answer already."""

ANSWER_BYTES_MAX: Final = 32 * 1024 * 1024
"""Of an answer that is not streamed; as much as a request may have."""

DRAIN_SECONDS: Final = 0.25
"""After ``[DONE]``, how long to wait for the end of the body so that the connection can be used
again. Well-behaved servers send both together; a new connection costs less than waiting longer."""


class ProviderConnection(Actor[ModelInput]):
    """Answers model calls over HTTP.

    A stream of a call yields ``tuple[Delta, ...]``, one tuple per read of the body; its result
    is the `ModelOutput` they fold into.

    *Backpressure*: while the asker has no credit nothing is read from the socket.
    *Cancellation*: closes the socket of the call; other calls go on.
    *Failure*: every failure of the provider is a result, raised at the asker; none is a crash.

    Args:
        dialect: The wire format and the provider's name.
        endpoint: Where to, asked before each call.
        http: The HTTP library.
        tls_context: Shared by all connections of a program.
        trust_env: Whether proxy settings of the environment count; never for loopback.
        settings: Bounds and further headers.
        adapt: Rewrites calls for a model that needs help, see `Adapt`.
    """

    def __init__(
        self,
        *,
        dialect: OpenAiChat,
        endpoint: Callable[[], Awaitable[Endpoint]],
        http: HttpLibrary,
        tls_context: Any,
        trust_env: bool,
        settings: ProviderSettings,
        adapt: Adapt | None = None,
    ) -> None:
        self._dialect = dialect
        self._endpoint = endpoint
        self._http = http
        self._settings = settings
        self._adapt = adapt
        self._lanes = Lanes(
            lambda: http.client(settings, tls_context, trust_env=trust_env),
            settings.max_connections,
        )

    async def receive(self, message: ModelInput, ctx: Context) -> Any:
        return ctx.defer(self._serve, message, ctx)

    async def on_stop(self, ctx: Context, reason: ExitReason) -> None:  # noqa: ARG002
        await self._lanes.aclose()

    def statistics(self) -> LanesStatistics:
        """Return how many calls are in work and wait."""
        return self._lanes.statistics()

    async def _serve(self, call: ModelInput, ctx: Context) -> ModelOutput:
        endpoint = await self._endpoint()
        try:
            return await self._talk(call, ctx, endpoint)
        except ActrioError as error:
            redact_error(error, [endpoint.api_key or "", *self._settings.headers.values()])
            raise

    async def _talk(self, call: ModelInput, ctx: Context, endpoint: Endpoint) -> ModelOutput:
        rewrite: Callable[[Iterable[Delta]], list[Delta]] = list
        request = call
        if self._adapt is not None:
            request, rewrite = self._adapt(call)
        body = self._dialect.encode(request)
        reading = _Reading(self._dialect.decoder(call.model), rewrite, ctx)
        talk = Talk(self._dialect.provider, call.model, reading.decoder.truncated)
        url = endpoint.base_url.rstrip("/") + self._dialect.path
        headers = self._request_headers(request, endpoint)
        with self._http.translated(talk):
            async with (
                self._lanes.client() as client,
                self._http.post(client, url, headers=headers, body=body) as answer,
            ):
                if answer.status != 200:
                    text = await _read_error_body(answer.pieces)
                    raise self._dialect.error_from(
                        answer.status, answer.headers, text, model=call.model
                    )
                talk.in_stream = True
                await reading.read(answer)
        return reading.output(answer.headers)

    def _request_headers(self, request: ModelInput, endpoint: Endpoint) -> dict[str, str]:
        headers = {
            "content-type": "application/json",
            "accept": "text/event-stream" if request.stream else "application/json",
            # Small pieces that must not wait for each other are not worth compressing.
            "accept-encoding": "identity",
            "user-agent": "actrio",
            **self._settings.headers,
        }
        if endpoint.api_key:
            headers["authorization"] = f"Bearer {endpoint.api_key}"
        return headers


class _Reading:
    """Reads one answer and passes it on to the asker."""

    def __init__(
        self,
        decoder: OpenAiChatDecoder,
        rewrite: Callable[[Iterable[Delta]], list[Delta]],
        ctx: Context,
    ) -> None:
        self.decoder = decoder
        self._rewrite = rewrite
        self._ctx = ctx
        self._fold = Fold()

    async def read(self, answer: Answer) -> None:
        """Read the body of an answer with status 200, streamed or whole."""
        encoding = answer.headers.get("content-encoding", "identity")
        if encoding != "identity":
            raise self.decoder.protocol_error(f"is compressed ({encoding}), which nobody asked for")
        told = answer.headers.get("content-type", "text/event-stream")
        kind = told.partition(";")[0].strip().lower()
        if kind == "text/event-stream":
            await self._read_stream(answer.pieces)
        elif kind == "application/json":
            body = await self._read_whole(answer.pieces)
            await self._deliver(self.decoder.decode_whole(body))
        else:
            raise self.decoder.protocol_error(f"is {kind or 'of no type'}")

    def output(self, headers: Mapping[str, str]) -> ModelOutput:
        """Return what the answer amounts to."""
        return self._fold.output(
            model=self.decoder.model,
            request_id=request_id_of(headers) or self.decoder.response_id or None,
        )

    async def _read_stream(self, pieces: AsyncIterator[bytes]) -> None:
        reader = SseReader()
        async for data in pieces:
            await self._decode(reader, data)
            if self.decoder.done:
                break
        self.decoder.close(leftover=reader.close())
        with trio.move_on_after(DRAIN_SECONDS):
            async for _ in pieces:
                pass

    async def _decode(self, reader: SseReader, data: bytes) -> None:
        """Deliver what ``data`` completes; also what came before a failure in the same read."""
        deltas: list[Delta] = []
        try:
            for event in reader.feed(data):
                deltas.extend(self.decoder.feed(event))
        except LimitExceeded as error:
            raise self.decoder.protocol_error(f"is too much: {error.message}") from error
        except ActrioError:
            await self._deliver(deltas)
            raise
        await self._deliver(deltas)

    async def _deliver(self, deltas: list[Delta]) -> None:
        rewritten = self._rewrite(deltas)
        if not rewritten:
            return
        for delta in rewritten:
            self._fold.add(delta)
        if self._ctx.is_stream:
            await self._ctx.emit(tuple(rewritten))

    async def _read_whole(self, pieces: AsyncIterator[bytes]) -> bytes:
        body = bytearray()
        async for data in pieces:
            body += data
            if len(body) > ANSWER_BYTES_MAX:
                raise self.decoder.protocol_error(f"is larger than {ANSWER_BYTES_MAX} bytes")
        return bytes(body)


async def _read_error_body(pieces: AsyncIterator[bytes]) -> bytes:
    body = bytearray()
    with trio.move_on_after(ERROR_BODY_SECONDS):
        async for data in pieces:
            body += data
            if len(body) >= ERROR_BODY_BYTES_MAX:
                break
    return bytes(body[:ERROR_BODY_BYTES_MAX])
