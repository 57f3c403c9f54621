"""From agents as data to agents: imports what a definition names."""

from __future__ import annotations

import importlib
from typing import Any

from actrio.agents import Agent
from actrio.errors import ConfigError, NotFound
from actrio.runtime._settings import AgentSettings, Limits
from actrio.tools import Tool, tool

__all__ = ["build_agent", "import_named"]


def build_agent(found: AgentSettings, model: str, limits: Limits) -> Agent:
    """Return the agent that ``found`` describes, its tools imported.

    Args:
        found: The definition as data.
        model: Its model, where ``found`` may have left it to the settings.
        limits: What bounds it where it sets no bound of its own.

    Raises:
        NotFound: A tool's module or name does not exist.
        ConfigError: A tool cannot be imported, or is no function.
    """
    return Agent(
        name=found.name or "assistant",
        model=model,
        instructions=found.instructions,
        tools=tuple(_tool(place, found.name) for place in found.tools),
        options=found.options,
        steps_max=found.steps_max or limits.steps,
        if_busy=found.if_busy,
        window_tokens=found.window_tokens,
        queue_max=limits.queue_turns if found.queue_max is None else found.queue_max,
    )


def _tool(place: str, agent: str) -> Tool:
    value = import_named(place)
    if isinstance(value, Tool):
        return value
    if not callable(value):
        raise ConfigError(
            f'The tool "{place}" of the agent "{agent}" is no function.',
            remedy="Name a function, or what @tool made of one.",
        )
    return tool(value)


def import_named(place: str) -> Any:
    """Return what ``module:name`` means.

    Raises:
        NotFound: There is no such module or name.
        ConfigError: The module raised while it was imported; the cause is chained.
    """
    module_name, _, name = place.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise NotFound(
            f'"{place}" cannot be imported: there is no module {error.name}.',
            remedy="Run from the folder that holds it, or install it.",
        ) from error
    except Exception as error:  # any code may stand there, and its failure is the user's to mend
        raise ConfigError(
            f'"{place}" cannot be imported: {type(error).__name__}: {error}.',
            remedy=f"Correct {module_name}; --debug shows where.",
        ) from error
    try:
        return getattr(module, name)
    except AttributeError as error:
        raise NotFound(
            f'The module {module_name} has no "{name}".', remedy="Check the name after the colon."
        ) from error
