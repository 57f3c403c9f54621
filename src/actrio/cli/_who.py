"""Which agent answers, on which model: from flags, a file, a module or the settings."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs

from actrio.agents import Agent
from actrio.errors import InvalidRequest, NotFound
from actrio.providers.local import installed_models
from actrio.runtime import (
    AgentSettings,
    LoadedSettings,
    Settings,
    build_agent,
    import_named,
    load_agent_file,
)

if TYPE_CHECKING:
    from actrio.cli._app import Who

__all__ = ["Chosen", "choose_agent", "fallback_model", "importable_from", "local_is_ready"]

LOCAL_MODEL: Final = "local:smollm2"
SCRIPTED_MODEL: Final = "scripted:demo"

_SUFFIXES: Final = frozenset({".toml", ".yaml", ".yml", ".json"})


@attrs.frozen(slots=True)
class Chosen:
    """The agent that answers, and what the person should be told about the choice."""

    agent: Agent
    remark: str | None = None


def choose_agent(who: Who, loaded: LoadedSettings) -> Chosen:
    """Return the agent that the flags and settings mean.

    Raises:
        NotFound: There is no such file, module, variable or name.
        ConfigError: An agent file is wrong, or the code that an agent names cannot be imported.
    """
    settings = loaded.settings
    given = who.agent or settings.agent
    found = _find(given, settings) if given else AgentSettings(name="assistant")
    # A model in the flags beats the agent's own, which beats the settings' for all agents.
    model, remark = who.model or found.model or settings.model, None
    if not model:
        model, remark = fallback_model(loaded.env)
    if isinstance(found, AgentSettings):
        agent = build_agent(found, model, settings.limits)
    else:
        agent = attrs.evolve(found, model=model)
    if who.max_steps is not None:
        agent = attrs.evolve(agent, steps_max=who.max_steps)
    return Chosen(agent, remark)


def fallback_model(env: Mapping[str, str]) -> tuple[str, str]:
    """Return the model to use where nothing names one, and a line that says so."""
    how = 'set one with --model or ACTRIO_MODEL ("actrio doctor" shows what can be used)'
    if local_is_ready(env):
        return LOCAL_MODEL, f"no model is set, so {LOCAL_MODEL} on this machine answers; {how}"
    return SCRIPTED_MODEL, f"no model is set, so a script answers ({SCRIPTED_MODEL}); {how}"


def local_is_ready(env: Mapping[str, str]) -> bool:
    """Return whether the extra and the bundled model are both here."""
    name = LOCAL_MODEL.partition(":")[2]
    present = any(model.name == name for model in installed_models(env))
    return present and importlib.util.find_spec("xllamacpp") is not None


def _find(given: str, settings: Settings) -> AgentSettings | Agent:
    path = Path(given)
    if path.suffix.lower() in _SUFFIXES:
        importable_from(path.resolve().parent)
        return load_agent_file(path)
    if ":" in given:
        importable_from(Path.cwd())
        return _as_agent(given, import_named(given))
    if given in settings.agents:
        importable_from(Path.cwd())
        return settings.agents[given]
    known = ", ".join(sorted(settings.agents)) or "none"
    raise NotFound(
        f'There is no agent "{given}".',
        remedy=(
            f"Name a .toml, .yaml or .json file, module:variable, or an [agents.NAME] table "
            f"of the settings (there: {known})."
        ),
    )


def _as_agent(place: str, value: Any) -> AgentSettings | Agent:
    if isinstance(value, (Agent, AgentSettings)):
        return value
    raise InvalidRequest(
        f"{place} is no agent but a {type(value).__name__}.",
        remedy="Name a module's variable that holds an actrio.Agent.",
    )


def importable_from(folder: Path) -> None:
    """Let code beside an agent's file be imported, as ``python -m`` lets code in its folder."""
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
