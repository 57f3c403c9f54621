"""Where a run took place: machine, versions, the source's revision, a mark of the settings."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import attrs
import msgspec
import trio

from actrio.runtime import Settings

__all__ = ["environment"]

PACKAGES: Final = (
    "attrs",
    "httptools",
    "httpx",
    "httpx2",
    "hypercorn",
    "msgspec",
    "starlette",
)
"""What a turn runs through beside Python, Trio and actrio."""

GIT_SECONDS: Final = 5.0
"""How long git may take to look at a tree, on a loaded machine."""


async def environment(settings: Settings) -> dict[str, Any]:
    """Return the facts that a report needs to be compared with another one.

    Args:
        settings: Of the runtime; of them only a mark is told, never a value.
    """
    return {
        "actrio": _version("actrio"),
        **await _source(),
        "trio": trio.__version__,
        "python": platform.python_version(),
        "implementation": sys.implementation.name,
        "packages": {name: found for name in PACKAGES if (found := _version(name)) is not None},
        "config": _mark(settings),
        "system": f"{platform.system()} {platform.release()}",
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "cores_usable": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None  # not installed, or run from a source tree that never was


def _mark(settings: Settings) -> str:
    """Return a mark that is the same for the same settings."""
    content = msgspec.json.encode(
        attrs.asdict(settings), enc_hook=lambda value: sorted(map(str, value)), order="sorted"
    )
    return hashlib.sha256(content).hexdigest()[:12]


async def _source() -> Mapping[str, Any]:
    """Return the revision of the source that runs, where it is a git checkout.

    The package may be installed below a checkout of something else, whose revision would say
    nothing: so git is asked whether it knows the package's own file.
    """
    folder = Path(__file__).parent
    if await _git(folder, "ls-files", "--error-unmatch", "_run.py") is None:
        return {"revision": None, "changed": None}
    revision = await _git(folder, "rev-parse", "HEAD")
    status = await _git(folder, "status", "--porcelain", "--untracked-files=no")
    return {"revision": revision, "changed": bool(status) if status is not None else None}


async def _git(folder: Path, *words: str) -> str | None:
    """Return what git answers; None where there is no git, or no answer."""
    with trio.move_on_after(GIT_SECONDS):
        try:
            done = await trio.run_process(
                ["git", "-C", str(folder), *words],
                capture_stdout=True,
                stderr=subprocess.DEVNULL,
                check=False,
            )
        except OSError:
            return None
        if done.returncode == 0:
            return done.stdout.decode(errors="replace").strip()
    return None
