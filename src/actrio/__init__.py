"""actrio: the runtime that a Trio program embeds to run thousands of LLM agents at once.

Everything public can be imported from here and loads on first use, so that ``import actrio``
costs nothing::

    import trio
    from actrio import Agent, open_runtime

    async def main():
        async with open_runtime() as runtime, runtime.session(Agent("guide")) as session:
            answer = await session.ask("Hello!")
            print(answer.text)

    trio.run(main)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from actrio.actors import Actor as Actor
    from actrio.actors import ChildSpec as ChildSpec
    from actrio.actors import Context as Context
    from actrio.actors import MailboxSpec as MailboxSpec
    from actrio.actors import Ref as Ref
    from actrio.actors import SupervisorSpec as SupervisorSpec
    from actrio.actors import open_actor_system as open_actor_system
    from actrio.agents import Agent as Agent
    from actrio.errors import ActrioError as ActrioError
    from actrio.filters import AgentInput as AgentInput
    from actrio.filters import Filter as Filter
    from actrio.filters import after_agent as after_agent
    from actrio.filters import after_model as after_model
    from actrio.filters import after_tool as after_tool
    from actrio.filters import around_agent as around_agent
    from actrio.filters import around_model as around_model
    from actrio.filters import around_tool as around_tool
    from actrio.filters import before_agent as before_agent
    from actrio.filters import before_model as before_model
    from actrio.filters import before_tool as before_tool
    from actrio.messages import ApprovalRequested as ApprovalRequested
    from actrio.messages import ApprovalResolved as ApprovalResolved
    from actrio.messages import AssistantMessage as AssistantMessage
    from actrio.messages import Citation as Citation
    from actrio.messages import Document as Document
    from actrio.messages import EmbedOutput as EmbedOutput
    from actrio.messages import Gap as Gap
    from actrio.messages import HistoryChanged as HistoryChanged
    from actrio.messages import IfBusy as IfBusy
    from actrio.messages import Image as Image
    from actrio.messages import ItemCompleted as ItemCompleted
    from actrio.messages import ItemDelta as ItemDelta
    from actrio.messages import ItemStarted as ItemStarted
    from actrio.messages import ModelInput as ModelInput
    from actrio.messages import ModelOptions as ModelOptions
    from actrio.messages import ModelOutput as ModelOutput
    from actrio.messages import PendingApproval as PendingApproval
    from actrio.messages import Refusal as Refusal
    from actrio.messages import SessionView as SessionView
    from actrio.messages import StateUpdated as StateUpdated
    from actrio.messages import StepStarted as StepStarted
    from actrio.messages import Text as Text
    from actrio.messages import Thinking as Thinking
    from actrio.messages import ToolCall as ToolCall
    from actrio.messages import ToolMessage as ToolMessage
    from actrio.messages import ToolResult as ToolResult
    from actrio.messages import TurnAccepted as TurnAccepted
    from actrio.messages import TurnCancelled as TurnCancelled
    from actrio.messages import TurnCompleted as TurnCompleted
    from actrio.messages import TurnEvent as TurnEvent
    from actrio.messages import TurnFailed as TurnFailed
    from actrio.messages import TurnResult as TurnResult
    from actrio.messages import TurnStarted as TurnStarted
    from actrio.messages import Usage as Usage
    from actrio.messages import UserMessage as UserMessage
    from actrio.providers import ConnectionLimits as ConnectionLimits
    from actrio.providers import ProviderSettings as ProviderSettings
    from actrio.providers.local import LocalSettings as LocalSettings
    from actrio.runtime import Limits as Limits
    from actrio.runtime import Runtime as Runtime
    from actrio.runtime import Settings as Settings
    from actrio.runtime import StoreSettings as StoreSettings
    from actrio.runtime import load_settings as load_settings
    from actrio.runtime import open_runtime as open_runtime
    from actrio.runtime import tune_collector as tune_collector
    from actrio.sessions import Session as Session
    from actrio.sessions import Turn as Turn
    from actrio.telemetry import configure_logging as configure_logging
    from actrio.tools import Tool as Tool
    from actrio.tools import ToolContext as ToolContext
    from actrio.tools import tool as tool
else:
    from actrio._doors import open_door

    __getattr__, __dir__, __all__ = open_door(
        __name__,
        {
            "actors": "Actor ChildSpec Context MailboxSpec Ref SupervisorSpec open_actor_system",
            "agents": "Agent",
            "errors": "ActrioError",
            "filters": "AgentInput Filter after_agent after_model after_tool around_agent "
            "around_model around_tool before_agent before_model before_tool",
            "messages": "ApprovalRequested ApprovalResolved AssistantMessage Citation Document "
            "EmbedOutput Gap HistoryChanged IfBusy Image ItemCompleted ItemDelta "
            "ItemStarted ModelInput ModelOptions ModelOutput PendingApproval Refusal "
            "SessionView StateUpdated StepStarted Text Thinking ToolCall ToolMessage "
            "ToolResult TurnAccepted TurnCancelled TurnCompleted TurnEvent TurnFailed "
            "TurnResult TurnStarted Usage UserMessage",
            "providers": "ConnectionLimits ProviderSettings",
            "providers.local": "LocalSettings",
            "runtime": "Limits Runtime Settings StoreSettings load_settings open_runtime tune_collector",
            "sessions": "Session Turn",
            "telemetry": "configure_logging",
            "tools": "Tool ToolContext tool",
        },
    )
    __all__ = ["__version__", *__all__]  # noqa: PLE0604 - checked by tests/test_exports.py
