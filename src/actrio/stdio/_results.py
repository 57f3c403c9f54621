"""What each method answers, and what the server asks of the client: attrs classes as in `_params`.

A member that is ``None`` is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import attrs

from actrio.messages import ToolCall, Usage
from actrio.stdio._params import Capabilities, Peer

__all__ = [
    "AgentInfo",
    "AgentList",
    "ApprovalAnswer",
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
    "TurnAcceptedInfo",
    "TurnResultInfo",
    "call_told",
    "told",
]


def told(result: Any) -> Any:
    """Return an attrs value as a dict, without the members that are ``None``."""
    return attrs.asdict(result, filter=lambda _field, value: value is not None)


@attrs.frozen(kw_only=True)
class Done:
    """Nothing to tell."""


@attrs.frozen(kw_only=True)
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


@attrs.frozen(kw_only=True)
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


@attrs.frozen(kw_only=True)
class ShuttingDown:
    """Answer to `shutdown`; the connection ends when they have.

    Attributes:
        mode: As it was asked for.
        turns: Turns of this client that have not ended.
    """

    mode: Literal["drain", "now"]
    turns: int


@attrs.frozen(kw_only=True)
class TakenBack:
    """Answer to `$/cancelRequest` where it is sent as a request.

    Attributes:
        cancelled: Whether there was such a request.
    """

    cancelled: bool


@attrs.frozen(kw_only=True)
class ToolInfo:
    """A tool of an agent.

    Attributes:
        name: What models call it.
        description: What it is for.
        parameters: JSON Schema of its arguments.
        approval: Whether a person is asked before each call.
        read_only: Whether it has no side effects.
        client: Whether a client runs it.
    """

    name: str
    description: str
    parameters: Mapping[str, Any]
    approval: str
    read_only: bool
    client: bool


@attrs.frozen(kw_only=True)
class AgentInfo:
    """An agent.

    Attributes:
        name: Its name.
        model: Its model.
        instructions: What the model is told before the conversation.
        tools: Its tools.
        steps_max: Model calls in one turn.
        if_busy: What its sessions do with a message while a turn runs.
        queue_max: Messages that may wait.
    """

    name: str
    model: str
    instructions: str
    tools: list[ToolInfo]
    steps_max: int
    if_busy: str
    queue_max: int


@attrs.frozen(kw_only=True)
class AgentEntry:
    """An agent in a list.

    Attributes:
        name: Its name.
        model: Its model.
        tools: Names of its tools.
        problem: Why it cannot be used, where it cannot.
    """

    name: str
    model: str
    tools: list[str]
    problem: str | None = None


@attrs.frozen(kw_only=True)
class AgentList:
    """The agents there are.

    Attributes:
        agents: Those of the settings, and those that were registered.
    """

    agents: list[AgentEntry]


@attrs.frozen(kw_only=True)
class ProviderEntry:
    """A provider of models.

    Attributes:
        name: Models are called `name:model`.
        state: `available`, `not-configured` or `disabled`.
        missing_env: Variables that it needs.
        remedy: What to do about it.
    """

    name: str
    state: str
    missing_env: list[str]
    remedy: str | None = None


@attrs.frozen(kw_only=True)
class ModelList:
    """Where models come from; no provider is asked.

    Attributes:
        default: The model of agents that name none.
        providers: Who has models.
    """

    default: str
    providers: list[ProviderEntry]


@attrs.frozen(kw_only=True)
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


@attrs.frozen(kw_only=True)
class SessionEntryInfo:
    """A session in a list.

    Attributes:
        session: Its id.
        last_seq: Number of its last record.
        updated: When that was written, in seconds since the epoch.
        owner: The process that has it open; empty where none has.
        waiting: Approvals that wait for a person.
    """

    session: str
    last_seq: int
    updated: float
    owner: str
    waiting: int


@attrs.frozen(kw_only=True)
class SessionList:
    """Sessions by id.

    Attributes:
        sessions: This part.
        next: What to send as `after` for the next part; left out with the last one.
    """

    sessions: list[SessionEntryInfo]
    next: str | None = None


@attrs.frozen(kw_only=True)
class TurnInfo:
    """A turn of a session.

    Attributes:
        turn: Its id.
        state: `queued`, `running`, `waiting`, or how it ended.
        reason: Why it ended.
        resumable: Whether `turn/start` with `resume` goes on with it.
        seq: Number of the record that accepted it.
        end_seq: Number of the record that ended it; 0 before.
        text: The beginning of what was said.
    """

    turn: str
    state: str
    reason: str
    resumable: bool
    seq: int
    end_seq: int
    text: str


@attrs.frozen(kw_only=True)
class ApprovalInfo:
    """Something that waits for a person.

    Attributes:
        session: Whose turn waits.
        turn: Which turn.
        approval: Its id, for `approval/resolve`.
        about: `call`: a tool call that needs leave; `question`: a tool's question.
        question: What is asked.
        choices: Answers to choose from; empty where any is good.
        call: The call, with `id`, `name` and `arguments` (JSON text).
        asked_at: Seconds since the epoch.
    """

    session: str
    turn: str
    approval: str
    about: Literal["call", "question"]
    question: str
    choices: list[str]
    call: Mapping[str, Any] | None = None
    asked_at: float = 0.0


def call_told(call: ToolCall) -> dict[str, Any]:
    """Return a tool call as a client sees it."""
    return {"id": call.id, "name": call.name, "arguments": call.arguments}


@attrs.frozen(kw_only=True)
class SessionInfo:
    """A session, at one moment.

    Attributes:
        session: Its id.
        agent: Its agent.
        model: Its model.
        status: `idle`, `running`, or `waiting` for a person.
        user: Whose it is.
        labels: Texts to find it by.
        state: What tools and clients keep in it.
        summary: What stands for the messages that were compacted away.
        messages: How many `session/history` has.
        turns: The latest ones, oldest first.
        approvals: What waits for a person.
        usage: Tokens since its beginning.
        parent: The session that it was forked from.
        created_at: Seconds since the epoch.
        updated_at: Seconds since the epoch.
        seq: Number of the last recorded event: the bookmark.
        last_seq: Number of the last record.
        subscribed: Whether its events are sent to this client.
    """

    session: str
    agent: str
    model: str
    status: Literal["idle", "running", "waiting"]
    user: str
    labels: Mapping[str, str]
    state: Mapping[str, Any]
    summary: str
    messages: int
    turns: list[TurnInfo]
    approvals: list[ApprovalInfo]
    usage: Usage
    parent: str
    created_at: float
    updated_at: float
    seq: int
    last_seq: int
    subscribed: bool


@attrs.frozen(kw_only=True)
class SessionMessages:
    """A part of a session's history.

    Attributes:
        messages: Each with `role` and `parts` (`results` for the role `tool`), each of those with
            its `type`.
        next: What to send as `after` for the next part; left out with the last one.
    """

    messages: list[Mapping[str, Any]]
    next: int | None = None


@attrs.frozen(kw_only=True)
class Forked:
    """Answer to `session/fork`.

    Attributes:
        session: The new session's id; `session/create` with it opens it.
    """

    session: str


@attrs.frozen(kw_only=True)
class Closed:
    """Answer to `session/close`.

    Attributes:
        closed: Always true.
    """

    closed: bool = True


@attrs.frozen(kw_only=True)
class Subscribed:
    """Answer to `session/subscribe` and `session/unsubscribe`.

    Attributes:
        session: Its id.
        subscribed: Whether its events are sent from here on.
    """

    session: str
    subscribed: bool


@attrs.frozen(kw_only=True)
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


@attrs.frozen(kw_only=True)
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


@attrs.frozen(kw_only=True)
class Cancelled:
    """Answer to `turn/cancel`.

    Attributes:
        cancelled: Whether it had not ended.
    """

    cancelled: bool


@attrs.frozen(kw_only=True)
class ApprovalList:
    """What waits for a person, in all sessions.

    Attributes:
        approvals: This part.
        next: What to send as `after` for the next part; left out with the last one.
    """

    approvals: list[ApprovalInfo]
    next: str | None = None


@attrs.frozen(kw_only=True)
class RuntimeStats:
    """What is used, and the bounds.

    Attributes:
        runtime: Turns, sessions, restarts.
        connection: Requests and lines of this connection.
    """

    runtime: Mapping[str, Any]
    connection: Mapping[str, Any]


@attrs.frozen(kw_only=True)
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


# What the server asks of the client


@attrs.frozen(kw_only=True)
class ApprovalRequest:
    """`approval/request`: may this call run?

    Attributes:
        session: Whose turn waits.
        turn: Which turn.
        approval: Its id.
        call: The call, with `id`, `name` and `arguments` (JSON text).
        question: What is asked, in words.
    """

    session: str
    turn: str
    approval: str
    call: Mapping[str, Any] | None
    question: str = ""


@attrs.frozen(kw_only=True)
class ApprovalAnswer:
    """The client's result of `approval/request`.

    Attributes:
        decision: Whether it may.
        note: For the model to read.
        by: Who decided.
    """

    decision: Literal["approved", "denied"]
    note: str = ""
    by: str = ""


@attrs.frozen(kw_only=True)
class QuestionAsk:
    """`question/ask`: what a tool wants to know.

    Attributes:
        session: Whose turn waits.
        turn: Which turn.
        approval: Its id.
        question: What is asked.
        choices: Answers to choose from; empty where any is good.
    """

    session: str
    turn: str
    approval: str
    question: str
    choices: list[str]


@attrs.frozen(kw_only=True)
class QuestionAnswer:
    """The client's result of `question/ask`.

    Attributes:
        answer: The answer; left out where nobody answers.
        by: Who answered.
    """

    answer: str | None = None
    by: str = ""


@attrs.frozen(kw_only=True)
class ToolCallRequest:
    """`tool/call`: run one of the client's tools.

    Attributes:
        session: Whose turn calls it.
        turn: Which turn.
        call: The call's id.
        tool: The tool's name.
        arguments: Its arguments, as its schema has them.
    """

    session: str
    turn: str
    call: str
    tool: str
    arguments: Mapping[str, Any]


@attrs.frozen(kw_only=True)
class ToolAnswer:
    """The client's result of `tool/call`.

    Attributes:
        text: What the model reads.
        value: In place of `text`: any JSON; the model reads it as JSON.
        error: Whether the tool failed.
    """

    text: str | None = None
    value: Any = None
    error: bool = False
