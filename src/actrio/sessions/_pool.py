"""The session pool: which sessions there are, and who holds them open."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import attrs
import trio

from actrio.actors import ActorSystem, ChildSpec, MailboxSpec, Ref, SupervisorRef, SupervisorSpec
from actrio.agents import Agent, AgentActor, IfBusy, OpenModel
from actrio.errors import Conflict, Overloaded
from actrio.filters import Filter
from actrio.messages import PrepareTurn, SetTool, StartTurn
from actrio.sessions._record import SessionRecord
from actrio.sessions._session import Session
from actrio.sessions._session_actor import SessionActor, TurnSlots
from actrio.tools import ToolBox, ToolLimits

__all__ = ["SessionPool"]

AGENTS_MAX: Final = 10_000
"""Agents with an actor at once. Definitions are made by people or by configuration; where names
are made up per request, those without an open session make room."""


@attrs.define(slots=True, eq=False)
class _KnownAgent:
    agent: Agent
    ref: Ref[PrepareTurn | SetTool]
    sessions: int = 0  # open ones


@attrs.define(slots=True, eq=False)
class _Opened:
    record: SessionRecord
    ref: Ref[StartTurn]
    holders: int = 1
    keep: bool = True  # has a name of the caller's: its record outlives its last holder


class SessionPool:
    """Opens and closes sessions, each under a restart budget of its own.

    Args:
        system: Where the actors live.
        open_model: Finds the provider connection of a model string.
        filters: The runtime's filters.
        turns_max: Turns in flight.
        sessions_max: Sessions open, and records kept of closed ones.
        tool_threads_max: Threads for sync tools, for each agent.
        clock: Seconds since the epoch.
        new_id: Makes an id with a prefix.
    """

    def __init__(
        self,
        system: ActorSystem,
        *,
        open_model: OpenModel,
        filters: tuple[Filter, ...],
        turns_max: int,
        sessions_max: int,
        tool_threads_max: int,
        clock: Callable[[], float],
        new_id: Callable[[str], str],
    ) -> None:
        self._system = system
        self._open_model = open_model
        self._filters = filters
        self._sessions_max = sessions_max
        self._clock = clock
        self._new_id = new_id
        # One box for all sessions of an agent: each turn that runs may have a tool at work.
        self._tool_limits = ToolLimits(parallel_max=turns_max, threads_max=tool_threads_max)
        self.slots = TurnSlots(turns_max)
        self._opened: dict[str, _Opened] = {}
        # Records of closed sessions that have a caller's name, least recently closed first.
        self._closed: dict[str, SessionRecord] = {}
        # Being stopped: a name is free again only when its last actor is gone.
        self._going: dict[str, Ref[StartTurn]] = {}
        # Opening is quick and has several steps: one at a time, so that a name is taken once.
        self._opening = trio.Lock()
        self._agents: dict[str, _KnownAgent] = {}
        self._under_agents: SupervisorRef
        self._under_sessions: SupervisorRef

    async def start(self) -> None:
        """Start the supervisors; sessions last, so that they are stopped first."""
        pool: dict[str, Any] = {"on_exceeded": "quarantine", "stop_order": "together"}
        self._under_agents = await self._system.supervise(
            SupervisorSpec("agents", children_max=AGENTS_MAX, **pool)
        )
        self._under_sessions = await self._system.supervise(
            SupervisorSpec("sessions", children_max=self._sessions_max, **pool)
        )

    async def open(
        self, agent: Agent, *, id: str | None = None, if_busy: IfBusy | None = None
    ) -> Session:
        """Open a session, or hold one open that is open already.

        Raises:
            Conflict: The session belongs to another agent, or another agent has that name.
            Overloaded: As many sessions are open as there may be.
        """
        session_id = id if id is not None else self._new_id("s")
        async with self._opening:
            return await self._open(agent, session_id, if_busy, keep=id is not None)

    async def _open(
        self, agent: Agent, session_id: str, if_busy: IfBusy | None, *, keep: bool
    ) -> Session:
        if (going := self._going.get(session_id)) is not None:
            await self._system.stop(going)
        if (opened := self._opened.get(session_id)) is not None:
            _same_agent(opened.record, agent)
            opened.holders += 1
            return Session(opened.record, opened.ref, self._new_id)
        record = self._closed.get(session_id) or SessionRecord(session_id, agent)
        _same_agent(record, agent)
        if len(self._opened) >= self._sessions_max:
            raise Overloaded(
                f"{self._sessions_max} sessions are open.",
                remedy="Close some, or raise limits.sessions.",
                data={"limit": self._sessions_max},
            )
        agent_ref = await self.agent(agent)
        ref = await self._system.spawn(
            self._spec(record, agent_ref, if_busy or agent.if_busy), under=self._under_sessions
        )
        self._closed.pop(session_id, None)
        self._opened[session_id] = _Opened(record, ref, keep=keep)
        self._agents[agent.name].sessions += 1
        return Session(record, ref, self._new_id)

    async def close(self, session_id: str) -> None:
        """Let go of a session; with its last holder its actor stops.

        *Cancellation*: the session is let go of; its actor ends on its own, within its bound.
        """
        opened = self._opened.get(session_id)
        if opened is None:
            return
        opened.holders -= 1
        if opened.holders:
            return
        del self._opened[session_id]
        self._agents[opened.record.agent.name].sessions -= 1
        if opened.keep:
            self._closed[session_id] = opened.record
            while len(self._closed) > self._sessions_max:
                del self._closed[next(iter(self._closed))]
        self._going[session_id] = opened.ref
        try:
            await self._system.stop(opened.ref)
        finally:
            self._going.pop(session_id, None)

    async def agent(self, agent: Agent) -> Ref[PrepareTurn | SetTool]:
        """Return the actor of ``agent``, started on first use.

        Raises:
            Conflict: Another definition has that name.
        """
        if (known := self._agents.get(agent.name)) is not None:
            if known.agent == agent:
                return known.ref
            if known.sessions:
                raise Conflict(
                    f"Another agent is called {agent.name!r} in this runtime.",
                    remedy="Give each definition a name of its own, or close its sessions first.",
                )
            await self._forget_agent(agent.name)
        if len(self._agents) >= AGENTS_MAX:
            await self._forget_unused_agent()
        switched_off: set[str] = set()
        box = ToolBox(agent.tools, limits=self._tool_limits)
        spec = ChildSpec(
            agent.name,
            lambda: AgentActor(agent, box, self._filters, self._open_model, switched_off),
            accepts=(PrepareTurn, SetTool),
            # Every turn of every session of this agent begins with one question to it.
            mailbox=MailboxSpec(capacity=1024),
        )
        ref = await self._system.spawn(spec, under=self._under_agents)
        self._agents[agent.name] = _KnownAgent(agent, ref)
        return ref

    async def _forget_agent(self, name: str) -> None:
        await self._system.stop(self._agents.pop(name).ref)

    async def _forget_unused_agent(self) -> None:
        """Make room: the longest known agent without an open session goes, with its switches."""
        unused = (name for name, known in self._agents.items() if not known.sessions)
        name = next(unused, None)
        if name is not None:
            await self._forget_agent(name)

    def _spec(self, record: SessionRecord, agent_ref: Ref[Any], if_busy: IfBusy) -> ChildSpec:
        queue_max = record.agent.queue_max
        return ChildSpec(
            record.id,
            lambda: SessionActor(
                record,
                agent_ref,
                self.slots,
                if_busy=if_busy,
                queue_max=queue_max,
                clock=self._clock,
            ),
            accepts=StartTurn,
            # The running turn, those in line, and one more so that a refusal is heard at once.
            concurrency=queue_max + 2,
        )

    @property
    def open_count(self) -> int:
        return len(self._opened)


def _same_agent(record: SessionRecord, agent: Agent) -> None:
    if record.agent != agent:
        raise Conflict(
            f"Session {record.id} belongs to agent {record.agent.name!r}.",
            remedy="Open it with that agent, or use another id.",
        )
