"""Frames of event streams, read back by the reader that provider streams are read with."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actrio.errors import InvalidRequest
from actrio.http._sse import event_frame, named_frame, retry_frame, starting_point
from actrio.messages import Gap, ItemCompleted, ItemDelta
from actrio.sansio import SseReader
from actrio.wire import json_line


def read(*frames):
    reader = SseReader()
    return [event for frame in frames for event in reader.feed(frame)]


@given(st.text(alphabet=st.characters(codec=None), max_size=200), st.integers(1, 10**12))
def test_a_recorded_event_is_one_frame_with_its_number(text, seq):
    """Any text survives, line separators and lone surrogates included."""
    event = ItemCompleted(
        session="s", turn="t", seq=seq, ts=1.5, item="i", kind="message", text=text
    )
    (found,) = read(event_frame(event))
    assert found.event == "item.completed"
    assert found.id == str(seq)
    assert json.loads(found.data)["text"] == text


def test_live_only_events_have_no_number():
    """A delta is no bookmark: who comes back gets item.completed in its place."""
    delta = ItemDelta(session="s", turn="t", seq=4, n=1, ts=0.0, item="i", kind="message", text="x")
    gap = Gap(session="s", turn="", seq=9, ts=0.0, n=0, first_available=10)
    assert b"id:" not in event_frame(delta)
    assert b"id:" not in event_frame(gap)


def test_named_frames_and_retry_are_frames():
    """What is no event of a session is a frame all the same."""
    found = read(retry_frame(1000, random.Random(1)), named_frame("snapshot", json_line({"a": 1})))
    assert [(each.event, each.data) for each in found] == [("snapshot", '{"a":1}')]


def test_retry_is_spread():
    """A thousand clients do not come back in one moment."""
    jitter = random.Random(1)
    found = {int(retry_frame(1000, jitter).split()[1]) for _ in range(1000)}
    assert min(found) >= 500
    assert max(found) <= 1500
    assert len(found) > 300


def test_last_event_id_beats_the_address():
    """A browser repeats the address it was first given."""
    assert starting_point("7", "3") == 7
    assert starting_point(None, "3") == 3
    assert starting_point(None, None) is None
    assert starting_point("", "0") == 0


@pytest.mark.parametrize("given_id", ["x", "-1", "1.5", "９", "9" * 40])
def test_a_bookmark_is_a_number(given_id):
    """Anything else is the caller's mistake."""
    with pytest.raises(InvalidRequest):
        starting_point(given_id, None)
