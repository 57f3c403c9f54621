"""Frames: every bit is covered, and torn is never taken for damaged."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actrio.journal._frames import MAGIC, SECTOR_BYTES, encode_frame, scan

PAYLOADS = [b'{"a":"' + bytes([97 + i]) * size + b'"}\n' for i, size in enumerate((1, 40, 700, 3))]


def written(payloads, *, synced=0):
    data = b""
    for payload in payloads:
        data += encode_frame("append", payload, offset=len(data), synced=min(synced, len(data)))
    return data


def test_what_is_written_is_read():
    """Frames come back in order, and the file ends cleanly."""
    data = written(PAYLOADS)
    found = scan(data)
    assert [frame.payload for frame in found.frames] == PAYLOADS
    assert (found.verdict.state, found.verdict.offset) == ("clean", len(data))


def test_every_flipped_bit_is_damage():
    """No single flipped bit is read, nor taken for an unfinished write."""
    data = written(PAYLOADS)
    for bit in range(len(data) * 8):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        found = scan(bytes(flipped))
        assert found.verdict.state == "damaged", bit
        assert found.verdict.offset <= bit // 8


def test_the_magic_and_the_end_of_a_frame_never_flip_to_zero():
    """What tells zeros of a lost sector from a flipped bit: these bytes have several bits set."""
    assert all(byte.bit_count() > 1 for byte in (*MAGIC, *b"\n"))


@pytest.mark.parametrize("keep", range(1, len(written(PAYLOADS))))
def test_a_file_cut_anywhere_is_torn_or_clean(keep):
    """Whatever was written of an append, opening cuts it off at the last whole frame."""
    found = scan(written(PAYLOADS)[:keep])
    assert found.verdict.state in {"torn", "clean"}
    assert found.verdict.offset <= keep


@given(
    sizes=st.lists(st.integers(0, 1500), min_size=1, max_size=5),
    old=st.integers(0, 1500),
    lost=st.sets(st.integers(0, 15), min_size=1),
    data=st.data(),
)
def test_lost_sectors_of_an_unsynced_write_are_torn(sizes, old, lost, data):
    """Whichever sectors of an unsynced write were lost, what was synced before stays readable."""
    before = written([b'"' + b"o" * old + b'"\n'])
    whole = bytearray(before)
    for size in sizes:
        payload = b'"' + b"n" * size + b'"\n'
        whole += encode_frame("append", payload, offset=len(whole), synced=len(before))
    hit = False
    for sector in lost:
        start = max(sector * SECTOR_BYTES, len(before))
        end = min((sector + 1) * SECTOR_BYTES, len(whole))
        if start < end:
            whole[start:end] = bytes(end - start)
            hit = True
    found = scan(bytes(whole))
    assert found.verdict.state == ("torn" if hit else "clean")
    assert found.frames[0].end == len(before)


def test_a_lost_sector_of_synced_data_is_damage():
    """A frame written after the sync says that the zeros were not always there."""
    first = written([b'"' + b"x" * 2000 + b'"\n'])
    data = bytearray(first + encode_frame("append", b"1\n", offset=len(first), synced=len(first)))
    data[512:1024] = bytes(512)
    found = scan(bytes(data))
    assert found.verdict.state == "damaged"
    assert "synced" in found.verdict.reason


def test_a_frame_in_the_wrong_place_is_damage():
    """A disk that wrote a block elsewhere is found out, although the block checks."""
    data = encode_frame("append", b"1\n", offset=0, synced=0)
    assert scan(data + data).verdict.state == "damaged"
