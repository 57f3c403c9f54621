"""What a session's journal says happened. Deltas are not truth and are not recorded.

Each class has a ``kind``, the stable name in the files, and a version ``v``. A field may be added
with a default; whatever else changes raises ``v`` and adds a migration (`MIGRATIONS`), so that an
old journal opens for ever. A default, once written, never changes: fields at their default are
not written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final, Literal, get_args

import attrs

from actrio.messages import (
    ModelOutput,
    Outcome,
    StopReason,
    ToolCall,
    ToolResult,
    Usage,
    UserMessage,
)
from actrio.wire import RecordCodec

__all__ = [
    "MIGRATIONS",
    "ApprovalAsked",
    "ApprovalDecided",
    "Checkpoint",
    "HistoryCompacted",
    "HistoryTrimmed",
    "InputAccepted",
    "ModelOutcome",
    "Record",
    "SessionCreated",
    "SessionForked",
    "SessionRewound",
    "StateChanged",
    "StepBegun",
    "StoredRecord",
    "ToolFinished",
    "ToolSealed",
    "ToolStarted",
    "TurnBegun",
    "TurnEnded",
    "record_codec",
]


@attrs.frozen(slots=True, kw_only=True)
class SessionCreated:
    """The session exists from here on."""

    kind: ClassVar[str] = "session.created"
    v: ClassVar[int] = 1
    agent: str
    user: str = ""
    model: str = ""
    cache_policy: str = ""
    labels: Mapping[str, str] = attrs.field(factory=dict, hash=False)


@attrs.frozen(slots=True, kw_only=True)
class InputAccepted:
    """A user's input was accepted as a turn; it is not lost before that turn has ended.

    Attributes:
        turn: The turn it becomes, or would become.
        message: What was said; ``None`` where a turn is continued.
        if_busy: What was to be done about a running turn.
        into: With ``steer``: the running turn that is to take it in.
        resumes: The turn that this one continues.
        owned: Whether the turn ends with whoever started it.
        key: The caller's idempotency key.
        caller: Who said it.
    """

    kind: ClassVar[str] = "input.accepted"
    v: ClassVar[int] = 1
    turn: str
    message: UserMessage | None = None
    if_busy: str = "queue"
    into: str = ""
    resumes: str = ""
    owned: bool = False
    key: str = ""
    caller: str = ""


@attrs.frozen(slots=True, kw_only=True)
class TurnBegun:
    """The turn has come to the head of the line; ``message`` only where a filter changed it."""

    kind: ClassVar[str] = "turn.begun"
    v: ClassVar[int] = 1
    turn: str
    agent: str = ""
    model: str = ""
    message: UserMessage | None = None


@attrs.frozen(slots=True, kw_only=True)
class StepBegun:
    """A model is about to be called: without an outcome after it, it may have been paid for.

    Attributes:
        taken: Inputs that steer the turn, by their turns: shown to the model from this step on,
            and ended by that.
        correction: What the model is told about its last answer, where that was not usable.
    """

    kind: ClassVar[str] = "step.begun"
    v: ClassVar[int] = 1
    turn: str
    step: int
    model: str = ""
    taken: tuple[str, ...] = ()
    correction: UserMessage | None = None


@attrs.frozen(slots=True, kw_only=True)
class ModelOutcome:
    """What came of a model call: its output (with signatures, usage, request id), or how far it got.

    The tool calls of ``output.message`` are the calls that the model proposes.

    Attributes:
        attempt: How many answers of this step a client has seen the beginning of.
        status: Whether the call ended by itself.
        output: The whole answer, where it did.
        partial: The visible text that had arrived, where it did not.
        partial_thinking: The reasoning that had arrived, where it did not.
        error: What went wrong.
        run_seconds: From the call to its end.
    """

    kind: ClassVar[str] = "model.outcome"
    v: ClassVar[int] = 1
    turn: str
    step: int
    attempt: int = 1
    status: Literal["completed", "cancelled", "failed"] = "completed"
    output: ModelOutput | None = None
    partial: str = ""
    partial_thinking: str = ""
    error: Mapping[str, Any] | None = attrs.field(default=None, hash=False)
    run_seconds: float = 0.0


@attrs.frozen(slots=True, kw_only=True)
class ToolStarted:
    """The call is about to run; where it has side effects this is synced before it does.

    ``position`` is the call's place in the model's answer: ids from models need not be unique.
    """

    kind: ClassVar[str] = "tool.started"
    v: ClassVar[int] = 1
    turn: str
    step: int
    position: int
    call_id: str
    name: str
    side_effects: bool = True


@attrs.frozen(slots=True, kw_only=True)
class ToolFinished:
    """The call has its result."""

    kind: ClassVar[str] = "tool.finished"
    v: ClassVar[int] = 1
    turn: str
    step: int
    position: int
    result: ToolResult
    run_seconds: float = 0.0


@attrs.frozen(slots=True, kw_only=True)
class ToolSealed:
    """The call never got a result of its own; this one tells how far it came."""

    kind: ClassVar[str] = "tool.sealed"
    v: ClassVar[int] = 1
    turn: str
    step: int
    position: int
    result: ToolResult
    progress: Literal["not_started", "awaiting_approval", "effects_unknown", "unrecorded"]


@attrs.frozen(slots=True, kw_only=True)
class ApprovalAsked:
    """A person must decide about a call, or answer a tool's question; may stand open for days.

    ``call`` is the call as it will run: what a filter has changed is what the person decides about.
    """

    kind: ClassVar[str] = "approval.asked"
    v: ClassVar[int] = 1
    turn: str
    approval: str
    step: int
    position: int
    about: Literal["call", "question"] = "call"
    question: str = ""
    choices: tuple[str, ...] = ()
    call: ToolCall | None = None


@attrs.frozen(slots=True, kw_only=True)
class ApprovalDecided:
    """Somebody decided, or nobody can any more (``expired``)."""

    kind: ClassVar[str] = "approval.decided"
    v: ClassVar[int] = 1
    turn: str
    approval: str
    decision: Literal["approved", "denied", "answered", "expired"]
    answer: str = ""
    by: str = ""
    note: str = ""


@attrs.frozen(slots=True, kw_only=True)
class TurnEnded:
    """How and why a turn ended; a cancelled or failed one stays in the history with its reason.

    Attributes:
        reason: In a word or a sentence, where it did not complete.
        text: The visible text, where it is not that of the last model call.
        output: The validated value as JSON, where the agent has an output type.
        resumable: Whether it was cut off and can be continued.
        kept: Whether its messages stay in the history.
    """

    kind: ClassVar[str] = "turn.ended"
    v: ClassVar[int] = 1
    turn: str
    outcome: Outcome
    stop_reason: StopReason
    reason: str = ""
    text: str | None = None
    output: Any = attrs.field(default=None, hash=False)
    steps: int = 0
    usage: Usage = Usage()
    error: Mapping[str, Any] | None = attrs.field(default=None, hash=False)
    resumable: bool = False
    kept: bool = True
    run_seconds: float = 0.0


@attrs.frozen(slots=True, kw_only=True)
class StateChanged:
    """``session.state``: these keys have these values now, those are gone."""

    kind: ClassVar[str] = "state.changed"
    v: ClassVar[int] = 1
    values: Mapping[str, Any] = attrs.field(factory=dict, hash=False)
    removed: tuple[str, ...] = ()
    by: str = ""


@attrs.frozen(slots=True, kw_only=True)
class Checkpoint:
    """Everything before this record, folded: opening reads back to the last one only."""

    kind: ClassVar[str] = "checkpoint"
    v: ClassVar[int] = 1
    snapshot: Mapping[str, Any] = attrs.field(hash=False)


@attrs.frozen(slots=True, kw_only=True)
class HistoryCompacted:
    """A summary stands for the oldest ``messages`` messages of the history."""

    kind: ClassVar[str] = "history.compacted"
    v: ClassVar[int] = 1
    messages: int
    summary: str
    summary_version: int = 1


@attrs.frozen(slots=True, kw_only=True)
class HistoryTrimmed:
    """The window left out so many of the oldest messages."""

    kind: ClassVar[str] = "history.trimmed"
    v: ClassVar[int] = 1
    messages: int
    reason: str = ""


@attrs.frozen(slots=True, kw_only=True)
class SessionForked:
    """The history begins with another session's, up to and including ``parent_seq``."""

    kind: ClassVar[str] = "session.forked"
    v: ClassVar[int] = 1
    parent: str
    parent_seq: int


@attrs.frozen(slots=True, kw_only=True)
class SessionRewound:
    """What came after ``to_seq`` no longer counts."""

    kind: ClassVar[str] = "session.rewound"
    v: ClassVar[int] = 1
    to_seq: int


Record = (
    SessionCreated
    | InputAccepted
    | TurnBegun
    | StepBegun
    | ModelOutcome
    | ToolStarted
    | ToolFinished
    | ToolSealed
    | ApprovalAsked
    | ApprovalDecided
    | TurnEnded
    | StateChanged
    | Checkpoint
    | HistoryCompacted
    | HistoryTrimmed
    | SessionForked
    | SessionRewound
)

MIGRATIONS: Final[Mapping[tuple[str, int], Callable[[dict[str, Any]], dict[str, Any]]]] = {}
"""``(kind, v)`` → how a body of that version becomes one of ``v + 1``. All are of version 1 yet."""


@attrs.frozen(slots=True)
class StoredRecord:
    """A record in its place. ``seq`` counts a session's records from 1 without a gap.

    Attributes:
        epoch: The claim under which it was written.
        ts: When, in seconds since 1970, by the writer's clock; nothing is ordered by it.
    """

    seq: int
    epoch: int
    ts: float
    record: Record


record_codec: Final = RecordCodec(get_args(Record), migrations=MIGRATIONS)
"""How records become JSON and come back."""
