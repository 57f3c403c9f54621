"""Takes known secrets out of an error, wherever a peer may have echoed them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from actrio.errors import ActrioError

__all__ = ["redact_error"]

SECRET_CHARACTERS_MIN: Final = 6
"""Shorter values are no keys, and taking them out would garble ordinary words."""


def redact_error(error: ActrioError, secrets: Iterable[str]) -> None:
    """Replace each of ``secrets`` in the texts and data of ``error``, in place."""
    known = [secret for secret in secrets if len(secret) >= SECRET_CHARACTERS_MIN]
    if not known:
        return
    error.message = _redacted(error.message, known)
    error.remedy = _redacted(error.remedy, known)
    error.data = _redacted(dict(error.data), known)
    error.args = _redacted(error.args, known)


def _redacted(value: Any, secrets: list[str]) -> Any:
    if isinstance(value, str):
        for secret in secrets:
            value = value.replace(secret, "[redacted]")
        return value
    if isinstance(value, dict):
        return {key: _redacted(inner, secrets) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_redacted(inner, secrets) for inner in value)
    return value
