from __future__ import annotations

import os
import pty
import signal
import subprocess
import termios
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

SLOW = "scripted:tokens?itl=20ms&tokens=100000"


def lines(*given: str) -> bytes:
    return "".join(f"{line}\n" for line in given).encode()


async def test_each_line_of_a_pipe_is_a_message(actrio: Any) -> None:
    """Without a terminal each line is answered in one session, and no prompt is shown."""
    done = await actrio("chat", "-m", "scripted:echo", stdin=lines("one", "", "two") + b"three")
    assert (done.code, done.out, done.err) == (0, "one\ntwo\nthree\n", "")


async def test_commands(actrio: Any) -> None:
    """The commands show tools and history, begin anew, change the model and leave."""
    stdin = lines("hi", "/history", "/new", "/history", "/tools", "//path", "/quit", "never")
    done = await actrio("chat", "-m", "scripted:echo", stdin=stdin)
    assert done.out == "hi\nyou: hi\nagent: hi\nthis agent has no tools\n/path\n"
    assert done.err == "(a new conversation, with scripted:echo)\n"
    assert done.code == 0


async def test_the_model_can_be_changed(actrio: Any) -> None:
    """/model begins anew with another model; one that cannot be opened changes nothing."""
    stdin = lines("a", "/model nobody:x", "b", "/model scripted:tokens?tokens=2", "c", "/model")
    done = await actrio("chat", "-m", "scripted:echo", stdin=stdin)
    assert done.out == "a\nb\nw1 w2\nscripted:tokens?tokens=2\n"
    assert "no provider 'nobody'" in done.err
    assert "(a new conversation, with scripted:tokens?tokens=2)" in done.err


async def test_a_failed_turn_does_not_end_the_conversation(actrio: Any) -> None:
    """An error is told with its remedy, the next line is answered, and the code remembers."""
    stdin = lines("a", "/model scripted:echo", "b", "/nope")
    done = await actrio("chat", "-m", "scripted:demo?fault=status401", stdin=stdin)
    assert done.out == "b\n"
    assert "error: " in done.err
    assert "what to do:" in done.err
    assert "/help lists them" in done.err
    assert done.code == 69


@pytest.fixture
def terminal(started: Any) -> Callable[..., Any]:
    """Run chat on a terminal of its own; hands over the process and a reader until a text comes."""

    @asynccontextmanager
    async def open_terminal(*arguments: str) -> AsyncIterator[Any]:
        screen, inside = pty.openpty()
        mode = termios.tcgetattr(inside)
        streams = {"stdin": inside, "stdout": inside, "stderr": inside}
        shown = bytearray()

        async def until(text: str) -> None:
            """Read on until ``text`` has come; what comes after it is kept for the next time."""
            with trio.move_on_after(30) as waiting:
                while text.encode() not in shown:
                    shown.extend(
                        await trio.to_thread.run_sync(
                            os.read, screen, 65536, abandon_on_cancel=True
                        )
                    )
            assert not waiting.cancelled_caught, bytes(shown)
            del shown[: shown.index(text.encode()) + len(text.encode())]

        try:
            async with started("chat", *arguments, start_new_session=True, **streams) as process:
                yield process, screen, until
                if process.returncode is not None:
                    assert termios.tcgetattr(inside)[3] == mode[3]
        finally:
            os.close(screen)
            os.close(inside)

    return open_terminal


async def test_ctrl_c_stops_the_answer_and_twice_at_the_prompt_leaves(terminal: Any) -> None:
    """The first Ctrl-C cancels the turn, at the prompt it hints, the second there leaves."""
    async with terminal("-m", SLOW) as (process, screen, until):
        for words in ("hello", "again"):
            await until("you › ")
            os.write(screen, f"{words}\n".encode())
            await until("w3 ")
            process.send_signal(signal.SIGINT)
            await until("(interrupted)")
        await until("you › ")
        process.send_signal(signal.SIGINT)
        await until("(Ctrl-C again, or Ctrl-D, leaves)")
        process.send_signal(signal.SIGINT)
        assert await process.wait() == 130


async def test_a_person_is_greeted_and_leaves_by_ctrl_d(terminal: Any, tmp_path: Path) -> None:
    """On a terminal there is a prompt, Ctrl-D leaves with 0, and the history is kept privately."""
    async with terminal("-m", "scripted:echo") as (process, screen, until):
        await until("you › ")
        os.write(screen, b"hello there\n")
        await until("hello there\r\n")
        await until("hello there\r\n")
        await until("you › ")
        os.write(screen, b"\x04")
        assert await process.wait() == 0
    history = tmp_path / "data" / "chat-history"
    assert "hello there" in history.read_text()
    assert history.stat().st_mode & 0o077 == 0


async def test_termination_ends_a_conversation(started: Any) -> None:
    """SIGTERM leaves at once, also in the middle of an answer."""
    async with started("chat", "-m", SLOW, stderr=subprocess.DEVNULL) as process:
        await process.stdin.send_all(b"hello\n")
        await process.stdout.receive_some(4)
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 143
