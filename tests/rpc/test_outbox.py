from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from actrio.rpc import Outbox


def outbox(lines: int = 64, size: int = 1000) -> Outbox:
    return Outbox(control_lines_max=4, channel_lines_max=lines, channel_bytes_max=size)


def test_control_overtakes_and_channels_take_turns():
    """Answers leave first; then one line of each channel in turn, whoever queued more."""
    box = outbox()
    for line in (b"a1;", b"a2;", b"a3;"):
        assert box.offer("a", line)
    assert box.offer("b", b"b1;")
    box.put_control(b"c;")
    assert box.take(1000) == (b"c;a1;b1;a2;a3;", frozenset({"a", "b"}))
    assert not box


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
