"""The older contract's shapes, with its names as they are on the wire."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from actrio.http._agents import ServedAgent

__all__ = [
    "AgentCreateRequest",
    "AgentMade",
    "AgentSeed",
    "Degraded",
    "Fixture",
    "MessageRequest",
    "MessageResponse",
    "Milliseconds",
    "Name",
    "SessionCreateRequest",
    "SessionSeed",
    "SessionState",
    "ToolInvocation",
    "ToolSwitch",
    "ToolSwitched",
    "UsageSeed",
    "timeout_seconds_of",
]

SessionState = Literal["idle", "streaming", "completed", "errored", "cancelled"]
ToolStatus = Literal["pending", "success", "error", "timeout", "disabled"]
AtLeastOne = Annotated[int, msgspec.Meta(ge=1)]
Milliseconds = Annotated[int, msgspec.Meta(ge=100, le=86_400_000)]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


class ModelConfig(msgspec.Struct, frozen=True, rename="camel"):
    """``timeoutMs`` bounds a whole message, where it is given."""

    provider: Name
    model_id: Name
    stream: bool = True
    temperature: Annotated[float, msgspec.Meta(ge=0, le=2)] | None = None
    max_tokens: AtLeastOne | None = None
    timeout_ms: Milliseconds | None = None


class ToolConfig(msgspec.Struct, frozen=True, rename="camel"):
    """``registered`` names tools that are here; ``enabled`` is a part of it, all where absent."""

    registered: Annotated[list[str], msgspec.Meta(max_length=128)] = []
    enabled: Annotated[list[str], msgspec.Meta(max_length=128)] | None = None
    mcp_endpoints: Annotated[list[str], msgspec.Meta(max_length=64)] = []
    tool_timeout_ms: Milliseconds | None = None


class MemoryConfig(msgspec.Struct, frozen=True, rename="camel"):
    store_type: Literal["memory", "bolt", "badger"] = "memory"
    namespace: Annotated[str, msgspec.Meta(max_length=200)] = ""
    retention: Annotated[str, msgspec.Meta(max_length=40)] = ""
    token_window: AtLeastOne | None = None


class AgentCreateRequest(msgspec.Struct, frozen=True, rename="camel"):
    """Body of ``POST /agents``; ``instructions`` is ours."""

    name: Name
    model: ModelConfig
    tools: ToolConfig | None = None
    memory: MemoryConfig | None = None
    instructions: str = ""


def timeout_seconds_of(served: ServedAgent) -> float | None:
    """Return how long a turn may take, where the agent's creator said it."""
    timeout_ms: int | None = served.told.get("timeout_ms")
    return None if timeout_ms is None else timeout_ms / 1000


class Degraded(msgspec.Struct, frozen=True):
    """Something that was asked for and is not there; everything else works."""

    feature: str
    reason: str


class AgentMade(msgspec.Struct, frozen=True, rename="camel"):
    agent_id: str
    degraded: list[Degraded]


class AgentSeed(msgspec.Struct, frozen=True, rename="camel"):
    agent_id: str
    name: str
    model: ModelConfig
    tools: ToolConfig
    memory: MemoryConfig
    instructions: str
    degraded: list[Degraded]


class AgentsSeed(msgspec.Struct, frozen=True):
    agents: list[AgentSeed]


class SessionCreateRequest(msgspec.Struct, frozen=True, rename="camel"):
    user_id: Annotated[str, msgspec.Meta(max_length=200)] = ""
    metadata: dict[str, Any] = {}


class SessionSeed(msgspec.Struct, frozen=True, rename="camel"):
    session_id: str
    agent_id: str
    state: SessionState
    created_at: str
    user_id: str = ""
    metadata: dict[str, Any] = {}


class Message(msgspec.Struct, frozen=True, rename="camel"):
    role: Literal["user", "assistant", "system", "tool"]
    content: str
    tool_calls: list[dict[str, Any]] | None = None


class ToolInvocation(msgspec.Struct, frozen=True, rename="camel"):
    tool_call_id: str
    name: str
    args: Any
    status: ToolStatus
    output: str | None = None


class MessageRequest(msgspec.Struct, frozen=True, rename="camel"):
    """Body of ``POST …/messages``: what the user says; the session knows the rest.

    ``timeoutMs``, which is ours, bounds this message; else the agent's own does.
    """

    messages: Annotated[list[Message], msgspec.Meta(min_length=1, max_length=100)]
    tools: list[dict[str, Any]] | None = None
    metadata: dict[str, Any] = {}
    timeout_ms: Milliseconds | None = None


class UsageSeed(msgspec.Struct, frozen=True, rename="camel"):
    prompt_tokens: int
    completion_tokens: int
    latency_ms: int


class MessageResponse(msgspec.Struct, frozen=True, rename="camel"):
    message_id: str
    content: str
    tool_calls: list[ToolInvocation]
    usage: UsageSeed
    state: SessionState
    finish_reason: str
    degraded: list[Degraded]


class ToolSwitch(msgspec.Struct, frozen=True):
    enabled: bool


class ToolSwitched(msgspec.Struct, frozen=True, rename="camel"):
    tool_name: str
    enabled: bool


class Tolerance(msgspec.Struct, frozen=True, rename="camel"):
    token_tolerance: int = 2
    embedding_cosine: float = 0.98


class Fixture(msgspec.Struct, frozen=True, rename="camel"):
    """A recorded exchange: what to send, and what to expect."""

    fixture_id: str
    provider: str
    type: Literal["chat", "embedding"]
    tolerance: Tolerance
    source_commit: str
    path: str
    request: dict[str, Any] = {}
    expected: dict[str, Any] = {}
