"""What each method answers, and what the server asks of the client: attrs classes as in `_params`.

A member that is ``None`` is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import attrs

from actrio.messages import Usage
from actrio.stdio._asked_types import (
    ApprovalAnswer,
    ApprovalRequest,
    QuestionAnswer,
    QuestionAsk,
    ToolAnswer,
    ToolCallRequest,
)
from actrio.stdio._params import Capabilities, Peer
from actrio.stdio._views import (
    AgentEntry,
    AgentInfo,
    ApprovalInfo,
    ProviderEntry,
    SessionEntryInfo,
    SessionInfo,
    ToolInfo,
    TurnInfo,
    call_told,
)

__all__ = [
    "AgentEntry",
    "AgentInfo",
    "AgentList",
    "ApprovalAnswer",
    "ApprovalInfo",
    "ApprovalList",
    "ApprovalRequest",
    "BlobPiece",
    "Cancelled",
    "Closed",
    "Done",
    "Forked",
    "Initialized",
    "ModelList",
    "OutwardLimits",
    "ProviderEntry",
    "QuestionAnswer",
    "QuestionAsk",
    "RuntimeStats",
    "SessionCreated",
    "SessionEntryInfo",
    "SessionInfo",
    "SessionList",
    "SessionMessages",
    "ShuttingDown",
    "Subscribed",
    "TakenBack",
    "ToolAnswer",
    "ToolCallRequest",
    "ToolInfo",
    "TurnAcceptedInfo",
    "TurnInfo",
    "TurnResultInfo",
    "call_told",
    "told",
]


def told(result: Any) -> Any:
    """Return an attrs value as a dict, without the members that are ``None``."""
    return attrs.asdict(result, filter=lambda _field, value: value is not None)


@attrs.frozen(kw_only=True, eq=False, repr=False, slots=False)
class Done:
    """Nothing to tell."""


@attrs.frozen(kw_only=True, eq=False, repr=False, slots=False)
class OutwardLimits:
    """The bounds of this connection.

    Attributes:
        max_line: Longest inbound line, in bytes.
        max_line_out: Longest outbound line, in bytes; larger values become blobs.
        max_in_flight: Requests without an answer.
        max_unread: Answers that the client may leave unread.
        max_asked: Requests of the server without an answer.
        max_sessions: Sessions open.
        queue: Events of a session that wait to be read.
        stall_ms: A write without progress for so long ends the connection.
    """

    max_line: int
    max_line_out: int
    max_in_flight: int
    max_unread: int
    max_asked: int
    max_sessions: int
    queue: int
    stall_ms: int


@attrs.frozen(kw_only=True, eq=False, repr=False, slots=False)
class Initialized:
    """Answer to `initialize`.

    Attributes:
        protocol_version: What is spoken on this connection.
        server: Who answers.
        methods: What can be called.
        agents: Names of the agents there are.
        capabilities: What of the client's declaration is in force.
        limits: The bounds.
    """

    protocol_version: int
    server: Peer
    methods: list[str]
    agents: list[str]
    capabilities: Capabilities
    limits: OutwardLimits


@attrs.frozen(kw_only=True, eq=False, repr=False, slots=False)
class ShuttingDown:
    """Answer to `shutdown`; the connection ends when they have.

    Attributes:
        mode: As it was asked for.
        turns: Turns of this client that have not ended.
    """

    mode: Literal["drain", "now"]
    turns: int


@attrs.frozen(kw_only=True, eq=False, repr=False, slots=False)
class TakenBack:
    """Answer to `$/cancelRequest` where it is sent as a request.

    Attributes:
        cancelled: Whether there was such a request.
    """

    cancelled: bool


@attrs.frozen(kw_only=True, eq=False, repr=False, slots=False)
class AgentList:
    """The agents there are.

    Attributes:
        agents: Those of the settings, and those that were registered.
    """

    agents: list[AgentEntry]


@attrs.frozen(kw_only=True, eq=False, repr=False, slots=False)
class ModelList:
    """Where models come from; no provider is asked.

    Attributes:
        default: The model of agents that name none.
        providers: Who has models.
    """

    default: str
    providers: list[ProviderEntry]


@attrs.frozen(kw_only=True, eq=False, repr=False, slots=False)
class SessionCreated:
    """Answer to `session/create`.

    Attributes:
        session: Its id.
        agent: Its agent.
        model: Its agent's model.
        seq: Number of its last recorded event: the bookmark.
        subscribed: Whether its events are sent.
    """

    session: str
    agent: str
    model: str
    seq: int
    subscribed: bool


@attrs.frozen(kw_only=True, eq=False, repr=False, slots=False)
class SessionList:
    """Sessions by id.

    Attributes:
        sessions: This part.
        next: What to send as `after` for the next part; left out with the last one.
    """

    sessions: list[SessionEntryInfo]
    next: str | None = None


@attrs.frozen(kw_only=True, eq=False, repr=False, slots=False)
class SessionMessages:
    """A part of a session's history.

    Attributes:
        messages: Each with `role` and `parts` (`results` for the role `tool`), each of those with
            its `type`.
        next: What to send as `after` for the next part; left out with the last one.
    """

    messages: list[Mapping[str, Any]]
    next: int | None = None


@attrs.frozen(kw_only=True, eq=False, repr=False, slots=False)
class Forked:
    """Answer to `session/fork`.

    Attributes:
        session: The new session's id; `session/create` with it opens it.
    """

    session: str


@attrs.frozen(kw_only=True, eq=False, repr=False, slots=False)
class Closed:
    """Answer to `session/close`.

    Attributes:
        closed: Always true.
    """

    closed: bool = True


@attrs.frozen(kw_only=True, eq=False, repr=False, slots=False)
class Subscribed:
    """Answer to `session/subscribe` and `session/unsubscribe`.

    Attributes:
        session: Its id.
        subscribed: Whether its events are sent from here on.
    """

    session: str
    subscribed: bool


@attrs.frozen(kw_only=True, eq=False, repr=False, slots=False)
class TurnAcceptedInfo:
    """A turn that was accepted.

    Attributes:
        turn: Its id.
        position: How many turns stand before it.
        seq: The session's bookmark at its acceptance: its events have higher numbers.
        joined: Whether an earlier request with the same `idempotency_key` is answered.
    """

    turn: str
    position: int
    seq: int
    joined: bool = False


@attrs.frozen(kw_only=True, eq=False, repr=False, slots=False)
class TurnResultInfo:
    """What came of a turn; the same as in its last event.

    Attributes:
        turn: Its id.
        outcome: `completed`, `failed` or `cancelled`.
        stop_reason: Why it ended.
        text: The visible text of the last step.
        usage: Tokens of all steps.
        steps: Model calls begun.
        output: The validated value, where the agent has an output type.
        error: `kind`, `message`, `remedy` and further facts, unless it completed.
    """

    turn: str
    outcome: Literal["completed", "failed", "cancelled"]
    stop_reason: str
    text: str
    usage: Usage
    steps: int
    output: Any = None
    error: Mapping[str, Any] | None = None


@attrs.frozen(kw_only=True, eq=False, repr=False, slots=False)
class Cancelled:
    """Answer to `turn/cancel`.

    Attributes:
        cancelled: Whether it had not ended.
    """

    cancelled: bool


@attrs.frozen(kw_only=True, eq=False, repr=False, slots=False)
class ApprovalList:
    """What waits for a person, in all sessions.

    Attributes:
        approvals: This part.
        next: What to send as `after` for the next part; left out with the last one.
    """

    approvals: list[ApprovalInfo]
    next: str | None = None


@attrs.frozen(kw_only=True, eq=False, repr=False, slots=False)
class RuntimeStats:
    """What is used, and the bounds.

    Attributes:
        runtime: Turns, sessions, restarts.
        connection: Requests and lines of this connection.
    """

    runtime: Mapping[str, Any]
    connection: Mapping[str, Any]


@attrs.frozen(kw_only=True, eq=False, repr=False, slots=False)
class BlobPiece:
    """A part of a blob.

    Attributes:
        data: The bytes, as base64.
        offset: Where they begin.
        eof: Whether the blob ends here.
    """

    data: bytes
    offset: int
    eof: bool
