"""Values of the runtime as JSON for native answers: snake_case, messages with ``role`` and ``type``."""

from __future__ import annotations

from typing import Any, TypeVar, cast

import attrs

from actrio.http._problems import as_told
from actrio.messages import Event, SessionView, TurnCancelled, TurnCompleted, TurnResult
from actrio.wire import event_to_dict, plain

__all__ = ["event_as_told", "result_to_dict", "view_to_dict"]

E = TypeVar("E", bound=Event)


def view_to_dict(view: SessionView) -> dict[str, Any]:
    """Return a session as native answers show it."""
    told: dict[str, Any] = plain(view)
    return told


def event_as_told(event: E) -> E:
    """Return an event as clients are told it: a turn's end at its deadline says so by its kind."""
    if not isinstance(event, TurnCancelled) or event.result.error is None:
        return event
    return cast("E", attrs.evolve(event, result=_result_as_told(event.result)))


def _result_as_told(result: TurnResult) -> TurnResult:
    if result.error is None:
        return result
    return attrs.evolve(result, error=as_told(result.error))


def result_to_dict(result: TurnResult) -> dict[str, Any]:
    """Return a turn's result as its terminal event has it."""
    result = _result_as_told(result)
    event = TurnCompleted(session="", turn=result.turn, seq=0, ts=0.0, result=result)
    told: dict[str, Any] = event_to_dict(event)["result"]
    return told
