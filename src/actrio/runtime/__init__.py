"""The composition root: settings in, a running tree of actors out."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from actrio.agents import Agent as Agent
    from actrio.messages import IfBusy as IfBusy
    from actrio.runtime._agents import build_agent as build_agent
    from actrio.runtime._agents import import_named as import_named
    from actrio.runtime._collector import tune_collector as tune_collector
    from actrio.runtime._load import LoadedSettings as LoadedSettings
    from actrio.runtime._load import load_agent_file as load_agent_file
    from actrio.runtime._load import load_settings as load_settings
    from actrio.runtime._runtime import Runtime as Runtime
    from actrio.runtime._runtime import RuntimeStatistics as RuntimeStatistics
    from actrio.runtime._runtime import open_runtime as open_runtime
    from actrio.runtime._settings import AgentSettings as AgentSettings
    from actrio.runtime._settings import Limits as Limits
    from actrio.runtime._settings import LogSettings as LogSettings
    from actrio.runtime._settings import Settings as Settings
    from actrio.runtime._settings import StoreSettings as StoreSettings
    from actrio.runtime._settings import duration_seconds as duration_seconds
    from actrio.runtime._stores import store_place as store_place
    from actrio.sessions import Session as Session
    from actrio.sessions import Turn as Turn
else:
    from actrio._doors import open_door

    __getattr__, __dir__, __all__ = open_door(
        __name__,
        {
            "actrio.agents": "Agent",
            "actrio.messages": "IfBusy",
            "_agents": "build_agent import_named",
            "_collector": "tune_collector",
            "_load": "LoadedSettings load_agent_file load_settings",
            "_runtime": "Runtime RuntimeStatistics open_runtime",
            "_settings": "AgentSettings Limits LogSettings Settings StoreSettings duration_seconds",
            "_stores": "store_place",
            "actrio.sessions": "Session Turn",
        },
    )
