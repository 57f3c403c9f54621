"""Any of our values as JSON has them, for those who look at it: snake_case, nothing shortened."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import attrs

from actrio.errors import ActrioError
from actrio.wire._errors import error_to_dict

__all__ = ["plain"]


def plain(value: Any) -> Any:
    """Return ``value`` made of builtins; what is ``None`` in a value of ours is left out.

    Messages and parts carry their ``role`` or ``type``; bytes are base64.
    """
    if isinstance(value, ActrioError):
        return error_to_dict(value)
    if attrs.has(type(value)):
        told = {
            name: getattr(type(value), name)
            for name in ("role", "type")
            if isinstance(getattr(type(value), name, None), str)
        }
        for field in attrs.fields(type(value)):
            member = getattr(value, field.name)
            if member is not None:
                told[field.name] = plain(member)
        return told
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value
