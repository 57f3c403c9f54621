"""The management contract's shapes, with its names as they are on the wire."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from actrio.http._seed_types import Degraded, Milliseconds, Name

__all__ = [
    "AgentRuntime",
    "Envelope",
    "EnvelopesPage",
    "RunMessage",
    "SessionRecord",
    "SessionSummary",
    "ToolOutput",
]


class MemoryPolicy(msgspec.Struct, frozen=True, rename="camel"):
    persist: bool = False
    window_size: Annotated[int, msgspec.Meta(ge=0)] = 0
    sensitive_filtering: bool = False


class SessionPolicy(msgspec.Struct, frozen=True, rename="camel"):
    session_id: str = ""
    overwrite_db_session_state: bool = False
    enable_agentic_state: bool = False
    cache_session: bool = False


class Timeouts(msgspec.Struct, frozen=True, rename="camel"):
    """``runMs`` bounds a turn, ``toolCallMs`` one call of a tool."""

    run_ms: Milliseconds | None = None
    tool_call_ms: Milliseconds | None = None


class AgentRuntime(msgspec.Struct, frozen=True, rename="camel"):
    """An agent to register; ``modelRef`` is ``provider:model``, ``toolkits`` names tools here."""

    id: Name
    model_ref: Name
    name: str = ""
    toolkits: Annotated[list[str], msgspec.Meta(max_length=128)] = []
    memory_policy: MemoryPolicy | None = None
    session_policy: SessionPolicy | None = None
    hooks: dict[str, str] = {}
    timeouts: Timeouts | None = None
    metadata: dict[str, str] = {}
    degraded: list[Degraded] = []


class ToolOutput(msgspec.Struct, frozen=True, rename="camel"):
    tool_name: str
    payload: dict[str, Any]


class RunMessage(msgspec.Struct, frozen=True, rename="camel"):
    role: str
    content: str = ""
    references: list[str] = []
    tool_results: list[ToolOutput] = []


class SessionSummary(msgspec.Struct, frozen=True):
    text: str
    version: str


class SessionRecord(msgspec.Struct, frozen=True, rename="camel"):
    session_id: str
    user_id: str
    state_blob: dict[str, Any]
    history: list[RunMessage]
    metrics: dict[str, float]
    created_at: str
    updated_at: str
    summary: SessionSummary | None = None


class Envelope(msgspec.Struct, frozen=True, rename="camel"):
    """A recorded event; ``payload`` is the event as the native routes tell it."""

    event_id: str
    timestamp: str
    runtime: Literal["actrio"]
    event_type: str
    session_id: str
    agent_id: str
    payload: dict[str, Any]
    correlation_ids: list[str] = []


class EnvelopesPage(msgspec.Struct, frozen=True):
    items: list[Envelope]
