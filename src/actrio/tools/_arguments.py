"""The arguments a model wrote, read strictly; or everything that is wrong with them, at once.

A model corrects what it is told about. So a failure lists *all* problems, each with its JSON path,
what was expected and what was there, and says that nothing was run.
"""

from __future__ import annotations

import itertools
import re
import types
import typing
from collections import abc
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import attrs
import msgspec

from actrio.tools._schema import describe, schema_of
from actrio.tools._signature import Parameter, ToolSignature

__all__ = ["ARGUMENTS_BYTES_MAX", "ArgumentsInvalid", "read_arguments"]

ARGUMENTS_BYTES_MAX: Final = 1024 * 1024
"""Largest arguments of one call. No model writes 1 MiB (about 250 000 tokens) in one answer."""

_PROBLEMS_MAX: Final = 20
"""Problems told in full; who made more will find the rest after correcting these."""

_EXCERPT_MAX: Final = 60
"""Characters of a value that are quoted: enough to recognise it."""

_DEPTH_MAX: Final = 32
"""Levels searched for the exact place of a problem; deeper ones are told at this level."""

_PLAIN: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_BYTE: Final = re.compile(r"\(byte (\d+)\)")


class ArgumentsInvalid(Exception):
    """The text for the model; never leaves the room."""


@attrs.frozen(slots=True)
class _Problem:
    path: str
    text: str

    def __str__(self) -> str:
        return f"- {self.path}: {self.text}"


def read_arguments(name: str, signature: ToolSignature, text: str) -> dict[str, Any]:
    """Return the keyword arguments for the tool ``name``, as the types it declares.

    Raises:
        ArgumentsInvalid: With everything that is wrong, for the model.
    """
    raw = _object(name, text)
    known = {each.name: each for each in signature.parameters}
    values: dict[str, Any] = {}
    problems = _first(_unknown(_join("$", key), known) for key in raw if key not in known)
    for parameter in signature.parameters:
        if parameter.name in raw:
            problems.extend(_read(parameter, raw[parameter.name], values))
        elif parameter.required:
            problems.append(_missing(_join("$", parameter.name), parameter.schema))
    if problems:
        raise ArgumentsInvalid(_report(name, problems))
    return values


def _first(problems: Iterable[_Problem]) -> list[_Problem]:
    """Return as many as are told, and one more to know that there are more."""
    return list(itertools.islice(problems, _PROBLEMS_MAX + 1))


def _object(name: str, text: str) -> dict[str, msgspec.Raw]:
    if len(text) > ARGUMENTS_BYTES_MAX or len(text.encode(errors="replace")) > ARGUMENTS_BYTES_MAX:
        raise ArgumentsInvalid(
            f"The arguments of {name} are larger than {ARGUMENTS_BYTES_MAX} bytes, so nothing was "
            "run. Send less in one call."
        )
    if text.strip() in ("", "null"):
        return {}
    try:
        return msgspec.json.decode(text, type=dict[str, msgspec.Raw])
    except msgspec.ValidationError:
        raise ArgumentsInvalid(
            f"The arguments of {name} are not a JSON object, so nothing was run. Write an object, "
            f'like {{"name": value}}; got {_excerpt(text)}'
        ) from None
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise ArgumentsInvalid(_not_json(name, text, error)) from None


def _not_json(name: str, text: str, error: Exception) -> str:
    if isinstance(error, msgspec.DecodeError):
        reason = str(error)
        at = _BYTE.search(reason)
        data = text.encode(errors="replace")
        position = int(at[1]) if at else len(data)
        near = data[max(0, position - 30) : position + 30].decode(errors="replace")
        where = f"{reason}, near {_excerpt(near)}"
    elif isinstance(error, UnicodeError):
        where = "It holds characters that are no valid Unicode"
    else:
        where = "It is nested too deeply"
    return f"The arguments of {name} are not valid JSON, so nothing was run. {where}"


def _read(parameter: Parameter, raw: msgspec.Raw, values: dict[str, Any]) -> list[_Problem]:
    """Put the argument into ``values``, or return what is wrong with it."""
    path = _join("$", parameter.name)
    try:
        values[parameter.name] = parameter.decoder.decode(raw)
        if not parameter.nested:
            return []
        value = msgspec.json.decode(raw)
        return _first(_problems(value, parameter.annotation, path, valid=True))
    except RecursionError:
        return [_Problem(path, "it is nested too deeply")]
    except Exception as error:
        # A type may run its author's own validators, which may raise anything.
        value = msgspec.json.decode(raw)
        found = _first(_problems(value, parameter.annotation, path, valid=False))
        return found or [_Problem(path, f"{type(error).__name__}: {error}")]


def _problems(
    value: Any, annotation: Any, path: str, *, valid: bool, depth: int = 0
) -> Iterator[_Problem]:
    """Walk value and type together, and tell each problem at the deepest place it has.

    Args:
        value: The argument, or a part of it, as plain JSON values.
        annotation: What it should be.
        path: Where it stands.
        valid: Whether it is known to match its type, so that only unknown names are to be found.
        depth: How deep the walk is; where it does not match, each level reads all that is below.
    """
    mismatch = None if valid else _mismatch(value, annotation)
    anything = False
    if mismatch is None or depth < _DEPTH_MAX:
        for part, kind, place in _parts(value, annotation, path):
            if isinstance(part, _Problem):
                anything = True
                yield part
                continue
            for problem in _problems(part, kind, place, valid=mismatch is None, depth=depth + 1):
                anything = True
                yield problem
    if mismatch is not None and not anything:
        yield _Problem(path, f"{_wanted(mismatch, annotation)}; got {_json(value)}")


def _mismatch(value: Any, annotation: Any) -> Exception | None:
    try:
        msgspec.convert(value, annotation, str_keys=True)
    except Exception as error:
        # As in _read: validators of the tool author's own types.
        return error
    return None


def _wanted(error: Exception, annotation: Any) -> str:
    if not isinstance(error, msgspec.ValidationError):
        return f"{type(error).__name__}: {error}"
    text, _, _ = str(error).partition(" - at `")
    expected = describe(schema_of(annotation))
    if not text.startswith("Expected "):
        # A wrong enum member is told by the members; a format or a validator by its own words.
        return f"expected {expected}" + ("" if "enum value" in text else f" ({text})")
    constraint, _, _ = text.removeprefix("Expected ").partition(", got ")
    if constraint.startswith("`") and constraint.endswith("`"):
        return f"expected {expected}"
    return f"expected {constraint.replace('`', '')}"


_Part = tuple[Any, Any, str]
"""A value, its type and its path; or a `_Problem` in the value's place."""


def _parts(value: Any, annotation: Any, path: str) -> Iterator[_Part]:
    annotation = _bare(annotation, value)
    origin = typing.get_origin(annotation) or annotation
    arguments = typing.get_args(annotation)
    if not isinstance(origin, type):
        return
    if isinstance(value, list) and arguments:
        for index, (each, kind) in enumerate(_items(value, origin, arguments)):
            yield each, kind, f"{path}[{index}]"
    elif isinstance(value, dict) and issubclass(origin, abc.Mapping) and len(arguments) == 2:
        for key, each in value.items():
            yield each, arguments[1], _join(path, key)
    elif isinstance(value, dict):
        yield from _fields(value, annotation, origin, path)


def _items(value: list[Any], origin: type, arguments: tuple[Any, ...]) -> Iterable[Any]:
    if issubclass(origin, tuple) and arguments[-1] is not Ellipsis:
        return zip(value, arguments, strict=True) if len(value) == len(arguments) else ()
    if issubclass(origin, abc.Collection) and not issubclass(origin, abc.Mapping):
        return ((each, arguments[0]) for each in value)
    return ()


def _bare(annotation: Any, value: Any) -> Any:
    """Return the one type in ``annotation`` that ``value`` can be meant for."""
    while typing.get_origin(annotation) is typing.Annotated:
        annotation = typing.get_args(annotation)[0]
    if typing.get_origin(annotation) not in (typing.Union, types.UnionType):
        return annotation
    members = [_bare(each, value) for each in typing.get_args(annotation) if each is not type(None)]
    if isinstance(value, dict) and len(members) > 1:
        members = [each for each in members if _tag_matches(each, value)]
    return members[0] if len(members) == 1 else annotation


def _tag_matches(member: Any, value: Mapping[str, Any]) -> bool:
    config = getattr(member, "__struct_config__", None)
    return config is not None and value.get(config.tag_field) == config.tag


def _fields(value: dict[str, Any], kind: Any, origin: type, path: str) -> Iterator[_Part]:
    info = msgspec.inspect.type_info(kind)
    if not isinstance(info, _OBJECTS):
        return
    hints = typing.get_type_hints(origin, include_extras=True)
    known = {each.encode_name: each for each in info.fields}
    tag = getattr(info, "tag_field", None)
    for key in value:
        if key not in known and key != tag:
            yield _unknown(_join(path, key), known), None, path
    for name, field in known.items():
        annotation = hints.get(field.name, Any)
        if name in value:
            yield value[name], annotation, _join(path, name)
        elif field.required:
            yield _missing(_join(path, name), schema_of(annotation)), None, path


_OBJECTS: Final = (
    msgspec.inspect.StructType,
    msgspec.inspect.DataclassType,
    msgspec.inspect.TypedDictType,
)


def _unknown(path: str, known: Mapping[str, Any]) -> _Problem:
    allowed = ", ".join(known) or "none"
    return _Problem(path, f"unknown argument; allowed are {allowed}")


def _missing(path: str, schema: Mapping[str, Any]) -> _Problem:
    return _Problem(path, f"missing; expected {describe(schema)}")


def _report(name: str, problems: Sequence[_Problem]) -> str:
    lines = [f"The arguments of {name} are not valid, so nothing was run. Correct and call again:"]
    lines.extend(str(problem) for problem in problems[:_PROBLEMS_MAX])
    if len(problems) > _PROBLEMS_MAX:
        lines.append("- and more")
    return "\n".join(lines)


def _join(path: str, key: str) -> str:
    plain = len(key) <= _EXCERPT_MAX and _PLAIN.fullmatch(key)
    return f"{path}.{key}" if plain else f"{path}[{_json(key)}]"


def _json(value: Any) -> str:
    return _excerpt(msgspec.json.encode(value).decode())


def _excerpt(text: str) -> str:
    return text if len(text) <= _EXCERPT_MAX else text[: _EXCERPT_MAX - 1] + "…"
