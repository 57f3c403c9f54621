"""Turn events as the one JSON shape that every front end sends, and back.

::

    {"v":1, "seq":7, "ts":…, "session":"s_…", "turn":"t_…", "type":"item.delta", "n":3, …}

A field that is ``None`` is left out; an error inside a result is told as in ``_errors``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, cast, get_args

import attrs
import cattrs
from cattrs import override
from cattrs.errors import BaseValidationError
from cattrs.gen import make_dict_unstructure_fn

from actrio.errors import ActrioError, InvalidRequest
from actrio.messages import ToolCall, ToolResult, TurnEvent, TurnResult, Usage
from actrio.wire._errors import error_from_dict, error_to_dict
from actrio.wire._json import builtins_of, json_line
from actrio.wire._strict import WrongType, strict_converter
from actrio.wire._structure import problems_of

__all__ = [
    "EVENT_VERSION",
    "event_from_dict",
    "event_to_dict",
    "event_to_json",
]

EVENT_VERSION: Final = 1

_EVENT_CLASSES: Final[Mapping[str, type[Any]]] = {cls.type: cls for cls in get_args(TurnEvent)}


def _take_error(value: Any, _target: Any) -> ActrioError:
    if not isinstance(value, Mapping):
        raise WrongType("a table", value)
    return error_from_dict(value)


def _unset_left_out(cls: type[Any]) -> dict[str, Any]:
    """Leave a field out where it is ``None``."""
    return {
        field.name: override(omit_if_default=True)
        for field in attrs.fields(cls)
        if field.default is None
    }


def _made_converter() -> cattrs.Converter:
    converter = strict_converter(forbid_extra_keys=False)
    converter.register_structure_hook(ActrioError, _take_error)
    converter.register_unstructure_hook(ActrioError, error_to_dict)

    def add(cls: type[Any], **overrides: Any) -> None:
        write: Callable[[Any], dict[str, Any]] = make_dict_unstructure_fn(
            cls,
            converter,
            _cattrs_omit_if_default=False,
            **{**_unset_left_out(cls), **overrides},
        )
        converter.register_unstructure_hook(cls, write)

    for part in (ToolCall, ToolResult, Usage):
        add(part)
    output = override(omit_if_default=True, unstruct_hook=builtins_of)
    add(TurnResult, output=output)
    for cls in _EVENT_CLASSES.values():
        add(cls)
    return converter


_converter = _made_converter()


def event_to_dict(event: TurnEvent) -> dict[str, Any]:
    """Return ``event`` as the outward envelope, made of builtins only.

    Raises:
        InvalidRequest: The turn's output, or an error's data, has no JSON form.
    """
    envelope: dict[str, Any] = {
        "v": EVENT_VERSION,
        "seq": event.seq,
        "ts": event.ts,
        "session": event.session,
        "turn": event.turn,
        "type": event.type,
    }
    if event.n is not None:
        envelope["n"] = event.n
    envelope.update(_converter.unstructure(event))
    return envelope


def event_to_json(event: TurnEvent) -> bytes:
    """Return ``event`` as one line of JSON, see `json_line`."""
    return json_line(event_to_dict(event))


def event_from_dict(data: Mapping[str, Any]) -> TurnEvent:
    """Return the event that `event_to_dict` wrote as ``data``; unknown fields are ignored.

    Raises:
        InvalidRequest: It is no event of this version.
    """
    version = data.get("v")
    if version != EVENT_VERSION:
        raise InvalidRequest(
            f"An event of version {version!r} cannot be read.",
            remedy=f"This actrio reads version {EVENT_VERSION}.",
        )
    cls = _EVENT_CLASSES.get(str(data.get("type")))
    if cls is None:
        raise InvalidRequest(
            f"There is no event type {data.get('type')!r}.",
            remedy=f"Known types: {', '.join(_EVENT_CLASSES)}.",
        )
    try:
        return cast("TurnEvent", _converter.structure(data, cls))
    except (BaseValidationError, ActrioError) as error:
        problems = "; ".join(f"{one.path}: {one.problem}" for one in problems_of(error))
        raise InvalidRequest(
            f"This is no {cls.type} event: {problems}.", remedy="Send it as it was received."
        ) from error
