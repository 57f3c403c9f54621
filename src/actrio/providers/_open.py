"""From a model string to the actor that answers for it."""

from __future__ import annotations

import importlib.util
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import attrs
import trio

from actrio.actors import ActorSystem, ChildSpec, Ref, SupervisorRef, SupervisorSpec
from actrio.errors import InvalidRequest
from actrio.messages import EmbedInput, ModelInput
from actrio.providers._endpoint import Endpoint
from actrio.providers._pace import ReadPace
from actrio.providers._settings import (
    HttpChoice,
    ProviderSettings,
    ProviderStatus,
    check_enabled,
)

if TYPE_CHECKING:
    from actrio.providers._connection import ProviderConnection
    from actrio.providers._http import HttpLibrary, Transport
    from actrio.providers._statistics import ConnectionStatistics
    from actrio.providers.dialects import Dialect
    from actrio.providers.local import LocalSettings

__all__ = ["Connections", "split_model"]

SCRIPTED_CONCURRENCY: Final = 10_000
"""Calls of the scripted provider in work at once: each is a timer, so the bound is generous."""

REFUSED_AT_ONCE: Final = 64
"""Calls that are just being told that the queue is full; one mailbox of them."""

_LOCAL_DEFAULTS: Final = ProviderSettings(
    # A small machine reads a long prompt for minutes before its first token.
    idle_seconds=900.0
)


def split_model(model: str) -> tuple[str, str]:
    """Split ``provider:name`` at its first colon.

    Raises:
        InvalidRequest: One of the two is missing.
    """
    provider, _, name = model.partition(":")
    if not provider or not name:
        raise InvalidRequest(
            f"{model[:80]!r} is no model.",
            remedy="Write provider:name, for example openai:gpt-4o-mini or scripted:demo.",
        )
    return provider, name


@attrs.define(slots=True, eq=False)
class _Opened:
    """What was opened for one key: its connection, and the model's name in requests."""

    ref: Ref[ModelInput | EmbedInput]
    model: str | None = None


class Connections:
    """Opens and keeps the connections to providers, one per provider and credential.

    Each is an actor below ``/providers``, made when it is first asked for. One that crashes too
    often is set aside; the others do not notice.

    Args:
        system: Where the actors live.
        settings: One entry per ``[providers.NAME]`` table.
        env: Where keys are found. The HTTP library reads its proxies from the process's own.
        local: How local models are run.
        transport: What stands in the network's place, for tests (`actrio.testing.MemoryNetwork`).
    """

    def __init__(
        self,
        system: ActorSystem,
        *,
        settings: Mapping[str, ProviderSettings],
        env: Mapping[str, str],
        local: LocalSettings | None = None,
        transport: Transport | None = None,
    ) -> None:
        self._system = system
        self._settings = settings
        self._env = env
        self._local = local
        self._transport = transport
        self._supervisor: SupervisorRef | None = None
        self._opened: dict[str, _Opened] = {}
        self._locks: dict[str, trio.Lock] = {}  # one per key being opened, so one opener waits
        self._libraries: dict[HttpChoice, tuple[HttpLibrary, Any]] = {}
        self._live: dict[str, ProviderConnection] = {}
        self._pace = ReadPace()

    async def start(self) -> None:
        """Start the supervisor now: what is started after it is stopped before it."""
        await self._providers()

    async def open(self, model: str) -> tuple[Ref[ModelInput | EmbedInput], str]:
        """Return the connection for ``model`` and the model's name in requests.

        Opening a local model starts it, which takes seconds; everything else is immediate, and
        nothing is sent yet.

        *Cancellation*: a local model that only this call was starting is stopped again.

        Raises:
            InvalidRequest: ``model`` is not of the form ``provider:name``.
            NotFound: There is no such provider, or no such local model.
            NotConfigured: A key, a file or an extra is missing, or the provider is disabled.
            ConfigError: Its settings cannot be used.
        """
        provider, name = split_model(model)
        check_enabled(provider, self._settings)
        key = model if provider == "local" else provider
        if (known := self._opened.get(key)) is not None:
            # Every turn comes by here, in its agent's one task: a lock would let one by per pass.
            return known.ref, known.model or name
        lock = self._locks.setdefault(key, trio.Lock())
        try:
            async with lock:
                opened = self._opened.get(key)
                if opened is None:
                    opened = await self._open(provider, name)
                    self._opened[key] = opened
        finally:
            if not lock.locked():
                self._locks.pop(key, None)
        return opened.ref, opened.model or name

    def status(self) -> list[ProviderStatus]:
        """Return for each known provider whether it can be used; asks nothing over the network."""
        from actrio.providers._catalog import known_providers

        return [
            self._local_status() if name == "local" else self._status(name)
            for name in known_providers(self._settings)
        ]

    def statistics(self) -> Mapping[str, ConnectionStatistics]:
        """Return how the calls of each connection stand."""
        return {name: connection.statistics() for name, connection in self._live.items()}

    async def _open(self, provider: str, name: str) -> _Opened:
        if provider == "scripted":
            return await self._open_scripted()
        if provider == "local":
            return await self._open_local(name)
        return await self._open_remote(provider)

    async def _open_scripted(self) -> _Opened:
        from actrio.providers.scripted import ScriptedConnection

        chosen = self._settings.get("scripted")
        idle_seconds = (chosen or ProviderSettings()).idle_seconds
        concurrency = chosen.max_connections if chosen else SCRIPTED_CONCURRENCY
        spec = ChildSpec(
            "scripted",
            lambda: ScriptedConnection(idle_seconds=idle_seconds),
            concurrency=concurrency,
        )
        return _Opened(await self._spawn(spec))

    async def _open_remote(self, provider: str) -> _Opened:
        # Late: a program of scripted models needs none of two dozen vendors.
        from actrio.providers._catalog import resolve

        access = resolve(provider, self._settings, self._env)

        async def endpoint() -> Endpoint:
            return access.endpoint

        spec = await self._connection_spec(
            provider,
            access.settings,
            dialect=access.dialect,
            endpoint=endpoint,
            trust_env=not access.loopback,
        )
        return _Opened(await self._spawn(spec))

    async def _open_local(self, name: str) -> _Opened:
        # Imported late: nothing of it is loaded where no local model is used.
        from actrio.providers.dialects import OpenAiChat
        from actrio.providers.local import open_local

        under = await self._providers()
        model = await open_local(self._system, name, self._local, under=under, env=self._env)
        # llama.cpp promises keep-alive and closes right after the answer: the next call would
        # find a dying socket. On loopback a connection of its own costs nothing.
        settings = attrs.evolve(
            self._settings.get("local") or _LOCAL_DEFAULTS, keepalive_seconds=0.0
        )
        spec = await self._connection_spec(
            f"{model.server.path.rpartition('/')[2]}-connection",
            settings,
            dialect=OpenAiChat("local"),
            endpoint=model.endpoint,
            trust_env=False,
            adapt=model.adapt,
        )
        return _Opened(await self._spawn(spec), model.model)

    async def _connection_spec(
        self,
        name: str,
        settings: ProviderSettings,
        *,
        dialect: Dialect,
        endpoint: Callable[[], Awaitable[Endpoint]],
        trust_env: bool,
        adapt: Any = None,
    ) -> ChildSpec:
        # Late, like httpx itself: a program may talk to scripted models only, or to none yet.
        from actrio.providers._connection import ProviderConnection

        http, tls_context = await self._library(settings.http)

        def make() -> ProviderConnection:
            connection = ProviderConnection(
                dialect=dialect,
                endpoint=endpoint,
                http=http,
                tls_context=tls_context,
                trust_env=trust_env,
                settings=settings,
                adapt=adapt,
                open_model=self.open,
                pace=self._pace,
            )
            self._live[name] = connection
            return connection

        # Whoever waits does so in the connection, which is fair, not in its mailbox, which is not.
        concurrency = settings.max_connections + settings.limits.queue_max + REFUSED_AT_ONCE
        return ChildSpec(name, make, concurrency=concurrency)

    async def _spawn(self, spec: ChildSpec) -> Ref[ModelInput | EmbedInput]:
        return await self._system.spawn(spec, under=await self._providers())

    async def _providers(self) -> SupervisorRef:
        lock = self._locks.setdefault("", trio.Lock())
        async with lock:
            if self._supervisor is None:
                spec = SupervisorSpec("providers", on_exceeded="quarantine", stop_order="reverse")
                self._supervisor = await self._system.supervise(spec)
        return self._supervisor

    async def _library(self, choice: HttpChoice) -> tuple[HttpLibrary, Any]:
        if choice not in self._libraries:
            # Modules and certificates are read from files: a tenth of a second that the other
            # sessions would wait. Where a test stands in the network's place, nothing else runs.
            if self._transport is None:
                library = await trio.to_thread.run_sync(self._load, choice)
            else:
                library = self._load(choice)
            self._libraries.setdefault(choice, library)
        return self._libraries[choice]

    def _load(self, choice: HttpChoice) -> tuple[HttpLibrary, Any]:
        from actrio.providers._http import load_http

        http = load_http(choice, self._transport)
        return http, http.tls_context()

    def _status(self, name: str) -> ProviderStatus:
        from actrio.providers._catalog import status_of

        return status_of(name, self._settings, self._env)

    def _local_status(self) -> ProviderStatus:
        status = self._status("local")
        if status.state != "available":
            return status
        if importlib.util.find_spec("xllamacpp") is None:
            return ProviderStatus(
                "local", "not-configured", remedy="Install the extra: pip install 'actrio[local]'"
            )
        from actrio.providers.local import installed_models

        if not installed_models(self._env):
            return ProviderStatus(
                "local",
                "not-configured",
                remedy="Run `actrio model install smollm2`, or use local:/path/to/model.gguf.",
            )
        return status
