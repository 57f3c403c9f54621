"""``actrio acp``: hand the process over to an editor."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from actrio.cli._folders import kept_in_files
from actrio.cli._who import choose_agent, importable_from
from actrio.rpc import Ending, ServedProcess, serve_process
from actrio.runtime import Agent, Settings, load_settings
from actrio.telemetry import RoomLog

if TYPE_CHECKING:
    from actrio.cli._app import Common, Who

__all__ = ["serve_editor"]

_log = RoomLog("actrio.acp")


async def serve_editor(*, log_file: Path | None, who: Who, common: Common) -> int:
    """Serve until the editor leaves or a signal comes, and return the exit code."""
    importable_from(Path.cwd())  # where the tools of the settings' agents are
    loaded = load_settings(flags=who.flags(), config=common.config)
    chosen = choose_agent(who, loaded)
    settings = kept_in_files(loaded.settings)
    serve = _Serve(chosen.agent, chosen.remark, settings, loaded.env)
    return await serve_process(
        serve.run_in, log_name="acp.jsonl", log=settings.log, log_file=log_file, env=loaded.env
    )


@attrs.frozen(slots=True)
class _Serve:
    """One editor to be served."""

    agent: Agent
    remark: str | None
    settings: Settings
    env: Mapping[str, str]

    async def run_in(self, process: ServedProcess) -> Ending:
        from actrio.acp import serve_acp

        if self.remark:
            _log.info("acp.agent_chosen", remark=self.remark)
        return await serve_acp(
            self.agent,
            self.settings,
            stdin=process.stdin,
            stdout=process.stdout,
            env=self.env,
            on_open=process.stop_on_signal,
            on_eof=process.end_in_time,
        )
