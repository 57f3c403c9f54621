from __future__ import annotations

import json
import signal
import socket
from pathlib import Path
from typing import Any

import pytest
import trio

from actrio.messages import PROMPT_BYTES_MAX, TurnCancelled, TurnCompleted, TurnFailed
from actrio.wire import event_from_dict

TOOLS = '''
from actrio import Agent, tool


@tool
async def weather(city: str) -> str:
    """Tell the weather."""
    return "18 degrees"


def plain(city: str) -> str:
    """Tell something."""
    return city


guide = Agent("guide", model="scripted:demo", tools=[weather])
number = 3
'''


def events_of(out: str) -> list[Any]:
    return [event_from_dict(json.loads(line)) for line in out.splitlines()]


async def test_the_answer_is_all_of_standard_output(actrio: Any) -> None:
    """The text streams to stdout and ends with a line feed; nothing else is there."""
    done = await actrio("run", "--model", "scripted:tokens?tokens=3", "hello")
    assert (done.code, done.out, done.err) == (0, "w1 w2 w3\n", "")


async def test_without_a_model_a_script_answers_and_it_is_said(actrio: Any) -> None:
    """Where nothing names a model and none is installed, one line on stderr says what answers."""
    done = await actrio("run", "hello")
    assert done.code == 0
    assert "scripted" in done.out
    (line,) = done.err.splitlines()
    assert "scripted:demo" in line
    assert "--model" in line


async def test_json_is_the_turns_events(actrio: Any) -> None:
    """With --json each line of stdout is one event, from the first to the terminal one."""
    done = await actrio("run", "--json", "-m", "scripted:echo", "h\u2028i")
    events = events_of(done.out)
    assert done.code == 0
    assert events[0].type == "turn.started"
    assert isinstance(events[-1], TurnCompleted)
    assert events[-1].result.text == "h\u2028i"
    text = "".join(event.text for event in events if event.type == "item.delta")
    assert text == "h\u2028i"


async def test_the_prompt_can_come_from_standard_input(actrio: Any) -> None:
    """A dash reads the prompt to its end."""
    done = await actrio("run", "-m", "scripted:echo", "-", stdin="héllo\nworld".encode())
    assert (done.code, done.out) == (0, "héllo\nworld\n")


@pytest.mark.parametrize(
    ("stdin", "code", "told"),
    [
        (b"\xff\xfe", 2, "not UTF-8"),
        (b"x" * (PROMPT_BYTES_MAX + 1), 1, "longer than"),
        (b"  \n", 2, "empty"),
    ],
)
async def test_a_prompt_that_cannot_be_sent(
    actrio: Any, stdin: bytes, code: int, told: str
) -> None:
    """Bytes that are no text, too many of them, or none, are told with what to do."""
    done = await actrio("run", "-m", "scripted:echo", "-", stdin=stdin)
    assert done.code == code
    assert done.out == ""
    assert told in done.err
    assert "what to do:" in done.err


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["-m", "nobody:x"], 66, "no provider 'nobody'"),
        (["-m", "openai:gpt-4o"], 78, "OPENAI_API_KEY"),
        (["-m", "local:smollm2"], 78, "actrio model install smollm2"),
        (["-m", "scripted:nope"], 2, "demo"),
        (["-m", "scripted:demo?fault=cut@2"], 75, "cut off"),
        (["-m", "scripted:demo?fault=status500"], 75, "500"),
        (["-a", "nobody"], 66, 'no agent "nobody"'),
        (["-a", "none.toml"], 66, "none.toml"),
        (["-a", "nowhere:guide"], 66, "no module nowhere"),
        (["-c", "none.toml"], 66, "none.toml"),
    ],
)
async def test_what_cannot_work_is_told(
    actrio: Any, arguments: list[str], code: int, told: str
) -> None:
    """Each failure is a typed text with a remedy, an exit code of its own, and no traceback."""
    done = await actrio("run", *arguments, "hello")
    assert done.code == code
    assert told in done.err
    assert "error: " in done.err
    assert "Traceback" not in done.err


async def test_an_unreachable_endpoint_is_worth_a_retry(actrio: Any, folder: Path) -> None:
    """A host where nobody listens is exit code 75, and names the provider."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: a connection is refused
        port = taken.getsockname()[1]
        (folder / "actrio.toml").write_text(
            f'model = "mine:x"\n[providers.mine]\nbase_url = "http://127.0.0.1:{port}/v1"\n'
        )
        done = await actrio("run", "hello")
    assert done.code == 75
    assert "mine" in done.err


async def test_a_wrong_settings_file_is_told(actrio: Any, folder: Path) -> None:
    """A typo in actrio.toml is exit code 78 with file, key and the close match."""
    (folder / "actrio.toml").write_text("[limits]\nturnz = 3\n")
    done = await actrio("run", "hello")
    assert done.code == 78
    assert "limits.turnz: unknown key" in done.err
    assert 'Did you mean "turns"?' in done.err


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("guide.toml", 'model = "scripted:demo"\ntools = ["my_tools:weather"]\n'),
        ("guide.yaml", "model: scripted:demo\ntools: ['my_tools:weather']\n"),
        ("guide.json", '{"model": "scripted:demo", "tools": ["my_tools:weather"]}'),
    ],
)
async def test_an_agent_file_with_a_tool(actrio: Any, folder: Path, file: str, text: str) -> None:
    """An agent as data in each language uses a tool beside its file, shown in two dim lines."""
    home = folder / "agents"
    home.mkdir()
    (home / "my_tools.py").write_text(TOOLS)
    (home / file).write_text(text)
    done = await actrio("run", "--agent", f"agents/{file}", "weather?")
    assert done.code == 0, done.err
    assert "18 degrees" in done.out
    assert [line[:9] for line in done.err.splitlines()] == ["→ weather", "← weather"]


async def test_an_agent_of_a_module_and_of_the_settings(actrio: Any, folder: Path) -> None:
    """module:variable and a name from actrio.toml are agents too; a plain function is a tool."""
    (folder / "my_tools.py").write_text(TOOLS)
    (folder / "actrio.toml").write_text(
        'agent = "plain"\n[agents.plain]\nmodel = "scripted:demo"\ntools = ["my_tools:plain"]\n'
    )
    assert "← weather 18" in (await actrio("run", "-a", "my_tools:guide", "x")).err
    assert "← plain" in (await actrio("run", "x")).err
    wrong = await actrio("run", "-a", "my_tools:number", "x")
    assert wrong.code == 2
    assert "is no agent but a int" in wrong.err


async def test_steps_are_bounded_by_the_flag(actrio: Any, folder: Path) -> None:
    """A turn that needs more model calls than --max-steps fails and says so."""
    (folder / "my_tools.py").write_text(TOOLS)
    done = await actrio("run", "-a", "my_tools:guide", "--max-steps", "1", "x")
    assert done.code == 1
    assert "step" in done.err


async def test_debug_shows_where(actrio: Any) -> None:
    """With --debug a traceback precedes the error."""
    done = await actrio("run", "--debug", "-m", "nobody:x", "hello")
    assert done.code == 66
    assert "Traceback" in done.err


async def test_a_failed_turn_in_json(actrio: Any) -> None:
    """With --json the failure is the last event, and told on stderr as well."""
    done = await actrio("run", "--json", "-m", "scripted:demo?fault=cut@2", "x")
    last = events_of(done.out)[-1]
    assert isinstance(last, TurnFailed)
    assert last.result.error is not None
    assert last.result.error.kind == "provider_error"
    assert "error: " in done.err


SLOW = "scripted:tokens?itl=20ms&tokens=100000"


async def test_a_reader_who_leaves_ends_it_quietly(started: Any) -> None:
    """When stdout is closed early, as by head, the command ends without a word."""
    async with started("run", "-m", SLOW, "x") as process:
        await process.stdout.receive_some(2)
        await process.stdout.aclose()
        assert await process.wait() == 0
        assert await process.stderr.receive_some() == b""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
async def test_a_signal_cancels_the_turn(started: Any, number: int, code: int) -> None:
    """Ctrl-C ends the turn in order: its terminal event is told, and the exit code is the signal's."""
    async with started("run", "--json", "-m", SLOW, "x") as process:
        told = bytearray()
        while b"item.delta" not in told:
            piece = await process.stdout.receive_some()
            assert piece, await process.stderr.receive_some()
            told += piece
        process.send_signal(number)
        async for piece in process.stdout:
            told += piece
        assert await process.wait() == code
    last = events_of(told.decode())[-1]
    assert isinstance(last, TurnCancelled)
    assert last.result.text.startswith("w1")


async def test_a_signal_while_standard_input_is_read(started: Any) -> None:
    """Ctrl-C before the turn ends the command at once, though nothing comes on stdin."""
    async with started("run", "-m", SLOW, "-") as process:
        with trio.move_on_after(1.5):  # long enough to have come to the reading
            await process.wait()
        process.send_signal(signal.SIGINT)
        assert await process.wait() == 130
        assert await process.stderr.receive_some() == b""
