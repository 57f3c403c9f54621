"""What is written about turns that were cut off, so that a session can always go on.

A crash leaves a turn in the middle: a model called, tools begun. On opening, `sealing` says which
records bring it to an end that is true: no model is called again, no tool is run again, and each
call has a result that tells how far it came, because a provider refuses a history without.

    ==========================================  ====================================================
    the turn, as the journal leaves it           then
    ==========================================  ====================================================
    not begun, goes on by itself                 stays in line: its input was acknowledged
    not begun, owned by somebody who is gone     ends: cancelled (owner)
    waits for a person                           goes on waiting; calls cut off beside it are sealed
    anything else                                calls sealed; ends: cancelled, resumable
    ==========================================  ====================================================
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Literal

import attrs

from actrio.errors import TurnAborted
from actrio.journal import ApprovalDecided, Record, StoredRecord, ToolSealed, TurnEnded
from actrio.messages import Message, ToolResult, UserMessage
from actrio.sessions._fold import apply
from actrio.sessions._state import OpenTurn, SessionState
from actrio.tools import sealing_text
from actrio.wire import error_to_dict

__all__ = [
    "adopted",
    "beginnings",
    "closed",
    "cut_off",
    "ended_turn",
    "messages_beyond",
    "sealed_calls",
    "sealing",
]

CHARACTERS_PER_TOKEN: Final = 4
"""What a token takes in English prose, about; a window is a bound, not a measurement."""


def sealing(state: SessionState, reason: str) -> Iterator[Record]:
    """Yield the records that end or set right what was cut off.

    Args:
        state: As the journal tells it.
        reason: ``crash`` or ``shutdown``.
    """
    for turn in list(state.open.values()):
        if turn.waits:
            # The tools that asked questions are gone, and the questions with them.
            yield from _expired(state, turn, questions_only=True)
            yield from sealed_calls(turn, reason, only_started=True)
        elif turn.begun:
            yield from cut_off(state, turn, reason)
        elif turn.owned:
            yield ended_turn(turn, "owner", resumable=False)


def cut_off(
    state: SessionState, turn: OpenTurn, reason: str, *, resumable: bool = True, kept: bool = True
) -> Iterator[Record]:
    """Yield the records that end one turn, begun or not."""
    yield from _expired(state, turn)
    yield from sealed_calls(turn, reason)
    yield ended_turn(turn, reason, resumable=resumable, kept=kept)


def _expired(
    state: SessionState, turn: OpenTurn, *, questions_only: bool = False
) -> Iterator[Record]:
    for pending in state.pending.values():
        if pending.turn == turn.id and (pending.about == "question" or not questions_only):
            yield ApprovalDecided(turn=turn.id, approval=pending.approval, decision="expired")


def sealed_calls(turn: OpenTurn, reason: str, *, only_started: bool = False) -> Iterator[Record]:
    """Yield results for calls of a turn that have none, or for those only that were begun."""
    clause = {"crash": "the process ended", "shutdown": "the runtime was stopped"}.get(
        reason, f"the turn was cancelled ({reason})"
    )
    for position, each in enumerate(turn.calls):
        if each.result is not None or (only_started and not each.started):
            continue
        progress: Literal["effects_unknown", "awaiting_approval", "not_started"] = "not_started"
        if each.started:
            progress = "effects_unknown"
        elif each.waits:
            progress = "awaiting_approval"
        text = sealing_text(progress, clause)
        result = ToolResult(each.call.id, each.call.name, text, "sealed")
        yield ToolSealed(
            turn=turn.id, step=turn.steps, position=position, result=result, progress=progress
        )


def ended_turn(turn: OpenTurn, reason: str, *, resumable: bool, kept: bool = True) -> TurnEnded:
    """Return the record that ends ``turn`` as cancelled."""
    error = TurnAborted(f"Turn {turn.id} was cancelled ({reason}).", reason=reason)
    return TurnEnded(
        turn=turn.id,
        outcome="cancelled",
        stop_reason="cancelled",
        reason=reason,
        steps=turn.steps,
        usage=turn.usage,
        error=error_to_dict(error),
        resumable=resumable,
        kept=kept,
    )


def closed(state: SessionState, reason: str) -> SessionState:
    """End all that is open in a copy of a session that goes another way from here."""
    for turn in list(state.open.values()):
        records = (
            cut_off(state, turn, reason)
            if turn.begun
            else (ended_turn(turn, reason, resumable=False),)
        )
        for record in tuple(records):
            apply(state, StoredRecord(state.last_seq, 0, state.updated_at, record))
    return state


def adopted(parent: SessionState, session: str, seq: int) -> SessionState:
    """Return a session that begins with everything its parent had said, and nothing else of it."""
    parent = closed(parent, "fork")
    return SessionState(
        session,
        agent=parent.agent,
        user=parent.user,
        model=parent.model,
        cache_policy=parent.cache_policy,
        labels=parent.labels,
        history=parent.history,
        values=parent.values,
        summary=parent.summary,
        summary_version=parent.summary_version,
        trimmed=parent.trimmed,
        parent=parent.id,
        parent_seq=seq,
    )


def beginnings(history: list[Message]) -> list[int]:
    """Return where the history can be cut: in front of what a user said."""
    return [place for place, each in enumerate(history) if isinstance(each, UserMessage)]


def messages_beyond(history: list[Message], tokens_max: int) -> int:
    """Return how many of the oldest messages must go for the rest to fit into a window.

    The latest input and what follows it always stay: without them there is nothing to answer.
    """
    sizes = [_characters(each) // CHARACTERS_PER_TOKEN + 1 for each in history]
    left = sum(sizes)
    if left <= tokens_max:
        return 0
    gone = 0
    for place in beginnings(history):
        left -= sum(sizes[gone:place])
        gone = place
        if left <= tokens_max:
            break
    return gone


def _characters(message: Message) -> int:
    return len(str(attrs.asdict(message, recurse=True)))
