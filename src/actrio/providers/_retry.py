"""Whether a failed attempt is tried again, and what a provider says about when. Pure."""

from __future__ import annotations

import email.utils
import math
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Final

import attrs

from actrio.errors import ActrioError, ProviderError
from actrio.providers._limits import ConnectionLimits

__all__ = ["Attempted", "retry_delay", "stated_delay"]

FIRST_SECONDS: Final = 0.5
"""Before the second attempt; doubled before each further one. As the vendors' own clients do."""

SECONDS_MAX: Final = 8.0
JITTER: Final = 0.25
"""Of any delay, added at random: those who failed together do not come back together."""

_PAUSING: Final = frozenset({"rate_limit", "overloaded"})
"""Failures whose stated delay is a pause of the whole connection, so nobody waits it out alone."""

_RESET: Final = re.compile(
    r"(?:x-)?(?:[a-z]+-)?ratelimit-(?:[a-z-]+-)?reset(?:-[a-z-]+)?|x-ratelimit-reset"
)
_DURATION: Final = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s)?(?:(\d+(?:\.\d+)?)ms)?")

_EPOCH: Final = 1_000_000_000.0
"""A number this large is a date; a thousand times this large, one in milliseconds."""


@attrs.frozen(slots=True)
class Attempted:
    """What is known when an attempt has failed.

    Attributes:
        number: Of the attempt, from 1.
        seconds: Since the call's first attempt began.
        shown: Whether the asker has seen a part of the answer.
        may_retry: What the provider says about it, where it does (``x-should-retry``).
    """

    number: int
    seconds: float
    shown: bool = False
    may_retry: bool | None = None


def retry_delay(
    error: ActrioError,
    attempted: Attempted,
    limits: ConnectionLimits,
    *,
    stated: float | None,
    chance: float,
) -> float | None:
    """Return the seconds after which to try again, or None: the failure stands.

    Never where the same call would fail the same way (quota, auth, an invalid request, too long a
    conversation, a content filter, a broken wire format), and never once the asker has seen a
    part of the answer, unless streams may be restarted.

    Args:
        error: How it failed.
        attempted: What was tried.
        limits: The settings.
        stated: How long the provider asked to wait, where it did.
        chance: From 0 to 1, for jitter.
    """
    if not isinstance(error, ProviderError) or not error.retryable:
        return None
    if attempted.may_retry is False or attempted.number > limits.retries_max:
        return None
    if attempted.shown and not limits.restart_streams:
        return None
    delay = min(FIRST_SECONDS * 2.0 ** min(attempted.number - 1, 16), SECONDS_MAX)
    wait = max(delay, stated or 0.0)
    if (stated or 0.0) > limits.pause_seconds_max:
        return None
    if attempted.seconds + wait * (1 + JITTER) > limits.retry_seconds:
        return None
    if error.category not in _PAUSING:
        delay = wait
    return delay * (1 + JITTER * chance)


def stated_delay(error: ActrioError, headers: Mapping[str, str], now: float) -> float | None:
    """Return how long the provider asked to wait.

    What the dialect read comes first: it knows its vendor's body and headers. Then what any HTTP
    server may say: ``retry-after-ms``, ``retry-after`` (seconds or a date), and the reset headers
    of a quota of which nothing remains. Only for an error: some vendors send ``retry-after`` with
    every answer.

    Args:
        error: The error, as its dialect read it.
        headers: Of the answer, with lower-case names.
        now: Seconds since the epoch, where the answer has no date.
    """
    stated: float | None = getattr(error, "retry_after_seconds", None)
    if stated is not None:
        return stated if math.isfinite(stated) and stated >= 0 else None
    at = _date(headers.get("date"))
    now = now if at is None else at
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    text = headers.get("retry-after")
    if (seconds := _number(text)) is not None:
        return seconds
    if (until := _date(text)) is not None:
        return max(0.0, until - now)
    return _reset_delay(headers, now)


def _reset_delay(headers: Mapping[str, str], now: float) -> float | None:
    """Return when the last of the used-up quotas is whole again."""
    delays = [
        delay
        for name, text in headers.items()
        if _RESET.fullmatch(name)
        and _number(headers.get(name.replace("reset", "remaining"))) == 0
        and (delay := _reset_value(text, now)) is not None
    ]
    return max(delays, default=None)


def _reset_value(text: str, now: float) -> float | None:
    """Read a duration (``2m59.56s``), seconds, or a date in one of three forms."""
    number = _number(text)
    if number is not None:
        if number >= _EPOCH * 1000:
            return max(0.0, number / 1000 - now)
        return max(0.0, number - now) if number >= _EPOCH else number
    if text and (found := _DURATION.fullmatch(text.strip())):
        hours, minutes, seconds, milliseconds = (float(part or 0) for part in found.groups())
        return hours * 3600 + minutes * 60 + seconds + milliseconds / 1000
    try:
        return max(0.0, datetime.fromisoformat(text).timestamp() - now)
    except (ValueError, OverflowError, OSError):
        return None


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None


def _date(text: str | None) -> float | None:
    try:
        return email.utils.parsedate_to_datetime(text or "").timestamp()
    except (ValueError, TypeError, OverflowError, OSError):
        return None
