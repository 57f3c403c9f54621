"""Opens the store that the settings name, and keeps house in it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from actrio.actors import Actor, ActorSystem, ChildSpec, Context
from actrio.errors import ActrioError
from actrio.journal import LargeValues, MemoryStore, clean_namespace, store_folder
from actrio.runtime._settings import StoreSettings
from actrio.sessions import SessionPool
from actrio.telemetry import RoomLog

__all__ = ["open_store", "start_housekeeping", "store_place"]

PRUNE_SECONDS: Final = 3600.0
"""How often sessions are looked at that nobody has used for long: retention is told in days."""

_log = RoomLog("actrio.runtime")


def store_place(settings: StoreSettings, env: Mapping[str, str]) -> Path:
    """Return the folder of the embedded store."""
    if settings.folder is None:
        return store_folder(settings.namespace, env=env)
    return Path(settings.folder).expanduser() / clean_namespace(settings.namespace)


@asynccontextmanager
async def open_store(
    settings: StoreSettings, *, env: Mapping[str, str], now: Callable[[], float]
) -> AsyncIterator[LargeValues]:
    """Open the store that ``settings`` describe, for the length of a block.

    Raises:
        StorageDamaged: Something stored does not check; nothing was altered.
        StorageUnavailable: The folder cannot be used.
    """
    if settings.kind != "embedded":
        yield LargeValues(MemoryStore(now=now))
        return
    # Late: files have twenty modules of their own, and a store in memory none.
    from actrio.journal import open_embedded_store

    async with open_embedded_store(
        store_place(settings, env),
        durability=settings.durability,
        batch_seconds=settings.batch_seconds,
        now=now,
    ) as store:
        yield LargeValues(store)


class _Housekeeper(Actor[None]):
    """Removes, now and then, what has not been used for longer than it is to be kept."""

    def __init__(self, pool: SessionPool, retention_seconds: float) -> None:
        self._pool = pool
        self._retention_seconds = retention_seconds

    async def on_start(self, ctx: Context) -> None:
        ctx.timers.every("prune", PRUNE_SECONDS, None)
        ctx.ref.tell_nowait(None)

    async def receive(self, _message: None, _ctx: Context) -> Any:
        try:
            await self._pool.prune(self._retention_seconds)
        except ActrioError as error:
            _log.warning("pruning failed", error=str(error))


async def start_housekeeping(
    system: ActorSystem, pool: SessionPool, retention_seconds: float | None
) -> None:
    """Start what removes old sessions, where they are not kept for ever."""
    if retention_seconds is not None:
        keep = retention_seconds
        await system.spawn(ChildSpec("housekeeper", lambda: _Housekeeper(pool, keep)))
