"""``actrio acp``: hand the process over to an editor."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs
import trio

from actrio.cli._folders import kept_in_files
from actrio.cli._who import choose_agent, importable_from
from actrio.rpc import Ending
from actrio.runtime import Agent, Settings, load_settings

# The process around a protocol on standard input and output is the same for both of them; it
# stands in the one that was there first.
from actrio.stdio._claim import Wire, claim_standard_streams
from actrio.stdio._serve import _logging, _serve_until_signalled
from actrio.telemetry import RoomLog

if TYPE_CHECKING:
    from actrio.cli._app import Common, Who

__all__ = ["serve_editor"]

GONE_SECONDS: Final = 1.8
"""After its last line a client waits two seconds for the process to end, then kills it."""

_log = RoomLog("actrio.acp")


async def serve_editor(*, log_file: Path | None, who: Who, common: Common) -> int:
    """Serve until the editor leaves or a signal comes, and return the exit code."""
    importable_from(Path.cwd())  # where the tools of the settings' agents are
    loaded = load_settings(flags=who.flags(), config=common.config)
    chosen = choose_agent(who, loaded)
    settings = kept_in_files(loaded.settings)
    with claim_standard_streams() as wire, _logging(settings, log_file, wire, loaded.env):
        if chosen.remark:
            _log.info("acp.agent_chosen", remark=chosen.remark)
        serve: Any = _Serve(chosen.agent, settings, loaded.env, wire)
        return await _serve_until_signalled(serve, wire)


@attrs.frozen(slots=True)
class _Serve:
    """One editor to be served."""

    agent: Agent
    settings: Settings
    env: Mapping[str, str]
    wire: Wire

    async def run(
        self,
        stdin: trio.abc.ReceiveStream,
        stdout: trio.abc.SendStream,
        *,
        on_open: Callable[[Any], None],
    ) -> Ending:
        from actrio.acp import serve_acp

        # A thread, because whatever delays the end may also hold the event loop.
        clock = threading.Timer(GONE_SECONDS, partial(_gone, self.wire))
        clock.daemon = True
        try:
            return await serve_acp(
                self.agent,
                self.settings,
                stdin=stdin,
                stdout=stdout,
                env=self.env,
                on_open=on_open,
                on_eof=clock.start,
            )
        finally:
            clock.cancel()


def _gone(wire: Wire) -> None:
    wire.restore_flags()
    os._exit(0)
