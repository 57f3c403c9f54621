"""Where the command line keeps what it writes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import attrs
import platformdirs

from actrio.runtime import Settings

__all__ = ["data_folder", "is_writable", "kept_in_files"]


def data_folder(env: Mapping[str, str]) -> Path:
    """Return the folder for models and the history of inputs: ACTRIO_DATA_DIR, or the user's."""
    chosen = env.get("ACTRIO_DATA_DIR")
    return Path(chosen).expanduser() if chosen else platformdirs.user_data_path("actrio")


def is_writable(folder: Path) -> bool:
    """Return whether ``folder``, or where it would be made, can be written to. Makes nothing."""
    for place in (folder, *folder.parents):
        if place.exists():
            return place.is_dir() and os.access(place, os.W_OK | os.X_OK)
    return False


def kept_in_files(settings: Settings) -> Settings:
    """Return ``settings`` with sessions kept in files, where they do not say otherwise."""
    if settings.store.kind is not None:
        return settings
    return attrs.evolve(settings, store=attrs.evolve(settings.store, kind="embedded"))
