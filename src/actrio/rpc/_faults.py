"""Failures as the ``error`` member of an answer: one table for every way to fail."""

from __future__ import annotations

from typing import Any

import trio

from actrio.errors import KINDS, ActrioError, Overloaded
from actrio.sansio import error_object
from actrio.telemetry import RoomLog
from actrio.wire import error_to_dict

__all__ = ["Refused", "fault", "fault_of", "logged_fault"]

_log = RoomLog("actrio.rpc")


def fault(
    kind: str,
    message: str,
    *,
    remedy: str | None = None,
    retryable: bool = False,
    code: int | None = None,
    **facts: Any,
) -> dict[str, Any]:
    """Return the error object of a failure that belongs to the protocol itself.

    Args:
        kind: The stable name; gives the code.
        message: What happened and where.
        remedy: What to do about it.
        retryable: Whether the same call may succeed later.
        code: The code, where JSON-RPC asks for another one than the kind's.
        facts: Further members of ``data``; values must be JSON.
    """
    told: dict[str, Any] = {"kind": kind, "message": message}
    if remedy is not None:
        told["remedy"] = remedy
    told |= {"retryable": retryable, **facts}
    return error_object(KINDS[kind].jsonrpc if code is None else code, message, told)


def fault_of(error: Exception) -> dict[str, Any]:
    """Return the error object of what a method raised.

    A foreign exception is told as ``internal`` without its text: that may hold anything, and it
    stands in the log.
    """
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        # A nursery inside the method wraps what its only failing task raised.
        error = error.exceptions[0]
    if isinstance(error, Refused):
        return error.fault
    if not isinstance(error, ActrioError):
        return fault(
            "internal",
            f"An unexpected {type(error).__name__} ended the request; the log has the details.",
            remedy="Report it with the log; the connection and its other requests go on.",
        )
    told = error_to_dict(error)
    if isinstance(error, Overloaded) and error.retry_after_seconds is not None:
        told["retry_after_ms"] = round(error.retry_after_seconds * 1000)
    return error_object(KINDS[error.kind].jsonrpc, error.message, told)


def logged_fault(error: Exception, method: str) -> dict[str, Any]:
    """Return the error object of what ``method`` raised; what nobody foresaw is logged."""
    told = fault_of(error)
    # A peer that went away is no news to anybody who could act.
    if told["data"]["kind"] == "internal" and not isinstance(error, trio.BrokenResourceError):
        _log.error("rpc.method_failed", method=method, exc_info=error)
    return told


class Refused(Exception):
    """Raised by a method to answer with exactly this error object."""

    def __init__(self, fault: dict[str, Any]) -> None:
        super().__init__(fault["message"])
        self.fault = fault
