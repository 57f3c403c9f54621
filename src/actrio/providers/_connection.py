"""A connection to one provider with one credential, as an actor.

One call is one deferred handling, made of attempts::

    wait for a place (`Gate`) → POST → status first (an error may come as an event stream, and an
    event stream as plain text) → read, decode, emit one tuple per read → tell admission how it went

The response is open only inside ``async with``, so a cancel, which travels from the asker to the
read it waits in, closes the HTTP/1.1 connection, and the provider learns that nobody listens.
Whether an attempt that failed is followed by another is decided in `_retry`.
"""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final, TypeVar

import attrs
import trio

from actrio.actors import Actor, Context, ExitReason
from actrio.errors import (
    ActrioError,
    ProviderError,
    ProviderProtocolError,
    ProviderUnreachable,
)
from actrio.messages import (
    AssistantMessage,
    Delta,
    EmbedInput,
    EmbedOutput,
    ModelInput,
    ModelOutput,
    Usage,
)
from actrio.providers._admission import Admission, Ticket
from actrio.providers._embedding import embed_in_batches
from actrio.providers._endpoint import Endpoint
from actrio.providers._fallback import OpenModel, fall_back
from actrio.providers._gate import Gate
from actrio.providers._http import Answer, HttpLibrary, Talk
from actrio.providers._lanes import Lanes
from actrio.providers._pace import ReadPace
from actrio.providers._phases import Phases
from actrio.providers._reading import ERROR_BODY_BYTES_MAX, Outlet, read_answer, read_body
from actrio.providers._redaction import redact_error
from actrio.providers._retry import Attempted, retry_delay, stated_delay
from actrio.providers._settings import ProviderSettings
from actrio.providers._statistics import ConnectionStatistics, Counts
from actrio.providers.dialects import AnswerReader, Dialect, WireRequest, request_id_of

__all__ = ["Adapt", "ProviderConnection"]

T = TypeVar("T")

Adapt = Callable[[ModelInput], tuple[ModelInput, Callable[[Iterable[Delta]], list[Delta]]]]
"""Rewrites a call, and gives a rewriting of its batches of deltas, for models that need help."""

ERROR_BODY_SECONDS: Final = 5.0
"""How long the body of an error may take; the status alone is a good answer already."""

EMBED_BYTES_MAX: Final = 256 * 1024 * 1024
"""Of one answer with vectors: 2048 texts of 4096 numbers of 20 characters are 168 MB."""

BYTES_PER_TOKEN: Final = 4
"""For guessing what a request costs before the provider has told: a little too much, for JSON."""


@attrs.define(slots=True)
class _Attempt:
    """What an attempt knows when it fails."""

    ticket: Ticket
    endpoint: Endpoint = Endpoint("")  # asked last, because it may take its time
    guessed: float = 0.0  # tokens spent before anybody knows
    sent: bool = False
    refused: bool = False  # by its status; what other answers say of retrying means nothing
    headers: Mapping[str, str] = attrs.field(factory=dict)


class ProviderConnection(Actor[Any]):
    """Answers model calls (`ModelInput`) and embedding calls (`EmbedInput`) over HTTP.

    A stream of a model call yields ``tuple[Delta, ...]``, one tuple per read of the body; its
    result is the `ModelOutput` they fold into. An embedding call is asked, and gives an
    `EmbedOutput` with the vectors in the order of the texts.

    *Backpressure*: while the asker has no credit nothing is read from the socket. Calls beyond
    what the provider takes wait, each caller's in its own line, the lines served in turns.
    *Cancellation*: closes the socket of the call; other calls go on.
    *Failure*: every failure of the provider is a result, raised at the asker; none is a crash.

    Args:
        dialect: The wire format and the provider's name.
        endpoint: Where to, asked before each attempt.
        http: The HTTP library.
        tls_context: Shared by all connections of a program.
        trust_env: Whether proxy settings of the environment count; never for loopback.
        settings: Bounds and further headers.
        adapt: Rewrites calls for a model that needs help, see `Adapt`.
        open_model: Opens the models that stand in for this provider's (``limits.fallback``).
        pace: How often its streams are read; shared by all connections of a runtime.
        chance: Numbers from 0 to 1 for jitter.
        clock: Seconds since the epoch, for answers that name a date.
    """

    def __init__(
        self,
        *,
        dialect: Dialect,
        endpoint: Callable[[], Awaitable[Endpoint]],
        http: HttpLibrary,
        tls_context: Any,
        trust_env: bool,
        settings: ProviderSettings,
        adapt: Adapt | None = None,
        open_model: OpenModel | None = None,
        pace: ReadPace | None = None,
        chance: Callable[[], float] = random.random,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._dialect = dialect
        self._endpoint = endpoint
        self._http = http
        self._settings = settings
        self._limits = settings.limits
        self._adapt = adapt
        self._open_model = open_model
        self._pace = pace or ReadPace()
        self._chance = chance
        self._clock = clock
        self._counts = Counts()
        self._admission = Admission(
            dialect.provider, settings.limits, running_max=settings.max_connections, chance=chance
        )
        self._gate: Gate
        self._lanes = Lanes(
            lambda: http.client(settings, tls_context, trust_env=trust_env),
            settings.max_connections,
        )

    async def on_start(self, ctx: Context) -> None:
        self._gate = Gate(self._admission, ctx.start_task)

    async def receive(self, message: ModelInput | EmbedInput, ctx: Context) -> Any:
        if isinstance(message, EmbedInput):
            return ctx.defer(self._embed, message)
        return ctx.defer(self._answer, message, ctx)

    async def on_stop(self, ctx: Context, reason: ExitReason) -> None:  # noqa: ARG002
        await self._lanes.aclose()

    def statistics(self) -> ConnectionStatistics:
        """Return how the calls stand, and what became of those before."""
        admission = self._admission.statistics(trio.current_time())
        return self._counts.told(
            admission,
            self._pace,
            lanes=self._lanes.count,
            calls_in_work=self._lanes.calls_in_work,
        )

    def facts(self) -> Mapping[str, Any]:
        now = self.statistics()
        return {
            "circuit": now.circuit,
            "limit": now.limit,
            "in_work": now.calls_in_work,
            "waiting": now.waiting,
            "pause_seconds": now.pause_seconds,
            "retries": now.retries,
            "rest_seconds": round(now.rest_seconds, 3),
        }

    # -- a model call ------------------------------------------------------------------------------

    async def _answer(self, call: ModelInput, ctx: Context) -> ModelOutput:
        outlet = Outlet(ctx)

        async def once(attempt: _Attempt) -> ModelOutput:
            return await self._model_call(call, attempt, outlet)

        try:
            return await self._in_time(
                call.model, lambda: self._until_answered(call.caller, once, outlet)
            )
        except ActrioError as error:
            models = self._limits.fallback if call.fallback else ()
            if outlet.shown or not error.retryable or not models or self._open_model is None:
                raise
            output = await fall_back(
                call, error, models, open_model=self._open_model, outlet=outlet
            )
            self._counts.fallbacks += 1
            return output

    async def _model_call(self, call: ModelInput, attempt: _Attempt, outlet: Outlet) -> ModelOutput:
        rewrite: Callable[[Iterable[Delta]], list[Delta]] = list
        request = call
        if self._adapt is not None:
            request, rewrite = self._adapt(call)
        wire = self._dialect.request(_for_vendor(request, self._dialect.provider))
        kind = "text/event-stream" if request.stream else "application/json"
        self._guess(attempt, wire, call.options.max_tokens or 0)
        attempt.endpoint = await self._endpoint()
        with Phases(self._dialect.provider, call.model, self._settings) as phases:

            async def read(answer: Answer, talk: Talk) -> AnswerReader:
                reader = self._dialect.reader(request, answer.headers.get("content-type", ""))
                talk.truncated = reader.truncated
                await read_answer(
                    answer.pieces,
                    reader,
                    phases=phases,
                    pace=self._pace,
                    accepted=lambda: self._gate.accepted(attempt.ticket),
                    rewrite=rewrite,
                    outlet=outlet,
                )
                return reader

            reader = await self._asked(attempt, wire, call.model, read, kind=kind, phases=phases)
        output = outlet.fold.output(
            model=reader.model,
            request_id=request_id_of(attempt.headers) or reader.response_id or None,
        )
        self._spent(attempt, output.usage)
        message = attrs.evolve(output.message, vendor=self._dialect.provider)
        return attrs.evolve(output, message=message)

    # -- an embedding call -------------------------------------------------------------------------

    async def _embed(self, call: EmbedInput) -> EmbedOutput:
        async def batch(part: EmbedInput) -> EmbedOutput:
            async def once(attempt: _Attempt) -> EmbedOutput:
                return await self._embed_call(part, attempt)

            return await self._until_answered(call.caller, once)

        batch_max = self._dialect.embed_batch_max
        return await self._in_time(call.model, lambda: embed_in_batches(call, batch_max, batch))

    async def _embed_call(self, call: EmbedInput, attempt: _Attempt) -> EmbedOutput:
        wire = self._dialect.embed_request(call)
        kind = "application/json"
        self._guess(attempt, wire)
        attempt.endpoint = await self._endpoint()
        with Phases(self._dialect.provider, call.model, self._settings) as phases:

            async def read(answer: Answer, _: Talk) -> EmbedOutput:
                body, whole = await read_body(
                    answer.pieces, seconds=self._settings.idle_seconds, bytes_max=EMBED_BYTES_MAX
                )
                if not whole:
                    raise self._protocol_error(call.model, "never ends, or is too large")
                return self._dialect.embed_output(call, body)

            output = await self._asked(attempt, wire, call.model, read, kind=kind, phases=phases)
        self._gate.accepted(attempt.ticket)
        self._spent(attempt, output.usage)
        return output

    # -- attempts ----------------------------------------------------------------------------------

    async def _in_time(self, model: str, work: Callable[[], Awaitable[T]]) -> T:
        """Do ``work`` within ``total_seconds``."""
        self._counts.calls += 1
        with trio.move_on_after(self._limits.total_seconds):
            return await work()
        raise ProviderUnreachable(
            f"{self._dialect.provider}, asked for {model!r}, gave no whole answer within "
            f"{self._limits.total_seconds:g} s.",
            provider=self._dialect.provider,
            category="timeout",
            remedy="Ask for less in one call, or raise total_seconds.",
        )

    async def _until_answered(
        self,
        caller: str,
        once: Callable[[_Attempt], Awaitable[T]],
        outlet: Outlet | None = None,
    ) -> T:
        """Attempt it until it is answered, or fails for good."""
        began = trio.current_time()
        number = 1
        while True:
            ticket = await self._gate.enter(caller, again=number > 1)
            attempt = _Attempt(ticket)
            try:
                return await once(attempt)
            except ActrioError as error:
                stated = self._note(error, attempt)
                told = attempt.headers.get("x-should-retry", "") if attempt.refused else ""
                attempted = Attempted(
                    number,
                    trio.current_time() - began,
                    shown=outlet is not None and outlet.shown,
                    may_retry={"true": True, "false": False}.get(told.strip().lower()),
                )
                delay = retry_delay(
                    error, attempted, self._limits, stated=stated, chance=self._chance()
                )
                if delay is None:
                    raise
                failure = error
            finally:
                self._gate.leave(ticket)
            with self._gate.parked() as kept:
                if not kept:
                    raise failure
                await trio.sleep(delay)
            number += 1
            self._counts.retries += 1
            if outlet is not None:
                await outlet.begin_again(number)

    def _note(self, error: ActrioError, attempt: _Attempt) -> float | None:
        """Tell admission of a failure; return how long the provider asked to wait."""
        if not attempt.ticket.accepted:
            self._gate.spend(-attempt.guessed)  # a refusal costs nothing
        if not attempt.sent:
            return None  # ours: the provider never saw it
        headers = attempt.headers if attempt.refused else {}
        stated = stated_delay(error, headers, self._clock())
        if isinstance(error, ProviderError):
            error.retry_after_seconds = stated
        self._counts.note(error)
        self._gate.failed(attempt.ticket, error, stated)
        return stated

    async def _asked(
        self,
        attempt: _Attempt,
        wire: WireRequest,
        model: str,
        read: Callable[[Answer, Talk], Awaitable[T]],
        *,
        kind: str,
        phases: Phases,
    ) -> T:
        """Send a request and read its answer, if it is one; no error leaves with a secret."""
        endpoint = attempt.endpoint
        talk = Talk(self._dialect.provider, model)
        try:
            url = endpoint.base_url.rstrip("/") + wire.path
            headers = self._request_headers(wire, kind, endpoint)
            attempt.sent = True
            self._counts.requests += 1
            with self._http.translated(talk):
                async with (
                    self._lanes.client() as client,
                    self._http.post(client, url, headers=headers, body=wire.body) as answer,
                ):
                    phases.answered()
                    attempt.headers = answer.headers
                    await self._check(answer, attempt, model)
                    return await read(answer, talk)
        except ActrioError as error:
            secrets = [endpoint.api_key or "", *self._settings.headers.values()]
            redact_error(error, secrets)
            raise

    async def _check(self, answer: Answer, attempt: _Attempt, model: str) -> None:
        if answer.status != 200:
            attempt.refused = True
            text, _ = await read_body(
                answer.pieces, seconds=ERROR_BODY_SECONDS, bytes_max=ERROR_BODY_BYTES_MAX
            )
            raise self._dialect.error_from(answer.status, answer.headers, text, model=model)
        encoding = answer.headers.get("content-encoding", "identity")
        if encoding != "identity":
            raise self._protocol_error(model, f"is compressed ({encoding}), which nobody asked for")

    def _protocol_error(self, model: str, what: str) -> ProviderProtocolError:
        return ProviderProtocolError(
            f"The answer of {self._dialect.provider} for model {model!r} {what}.",
            provider=self._dialect.provider,
            category="protocol",
            remedy="Check what stands at base_url, and any proxy before it.",
        )

    def _request_headers(self, wire: WireRequest, kind: str, endpoint: Endpoint) -> dict[str, str]:
        headers = {
            "content-type": "application/json",
            "accept": kind,
            # Small pieces that must not wait for each other are not worth compressing.
            "accept-encoding": "identity",
            "user-agent": "actrio",
            **wire.headers,
            **self._settings.headers,
        }
        if endpoint.api_key:
            headers.update(self._dialect.key_headers(endpoint.api_key))
        return headers

    def _guess(self, attempt: _Attempt, wire: WireRequest, answer_tokens: int = 0) -> None:
        """Spend what the attempt may cost, until the provider tells."""
        attempt.guessed = self._gate.guess(len(wire.body) / BYTES_PER_TOKEN + answer_tokens)

    def _spent(self, attempt: _Attempt, usage: Usage) -> None:
        self._counts.spend(usage)
        if usage.total_tokens:
            self._gate.spend(usage.total_tokens - attempt.guessed)


def _for_vendor(call: ModelInput, vendor: str) -> ModelInput:
    """Leave out what other vendors signed: an agent may have changed its model meanwhile."""
    if all(getattr(message, "vendor", "") in ("", vendor) for message in call.messages):
        return call
    messages = tuple(
        message.for_vendor(vendor) if isinstance(message, AssistantMessage) else message
        for message in call.messages
    )
    return attrs.evolve(call, messages=messages)
