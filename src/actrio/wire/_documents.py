"""TOML, YAML and JSON text as plain data; what cannot be read is told with file and line."""

from __future__ import annotations

import json
import re
import tomllib
from typing import Any, Final, Literal, NoReturn

from actrio.errors import ConfigError

__all__ = ["DOCUMENT_BYTES_MAX", "DocumentFormat", "parse_document"]

DocumentFormat = Literal["toml", "yaml", "json"]

DOCUMENT_BYTES_MAX: Final = 1024 * 1024
"""Largest document. A configuration of a megabyte is another file named by mistake."""

_TOML_PLACE = re.compile(r"\(at line (\d+), column (\d+)\)")


def parse_document(content: bytes, *, source: str, format: DocumentFormat) -> dict[str, Any]:
    """Return the table that ``content`` holds.

    Args:
        content: The file's bytes: UTF-8, with or without a byte order mark.
        source: The file's name, for errors.
        format: Which language it is written in.

    Raises:
        ConfigError: It is too large, not UTF-8, not of that language, or holds no table; names
            file, line and column where they are known.
    """
    if len(content) > DOCUMENT_BYTES_MAX:
        raise ConfigError(
            f"{source}: {len(content)} bytes are more than a configuration may have.",
            remedy=f"Keep it under {DOCUMENT_BYTES_MAX} bytes, or name another file.",
        )
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise _unreadable(source, "not UTF-8 text", line) from error
    try:
        data = _PARSERS[format](text, source)
    except RecursionError as error:
        raise ConfigError(
            f"{source}: nested too deeply.", remedy="Write fewer levels of brackets."
        ) from error
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise ConfigError(
            f"{source}: holds no table at its top level.",
            remedy="Write keys with values, such as model = …",
        )
    return data


def _toml(text: str, source: str) -> Any:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        told = str(error)
        place = _TOML_PLACE.search(told)
        line, column = (int(place[1]), int(place[2])) if place else (text.count("\n") + 1, None)
        problem = _TOML_PLACE.sub("", told).removesuffix("(at end of document)").strip()
        raise _unreadable(source, f"not valid TOML: {problem}", line, column) from error


def _yaml(text: str, source: str) -> Any:
    import yaml  # late: settings are TOML, and only agents may be YAML

    try:
        return yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, None)
        problem = error.problem or "unreadable"
        raise _unreadable(source, f"not valid YAML: {problem}", line, column) from error
    except (yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError) as error:
        # An explicit tag over a wrong value (`!!bool maybe`) escapes PyYAML as one of these.
        problem = str(error).splitlines()[0] if str(error) else "unreadable"
        raise ConfigError(
            f"{source}: not valid YAML: {problem}.", remedy="Correct the file."
        ) from error


def _json(text: str, source: str) -> Any:
    def refuse(constant: str) -> NoReturn:
        raise ConfigError(f"{source}: {constant} is no JSON.", remedy="Write a number.")

    try:
        return json.loads(text, parse_constant=refuse)
    except json.JSONDecodeError as error:
        raise _unreadable(
            source, f"not valid JSON: {error.msg}", error.lineno, error.colno
        ) from error
    except ValueError as error:  # a number of thousands of digits
        raise ConfigError(f"{source}: not valid JSON: {error}.", remedy="Correct it.") from error


_PARSERS: Final = {"toml": _toml, "yaml": _yaml, "json": _json}


def _unreadable(source: str, problem: str, line: int, column: int | None = None) -> ConfigError:
    place = f"{source}:{line}" if column is None else f"{source}:{line}:{column}"
    return ConfigError(
        f"{place}: {problem.rstrip('.')}.",
        remedy="Correct that line.",
        data={"source": source, "line": line},
    )
