"""Runs exchanges through the real connection, against a server that says what was recorded.

One connection for each exchange: what one answer teaches a connection (a pause, an open circuit)
would otherwise fall on the next. Nothing is retried, because an answer here never changes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import urlsplit

import attrs
import trio

from actrio.actors import ChildSpec, open_actor_system
from actrio.errors import ActrioError, CallerError, ContextWindowExceeded, ProviderError
from actrio.messages import Delta, EmbedInput, ModelInput, user_message
from actrio.providers._connection import ProviderConnection
from actrio.providers._endpoint import Endpoint
from actrio.providers._http import HttpLibrary, load_http
from actrio.providers._limits import ConnectionLimits
from actrio.providers._settings import ProviderSettings
from actrio.providers.contract._apis import Asked, asked_of, dialect_of
from actrio.providers.contract._compare import Difference, differences
from actrio.providers.contract._exchange import Exchange
from actrio.providers.contract._request_diff import differing_fields
from actrio.providers.contract._result import (
    Result,
    from_error,
    from_models,
    from_output,
    from_vectors,
)
from actrio.providers.contract._server import RecordingServer
from actrio.providers.dialects import Dialect

__all__ = ["Outcome", "replay"]

AT_ONCE: Final = 4
"""Exchanges in work at once: the work is decoding, and one thread does it."""

_SETTINGS: Final = ProviderSettings(idle_seconds=30.0, limits=ConnectionLimits(retries_max=0))
_KEY: Final = "recorded-traffic-needs-no-key"


@attrs.frozen(slots=True)
class Outcome:
    """One exchange, replayed.

    Attributes:
        differences: Where the result is not as expected; empty for a match.
        request_fields: Where our request differs from the recorded one; None where there is
            nothing to compare.
    """

    exchange: Exchange
    result: Result
    differences: tuple[Difference, ...]
    request_fields: tuple[str, ...] | None = None


async def replay(exchanges: Sequence[Exchange], *, seed: int = 0) -> list[Outcome]:
    """Return what becomes of each exchange, in their order.

    Args:
        exchanges: With ids of their own.
        seed: Of the random cuts.
    """
    by_id = {exchange.id: exchange for exchange in exchanges}
    server = RecordingServer(by_id, seed)
    http = load_http()
    outcomes: dict[str, Outcome] = {}
    waiting = list(reversed(exchanges))
    lane = _Lane(server, http, http.tls_context())

    async def work() -> None:
        while waiting:
            exchange = waiting.pop()
            outcomes[exchange.id] = await lane.replay_one(exchange)

    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve)
        async with trio.open_nursery() as workers:
            for _ in range(AT_ONCE):
                workers.start_soon(work)
        nursery.cancel_scope.cancel()
    return [outcomes[exchange.id] for exchange in exchanges]


@attrs.frozen(slots=True)
class _Lane:
    """The way that every exchange goes."""

    server: RecordingServer
    http: HttpLibrary
    tls_context: Any

    async def replay_one(self, exchange: Exchange) -> Outcome:
        deltas: list[Delta] = []
        fields: tuple[str, ...] | None = None
        try:
            dialect = dialect_of(exchange)
            if exchange.kind == "models":
                result = from_models(exchange.id, _model_names(dialect, exchange.body))
            else:
                result, asked = await self._ask(exchange, dialect, deltas)
                fields = self._request_fields(exchange, asked)
        except (ProviderError, ContextWindowExceeded) as error:
            result = from_error(exchange.id, error, deltas, status=exchange.status)
        except ActrioError as error:
            result = Result(exchange.id, "error", error=_not_asked(error))
        return Outcome(exchange, result, tuple(differences(exchange, result)), fields)

    async def _ask(
        self, exchange: Exchange, dialect: Dialect, deltas: list[Delta]
    ) -> tuple[Result, Asked]:
        asked = _sendable(asked_of(exchange), dialect)
        endpoint = Endpoint(f"{self.server.base_url}/{exchange.id}", _KEY)

        async def where() -> Endpoint:
            return endpoint

        def make() -> ProviderConnection:
            return ProviderConnection(
                dialect=dialect,
                endpoint=where,
                http=self.http,
                tls_context=self.tls_context,
                trust_env=False,
                settings=_SETTINGS,
            )

        async with open_actor_system() as system:
            ref = await system.spawn(ChildSpec(exchange.provider, make, concurrency=2))
            if isinstance(asked.call, EmbedInput):
                return from_vectors(exchange.id, await ref.ask(asked.call)), asked
            async with ref.stream(asked.call) as stream:
                async for batch in stream:
                    deltas.extend(batch)
            return from_output(exchange.id, stream.result, deltas), asked

    def _request_fields(self, exchange: Exchange, asked: Asked) -> tuple[str, ...] | None:
        received = self.server.received.get(exchange.id)
        if received is None or not asked.family or exchange.asked is None:
            return None
        ours = received.path.partition(f"/{exchange.id}")[2]
        theirs = urlsplit(exchange.url).path
        same_way = theirs.endswith(ours.partition("?")[0])
        fields = differing_fields(asked.family, exchange.asked, json.loads(received.body))
        return (*(() if same_way else ("url",)), *fields)


def _sendable(asked: Asked, dialect: Dialect) -> Asked:
    """Return ``asked``, or a plain call where it is none that we would send.

    The recorded answer is read all the same: what a client should not have asked is no reason.
    """
    try:
        if isinstance(asked.call, EmbedInput):
            dialect.embed_request(asked.call)
        else:
            dialect.request(asked.call)
    except CallerError:
        if isinstance(asked.call, EmbedInput):
            return asked
        plain = ModelInput(asked.call.model, (user_message("ping"),), stream=asked.call.stream)
        return Asked(plain)
    return asked


def _model_names(dialect: Any, body: bytes) -> Sequence[str]:
    read = getattr(dialect, "model_names", None) or dialect.model_ids
    names: Sequence[str] = read(body)
    return names


def _not_asked(error: ActrioError) -> dict[str, Any]:
    return {
        "category": "invalid_request",
        "http_status": None,
        "message": str(error),
        "retry_after_seconds": None,
        "in_stream": False,
    }
