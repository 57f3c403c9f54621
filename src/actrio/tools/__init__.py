"""Tools: what a model may call, and the one path on which every call travels."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from actrio.tools._arguments import ARGUMENTS_BYTES_MAX as ARGUMENTS_BYTES_MAX
    from actrio.tools._box import ToolBox as ToolBox
    from actrio.tools._box import ToolBoxStatistics as ToolBoxStatistics
    from actrio.tools._box import ToolLimits as ToolLimits
    from actrio.tools._desk import Leave as Leave
    from actrio.tools._desk import TurnDesk as TurnDesk
    from actrio.tools._ledger import CallLedger as CallLedger
    from actrio.tools._ledger import CallProgress as CallProgress
    from actrio.tools._ledger import CallState as CallState
    from actrio.tools._ledger import seal as seal
    from actrio.tools._ledger import sealing_text as sealing_text
    from actrio.tools._path import CallObserver as CallObserver
    from actrio.tools._path import StepObserver as StepObserver
    from actrio.tools._path import run_calls as run_calls
    from actrio.tools._tool import OUTPUT_BYTES_MAX as OUTPUT_BYTES_MAX
    from actrio.tools._tool import TIMEOUT_SECONDS as TIMEOUT_SECONDS
    from actrio.tools._tool import Tool as Tool
    from actrio.tools._tool import ToolApproval as ToolApproval
    from actrio.tools._tool import tool as tool
    from actrio.tools._tool_context import ToolContext as ToolContext
else:
    from actrio._doors import open_door

    __getattr__, __dir__, __all__ = open_door(
        __name__,
        {
            "_arguments": "ARGUMENTS_BYTES_MAX",
            "_box": "ToolBox ToolBoxStatistics ToolLimits",
            "_desk": "Leave TurnDesk",
            "_ledger": "CallLedger CallProgress CallState seal sealing_text",
            "_path": "CallObserver StepObserver run_calls",
            "_tool": "OUTPUT_BYTES_MAX TIMEOUT_SECONDS Tool ToolApproval tool",
            "_tool_context": "ToolContext",
        },
    )
