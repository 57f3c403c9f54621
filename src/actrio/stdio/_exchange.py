"""One client's methods: its sessions, its turns, and nothing of anybody else's.

Requests are taken in the order of their lines, so a file of requests can be piped in without
waiting for answers: a turn stands behind the turns before it, and behind its session's creation::

    reader   session/create ──► turn/start A ──► turn/start B        (plain, in order)
                   │                 │                │
    tasks          └─ opens ─ ready ─┴─ A enters ─────┴─ B enters    (each waits for the one before)
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Mapping
import time
from importlib.metadata import version
from typing import Any, Final, Literal

import attrs
import trio

from actrio.errors import Conflict, NotFound, NotSupported
from actrio.messages import TERMINAL_EVENTS, TurnCancelled, TurnCompleted, TurnEvent, TurnFailed, TurnResult
from actrio.rpc import Call, Connection, Ending, Methods, Refused, fault, fault_of
from actrio.runtime import Runtime, Session, Turn
from actrio.stdio._agents import agent_for
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
from actrio.wire import event_to_dict

__all__ = ["PROTOCOL_VERSION", "StdioExchange"]

PROTOCOL_VERSION: Final = 1

_FINISHED_TURNS_MAX: Final = 256
"""Ended turns that `turn/wait` still knows; as many as there can be unanswered requests."""

_CLOSE_SECONDS: Final = 1.0

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

    line: trio.Event = attrs.field(factory=trio.Event)
    session: Session | None = None

    def stand_in_line(self) -> tuple[trio.Event, trio.Event]:
        """Return what to wait for, and what to set when the next one may go."""
        before, self.line = self.line, trio.Event()
        return before, self.line


@attrs.define(slots=True, eq=False)
class _OwnTurn:
    """A turn of this client; ``result`` is there once ``ended`` is set."""

    id: str
    session: Session
    ended: trio.Event = attrs.field(factory=trio.Event)
    result: dict[str, Any] = attrs.field(factory=dict)


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
        # Oldest first; ended ones are forgotten from the front.
        self._turns: OrderedDict[str, _OwnTurn] = OrderedDict()

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
        for turn in list(self._turns.values()):
            if not turn.ended.is_set():
                turn.session.cancel(turn.id, reason=reason)
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
        running = sum(not turn.ended.is_set() for turn in self._turns.values())
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
        agent = agent_for(params, self._runtime.settings)
        own = _OwnSession()
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
                own.line.set()
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
                return await self._run_turn(call, params, session, content, after)
            finally:
                after.set()

        return start()

    async def _run_turn(
        self, call: Call, params: TurnStart, session: Session, content: Any, entered: trio.Event
    ) -> dict[str, Any]:
        sure = self._surely_accepted(session, params.if_busy)
        turn = session.turn(content, if_busy=params.if_busy)
        own = self._remember(_OwnTurn(turn.id, session))
        try:
            async with turn:
                entered.set()
                if params.wait:
                    # The answer stands behind the turn's events, also where it is taken back.
                    call.channel = session.id
                    call.on_cancel = lambda: session.cancel(turn.id, reason="request cancelled")
                elif sure:
                    call.respond({"turn": turn.id})
                last = await self._stream(call, turn, session)
            own.result = _result_to_dict(turn.result)
            await self._conclude(call, turn.result, session, last)
        finally:
            own.ended.set()
        return own.result

    def _surely_accepted(self, session: Session, if_busy: str | None) -> bool:
        """Whether the session cannot refuse the next turn; else its first event will tell.

        Our turns that have not ended here include all that have not ended there.
        """
        unended = sum(
            turn.session.id == session.id and not turn.ended.is_set()
            for turn in self._turns.values()
        )
        queues = (if_busy or self._if_busy[session.id]) == "queue"
        return not unended or (queues and unended <= session.agent.queue_max)

    async def _stream(self, call: Call, turn: Turn, session: Session) -> TurnEvent | None:
        """Send the turn's events and return the last one."""
        last: TurnEvent | None = None
        async for event in turn:
            if last is None and not call.answered and call.channel is None:
                call.respond({"turn": turn.id})
            last = event
            await self._connection.notify(session.id, "event", event_to_dict(event))
        return last

    async def _conclude(
        self, call: Call, result: TurnResult, session: Session, last: TurnEvent | None
    ) -> None:
        """See to it that a turn that was accepted has its terminal event.

        Raises:
            ActrioError: The session refused the turn.
        """
        if isinstance(last, TERMINAL_EVENTS):
            return
        if last is None and not call.answered and result.error is not None:
            call.channel = None
            raise result.error
        # Its session was closed or crashed, so nobody there could tell any more.
        kind = {"completed": TurnCompleted, "failed": TurnFailed, "cancelled": TurnCancelled}
        event = kind[result.outcome](
            session=session.id,
            turn=result.turn,
            seq=last.seq if last else 0,
            n=(last.n or 0) + 1 if last else 1,
            ts=time.time(),
            result=result,
        )
        await self._connection.notify(session.id, "event", event_to_dict(event))

    def _remember(self, turn: _OwnTurn) -> _OwnTurn:
        self._turns[turn.id] = turn
        for name, old in list(self._turns.items()):
            if len(self._turns) <= _FINISHED_TURNS_MAX or not old.ended.is_set():
                break
            del self._turns[name]
        return turn

    def _own_turn(self, name: str) -> _OwnTurn:
        turn = self._turns.get(name)
        if turn is None:
            raise NotFound(
                f"This connection knows no turn {name[:100]!r}.",
                remedy=f"The last {_FINISHED_TURNS_MAX} turns are known; turn/start gives their ids.",
            )
        return turn

    async def _turn_wait(self, call: Call) -> dict[str, Any]:
        turn = self._own_turn(read_params(call.method, call.params, TurnNamed).turn)
        await turn.ended.wait()
        call.channel = turn.session.id
        return turn.result

    def _turn_cancel(self, params: Mapping[str, Any]) -> dict[str, Any]:
        wanted = read_params("turn/cancel", params, TurnCancel)
        turn = self._own_turn(wanted.turn)
        if turn.ended.is_set():
            return {"cancelled": False}
        turn.session.cancel(turn.id, reason=wanted.reason)
        return {"cancelled": True}


def _result_to_dict(result: TurnResult) -> dict[str, Any]:
    """Return a result in the shape that it has inside a terminal event."""
    event = TurnCompleted(session="", turn=result.turn, seq=0, ts=0.0, result=result)
    told: dict[str, Any] = event_to_dict(event)["result"]
    return told
