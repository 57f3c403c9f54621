"""Errors as plain data and back: facts for programs, words for people.

::

    {kind, message, remedy?, retryable, data?, category?, status?, …}

Read back, an error is of the class that stands for its kind; what the reader cannot know (the exact
subclass, the chained cause) does not cross a process border.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

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
from actrio.wire._json import builtins_of

__all__ = ["error_from_dict", "error_to_dict"]

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
