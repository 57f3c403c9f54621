"""Bodies of records as plain data and back, by a converter of cattrs that is made for their classes."""

from __future__ import annotations

import base64
import binascii
import types
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Union, cast, get_args, get_origin

import attrs
import cattrs
from cattrs.errors import BaseValidationError
from cattrs.gen import make_dict_unstructure_fn

from actrio.errors import ActrioError, InvalidRequest
from actrio.messages import (
    AssistantMessage,
    Citation,
    Document,
    Image,
    ModelOutput,
    Refusal,
    Text,
    Thinking,
    ToolCall,
    ToolMessage,
    ToolResult,
    Usage,
    UserMessage,
    VendorItem,
)
from actrio.wire._strict import WrongType, strict_converter
from actrio.wire._structure import problems_of

__all__ = ["RecordConverter"]

_TAGGED: Final[Mapping[type[Any], str]] = {
    **dict.fromkeys((Text, Thinking, Refusal, VendorItem, Image, Document, ToolCall), "type"),
    **dict.fromkeys((UserMessage, AssistantMessage, ToolMessage), "role"),
}
"""Classes that occur in unions, and the class variable that tells them apart."""

_INNERMOST_FIRST: Final = (Citation, Usage, ToolResult, *_TAGGED, ModelOutput)
"""cattrs looks the inner writers up when it makes the outer one."""


class RecordConverter:
    """Writes and reads the bodies of records of the given classes.

    Attributes:
        writers: What turns a record of each class into plain data. Asking cattrs for it each time
            takes half as long again as the turning.
    """

    def __init__(self, classes: Iterable[type[Any]]) -> None:
        classes = tuple(classes)
        self._converter = _made_converter(classes)
        self.writers: dict[type[Any], Callable[[Any], dict[str, Any]]] = {
            cls: self._converter.get_unstructure_hook(cls) for cls in classes
        }

    def structure(self, body: dict[str, Any], cls: type[Any], kind: str) -> Any:
        """Return ``body`` as a ``cls``.

        Raises:
            InvalidRequest: It is none.
        """
        try:
            return self._converter.structure(body, cls)
        except (BaseValidationError, ActrioError) as error:
            problems = "; ".join(f"{one.path}: {one.problem}" for one in problems_of(error))
            raise InvalidRequest(f"This is no {kind} record: {problems}.") from error


def _is_tagged_union(target: Any) -> bool:
    if get_origin(target) not in {Union, types.UnionType}:
        return False
    members = [one for one in get_args(target) if one is not type(None)]
    return len(members) > 1 and all(one in _TAGGED for one in members)


def _tagged_union(target: Any, own: cattrs.BaseConverter) -> Callable[[Any, Any], Any]:
    classes = {getattr(cls, _TAGGED[cls]): cls for cls in get_args(target) if cls in _TAGGED}

    def take(value: Any, _target: Any) -> Any:
        if not isinstance(value, Mapping):
            raise WrongType("a table", value)
        cls = classes.get(value.get("type") or value.get("role"))
        if cls is None:
            raise WrongType(f"one of {', '.join(classes)}", value)
        return own.structure(value, cls)

    return take


def _take_bytes(value: Any, _target: Any) -> bytes:
    if not isinstance(value, str):
        raise WrongType("base64 in a string", value)
    try:
        return base64.b64decode(value, validate=True)
    except binascii.Error as error:
        raise WrongType("base64 in a string", value) from error


def _tagging(cls: type[Any], converter: cattrs.Converter) -> Callable[[Any], dict[str, Any]]:
    write = make_dict_unstructure_fn(cls, converter, _cattrs_omit_if_default=True)
    tag = _TAGGED.get(cls)
    if tag is None:
        return write
    name = getattr(cls, tag)

    def write_tagged(value: Any) -> dict[str, Any]:
        return {tag: name, **write(value)}

    return write_tagged


def _made_converter(classes: Iterable[type[Any]]) -> cattrs.Converter:
    converter = strict_converter(forbid_extra_keys=False)
    converter.register_structure_hook(bytes, _take_bytes)
    converter.register_unstructure_hook(bytes, lambda value: base64.b64encode(value).decode())
    converter.register_structure_hook_factory(_is_tagged_union, _tagged_union)
    # Free JSON values are whatever msgspec can write; nothing in them is of our classes.
    converter.register_unstructure_hook(Any, lambda value: value)
    for cls in (*_INNERMOST_FIRST, *classes):
        converter.register_unstructure_hook(
            cls, cast("Any", _tagging(attrs.resolve_types(cls), converter))
        )
    return converter
