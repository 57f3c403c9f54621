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
    "ToolApproved",
    "ToolFinished",
    "ToolProposed",
    "ToolSealed",
    "ToolStarted",
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
    """A user's input was accepted as a turn; it is not lost before that turn has ended."""

    kind: ClassVar[str] = "input.accepted"
    v: ClassVar[int] = 1
    turn: str
    message: UserMessage
    if_busy: str = "queue"
    caller: str = ""


@attrs.frozen(slots=True, kw_only=True)
class StepBegun:
    """A model is about to be called: without an outcome after it, it may have been paid for."""

    kind: ClassVar[str] = "step.begun"
    v: ClassVar[int] = 1
    turn: str
    step: int
    model: str = ""


@attrs.frozen(slots=True, kw_only=True)
class ModelOutcome:
    """What came of a model call: its output (with signatures, usage, request id) or its error."""

    kind: ClassVar[str] = "model.outcome"
    v: ClassVar[int] = 1
    turn: str
    step: int
    attempt: int = 1
    output: ModelOutput | None = None
    error: Mapping[str, Any] | None = attrs.field(default=None, hash=False)
    request_id: str | None = None


@attrs.frozen(slots=True, kw_only=True)
class ToolProposed:
    """The model wants this call."""

    kind: ClassVar[str] = "tool.proposed"
    v: ClassVar[int] = 1
    turn: str
    step: int
    call: ToolCall


@attrs.frozen(slots=True, kw_only=True)
class ToolApproved:
    """The call may run."""

    kind: ClassVar[str] = "tool.approved"
    v: ClassVar[int] = 1
    turn: str
    call_id: str
    by: str = ""


@attrs.frozen(slots=True, kw_only=True)
class ToolStarted:
    """The call is about to run; where it has side effects this is synced before it does."""

    kind: ClassVar[str] = "tool.started"
    v: ClassVar[int] = 1
    turn: str
    call_id: str
    name: str
    side_effects: bool = True


@attrs.frozen(slots=True, kw_only=True)
class ToolFinished:
    """The call has its result."""

    kind: ClassVar[str] = "tool.finished"
    v: ClassVar[int] = 1
    turn: str
    result: ToolResult
    run_seconds: float = 0.0


@attrs.frozen(slots=True, kw_only=True)
class ToolSealed:
    """The call never got a result of its own; this one tells how far it came."""

    kind: ClassVar[str] = "tool.sealed"
    v: ClassVar[int] = 1
    turn: str
    result: ToolResult
    progress: Literal["not_started", "awaiting_approval", "effects_unknown", "unrecorded"]


@attrs.frozen(slots=True, kw_only=True)
class ApprovalAsked:
    """A person must decide about a call; may stand open for days."""

    kind: ClassVar[str] = "approval.asked"
    v: ClassVar[int] = 1
    turn: str
    approval: str
    call_id: str
    question: str = ""


@attrs.frozen(slots=True, kw_only=True)
class ApprovalDecided:
    """Somebody decided."""

    kind: ClassVar[str] = "approval.decided"
    v: ClassVar[int] = 1
    turn: str
    approval: str
    decision: Literal["approved", "denied", "expired"]
    by: str = ""
    note: str = ""


@attrs.frozen(slots=True, kw_only=True)
class TurnEnded:
    """How and why a turn ended; a cancelled or failed one stays in the history with its reason."""

    kind: ClassVar[str] = "turn.ended"
    v: ClassVar[int] = 1
    turn: str
    outcome: Outcome
    stop_reason: StopReason
    reason: str = ""
    steps: int = 0
    usage: Usage = Usage()
    error: Mapping[str, Any] | None = attrs.field(default=None, hash=False)
    resumable: bool = False


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
    """A summary stands for the history up to and including ``until_seq``."""

    kind: ClassVar[str] = "history.compacted"
    v: ClassVar[int] = 1
    until_seq: int
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
    | StepBegun
    | ModelOutcome
    | ToolProposed
    | ToolApproved
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
