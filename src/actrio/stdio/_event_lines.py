"""Events as lines, and deltas that take up their neighbours. Pure: no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

import attrs

from actrio.feeds import merge_deltas
from actrio.messages import (
    ApprovalRequested,
    ApprovalResolved,
    Event,
    Gap,
    ItemDelta,
    Outcome,
    TurnCancelled,
    TurnCompleted,
    TurnEvent,
    TurnFailed,
    TurnResult,
)
from actrio.sansio import notification
from actrio.wire import EVENT_VERSION, event_to_dict, json_line

__all__ = ["DeltaLine", "channel_of", "event_message", "result_told"]

_ENVELOPE_BYTES: Final = 320
"""About what a delta's line has beside its text, ids and all."""


def channel_of(event: Event) -> Literal["progress", "control", "always"]:
    """Return which of a client's channels ``event`` belongs to."""
    if isinstance(event, (ApprovalRequested, ApprovalResolved)):
        return "control"
    return "always" if isinstance(event, Gap) else "progress"


def event_message(event: TurnEvent) -> dict[str, Any]:
    """Return the parameters of an ``event`` notification."""
    return event_to_dict(event)


_ENDS: Final[Mapping[Outcome, type[TurnCompleted | TurnFailed | TurnCancelled]]] = {
    "completed": TurnCompleted,
    "failed": TurnFailed,
    "cancelled": TurnCancelled,
}


def result_told(result: TurnResult) -> dict[str, Any]:
    """Return a result in the shape that it has inside a turn's last event."""
    event = _ENDS[result.outcome](session="", turn=result.turn, seq=0, ts=0.0, result=result)
    told: dict[str, Any] = event_to_dict(event)["result"]
    return told


@attrs.frozen(slots=True)
class DeltaLine:
    """One or more adjacent deltas of an item, as one line.

    Attributes:
        event: The last of them, with the text of all.
        first: The number of the first of them, where there are several.
    """

    event: ItemDelta
    first: tuple[int, int] | None = None

    @property
    def size(self) -> int:
        """About how many bytes the line has; characters outside of ASCII count as two."""
        text = self.event.text
        return _ENVELOPE_BYTES + (len(text) if text.isascii() else 2 * len(text))

    def merged(self, later: DeltaLine) -> DeltaLine | None:
        """Return both as one, or ``None`` where they are not of one item, or too long."""
        both = merge_deltas(self.event, later.event)
        if both is None:
            return None
        return DeltaLine(both, self.first or (self.event.seq, self.event.n or 0))

    def line(self) -> bytes:
        """Return the line; never raises, because there is nothing but texts and numbers in it."""
        event = self.event
        told: dict[str, Any] = {
            "v": EVENT_VERSION,
            "seq": event.seq,
            "ts": event.ts,
            "session": event.session,
            "turn": event.turn,
            "type": event.type,
            "n": event.n,
            "item": event.item,
            "kind": event.kind,
            "text": event.text,
            "attempt": event.attempt,
        }
        if self.first is not None:
            told["seq_from"], told["n_from"] = self.first
        return json_line(notification("event", told))
