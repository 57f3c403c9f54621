from __future__ import annotations

import io
import os

import pytest
import trio

from actrio.cli._outlet import Outlet, for_terminal, wants_color


class Terminal(io.BytesIO):
    def isatty(self) -> bool:
        return True


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


async def test_answers_and_remarks_go_to_their_streams() -> None:
    """The answer is on stdout alone and unchanged when it is no terminal; remarks on stderr."""
    out, err = io.BytesIO(), io.BytesIO()
    outlet = Outlet(out=out, err=err, env={})
    await outlet.answer("a\x1b[0mb")
    await outlet.remark("tool")
    await outlet.end_line()
    await outlet.end_line()
    assert out.getvalue() == b"a\x1b[0mb\n"
    assert err.getvalue() == b"tool\n"


async def test_a_remark_on_a_terminal_starts_its_own_line() -> None:
    """Where both streams show on one screen, a remark does not stick to half a line."""
    screen = Terminal()
    outlet = Outlet(out=screen, err=screen, env={"NO_COLOR": "1"})
    await outlet.answer("half")
    await outlet.remark("tool")
    await outlet.answer("rest\n")
    assert screen.getvalue() == b"half\ntool\nrest\n"


async def test_half_characters_are_written_as_a_replacement() -> None:
    """A lone surrogate does not break writing."""
    out = io.BytesIO()
    await Outlet(out=out, err=io.BytesIO(), env={}).answer("a\ud800b")
    assert out.getvalue() == b"a?b"


async def test_a_reader_who_went_away_is_an_error() -> None:
    """Writing to a closed pipe raises, so that the command can end."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb", buffering=0) as out, pytest.raises(BrokenPipeError):
        await Outlet(out=out, err=io.BytesIO(), env={}).answer("x")


async def test_a_reader_who_sleeps_stops_nobody_and_can_be_left() -> None:
    """While a full pipe takes nothing, other tasks go on, and the wait can be cancelled."""
    reading, writing = os.pipe()
    with os.fdopen(writing, "wb", buffering=0) as out:
        outlet = Outlet(out=out, err=io.BytesIO(), env={})
        with trio.move_on_after(0.2) as scope:
            await outlet.answer("x" * 1_000_000)
        os.close(reading)
    assert scope.cancelled_caught
