"""Secrets out of text and out of log events.

What counts as a secret:

- the value of a variable whose name ends in ``_API_KEY``, ``_TOKEN``, ``_SECRET`` or
  ``_PASSWORD``, where it has at least eight characters (a shorter one would blot out ordinary
  words, and protects nothing);
- what an ``Authorization`` carries, and what follows the word ``Bearer``;
- a word of the shape that providers give their keys (``sk-…``, ``gsk_…``, ``AIza…``);
- the password in a URL;
- what stands under a key that is named like one of these.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, MutableMapping
from typing import Any, Final

from actrio.telemetry._secrets import REDACTED, secrets_of

__all__ = ["RedactSecrets", "redact"]

# A log event nests a few levels; deeper is a loop or nothing a person reads.
DEPTH_MAX: Final = 12

_SECRET_FIELD = re.compile(
    r"(^|[_\-.])(api[_-]?key|apikey|authorization|token|secret|passwd|password|credentials?"
    r"|cookie|private[_-]?key)$",
    re.IGNORECASE,
)

_PATTERNS: Final[tuple[tuple[re.Pattern[str], str], ...]] = (
    # A quoted header value may be cut by its quote, so a backslash ends it too.
    (
        re.compile(
            r"(?i)(authorization[\"']?\s*[=:]\s*[\"']?(?:(?:bearer|basic)\s+)?)[^\s\"',;\\]+"
        ),
        rf"\1{REDACTED}",
    ),
    (re.compile(r"(?i)\b(bearer)\s+[^\s\"',;\\]{8,}"), rf"\1 {REDACTED}"),
    (re.compile(r"\b(?:sk|pk|rk|gsk|csk|xai|hf|ghp|gho|ms)[-_][A-Za-z0-9_\-]{12,}"), REDACTED),
    (re.compile(r"\bAIza[A-Za-z0-9_\-]{20,}"), REDACTED),
    (re.compile(r"(://[^\s/:@]*:)[^\s/@]+@"), rf"\1{REDACTED}@"),
    (
        re.compile(
            r"(?i)([\"']?(?:api[_-]?key|access[_-]?token|client[_-]?secret|password)[\"']?"
            r"\s*[=:]\s*[\"']?)(?!\[redacted\])[^\s\"',;&}]{4,}"
        ),
        rf"\1{REDACTED}",
    ),
)


def redact(text: str, *, env: Mapping[str, str] | None = None) -> str:
    """Return ``text`` with every secret in it replaced by ``[redacted]``.

    Args:
        text: Anything meant for a log, a terminal or a client.
        env: Where secret variables are looked up; the process's environment by default.
    """
    return _redacted(text, secrets_of(os.environ if env is None else env))


def _redacted(text: str, secrets: tuple[str, ...]) -> str:
    for secret in secrets:
        if secret in text:
            text = text.replace(secret, REDACTED)
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return text


class RedactSecrets:
    """A structlog processor that stands before the renderer, and once more after it.

    Before, it sees keys and values and can judge by name; after, it sees the finished text, so
    that whatever a renderer or a ``repr`` added is judged too.

    Args:
        env: Variables whose secret values to look for, beside the process's environment (a
            ``.env`` file's, for instance). Both are read once, here.
    """

    __slots__ = ("_secrets",)

    def __init__(self, env: Mapping[str, str] | None = None) -> None:
        self._secrets = secrets_of({**os.environ, **(env or {})})

    def __call__(self, _logger: Any, _method: str, event: Any) -> Any:
        if isinstance(event, MutableMapping):
            return {key: self._field(key, value, 0) for key, value in event.items()}
        return self._value(event, 0)

    def _field(self, key: Any, value: Any, depth: int) -> Any:
        if isinstance(key, str) and _SECRET_FIELD.search(key) and value is not None:
            return REDACTED
        return self._value(value, depth)

    def _value(self, value: Any, depth: int) -> Any:
        if isinstance(value, str):
            return _redacted(value, self._secrets)
        if value is None or isinstance(value, (bool, int, float)):
            return value
        if depth >= DEPTH_MAX:
            return "…"
        if isinstance(value, bytes):
            return _redacted(value.decode("utf-8", "backslashreplace"), self._secrets)
        if isinstance(value, Mapping):
            return {key: self._field(key, item, depth + 1) for key, item in value.items()}
        if isinstance(value, (list, tuple, set, frozenset)):
            return [self._value(item, depth + 1) for item in value]
        return _redacted(repr(value), self._secrets)
