"""Failures as answers: one table for every way to fail, in two shapes.

``problem``
    ``application/problem+json`` with the older contract's members beside the standard's:
    ``{type, title, status, detail, code, message, details, kind, retryable, …}``.
``openai_error``
    ``{"error": {message, type, param, code}}``, as OpenAI's clients read it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import attrs

from actrio.errors import (
    KINDS,
    ActrioError,
    BusyError,
    DeadlineExceeded,
    ProviderError,
    TurnAborted,
)
from actrio.wire import error_to_dict

__all__ = ["Refusal", "as_told", "openai_error", "problem", "refusal_headers", "refusal_of"]

RETRY_AFTER_SECONDS: Final = 1.0
"""Where nobody knows better: turns take seconds."""

_TITLES: Final[Mapping[str, str]] = {
    "parse": "The body is not JSON",
    "invalid_request": "Bad request",
    "method_not_found": "Method not allowed",
    "invalid_params": "Bad request",
    "internal": "Internal error",
    "unauthorized": "Not allowed",
    "overloaded": "Too busy",
    "not_found": "Not found",
    "provider_error": "The model provider failed",
    "conflict": "Conflict",
    "not_supported": "Not supported",
    "limit_exceeded": "Too large",
    "deadline_exceeded": "Too late",
    "denied": "Denied",
    "not_configured": "Not configured",
    "storage": "Storage failed",
    "cancelled": "Cancelled",
}

_CODES: Final[Mapping[str, str]] = {"overloaded": "backpressure", "deadline_exceeded": "timeout"}
"""Where the older contract has a code of its own; elsewhere the code is the kind."""

_OPENAI_TYPES: Final[Mapping[int, str]] = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "invalid_request_error",
    409: "conflict_error",
    413: "invalid_request_error",
    422: "invalid_request_error",
    429: "rate_limit_error",
}


@attrs.frozen(slots=True, kw_only=True)
class Refusal:
    """A failure on its way out.

    Attributes:
        status: The HTTP status.
        kind: The stable name of the failure.
        message: What happened.
        remedy: What to do.
        retryable: Whether the same request may succeed later.
        retry_after_seconds: When to try again, where that makes sense.
        details: Further facts.
        headers: Further headers.
    """

    status: int
    kind: str
    message: str
    remedy: str | None = None
    retryable: bool = False
    retry_after_seconds: float | None = None
    details: Mapping[str, Any] = attrs.field(factory=dict, hash=False)
    headers: tuple[tuple[bytes, bytes], ...] = ()

    @property
    def code(self) -> str:
        """The older contract's word for it."""
        if self.status == 429 and self.kind == "provider_error":
            return "rate_limit"
        return _CODES.get(self.kind, self.kind)


def refusal_of(error: BaseException, *, caller: bool = False) -> Refusal:
    """Return how ``error`` is answered.

    A foreign exception is told as ``internal`` without its text: that may hold anything, and it
    stands in the log.

    Args:
        error: What was raised.
        caller: A bound that is reached is this caller's own (429), not the service's (503).
    """
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]  # a nursery wraps what its only failing task raised
    if not isinstance(error, ActrioError):
        return Refusal(
            status=500,
            kind="internal",
            message="Something in the service broke; its log has the details.",
            remedy="Report it with the request's id.",
        )
    error = as_told(error)
    told = error_to_dict(error)
    told.pop("retryable")
    details = dict(told.pop("data", {}))
    details |= {key: told[key] for key in told.keys() - {"kind", "message", "remedy"}}
    retry: float | None = getattr(error, "retry_after_seconds", None)
    status = _status_of(error, caller=caller)
    if retry is None and (ms := details.pop("retry_after_ms", None)) is not None:
        retry = ms / 1000
    if status in {429, 503} and retry is None and error.retryable:
        retry = RETRY_AFTER_SECONDS
    return Refusal(
        status=status,
        kind=error.kind,
        message=error.message,
        remedy=error.remedy,
        retryable=error.retryable,
        retry_after_seconds=retry if error.retryable else None,
        details=details,
    )


def as_told(error: ActrioError) -> ActrioError:
    """Return a turn's end at its deadline as what it is to a client: its deadline passed."""
    if isinstance(error, TurnAborted) and error.reason == "deadline":
        return DeadlineExceeded(
            "The turn had not ended at its deadline, and was cancelled.",
            remedy="Allow more time; what it has done so far is in its session.",
            data={"reason": "deadline"},
        )
    return error


def _status_of(error: ActrioError, *, caller: bool) -> int:
    status = KINDS[error.kind].http
    if isinstance(error, ProviderError):
        if error.category in {"rate_limit", "quota"}:
            return 429
        return 504 if error.category == "timeout" else status
    if isinstance(error, BusyError) and status == 503 and caller:
        return 429
    if isinstance(error, TurnAborted):
        # 499 is for logs: whoever reads this is still here, so somebody else ended the turn.
        return 409
    return status


def refusal_headers(refusal: Refusal) -> list[tuple[bytes, bytes]]:
    """Return the headers that go with it: when to come back, for every sort of client."""
    found = list(refusal.headers)
    if (seconds := refusal.retry_after_seconds) is not None:
        found.append((b"retry-after", b"%d" % max(1, math.ceil(seconds))))
        found.append((b"retry-after-ms", b"%d" % max(0, round(seconds * 1000))))
    if refusal.status >= 400:
        found.append((b"x-should-retry", b"true" if refusal.retryable else b"false"))
    return found


def problem(refusal: Refusal, request_id: str = "") -> dict[str, Any]:
    """Return ``refusal`` as problem+json, with the older contract's members."""
    details = dict(refusal.details)
    told: dict[str, Any] = {
        "type": f"urn:actrio:error:{refusal.kind}",
        "title": _TITLES.get(refusal.kind, "Error"),
        "status": refusal.status,
        "detail": refusal.message,
        "code": refusal.code,
        "message": refusal.message,
        "details": details,
        "kind": refusal.kind,
        "retryable": refusal.retryable,
    }
    if refusal.remedy:
        told["remedy"] = refusal.remedy
    if request_id:
        told["requestId"] = request_id
    if refusal.kind == "not_supported":
        details["alias"] = "not_migrated"
    if refusal.kind == "overloaded":
        told["error"] = "backpressure"
        told["retryAfterMs"] = round((refusal.retry_after_seconds or RETRY_AFTER_SECONDS) * 1000)
        told["limit"] = int(details.get("limit", 0))
        told["inFlight"] = int(details.get("in_flight", details.get("limit", 0)))
    return told


def openai_error(refusal: Refusal) -> dict[str, Any]:
    """Return ``refusal`` in OpenAI's shape."""
    message = f"{refusal.message} {refusal.remedy}" if refusal.remedy else refusal.message
    return {
        "error": {
            "message": message,
            "type": _OPENAI_TYPES.get(refusal.status, "server_error"),
            "param": refusal.details.get("param"),
            "code": refusal.code,
        }
    }
