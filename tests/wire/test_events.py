from __future__ import annotations

import json
from typing import get_args

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actrio import errors
from actrio.errors import (
    KINDS,
    ActrioError,
    InvalidRequest,
    NotFound,
    Overloaded,
    ProviderUnreachable,
    TurnAborted,
)
from actrio.messages import (
    ApprovalRequested,
    ApprovalResolved,
    Gap,
    HistoryChanged,
    ItemCompleted,
    ItemDelta,
    ItemKind,
    ItemStarted,
    ItemStatus,
    Outcome,
    StateUpdated,
    StepStarted,
    StopReason,
    ToolCall,
    ToolResult,
    ToolResultState,
    TurnCancelled,
    TurnCompleted,
    TurnEvent,
    TurnFailed,
    TurnResult,
    TurnStarted,
    Usage,
)
from actrio.wire import (
    error_from_dict,
    error_to_dict,
    event_from_dict,
    event_to_dict,
    event_to_json,
)

texts = st.text(st.characters())  # with lone surrogates
counts = st.integers(0, 2**53)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
calls = st.builds(ToolCall, id=texts, name=texts, arguments=texts)
results = st.builds(
    ToolResult,
    call_id=texts,
    name=texts,
    text=texts,
    state=st.sampled_from(get_args(ToolResultState)),
)
usages = st.builds(Usage, counts, counts, counts, counts)
envelope = {
    "session": texts,
    "turn": texts,
    "seq": counts,
    "ts": st.floats(0, 1e11),
    "n": st.none() | counts,
}
kinds = st.sampled_from(get_args(ItemKind))
turn_results = st.builds(
    TurnResult,
    outcome=st.sampled_from(get_args(Outcome)),
    stop_reason=st.sampled_from(get_args(StopReason)),
    text=texts,
    output=json_values,
    usage=usages,
    steps=counts,
    turn=texts,
)
events = st.one_of(
    st.builds(TurnStarted, **envelope, agent=texts, model=texts),
    st.builds(StepStarted, **envelope, step=counts),
    st.builds(ItemStarted, **envelope, item=texts, kind=kinds, call=st.none() | calls),
    st.builds(ItemDelta, **envelope, item=texts, kind=kinds, text=texts, attempt=counts),
    st.builds(
        ItemCompleted,
        **envelope,
        item=texts,
        kind=kinds,
        status=st.sampled_from(get_args(ItemStatus)),
        text=texts,
        call=st.none() | calls,
        result=st.none() | results,
    ),
    *(
        st.builds(cls, **envelope, result=turn_results)
        for cls in (TurnCompleted, TurnFailed, TurnCancelled)
    ),
    st.builds(
        ApprovalRequested,
        **envelope,
        approval=texts,
        item=texts,
        about=st.sampled_from(["call", "question"]),
        question=texts,
        choices=st.lists(texts, max_size=3).map(tuple),
        call=st.none() | calls,
    ),
    st.builds(
        ApprovalResolved,
        **envelope,
        approval=texts,
        decision=st.sampled_from(["approved", "denied", "answered", "expired"]),
        answer=texts,
        by=texts,
        note=texts,
    ),
    st.builds(
        StateUpdated,
        **envelope,
        values=st.dictionaries(texts, json_values, max_size=3),
        removed=st.lists(texts, max_size=3).map(tuple),
        by=texts,
    ),
    st.builds(
        HistoryChanged,
        **envelope,
        change=st.sampled_from(["trimmed", "compacted", "rewound"]),
        messages=counts,
        detail=texts,
    ),
    st.builds(Gap, **envelope, first_available=counts),
)

FAILED = TurnFailed(
    session="s_1",
    turn="t_1",
    seq=4,
    ts=1.5,
    result=TurnResult(
        outcome="failed",
        stop_reason="error",
        error=ProviderUnreachable(
            "Nobody answers.", provider="p", category="network", status=502, remedy="Start it."
        ),
    ),
)


@given(events)
def test_events_round_trip(event: TurnEvent) -> None:
    """Every event comes back from its dict, and from its JSON line, as it was."""
    assert event_from_dict(event_to_dict(event)) == event
    assert event_from_dict(json.loads(event_to_json(event))) == event


@given(events)
def test_an_event_is_one_line(event: TurnEvent) -> None:
    """An event's JSON is one line for every reader of lines, and valid UTF-8."""
    line = event_to_json(event)
    assert line.endswith(b"\n")
    assert len(line.decode("utf-8").splitlines()) == 1


def test_every_event_class_is_known() -> None:
    """The strategies above and the reader cover the whole union."""
    assert {cls.type for cls in get_args(TurnEvent)} == {
        "turn.started",
        "step.started",
        "item.started",
        "item.delta",
        "approval.requested",
        "approval.resolved",
        "state.updated",
        "history.changed",
        "gap",
        "item.completed",
        "turn.completed",
        "turn.failed",
        "turn.cancelled",
    }


def test_envelope_comes_first_and_unset_fields_are_left_out() -> None:
    """The envelope leads in its fixed order; a field that is None does not appear."""
    event = ItemDelta(session="s", turn="t", seq=2, ts=3.0, n=1, item="i", kind="message", text="x")
    assert list(event_to_dict(event))[:7] == ["v", "seq", "ts", "session", "turn", "type", "n"]
    plain = event_to_dict(attrs.evolve(event, n=None))
    assert "n" not in plain
    started = ItemStarted(session="s", turn="t", seq=2, ts=3.0, item="i", kind="message")
    assert "call" not in event_to_dict(started)


def test_a_failed_turn_tells_its_error() -> None:
    """A result's error is nested with its facts."""
    told = event_to_dict(FAILED)["result"]["error"]
    assert told == {
        "kind": "provider_error",
        "message": "Nobody answers.",
        "remedy": "Start it.",
        "retryable": True,
        "provider": "p",
        "category": "network",
        "status": 502,
    }
    assert event_to_dict(event_from_dict(event_to_dict(FAILED))) == event_to_dict(FAILED)


def test_typed_output_leaves_as_plain_data() -> None:
    """An attrs value as output is told as a table."""

    @attrs.frozen
    class Weather:
        celsius: float
        note: str

    result = TurnResult(outcome="completed", stop_reason="end_turn", output=Weather(3.5, "rain"))
    event = TurnCompleted(session="s", turn="t", seq=1, ts=1.0, result=result)
    assert event_to_dict(event)["result"]["output"] == {"celsius": 3.5, "note": "rain"}


def _an_error(cls: type[ActrioError]) -> ActrioError:
    if issubclass(cls, errors.ProviderError):
        return cls("It failed.", provider="p", category="server", remedy="Wait.")
    return cls("It failed.", remedy="Wait.")


ERROR_CLASSES = [
    value
    for name in errors.__all__
    if isinstance(value := getattr(errors, name), type) and issubclass(value, ActrioError)
]


@pytest.mark.parametrize("cls", ERROR_CLASSES, ids=lambda cls: cls.__name__)
def test_error_facts_survive(cls: type[ActrioError]) -> None:
    """What a client may act on (kind, retryable, facts, words) survives both ways."""
    told = error_to_dict(_an_error(cls))
    assert told["kind"] in KINDS
    assert error_to_dict(error_from_dict(told)) == told


def test_error_data_and_reason_survive() -> None:
    """Data, the reason of an abort and a stated wait are told."""
    assert error_to_dict(TurnAborted("Gone.", reason="shutdown"))["data"] == {"reason": "shutdown"}
    assert error_to_dict(Overloaded("Full.", retry_after_seconds=2))["retry_after_seconds"] == 2
    back = error_from_dict(error_to_dict(NotFound("No such thing.", data={"name": "x"})))
    assert isinstance(back, NotFound)
    assert back.data == {"name": "x"}


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"v": 2}, "version 2"),
        ({"type": "turn.exploded"}, r"turn\.exploded.*turn\.started"),
        ({"seq": "4"}, "seq: expected a whole number, found a string"),
        ({"result": {"outcome": "won", "stop_reason": "error"}}, "result.outcome: expected one of"),
        ({"result": 3}, "result: expected a table"),
    ],
)
def test_what_is_no_event_is_refused(change: dict[str, object], match: str) -> None:
    """Another version, an unknown type or a field of a wrong type is an InvalidRequest."""
    with pytest.raises(InvalidRequest, match=match):
        event_from_dict({**event_to_dict(FAILED), **change})


def test_unknown_fields_of_a_newer_writer_are_ignored() -> None:
    """An event with more fields than this version knows is still read."""
    event = StepStarted(session="s", turn="t", seq=1, ts=1.0, step=1)
    assert event_from_dict({**event_to_dict(event), "mood": "good"}) == event
