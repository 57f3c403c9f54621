from __future__ import annotations

import contextlib
import os
import pty
from collections.abc import Iterator

import pytest
import trio

from actrio.cli._outlet import Outlet, for_terminal, wants_color


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe()
    yield reading, writing
    for descriptor in (reading, writing):
        with contextlib.suppress(OSError):
            os.close(descriptor)


other_pipe = pipe


@pytest.mark.parametrize(
    ("tty", "env", "color"),
    [
        (True, {}, True),
        (False, {}, False),
        (True, {"NO_COLOR": "1"}, False),
        (True, {"NO_COLOR": ""}, True),
        (True, {"TERM": "dumb"}, False),
        (False, {"FORCE_COLOR": "1"}, True),
        (True, {"NO_COLOR": "1", "FORCE_COLOR": "1"}, False),
    ],
)
def test_color_follows_the_conventions(tty: bool, env: dict[str, str], color: bool) -> None:
    """NO_COLOR beats FORCE_COLOR, which beats what the stream is."""
    assert wants_color(tty=tty, env=env) is color


def test_a_terminal_gets_no_escape_sequences_of_the_model() -> None:
    """Control characters that could steer a terminal are taken out, line feeds and tabs stay."""
    assert for_terminal("a\x1b]0;title\x07b\r\n\tc\x9b2J") == "a]0;titleb\n\tc2J"


async def test_answers_and_remarks_go_to_their_streams(
    pipe: tuple[int, int], other_pipe: tuple[int, int]
) -> None:
    """The answer is on stdout alone and unchanged when it is no terminal; remarks on stderr."""
    outlet = Outlet(out=pipe[1], err=other_pipe[1], env={})
    await outlet.answer("a\x1b[0mb\ud800")
    await outlet.remark("tool")
    await outlet.end_line()
    await outlet.end_line()
    assert os.read(pipe[0], 99) == b"a\x1b[0mb?\n"
    assert os.read(other_pipe[0], 99) == b"tool\n"


async def test_a_terminal_gets_clean_text_and_whole_lines() -> None:
    """On a screen, control characters are gone and a remark does not stick to half a line."""
    screen, terminal = pty.openpty()
    try:
        outlet = Outlet(out=terminal, err=terminal, env={"NO_COLOR": "1"})
        await outlet.answer("ha\x1b[2Jlf")
        await outlet.remark("tool\x07")
        await outlet.answer("rest\n")
        wanted = b"ha[2Jlf\r\ntool\r\nrest\r\n"
        shown = b""
        while len(shown) < len(wanted):  # a terminal hands on what it has, piece by piece
            shown += os.read(screen, 99)
        assert shown == wanted
    finally:
        os.close(screen)
        os.close(terminal)


async def test_a_reader_who_went_away_is_an_error(pipe: tuple[int, int]) -> None:
    """Writing to a closed pipe raises, so that the command can end."""
    os.close(pipe[0])
    with pytest.raises(BrokenPipeError):
        await Outlet(out=pipe[1], err=pipe[1], env={}).answer("x")


async def test_a_reader_who_sleeps_stops_nobody_and_can_be_left(pipe: tuple[int, int]) -> None:
    """While a full pipe takes nothing, other tasks go on, and the wait can be cancelled."""
    outlet = Outlet(out=pipe[1], err=pipe[1], env={})
    with trio.move_on_after(0.2) as scope:
        await outlet.answer("x" * 1_000_000)
    assert scope.cancelled_caught
    # The thread that was left behind ends with its reader; before that its descriptor stays.
    os.close(pipe[0])
    while trio.to_thread.current_default_thread_limiter().borrowed_tokens:
        await trio.sleep(0.001)


async def test_a_non_blocking_descriptor_is_waited_for(pipe: tuple[int, int]) -> None:
    """Where somebody made the descriptor non-blocking, everything is written all the same."""
    os.set_blocking(pipe[1], False)
    outlet = Outlet(out=pipe[1], err=pipe[1], env={})
    received = bytearray()

    def read() -> None:
        while len(received) < 1_000_000:
            received.extend(os.read(pipe[0], 65536))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.to_thread.run_sync, read)
        await outlet.answer("x" * 1_000_000)
    assert bytes(received) == b"x" * 1_000_000
