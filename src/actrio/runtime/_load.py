"""Where settings come from, and which of two wins.

From the strongest to the weakest::

    flags                          given to the command
    environment                    ACTRIO_MODEL, ACTRIO_LIMITS__TURNS (two underscores per level)
    .env                           beside the project file, else in the starting folder
    actrio.toml                    the nearest parent's, or [tool.actrio] of its pyproject.toml
    user file                      $XDG_CONFIG_HOME/actrio/config.toml
    defaults

Tables are merged key by key; a list or a value replaces. Each source is checked by itself first,
so that an error names the file or variable that is wrong and not the sum of all. The process's
environment is read and never changed.

A secret is never a setting. A file names the variable that holds it (``api_key_env``); a literal
key is refused, because files are shared, committed and printed.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import UnionType
from typing import Any, Final, Union, get_args, get_origin, get_type_hints

import attrs
import platformdirs

from actrio.errors import ConfigError, NotFound
from actrio.runtime._settings import AgentSettings, Settings
from actrio.telemetry import redact
from actrio.wire import DocumentFormat, parse_document, structure

__all__ = ["LoadedSettings", "load_agent_file", "load_settings"]

PROJECT_FILE: Final = "actrio.toml"

_PREFIX: Final = "ACTRIO_"

# Read elsewhere, or secrets that a file may name: not settings.
_OTHER_VARIABLES: Final = re.compile(
    r"ACTRIO_(CONFIG|DATA_DIR|HTTP__\w+)|(?!.*__).*_(API_KEY|TOKEN|SECRET|PASSWORD)"
)

_FORMATS: Final[Mapping[str, DocumentFormat]] = {
    ".toml": "toml",
    ".yaml": "yaml",
    ".yml": "yaml",
    ".json": "json",
}

_SECRET_KEY = re.compile(
    r"(.*[-_])?(api[-_]?key|token|secret|password|authorization|cookie)", re.IGNORECASE
)
_VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@attrs.frozen(slots=True, kw_only=True)
class LoadedSettings:
    """Settings, and how they came to be.

    Attributes:
        settings: The settings in force.
        origins: For each key path that somebody set, the source that won.
        env: The environment with the ``.env`` file beneath it: where keys are looked up.
        files: The files that were read, the strongest first.
    """

    settings: Settings
    origins: Mapping[str, str]
    env: Mapping[str, str] = attrs.field(repr=lambda env: f"<{len(env)} variables>")
    files: tuple[Path, ...] = ()


@attrs.frozen(slots=True)
class _Source:
    """One place that says something. ``data`` is checked as a whole `Settings`."""

    name: str
    data: Mapping[str, Any]


@attrs.frozen(slots=True)
class _File:
    path: Path
    data: Mapping[str, Any]


def load_settings(
    *,
    flags: Mapping[str, Any] | None = None,
    env: Mapping[str, str] | None = None,
    start: Path | None = None,
    config: Path | None = None,
) -> LoadedSettings:
    """Read every source of settings and return what they amount to.

    Args:
        flags: What the command line said, shaped like the file; wins over everything.
        env: The environment; the process's own by default.
        start: The folder whose nearest parent with a project file counts; the current one.
        config: A file to read in the place of the project's.

    Raises:
        ConfigError: A source is unreadable or wrong; names file or variable, key, problem and
            remedy.
        NotFound: ``config`` does not exist.
    """
    real_env = dict(os.environ if env is None else env)
    folder = Path.cwd() if start is None else start
    project = _read_config(config) if config is not None else _find_project(folder.resolve())
    user = _read_user_file(real_env)
    files = [file for file in (project, user) if file is not None]
    dot_env_path = (project.path.parent if project else folder) / ".env"
    dot_env = _read_dot_env(dot_env_path)

    sources = [_Source("the command line", dict(flags or {}))]
    sources += _from_variables(real_env, "environment variable")
    unset = {name: value for name, value in dot_env.items() if name not in real_env}
    sources += _from_variables(unset, f"{dot_env_path}:")
    sources += [_Source(str(file.path), file.data) for file in files]
    for source in sources:
        _refuse_secrets(source)
        structure(Settings, source.data, source=source.name)

    merged, origins = _merged(sources)
    settings = structure(Settings, merged, source="the settings together")
    paths = ([dot_env_path] if dot_env else []) + [file.path for file in files]
    return LoadedSettings(
        settings=_agents_named(settings),
        origins=origins,
        env={**dot_env, **real_env},
        files=tuple(paths),
    )


def load_agent_file(path: Path) -> AgentSettings:
    """Return the agent that a TOML, YAML or JSON file describes, by its suffix.

    Raises:
        NotFound: There is no such file.
        ConfigError: It cannot be read or is wrong; names file, place, problem and remedy.
    """
    format = _FORMATS.get(path.suffix.lower())
    if format is None:
        raise ConfigError(
            f"{path}: a file of this kind cannot describe an agent.",
            remedy=f"Use one of {', '.join(_FORMATS)}.",
        )
    data = parse_document(_content(path), source=str(path), format=format)
    _refuse_secrets(_Source(str(path), data))
    agent = structure(AgentSettings, data, source=str(path))
    return agent if agent.name else attrs.evolve(agent, name=path.stem)


# -- files ---------------------------------------------------------------------------------------


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a folder that may not be looked into holds no settings for us
        return False


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise NotFound(f"There is no file {path}.", remedy="Check the path.") from error
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be read: {error.strerror}.", remedy="Make it a readable file."
        ) from error


def _read_config(path: Path) -> _File:
    if path.name == "pyproject.toml":
        return _File(path, _tool_table(path) or {})
    return _File(path, parse_document(_content(path), source=str(path), format="toml"))


def _find_project(folder: Path) -> _File | None:
    for parent in (folder, *folder.parents):
        own = parent / PROJECT_FILE
        if _is_file(own):
            return _read_config(own)
        shared = parent / "pyproject.toml"
        if _is_file(shared) and (table := _tool_table(shared)) is not None:
            return _File(shared, table)
    return None


def _tool_table(path: Path) -> Mapping[str, Any] | None:
    """Return ``[tool.actrio]``, or ``None``: another tool's broken file is not ours to judge."""
    content = _content(path)
    if b"actrio" not in content:
        return None
    try:
        data = tomllib.loads(content.decode())
    except ValueError:
        if b"tool.actrio" not in content:
            return None
        data = parse_document(content, source=str(path), format="toml")
    tools = data.get("tool")
    return tools.get("actrio") if isinstance(tools, Mapping) else None


def _read_user_file(env: Mapping[str, str]) -> _File | None:
    home = env.get("XDG_CONFIG_HOME")
    folder = Path(home) / "actrio" if home else platformdirs.user_config_path("actrio")
    path = folder / "config.toml"
    return _read_config(path) if _is_file(path) else None


def _read_dot_env(path: Path) -> dict[str, str]:
    """Read without interpolation: a value is what stands there, whatever the environment holds."""
    if not _is_file(path):
        return {}
    import dotenv  # late: most folders have no .env

    try:
        values = dotenv.dotenv_values(path, interpolate=False)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{path}: cannot be read as text.", remedy="Make it a readable UTF-8 file."
        ) from error
    return {name: value for name, value in values.items() if value is not None}


# -- variables -----------------------------------------------------------------------------------


def _from_variables(env: Mapping[str, str], origin: str) -> list[_Source]:
    sources = []
    for name in sorted(env):
        if not name.startswith(_PREFIX) or _OTHER_VARIABLES.fullmatch(name):
            continue
        keys = name.removeprefix(_PREFIX).lower().split("__")
        value: Any = _read_as(_type_at(Settings, keys), env[name])
        for key in reversed(keys):
            value = {key: value}
        sources.append(_Source(f"{origin} {name}", value))
    return sources


def _type_at(target: Any, keys: list[str]) -> Any:
    """Return the type of the field at the path ``keys``, or ``None`` where there is no field."""
    for key in keys:
        target = next((one for one in get_args(target) or (target,) if attrs.has(one)), target)
        if attrs.has(target):
            target = get_type_hints(target).get(key)
        elif len(get_args(target)) == 2:  # a mapping: names are free, go on with its values
            target = get_args(target)[1]
        else:
            return None
    return target


def _read_as(target: Any, text: str) -> Any:
    """Return a variable's text as what its place asks for; text stays text where that is right."""
    if target is str or (get_origin(target) in {Union, UnionType} and str in get_args(target)):
        return text
    try:
        parsed = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text  # checked like everything else, so a wrong one is told as what it is
    return parsed["value"] if len(parsed) == 1 else text


# -- secrets -------------------------------------------------------------------------------------


def _refuse_secrets(source: _Source) -> None:
    for path, key, value in _leaves(source.data, ""):
        if key == "api_key_env":
            if not _VARIABLE_NAME.fullmatch(value) or redact(value, env={}) != value:
                raise ConfigError(
                    f"{source.name}: {path}: this is not the name of a variable.",
                    remedy='Write the name, not the key: api_key_env = "OPENAI_API_KEY".',
                )
        elif _SECRET_KEY.fullmatch(key):
            raise ConfigError(
                f"{source.name}: {path}: a literal secret is refused, because files are shared.",
                remedy=(
                    "Set it as an environment variable (or in .env, outside version control) "
                    'and name that variable: api_key_env = "OPENAI_API_KEY".'
                ),
            )


def _leaves(data: Any, path: str) -> Iterator[tuple[str, str, str]]:
    """Yield path, last key and value of every string under ``data``."""
    items: Any = ()
    if isinstance(data, Mapping):
        items = ((f"{path}.{key}" if path else str(key), str(key), data[key]) for key in data)
    elif isinstance(data, (list, tuple)):
        items = ((f"{path}[{index}]", "", item) for index, item in enumerate(data))
    for where, key, value in items:
        if isinstance(value, str):
            yield where, key, value
        else:
            yield from _leaves(value, where)


# -- together ------------------------------------------------------------------------------------


def _merged(sources: list[_Source]) -> tuple[dict[str, Any], dict[str, str]]:
    merged: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for source in reversed(sources):
        _lay_over(merged, source.data, "", source.name, origins)
    return merged, origins


def _lay_over(
    under: dict[str, Any], over: Mapping[str, Any], path: str, name: str, origins: dict[str, str]
) -> None:
    for key, value in over.items():
        where = f"{path}.{key}" if path else key
        if isinstance(value, Mapping):
            inner = under.get(key)
            under[key] = dict(inner) if isinstance(inner, Mapping) else {}
            _lay_over(under[key], value, where, name, origins)
        else:
            under[key] = value
            origins[where] = name


def _agents_named(settings: Settings) -> Settings:
    agents = {
        key: agent if agent.name else attrs.evolve(agent, name=key)
        for key, agent in settings.agents.items()
    }
    return attrs.evolve(settings, agents=agents)
