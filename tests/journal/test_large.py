"""Large values stand in blobs, and come back where they stood."""

from __future__ import annotations

import trio
from hypothesis import given
from hypothesis import strategies as st

from actrio.journal import (
    BLOB_AT_BYTES,
    Checkpoint,
    InputAccepted,
    LargeValues,
    MemoryStore,
    StateChanged,
    ToolFinished,
    open_embedded_store,
)
from actrio.messages import Image, Text, ToolResult, UserMessage

LARGE = "x" * BLOB_AT_BYTES


def said(*parts):
    return InputAccepted(turn="t", message=UserMessage(parts))


async def kept(store, *records):
    """Append records to a session and return them as they are read again."""
    claim = await store.claim("s", "me")
    await store.append("s", claim.epoch, claim.last_seq, records)
    return [stored.record for stored in await store.read("s", 1)]


async def test_large_values_come_back():
    """Text, pictures, tool output and checkpoints, with small values beside them."""
    picture = Image(data=bytes(range(256)) * 100, media_type="image/png")
    records = [
        said(Text("small"), picture, Text(LARGE)),
        ToolFinished(turn="t", step=1, position=0, result=ToolResult("c", "n", LARGE + "y")),
        StateChanged(values={"deep": [{"in": LARGE}], "n": 1}),
        Checkpoint(snapshot={"history": [LARGE, "small"]}),
    ]
    assert await kept(LargeValues(MemoryStore()), *records) == records


async def test_the_same_value_is_kept_once_and_not_in_the_records(tmp_path):
    """A picture that every checkpoint repeats takes its room once."""
    async with open_embedded_store(tmp_path / "store") as store:
        large = LargeValues(store)
        claim = await large.claim("s", "me")
        for number in range(10):
            await large.append("s", claim.epoch, number, [said(Text(LARGE * 40))])
        plain = await store.read("s", 1)
        assert all(len(stored.record.message.text) < 100 for stored in plain)
        report = await large.collect(0)
        assert (report.blobs_before, report.blobs_after) == (1, 1)


async def test_what_no_record_names_is_collected():
    """Blobs of a removed session go; those of another stay."""
    large = LargeValues(MemoryStore())
    for name, text in (("a", LARGE + "a"), ("b", LARGE + "b")):
        claim = await large.claim(name, "me")
        await large.append(name, claim.epoch, 0, [said(Text(text))])
    await large.remove(await large.claim("a", "me"))
    assert (await large.collect(0)).blobs_after == 1
    assert (await large.read("b"))[0].record == said(Text(LARGE + "b"))


@given(st.text(max_size=5), st.sampled_from(["\0blob:", "\0blob:b_" + "0" * 40, ""]))
def test_no_value_is_taken_for_a_name(text, before):
    """A text that begins like a blob's name comes back as it was."""
    record = said(Text(before + text + "."))
    assert trio.run(kept, LargeValues(MemoryStore()), record) == [record]
