"""A journal of each version opens for ever, and says what it said when it was written."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import get_args

import pytest

from actrio.errors import NotFound
from actrio.journal import (
    ApprovalAsked,
    ApprovalDecided,
    Checkpoint,
    HistoryCompacted,
    HistoryTrimmed,
    InputAccepted,
    ModelOutcome,
    Record,
    SessionCreated,
    SessionForked,
    SessionRewound,
    StateChanged,
    StepBegun,
    ToolApproved,
    ToolFinished,
    ToolProposed,
    ToolSealed,
    ToolStarted,
    TurnEnded,
    open_embedded_store,
    record_codec,
)
from actrio.messages import (
    AssistantMessage,
    Citation,
    Document,
    Image,
    ModelOutput,
    Refusal,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    Usage,
    VendorItem,
    user_message,
)
from actrio.wire import RecordCodec

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures" / "journals"


def one_of_each():
    """Return what version 1 was written with."""
    call = ToolCall("call_1", "search", '{"q":"x"}', "sig-call")
    msg = AssistantMessage(
        (
            Thinking("hm", "sig-think"),
            Text("hello", "sig-text", (Citation("https://example.org", "t", "q", "{}"),)),
            Refusal("no"),
            VendorItem("anthropic", "redacted_thinking", '{"data":"x"}'),
            call,
        )
    )
    user = user_message(
        ["hi \u2028 \0", Image("image/png", b"\x00\x01"), Document("text/plain", "n.txt", b"abc")]
    )
    return (
        SessionCreated(
            agent="helper",
            user="u_1",
            model="scripted:demo",
            cache_policy="default",
            labels={"team": "a"},
        ),
        InputAccepted(turn="t_1", message=user, if_busy="steer", caller="c"),
        StepBegun(turn="t_1", step=1, model="scripted:demo"),
        ModelOutcome(
            turn="t_1",
            step=1,
            attempt=2,
            output=ModelOutput(msg, "tool_calls", Usage(5, 6, 1, 2), "demo", "req_1", "tool_use"),
            request_id="req_1",
        ),
        ModelOutcome(turn="t_1", step=1, error={"kind": "provider_error", "message": "gone"}),
        ToolProposed(turn="t_1", step=1, call=call),
        ApprovalAsked(turn="t_1", approval="a_1", call_id="call_1", question="may I?"),
        ApprovalDecided(turn="t_1", approval="a_1", decision="approved", by="u_1", note="ok"),
        ToolApproved(turn="t_1", call_id="call_1", by="u_1"),
        ToolStarted(turn="t_1", call_id="call_1", name="search", side_effects=False),
        ToolFinished(turn="t_1", result=ToolResult("call_1", "search", "found"), run_seconds=0.5),
        ToolSealed(
            turn="t_1",
            result=ToolResult("call_2", "send", "It may have run.", "sealed"),
            progress="effects_unknown",
        ),
        StateChanged(values={"n": [1, {"a": None}]}, removed=("old",), by="tool"),
        TurnEnded(
            turn="t_1",
            outcome="cancelled",
            stop_reason="cancelled",
            reason="user",
            steps=1,
            usage=Usage(5, 6),
            error={"kind": "cancelled", "message": "x"},
            resumable=True,
        ),
        HistoryTrimmed(messages=2, reason="window"),
        HistoryCompacted(until_seq=3, summary="they said hi", summary_version=2),
        SessionForked(parent="s_0", parent_seq=7),
        SessionRewound(to_seq=3),
        Checkpoint(snapshot={"n": 1}),
    )


async def test_version_1_opens(tmp_path):
    """Every kind of record, several segments, a trim and a removal."""
    shutil.copytree(FIXTURES / "v1", tmp_path / "store")
    async with open_embedded_store(tmp_path / "store") as store:
        assert (await store.verify()).ok
        found = await store.read("one-of-each", 1)
        assert tuple(one.record for one in found) == one_of_each()
        assert {type(one.record) for one in found} == set(get_args(Record))
        assert (await store.list())[1].first_seq == 2
        with pytest.raises(NotFound):
            await store.read("removed")
        claim = await store.claim("one-of-each", "me")
        await store.append("one-of-each", claim.epoch, claim.last_seq, [Checkpoint(snapshot={})])


@pytest.mark.parametrize("record", one_of_each(), ids=lambda record: record.kind)
def test_a_record_comes_back_as_it_was(record):
    """Through JSON and back, nothing is lost."""
    assert record_codec.from_dict(record_codec.to_dict(record)) == record


def test_an_old_body_goes_through_each_migration():
    """Version 1 becomes version 3 by way of version 2."""

    class Newer(SessionRewound):
        v = 3

    codec = RecordCodec(
        [Newer],
        migrations={
            ("session.rewound", 1): lambda body: {"seq": body["to"]},
            ("session.rewound", 2): lambda body: {"to_seq": body["seq"]},
        },
    )
    found = codec.from_dict({"kind": "session.rewound", "v": 1, "body": {"to": 7}})
    assert found.to_seq == 7
