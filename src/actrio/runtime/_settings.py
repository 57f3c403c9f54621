"""Everything that can be set, as frozen values; how they are read is in ``_load``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

import attrs

from actrio.errors import ConfigError
from actrio.messages import IfBusy, ModelOptions
from actrio.providers import ProviderSettings
from actrio.providers.local import LocalSettings
from actrio.telemetry import LogLevel

__all__ = [
    "AgentSettings",
    "Limits",
    "LogSettings",
    "Settings",
    "StoreSettings",
    "duration_seconds",
]


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
        turns_waiting: Turns that wait for one of these to end. One more is refused with the time
            after which to come back: a longer line only makes everybody late.
        sessions: Sessions held open at once. One more is refused until another is closed.
        sessions_resident: Sessions in memory. An idle one costs 12 to 20 kB, so ten thousand fit
            in a small machine's memory; beyond it the longest idle ones leave memory.
        idle_seconds: After how much idleness a session leaves memory. A person who reads an
            answer is back within five minutes; coming back later costs milliseconds.
        approval_seconds: How long a turn that waits for a person stays in memory.
        stall_seconds: How long a turn waits for a reader that takes nothing.
        queue_turns: Turns that wait in one session. A person types ahead a few messages; a longer
            queue is a program that does not look at the answers.
        steps: Model calls in one turn, where the agent sets none. Ordinary tool use ends within
            five; a model that needs more than ten is going in circles and costs money.
        tool_threads: Threads for the sync tools of one agent. They wait rather than compute, so
            more than cores; each costs memory and, abandoned by a cancel, may stay for a while.
    """

    turns: int = attrs.field(default=1000, validator=_at_least_one)
    turns_waiting: int = attrs.field(default=10_000, validator=_at_least_one)
    sessions: int = attrs.field(default=10_000, validator=_at_least_one)
    sessions_resident: int = attrs.field(default=10_000, validator=_at_least_one)
    idle_seconds: float = attrs.field(default=300.0, validator=attrs.validators.gt(0))
    approval_seconds: float = attrs.field(default=60.0, validator=attrs.validators.gt(0))
    stall_seconds: float = attrs.field(default=30.0, validator=attrs.validators.gt(0))
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
        if_busy: What is done with a message during a turn: it waits (``queue``), is refused
            (``reject``), breaks the turn off (``interrupt``), takes its place (``rollback``), or
            is taken in by it (``steer``).
        window_tokens: How much of the history the model is shown, about; all where not given.
        queue_max: Messages that may wait; ``limits.queue_turns`` where it is not given.
    """

    name: str = ""
    model: str | None = None
    instructions: str = ""
    tools: tuple[str, ...] = attrs.field(default=(), validator=_named_tools)
    options: ModelOptions = ModelOptions()
    steps_max: int | None = attrs.field(default=None, validator=_at_least_one)
    if_busy: IfBusy = "queue"
    queue_max: int | None = attrs.field(default=None, validator=_not_negative)
    window_tokens: int | None = attrs.field(default=None, validator=_at_least_one)


def _duration(_instance: Any, attribute: attrs.Attribute[Any], value: str | None) -> None:
    if value is not None:
        duration_seconds(value, attribute.name)


_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def duration_seconds(text: str, name: str = "a duration") -> float:
    """Return the seconds in a duration like ``90s``, ``15m``, ``12h``, ``30d`` or ``8w``.

    Raises:
        ConfigError: It is none.
    """
    number, unit = text[:-1], text[-1:]
    if unit not in _UNITS or not number.isdigit() or not int(number):
        raise ConfigError(
            f'{name} is "{text}"', remedy='Write a number and s, m, h, d or w, for example "30d".'
        )
    return float(int(number) * _UNITS[unit])


@attrs.frozen(slots=True, kw_only=True)
class StoreSettings:
    """Where sessions are kept, and for how long.

    Attributes:
        kind: ``memory``: as long as the runtime lives. ``embedded``: in files of this machine,
            which several processes may share. Where it is not given: in memory; the commands that
            have named sessions (chat, run --session, serve, sessions) use files.
        folder: Where the files are; by default in ``ACTRIO_DATA_DIR``, or else in the user's data
            folder.
        namespace: Sessions of one namespace know nothing of those of another.
        durability: What an acknowledged record survives: ``none`` nothing, ``batch`` the end of
            the process, ``always`` that of the machine too.
        batch_seconds: With ``batch``: how much of the latest the end of the machine may take.
        retention: How long a session is kept after it was last used, for example ``30d``; for
            ever where it is not given.
        namespace_retention: The same for single namespaces, by name.
        redact_fields: Names of fields whose values are never written, wherever they stand.
    """

    kind: Literal["memory", "embedded"] | None = None
    folder: str | None = None
    namespace: str = "default"
    durability: Literal["none", "batch", "always"] = "batch"
    batch_seconds: float = attrs.field(default=0.05, validator=attrs.validators.gt(0))
    retention: str | None = attrs.field(default=None, validator=_duration)
    namespace_retention: Mapping[str, str] = attrs.field(factory=dict)
    redact_fields: tuple[str, ...] = ()

    @property
    def retention_seconds(self) -> float | None:
        """How long sessions of this namespace are kept; None: for ever."""
        text = self.namespace_retention.get(self.namespace, self.retention)
        return None if text is None else duration_seconds(text, "retention")


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
        store: Where sessions are kept.
        agents: ``[agents.NAME]`` tables, by name.
        log: What is logged.
    """

    model: str | None = None
    agent: str | None = None
    providers: Mapping[str, ProviderSettings] = attrs.field(factory=dict)
    local: LocalSettings = attrs.field(factory=LocalSettings)
    limits: Limits = Limits()
    store: StoreSettings = attrs.field(factory=StoreSettings)
    agents: Mapping[str, AgentSettings] = attrs.field(factory=dict)
    log: LogSettings = LogSettings()
