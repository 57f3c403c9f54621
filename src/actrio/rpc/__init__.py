"""The JSON-RPC connection over lines that every such front end shares, and the process around it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from actrio.rpc._connection import Connection as Connection
    from actrio.rpc._faults import Refused as Refused
    from actrio.rpc._faults import fault as fault
    from actrio.rpc._faults import fault_of as fault_of
    from actrio.rpc._limits import ConnectionLimits as ConnectionLimits
    from actrio.rpc._limits import ConnectionStatistics as ConnectionStatistics
    from actrio.rpc._limits import Ending as Ending
    from actrio.rpc._methods import Call as Call
    from actrio.rpc._methods import CancelMethod as CancelMethod
    from actrio.rpc._methods import Methods as Methods
    from actrio.rpc._methods import Shrink as Shrink
    from actrio.rpc._outbox import Mergeable as Mergeable
    from actrio.rpc._outbox import Outbox as Outbox
    from actrio.rpc._outbox import OutboxStatistics as OutboxStatistics
    from actrio.rpc._process import ServedProcess as ServedProcess
    from actrio.rpc._process import Stoppable as Stoppable
    from actrio.rpc._process import exit_code_of as exit_code_of
    from actrio.rpc._process import serve_process as serve_process
else:
    from actrio._doors import open_door

    # Late, because who speaks on streams that it was given needs nothing of a process.
    __getattr__, __dir__, __all__ = open_door(
        __name__,
        {
            "_connection": "Connection",
            "_faults": "Refused fault fault_of",
            "_limits": "ConnectionLimits ConnectionStatistics Ending",
            "_methods": "Call CancelMethod Methods Shrink",
            "_outbox": "Mergeable Outbox OutboxStatistics",
            "_process": "ServedProcess Stoppable exit_code_of serve_process",
        },
    )
