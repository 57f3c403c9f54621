"""The secrets that the environment holds, and what stands in their place."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

__all__ = ["REDACTED", "secrets_of"]

REDACTED: Final = "[redacted]"

SECRET_LENGTH_MIN: Final = 8

_SECRET_VARIABLE = re.compile(r"_(API_KEY|TOKEN|SECRET|PASSWORD)$", re.IGNORECASE)


def secrets_of(env: Mapping[str, str]) -> tuple[str, ...]:
    """Return the secret values in ``env``, the longest first so that none hides in another."""
    values = {
        value.strip()
        for name, value in env.items()
        if _SECRET_VARIABLE.search(name) and len(value.strip()) >= SECRET_LENGTH_MIN
    }
    return tuple(sorted(values, key=len, reverse=True))
