"""How long a refusal asks to wait: in its headers, its body, or only in its words. Pure.

The reset headers of quotas are not read here: they are of no single wire format, and the
connection reads them for all.
"""

from __future__ import annotations

import email.utils
import math
import re
from collections.abc import Mapping
from typing import Final

__all__ = ["delay_seconds"]

_TRY_AGAIN: Final = re.compile(r"try again in (\d+(?:\.\d+)?)(ms|s)\b")


def delay_seconds(headers: Mapping[str, str], message: str, told: str = "") -> float | None:
    """Return how long to wait, from the most exact source that there is.

    Args:
        headers: With lower-case names.
        message: The error's text.
        told: Seconds (``48s``) that the error's body tells apart from its text.
    """
    for value, scale in (
        (headers.get("retry-after-ms"), 0.001),
        (headers.get("retry-after"), 1.0),
    ):
        seconds = _number(value)
        if seconds is not None:
            return seconds * scale
    at, now = _date(headers.get("retry-after")), _date(headers.get("date"))
    if at is not None and now is not None:
        return max(0.0, at - now)
    if (seconds := _number(told.removesuffix("s"))) is not None:
        return seconds
    if found := _TRY_AGAIN.search(message):
        return float(found[1]) * (0.001 if found[2] == "ms" else 1.0)
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
    except (ValueError, OverflowError):
        return None
