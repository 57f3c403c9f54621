"""What a turn tells its owner, as it happens. Each class is named after its ``type``.

``seq`` numbers a session's *recorded* events without a gap and is the bookmark. A live-only event
(``item.started``, ``item.delta``) carries the last ``seq`` and a counter ``n`` after it; a replay
gives ``item.completed`` in its place. Order within a turn::

    turn.started
      step.started
        item.started < item.delta* < item.completed      message, thinking
        item.started < item.completed                    tool_call (completed carries the result)
    turn.completed | turn.failed | turn.cancelled        exactly one, the last
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import attrs

from actrio.errors import ActrioError
from actrio.messages._parts import ToolCall, ToolResult, Usage

__all__ = [
    "TERMINAL_EVENTS",
    "ApprovalRequested",
    "ApprovalResolved",
    "Event",
    "Gap",
    "HistoryChanged",
    "ItemCompleted",
    "ItemDelta",
    "ItemKind",
    "ItemStarted",
    "ItemStatus",
    "Outcome",
    "StateUpdated",
    "StepStarted",
    "StopReason",
    "TurnCancelled",
    "TurnCompleted",
    "TurnEvent",
    "TurnFailed",
    "TurnResult",
    "TurnStarted",
]

ItemKind = Literal["message", "thinking", "tool_call"]
ItemStatus = Literal["completed", "cancelled", "failed", "superseded"]
Outcome = Literal["completed", "failed", "cancelled"]
StopReason = Literal[
    "end_turn", "max_tokens", "max_steps", "refusal", "cancelled", "error", "short_circuit"
]
"""Why a turn ended, in ACP's words where it has one."""


@attrs.frozen(slots=True, kw_only=True)
class Event:
    """The envelope. ``ts`` is seconds since the epoch."""

    type: ClassVar[str]
    recorded: ClassVar[bool] = True

    session: str
    turn: str
    seq: int
    ts: float
    n: int | None = None


@attrs.frozen(slots=True, kw_only=True)
class TurnStarted(Event):
    """The turn has come to the head of the line and begins."""

    type: ClassVar[str] = "turn.started"
    agent: str
    model: str


@attrs.frozen(slots=True, kw_only=True)
class StepStarted(Event):
    """One model call begins."""

    type: ClassVar[str] = "step.started"
    step: int


@attrs.frozen(slots=True, kw_only=True)
class ItemStarted(Event):
    """Something visible begins; its deltas follow, then ``item.completed``."""

    type: ClassVar[str] = "item.started"
    recorded: ClassVar[bool] = False
    item: str
    kind: ItemKind
    call: ToolCall | None = None


@attrs.frozen(slots=True, kw_only=True)
class ItemDelta(Event):
    """A piece of an item's text, in order. ``attempt`` tells which model attempt it belongs to."""

    type: ClassVar[str] = "item.delta"
    recorded: ClassVar[bool] = False
    item: str
    kind: ItemKind
    text: str
    attempt: int = 1


@attrs.frozen(slots=True, kw_only=True)
class ItemCompleted(Event):
    """An item as it finally is; where it differs from the deltas, this one is right."""

    type: ClassVar[str] = "item.completed"
    item: str
    kind: ItemKind
    status: ItemStatus = "completed"
    text: str = ""
    call: ToolCall | None = None
    result: ToolResult | None = None


@attrs.frozen(slots=True, kw_only=True)
class TurnResult:
    """What came of a turn.

    Attributes:
        outcome: ``completed``, ``failed`` or ``cancelled``.
        stop_reason: Why it ended.
        text: The visible text of the last step (partial where the turn did not complete).
        output: The validated value, where the agent has an output type.
        usage: Tokens of all steps.
        steps: Model calls begun.
        error: What failed or who cancelled, else ``None``.
    """

    outcome: Outcome
    stop_reason: StopReason
    text: str = ""
    output: Any = None
    usage: Usage = Usage()
    steps: int = 0
    error: ActrioError | None = None
    turn: str = ""

    def raise_for_outcome(self) -> TurnResult:
        """Return the result itself if the turn completed, else raise its error."""
        if self.error is not None:
            raise self.error
        return self


@attrs.frozen(slots=True, kw_only=True)
class TurnCompleted(Event):
    """The turn ended by itself."""

    type: ClassVar[str] = "turn.completed"
    result: TurnResult


@attrs.frozen(slots=True, kw_only=True)
class TurnFailed(Event):
    """Something in the turn failed; ``result.error`` says what."""

    type: ClassVar[str] = "turn.failed"
    result: TurnResult


@attrs.frozen(slots=True, kw_only=True)
class TurnCancelled(Event):
    """Somebody ended the turn; ``result.error.reason`` says who."""

    type: ClassVar[str] = "turn.cancelled"
    result: TurnResult


@attrs.frozen(slots=True, kw_only=True)
class ApprovalRequested(Event):
    """A person is asked: whether a call may run (``call``), or what a tool wants to know."""

    type: ClassVar[str] = "approval.requested"
    approval: str
    item: str
    about: Literal["call", "question"] = "call"
    question: str = ""
    choices: tuple[str, ...] = ()
    call: ToolCall | None = None


@attrs.frozen(slots=True, kw_only=True)
class ApprovalResolved(Event):
    """It was decided, or nobody can decide it any more (``expired``)."""

    type: ClassVar[str] = "approval.resolved"
    approval: str
    decision: Literal["approved", "denied", "answered", "expired"]
    answer: str = ""
    by: str = ""
    note: str = ""


@attrs.frozen(slots=True, kw_only=True)
class StateUpdated(Event):
    """``session.state`` has changed."""

    type: ClassVar[str] = "state.updated"
    values: Mapping[str, Any] = attrs.field(factory=dict, hash=False)
    removed: tuple[str, ...] = ()
    by: str = ""


@attrs.frozen(slots=True, kw_only=True)
class HistoryChanged(Event):
    """What a model is shown of the past has changed, other than by a turn."""

    type: ClassVar[str] = "history.changed"
    change: Literal["trimmed", "compacted", "rewound"]
    messages: int = 0
    detail: str = ""


@attrs.frozen(slots=True, kw_only=True)
class Gap(Event):
    """To a subscriber: events before ``first_available`` are no longer kept."""

    type: ClassVar[str] = "gap"
    recorded: ClassVar[bool] = False
    first_available: int


TurnEvent = (
    TurnStarted
    | StepStarted
    | ItemStarted
    | ItemDelta
    | ItemCompleted
    | TurnCompleted
    | TurnFailed
    | TurnCancelled
    | ApprovalRequested
    | ApprovalResolved
    | StateUpdated
    | HistoryChanged
    | Gap
)
"""All events of a session. Those that belong to no turn have an empty ``turn``."""

TERMINAL_EVENTS = (TurnCompleted, TurnFailed, TurnCancelled)
