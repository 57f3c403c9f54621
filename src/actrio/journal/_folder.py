"""Where a store's files are."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

__all__ = ["clean_namespace", "store_folder"]

NAMESPACE_LENGTH_MAX: Final = 100
"""Longest name of a folder that every file system takes, with room to spare."""

_ILLEGAL: Final = re.compile(r"[^a-z0-9_\-.]+")


def clean_namespace(name: str) -> str:
    """Return ``name`` without what a folder's name cannot hold; what is empty is ``default``.

    Case is folded, because some file systems do not tell it apart.
    """
    cleaned = _ILLEGAL.sub("", name.lower()).strip(".")[:NAMESPACE_LENGTH_MAX]
    return cleaned or "default"


def store_folder(namespace: str = "default", *, env: Mapping[str, str] | None = None) -> Path:
    """Return the folder of a namespace: in ``ACTRIO_DATA_DIR``, or in the user's data folder."""
    chosen = (os.environ if env is None else env).get("ACTRIO_DATA_DIR")
    root = Path(chosen).expanduser() if chosen else _data_path()
    return root / "journal" / clean_namespace(namespace)


def _data_path() -> Path:
    import platformdirs  # late: a store in memory has no folder

    return platformdirs.user_data_path("actrio")
