"""What a session is while somebody runs it: the value that its records fold into.

`_fold.py` changes it, one record at a time, and nothing else does: so what is in memory is what
reading the journal again would give.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final, Literal

import attrs
import msgspec

from actrio.messages import (
    Decision,
    Message,
    PendingApproval,
    SessionMetrics,
    SessionView,
    ToolCall,
    ToolResult,
    TurnSummary,
    Usage,
    UserMessage,
)
from actrio.wire import RecordCodec

__all__ = [
    "AHEAD",
    "ENDED_MAX",
    "KEYS_MAX",
    "EndedTurn",
    "OpenCall",
    "OpenTurn",
    "SessionState",
    "restored",
    "snapshot_of",
]

AHEAD: Final = ("interrupt", "rollback")
"""Policies by which a message takes the running turn's place."""

ENDED_MAX: Final = 8
"""Ended turns whose results are in memory, for those who ask late; older ones are in the journal."""

KEYS_MAX: Final = 64
"""Idempotency keys remembered: a client repeats a request within seconds, not after 64 others."""


@attrs.define(slots=True)
class OpenCall:
    """One call of the step in work.

    Attributes:
        started: Its function was begun.
        result: There once it has ended or was sealed.
        approval: Id of the question to a person, once asked.
        asked: The call that the person was shown.
        leave: What the person decided.
    """

    call: ToolCall
    started: bool = False
    result: ToolResult | None = None
    approval: str = ""
    asked: ToolCall | None = None
    leave: Decision | None = None
    by: str = ""
    note: str = ""

    @property
    def waits(self) -> bool:
        """Whether it stands at a person's door: asked and not begun, decided or not."""
        return bool(self.approval) and not self.started and self.result is None


@attrs.define(slots=True)
class OpenTurn:
    """A turn that was accepted and has not ended.

    Attributes:
        seq: Number of the record that accepted it.
        added: What it adds to the history, complete up to the last finished call or step.
        calling: A model was called and its outcome is not known.
        partial: What had arrived of an answer that did not get to its end.
        calls: Those of the last answer, until each has its result.
        corrections: Times that the model was told to answer again.
    """

    id: str
    message: UserMessage | None
    if_busy: str = "queue"
    owned: bool = False
    into: str = ""
    resumes: str = ""
    seq: int = 0
    begun: bool = False
    agent: str = ""
    model: str = ""
    added: list[Message] = attrs.field(factory=list)
    steps: int = 0
    usage: Usage = Usage()
    text: str = ""
    calling: bool = False
    partial: str = ""
    calls: list[OpenCall] = attrs.field(factory=list)
    corrections: int = 0

    @property
    def waits(self) -> bool:
        """Whether a person must decide before it can go on."""
        return any(call.waits for call in self.calls)


@attrs.frozen(slots=True)
class EndedTurn:
    """How a turn ended, with what its `TurnResult` needs. ``into``: the turn that took it in."""

    id: str
    outcome: Literal["completed", "failed", "cancelled"]
    stop_reason: str
    reason: str = ""
    text: str = ""
    output: Any = None
    steps: int = 0
    usage: Usage = Usage()
    error: Mapping[str, Any] | None = None
    resumable: bool = False
    into: str = ""
    seq: int = 0
    end_seq: int = 0


@attrs.define(slots=True)
class SessionState:
    """A session. Only its actor has one, and only `apply` changes it."""

    id: str
    agent: str = ""
    user: str = ""
    model: str = ""
    cache_policy: str = ""
    labels: Mapping[str, str] = attrs.field(factory=dict)
    # Valid for a provider at all times: every tool call has its result.
    history: list[Message] = attrs.field(factory=list)
    values: dict[str, Any] = attrs.field(factory=dict)
    open: dict[str, OpenTurn] = attrs.field(factory=dict)
    # Open turns in the order in which they run; one that is to be taken in stands outside.
    line: list[str] = attrs.field(factory=list)
    ended: dict[str, EndedTurn] = attrs.field(factory=dict)
    turns_ended: int = 0
    keys: dict[str, str] = attrs.field(factory=dict)
    pending: dict[str, PendingApproval] = attrs.field(factory=dict)
    metrics: SessionMetrics = SessionMetrics()
    summary: str = ""
    summary_version: int = 0
    trimmed: int = 0
    parent: str = ""
    parent_seq: int = 0
    created_at: float = 0.0
    updated_at: float = 0.0
    event_seq: int = 0
    last_seq: int = 0

    def steering(self, turn: str) -> list[OpenTurn]:
        """Return the inputs that ``turn`` is to take in, oldest first."""
        return [each for each in self.open.values() if each.into == turn]

    def view(self) -> SessionView:
        """Return the session as others may see it."""
        return SessionView(
            session=self.id,
            agent=self.agent,
            user=self.user,
            model=self.model,
            status=self._status(),
            labels=dict(self.labels),
            cache_policy=self.cache_policy,
            history=tuple(self.history),
            state=msgspec.to_builtins(self.values),  # a copy in depth: nobody's view changes it
            summary=self.summary,
            summary_version=self.summary_version,
            trimmed=self.trimmed,
            turns=(*map(_ended_summary, self.ended.values()), *map(_summary, self.open.values())),
            approvals=tuple(self.pending.values()),
            metrics=self.metrics,
            parent=self.parent,
            parent_seq=self.parent_seq,
            created_at=self.created_at,
            updated_at=self.updated_at,
            seq=self.event_seq,
            last_seq=self.last_seq,
        )

    def _status(self) -> Literal["idle", "running", "waiting"]:
        if not self.open:
            return "idle"
        return "waiting" if self.pending else "running"


def _summary(turn: OpenTurn) -> TurnSummary:
    state = ("waiting" if turn.waits else "running") if turn.begun else "queued"
    return TurnSummary(turn=turn.id, state=state, seq=turn.seq, text=turn.text)


def _ended_summary(turn: EndedTurn) -> TurnSummary:
    return TurnSummary(
        turn=turn.id,
        state=turn.outcome,
        reason=turn.reason,
        resumable=turn.resumable,
        seq=turn.seq,
        end_seq=turn.end_seq,
        text=turn.text,
    )


@attrs.frozen(slots=True, kw_only=True)
class _Snapshot:
    """A `SessionState` as a checkpoint holds it; the same rules as for records."""

    kind: ClassVar[str] = "session.snapshot"
    v: ClassVar[int] = 1
    id: str
    agent: str = ""
    user: str = ""
    model: str = ""
    cache_policy: str = ""
    labels: Mapping[str, str] = attrs.field(factory=dict)
    history: tuple[Message, ...] = ()
    values: Mapping[str, Any] = attrs.field(factory=dict)
    open: tuple[OpenTurn, ...] = ()
    line: tuple[str, ...] = ()
    ended: tuple[EndedTurn, ...] = ()
    turns_ended: int = 0
    keys: Mapping[str, str] = attrs.field(factory=dict)
    pending: tuple[PendingApproval, ...] = ()
    metrics: SessionMetrics = SessionMetrics()
    summary: str = ""
    summary_version: int = 0
    trimmed: int = 0
    parent: str = ""
    parent_seq: int = 0
    created_at: float = 0.0
    updated_at: float = 0.0
    event_seq: int = 0


_codec: Final = RecordCodec((_Snapshot,))


def snapshot_of(state: SessionState) -> Mapping[str, Any]:
    """Return ``state`` as plain values, for a checkpoint."""
    told = {each.name: getattr(state, each.name) for each in attrs.fields(SessionState)}
    del told["last_seq"]  # the place of the checkpoint says it
    for name in ("open", "ended", "pending"):
        told[name] = tuple(told[name].values())
    for name in ("history", "line"):
        told[name] = tuple(told[name])
    return _codec.to_dict(_Snapshot(**told))


def restored(snapshot: Mapping[str, Any], *, last_seq: int) -> SessionState:
    """Return the state that `snapshot_of` wrote down.

    Raises:
        NotSupported: A newer actrio wrote it.
        InvalidRequest: It is no snapshot.
    """
    read: _Snapshot = _codec.from_dict(snapshot)
    told: dict[str, Any] = {each.name: getattr(read, each.name) for each in attrs.fields(_Snapshot)}
    told["open"] = {each.id: each for each in read.open}
    told["ended"] = {each.id: each for each in read.ended}
    told["pending"] = {each.approval: each for each in read.pending}
    told["history"], told["line"] = list(read.history), list(read.line)
    told["values"], told["keys"] = dict(read.values), dict(read.keys)
    return SessionState(**told, last_seq=last_seq)
