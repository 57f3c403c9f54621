from __future__ import annotations

import json
import os
import pty
import signal
from pathlib import Path
from typing import Any

import pytest
import trio

from actrio import Agent, open_runtime
from actrio.cli._batch import _Batch
from actrio.cli._batch_lines import Asked
from actrio.errors import ActorStopped

TOOLS = '''
from actrio import Agent, tool


@tool(approval="ask")
async def pay(order: str) -> str:
    """Pay."""
    return "paid"


clerk = Agent("clerk", model="scripted:demo", tools=[pay])
'''


def lines_of(*lines: Any) -> bytes:
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def results_of(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


async def test_results_come_in_the_order_of_the_input(actrio: Any) -> None:
    """However long each takes; ids and types of ids are kept, blank lines do not count."""
    slow = "scripted:tokens?itl=20ms&tokens=20"
    given = lines_of(
        {"prompt": "slow", "id": "a", "model": slow}, "second", {"prompt": "third", "id": 7}
    )
    done = await actrio(
        "run", "-m", "scripted:echo", "--input", "-", stdin=given.replace(b"\n", b"\n\n")
    )
    assert done.code == 0
    told = results_of(done.out)
    assert [each["id"] for each in told] == ["a", 2, 7]
    assert [each["text"] for each in told][1:] == ["second", "third"]
    assert {each["outcome"] for each in told} == {"completed"}
    assert told[1]["usage"]["output_tokens"] == 1
    assert "3 lines; 0 failed" in done.err


async def test_a_wrong_line_is_a_result_and_stops_nothing(actrio: Any) -> None:
    """Each has its error with what to do; the exit code is that of the first failure."""
    given = (
        lines_of("good")
        + b"no json\n[1]\n{}\n"
        + lines_of(
            {"prompt": "x", "promt": "y"},
            {"prompt": 5},
            {"prompt": "x", "id": 1.5},
            {"prompt": "x", "agent": "nobody"},
            {"prompt": "x", "model": "openai:gpt-4o"},
            {"prompt": "x", "model": "scripted:tokens?fault=cut@1"},
            {"prompt": " "},
        )
        + b'"'
        + b"x" * (4 * 1024 * 1024)
        + b'"\n'
        + lines_of("good again")
    )
    done = await actrio("run", "-m", "scripted:echo", "--input", "-", stdin=given)
    assert done.code == 2
    told = results_of(done.out)
    kinds = [each.get("error", {}).get("kind") for each in told]
    assert kinds == [
        None,
        *["invalid_params"] * 6,
        "not_found",
        "not_configured",
        "provider_error",
        "invalid_params",
        "limit_exceeded",
        None,
    ]
    assert all(each["error"]["message"] for each in told[1:-1])
    assert "nobody" in told[7]["error"]["message"]
    assert told[9]["text"] == "w1 "
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    ("model", "code"),
    [
        ("scripted:echo", 0),
        ("scripted:tokens?fault=cut@1", 75),
        ("openai:gpt-4o", 78),
        ("scripted:tokens?fault=context", 1),
    ],
)
async def test_exit_codes(actrio: Any, model: str, code: int) -> None:
    """0 only where every line ended by itself, else what the first failure stands for."""
    given = lines_of("good", {"prompt": "x", "model": model}, "good")
    assert (await actrio("run", "-m", "scripted:echo", "--input", "-", stdin=given)).code == code


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["hello", "--input", "in.jsonl"], "a prompt do not go together"),
        (["--json", "--input", "in.jsonl"], "--json do not go together"),
        (["--session", "s", "--input", "in.jsonl"], "--session do not go together"),
        (["hello", "--output", "out.jsonl"], "for the results of --input"),
        ([], "nothing to ask"),
    ],
)
async def test_options_that_do_not_go_together(
    actrio: Any, arguments: list[str], told: str
) -> None:
    """A mistake is told with what to do, and nothing is begun."""
    done = await actrio("run", "-m", "scripted:echo", *arguments)
    assert done.code == 2
    assert told in done.err
    assert done.out == ""


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--input", "none.jsonl"], 66),
        (["--input", "."], 74),
        (["--input", "in.jsonl", "--output", "none/out.jsonl"], 74),
        (["--input", "in.jsonl", "--parallel", "0"], 2),
    ],
)
async def test_files_that_are_not_there(
    actrio: Any, folder: Path, arguments: list[str], code: int
) -> None:
    """A missing input is 66, one that cannot be read or an output that cannot be written 74."""
    (folder / "in.jsonl").write_bytes(lines_of("x"))
    done = await actrio("run", "-m", "scripted:echo", *arguments)
    assert done.code == code
    assert "Traceback" not in done.err


async def test_lines_of_one_session_run_one_after_another(actrio: Any, folder: Path) -> None:
    """A session named by several lines is one conversation, in their order; others run beside it."""
    given = [
        {"prompt": f"<{number}>", "session": "trip" if number % 2 else f"s{number}"}
        for number in range(20)
    ]
    (folder / "in.jsonl").write_bytes(lines_of(*given))
    done = await actrio("run", "-m", "scripted:echo", "--input", "in.jsonl")
    assert done.code == 0
    assert [each["text"] for each in results_of(done.out)] == [each["prompt"] for each in given]
    shown = json.loads((await actrio("sessions", "show", "trip", "--json")).out)
    said = [each["parts"][0]["text"] for each in shown["history"] if each["role"] == "user"]
    assert said == [f"<{number}>" for number in range(1, 20, 2)]


async def test_each_line_may_have_its_own_agent(actrio: Any, folder: Path) -> None:
    """By name, file or module, and with another model; nobody is there to approve."""
    (folder / "shop.py").write_text(TOOLS)
    (folder / "actrio.toml").write_text('[agents.parrot]\nmodel = "scripted:echo"\n')
    given = lines_of(
        {"prompt": "one", "agent": "parrot"},
        {"prompt": "two", "agent": "parrot", "model": "scripted:tokens?tokens=2"},
        {"prompt": "three", "agent": "shop:clerk"},
        {"prompt": "four", "agent": "shop:clerk", "session": "kept"},
        {"prompt": "five", "agent": "parrot"},
    )
    done = await actrio("run", "-m", "scripted:tokens?tokens=1", "--input", "-", stdin=given)
    texts = [each["text"] for each in results_of(done.out)]
    assert texts[:2] == ["one", "w1 w2"]
    assert "nobody was there to decide" in texts[2]
    assert "nobody was there to decide" in texts[3]
    assert texts[4] == "five"


async def test_only_so_many_run_at_a_time(actrio: Any, folder: Path) -> None:
    """With --parallel 1 lines take the sum of their times, with 10 about that of one."""
    (folder / "in.jsonl").write_bytes(lines_of(*["x"] * 10))
    seconds = {}
    for parallel in (1, 10):
        began = trio.current_time()
        done = await actrio(
            *("run", "-m", "scripted:echo?ttft=150ms"),
            *("--input", "in.jsonl", "--parallel", str(parallel)),
        )
        assert done.code == 0
        seconds[parallel] = trio.current_time() - began
    assert seconds[1] - seconds[10] > 0.75


async def test_a_second_run_asks_nothing_again(actrio: Any, folder: Path) -> None:
    """A finished output stays as it is, its exit code too, and nothing but it is left behind."""
    (folder / "in.jsonl").write_bytes(lines_of("a", {"promt": 1}, "c"))
    command = ("run", "-m", "scripted:echo", "--input", "in.jsonl", "--output", "out.jsonl")
    first = await actrio(*command)
    content = (folder / "out.jsonl").read_bytes()
    again = await actrio(*command)
    assert first.code == again.code == 2
    assert first.out == again.out == ""
    assert (folder / "out.jsonl").read_bytes() == content
    assert "3 of them by an earlier run" in again.err
    assert [path.name for path in folder.glob("out*")] == ["out.jsonl"]


async def test_an_output_of_another_input_is_not_touched(actrio: Any, folder: Path) -> None:
    """Ids that do not fit, or lines that are no results, are told; nothing is written."""
    (folder / "in.jsonl").write_bytes(lines_of({"prompt": "a", "id": "mine"}))
    command = ("run", "-m", "scripted:echo", "--input", "in.jsonl", "--output", "out.jsonl")
    for content in (b'{"id":"other","text":"x"}\n', b"# Notes\n"):
        (folder / "out.jsonl").write_bytes(content)
        done = await actrio(*command)
        assert done.code == 75
        assert "--output" in done.err
        assert (folder / "out.jsonl").read_bytes() == content


async def test_two_processes_do_not_write_one_output(
    actrio: Any, started: Any, folder: Path
) -> None:
    """The second one is refused while the first one runs."""
    (folder / "in.jsonl").write_bytes(lines_of("a"))
    command = ("run", "--input", "in.jsonl", "--output", "out.jsonl", "-m")
    async with started(*command, "scripted:tokens?itl=20ms&tokens=1000"):
        while not (folder / "out.jsonl.partial").exists():
            await trio.sleep(0.01)
        await trio.sleep(0.5)
        done = await actrio(*command, "scripted:echo")
        assert done.code == 75
        assert "Another process" in done.err


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
async def test_no_line_is_lost_or_doubled(
    actrio: Any, started: Any, folder: Path, number: int
) -> None:
    """Ended at several moments and run again: each line has one result, each session one turn."""
    lines = [
        {"prompt": f"<{line}>", "id": f"l{line}"} | ({"session": f"s{line}"} if line % 2 else {})
        for line in range(40)
    ]
    lines += [{"prompt": f"<{line}>", "session": "all"} for line in range(6)]
    (folder / "in.jsonl").write_bytes(lines_of(*lines))
    command = ("run", "-m", "scripted:tokens?itl=15ms&tokens=4", "--input", "in.jsonl")
    command += ("--parallel", "6", "--output", "out.jsonl")
    out = folder / "out.jsonl"
    for results in (1, 9, 22, 35):
        async with started(*command) as process:
            while not out.exists() or out.read_bytes().count(b"\n") < results:
                await trio.sleep(0.005)
            process.send_signal(number)
            await process.wait()
    if number == signal.SIGKILL:
        out.write_bytes(out.read_bytes() + b'{"id":"torn')
    done = await actrio(*command)
    assert done.code == 0, done.err + "".join(
        line for line in out.read_text().splitlines() if '"error":{' in line
    )
    told = results_of(out.read_text())
    assert [each["id"] for each in told] == [
        each.get("id", number) for number, each in enumerate(lines, 1)
    ]
    assert {each["text"] for each in told} == {"w1 w2 w3 w4"}
    assert not (folder / "out.jsonl.partial").exists()
    for session in ("s1", "s21", "s39", "all"):
        shown = json.loads((await actrio("sessions", "show", session, "--json")).out)
        said = [
            part["text"]
            for each in shown["history"]
            if each["role"] == "user"
            for part in each["parts"]
        ]
        expected = [each["prompt"] for each in lines if each.get("session") == session]
        assert [text for text in said if text.startswith("<")] == expected


async def test_finished_results_wait_on_the_disk_for_those_before_them(
    actrio: Any, started: Any, folder: Path
) -> None:
    """What was paid for while an earlier line was slow is not asked again."""
    slow = "scripted:tokens?itl=50ms&tokens=1000"
    (folder / "in.jsonl").write_bytes(lines_of({"prompt": "x", "model": slow}, "b", "c"))
    command = ("run", "-m", "scripted:echo", "--input", "in.jsonl", "--output", "out.jsonl")
    partial = folder / "out.jsonl.partial"
    async with started(*command) as process:
        while not partial.exists() or partial.read_bytes().count(b"\n") < 3:
            await trio.sleep(0.01)
        process.kill()
        await process.wait()
    turns = {each["result"]["turn"] for each in results_of(partial.read_text())[1:]}
    fast = lines_of({"prompt": "x", "model": "scripted:tokens?tokens=1"}, "b", "c")
    (folder / "in.jsonl").write_bytes(fast)
    assert (await actrio(*command)).code == 0
    told = results_of((folder / "out.jsonl").read_text())
    assert {each["turn"] for each in told[1:]} == turns
    assert told[0]["text"] == "w1"


async def test_an_interrupted_batch_says_so(started: Any, folder: Path) -> None:
    """Ctrl-C ends it with 130; what was finished stands in its place."""
    given = lines_of("a", {"prompt": "b", "model": "scripted:tokens?itl=50ms&tokens=1000"})
    (folder / "in.jsonl").write_bytes(given)
    async with started("run", "-m", "scripted:echo", "--input", "in.jsonl") as process:
        assert json.loads(await process.stdout.receive_some())["text"] == "a"
        process.send_signal(signal.SIGINT)
        assert await process.wait() == 130


async def test_progress_is_a_bar_on_a_terminal(started: Any, folder: Path) -> None:
    """It goes to standard error, so that standard output holds results and nothing else."""
    (folder / "in.jsonl").write_bytes(lines_of(*["x"] * 20))
    ours, theirs = pty.openpty()
    try:
        command = ("run", "-m", "scripted:echo?ttft=100ms", "--input", "in.jsonl")
        async with started(*command, "--parallel", "4", stderr=theirs) as process:
            os.close(theirs)
            out = b""
            while piece := await process.stdout.receive_some():
                out += piece
            assert await process.wait() == 0
        assert len(results_of(out.decode())) == 20
        shown = os.read(ours, 65536).decode()
        assert "/20" in shown
        assert "█" in shown
        assert "(20 lines; 0 failed)" in shown
    finally:
        os.close(ours)


async def test_a_large_batch_takes_no_more_memory(actrio: Any, folder: Path) -> None:
    """Two thousand lines, each read, asked and written in its turn."""
    (folder / "in.jsonl").write_bytes(lines_of(*[f"<{line}>" for line in range(2000)]))
    command = ("run", "-m", "scripted:echo", "--input", "in.jsonl", "--parallel", "64")
    done = await actrio(*command, "--output", "out.jsonl")
    assert done.code == 0
    told = results_of((folder / "out.jsonl").read_text())
    assert [each["text"] for each in told] == [f"<{line}>" for line in range(2000)]


async def test_events_of_one_prompt_hold_its_approvals(actrio: Any, folder: Path) -> None:
    """actrio run --json tells that a person was asked, and what was decided."""
    (folder / "shop.py").write_text(TOOLS)
    done = await actrio("run", "--json", "-a", "shop:clerk", "My lamp came broken.")
    assert done.code == 0
    events = results_of(done.out)
    (asked,) = [each for each in events if each["type"] == "approval.requested"]
    (decided,) = [each for each in events if each["type"] == "approval.resolved"]
    assert asked["call"]["name"] == "pay"
    assert decided["approval"] == asked["approval"]
    assert decided["decision"] == "denied"
    assert decided["note"] == "nobody was there to decide"


class Kept:
    """Results that are kept in a list."""

    batch, written = "b_1", 0

    def __init__(self) -> None:
        self.added: list[Any] = []

    def known(self, number: int, id: str | int) -> None:
        return None

    async def add(self, number: int, result: Any) -> None:
        self.added.append(result)


class Ending:
    """Agents of a run that is ended in the moment in which one of them is asked for."""

    def __init__(self) -> None:
        self.scope = trio.CancelScope()

    def of(self, asked: Asked) -> Agent:
        self.scope.cancel()
        raise ActorStopped("/sessions is stopping.")


async def test_what_fails_because_the_run_is_being_ended_is_no_result() -> None:
    """A line that begins in that moment finds a runtime that takes nothing more; it comes again."""
    results, agents = Kept(), Ending()
    async with open_runtime(env={}) as runtime:
        batch = _Batch(runtime, agents, results, 1, None)
        with agents.scope:
            await batch._work(Asked(number=1, id=1, prompt="x"), None, None)
        assert agents.scope.cancelled_caught
        assert results.added == []
        await batch._work(Asked(number=1, id=1, prompt="x"), None, None)
        assert [each["error"]["kind"] for each in results.added] == ["not_found"]
