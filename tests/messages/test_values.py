"""Conversation values: the one fold, and what a message may carry to whom."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actrio.errors import InvalidRequest
from actrio.messages import (
    AssistantMessage,
    Citation,
    CitationDelta,
    FinishDelta,
    Image,
    Refusal,
    RefusalDelta,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    ToolCall,
    ToolCallDelta,
    Usage,
    UsageDelta,
    VendorItem,
    VendorItemDelta,
    fold,
)


def test_fold_keeps_order_joins_neighbours_and_closes_at_signatures():
    """Parts stand in the order in which they began; a signature ends the part it belongs to."""
    item = VendorItem("acme", "search", "{}")
    output = fold(
        [
            ThinkingDelta("hm"),
            ThinkingDelta("m", "sig"),
            ThinkingDelta("again"),
            TextDelta("a"),
            TextDelta("b"),
            CitationDelta(Citation("https://x")),
            VendorItemDelta(item),
            ToolCallDelta(0, "c1", "f", '{"x"'),
            ToolCallDelta(1, "", "g"),
            ToolCallDelta(0, arguments=":1}"),
            RefusalDelta("no"),
            UsageDelta(Usage(1, 1)),
            UsageDelta(Usage(2, 3)),
            FinishDelta("stop", "stop"),
        ]
    )
    assert output.message.parts == (
        Thinking("hmm", "sig"),
        Thinking("again"),
        Text("ab", citations=(Citation("https://x"),)),
        item,
        ToolCall("c1", "f", '{"x":1}'),
        ToolCall("call_1", "g", "{}"),
        Refusal("no"),
    )
    assert output.finish_reason == "tool_calls"
    assert output.usage == Usage(2, 3)
    assert (output.message.text, output.message.refusal, output.message.shown) == ("ab", "no", "ab")


@given(st.text(), st.data())
def test_fold_does_not_care_how_text_is_cut(text, data):
    """Any cutting of a text into deltas folds to the same part."""
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    pieces = [text[i:j] for i, j in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert fold([TextDelta(piece) for piece in pieces]).message.text == text


def test_what_one_vendor_signed_is_not_sent_to_another():
    """Signatures stay with their vendor; the words go everywhere; an unmarked message is left alone."""
    parts = (Thinking("hm", "s1"), Text("a", "s2"), ToolCall("c", "f", "{}", "s3"))
    message = AssistantMessage(parts, vendor="gemini")
    assert message.for_vendor("gemini").parts == parts
    assert AssistantMessage(parts).for_vendor("anthropic").parts == parts
    foreign = message.for_vendor("anthropic").parts
    assert [part.signature for part in foreign] == [None, None, None]
    assert foreign[1].text == "a"


@pytest.mark.parametrize("sources", [{}, {"data": b"x", "url": "https://x"}])
def test_a_picture_has_one_source(sources):
    """Bytes or a link, not both and not neither."""
    with pytest.raises(InvalidRequest, match="exactly one"):
        Image(**sources)
