"""What this is a version of; the package's metadata know, and only they."""

from __future__ import annotations

from importlib.metadata import version
from typing import Final

__all__ = ["VERSION"]

VERSION: Final = version("actrio")
