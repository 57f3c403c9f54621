"""Everything that can be set, as frozen values; how they are read is in ``_load``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import attrs

from actrio.errors import ConfigError
from actrio.messages import ModelOptions
from actrio.providers import ProviderSettings
from actrio.providers.local import LocalSettings
from actrio.telemetry import LogLevel

__all__ = ["AgentSettings", "Limits", "LogSettings", "Settings"]


def _at_least_one(_instance: Any, attribute: attrs.Attribute[Any], value: int | None) -> None:
    if value is not None and value < 1:
        raise ConfigError(f"{attribute.name} is {value}", remedy="Write 1 or more.")


def _not_negative(_instance: Any, attribute: attrs.Attribute[Any], value: int | None) -> None:
    if value is not None and value < 0:
        raise ConfigError(f"{attribute.name} is {value}", remedy="Write 0 or more.")


@attrs.frozen(slots=True, kw_only=True)
class Limits:
    """Bounds of one runtime. What goes beyond one waits or is refused; nothing grows without end.

    Attributes:
        turns: Turns in flight at once in the whole runtime. A thousand streams are about what one
            Python process decodes without falling behind; further turns wait.
        sessions: Sessions kept at once. An idle one costs some kilobytes, so ten thousand fit in
            a small machine's memory; one more is refused until another is closed.
        queue_turns: Turns that wait in one session. A person types ahead a few messages; a longer
            queue is a program that does not look at the answers.
        steps: Model calls in one turn, where the agent sets none. Ordinary tool use ends within
            five; a model that needs more than ten is going in circles and costs money.
        tool_threads: Threads for the sync tools of one agent. They wait rather than compute, so
            more than cores; each costs memory and, abandoned by a cancel, may stay for a while.
    """

    turns: int = attrs.field(default=1000, validator=_at_least_one)
    sessions: int = attrs.field(default=10_000, validator=_at_least_one)
    queue_turns: int = attrs.field(default=8, validator=_not_negative)
    steps: int = attrs.field(default=10, validator=_at_least_one)
    tool_threads: int = attrs.field(default=32, validator=_at_least_one)


def _named_tools(_instance: Any, _attribute: Any, value: tuple[str, ...]) -> None:
    for place in value:
        module, _, name = place.partition(":")
        if not name or not all(part.isidentifier() for part in (*module.split("."), name)):
            raise ConfigError(
                f'the tool "{place}" is not of the form module:function',
                remedy='Write for example tools = ["my_tools:weather"].',
            )


@attrs.frozen(slots=True, kw_only=True)
class AgentSettings:
    """One agent as data: an ``[agents.NAME]`` table, or a file of its own.

    Attributes:
        name: What it is called; the table's or the file's name where it is not given.
        model: Its model; the runtime's default model where it is not given.
        instructions: What the model is told before the conversation.
        tools: Its tools as ``module:function``, imported when the agent is made.
        options: Sampling and shape of its model calls.
        steps_max: Model calls in one turn; ``limits.steps`` where it is not given.
        if_busy: Whether a message during a turn waits (``queue``) or is refused (``reject``).
        queue_max: Messages that may wait; ``limits.queue_turns`` where it is not given.
    """

    name: str = ""
    model: str | None = None
    instructions: str = ""
    tools: tuple[str, ...] = attrs.field(default=(), validator=_named_tools)
    options: ModelOptions = ModelOptions()
    steps_max: int | None = attrs.field(default=None, validator=_at_least_one)
    if_busy: Literal["queue", "reject"] = "queue"
    queue_max: int | None = attrs.field(default=None, validator=_not_negative)


@attrs.frozen(slots=True, kw_only=True)
class LogSettings:
    """What is logged, and how. Logs never go to standard output."""

    level: LogLevel = "warning"
    json: bool = False


@attrs.frozen(slots=True, kw_only=True)
class Settings:
    """All settings of a runtime.

    Attributes:
        model: The model of agents that name none.
        agent: The agent that the command line talks to where none is given.
        providers: ``[providers.NAME]`` tables, by name.
        local: How the model on this machine is run.
        limits: Bounds.
        agents: ``[agents.NAME]`` tables, by name.
        log: What is logged.
    """

    model: str | None = None
    agent: str | None = None
    providers: Mapping[str, ProviderSettings] = attrs.field(factory=dict)
    local: LocalSettings = attrs.field(factory=LocalSettings)
    limits: Limits = Limits()
    agents: Mapping[str, AgentSettings] = attrs.field(factory=dict)
    log: LogSettings = LogSettings()
