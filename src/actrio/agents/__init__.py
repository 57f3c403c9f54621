"""Agents: definitions, the pure turn machine, and the shell that carries its commands out."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from actrio.agents._agent import AgentActor as AgentActor
    from actrio.agents._agent import OpenModel as OpenModel
    from actrio.agents._agent import Prepared as Prepared
    from actrio.agents._agent import ToolSwitches as ToolSwitches
    from actrio.agents._book import Interrupted as Interrupted
    from actrio.agents._book import TurnBook as TurnBook
    from actrio.agents._definition import Agent as Agent
    from actrio.agents._definition import OutputType as OutputType
    from actrio.agents._items import call_item as call_item
    from actrio.agents._items import message_item as message_item
    from actrio.agents._run import TurnRun as TurnRun
else:
    from actrio._doors import open_door

    __getattr__, __dir__, __all__ = open_door(
        __name__,
        {
            "_agent": "AgentActor OpenModel Prepared ToolSwitches",
            "_book": "Interrupted TurnBook",
            "_definition": "Agent OutputType",
            "_items": "call_item message_item",
            "_run": "TurnRun",
        },
    )
