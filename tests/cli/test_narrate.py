from __future__ import annotations

from typing import Any

from actrio.cli._narrate import Narrator, Spoken, ending_of
from actrio.messages import (
    ItemCompleted,
    ItemDelta,
    ItemStarted,
    ToolCall,
    ToolResult,
    TurnResult,
    TurnStarted,
)

WHERE: dict[str, Any] = {"session": "s", "turn": "t", "seq": 1, "ts": 1.0}


def told(*events: Any) -> list[Spoken]:
    narrator = Narrator()
    return [piece for event in events for piece in narrator.tell(event)]


def test_text_streams_as_it_comes_and_is_not_repeated() -> None:
    """Deltas are the answer; the completed item does not say it again."""
    pieces = told(
        TurnStarted(**WHERE, agent="a", model="m"),
        ItemStarted(**WHERE, item="i", kind="message"),
        ItemDelta(**WHERE, item="i", kind="message", text="Hel"),
        ItemDelta(**WHERE, item="i", kind="message", text="lo"),
        ItemCompleted(**WHERE, item="i", kind="message", text="Hello"),
    )
    assert pieces == [Spoken("end"), Spoken("answer", "Hel"), Spoken("answer", "lo")]


def test_an_item_without_deltas_is_told_when_complete() -> None:
    """A message that did not stream is written in one piece."""
    pieces = told(ItemCompleted(**WHERE, item="i", kind="message", text="Hello"))
    assert pieces == [Spoken("answer", "Hello")]


def test_thinking_is_not_the_answer() -> None:
    """What a model thinks is not written to the answer."""
    assert told(ItemDelta(**WHERE, item="i", kind="thinking", text="hm")) == []


def test_tools_are_one_line_each() -> None:
    """A call and its result are one remark each, cut to a line."""
    call = ToolCall("c", "weather", '{"city":\n "Paris"}')
    started, completed = (
        ItemStarted(**WHERE, item="i", kind="tool_call", call=call),
        ItemCompleted(
            **WHERE,
            item="i",
            kind="tool_call",
            call=call,
            result=ToolResult("c", "weather", "x" * 500, "error"),
        ),
    )
    first, second, third = told(started, completed)
    assert first == Spoken("end")
    assert second == Spoken("remark", '→ weather {"city": "Paris"}')
    assert third.text.startswith("✗ weather xxx")
    assert len(third.text) == 160


def test_a_superseded_attempt_is_said() -> None:
    """When a retry starts the answer anew, the reader is told."""
    pieces = told(ItemCompleted(**WHERE, item="i", kind="message", status="superseded"))
    assert [piece.way for piece in pieces] == ["end", "remark"]


def test_only_unusual_ends_are_remarked() -> None:
    """A turn that ended by itself needs no remark; a cut one does."""
    assert ending_of(TurnResult(outcome="completed", stop_reason="end_turn")) is None
    assert "cut" in str(ending_of(TurnResult(outcome="completed", stop_reason="max_tokens")))
