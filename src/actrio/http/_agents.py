"""Which agents the service offers: those of the settings, those given by the program, those made
by clients, and those that the program registers later.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from typing import Any, Final

import attrs

from actrio.agents import Agent
from actrio.errors import Conflict, NotFound, Overloaded
from actrio.http._facade import is_derived
from actrio.runtime import Runtime, build_agent
from actrio.tools import Tool

__all__ = ["AgentDirectory", "ServedAgent"]

MODEL_WITHOUT_SETTINGS: Final = "scripted:demo"
"""What answers where nothing names a model: it needs no key and says that it is a script."""

AGENTS_MAX: Final = 1000
"""A definition is small, but a client in a loop must not fill the memory with them."""

_NAMESPACE: Final = uuid.UUID("6f0b7f36-6a55-5c0e-9a1e-6d7a0b1c2d3e")


@attrs.frozen(slots=True, kw_only=True)
class ServedAgent:
    """An agent as the service offers it.

    Attributes:
        id: Its id in the older contract, a UUID; the same for the same name, also after a restart.
        agent: The definition itself.
        tools_off: Tools that are switched off.
        told: What its creator said beside the definition, as it was said.
    """

    id: str
    agent: Agent
    tools_off: frozenset[str] = frozenset()
    told: Mapping[str, Any] = attrs.field(factory=dict, hash=False)


class AgentDirectory:
    """Agents by id and by name.

    Args:
        runtime: Its settings name agents and the default model; its sessions find agents by name.
        given: Agents of the program that embeds the service.
    """

    def __init__(self, runtime: Runtime, given: Iterable[Agent] = ()) -> None:
        settings = runtime.settings
        self._runtime = runtime
        self.default_model = settings.model or MODEL_WITHOUT_SETTINGS
        self._by_id: dict[str, ServedAgent] = {}
        for name, found in settings.agents.items():
            named = attrs.evolve(found, name=found.name or name)
            model = named.model or self.default_model
            self._add(build_agent(named, model, settings.limits))
        for agent in given:
            self._add(agent)
        self._take_registered()
        if not self._by_id:
            self._add(Agent("assistant", model=self.default_model))

    def _add(self, agent: Agent, told: Mapping[str, Any] | None = None) -> ServedAgent:
        self._runtime.register(agent)
        made = ServedAgent(id=_id_of(agent.name), agent=agent, told=told or {})
        self._by_id[made.id] = made
        return made

    def _take_registered(self) -> None:
        for agent in self._runtime.agents():
            id = _id_of(agent.name)
            if id not in self._by_id and not is_derived(agent):
                self._by_id[id] = ServedAgent(id=id, agent=agent)

    def all(self) -> tuple[ServedAgent, ...]:
        self._take_registered()
        return tuple(self._by_id.values())

    def get(self, id: str) -> ServedAgent:
        """Return an agent, by its id or its name.

        Raises:
            NotFound: There is none.
        """
        self._take_registered()
        found = self._by_id.get(id) or self._by_id.get(_id_of(id))
        if found is None:
            raise NotFound(
                f"There is no agent {id[:100]!r}.", remedy="GET /v1/agents lists those there are."
            )
        return found

    def tools(self) -> dict[str, Tool]:
        """Return all tools of all agents, by name; the first of a name counts."""
        found: dict[str, Tool] = {}
        for served in self._by_id.values():
            for tool in served.agent.tools:
                found.setdefault(tool.name, tool)
        return found

    def create(self, agent: Agent, told: Mapping[str, Any] | None = None) -> ServedAgent:
        """Add an agent.

        Raises:
            Conflict: The name is taken.
            Overloaded: There are as many as there may be.
        """
        if _id_of(agent.name) in self._by_id:
            raise Conflict(
                f"There is an agent {agent.name!r} already.", remedy="Choose another name."
            )
        if len(self._by_id) >= AGENTS_MAX:
            raise Overloaded(
                f"There are {AGENTS_MAX} agents.",
                remedy="Use one of them.",
                data={"limit": AGENTS_MAX},
            )
        return self._add(agent, told)

    def switch(self, served: ServedAgent, tool: str, *, enabled: bool) -> None:
        """Remember whether a tool of an agent is on."""
        now = self._by_id[served.id]
        off = now.tools_off - {tool} if enabled else now.tools_off | {tool}
        self._by_id[served.id] = attrs.evolve(now, tools_off=off)


def _id_of(name: str) -> str:
    return str(uuid.uuid5(_NAMESPACE, name))
