from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actrio.errors import LimitExceeded
from actrio.sansio import SseEvent, SseReader


def read(*pieces: bytes) -> list[SseEvent]:
    reader = SseReader()
    return [event for piece in pieces for event in reader.feed(piece)]


def oracle(stream: bytes) -> list[SseEvent]:
    """Read the format line by line, as its standard words it; slow and obvious."""
    text = stream.decode("utf-8", "replace").removeprefix("\ufeff")
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")[:-1]
    events, name, data, last_id = [], "", [], ""
    for line in lines:
        if not line:
            if data:
                events.append(SseEvent(name or "message", "\n".join(data), last_id))
            name, data = "", []
            continue
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            name = value
        elif field == "data":
            data.append(value)
        elif field == "id" and "\0" not in value:
            last_id = value
    return events


fragments = st.sampled_from(
    [
        b"data: one",
        b"data:two",
        b"data:  two spaces",
        b"data",
        b"data:",
        b": comment",
        b":",
        b"event: error",
        b"id: 7",
        b"id",
        b"id: a\0b",
        b"retry: 10",
        b"unknown: x",
        "data: h\u00e9\u2028\U0001f600".encode(),
        b"data: \xff\xfe",
        b"\n",
        b"\r",
        b"\r\n",
        b"\n\n",
        b"\r\n\r\n",
        b"\xef\xbb\xbf",
    ]
)


@given(st.lists(fragments, max_size=40).map(b"".join), st.lists(st.integers(0, 500), max_size=12))
def test_every_split_reads_as_the_whole(stream: bytes, cuts: list[int]) -> None:
    """However the bytes are cut, the events are those that the standard's own words give."""
    edges = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    pieces = [stream[a:b] for a, b in itertools.pairwise(edges)]
    assert read(*pieces) == oracle(stream)
    assert read(*(bytes([byte]) for byte in stream)) == oracle(stream)


def test_a_line_separator_inside_json_is_not_a_newline() -> None:
    """U+2028, U+0085 and vertical tabs are text; only LF, CR and CRLF end a line."""
    text = "a\u2028b\u2029c\u0085d\x0be\x0cf\x1cg"
    assert read(f"data: {text}\n\n".encode()) == [SseEvent("message", text)]


def test_comments_and_empty_events_give_nothing() -> None:
    """Keep-alive comments and blank lines are no events."""
    stream = b": OPENROUTER PROCESSING\n\n: \n\n\n\nevent: ping\n\ndata: x\n\n"
    assert read(stream) == [SseEvent("message", "x")]


def test_a_byte_order_mark_is_skipped_once_at_the_start() -> None:
    """The mark counts only as the first three bytes, also when they come one by one."""
    assert read(b"\xef", b"\xbb", b"\xbfdata: x\n\n") == [SseEvent("message", "x")]
    assert read(b"\n\n\xef\xbb\xbfdata: x\n\n") == []


def test_data_lines_are_joined_and_the_id_lasts() -> None:
    """Several data lines are one text, and an id holds for the events after it."""
    stream = b"id: 7\nevent: tick\ndata: a\ndata:b\n\ndata: c\n\n"
    assert read(stream) == [SseEvent("tick", "a\nb", "7"), SseEvent("message", "c", "7")]


def test_an_event_ends_at_a_bare_carriage_return_without_waiting_for_more() -> None:
    """The event is given out with its last CR; an LF that follows belongs to that CR."""
    reader = SseReader()
    assert reader.feed(b"data: x\r\n\r") == [SseEvent("message", "x")]
    assert reader.feed(b"\n") == []
    assert reader.feed(b"data: y\n\n") == [SseEvent("message", "y")]
    assert not reader.close()


@pytest.mark.parametrize("step", [1, 7, 1000])
def test_an_event_beyond_the_bound_is_refused(step: int) -> None:
    """A peer that never ends its event is stopped at the stated size, at any pace."""
    stream = b"data: " + b"x" * 2000
    reader = SseReader(event_bytes_max=1000)
    pieces = [stream[at : at + step] for at in range(0, len(stream), step)]
    with pytest.raises(LimitExceeded, match="longer than 1000 bytes"):
        all(reader.feed(piece) == [] for piece in pieces)


def test_a_whole_event_beyond_the_bound_is_refused() -> None:
    """The bound also holds for an event that arrives in one piece."""
    with pytest.raises(LimitExceeded):
        SseReader(event_bytes_max=10).feed(b"data: 12345678901234\n\n")


def test_many_small_events_are_not_one_large_event() -> None:
    """The bound is one event's, not the stream's."""
    reader = SseReader(event_bytes_max=20)
    assert len(reader.feed(b"data: 1234\n\n" * 100)) == 100


def test_close_tells_a_cut_event_from_a_clean_end() -> None:
    """What was left over is said, and a trailing newline is nothing."""
    for stream, left in [(b"data: x\n\n", False), (b"data: x\n\n\n", False), (b"data: x\n", True)]:
        reader = SseReader()
        reader.feed(stream)
        assert reader.close() is left
