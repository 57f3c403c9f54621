"""Turn events as the one JSON shape that every front end sends, and back.

::

    {"v":1, "seq":7, "ts":…, "session":"s_…", "turn":"t_…", "type":"item.delta", "n":3, …}

A field that is ``None`` is left out. An error inside a result is
``{kind, message, remedy?, retryable, data?, category?, status?, …}``: facts for programs, words
for people. Read back, an error is of the class that stands for its kind; what the reader cannot
know (the exact subclass, the chained cause) does not cross a process border.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, cast, get_args

import attrs
import cattrs
from cattrs import override
from cattrs.errors import BaseValidationError
from cattrs.gen import make_dict_unstructure_fn

from actrio.errors import (
    ActrioError,
    BugError,
    BusyError,
    CallerError,
    Conflict,
    DeadlineExceeded,
    InvalidRequest,
    LimitExceeded,
    NotFound,
    NotSupported,
    OperatorError,
    PeerError,
    ProviderError,
    StorageError,
    TurnAborted,
)
from actrio.messages import ToolCall, ToolResult, TurnEvent, TurnResult, Usage
from actrio.wire._json import builtins_of, json_line
from actrio.wire._strict import WrongType, strict_converter
from actrio.wire._structure import problems_of

__all__ = [
    "EVENT_VERSION",
    "error_from_dict",
    "error_to_dict",
    "event_from_dict",
    "event_to_dict",
    "event_to_json",
]

EVENT_VERSION: Final = 1

_EVENT_CLASSES: Final[Mapping[str, type[Any]]] = {cls.type: cls for cls in get_args(TurnEvent)}

_ERROR_CLASSES: Final[Mapping[str, type[ActrioError]]] = {
    "internal": BugError,
    "invalid_params": CallerError,
    "not_found": NotFound,
    "not_supported": NotSupported,
    "conflict": Conflict,
    "limit_exceeded": LimitExceeded,
    "not_configured": OperatorError,
    "provider_error": PeerError,
    "overloaded": BusyError,
    "deadline_exceeded": DeadlineExceeded,
    "storage": StorageError,
}
"""The general class of each kind; provider errors and aborted turns carry more, see below."""

# Facts that some errors carry as attributes and that a client may act on.
_ERROR_FACTS: Final = ("provider", "category", "status", "request_id", "retry_after_seconds")


def error_to_dict(error: ActrioError) -> dict[str, Any]:
    """Return ``error`` as ``{kind, message, remedy?, retryable, data?, category?, status?, …}``."""
    told: dict[str, Any] = {"kind": error.kind, "message": error.message}
    if error.remedy is not None:
        told["remedy"] = error.remedy
    told["retryable"] = error.retryable
    if error.data:
        told["data"] = builtins_of(dict(error.data))
    for fact in _ERROR_FACTS:
        value = getattr(error, fact, None)
        if value is not None:
            told[fact] = value
    return told


def error_from_dict(told: Mapping[str, Any]) -> ActrioError:
    """Return an error of the class that stands for ``told["kind"]``.

    Raises:
        InvalidRequest: ``kind`` or ``message`` is missing or not a string.
    """
    kind, message = told.get("kind"), told.get("message")
    if not isinstance(kind, str) or not isinstance(message, str):
        raise InvalidRequest("An error needs a kind and a message.", remedy="Send both as strings.")
    remedy, data = told.get("remedy"), told.get("data")
    if kind == "cancelled":
        return TurnAborted(message, reason=(data or {}).get("reason", "user"), remedy=remedy)
    if kind == "provider_error" and "category" in told:
        return ProviderError(
            message,
            provider=told.get("provider", "unknown"),
            category=told["category"],
            status=told.get("status"),
            request_id=told.get("request_id"),
            retry_after_seconds=told.get("retry_after_seconds"),
            remedy=remedy,
            data=data,
        )
    return _ERROR_CLASSES.get(kind, BugError)(message, remedy=remedy, data=data)


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
