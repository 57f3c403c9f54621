"""Anything that streams OpenAI chat completions over HTTP, under load from outside.

The client is as small as it can be and shares nothing with the runtime's own but the HTTP library
and the cutting of server-sent events: what is measured is the server.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final

import msgspec
import trio

from actrio.errors import ActrioError, InvalidRequest
from actrio.providers import Answer, HttpLibrary, ProviderSettings, load_http
from actrio.sansio import SseReader
from actrio.stress._http_wire import Talk
from actrio.stress._provider import SCRIPTED, ScriptedProcess, faulty, scripted_process
from actrio.stress._targets import Look, StoreKind, Target, TargetSetup
from actrio.stress._turns import Asked, Ending, Listener, ending_of_error

__all__ = ["open_openai"]

ERROR_BYTES_MAX: Final = 8192
"""Of the body of a refusal: only its message is shown."""

_TOO_MANY: Final = frozenset({429, 503})


class _Delta(msgspec.Struct, frozen=True):
    content: str | None = None


class _Choice(msgspec.Struct, frozen=True):
    delta: _Delta = _Delta()
    finish_reason: str | None = None


class _Usage(msgspec.Struct, frozen=True):
    completion_tokens: int = 0


class _Error(msgspec.Struct, frozen=True):
    message: str = ""


class _Chunk(msgspec.Struct, frozen=True):
    choices: tuple[_Choice, ...] = ()
    usage: _Usage | None = None
    error: _Error | None = None


_CHUNKS: Final = msgspec.json.Decoder(_Chunk)


@asynccontextmanager
async def open_openai(url: str, setup: TargetSetup) -> AsyncIterator[Target]:
    """Get ready to put load on ``url`` (up to and with ``/v1``).

    Without a URL a scripted provider is started and measured: the floor that others stand on.

    Raises:
        InvalidRequest: It is no URL.
    """
    async with AsyncExitStack() as stack:
        provider: ScriptedProcess | None = None
        if not url:
            provider = await stack.enter_async_context(scripted_process())
            url = provider.base_url
        if not url.startswith(("http://", "https://")):
            raise InvalidRequest(
                f"openai:{url} names no URL.", remedy="Write openai:http://127.0.0.1:8000/v1."
            )
        yield _OpenAi(url.rstrip("/"), setup, provider)


class _OpenAi:
    """See `Target`."""

    shares_process = False
    residents = 0
    gone = False

    def __init__(self, url: str, setup: TargetSetup, provider: ScriptedProcess | None) -> None:
        self.url = f"{url}/chat/completions"
        self.setup = setup
        self.name = f"openai:{url}"
        self.store: StoreKind | None = None
        self.pid: int | None = provider.pid if provider else None
        self.provider_pid = provider.pid if provider else None
        self._provider = provider
        self.http: HttpLibrary = load_http()
        self._tls = self.http.tls_context()  # slow to make, so one for all
        key = setup.env.get(setup.key_variable)
        self.headers = {
            "content-type": "application/json",
            "accept": "text/event-stream",
            "accept-encoding": "identity",
            "user-agent": "actrio-stress",
            **({"authorization": f"Bearer {key}"} if key else {}),
        }
        # The read of an answer has no bound in the library, see `HttpLibrary`; ours is the stall.
        self._settings = ProviderSettings(
            idle_seconds=setup.stall_seconds, max_connections=1, keepalive_seconds=300.0
        )

    def client(self) -> Any:
        return self.http.client(self._settings, self._tls, trust_env=False)

    @asynccontextmanager
    async def seat(self) -> AsyncIterator[_Seat]:
        # A client each: one pool for a thousand connections is looked through at every request.
        async with self.client() as client:
            yield _Seat(self, client)

    async def look(self) -> Look:
        await trio.lowlevel.checkpoint()
        return Look()

    async def kill(self, chance: float) -> bool:  # noqa: ARG002 - see `check_chaos`
        await trio.lowlevel.checkpoint()
        return False

    async def ended(self) -> Mapping[str, int]:
        return await self._provider.settled(closed=True) if self._provider else {}

    async def stored(self) -> Mapping[str, int]:
        await trio.lowlevel.checkpoint()
        return {}


class _Seat:
    """See `Seat`: a conversation that is kept here, as the protocol has it."""

    def __init__(self, target: _OpenAi, client: Any) -> None:
        self._target = target
        self._client = client
        self._history: list[dict[str, str]] = []
        self._turns = 0

    async def turn(self, asked: Asked, heard: Listener) -> Ending:
        target = self._target
        if self._turns >= target.setup.session_turns:
            self._history, self._turns = [], 0
        self._turns += 1
        model = faulty(target.setup.model, asked.fate.fault).removeprefix(SCRIPTED)
        messages = [*self._history, {"role": "user", "content": asked.prompt}]
        body = {
            "model": model,
            "messages": messages,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        reading = _Reading(heard)
        heard.begins()
        try:
            # What the library raises becomes ours, by the runtime's own table.
            talk: Any = Talk(target.name, model)
            with target.http.translated(talk):
                ending = await self._ask(msgspec.json.encode(body), reading, heard)
        except ActrioError as error:
            return ending_of_error(error)
        if ending.kind == "completed":
            answer = {"role": "assistant", "content": "".join(reading.text)}
            self._history = [*messages, answer]
        return ending

    async def _ask(self, body: bytes, reading: _Reading, heard: Listener) -> Ending:
        target = self._target
        async with target.http.post(
            self._client, target.url, headers=target.headers, body=body
        ) as answer:
            if answer.status != 200:
                return await _refusal(answer)
            while True:
                piece = None
                with trio.move_on_after(target.setup.stall_seconds):
                    piece = await anext(answer.pieces, b"")
                if piece is None:
                    return Ending("failed", "stalled", "nothing came for too long")
                if not piece:
                    break
                reading.feed(piece)
                if heard.slow:
                    await heard.pace()
                if heard.leaves and not reading.done:
                    return Ending("cancelled", "left")
        return reading.ending()


class _Reading:
    """What has been read of one answer."""

    def __init__(self, heard: Listener) -> None:
        self._heard = heard
        self._sse = SseReader()
        self.text: list[str] = []
        self.done = False
        self._finished = False
        self._tokens = 0
        self._error: str | None = None

    def feed(self, piece: bytes) -> None:
        """Take the next bytes."""
        for event in self._sse.feed(piece):
            if event.data == "[DONE]":
                self.done = True
                continue
            chunk = _CHUNKS.decode(event.data)
            if chunk.error is not None:
                self._error = chunk.error.message
            if chunk.usage is not None:
                self._tokens = chunk.usage.completion_tokens
            for choice in chunk.choices[:1]:
                if choice.delta.content:
                    self._heard.text(choice.delta.content)
                    self.text.append(choice.delta.content)
                self._finished = self._finished or choice.finish_reason is not None

    def ending(self) -> Ending:
        """Return how it ended, now that nothing more comes."""
        if self._error is not None:
            return Ending("failed", "error in the stream", self._error)
        if not self._finished:
            return Ending("failed", "cut off", "the stream ended without a finish_reason")
        # A server that tells no usage sends about a token a piece.
        return Ending("completed", tokens=self._tokens or self._heard.pieces)


async def _refusal(answer: Answer) -> Ending:
    content = b""
    async for piece in answer.pieces:
        content += piece
        if len(content) > ERROR_BYTES_MAX:
            break
    detail = content[:300].decode("utf-8", "replace")
    if answer.status in _TOO_MANY:
        after = _retry_after(answer.headers)
        return Ending("rejected", f"HTTP {answer.status}", detail, retry_after_seconds=after)
    return Ending("failed", f"HTTP {answer.status}", detail)


def _retry_after(headers: Mapping[str, str]) -> float | None:
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            return float(headers[name]) * unit
        except (KeyError, ValueError):
            continue  # absent, or a date: then the next best
    return None
