"""What a runtime that is started to be put under load is told: its provider, its bounds, its store.

In this process it is told by `Settings`, in another one by variables.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import attrs
import trio

from actrio.providers import ProviderSettings
from actrio.runtime import Limits, Settings
from actrio.stress._provider import SCRIPTED
from actrio.stress._targets import TargetSetup

__all__ = [
    "PROVIDER",
    "folder_figures",
    "served_model",
    "settings_of",
    "store_folder",
    "variables_of",
]

PROVIDER: Final = "stress"
"""What the scripted provider's process is called in the settings of the runtime under load."""

REMOVE_SECONDS: Final = 10.0
"""How long removing a folder may take: a soak leaves some hundred megabytes in few files."""


def served_model(model: str) -> str:
    """Return the name under which the runtime under load knows a scripted model."""
    if model.startswith(SCRIPTED):
        return f"{PROVIDER}:{model.removeprefix(SCRIPTED)}"
    return model


def settings_of(setup: TargetSetup, base_url: str | None) -> Settings:
    """Return the settings of a runtime in this process.

    Args:
        setup: What it is set up for.
        base_url: Of the scripted provider, where there is one.
    """
    settings = setup.settings
    if base_url is not None:
        providers = {**settings.providers, PROVIDER: _provider(setup, base_url)}
        settings = attrs.evolve(settings, providers=providers)
    store = attrs.evolve(settings.store, kind=setup.store)
    if setup.folder is not None:
        store = attrs.evolve(store, folder=str(setup.folder))
    return attrs.evolve(settings, store=store, limits=_roomy(settings.limits, setup))


def _provider(setup: TargetSetup, base_url: str) -> ProviderSettings:
    made = ProviderSettings(
        base_url=base_url, max_connections=setup.connections, idle_seconds=setup.stall_seconds
    )
    return attrs.evolve(made, limits=attrs.evolve(made.limits, queue_max=setup.queue))


def _roomy(limits: Limits, setup: TargetSetup) -> Limits:
    return attrs.evolve(limits, sessions=_sessions(limits, setup))


def _sessions(limits: Limits, setup: TargetSetup) -> int:
    """Let the sessions in: those of the seats, and one more for a turn that is made to fail."""
    return max(limits.sessions, 2 * setup.sessions + 2)


def variables_of(setup: TargetSetup, base_url: str | None) -> dict[str, str]:
    """Return the same for another process, which may be whatever program was named."""
    told: dict[str, Any] = {
        "ACTRIO_STORE__KIND": setup.store,
        "ACTRIO_LIMITS__SESSIONS": _sessions(setup.settings.limits, setup),
    }
    if setup.folder is not None:
        told["ACTRIO_STORE__FOLDER"] = setup.folder
    if base_url is not None:
        table = f"ACTRIO_PROVIDERS__{PROVIDER.upper()}__"
        told |= {
            f"{table}BASE_URL": base_url,
            f"{table}MAX_CONNECTIONS": setup.connections,
            f"{table}IDLE_SECONDS": setup.stall_seconds,
            f"{table}LIMITS__QUEUE_MAX": setup.queue,
        }
    return {name: str(value) for name, value in told.items()}


# -- the store's folder ----------------------------------------------------------------------------


@asynccontextmanager
async def store_folder() -> AsyncIterator[Path]:
    """Give a folder for the store that is gone, with all that is in it, after the block."""
    made = await trio.to_thread.run_sync(lambda: tempfile.mkdtemp(prefix="actrio-stress-"))
    try:
        yield Path(made)
    finally:
        with trio.CancelScope(shield=True) as scope:
            scope.deadline = trio.current_time() + REMOVE_SECONDS
            remove = partial(shutil.rmtree, made, ignore_errors=True)
            await trio.to_thread.run_sync(remove, abandon_on_cancel=True)


async def folder_figures(folder: Path | None) -> Mapping[str, int]:
    """Return how much the store has put into its folder; nothing of a store in memory."""
    if folder is None:
        await trio.lowlevel.checkpoint()
        return {}
    return await trio.to_thread.run_sync(_figures, folder)


def _figures(folder: Path) -> Mapping[str, int]:
    files = size = 0
    for path in folder.rglob("*"):
        try:
            found = path.stat()
        except OSError:
            continue  # a segment that was just given back
        if path.is_file():
            files, size = files + 1, size + found.st_size
    return {"files": files, "bytes": size}
