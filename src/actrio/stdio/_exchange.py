"""One client: its methods put together, and how its connection begins and ends.

Requests are taken in the order of their lines, so a file of requests can be piped in without
waiting for answers: a turn stands behind its session's creation, and behind the turns before it::

    reader   session/create ──► turn/start A ──► turn/start B          (plain, in order)
                   │                 │                │
    tasks          └─ opens ─────────┴─ A accepted ───┴─ B accepted    (each waits for the one before)

    tasks    one pump per subscribed session; a question to the client while it is open
"""

from __future__ import annotations

import base64
import math
import time
from collections.abc import Mapping
from typing import Any, Final, Literal

import trio

from actrio._version import own_version
from actrio.messages import Event
from actrio.rpc import Call, Connection, Ending, Methods, Refused, fault
from actrio.runtime import Runtime
from actrio.stdio import _params as p
from actrio.stdio import _results as r
from actrio.stdio._agents import AgentChoice
from actrio.stdio._asking import PersonAsked
from actrio.stdio._blobs import BlobShrinker
from actrio.stdio._client_tools import ClientTools
from actrio.stdio._profile import ClientProfile
from actrio.stdio._read import read_params
from actrio.stdio._session_methods import SessionMethods, approval_info
from actrio.stdio._sessions import ClientSession, ClientSessions
from actrio.stdio._table import METHODS, PROTOCOL_VERSION
from actrio.stdio._turn_methods import TurnMethods
from actrio.stdio._turns import ClientTurns
from actrio.telemetry import RoomLog
from actrio.wire import EVENT_VERSION

__all__ = ["StdioExchange"]

OnEof = Literal["drain", "cancel"]

_LET_GO_SECONDS: Final = 1.0
"""For letting go of the sessions at the end; their actors end within their own bounds."""

_LEFT_FLUSH_SECONDS: Final = 0.5
"""For a client that has closed our input: it reads now or not at all, and wants us gone in a second."""

_log = RoomLog("actrio.stdio")


class StdioExchange:
    """Serves one connection from a runtime that it may share with others.

    Args:
        connection: The client.
        runtime: Where its sessions live.
        on_eof: What becomes of running turns when the input ends.
    """

    def __init__(self, connection: Connection, runtime: Runtime, *, on_eof: OnEof) -> None:
        self._connection = connection
        self._runtime = runtime
        self._on_eof = on_eof
        self._profile: ClientProfile | None = None
        self._turns = ClientTurns()
        self._asking = PersonAsked(connection, runtime, profile=self._client, turns=self._turns)
        self._sessions = ClientSessions(
            connection, runtime, profile=self._client, listener=self, on_deaf=self._deaf
        )
        tools = ClientTools(connection, lambda: self._client().tools)
        self._agents = AgentChoice(runtime, tools)
        self._session_methods = SessionMethods(runtime, self._sessions, self._turns, self._agents)
        self._turn_methods = TurnMethods(connection, self._sessions, self._turns, self._client)
        self._blobs = BlobShrinker(runtime.blobs, bytes_max=connection.limits.line_out_bytes_max)
        self._tasks: trio.Nursery | None = None

    def _client(self) -> ClientProfile:
        return self._profile or ClientProfile()

    # Its life

    async def run(self) -> Ending:
        """Serve until the connection ends; its sessions are let go of then."""
        self._agents.register_all()
        try:
            async with trio.open_nursery() as self._tasks:
                for each in (self._sessions, self._asking, self._turn_methods):
                    each.run_in(self._tasks)
                ending = await self._connection.run(self._methods())
                self._tasks.cancel_scope.cancel(reason="the connection has ended")
            self._cut_turns("client_stalled" if ending == "stalled" else "client_left")
            return ending
        finally:
            with trio.move_on_after(_LET_GO_SECONDS, shield=True):
                await self._sessions.let_go()

    def _cut_turns(self, reason: str) -> None:
        """Cancel what the client has left running, because nobody will hear of it."""
        for turn in self._turns.unended():
            if turn.session.session is not None:
                turn.session.session.cancel(turn.id, reason=reason)

    def stop(self, *, flush_seconds: float | None = None) -> None:
        """End all turns as a shutdown does, and the connection within its flush time.

        Args:
            flush_seconds: In place of the connection's own.
        """
        limit = self._connection.limits.flush_seconds
        self._turn_methods.stop()
        self._cut_turns("shutdown")
        self._end_within(limit if flush_seconds is None else min(limit, flush_seconds))

    def _end_within(self, seconds: float) -> None:
        """Take nothing new, and end when all turns have; by force after ``seconds``."""
        self._connection.refuse_new()
        if self._tasks is None:
            self._connection.finish(grace_seconds=0)
        else:
            self._tasks.start_soon(self._finish_by, trio.current_time() + seconds)

    async def _finish_by(self, deadline: float) -> None:
        with trio.CancelScope(deadline=deadline):
            await self._turns.all_ended()
        left = max(0.0, deadline - trio.current_time())
        self._connection.finish(grace_seconds=None if math.isinf(left) else left)

    def _input_ended(self) -> None:
        self._sessions.lift_credit()
        self._asking.client_left()
        if self._on_eof == "cancel":
            self.stop(flush_seconds=_LEFT_FLUSH_SECONDS)
        else:
            self._end_within(math.inf)

    # Dispatch

    def _methods(self) -> Methods:
        calls = {
            **self._agents.calls(),
            **self._session_methods.calls(),
            **self._turn_methods.calls(),
            "model/list": self._models,
            "approval/list": self._approvals,
            "approval/resolve": self._resolve,
            "runtime/tree": self._tree,
            "runtime/stats": self._stats,
            "blob/read": self._blob,
        }
        controls = {
            "initialize": self._initialize,
            "ping": self._ping,
            "turn/cancel": self._turn_methods.cancel,
            "shutdown": self._shutdown,
            "flow/ack": self._flow_ack,
        }
        return Methods(
            calls=calls,
            controls=controls,
            urgent=frozenset(name for name, each in METHODS.items() if each.lane == "urgent"),
            admit=self._admit,
            unknown=_unknown,
            ended=self._input_ended,
            shrink=self._blobs.shrink,
            stalled=self._stalled,
        )

    def _admit(self, method: str) -> dict[str, Any] | None:
        if self._profile is not None or method in {"initialize", "ping"}:
            return None
        return fault(
            "not_initialized",
            f"{method[:100]!r} came before initialize.",
            remedy="Send initialize first.",
        )

    # What the pumps tell

    async def before(self, event: Event) -> None:
        """Hear of an event before the client does."""
        await self._turns.before(event)

    def after(self, event: Event) -> None:
        """Hear that an event is queued."""
        self._turns.after(event)
        self._asking.after(event)

    def _deaf(self, own: ClientSession) -> None:
        """Learn of turns' ends in another way: their session's events are not sent any more."""
        if self._tasks is not None and not self._tasks.cancel_scope.cancel_called:
            for turn in self._turns.unended(own):
                self._turn_methods.watch(turn)

    # Controls

    def _initialize(self, params: Mapping[str, Any]) -> Any:
        if self._profile is not None:
            raise Refused(
                fault(
                    "not_initialized",
                    "This connection is initialized already.",
                    remedy="Send initialize once.",
                )
            )
        wanted = read_params("initialize", params, p.Initialize, more=True)
        self._profile = ClientProfile.of(wanted)
        limits, settings = self._connection.limits, self._runtime.settings
        return r.told(
            r.Initialized(
                protocol_version=PROTOCOL_VERSION,
                server=p.Peer(name="actrio", version=own_version()),
                methods=sorted(METHODS),
                agents=self._agents.names(),
                capabilities=self._profile.capabilities(),
                limits=r.OutwardLimits(
                    max_line=limits.line_bytes_max,
                    max_line_out=limits.line_out_bytes_max,
                    max_in_flight=limits.in_flight_max,
                    max_unread=limits.control_lines_max,
                    max_asked=limits.asked_max,
                    max_sessions=settings.limits.sessions,
                    queue=limits.channel_lines_max,
                    stall_ms=round(limits.stall_seconds * 1000),
                ),
            )
        )

    def _ping(self, params: Mapping[str, Any]) -> Any:
        read_params("ping", params, p.Nothing)
        return r.told(r.Done())

    def _shutdown(self, params: Mapping[str, Any]) -> Any:
        wanted = read_params("shutdown", params, p.Shutdown)
        running = self._turns.running
        if wanted.mode == "now":
            self.stop()
        else:
            self._end_within(math.inf)
            if wanted.deadline_ms is not None and self._tasks is not None:
                self._tasks.start_soon(self._stop_in, wanted.deadline_ms / 1000)
        return r.told(r.ShuttingDown(mode=wanted.mode, turns=running))

    async def _stop_in(self, seconds: float) -> None:
        await trio.sleep(seconds)
        self.stop()

    def _flow_ack(self, params: Mapping[str, Any]) -> Any:
        ack = read_params("flow/ack", params, p.FlowAck)
        self._sessions.acknowledge(ack.session, ack.seq, ack.n)
        return r.told(r.Done())

    def _stalled(self, seconds: float) -> None:
        """Log that the client does not read; where it wants to know, it will find it among its lines."""
        if seconds:
            _log.warning("stdio.client_stalled", seconds=round(seconds))
        if "monitor" in self._client().channels:
            told = {
                "v": EVENT_VERSION,
                "seq": 0,
                "ts": time.time(),
                "session": "",
                "turn": "",
                "type": "stall.began" if seconds else "stall.ended",
                "seconds": seconds,
            }
            self._connection.notify_ahead("event", told)

    # Calls that belong to no session

    async def _models(self, call: Call) -> Any:
        read_params(call.method, call.params, p.Nothing)
        providers = [
            r.ProviderEntry(
                name=each.name,
                state=each.state,
                missing_env=[each.missing_env] if each.missing_env else [],
                remedy=each.remedy or None,
            )
            for each in self._runtime.connections.status()
        ]
        return r.told(r.ModelList(default=self._agents.default_model, providers=providers))

    async def _approvals(self, call: Call) -> Any:
        params = read_params(call.method, call.params, p.WholeList)
        found = await self._runtime.approvals(after=params.after, limit=params.limit)
        last = found[-1].session if len(found) >= params.limit else None
        return r.told(r.ApprovalList(approvals=[approval_info(each) for each in found], next=last))

    async def _resolve(self, call: Call) -> Any:
        wanted = read_params(call.method, call.params, p.ApprovalResolve)
        await self._runtime.answer(
            wanted.session,
            wanted.approval,
            wanted.decision,
            answer=wanted.answer,
            by=wanted.by or self._client().name,
            note=wanted.note,
        )
        return r.told(r.Done())

    async def _tree(self, call: Call) -> Any:
        read_params(call.method, call.params, p.Nothing)
        return self._runtime.tree()

    async def _stats(self, call: Call) -> Any:
        read_params(call.method, call.params, p.Nothing)
        return {
            "runtime": self._runtime.statistics(),
            "connection": self._connection.statistics(),
        }

    async def _blob(self, call: Call) -> Any:
        wanted = read_params(call.method, call.params, p.BlobRead)
        data = await self._runtime.blobs.read(wanted.blob, wanted.offset, wanted.size)
        return {
            "data": base64.b64encode(data).decode(),
            "offset": wanted.offset,
            "eof": len(data) < wanted.size,
        }


def _unknown(method: str) -> dict[str, Any]:
    return fault(
        "method_not_found",
        f"There is no method {method[:100]!r}.",
        remedy=f"There are {', '.join(sorted(METHODS))}.",
    )
