"""A journal of each version opens for ever, and says what it said when it was written."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path
from typing import get_args

import attrs
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
    ToolFinished,
    ToolSealed,
    ToolStarted,
    TurnBegun,
    TurnEnded,
    open_embedded_store,
    record_codec,
)
from actrio.journal._blobs import blob_id
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
        InputAccepted(
            turn="t_1", message=user, if_busy="steer", into="t_0", owned=True, key="k", caller="c"
        ),
        InputAccepted(turn="t_2", resumes="t_1"),
        TurnBegun(turn="t_1", agent="helper", model="scripted:demo", message=user),
        StepBegun(
            turn="t_1",
            step=1,
            model="scripted:demo",
            taken=("t_3",),
            correction=user_message("as JSON, please"),
        ),
        ModelOutcome(
            turn="t_1",
            step=1,
            attempt=2,
            output=ModelOutput(msg, "tool_calls", Usage(5, 6, 1, 2), "demo", "req_1", "tool_use"),
            run_seconds=0.25,
        ),
        ModelOutcome(
            turn="t_1",
            step=2,
            status="failed",
            partial="hel",
            partial_thinking="h",
            error={"kind": "provider_error", "message": "gone"},
        ),
        ApprovalAsked(
            turn="t_1",
            approval="a_1",
            step=1,
            position=0,
            about="question",
            question="may I?",
            choices=("yes", "no"),
            call=call,
        ),
        ApprovalDecided(
            turn="t_1", approval="a_1", decision="answered", answer="yes", by="u_1", note="ok"
        ),
        ToolStarted(
            turn="t_1", step=1, position=0, call_id="call_1", name="search", side_effects=False
        ),
        ToolFinished(
            turn="t_1",
            step=1,
            position=0,
            result=ToolResult("call_1", "search", "found"),
            run_seconds=0.5,
        ),
        ToolSealed(
            turn="t_1",
            step=1,
            position=1,
            result=ToolResult("call_2", "send", "It may have run.", "sealed"),
            progress="effects_unknown",
        ),
        StateChanged(values={"n": [1, {"a": None}]}, removed=("old",), by="tool"),
        TurnEnded(
            turn="t_1",
            outcome="cancelled",
            stop_reason="cancelled",
            reason="user",
            text="hel",
            output={"a": [1]},
            steps=1,
            usage=Usage(5, 6),
            error={"kind": "cancelled", "message": "x"},
            resumable=True,
            kept=False,
            run_seconds=1.5,
        ),
        HistoryTrimmed(messages=2, reason="window"),
        HistoryCompacted(messages=3, summary="they said hi", summary_version=2),
        SessionForked(parent="s_0", parent_seq=7),
        SessionRewound(to_seq=3),
        Checkpoint(snapshot={"n": 1}),
    )


BLOB = bytes(range(256))


async def write_fixture(folder):
    """Write what ``fixtures/journals`` keeps of a version; it is never written again after that.

    Several segments, some of them compacted, an index file, a trim, a removal, and a blob.
    """
    times = itertools.count(1_700_000_000)
    options = {"segment_bytes_max": 2000, "index_bytes_max": 0, "now": lambda: float(next(times))}
    async with open_embedded_store(folder, durability="always", **options) as store:
        claims = {name: await store.claim(name, "fixture") for name in ("gone", "other", "waits")}
        for number in range(8):
            for name, claim in claims.items():
                records = [Checkpoint(snapshot={"n": number})] if number == 4 else []
                records += [StateChanged(values={"text": "x" * 150, "n": number})]
                await store.append(name, claim.epoch, claim.last_seq, records)
                claims[name] = attrs.evolve(claim, last_seq=claim.last_seq + len(records))
        await store.trim(claims["other"], 5)
        await store.remove(claims["gone"])
        asked = ApprovalAsked(turn="t", approval="a", step=1, position=0)
        await store.append("waits", claims["waits"].epoch, 9, [asked])
        await store.compact()
        claim, last = await store.claim("one-of-each", "fixture"), 0
        for record in one_of_each():
            last = await store.append("one-of-each", claim.epoch, last, [record])
        await store.blobs.put(BLOB, media_type="application/octet-stream")
    shutil.rmtree(Path(folder) / "slots")
    for lock in Path(folder).glob("*.lock"):
        lock.unlink()
    (Path(folder) / "claims.gate").unlink()


@pytest.mark.parametrize("index", [True, False])
@pytest.mark.parametrize("version", ["v1", "now"])
async def test_version_1_opens(version, index, tmp_path):
    """Every kind of record, segments as written and compacted, with and without the index file."""
    folder = tmp_path / "store"
    if version == "now":
        await write_fixture(folder)
    else:
        shutil.copytree(FIXTURES / version, folder)
    names = [path.name for path in (folder / "segments").iterdir()]
    assert {name.count("-") for name in names} == {1, 2}
    if not index:
        (folder / "index.snap").unlink()
    async with open_embedded_store(folder) as store:
        assert store.statistics().index_problem is None
        report = await store.verify()
        assert (report.problems, report.warnings) == ((), ())
        found = await store.read("one-of-each", 1)
        assert tuple(one.record for one in found) == one_of_each()
        assert {type(one.record) for one in found} == set(get_args(Record))
        told = [(one.session, one.first_seq, one.waiting) for one in await store.list()]
        assert told == [("one-of-each", 1, 0), ("other", 5, 0), ("waits", 1, 1)]
        assert (await store.list())[1].created == 1_700_000_001.0
        assert [one.record.values["n"] for one in (await store.read("other"))[1:]] == [4, 5, 6, 7]
        with pytest.raises(NotFound):
            await store.read("gone")
        assert await store.blobs.get(blob_id(BLOB)) == BLOB
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
