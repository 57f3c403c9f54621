"""The ledger and the seal: no call is ever left without a result."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actrio.errors import InvalidRequest
from actrio.messages import ToolCall, ToolResult
from actrio.tools import CallLedger, seal, sealing_text

CALLS = tuple(ToolCall(f"c{i}", f"t{i}") for i in range(4))


def ledger_with_every_state():
    ledger = CallLedger(CALLS)
    ledger.begin(1)
    ledger.begin(2)
    ledger.end(2)
    ledger.begin(3)
    ledger.end(3)
    ledger.finish(3, ToolResult("c3", "t3", "out"))
    return ledger


def test_the_seal_tells_each_state():
    """Not started, unknown, lost, and what has a result keeps it; one for each, in call order."""
    ledger = ledger_with_every_state()
    assert ledger.states == ("waiting", "running", "returned", "finished")
    assert repr(ledger) == "<CallLedger t0=waiting t1=running t2=returned t3=finished>"
    sealed = seal(ledger, reason="the user cancelled")
    assert [(each.call_id, each.name, each.state) for each in sealed] == [
        ("c0", "t0", "sealed"),
        ("c1", "t1", "sealed"),
        ("c2", "t2", "sealed"),
        ("c3", "t3", "success"),
    ]
    assert sealed[0].text.startswith("Not started: the user cancelled before")
    assert "unknown" in sealed[1].text
    assert "Its effects have happened" in sealed[2].text
    assert sealed[3].text == "out"
    assert ledger.results == (None, None, None, ToolResult("c3", "t3", "out"))
    assert ledger.states == ("waiting", "running", "returned", "finished")


def test_calls_with_one_id_are_kept_apart():
    """A model may give two calls the same id; they are two calls all the same."""
    ledger = CallLedger([ToolCall("x", "a"), ToolCall("x", "b")])
    ledger.finish(1, ToolResult("x", "b", "second"))
    assert [(each.name, each.state) for each in seal(ledger)] == [("a", "sealed"), ("b", "success")]


def test_progress_is_told_in_the_words_of_the_record():
    """Each state of a call without a result has its word and its text; one with a result has none."""
    ledger = ledger_with_every_state()
    ledger.ask(0)
    assert ledger.states == ("asking", "running", "returned", "finished")
    words = ["awaiting_approval", "effects_unknown", "unrecorded"]
    assert [ledger.progress(index) for index in range(3)] == words
    with pytest.raises(InvalidRequest, match="has its result"):
        ledger.progress(3)
    ledger.decide(0)
    assert ledger.progress(0) == "not_started"
    reason = "the program ended"
    assert [each.text for each in seal(ledger, reason=reason)[:3]] == [
        sealing_text(word, reason) for word in ["not_started", *words[1:]]
    ]
    assert sealing_text("awaiting_approval", reason).startswith(
        "Not run: it was waiting for approval when the program ended, so it had no effect."
    )


@pytest.mark.parametrize(
    "moves",
    [
        ["end"],
        ["begin", "begin"],
        ["begin", "end", "end"],
        ["ask", "begin"],
        ["ask", "ask"],
        ["decide"],
        ["begin", "ask"],
    ],
)
def test_impossible_moves_are_our_own_mistake(moves):
    """The drawing in the module is the law."""
    ledger = CallLedger(CALLS)
    *possible, impossible = moves
    for move in possible:
        getattr(ledger, move)(0)
    with pytest.raises(AssertionError):
        getattr(ledger, impossible)(0)


MOVES = ["ask", "decide", "begin", "end", "finish"]


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from(MOVES))))
def test_every_prefix_of_a_step_can_be_sealed(moves):
    """Wherever a step ends, there is exactly one result per call, in call order."""
    ledger = CallLedger(CALLS)
    for index, move in moves:
        arguments = (ToolResult(f"c{index}", f"t{index}", "out"),) if move == "finish" else ()
        try:
            getattr(ledger, move)(index, *arguments)
        except AssertionError:
            continue
    sealed = seal(ledger)
    assert [each.call_id for each in sealed] == [call.id for call in CALLS]
    assert [each.state == "sealed" for each in sealed] == [s != "finished" for s in ledger.states]
