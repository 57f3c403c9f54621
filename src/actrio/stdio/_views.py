"""Agents, sessions and approvals as the wire tells of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import attrs

from actrio.messages import ToolCall, Usage

__all__ = [
    "AgentEntry",
    "AgentInfo",
    "ApprovalInfo",
    "ProviderEntry",
    "SessionEntryInfo",
    "SessionInfo",
    "ToolInfo",
    "TurnInfo",
    "call_told",
]


def call_told(call: ToolCall) -> dict[str, Any]:
    """Return a tool call as a client sees it."""
    return {"id": call.id, "name": call.name, "arguments": call.arguments}


@attrs.frozen(kw_only=True, eq=False, repr=False, slots=False)
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


@attrs.frozen(kw_only=True, eq=False, repr=False, slots=False)
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


@attrs.frozen(kw_only=True, eq=False, repr=False, slots=False)
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


@attrs.frozen(kw_only=True, eq=False, repr=False, slots=False)
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


@attrs.frozen(kw_only=True, eq=False, repr=False, slots=False)
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


@attrs.frozen(kw_only=True, eq=False, repr=False, slots=False)
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


@attrs.frozen(kw_only=True, eq=False, repr=False, slots=False)
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


@attrs.frozen(kw_only=True, eq=False, repr=False, slots=False)
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
