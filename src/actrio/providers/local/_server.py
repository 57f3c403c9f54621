"""The actor that keeps one local model running, and the way to it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import attrs
import trio

from actrio.actors import Actor, ActorSystem, Backoff, ChildSpec, Context, Ref, SupervisorRef
from actrio.errors import ActorStopped, ActrioError, Conflict
from actrio.messages import AssistantMessage, Delta, ModelInput
from actrio.providers._endpoint import Endpoint
from actrio.providers.local._constrained import constrain, offered_tools
from actrio.providers.local._models import BUNDLED_MODELS, BundledModel, find_model
from actrio.providers.local._process import Launch, ServerFacts, ServerProcess, library_folder
from actrio.providers.local._reader import ConstrainedReader
from actrio.providers.local._settings import LocalSettings

__all__ = ["Adapt", "AskServer", "LocalModel", "LocalServer", "open_local"]

Adapt = Callable[[ModelInput], tuple[ModelInput, Callable[[Iterable[Delta]], list[Delta]]]]
"""Fits one request to a model: what to send instead, and how to read what comes back."""

ASKERS_MAX: Final = 64
"""Askers that may wait for one start at the same time; further ones wait in the mailbox."""

RESTART: Final = Backoff(initial_seconds=1, maximum_seconds=30, factor=2)
"""A model that dies again and again costs one start every 30 s. The first second keeps the
restarts below any supervisor's budget, so it takes nobody down with it."""


@attrs.frozen(slots=True)
class AskServer:
    """Ask a `LocalServer` for its `ServerFacts`; answered when the server answers."""


class LocalServer(Actor[AskServer]):
    """Keeps one server process for one model file.

    A start that fails is a result: each asker gets its error, and the next one tries again. A
    process that ends after it was ready is a crash: the supervisor restarts this actor with
    backoff, and whoever asks meanwhile waits for the new process.

    Args:
        launch: What to run.
    """

    def __init__(self, launch: Launch) -> None:
        self._launch = launch
        self._start = _Start()

    async def on_start(self, ctx: Context) -> None:
        await self._begin(ctx).settled.wait()

    async def receive(self, _message: AskServer, ctx: Context) -> Any:
        start = self._start
        if start.facts is not None:
            # At once: an asker that waits here when the process's end is noticed would be told
            # of the crash, while one in the mailbox just waits for the next process.
            return start.facts
        if start.told:
            start = self._begin(ctx)
        return ctx.defer(start.outcome)

    def _begin(self, ctx: Context) -> _Start:
        self._start = _Start()
        ctx.start_task(self._run, self._start, ctx)
        return self._start

    async def _run(self, start: _Start, ctx: Context) -> None:
        """Own one process from its start to its end; its scope ending ends the process."""
        process: ServerProcess | None = None
        try:
            library_folder()
            process = await ServerProcess.open(self._launch)
            ctx.start_task(process.drain)
            start.succeed(await process.ready())
            raise await process.ended()
        except ActrioError as error:
            if start.facts is not None:
                raise
            start.fail(error)
        finally:
            if process is not None:
                await process.aclose()


class _Start:
    """One attempt to start: unsettled, then either facts or an error.

    ``told``: an asker has had the error; the next one deserves a new attempt.
    """

    def __init__(self) -> None:
        self.settled = trio.Event()
        self.facts: ServerFacts | None = None
        self.error: ActrioError | None = None
        self.told = False

    def succeed(self, facts: ServerFacts) -> None:
        self.facts = facts
        self.settled.set()

    def fail(self, error: ActrioError) -> None:
        self.error = error
        self.settled.set()

    async def outcome(self) -> ServerFacts:
        await self.settled.wait()
        if self.error is not None:
            self.told = True
            raise self.error
        assert self.facts is not None
        return self.facts


@attrs.frozen(slots=True)
class LocalModel:
    """A local model that runs.

    Attributes:
        model: The model's name in requests.
        adapt: Fits requests to the model, where it needs that; ``None`` where it does not.
        server: The actor that keeps it running.
    """

    model: str
    server: Ref[AskServer]
    adapt: Adapt | None = None

    async def endpoint(self) -> Endpoint:
        """Return where the model answers now. Ask for each request: a restart moves it.

        *Failure*: raises what kept the server from starting; waits while it is restarting.
        """
        facts: ServerFacts = await self.server.ask(AskServer())
        return facts.endpoint

    async def facts(self) -> ServerFacts:
        """Return what the running server told of itself."""
        facts: ServerFacts = await self.server.ask(AskServer())
        return facts


async def open_local(
    system: ActorSystem,
    model: str,
    settings: LocalSettings | None = None,
    *,
    under: SupervisorRef | None = None,
    env: Mapping[str, str] | None = None,
) -> LocalModel:
    """Start a local model, or find it running, and return it when it answers.

    Args:
        system: Where its actor lives.
        model: A bundled model's name or a path to a GGUF file.
        settings: How to run it; they count where it is not running yet.
        under: The supervisor of its actor; the system's own where absent.
        env: The environment that names the data folder; the process's own where absent.

    Raises:
        NotConfigured: The extra or the bundled model's file is missing.
        NotFound: There is no such model or file.
        InvalidRequest: The file cannot be loaded.
        ProviderUnreachable: The server ended or took too long while it started.

    *Cancellation*: a server that was still starting for this call is gone when it returns.
    """
    chosen = settings or LocalSettings()
    path = await trio.to_thread.run_sync(find_model, model, env)
    library_folder()
    bundled = BUNDLED_MODELS.get(model)
    launch = Launch(path, model if bundled else path.stem, chosen)
    server, facts = await _running(system, _actor_name(model, path), launch, under)
    return LocalModel(
        model=launch.model_name,
        server=server,
        adapt=_adapt(bundled, chosen, native_tools=facts.native_tools),
    )


async def _running(
    system: ActorSystem, name: str, launch: Launch, under: SupervisorRef | None
) -> tuple[Ref[AskServer], ServerFacts]:
    folder = under.path.rstrip("/") if under is not None else ""
    found = system.whereis(f"{folder}/{name}")
    if found is not None:
        try:
            return found, await found.ask(AskServer())
        except ActorStopped:
            pass  # whoever opened it first gave it up meanwhile
    spec = ChildSpec(name, lambda: LocalServer(launch), backoff=RESTART, concurrency=ASKERS_MAX)
    try:
        server = await system.spawn(spec, under=under)
    except Conflict:  # another opener was quicker
        server = system.ref(f"{folder}/{name}")
        return server, await server.ask(AskServer())
    try:
        return server, await server.ask(AskServer())
    except ActrioError:
        await system.stop(server)  # it could not start, and nobody else knows of it
        raise


def _actor_name(model: str, path: Path) -> str:
    if model in BUNDLED_MODELS:
        return f"local-{model}"
    plain = re.sub(r"[^A-Za-z0-9_.-]+", "-", path.stem)[:40]
    return f"local-{plain}-{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"


# ---- fitting requests to the model -----------------------------------------------------------


def _adapt(
    bundled: BundledModel | None, settings: LocalSettings, *, native_tools: bool
) -> Adapt | None:
    """Choose how requests are fitted, see `LocalSettings.tools`."""
    style = settings.tools
    if style == "auto":
        style = "native" if native_tools else "constrained"
    if style == "native":
        return None if bundled is None else lambda request: (_filled(bundled, request), list)
    focused = bundled is not None and settings.tools == "auto"

    def adapt(request: ModelInput) -> tuple[ModelInput, Callable[[Iterable[Delta]], list[Delta]]]:
        rounds = settings.tool_rounds
        request = _filled(bundled, request) if bundled else request
        offered = offered_tools(request, tool_rounds=rounds, focused=focused)
        fitted = constrain(request, tool_rounds=rounds, focused=focused)
        if not offered:
            return fitted, list
        reader = ConstrainedReader(
            schema_answer=request.options.response_schema is not None,
            call_number=_calls(request),
        )
        return fitted, reader.read

    return adapt


def _filled(bundled: BundledModel, request: ModelInput) -> ModelInput:
    """Return the request with the model's own choices where it makes none."""
    options = request.options
    return attrs.evolve(
        request,
        instructions=request.instructions or bundled.instructions,
        options=attrs.evolve(
            options,
            temperature=bundled.temperature if options.temperature is None else options.temperature,
            max_tokens=options.max_tokens or bundled.answer_tokens_max,
        ),
    )


def _calls(request: ModelInput) -> int:
    messages = (m for m in request.messages if isinstance(m, AssistantMessage))
    return sum(len(message.tool_calls) for message in messages)
