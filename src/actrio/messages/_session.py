"""What is said to session and agent actors, and what they answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import attrs

from actrio.messages._parts import Message, ToolCall, Usage, UserMessage

__all__ = [
    "AnswerApproval",
    "CancelTurn",
    "ChangeState",
    "CompactHistory",
    "Decision",
    "IfBusy",
    "OpenSession",
    "PendingApproval",
    "PrepareTurn",
    "ReadSession",
    "RewindSession",
    "SessionMetrics",
    "SessionStatus",
    "SessionView",
    "SetTool",
    "StartTurn",
    "TurnAccepted",
    "TurnSummary",
    "WaitTurn",
]

IfBusy = Literal["queue", "reject", "interrupt", "steer", "rollback"]
"""What a session does with a message while a turn runs.

- ``queue``: it stands in line, behind those that came before it.
- ``reject``: it is refused, and nothing is recorded.
- ``interrupt``: the running turn is cancelled and keeps what it has said; this one is next.
- ``rollback``: the running turn is cancelled and leaves nothing in the history; this one is next.
- ``steer``: the running turn takes it in before its next step, or goes on with it where it would
  have ended; if that turn fails or is cancelled before, the message is the next turn.
"""

Decision = Literal["approved", "denied", "answered", "expired"]

SessionStatus = Literal["idle", "running", "waiting"]
"""``waiting``: for a person."""


@attrs.frozen(slots=True)
class StartTurn:
    """To a session: take this as the next turn.

    Attributes:
        turn: Its id.
        message: What the user says; ``None`` to continue ``resumes``.
        if_busy: What to do while another runs; the agent's own policy where ``None``.
        owned: The turn lives and dies with whoever asks or streams it, and the answer is its
            `TurnResult`. Otherwise the answer is `TurnAccepted`, and the turn goes on by itself.
        resumes: The turn to continue, which was cut off by a shutdown or a crash.
        key: Idempotency key: a second `StartTurn` with it joins the first one's turn.
        caller: Who says it, for fairness and for the record.
    """

    turn: str
    message: UserMessage | None
    if_busy: IfBusy | None = None
    owned: bool = True
    resumes: str = ""
    key: str = ""
    caller: str = ""


@attrs.frozen(slots=True)
class TurnAccepted:
    """A turn that was accepted and goes on by itself.

    Attributes:
        position: How many turns stand before it; 0: it runs, or is the next to.
        seq: The session's event number at its acceptance: subscribe from it to see all of the turn.
        joined: Whether an earlier input with the same key is answered.
    """

    session: str
    turn: str
    position: int
    seq: int
    joined: bool = False


@attrs.frozen(slots=True)
class CancelTurn:
    """To a session, on the control lane: end this turn, or (None) the running one.

    With the reason ``shutdown`` it is not given up: it can be continued, and one that waits for a
    person or in line stays as it is.
    """

    turn: str | None
    reason: str = "user"


@attrs.frozen(slots=True)
class WaitTurn:
    """To a session: answer with the turn's `TurnResult` when it has ended, also if it has."""

    turn: str


@attrs.frozen(slots=True)
class OpenSession:
    """To a session: be there for ``agent``; created where it is not. Answer: `SessionView`."""

    agent: str
    model: str = ""
    user: str = ""
    labels: Mapping[str, str] = attrs.field(factory=dict, hash=False)
    cache_policy: str = ""
    insist: bool = False


@attrs.frozen(slots=True)
class ReadSession:
    """To a session: answer with its `SessionView`."""


@attrs.frozen(slots=True)
class ChangeState:
    """To a session: set these keys of its state, remove those. Answer: the state."""

    values: Mapping[str, Any] = attrs.field(factory=dict, hash=False)
    removed: tuple[str, ...] = ()
    by: str = ""


@attrs.frozen(slots=True)
class AnswerApproval:
    """To a session: a person's decision, or the answer to a question."""

    approval: str
    decision: Decision
    answer: str = ""
    by: str = ""
    note: str = ""


@attrs.frozen(slots=True)
class CompactHistory:
    """To a session: let ``summary`` stand for the oldest messages.

    ``messages``: how many; all where ``None``, cut back to the beginning of a turn.
    """

    summary: str
    messages: int | None = None


@attrs.frozen(slots=True)
class RewindSession:
    """To a session: what came after the record ``to_seq`` no longer counts."""

    to_seq: int


@attrs.frozen(slots=True)
class PrepareTurn:
    """To an agent: the definition as it is to be used for a turn that begins now."""


@attrs.frozen(slots=True)
class SetTool:
    """To an agent: switch one of its tools on or off, from the next turn on."""

    name: str
    enabled: bool


@attrs.frozen(slots=True, kw_only=True)
class PendingApproval:
    """Something that waits for a person.

    Attributes:
        about: A tool call that needs leave, or a tool's question.
        call: The call it is about.
        asked_at: Seconds since the epoch.
    """

    session: str
    turn: str
    approval: str
    about: Literal["call", "question"]
    question: str
    choices: tuple[str, ...] = ()
    call: ToolCall | None = None
    asked_at: float = 0.0


@attrs.frozen(slots=True, kw_only=True)
class TurnSummary:
    """One turn of a session, as its record tells it.

    Attributes:
        state: ``queued``, ``running``, ``waiting``, or how it ended.
        seq: Of the record that accepted it; forks and rewinds speak of such numbers.
        end_seq: Of the record that ended it; 0 before.
    """

    turn: str
    state: str
    reason: str = ""
    resumable: bool = False
    seq: int = 0
    end_seq: int = 0
    text: str = ""


@attrs.frozen(slots=True, kw_only=True)
class SessionMetrics:
    """What a session has used up, since its beginning."""

    runs: int = 0
    steps: int = 0
    tool_calls: int = 0
    usage: Usage = Usage()
    model_seconds: float = 0.0
    run_seconds: float = 0.0


@attrs.frozen(slots=True, kw_only=True)
class SessionView:
    """A session as front ends and other systems see it: a value, taken at one moment.

    Attributes:
        history: What a model is shown, with the window and the summary applied.
        state: ``session.state``.
        trimmed: Messages that the window has left out since the beginning.
        turns: The latest ones, oldest first, ended or not.
        seq: Number of the last recorded event: the bookmark.
        last_seq: Number of the last record.
    """

    session: str
    agent: str
    user: str = ""
    model: str = ""
    status: SessionStatus = "idle"
    labels: Mapping[str, str] = attrs.field(factory=dict, hash=False)
    cache_policy: str = ""
    history: tuple[Message, ...] = ()
    state: Mapping[str, Any] = attrs.field(factory=dict, hash=False)
    summary: str = ""
    summary_version: int = 0
    trimmed: int = 0
    turns: tuple[TurnSummary, ...] = ()
    approvals: tuple[PendingApproval, ...] = ()
    metrics: SessionMetrics = SessionMetrics()
    parent: str = ""
    parent_seq: int = 0
    created_at: float = 0.0
    updated_at: float = 0.0
    seq: int = 0
    last_seq: int = 0
