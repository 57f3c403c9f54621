"""What this is a version of, as clients are told it."""

from __future__ import annotations

from typing import Final

from actrio._version import own_version

__all__ = ["VERSION"]

VERSION: Final = own_version()
