"""Actrio's own HTTP interface under load from outside: agents, sessions, turns as event streams.

::

    POST /v1/agents              once for each model; an agent that is there already is used as it is
    POST /v1/sessions            a conversation; DELETE ends it, so that the server keeps nothing
    POST …/turns                 with Accept: text/event-stream, read to the turn's terminal event
    POST …/turns/{turn}:cancel   a client that leaves; its stream is still read to the end

A seat has a client of its own. Without a URL ``actrio serve --http`` is started on a free port of
loopback, with a token that only this run knows.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Final

import attrs
import msgspec
import trio

from actrio.errors import ActrioError, InvalidRequest
from actrio.providers import HttpLibrary, ProviderSettings, load_http
from actrio.stress._http_wire import Asking, EventReading, Refused
from actrio.stress._process import END_SECONDS, START_SECONDS, LastWords, started, unreachable
from actrio.stress._provider import SCRIPTED, ScriptedProcess, faulty, scripted_process
from actrio.stress._served import folder_figures, served_model, variables_of
from actrio.stress._stdio_wire import facts_of, mailboxes_of
from actrio.stress._targets import Look, StoreKind, Target, TargetSetup
from actrio.stress._turns import Asked, Ending, Listener, ending_of_error, unwrapped

__all__ = ["open_http"]

AGENT: Final = "agent:"
"""A model that begins so is an agent of the server, and nothing is made there."""

SILENCE_SECONDS: Final = 60.0
"""A stream is dead that was silent for so long: a living one has a comment every 15 seconds."""

_LINE_BYTES_MAX: Final = 4096


@asynccontextmanager
async def open_http(url: str, setup: TargetSetup) -> AsyncIterator[Target]:
    """Get ready to put load on the service at ``url`` (without ``/v1``), or on one started here.

    A ``scripted:`` model answers from a process of its own where the service is started here; a
    service that runs already has it in its own process.

    Raises:
        InvalidRequest: It is no URL.
        ProviderUnreachable: The service does not start.
    """
    if url and not url.startswith(("http://", "https://")):
        raise InvalidRequest(
            f"http:{url} names no URL.", remedy="Write http://127.0.0.1:8080, or http: alone."
        )
    if url:
        yield _Http(url.rstrip("/"), setup, key=setup.env.get(setup.key_variable))
        return
    async with AsyncExitStack() as stack:
        stack.enter_context(unwrapped())
        provider: ScriptedProcess | None = None
        if setup.model.startswith(SCRIPTED):
            provider = await stack.enter_async_context(scripted_process())
            setup = attrs.evolve(setup, model=served_model(setup.model))
        key = secrets.token_urlsafe(32)
        env = {
            **os.environ,
            **setup.env,
            **variables_of(setup, provider.base_url if provider else None),
            "ACTRIO_HTTP_TOKEN": key,
        }
        process, url = await stack.enter_async_context(_service(env))
        yield _Http(url, setup, key=key, process=process, provider=provider)


@asynccontextmanager
async def _service(env: Mapping[str, str]) -> AsyncIterator[tuple[trio.Process, str]]:
    words = [sys.executable, "-m", "actrio", "serve", "--http", "127.0.0.1:0"]
    async with started(words, env, name="http") as process, trio.open_nursery() as nursery:
        assert process.stdout is not None
        assert process.stderr is not None
        last_words = LastWords()
        nursery.start_soon(last_words.drain, process.stderr)
        line = b""
        with trio.move_on_after(START_SECONDS):
            while b"\n" not in line and len(line) < _LINE_BYTES_MAX:
                piece = await process.stdout.receive_some()
                if not piece:
                    break
                line += piece
        url = line.partition(b"\n")[0].decode(errors="replace").strip()
        if not url.startswith("http://"):
            raise unreachable(f"actrio serve --http told no address{last_words.told}.", name="http")
        try:
            yield process, url
        finally:
            with trio.CancelScope(shield=True) as scope:
                scope.deadline = trio.current_time() + END_SECONDS
                process.terminate()
                await process.wait()
            nursery.cancel_scope.cancel()


class _Http:
    """See `Target`."""

    shares_process = False
    residents = 0

    def __init__(
        self,
        url: str,
        setup: TargetSetup,
        *,
        key: str | None,
        process: trio.Process | None = None,
        provider: ScriptedProcess | None = None,
    ) -> None:
        self.url = url
        self.setup = setup
        self.name = f"http:{url}" if process is None else "http"
        self.store: StoreKind | None = setup.store if process else None
        self.pid: int | None = process.pid if process else None
        self.provider_pid = provider.pid if provider else None
        self._process = process
        self._provider = provider
        self.http: HttpLibrary = load_http()
        self._tls = self.http.tls_context()  # slow to make, so one for all
        self.headers = {
            "content-type": "application/json",
            "accept": "application/json",
            "accept-encoding": "identity",
            "user-agent": "actrio-stress",
            **({"authorization": f"Bearer {key}"} if key else {}),
        }
        # What is read has a bound of its own, see `SILENCE_SECONDS`.
        self._settings = ProviderSettings(
            idle_seconds=SILENCE_SECONDS, max_connections=2, keepalive_seconds=60.0
        )
        self._agents: dict[str | None, str] = {}
        self._making = trio.Lock()

    @property
    def gone(self) -> bool:
        return self._process is not None and self._process.poll() is not None

    def asking(self) -> Asking:
        """Return a client of the service."""
        client = self.http.client(self._settings, self._tls, trust_env=False)
        return Asking(self.http, client, self.url, self.headers, self.name)

    @asynccontextmanager
    async def seat(self) -> AsyncIterator[_Seat]:
        async with self.asking() as asking:
            seat = _Seat(self, asking)
            try:
                yield seat
            finally:
                with trio.CancelScope(shield=True) as scope:
                    scope.deadline = trio.current_time() + END_SECONDS
                    await seat.rise()

    async def agent(self, asking: Asking, fault: str | None) -> str:
        """Return the name of the agent whose model fails so, made where there is none."""
        async with self._making:
            if fault not in self._agents:
                self._agents[fault] = await self._made(asking, fault)
        return self._agents[fault]

    async def _made(self, asking: Asking, fault: str | None) -> str:
        model = self.setup.model
        if model.startswith(AGENT):
            return model.removeprefix(AGENT)
        model = faulty(model, fault)
        # The same model has the same agent, also when this server was measured before.
        name = f"stress-{hashlib.sha256(model.encode()).hexdigest()[:12]}"
        try:
            await asking.request("POST", "/v1/agents", {"name": name, "model": model})
        except Refused as refused:
            if refused.fault.kind != "conflict":
                raise
        return name

    async def look(self) -> Look:
        async with self.asking() as asking:
            try:
                statistics = (await asking.request("GET", "/v1/runtime/stats"))["runtime"]
                tree = await asking.request("GET", "/v1/runtime/tree")
            except (ActrioError, Refused, KeyError, TypeError):
                return Look()
        return Look(
            mailboxes=mailboxes_of(tree),
            turns_waiting=statistics.get("turns_waiting"),
            turns_peak=statistics.get("turns_peak"),
            provider_waiting=sum(int(facts.get("waiting", 0)) for facts in facts_of(tree)),
            restarts=statistics.get("restarts"),
            dead_letters=statistics.get("dead_letters") or {},
        )

    async def kill(self, chance: float) -> bool:  # noqa: ARG002 - see `check_chaos`
        await trio.lowlevel.checkpoint()
        return False

    async def ended(self) -> Mapping[str, int]:
        return await self._provider.settled() if self._provider else {}

    async def stored(self) -> Mapping[str, int]:
        return await folder_figures(self.setup.folder)


class _Seat:
    """See `Seat`."""

    def __init__(self, target: _Http, asking: Asking) -> None:
        self._target = target
        self._asking = asking
        self._session: str | None = None
        self._turns = 0

    async def turn(self, asked: Asked, heard: Listener) -> Ending:
        fault = asked.fate.fault
        try:
            if fault is not None or self._turns >= self._target.setup.session_turns:
                await self.rise()
            if self._session is None:
                await self._sit(fault)
                self._turns = 0 if fault is None else self._target.setup.session_turns
            self._turns += 1
            return await self._turn(asked, heard)
        except Refused as refused:
            return refused.ending
        except ActrioError as error:
            return ending_of_error(error)

    async def _sit(self, fault: str | None) -> None:
        agent = await self._target.agent(self._asking, fault)
        made = await self._asking.request("POST", "/v1/sessions", {"agent": agent})
        self._session = str(made["session"])

    async def _turn(self, asked: Asked, heard: Listener) -> Ending:
        path = f"/v1/sessions/{self._session}/turns"
        body = msgspec.json.encode({"prompt": asked.prompt})
        reading = EventReading(heard)
        heard.begins()
        try:
            return await self._read(path, body, heard, reading)
        except ActrioError as error:
            if reading.turn and not reading.ended:  # it was accepted, and nobody told its end
                return Ending("lost", "cut off", error.message)
            raise

    async def _read(self, path: str, body: bytes, heard: Listener, reading: EventReading) -> Ending:
        left = False
        async with self._asking.events(path, body) as pieces:
            while True:
                piece: bytes | None = None
                with trio.move_on_after(SILENCE_SECONDS):
                    piece = await anext(pieces, b"")
                if piece is None:
                    return Ending("lost", "silence", "the stream lived no more")
                if not piece:
                    return reading.ending()
                reading.feed(piece)
                if heard.slow:
                    await heard.pace()
                if heard.leaves and not left and reading.turn and not reading.ended:
                    left = True
                    await self._cancel(reading.turn)

    async def _cancel(self, turn: str) -> None:
        path = f"/v1/sessions/{self._session}/turns/{turn}:cancel"
        with suppress(Refused):  # it ended by itself just now
            await self._asking.request("POST", path)

    async def rise(self) -> None:
        """End the conversation."""
        session, self._session = self._session, None
        if session is not None:
            with suppress(Refused, ActrioError):  # nobody comes back to it either way
                await self._asking.request("DELETE", f"/v1/sessions/{session}")
