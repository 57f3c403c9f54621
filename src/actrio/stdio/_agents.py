"""Which agent a session gets: one of the settings, or one made on the spot."""

from __future__ import annotations

import hashlib
from typing import Final

import attrs

from actrio.errors import NotFound
from actrio.runtime import Agent, AgentSettings, Settings, build_agent
from actrio.stdio._params import SessionCreate

__all__ = ["MODEL_WITHOUT_SETTINGS", "AgentChoice"]

MODEL_WITHOUT_SETTINGS: Final = "scripted:demo"
"""What answers where nothing names a model: it needs no key and says that it is a script."""


class AgentChoice:
    """The agents that one connection's sessions can have.

    Args:
        settings: Where agents and the default model are named.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        # By name in the settings. Built once: a runtime wants one definition per name, and tools
        # imported twice are two definitions.
        self._built: dict[str | None, Agent] = {}

    def choose(self, params: SessionCreate) -> Agent:
        """Return the agent that a session is created with.

        What the request says beats the agent's own settings, which beat those for all agents. A
        changed agent gets a name of its own; the same changes give the same name.

        Raises:
            NotFound: The settings have no agent of that name, or a tool of it does not exist.
            ConfigError: A tool of it cannot be imported.
            InvalidRequest: A value of it is out of bounds.
        """
        agent = self._built.get(params.agent)
        if agent is None:
            agent = self._built[params.agent] = self._build(params.agent)
        if params.model is None and params.instructions is None:
            return agent
        changes = f"{params.model}\0{params.instructions}".encode()
        mark = hashlib.sha256(changes).hexdigest()[:12]
        return attrs.evolve(
            agent,
            name=f"{agent.name[:51]}.{mark}",
            model=params.model or agent.model,
            instructions=(
                agent.instructions if params.instructions is None else params.instructions
            ),
        )

    def _build(self, name: str | None) -> Agent:
        settings = self._settings
        if name is None:
            found = AgentSettings(name="assistant")
        elif name in settings.agents:
            found = settings.agents[name]
            found = attrs.evolve(found, name=found.name or name)
        else:
            known = ", ".join(sorted(settings.agents)) or "none"
            raise NotFound(
                f"The settings have no agent {name[:100]!r}.",
                remedy=f"Name one of them ({known}), or leave agent out.",
            )
        model = found.model or settings.model or MODEL_WITHOUT_SETTINGS
        return build_agent(found, model, settings.limits)
