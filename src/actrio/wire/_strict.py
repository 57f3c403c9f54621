"""A cattrs converter that takes nothing for something else.

cattrs coerces by default: ``int`` is called on what it finds, so the string ``"3"`` becomes a
number and ``"off"`` a true boolean, and a string passes for a tuple of its letters. In a
configuration file each of these is a mistake that nobody would find. Here a value is either of
its type or an error that says what was expected and what stood there. One widening is allowed,
because TOML and JSON writers rely on it: an integer where a float is due.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast, get_args, get_origin

import attrs
import cattrs
from cattrs import BaseConverter
from cattrs.cols import (
    is_mapping,
    is_mutable_sequence,
    is_sequence,
    list_structure_factory,
    mapping_structure_factory,
)
from cattrs.gen import make_dict_structure_fn
from cattrs.literals import is_literal

__all__ = ["WrongType", "describe", "strict_converter"]

_NAMES: Mapping[type, str] = {
    str: "a string",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    list: "a list",
    tuple: "a list",
    dict: "a table",
    type(None): "nothing",
}


_SCALAR = re.compile(r"\s*(true|false|yes|no|on|off|[+-]?[0-9.]{1,12})\s*", re.IGNORECASE)
"""A number or a switch in quotes: the commonest mistake, worth showing."""


class WrongType(TypeError):
    """A value is not of the type that its place asks for."""

    def __init__(self, expected: str, found: Any) -> None:
        super().__init__(f"expected {expected}, found {describe(found)}")
        self.expected = expected
        self.found = found


def describe(value: Any) -> str:
    """Return what ``value`` is in the words of a configuration file, cut to a readable length."""
    name = _NAMES.get(type(value), type(value).__name__)
    if value is None or isinstance(value, (dict, list, tuple)):
        return name
    # A text may be a secret in the wrong place, so only what cannot be one is quoted.
    harmless = not isinstance(value, str) or _SCALAR.fullmatch(value)
    return f"{name} ({value!r})" if harmless and type(value) in _NAMES else name


def _exactly(kind: type) -> Callable[[Any, Any], Any]:
    def take(value: Any, _target: Any) -> Any:
        if type(value) is not kind:
            raise WrongType(_NAMES[kind], value)
        return value

    return take


def _take_float(value: Any, _target: Any) -> float:
    if type(value) not in {int, float} or not math.isfinite(value):
        raise WrongType("a finite number", value)
    return float(value)


def _take_path(value: Any, _target: Any) -> Path:
    if isinstance(value, Path):
        return value
    if not isinstance(value, str):
        raise WrongType("a path as a string", value)
    return Path(value)


def _take_literal(value: Any, target: Any) -> Any:
    for allowed in get_args(target):
        if type(value) is type(allowed) and value == allowed:
            return value
    choices = ", ".join(f'"{choice}"' for choice in get_args(target))
    raise WrongType(f"one of {choices}", value)


def _is_list_like(target: Any) -> bool:
    kind = get_origin(target) or target
    if kind is tuple:
        arguments = get_args(target)
        return not arguments or arguments[-1] is Ellipsis
    return is_sequence(target) or is_mutable_sequence(target)


def _list_like(target: Any, converter: BaseConverter) -> Callable[[Any, Any], Any]:
    arguments = get_args(target)
    element: Any = arguments[0] if arguments else Any
    take_list = list_structure_factory(cast("type", list[element]), converter)
    into = list if (get_origin(target) or target) is list else tuple

    def take(value: Any, _target: Any) -> Any:
        if not isinstance(value, (list, tuple)):
            raise WrongType("a list", value)
        return into(take_list(value, None))

    return take


def _mapping(target: Any, converter: BaseConverter) -> Callable[[Any, Any], Any]:
    take_mapping = mapping_structure_factory(target, converter, dict)

    def take(value: Any, _target: Any) -> Any:
        if not isinstance(value, Mapping):
            raise WrongType("a table", value)
        return take_mapping(value, target)

    return take


def strict_converter(*, forbid_extra_keys: bool) -> cattrs.Converter:
    """Return a converter whose structuring never coerces.

    Args:
        forbid_extra_keys: Whether a key without a field is an error (configuration) or ignored
            (what a newer peer sends).
    """
    converter = cattrs.Converter(
        detailed_validation=True,
        forbid_extra_keys=forbid_extra_keys,
        prefer_attrib_converters=False,
    )
    for kind in (str, int, bool):
        converter.register_structure_hook(kind, _exactly(kind))
    converter.register_structure_hook(float, _take_float)
    converter.register_structure_hook(Path, _take_path)
    converter.register_structure_hook_func(is_literal, _take_literal)

    def attrs_class(target: Any, own: BaseConverter) -> Callable[[Any, Any], Any]:
        take_fields = make_dict_structure_fn(
            target,
            own,
            _cattrs_forbid_extra_keys=forbid_extra_keys,
            _cattrs_detailed_validation=True,
        )

        def take(value: Any, _target: Any) -> Any:
            if not isinstance(value, Mapping):
                raise WrongType("a table", value)
            return take_fields(value, target)

        return take

    converter.register_structure_hook_factory(_is_list_like, _list_like)
    converter.register_structure_hook_factory(is_mapping, _mapping)
    converter.register_structure_hook_factory(attrs.has, attrs_class)
    return converter
