"""The agent actor: owner of a definition and of its tool switches.

A turn begins with what the actor made of both (`Prepared`). That is a value, good until a switch
changes, so it is kept where turns begin and asked for again only then: a switched tool counts from
the next turn on, and two sessions of one agent share nothing but this.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import attrs

from actrio.actors import Actor, Context, Ref
from actrio.agents._definition import Agent
from actrio.errors import NotFound
from actrio.filters import Filter
from actrio.messages import ModelInput, PrepareTurn, SetTool
from actrio.tools import ToolBox

__all__ = ["AgentActor", "OpenModel", "Prepared", "ToolSwitches"]

OpenModel = Callable[[str], Awaitable[tuple[Ref[ModelInput], str]]]
"""Returns the connection that serves a model string, and the provider's name for the model."""


@attrs.frozen(slots=True)
class Prepared:
    """An agent as one turn uses it."""

    agent: Agent
    tools: ToolBox
    connection: Ref[ModelInput]
    model: str
    filters: tuple[Filter, ...]


@attrs.define(slots=True, eq=False)
class ToolSwitches:
    """An agent's disabled tools. Its actor replaces the set, and nobody else does; anybody may see by
    its identity whether it did.
    """

    off: frozenset[str] = frozenset()


class AgentActor(Actor[PrepareTurn | SetTool]):
    """Answers `PrepareTurn` with a `Prepared`; obeys `SetTool`.

    Args:
        agent: The definition.
        tools: Its tools, with the limits that all its sessions share.
        filters: The runtime's filters; the agent's own stand inside them.
        open_model: Finds the provider connection.
        switches: Its disabled tools; lives behind the factory, so a restart keeps them.
    """

    def __init__(
        self,
        agent: Agent,
        tools: ToolBox,
        filters: tuple[Filter, ...],
        open_model: OpenModel,
        switches: ToolSwitches,
    ) -> None:
        self._agent = agent
        self._tools = tools
        self._filters = (*filters, *agent.filters)
        self._open_model = open_model
        self._switches = switches

    async def receive(self, message: PrepareTurn | SetTool, _ctx: Context) -> Any:
        match message:
            case PrepareTurn():
                connection, model = await self._open_model(self._agent.model)
                tools = self._tools.with_disabled(self._switches.off)
                return Prepared(self._agent, tools, connection, model, self._filters)
            case SetTool(name, enabled):
                known = [each.spec.name for each in self._agent.tools]
                if name not in known:
                    raise NotFound(
                        f"Agent {self._agent.name} has no tool {name!r}.",
                        remedy=f"It has {', '.join(known) or 'none'}.",
                    )
                off = self._switches.off
                self._switches.off = off - {name} if enabled else off | {name}
                return None
