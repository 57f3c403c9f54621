"""The scripted provider: deterministic, seeded, timed, and honest about being scripted.

In process as an actor (`ScriptedConnection`), and as a loopback HTTP server that speaks OpenAI
chat completions (`ScriptedServer`); both play the same plans.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from actrio.providers.scripted._connection import ScriptedConnection as ScriptedConnection
    from actrio.providers.scripted._script import Fault as Fault
    from actrio.providers.scripted._script import Timed as Timed
    from actrio.providers.scripted._script import script as script
    from actrio.providers.scripted._server import ScriptedServer as ScriptedServer
    from actrio.providers.scripted._server_counts import ServerStatistics as ServerStatistics
    from actrio.providers.scripted._spec import FaultKind as FaultKind
    from actrio.providers.scripted._spec import ScriptKind as ScriptKind
    from actrio.providers.scripted._spec import ScriptSpec as ScriptSpec
else:
    from actrio._doors import open_door

    __getattr__, __dir__, __all__ = open_door(
        __name__,
        {
            "_connection": "ScriptedConnection",
            "_script": "Fault Timed script",
            "_server": "ScriptedServer",
            "_server_counts": "ServerStatistics",
            "_spec": "FaultKind ScriptKind ScriptSpec",
        },
    )
