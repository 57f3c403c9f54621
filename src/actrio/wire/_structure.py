"""Data from a file becomes attrs values, or one error that a person can act on."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeVar

import attrs
from cattrs.errors import (
    AttributeValidationNote,
    BaseValidationError,
    ForbiddenExtraKeysError,
    IterableValidationNote,
)

from actrio.errors import ActrioError, ConfigError
from actrio.wire._strict import WrongType, strict_converter

__all__ = ["Problem", "problems_of", "structure", "unknown_key"]

T = TypeVar("T")

PROBLEMS_SHOWN_MAX: Final = 8
"""More at once are not read; the rest is counted."""

_converter = strict_converter(forbid_extra_keys=True)


@attrs.frozen(slots=True)
class Problem:
    """One thing wrong in some data: where, what, and what to do."""

    path: str
    problem: str
    remedy: str


def structure(cls: type[T], data: Any, *, source: str) -> T:
    """Return ``data`` as a ``cls``; unknown keys and values of a wrong type are errors.

    Args:
        cls: An attrs class, or a type built of attrs classes.
        data: What a TOML, YAML or JSON parser gave.
        source: What to call the data in an error: a file name, an option, a variable.

    Raises:
        ConfigError: Names the source and, for each problem, key path, problem and remedy. All
            problems are in it, also as ``data["problems"]``.
    """
    try:
        return _converter.structure(data, cls)
    except (BaseValidationError, WrongType, TypeError, ValueError, ActrioError) as error:
        problems = list(problems_of(error))
        raise _config_error(source, problems) from error


def unknown_key(key: str, allowed: list[str]) -> tuple[str, str]:
    """Return problem and remedy for a key that has no place."""
    close = difflib.get_close_matches(key, allowed, n=1)
    hint = f'Did you mean "{close[0]}"? ' if close else ""
    return "unknown key", f"{hint}Allowed there: {', '.join(sorted(allowed))}."


def problems_of(error: BaseException, path: str = "") -> Iterator[Problem]:
    """Walk an error of cattrs down to its leaves."""
    if isinstance(error, BaseValidationError):
        for inner in error.exceptions:
            yield from problems_of(inner, _path_of(inner, path))
        return
    if isinstance(error, ForbiddenExtraKeysError):
        allowed = [field.name for field in attrs.fields(error.cl) if field.init]
        for key in sorted(map(str, error.extra_fields)):
            problem, remedy = unknown_key(key, allowed)
            yield Problem(_join(path, key), problem, remedy)
        return
    yield Problem(path, *_leaf(error))


def _leaf(error: BaseException) -> tuple[str, str]:
    match error:
        case WrongType():
            return str(error), f"Write {error.expected}."
        case KeyError():
            return "missing", "Add this key."
        case ActrioError():
            return error.message.rstrip("."), error.remedy or "Change the value."
        case _:
            return str(error).rstrip("."), "Change the value."


def _path_of(error: BaseException, path: str) -> str:
    for note in getattr(error, "__notes__", ()):
        if isinstance(note, AttributeValidationNote):
            return _join(path, note.name)
        if isinstance(note, IterableValidationNote):
            return _join(path, note.index)
    return path


def _join(path: str, key: str | int) -> str:
    if isinstance(key, int):
        return f"{path}[{key}]"
    return f"{path}.{key}" if path else key


def _config_error(source: str, problems: list[Problem]) -> ConfigError:
    shown = problems[:PROBLEMS_SHOWN_MAX]
    data: Mapping[str, Any] = {
        "source": source,
        "problems": [attrs.asdict(problem) for problem in problems],
    }
    if len(shown) == 1:
        only = shown[0]
        return ConfigError(_said(source, only), remedy=only.remedy, data=data)
    lines = [f"{_said(source, one)} {one.remedy}" for one in shown]
    if len(problems) > len(shown):
        lines.append(f"… and {len(problems) - len(shown)} more.")
    heading = f"{source} has {len(problems)} problems:"
    return ConfigError(
        "\n  ".join([heading, *lines]), remedy="Correct the keys named above.", data=data
    )


def _said(source: str, problem: Problem) -> str:
    place = f"{source}: {problem.path}" if problem.path else source
    return f"{place}: {problem.problem}."
