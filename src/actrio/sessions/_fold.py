"""From records to a session and to its events: the one meaning that a journal has.

`apply` takes a record into the state and says which recorded events it stands for. The actor runs
it on what it has just written, whoever opens a session runs it on what was read: so memory equals
the journal, and a replay is the same events under the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple

import attrs

from actrio.agents import call_item, message_item
from actrio.journal import (
    ApprovalAsked,
    ApprovalDecided,
    Checkpoint,
    HistoryCompacted,
    HistoryTrimmed,
    InputAccepted,
    ModelOutcome,
    SessionCreated,
    SessionForked,
    SessionRewound,
    StateChanged,
    StepBegun,
    StoredRecord,
    ToolFinished,
    ToolSealed,
    ToolStarted,
    TurnBegun,
    TurnEnded,
)
from actrio.messages import (
    ApprovalRequested,
    ApprovalResolved,
    AssistantMessage,
    Event,
    HistoryChanged,
    ItemCompleted,
    ItemKind,
    Message,
    Outcome,
    PendingApproval,
    StateUpdated,
    StepStarted,
    Text,
    Thinking,
    ToolMessage,
    TurnCancelled,
    TurnCompleted,
    TurnFailed,
    TurnResult,
    TurnStarted,
    UserMessage,
)
from actrio.sessions._state import (
    AHEAD,
    ENDED_MAX,
    KEYS_MAX,
    EndedTurn,
    OpenCall,
    OpenTurn,
    SessionState,
    restored,
)
from actrio.wire import error_from_dict

__all__ = ["TERMINAL", "apply", "fold", "replayed", "result_of"]

TERMINAL: Final[Mapping[Outcome, type[Event]]] = {
    "completed": TurnCompleted,
    "failed": TurnFailed,
    "cancelled": TurnCancelled,
}


class Told(NamedTuple):
    """An event that has no number yet."""

    type: type[Event]
    turn: str
    body: dict[str, Any]


def fold(session: str, records: Iterable[StoredRecord]) -> SessionState:
    """Return the session that ``records`` tell of; they begin with its first or a checkpoint."""
    state = SessionState(session)
    for stored in records:
        apply(state, stored)
    return state


def replayed(session: str, records: Iterable[StoredRecord], after: int = 0) -> list[Event]:
    """Return the recorded events behind number ``after``, as they were sent when they happened."""
    state = SessionState(session)
    return [event for stored in records for event in apply(state, stored) if event.seq > after]


def apply(state: SessionState, stored: StoredRecord) -> list[Event]:
    """Take one record into ``state``; return the recorded events that it stands for, numbered."""
    record = stored.record
    told: list[Told] = _RULES[type(record)](state, record, stored)
    state.last_seq = stored.seq
    state.updated_at = stored.ts
    events = []
    for kind, turn, body in told:
        state.event_seq += 1
        events.append(kind(session=state.id, turn=turn, seq=state.event_seq, ts=stored.ts, **body))
    return events


def result_of(ended: EndedTurn) -> TurnResult:
    """Return the result of a turn as its record tells it."""
    return TurnResult(
        outcome=ended.outcome,
        stop_reason=ended.stop_reason,  # type: ignore[arg-type]
        text=ended.text,
        output=ended.output,
        usage=ended.usage,
        steps=ended.steps,
        error=error_from_dict(ended.error) if ended.error is not None else None,
        turn=ended.into or ended.id,
    )


# --- the session itself


def _created(state: SessionState, record: SessionCreated, stored: StoredRecord) -> list[Told]:
    state.agent, state.user, state.model = record.agent, record.user, record.model
    state.cache_policy, state.labels = record.cache_policy, dict(record.labels)
    state.created_at = stored.ts
    return []


def _forked(state: SessionState, record: SessionForked, _stored: StoredRecord) -> list[Told]:
    # What the parent had said is put in by whoever reads: it stands in another journal.
    state.parent, state.parent_seq = record.parent, record.parent_seq
    return []


def _checkpoint(state: SessionState, record: Checkpoint, stored: StoredRecord) -> list[Told]:
    whole = restored(record.snapshot, last_seq=stored.seq)
    whole.id = state.id  # an imported or forked session goes by its own name
    for each in attrs.fields(SessionState):
        setattr(state, each.name, getattr(whole, each.name))
    return []


def _rewound(_state: SessionState, record: SessionRewound, _stored: StoredRecord) -> list[Told]:
    # The checkpoint written together with it is the state that it went back to.
    body = {"change": "rewound", "detail": f"to record {record.to_seq}"}
    return [Told(HistoryChanged, "", body)]


def _values(state: SessionState, record: StateChanged, _stored: StoredRecord) -> list[Told]:
    state.values.update(record.values)
    for name in record.removed:
        state.values.pop(name, None)
    body = {"values": dict(record.values), "removed": record.removed, "by": record.by}
    return [Told(StateUpdated, "", body)]


def _trimmed(state: SessionState, record: HistoryTrimmed, _stored: StoredRecord) -> list[Told]:
    del state.history[: record.messages]
    state.trimmed += record.messages
    body = {"change": "trimmed", "messages": record.messages, "detail": record.reason}
    return [Told(HistoryChanged, "", body)]


def _compacted(state: SessionState, record: HistoryCompacted, _stored: StoredRecord) -> list[Told]:
    summary = UserMessage((Text(f"[What was said before, in short]\n{record.summary}"),))
    state.history[: record.messages] = [summary]
    state.summary, state.summary_version = record.summary, record.summary_version
    body = {"change": "compacted", "messages": record.messages}
    return [Told(HistoryChanged, "", body)]


# --- turns


def _accepted(state: SessionState, record: InputAccepted, stored: StoredRecord) -> list[Told]:
    turn = OpenTurn(
        record.turn,
        record.message,
        if_busy=record.if_busy,
        owned=record.owned,
        into=record.into if record.into in state.open else "",
        resumes=record.resumes,
        seq=stored.seq,
    )
    state.open[turn.id] = turn
    if not turn.into:
        # The first in line was called when it became that, whether it has begun or not.
        state.line.insert(1 if turn.if_busy in AHEAD else len(state.line), turn.id)
    if (resumed := state.ended.get(record.resumes)) is not None:
        # Continued once; where that is cut off too, it can be continued itself.
        state.ended[resumed.id] = attrs.evolve(resumed, resumable=False)
    if record.key:
        state.keys[record.key] = turn.id
        while len(state.keys) > KEYS_MAX:
            del state.keys[next(iter(state.keys))]
    return []


def _begun(state: SessionState, record: TurnBegun, _stored: StoredRecord) -> list[Told]:
    turn = state.open[record.turn]
    turn.begun = True
    turn.agent, turn.model = record.agent, record.model
    turn.message = record.message or turn.message
    turn.added = [turn.message] if turn.message is not None else []
    return [Told(TurnStarted, turn.id, {"agent": record.agent, "model": record.model})]


def _step(state: SessionState, record: StepBegun, stored: StoredRecord) -> list[Told]:
    turn = state.open[record.turn]
    turn.steps, turn.calling, turn.partial = record.step, True, ""
    if record.correction is not None:
        turn.added.append(record.correction)
        turn.corrections += 1
    for name in record.taken:
        taken = state.open.pop(name)
        assert taken.message is not None
        turn.added.append(taken.message)
        _remember(
            state,
            EndedTurn(
                name, "completed", "end_turn", "steered", into=turn.id, seq=taken.seq,
                end_seq=stored.seq,
            ),
        )  # fmt: skip
    return [Told(StepStarted, turn.id, {"step": record.step})]


_KINDS: Final[tuple[ItemKind, ItemKind]] = ("thinking", "message")


def _outcome(state: SessionState, record: ModelOutcome, _stored: StoredRecord) -> list[Told]:
    turn = state.open[record.turn]
    turn.calling = False
    metrics = state.metrics
    if record.output is None:
        turn.partial = record.partial
        said = (record.partial_thinking, record.partial)
        usage = metrics.usage
    else:
        message = record.output.message
        turn.added.append(message)
        turn.usage += record.output.usage
        turn.text = message.shown
        turn.calls = [OpenCall(call) for call in message.tool_calls]
        thinking = "".join(part.text for part in message.parts if isinstance(part, Thinking))
        said = (thinking, message.shown)
        usage = metrics.usage + record.output.usage
    state.metrics = attrs.evolve(
        metrics,
        steps=metrics.steps + 1,
        usage=usage,
        model_seconds=metrics.model_seconds + record.run_seconds,
    )
    return [
        Told(
            ItemCompleted,
            turn.id,
            {
                "item": message_item(turn.id, record.step, kind, record.attempt),
                "kind": kind,
                "status": record.status,
                "text": text,
            },
        )
        for kind, text in zip(_KINDS, said, strict=True)
        if text
    ]


def _tool_started(state: SessionState, record: ToolStarted, _stored: StoredRecord) -> list[Told]:
    state.open[record.turn].calls[record.position].started = True
    return []


def _tool_ended(
    state: SessionState, record: ToolFinished | ToolSealed, _stored: StoredRecord
) -> list[Told]:
    turn = state.open[record.turn]
    open_call = turn.calls[record.position]
    open_call.result = result = record.result
    if isinstance(record, ToolSealed):
        status = "cancelled"
    else:
        status = "failed" if result.is_error else "completed"
        calls = state.metrics.tool_calls + 1
        state.metrics = attrs.evolve(state.metrics, tool_calls=calls)
    results = [each.result for each in turn.calls]
    whole = tuple(each for each in results if each is not None)
    if len(whole) == len(results):
        turn.added.append(ToolMessage(whole))
        turn.calls = []
    body = {
        "item": call_item(turn.id, record.step, record.position),
        "kind": "tool_call",
        "status": status,
        "call": open_call.call,
        "result": result,
    }
    return [Told(ItemCompleted, turn.id, body)]


def _asked(state: SessionState, record: ApprovalAsked, stored: StoredRecord) -> list[Told]:
    turn = state.open[record.turn]
    open_call = turn.calls[record.position]
    if record.about == "call":
        open_call.approval, open_call.asked = record.approval, record.call
        open_call.leave = None
    call = record.call or open_call.call
    state.pending[record.approval] = PendingApproval(
        session=state.id,
        turn=turn.id,
        approval=record.approval,
        about=record.about,
        question=record.question,
        choices=record.choices,
        call=call,
        asked_at=stored.ts,
    )
    body = {
        "approval": record.approval,
        "item": call_item(turn.id, record.step, record.position),
        "about": record.about,
        "question": record.question,
        "choices": record.choices,
        "call": call,
    }
    return [Told(ApprovalRequested, turn.id, body)]


def _decided(state: SessionState, record: ApprovalDecided, _stored: StoredRecord) -> list[Told]:
    state.pending.pop(record.approval)
    for open_call in state.open[record.turn].calls:
        if open_call.approval == record.approval:
            open_call.leave = record.decision
            open_call.by, open_call.note = record.by, record.note
    body = {
        "approval": record.approval,
        "decision": record.decision,
        "answer": record.answer,
        "by": record.by,
        "note": record.note,
    }
    return [Told(ApprovalResolved, record.turn, body)]


def _ended(state: SessionState, record: TurnEnded, stored: StoredRecord) -> list[Told]:
    turn = state.open.pop(record.turn)
    if turn.id in state.line:
        state.line.remove(turn.id)
    # Whoever was to be taken in and was not is next, in order, behind what broke the turn off.
    place = 0
    while place < len(state.line) and state.open[state.line[place]].if_busy in AHEAD:
        place += 1
    left = state.steering(turn.id)
    for steer in left:
        steer.into = ""
    state.line[place:place] = [steer.id for steer in left]
    if record.kept:
        state.history.extend(_kept(turn, record))
    state.turns_ended += 1
    metrics = state.metrics
    state.metrics = attrs.evolve(
        metrics, runs=metrics.runs + 1, run_seconds=metrics.run_seconds + record.run_seconds
    )
    ended = EndedTurn(
        turn.id,
        record.outcome,
        record.stop_reason,
        record.reason,
        text=record.text if record.text is not None else (turn.partial or turn.text),
        output=record.output,
        steps=record.steps,
        usage=record.usage,
        error=record.error,
        resumable=record.resumable,
        seq=turn.seq,
        end_seq=stored.seq,
    )
    _remember(state, ended)
    return [Told(TERMINAL[record.outcome], turn.id, {"result": result_of(ended)})]


def _kept(turn: OpenTurn, record: TurnEnded) -> Iterable[Message]:
    if turn.begun:
        yield from turn.added
        if turn.partial:
            yield AssistantMessage((Text(turn.partial),))
        elif record.text and not turn.steps:
            # A filter answered in the model's place.
            yield AssistantMessage((Text(record.text),))


def _remember(state: SessionState, ended: EndedTurn) -> None:
    state.ended[ended.id] = ended
    while len(state.ended) > ENDED_MAX:
        del state.ended[next(iter(state.ended))]


_Rule = Callable[[SessionState, Any, StoredRecord], list[Told]]

_RULES: Final[Mapping[type, _Rule]] = {
    SessionCreated: _created,
    SessionForked: _forked,
    Checkpoint: _checkpoint,
    SessionRewound: _rewound,
    StateChanged: _values,
    HistoryTrimmed: _trimmed,
    HistoryCompacted: _compacted,
    InputAccepted: _accepted,
    TurnBegun: _begun,
    StepBegun: _step,
    ModelOutcome: _outcome,
    ToolStarted: _tool_started,
    ToolFinished: _tool_ended,
    ToolSealed: _tool_ended,
    ApprovalAsked: _asked,
    ApprovalDecided: _decided,
    TurnEnded: _ended,
}
