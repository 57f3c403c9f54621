"""``actrio serve``: hand the process over to a front end."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import attrs

from actrio.cli._who import importable_from
from actrio.errors import NotSupported
from actrio.runtime import load_settings, tune_collector

if TYPE_CHECKING:
    from actrio.cli._app import Common

__all__ = ["StdioOptions", "serve"]


@attrs.frozen(slots=True)
class StdioOptions:
    """What was said about serving on standard input and output."""

    on_eof: Literal["drain", "cancel"]
    line_bytes_max: int
    stall_seconds: float
    log_file: Path | None


async def serve(*, stdio: StdioOptions | None, common: Common) -> int:
    """Serve until the input ends or a signal comes; the front end owns streams, logs and signals.

    Raises:
        NotSupported: No way to serve was chosen.
    """
    if stdio is None:
        raise NotSupported(
            "Nothing was said about how to serve.",
            remedy="Run actrio serve --stdio, or actrio serve --http 127.0.0.1:8080.",
        )
    from actrio.rpc import ConnectionLimits
    from actrio.stdio import serve_stdio

    importable_from(Path.cwd())  # where the tools of the settings' agents are
    loaded = load_settings(config=common.config)
    settings = loaded.settings
    if settings.store.kind is None:
        # Its clients name sessions and come back to them.
        settings = attrs.evolve(settings, store=attrs.evolve(settings.store, kind="embedded"))
    limits = ConnectionLimits(
        line_bytes_max=stdio.line_bytes_max, stall_seconds=stdio.stall_seconds
    )
    tune_collector()
    return await serve_stdio(
        settings,
        on_eof=stdio.on_eof,
        limits=limits,
        log_file=stdio.log_file,
        env=loaded.env,
    )
