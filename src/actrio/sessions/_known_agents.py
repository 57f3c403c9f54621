"""The agents of one runtime: their definitions by name, and an actor for each that is used."""

from __future__ import annotations

from typing import Final

import attrs
import trio

from actrio.actors import ActorSystem, ChildSpec, MailboxSpec, Ref, SupervisorRef, SupervisorSpec
from actrio.agents import Agent, AgentActor, OpenModel, Prepared, ToolSwitches
from actrio.errors import Conflict, NotFound
from actrio.filters import Filter
from actrio.messages import PrepareTurn, SetTool
from actrio.tools import ToolBox, ToolLimits

__all__ = ["KnownAgents"]

AGENTS_MAX: Final = 10_000
"""Agents with an actor at once. Definitions are made by people or by configuration; where names
are made up per request, those without an open session make room."""


@attrs.define(slots=True, eq=False)
class _KnownAgent:
    agent: Agent
    ref: Ref[PrepareTurn | SetTool]
    switches: ToolSwitches
    sessions: int = 0  # open ones
    # What its actor answered last, and the switches that it had then.
    prepared: Prepared | None = None
    prepared_for: frozenset[str] | None = None


class KnownAgents:
    """Finds agents by name, and starts an actor for each on first use.

    Args:
        system: Where the actors live.
        filters: The runtime's filters.
        open_model: Finds the provider connection of a model string.
        tool_limits: Bounds of the tools of one agent, in all its sessions together.
    """

    def __init__(
        self,
        system: ActorSystem,
        *,
        filters: tuple[Filter, ...],
        open_model: OpenModel,
        tool_limits: ToolLimits,
    ) -> None:
        self._system = system
        self._filters = filters
        self._open_model = open_model
        self._tool_limits = tool_limits
        self._known: dict[str, _KnownAgent] = {}
        # Starting an agent has several steps: one at a time, so that a name is taken once.
        self._starting = trio.Lock()
        self._registered: dict[str, Agent] = {}
        self._under: SupervisorRef

    async def start(self) -> None:
        """Start the supervisor."""
        self._under = await self._system.supervise(
            SupervisorSpec(
                "agents", children_max=AGENTS_MAX, on_exceeded="quarantine", stop_order="together"
            )
        )

    def register(self, agent: Agent) -> None:
        """Let ``agent`` be found by its name; it takes the place of one of the same name.

        Raises:
            Conflict: Another definition has that name, and sessions of it are open.
        """
        known = self._known.get(agent.name)
        if known is not None and known.agent != agent and known.sessions:
            raise _name_taken(agent.name)
        self._registered[agent.name] = agent
        while len(self._registered) > AGENTS_MAX:
            del self._registered[next(iter(self._registered))]

    @property
    def definitions(self) -> tuple[Agent, ...]:
        """All agents that can be found by name."""
        known = {name: each.agent for name, each in self._known.items()}
        return tuple({**known, **self._registered}.values())

    def definition(self, name: str) -> Agent:
        """Return the agent of that name.

        Raises:
            NotFound: None is registered, and none has been used.
        """
        found = self._registered.get(name)
        if found is None and name in self._known:
            found = self._known[name].agent
        if found is None:
            raise NotFound(
                f"No agent is called {name!r} here.",
                remedy="Register it with `runtime.register(agent)`, or write an [agents] table.",
            )
        return found

    async def prepare(self, name: str) -> Prepared:
        """Return what a turn of that agent begins with."""
        known = await self._used(self.definition(name))
        off = known.switches.off
        if known.prepared is None or known.prepared_for is not off:
            # Noted with the switches from before: one that changes meanwhile is asked about again.
            known.prepared = await known.ref.ask(PrepareTurn())
            known.prepared_for = off
        return known.prepared

    def hold(self, name: str) -> None:
        """One more session of it is open, so it makes room for no other."""
        self._known[name].sessions += 1

    def let_go(self, name: str) -> None:
        """One session less of it is open."""
        self._known[name].sessions -= 1

    async def actor(self, agent: Agent) -> Ref[PrepareTurn | SetTool]:
        """Return the actor of ``agent``, started on first use.

        Raises:
            Conflict: Another definition has that name.
        """
        return (await self._used(agent)).ref

    async def _used(self, agent: Agent) -> _KnownAgent:
        if (known := self._known.get(agent.name)) is not None and known.agent is agent:
            return known
        async with self._starting:
            return await self._started(agent)

    async def _started(self, agent: Agent) -> _KnownAgent:
        if (known := self._known.get(agent.name)) is not None:
            if known.agent == agent:
                return known
            if known.sessions:
                raise _name_taken(agent.name)
            await self._forget(agent.name)
        if len(self._known) >= AGENTS_MAX:
            await self._forget_unused()
        switches = ToolSwitches()
        box = ToolBox(agent.tools, limits=self._tool_limits)
        spec = ChildSpec(
            agent.name,
            lambda: AgentActor(agent, box, self._filters, self._open_model, switches),
            accepts=(PrepareTurn, SetTool),
            # Every turn of every session of this agent begins with one question to it.
            mailbox=MailboxSpec(capacity=1024),
        )
        ref = await self._system.spawn(spec, under=self._under)
        known = self._known[agent.name] = _KnownAgent(agent, ref, switches)
        return known

    async def _forget(self, name: str) -> None:
        await self._system.stop(self._known.pop(name).ref)

    async def _forget_unused(self) -> None:
        """Make room: the longest known agent without an open session goes, with its switches."""
        unused = (name for name, known in self._known.items() if not known.sessions)
        name = next(unused, None)
        if name is not None:
            await self._forget(name)


def _name_taken(name: str) -> Conflict:
    return Conflict(
        f"Another agent is called {name!r} in this runtime.",
        remedy="Give each definition a name of its own, or close its sessions first.",
    )
