"""``actrio serve --http``: the agent service as a process."""

from __future__ import annotations

import importlib.util
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import trio

from actrio.cli._interrupt import Interruption, until_interrupted
from actrio.cli._outlet import Outlet
from actrio.cli._who import importable_from
from actrio.errors import NotConfigured
from actrio.runtime import LoadedSettings, load_settings, open_runtime, tune_collector

if TYPE_CHECKING:
    from actrio.cli._app import Common
    from actrio.http import HttpSettings

__all__ = ["HttpOptions", "serve_over_http"]


@attrs.frozen(slots=True)
class HttpOptions:
    """What was said about serving over HTTP."""

    address: str
    token_file: Path | None = None
    settings: tuple[str, ...] = ()


async def serve_over_http(options: HttpOptions, *, common: Common) -> int:
    """Serve until a signal comes; then streams are told, and it ends within seconds.

    Raises:
        NotConfigured: The extra ``server`` is not installed.
        ConfigError: The address cannot be bound, or is open to others without a token; a setting
            is wrong.
    """
    missing = [
        name for name in ("hypercorn", "starlette") if importlib.util.find_spec(name) is None
    ]
    if missing:
        raise NotConfigured(
            f"The HTTP server needs {' and '.join(missing)}.",
            remedy="pip install 'actrio[server]'",
        )
    from actrio.http import read_http_settings

    importable_from(Path.cwd())  # where the tools of the settings' agents are
    loaded = load_settings(config=common.config)
    if loaded.settings.store.kind is None:
        # Its clients name sessions and responses, and come back to them.
        store = attrs.evolve(loaded.settings.store, kind="embedded")
        loaded = attrs.evolve(loaded, settings=attrs.evolve(loaded.settings, store=store))
    # Shorter than the time that a signal leaves before everything is cancelled.
    settings = read_http_settings(options.settings, loaded.env, drain_seconds=1.5)
    if options.token_file is not None:
        settings = attrs.evolve(settings, token_file=options.token_file)
    return await until_interrupted(
        partial(_serve, Outlet(), options=options, loaded=loaded, settings=settings)
    )


async def _serve(
    outlet: Outlet,
    interruption: Interruption,
    *,
    options: HttpOptions,
    loaded: LoadedSettings,
    settings: HttpSettings,
) -> int:
    from actrio.http import http_app, listen_http, serve_http, split_address

    host, _ = split_address(options.address)
    async with open_runtime(loaded.settings, env=loaded.env) as runtime:
        app = http_app(runtime, settings, address=host, env=loaded.env)
        listeners = await listen_http(options.address)
        tune_collector()
        async with trio.open_nursery() as nursery:
            server = await nursery.start(serve_http, app, listeners)
            interruption.gently = server.stop
            await outlet.answer("".join(f"{address}\n" for address in server.addresses))
    return 0
