from __future__ import annotations

import itertools

import attrs
from hypothesis import given
from hypothesis import strategies as st

from actrio.rpc import Outbox


def outbox(lines: int = 64, size: int = 1000, high_water: int | None = None) -> Outbox:
    return Outbox(
        control_lines_max=4,
        channel_lines_max=lines,
        channel_bytes_max=size,
        high_water_lines=lines if high_water is None else high_water,
    )


@attrs.frozen
class Piece:
    """A delta that merges up to ten letters."""

    text: str

    @property
    def size(self) -> int:
        return len(self.text) + 1

    def merged(self, later: Piece) -> Piece | None:
        return Piece(self.text + later.text) if len(self.text + later.text) <= 10 else None

    def line(self) -> bytes:
        return self.text.encode() + b";"


def test_control_overtakes_and_channels_take_turns():
    """Answers leave first, then the channels, each with what its share of bytes pays for."""
    box = outbox(size=10_000)
    for line in (b"a" * 3000, b"A" * 3000, b"a" * 3000):
        assert box.offer("a", line)
    assert box.offer("b", b"b1;")
    assert box.offer("b", b"b2;")
    box.put_control(b"c;")
    data, drained = box.take(100_000)
    assert data == b"c;" + b"a" * 3000 + b"b1;b2;" + b"A" * 3000 + b"a" * 3000
    assert drained == {"a", "b"}
    assert not box


def test_a_flood_of_large_lines_costs_others_their_share_and_no_more():
    """While one channel sends megabytes, another one's small lines wait for one of them at most."""
    box = outbox(size=10_000_000)
    for _ in range(4):
        assert box.offer("big", b"x" * 1_000_000)
    written = []
    for number in range(40):
        assert box.offer("small", b"%d;" % number)
        written.append(box.take(32 * 1024)[0])
    assert b"".join(written).count(b";") == 40
    assert all(b";" in one + other for one, other in itertools.pairwise(written))


def test_above_high_water_messages_merge_and_nothing_is_lost():
    """The third piece waits unwritten and takes up its neighbours, up to what a piece may hold."""
    box = outbox(lines=4, high_water=2)
    assert [box.offer("a", Piece(text)) for text in ("ab", "cd", "ef", "gh", "ij")] == [True] * 5
    assert box.offer("a", Piece("klmnop"))
    assert not box.offer("a", Piece("qrstuvwx"))
    assert box.statistics().merged_lines == 2
    assert box.take(1000)[0] == b"ab;cd;efghij;klmnop;"
    assert box.statistics().bytes == 0


def test_what_cannot_be_merged_ends_the_merging():
    """A written line between two pieces keeps its place."""
    box = outbox(high_water=0)
    for item in (Piece("a"), Piece("b"), b"|", Piece("c"), Piece("d")):
        assert box.offer("a", item)
    assert box.take(1000)[0] == b"ab;|cd;"


def test_channel_refuses_beyond_its_lines_and_its_bytes():
    """A full channel says no; others and the control queue are not concerned."""
    box = outbox(lines=2, size=10)
    assert box.offer("a", b"1")
    assert box.offer("a", b"2")
    assert not box.offer("a", b"3")
    assert box.offer("b", b"x" * 100)
    assert not box.offer("b", b"y")
    for _ in range(4):
        assert not box.control_full
        box.put_control(b"c")
    assert box.control_full
    assert (box.statistics().bytes, box.statistics().channel_lines) == (106, 3)


def test_take_stays_below_its_size_unless_one_line_is_larger():
    """Lines are joined up to the size asked for, and a large line travels alone."""
    box = outbox()
    for line in (b"x" * 50, b"12345", b"12345", b"12345"):
        box.offer("a", line)
    assert [len(box.take(10)[0]) for _ in range(3)] == [50, 10, 5]
    assert box.take(10) == (b"", frozenset())


@given(
    offers=st.lists(
        st.tuples(st.sampled_from("abc"), st.integers(1, 30))
        | st.integers(1, 60).map(lambda size: (None, size)),
        max_size=80,
    )
)
def test_every_accepted_line_leaves_once_and_in_its_channels_order(offers):
    """Nothing is lost, doubled or reordered within a channel, and the count returns to zero."""
    box = outbox(lines=5, size=100)
    accepted: dict[str, list[bytes]] = {"a": [], "b": [], "c": []}
    out = b""
    for number, (channel, size) in enumerate(offers):
        if channel is None:
            out += box.take(size)[0]
            continue
        line = f"{channel}{number}".encode().ljust(size, b".") + b"\n"
        if box.offer(channel, line):
            accepted[channel].append(line)
    while box:
        out += box.take(20)[0]
    for channel, lines in accepted.items():
        sent = [s for s in out.splitlines(keepends=True) if s.startswith(channel.encode())]
        assert sent == lines
    assert box.statistics().bytes == 0
    assert box.statistics().channel_lines == 0
