"""Values of the runtime as JSON for native answers: snake_case, messages with ``role`` and ``type``."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import attrs

from actrio.errors import ActrioError
from actrio.messages import SessionView, TurnCompleted, TurnResult
from actrio.wire import error_to_dict, event_to_dict

__all__ = ["plain", "result_to_dict", "view_to_dict"]


def plain(value: Any) -> Any:
    """Return ``value`` made of builtins; what is ``None`` is left out."""
    if isinstance(value, ActrioError):
        return error_to_dict(value)
    if attrs.has(type(value)):
        return _members(value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


def _members(value: Any) -> dict[str, Any]:
    cls = type(value)
    told = {
        name: getattr(cls, name)
        for name in ("role", "type")
        if isinstance(getattr(cls, name, None), str)
    }
    is_tagged = bool(told)  # a message or a part: what it does not say is left out
    for field in attrs.fields(cls):
        member = getattr(value, field.name)
        if member is None or (is_tagged and member == field.default):
            continue
        told[field.name] = plain(member)
    return told


def view_to_dict(view: SessionView) -> dict[str, Any]:
    """Return a session as native answers show it."""
    told: dict[str, Any] = plain(view)
    return told


def result_to_dict(result: TurnResult) -> dict[str, Any]:
    """Return a turn's result as its terminal event has it."""
    event = TurnCompleted(session="", turn=result.turn, seq=0, ts=0.0, result=result)
    told: dict[str, Any] = event_to_dict(event)["result"]
    return told
