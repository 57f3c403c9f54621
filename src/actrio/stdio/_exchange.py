"""One client's methods: its sessions, its turns, and nothing of anybody else's.

Requests are taken in the order of their lines, so a file of requests can be piped in without
waiting for answers: a turn stands behind the turns before it, and behind its session's creation::

    reader   session/create ──► turn/start A ──► turn/start B        (plain, in order)
                   │                 │                │
    tasks          └─ opens ─ ready ─┴─ A enters ─────┴─ B enters    (each waits for the one before)
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from importlib.metadata import version
from typing import Any, Final, Literal

import attrs
import trio

from actrio.errors import Conflict, NotFound, NotSupported
from actrio.rpc import Call, Connection, Ending, Methods, Refused, fault, fault_of
from actrio.runtime import IfBusy, Runtime, Session
from actrio.stdio._agents import AgentChoice
from actrio.stdio._params import (
    SessionCreate,
    SessionNamed,
    Shutdown,
    TurnCancel,
    TurnNamed,
    TurnStart,
    read_params,
    refuse_later,
)
from actrio.stdio._turns import ClientTurns

__all__ = ["PROTOCOL_VERSION", "StdioExchange"]

PROTOCOL_VERSION: Final = 1

_CLOSE_SECONDS: Final = 1.0
"""For an orderly end of a session's turns. Only a client that does not read needs more."""

_LATER: Final = frozenset(
    {
        *("agent/list", "agent/get", "agent/register", "agent/set_tool", "model/list"),
        *("session/list", "session/get", "session/history", "session/fork"),
        *("session/subscribe", "session/unsubscribe", "turn/steer"),
        *("approval/list", "approval/resolve", "blob/read", "flow/ack"),
        *("workflow/run", "team/run", "runtime/actor_restart"),
    }
)
"""Methods of the full protocol that are not there yet."""


@attrs.define(slots=True, eq=False)
class _OwnSession:
    """A session of this client. ``line`` is set when the next request may act on it."""

    if_busy: IfBusy
    line: trio.Event = attrs.field(factory=trio.Event)
    session: Session | None = None

    def stand_in_line(self) -> tuple[trio.Event, trio.Event]:
        """Return what to wait for, and what to set when the next one may go."""
        before, self.line = self.line, trio.Event()
        return before, self.line


class StdioExchange:
    """Serves one connection from a runtime that it may share with others.

    Args:
        connection: The client.
        runtime: Where its sessions live.
        on_eof: What becomes of running turns when the input ends.
    """

    def __init__(
        self, connection: Connection, runtime: Runtime, *, on_eof: Literal["drain", "cancel"]
    ) -> None:
        self._connection = connection
        self._runtime = runtime
        self._on_eof = on_eof
        self._initialized = False
        self._sessions: dict[str, _OwnSession] = {}
        self._turns = ClientTurns(connection)
        self._agents = AgentChoice(runtime.settings)

    async def run(self) -> Ending:
        """Serve until the connection ends; its sessions are closed then."""
        try:
            return await self._connection.run(self._methods())
        finally:
            with trio.move_on_after(_CLOSE_SECONDS, shield=True):
                for name in list(self._sessions):
                    await self._runtime.close_session(name)

    def stop(self, *, reason: str) -> None:
        """Cancel all turns and end the connection, within its flush time."""
        self._turns.cancel_all(reason=reason)
        self._connection.finish(grace_seconds=self._connection.limits.flush_seconds)

    def _methods(self) -> Methods:
        return Methods(
            calls={
                "session/create": self._session_create,
                "session/close": self._session_close,
                "turn/start": self._turn_start,
                "turn/wait": self._turn_wait,
                "runtime/tree": self._tree,
                "runtime/stats": self._stats,
            },
            controls={
                "initialize": self._initialize,
                "ping": self._ping,
                "turn/cancel": self._turn_cancel,
                "shutdown": self._shutdown,
            },
            admit=self._admit,
            unknown=self._unknown,
            ended=self._input_ended,
        )

    # The connection itself

    def _admit(self, method: str) -> dict[str, Any] | None:
        if self._initialized or method in {"initialize", "ping"}:
            return None
        return fault(
            "not_initialized",
            f"{method[:100]!r} came before initialize.",
            remedy="Send initialize first.",
        )

    def _unknown(self, method: str) -> dict[str, Any]:
        if method in _LATER:
            return fault_of(
                NotSupported(
                    f"{method} comes with the full protocol.",
                    remedy=f"There are {', '.join(self._names())}.",
                )
            )
        return fault(
            "method_not_found",
            f"There is no method {method[:100]!r}.",
            remedy=f"There are {', '.join(self._names())}.",
        )

    def _names(self) -> list[str]:
        methods = self._methods()
        return sorted([*methods.calls, *methods.controls])

    def _input_ended(self) -> None:
        if self._on_eof == "cancel":
            self.stop(reason="eof")

    def _initialize(self, params: Mapping[str, Any]) -> dict[str, Any]:
        if self._initialized:
            raise Refused(
                fault(
                    "not_initialized",
                    "This connection is initialized already.",
                    remedy="Send initialize once.",
                )
            )
        refuse_later("initialize", params)
        self._initialized = True
        limits, settings = self._connection.limits, self._runtime.settings
        return {
            "protocol_version": PROTOCOL_VERSION,
            "server": {"name": "actrio", "version": version("actrio")},
            "methods": self._names(),
            "agents": sorted(settings.agents),
            "capabilities": {},
            "limits": {
                "max_line": limits.line_bytes_max,
                "max_in_flight": limits.in_flight_max,
                "max_sessions": settings.limits.sessions,
                "queue": limits.channel_lines_max,
            },
        }

    def _ping(self, _params: Mapping[str, Any]) -> dict[str, Any]:
        return {}

    def _shutdown(self, params: Mapping[str, Any]) -> dict[str, Any]:
        mode = read_params("shutdown", params, Shutdown).mode
        running = self._turns.running
        if mode == "now":
            self.stop(reason="shutdown")
        else:
            self._connection.finish()
        return {"mode": mode, "turns": running}

    async def _tree(self, _call: Call) -> Any:
        return self._runtime.tree()

    async def _stats(self, _call: Call) -> dict[str, Any]:
        return {
            "runtime": self._runtime.statistics(),
            "connection": self._connection.statistics(),
        }

    # Sessions

    def _session_create(self, call: Call) -> Awaitable[dict[str, Any]]:
        params = read_params(call.method, call.params, SessionCreate)
        agent = self._agents.choose(params)
        own = _OwnSession(params.if_busy or agent.if_busy)
        opened = own.line
        if params.id is not None:
            if params.id in self._sessions:
                raise Conflict(
                    f"There is a session {params.id[:100]!r} already.",
                    remedy="Use it, or create one under another id.",
                )
            self._sessions[params.id] = own

        async def create() -> dict[str, Any]:
            try:
                own.session = await self._runtime.open_session(
                    agent, id=params.id, if_busy=params.if_busy
                )
            finally:
                if own.session is None and params.id is not None:
                    del self._sessions[params.id]
                opened.set()
            self._sessions[own.session.id] = own
            return {"session": own.session.id, "agent": agent.name, "model": agent.model}

        return create()

    def _session_close(self, call: Call) -> Awaitable[dict[str, Any]]:
        name = read_params(call.method, call.params, SessionNamed).session
        own = self._own_session(name)
        before, after = own.stand_in_line()

        async def close() -> dict[str, Any]:
            try:
                await before.wait()
                session = self._opened(name, own)
                self._sessions.pop(name, None)
                # Left to the runtime, its turns would first be given time to finish.
                with trio.move_on_after(_CLOSE_SECONDS):
                    await self._turns.end(session, reason="session closed")
                await self._runtime.close_session(session.id)
                return {"closed": True}
            finally:
                own.session = None
                after.set()

        return close()

    def _own_session(self, name: str) -> _OwnSession:
        own = self._sessions.get(name)
        if own is None:
            raise self._no_session(name)
        return own

    def _opened(self, name: str, own: _OwnSession) -> Session:
        if own.session is None:
            raise self._no_session(name)
        return own.session

    def _no_session(self, name: str) -> NotFound:
        return NotFound(
            f"This connection has no session {name[:100]!r}.",
            remedy="Create it with session/create.",
        )

    # Turns

    def _turn_start(self, call: Call) -> Awaitable[dict[str, Any]]:
        params = read_params(call.method, call.params, TurnStart)
        content = params.content()
        own = self._own_session(params.session)
        before, after = own.stand_in_line()

        async def start() -> dict[str, Any]:
            try:
                await before.wait()
                session = self._opened(params.session, own)
                return await self._turns.run(
                    call,
                    session,
                    session.turn(content, if_busy=params.if_busy),
                    wait=params.wait,
                    queues=(params.if_busy or own.if_busy) == "queue",
                    entered=after,
                )
            finally:
                after.set()

        return start()

    async def _turn_wait(self, call: Call) -> dict[str, Any]:
        wanted = read_params(call.method, call.params, TurnNamed)
        return await self._turns.wait(call, wanted.turn)

    def _turn_cancel(self, params: Mapping[str, Any]) -> dict[str, Any]:
        wanted = read_params("turn/cancel", params, TurnCancel)
        return {"cancelled": self._turns.cancel(wanted.turn, reason=wanted.reason)}
