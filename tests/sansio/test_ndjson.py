from __future__ import annotations

import itertools
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actrio.sansio import LINE_BYTES_MAX, Line, LineReader, LineTooLong


def read_all(chunks: list[bytes], bytes_max: int = LINE_BYTES_MAX) -> list[Line | LineTooLong]:
    reader = LineReader(bytes_max)
    lines = [line for chunk in chunks for line in reader.feed(chunk)]
    return lines + reader.close()


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (b"a\nb\n", [b"a", b"b"]),
        (b"a\r\nb\r\n", [b"a", b"b"]),
        (b"\n\r\n  \t\na\n\n", [b"a"]),
        (b"\xef\xbb\xbfa\n", [b"a"]),
        (b"\xef\xbb\xbf\n\xef\xbb\xbfa\n", [b"\xef\xbb\xbfa"]),
        (b"a\rb\n", [b"a\rb"]),
        (b" a \n", [b" a "]),
        (b"", []),
        ("x\u2028y\x85z\n".encode(), ["x\u2028y\x85z".encode()]),
    ],
)
def test_lines_end_with_lf_and_nothing_else(data, lines):
    """CRLF, blank lines and one leading mark are forgiven; no other character ends a line."""
    assert read_all([data]) == [Line(line) for line in lines]


def test_last_line_without_end_is_told_apart():
    """What the stream's end cuts off comes out of close, marked as unterminated."""
    reader = LineReader()
    assert reader.feed(b"a\nb") == [Line(b"a")]
    assert reader.close() == [Line(b"b", terminated=False)]
    assert reader.close() == []


def test_line_at_the_limit_passes_and_one_byte_more_does_not():
    """The limit counts the content: neither the line's end nor the leading mark."""
    assert read_all([b"\xef\xbb\xbfabc\r\nabc\n"], 3) == [Line(b"abc"), Line(b"abc")]
    assert read_all([b"abcd\nabc\n"], 3) == [LineTooLong(3), Line(b"abc")]
    assert read_all([b"abc\rd\nabc\n"], 3) == [LineTooLong(3), Line(b"abc")]


def test_rest_of_a_too_long_line_is_skipped_in_constant_memory():
    """A line of 64 MiB is told once, early, and keeps nothing; the next line is read as ever."""
    reader = LineReader(1000)
    chunk = b"x" * 65536
    assert reader.feed(chunk) == [LineTooLong(1000)]
    for _ in range(1024):
        assert reader.feed(chunk) == []
    assert sys.getsizeof(reader._pending) < 2000
    assert reader.feed(b"tail\nnext\n") == [Line(b"next")]


def test_too_long_last_line_is_told_once():
    """A stream that ends inside a skipped line adds nothing at its end."""
    assert read_all([b"abcdef"], 3) == [LineTooLong(3)]


@given(
    data=st.lists(
        st.sampled_from(
            [b"a", b"bc", b"\n", b"\r", b"\r\n", b" ", b"\xef", b"\xef\xbb\xbf", b"\xbf"]
        )
    ).map(b"".join),
    cuts=st.lists(st.integers(0, 60)),
    bytes_max=st.integers(1, 6),
)
def test_result_does_not_depend_on_the_chunks(data, cuts, bytes_max):
    """Any way of cutting the same bytes gives the same lines."""
    ends = sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
    chunks = [data[a:b] for a, b in itertools.pairwise(ends)]
    assert read_all(chunks, bytes_max) == read_all([data], bytes_max)
    assert read_all([bytes([byte]) for byte in data], bytes_max) == read_all([data], bytes_max)
