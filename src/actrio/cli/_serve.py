"""``actrio serve``: hand the process over to a front end."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from actrio.cli._who import importable_from
from actrio.errors import NotSupported
from actrio.runtime import load_settings

if TYPE_CHECKING:
    from actrio.cli._app import Common

__all__ = ["serve"]


async def serve(*, stdio: bool, on_eof: Literal["drain", "cancel"], common: Common) -> int:
    """Serve until the input ends or a signal comes; the front end owns streams, logs and signals.

    Raises:
        NotSupported: No way to serve was chosen.
    """
    if not stdio:
        raise NotSupported(
            "There is no server but the one on standard input and output.",
            remedy="Run actrio serve --stdio.",
        )
    from actrio.stdio import serve_stdio

    importable_from(Path.cwd())  # where the tools of the settings' agents are
    loaded = load_settings(config=common.config)
    return await serve_stdio(loaded.settings, on_eof=on_eof, env=loaded.env)
