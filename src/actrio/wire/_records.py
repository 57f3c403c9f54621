"""Records of a journal as JSON and back; their classes are told by whoever owns them.

::

    {"kind":"tool.started", "v":1, "body":{"turn":"t_1", "call_id":"c_1", "name":"send"}}

A field at its default is left out. Values of a union (parts, messages) carry their ``type`` or
``role``; bytes are base64. A body of an older version is taken through the migrations, one
version at a time.
"""

from __future__ import annotations

import base64
import binascii
import types
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Protocol, Union, cast, get_args, get_origin

import attrs
import cattrs
from cattrs.errors import BaseValidationError
from cattrs.gen import make_dict_unstructure_fn

from actrio.errors import ActrioError, InvalidRequest, NotSupported
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
from actrio.wire._json import json_line
from actrio.wire._strict import WrongType, strict_converter
from actrio.wire._structure import problems_of

__all__ = ["Migration", "RecordCodec", "RecordType"]

Migration = Callable[[dict[str, Any]], dict[str, Any]]
"""Takes a body of one version and returns that of the next."""

_TAGGED: Final[Mapping[type[Any], str]] = {
    **dict.fromkeys((Text, Thinking, Refusal, VendorItem, Image, Document, ToolCall), "type"),
    **dict.fromkeys((UserMessage, AssistantMessage, ToolMessage), "role"),
}
"""Classes that occur in unions, and the class variable that tells them apart."""

_INNERMOST_FIRST: Final = (Citation, Usage, ToolResult, *_TAGGED, ModelOutput)
"""cattrs looks the inner writers up when it makes the outer one."""


class RecordType(Protocol):
    """What a record's class says of itself."""

    kind: str
    v: int


class RecordCodec:
    """Writes and reads the records of the given classes.

    Args:
        classes: attrs classes with class variables ``kind`` and ``v``.
        migrations: ``(kind, v)`` → how a body of that version becomes one of ``v + 1``.
    """

    def __init__(
        self,
        classes: Iterable[type[Any]],
        *,
        migrations: Mapping[tuple[str, int], Migration] | None = None,
    ) -> None:
        self._classes: dict[str, type[Any]] = {cls.kind: cls for cls in classes}
        self._migrations = dict(migrations or {})
        self._converter = _made_converter(self._classes.values())

    def to_dict(self, record: Any) -> dict[str, Any]:
        """Return ``record`` as ``{"kind", "v", "body"}``, made of builtins and JSON values."""
        return {"kind": record.kind, "v": record.v, "body": self._converter.unstructure(record)}

    def to_json(self, records: Iterable[Any]) -> bytes:
        """Return ``records`` as one JSON array on one line.

        Raises:
            InvalidRequest: A value in one of them has no JSON form.
        """
        return json_line([self.to_dict(record) for record in records])

    def from_dict(self, told: Mapping[str, Any]) -> Any:
        """Return the record that `to_dict` wrote, in this version's class.

        Raises:
            NotSupported: A newer actrio wrote it.
            InvalidRequest: It is no such record.
        """
        kind, version, body = told.get("kind"), told.get("v"), told.get("body")
        if not isinstance(kind, str) or type(version) is not int or not isinstance(body, dict):
            raise InvalidRequest("A record needs kind, v and body.")
        cls = self._classes.get(kind)
        if cls is None or version > cls.v:
            raise NotSupported(
                f"A record {kind!r} of version {version} is not known here.",
                remedy="Open it with the version of actrio that wrote it, or a newer one.",
            )
        for step in range(version, cls.v):
            migrate = self._migrations.get((kind, step))
            if migrate is None:
                raise NotSupported(
                    f"A record {kind!r} of version {step} cannot be brought to version {cls.v}.",
                    remedy="Open it with an actrio that still has this migration.",
                )
            body = migrate(body)
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
