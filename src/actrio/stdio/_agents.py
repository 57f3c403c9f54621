"""Which agent a session gets: one of the settings, or one made on the spot."""

from __future__ import annotations

import hashlib
from typing import Final

import attrs

from actrio.errors import NotFound
from actrio.runtime import Agent, AgentSettings, Settings, build_agent
from actrio.stdio._params import SessionCreate

__all__ = ["MODEL_WITHOUT_SETTINGS", "agent_for"]

MODEL_WITHOUT_SETTINGS: Final = "scripted:demo"
"""What answers where nothing names a model: it needs no key and says that it is a script."""


def agent_for(params: SessionCreate, settings: Settings) -> Agent:
    """Return the agent that a session is created with.

    What the request says beats the agent's own settings, which beat those for all agents. Within
    a runtime a name stands for one definition, so a changed agent gets a name of its own; the
    same changes give the same name.

    Raises:
        NotFound: The settings have no agent of that name, or a tool of it does not exist.
        ConfigError: A tool of it cannot be imported.
        InvalidRequest: A value of it is out of bounds.
    """
    found = _found(params.agent, settings)
    if params.instructions is not None:
        found = attrs.evolve(found, instructions=params.instructions)
    model = params.model or found.model or settings.model or MODEL_WITHOUT_SETTINGS
    if params.model is not None or params.instructions is not None:
        changes = f"{params.model}\0{params.instructions}".encode("utf-8", "surrogatepass")
        mark = hashlib.sha256(changes).hexdigest()[:12]
        found = attrs.evolve(found, name=f"{found.name[:51]}.{mark}")
    return build_agent(found, model, settings.limits)


def _found(name: str | None, settings: Settings) -> AgentSettings:
    if name is None:
        return AgentSettings(name="assistant")
    if name in settings.agents:
        found = settings.agents[name]
        return attrs.evolve(found, name=found.name or name)
    known = ", ".join(sorted(settings.agents)) or "none"
    raise NotFound(
        f"The settings have no agent {name[:100]!r}.",
        remedy=f"Name one of them ({known}), or leave agent out.",
    )
