"""The checker of the wire's rules finds what breaks them."""

from __future__ import annotations

import pytest

from actrio.stdio import WireRules

TURN = {"v": 1, "ts": 0, "session": "s", "turn": "t"}


def event(type: str, seq: int, **more) -> dict:
    return {
        "jsonrpc": "2.0",
        "method": "event",
        "params": {**TURN, "type": type, "seq": seq, **more},
    }


def delta(n: int, text: str) -> dict:
    return event("item.delta", 2, n=n, item="i", text=text)


WHOLE = [
    event("turn.started", 1),
    event("step.started", 2),
    event("item.started", 2, n=1, item="i"),
    delta(2, "ab"),
    delta(3, "cd"),
    event("approval.requested", 3, approval="a"),
    {"jsonrpc": "2.0", "id": "srv-1", "method": "approval/request", "params": {"approval": "a"}},
    event("approval.resolved", 4, approval="a"),
    event("item.completed", 5, item="i", text="abcd"),
    event("turn.completed", 6, result={}),
    {"jsonrpc": "2.0", "id": 1, "result": {"turn": "t", "outcome": "completed"}},
]


def problems(messages) -> list[str]:
    rules = WireRules()
    rules.sent({"id": 1, "method": "turn/wait", "params": {"turn": "t"}})
    for message in messages:
        rules.received(message)
    return rules.problems


def test_a_whole_turn_breaks_no_rule():
    """Events, request and answer in their order are fine."""
    assert problems(WHOLE) == []


@pytest.mark.parametrize(
    ("rule", "place", "to"),
    [
        pytest.param("R1", 1, 0, id="events change places"),
        pytest.param("R1", 8, None, id="a recorded event is lost"),
        pytest.param("R2", 10, 3, id="the answer overtakes"),
        pytest.param("R3", 2, 4, id="a delta before its item"),
        pytest.param("R3", 3, 4, id="deltas change places"),
        pytest.param("R4", 6, 5, id="a request before its event"),
        pytest.param("R4", 7, None, id="an approval is never resolved"),
    ],
)
def test_what_breaks_a_rule_is_found(rule, place, to):
    """A message that is moved or lost is told under the rule's name."""
    messages = list(WHOLE)
    moved = messages.pop(place)
    if to is not None:
        messages.insert(to, moved)
    assert rule in {each.partition(":")[0] for each in problems(messages)}


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("ids", {"jsonrpc": "2.0", "id": 1, "result": {}}),
        ("ids", {"jsonrpc": "2.0", "id": "srv-1", "method": "tool/call", "params": {}}),
        ("ends", event("turn.cancelled", 7, result={})),
        ("line", {"jsonrpc": "1.0", "id": 1, "result": {}}),
        ("line", {"jsonrpc": "2.0", "id": 1}),
    ],
)
def test_what_is_too_much_is_found(rule, message):
    """A second answer, end or id, and what is no JSON-RPC, is told."""
    assert rule in {each.partition(":")[0] for each in problems([*WHOLE, message])}


def test_a_line_beyond_the_bound_is_found():
    """A megabyte and a byte is too long."""
    rules = WireRules()
    rules.received(event("turn.started", 1), line_bytes=1024 * 1024 + 2)
    assert rules.problems[0].startswith("line:")
