from __future__ import annotations

import json
import os
import pty
import signal
from pathlib import Path
from typing import Any

import pytest
import trio

SHOP = '''
from actrio import Agent, ToolContext, tool


@tool(approval="ask")
async def pay(order: str) -> str:
    """Pay a customer's money back."""
    return f"paid for {order}"


@tool
async def which(context: ToolContext) -> str:
    """Ask which order is meant."""
    said = await context.ask_person("Which order?", ["A-17", "A-18"])
    await context.change_state({"order": said})
    return said


clerk = Agent("clerk", model="scripted:demo", tools=[pay])
asker = Agent("asker", model="scripted:demo", tools=[which])
'''

SETTINGS = """
[agents.clerk]
model = "scripted:demo"
tools = ["shop:pay"]

[agents.asker]
model = "scripted:demo"
tools = ["shop:which"]

[agents.broken]
tools = ["nowhere:nothing"]
"""

ASK = """
import sys, trio
from actrio import Settings, StoreSettings, open_runtime
import shop


async def main():
    settings = Settings(store=StoreSettings(kind="embedded"))
    async with open_runtime(settings) as runtime:
        session = await runtime.open_session(getattr(shop, sys.argv[1]), id=sys.argv[2])
        async with session.subscribe() as events:
            await session.submit("My lamp came broken.")
            async for event in events:
                if event.type == "approval.requested":
                    break


trio.run(main)
"""
"""Leaves a session that waits for a person, as a program does that ends while one thinks."""


def events_of(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def shop(folder: Path) -> Path:
    """A project with a tool that needs leave, and one that asks."""
    (folder / "shop.py").write_text(SHOP)
    (folder / "actrio.toml").write_text(SETTINGS)
    (folder / "ask.py").write_text(ASK)
    return folder


@pytest.fixture
def waiting(shop: Path, environment: dict[str, str]) -> Any:
    """Leave a session of an agent that waits for a person."""

    async def left(agent: str, session: str) -> None:
        import sys

        command = [sys.executable, "ask.py", agent, session]
        await trio.run_process(command, cwd=shop, env=environment)

    return left


async def say(actrio: Any, session: str, text: str, model: str = "scripted:echo") -> str:
    done = await actrio("run", "-m", model, "--session", session, text)
    assert done.code == 0, done.err
    return done.out


async def view(actrio: Any, session: str) -> dict[str, Any]:
    done = await actrio("sessions", "show", session, "--json")
    assert done.code == 0, done.err
    return json.loads(done.out)


def said(view: dict[str, Any]) -> list[str]:
    return [
        part["text"]
        for message in view["history"]
        if message["role"] == "user"
        for part in message["parts"]
    ]


# -- run and chat go on with named sessions --------------------------------------------------------


async def test_run_goes_on_with_a_named_session(actrio: Any) -> None:
    """Two processes, one conversation; without a name nothing is kept."""
    await say(actrio, "trip", "We leave on Monday.")
    await say(actrio, "trip", "No, on Tuesday.")
    await actrio("run", "-m", "scripted:echo", "not kept")
    assert said(await view(actrio, "trip")) == ["We leave on Monday.", "No, on Tuesday."]
    listed = events_of((await actrio("sessions", "list", "--json")).out)
    assert [each["session"] for each in listed] == ["trip"]


async def test_chat_goes_on_with_a_named_session(actrio: Any) -> None:
    """What run began, chat goes on with; /history shows both."""
    await say(actrio, "trip", "First.")
    done = await actrio(
        "chat", "-m", "scripted:echo", "--session", "trip", stdin=b"Second.\n/history\n"
    )
    assert done.code == 0
    assert done.out.count("First.") == 2
    assert said(await view(actrio, "trip")) == ["First.", "Second."]


async def test_new_and_model_leave_the_named_session(actrio: Any) -> None:
    """/new and /model begin conversations of their own, and the named one keeps what it had."""
    lines = b"One.\n/new\nTwo.\n/model scripted:tokens?tokens=1\nThree.\n"
    done = await actrio("chat", "-m", "scripted:echo", "--session", "trip", stdin=lines)
    assert done.code == 0
    assert said(await view(actrio, "trip")) == ["One."]


@pytest.mark.parametrize("name", ["a/b", "", "x" * 201])
async def test_a_name_that_cannot_be(actrio: Any, name: str) -> None:
    """It is told with what a name may be, and nothing is begun."""
    done = await actrio("run", "-m", "scripted:echo", "--session", name, "x")
    assert done.code == 2
    assert "what to do:" in done.err
    assert "Traceback" not in done.err


async def test_a_session_of_another_agent(actrio: Any, shop: Path) -> None:
    """It keeps its agent; another one is refused with its name."""
    await say(actrio, "trip", "Hello.")
    done = await actrio("run", "-a", "clerk", "--session", "trip", "x")
    assert done.code == 75
    assert "assistant" in done.err


async def test_a_session_has_one_process_at_a_time(actrio: Any, started: Any) -> None:
    """While a chat has it open, run is told who has it, and show reads it all the same."""
    await say(actrio, "trip", "Hello.")
    async with started("chat", "-m", "scripted:echo", "--session", "trip") as process:
        await process.stdin.send_all(b"Still here.\n")
        assert b"Still here." in await process.stdout.receive_some()
        done = await actrio("run", "-m", "scripted:echo", "--session", "trip", "x")
        assert done.code == 75
        assert f"process {process.pid}" in done.err
        assert "Still here." in (await actrio("sessions", "show", "trip")).out
        listed = await actrio("sessions", "list")
        assert f"open in process {process.pid}" in listed.out
        await process.stdin.aclose()
        assert await process.wait() == 0
    await say(actrio, "trip", "Now it is free.")


async def test_a_killed_process_leaves_the_session_to_the_next(actrio: Any, started: Any) -> None:
    """Its turn has ended as cut off, and says so; the next message is taken."""
    async with started(
        "run", "-m", "scripted:tokens?itl=20ms&tokens=500", "--session", "trip", "Count."
    ) as process:
        assert await process.stdout.receive_some()
        process.kill()
        await process.wait()
    await say(actrio, "trip", "Again.", "scripted:echo")
    shown = await view(actrio, "trip")
    assert [each["state"] for each in shown["turns"]] == ["cancelled", "completed"]
    assert shown["turns"][0]["resumable"] is True


# -- approvals -------------------------------------------------------------------------------------


async def test_run_denies_because_nobody_is_there(actrio: Any, shop: Path) -> None:
    """A tool that needs leave is not run, the model is told why, and nothing hangs."""
    done = await actrio("run", "-a", "clerk", "Pay.")
    assert done.code == 0
    assert "nobody was there to decide" in done.out


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        (b"y\n", "paid for"),
        (b" YES \n", "paid for"),
        (b"not today\n", "not today"),
        (b"\n", "denied"),
        (b"", "denied"),
    ],
)
async def test_chat_asks_for_leave_over_a_pipe(
    actrio: Any, shop: Path, typed: bytes, told: str
) -> None:
    """y allows; anything else is the reason why not; the end of the input is a no."""
    done = await actrio("chat", "-a", "clerk", stdin=b"Pay.\n" + typed)
    assert done.code == 0
    assert told in done.out
    assert "y to allow" in done.err


@pytest.mark.parametrize(("typed", "told"), [(b"A-18\n", "A-18"), (b"", "did not answer")])
async def test_chat_answers_a_tools_question(
    actrio: Any, shop: Path, typed: bytes, told: str
) -> None:
    """The next line is the answer."""
    done = await actrio("chat", "-a", "asker", stdin=b"Go.\n" + typed)
    assert done.code == 0
    assert told in done.out
    assert "Which order?" in done.err + done.out


async def test_chat_asks_for_leave_on_a_terminal(started: Any, shop: Path) -> None:
    """The person sees the call, types y, and the conversation goes on."""
    ours, theirs = pty.openpty()
    shown = bytearray()

    async def until(text: str) -> str:
        while text.encode() not in shown:
            shown.extend(
                await trio.to_thread.run_sync(os.read, ours, 65536, abandon_on_cancel=True)
            )
        end = shown.index(text.encode()) + len(text.encode())
        told = shown[:end].decode()
        del shown[:end]
        return told

    try:
        async with started(
            "chat", "-a", "clerk", stdin=theirs, stdout=theirs, stderr=theirs
        ) as process:
            with trio.fail_after(20):
                await until("you ›")
                os.write(ours, b"Pay.\n")
                assert "pay" in await until("y to allow")
                await until("you ›")
                os.write(ours, b"y\n")
                await until("paid for")
                await until("you ›")
                os.write(ours, b"/quit\n")
                assert await process.wait() == 0
    finally:
        os.close(ours)
        os.close(theirs)


async def test_ctrl_c_at_a_question_ends_the_turn_and_not_the_chat(
    started: Any, shop: Path
) -> None:
    """The question is withdrawn; the next line is the next message."""
    async with started("chat", "-a", "clerk") as process:
        await process.stdin.send_all(b"Pay.\n")
        told = b""
        while b"y to allow" not in told:
            told += await process.stderr.receive_some()
        process.send_signal(signal.SIGINT)
        while b"interrupted" not in told:
            told += await process.stderr.receive_some()
        await process.stdin.send_all(b"/tools\n")
        assert b"pay" in await process.stdout.receive_some()
        await process.stdin.aclose()
        await process.wait()


async def test_answer_runs_the_turn_to_its_end(actrio: Any, waiting: Any) -> None:
    """Another process decides, the tool runs, and the model's last words are printed."""
    await waiting("clerk", "lamp")
    listed = await actrio("sessions", "list")
    assert "waits for a person" in listed.out
    shown = await actrio("sessions", "show", "lamp")
    assert "waits for a person" in shown.out
    assert "pay" in shown.out
    done = await actrio("sessions", "answer", "lamp")
    assert done.code == 0, done.err
    assert "paid for" in done.out
    assert (await view(actrio, "lamp"))["status"] == "idle"
    again = await actrio("sessions", "answer", "lamp")
    assert again.code == 66
    assert "waits for nobody" in again.err


async def test_answer_denies_with_a_note(actrio: Any, waiting: Any) -> None:
    """The model is told who denied, and why."""
    await waiting("clerk", "lamp")
    asked = (await view(actrio, "lamp"))["approvals"][0]["approval"]
    wrong = await actrio("sessions", "answer", "lamp", "a_nobody", "--deny")
    assert wrong.code == 66
    assert asked in wrong.err
    done = await actrio("sessions", "answer", "lamp", asked, "--deny", "--note", "not today")
    assert done.code == 0
    assert "not today" in done.out


async def test_answer_needs_the_agent(actrio: Any, waiting: Any, shop: Path) -> None:
    """Without its table the agent is named with --agent; other agents' mistakes do not matter."""
    await waiting("clerk", "lamp")
    (shop / "actrio.toml").write_text("")
    done = await actrio("sessions", "answer", "lamp")
    assert done.code == 66
    assert "clerk" in done.err
    assert "--agent" in done.err
    done = await actrio("sessions", "answer", "lamp", "--agent", "shop:clerk")
    assert done.code == 0, done.err
    assert "paid for" in done.out


async def test_answer_tells_a_failed_turn(actrio: Any, waiting: Any, shop: Path) -> None:
    """Where the turn fails after the decision, the exit code is that of its error."""
    await waiting("clerk", "lamp")
    (shop / "actrio.toml").write_text(SETTINGS.replace("scripted:demo", "openai:gpt-4o", 1))
    done = await actrio("sessions", "answer", "lamp")
    assert done.code == 78
    assert "OPENAI_API_KEY" in done.err


# -- what is kept ----------------------------------------------------------------------------------


async def test_show_tells_a_person_all_there_is(actrio: Any, shop: Path) -> None:
    """What it is, its turns with record numbers, its history with tools, its state."""
    await actrio("chat", "-a", "asker", "--session", "lamp", stdin=b"Go.\nA-18\n")
    done = await actrio("sessions", "show", "lamp")
    assert done.code == 0
    for text in ("session   lamp  (idle)", "agent     asker on scripted:demo", "1 turns"):
        assert text in done.out
    assert '{"order": "A-18"}' in done.out
    assert "  user: Go." in done.out
    assert "→ which" in done.out
    assert "← which A-18" in done.out


async def test_list_goes_on_behind_a_session(actrio: Any) -> None:
    """A page at a time; the last line says how to go on."""
    for name in ("a", "b", "c"):
        await say(actrio, name, "x")
    first = await actrio("sessions", "list", "--limit", "2")
    assert [line.split()[0] for line in first.out.splitlines()] == ["a", "b"]
    assert "--after b" in first.err
    rest = await actrio("sessions", "list", "--after", "b")
    assert [line.split()[0] for line in rest.out.splitlines()] == ["c"]
    entry = events_of((await actrio("sessions", "list", "--json", "--limit", "1")).out)[0]
    assert entry["session"] == "a"
    assert entry["last_seq"] > 0
    none = await actrio("sessions", "list", "--after", "z")
    assert (none.code, none.out) == (0, "")
    assert "no session" in none.err


async def test_replay_is_what_was_sent(actrio: Any) -> None:
    """The same events under the same numbers, without a model; from a bookmark only the rest."""
    live = await actrio("run", "-m", "scripted:echo", "--session", "trip", "--json", "Hello.")
    recorded = [each for each in events_of(live.out) if "n" not in each]
    again = events_of((await actrio("sessions", "replay", "trip")).out)
    assert [(each["seq"], each["type"]) for each in again] == [
        (each["seq"], each["type"]) for each in recorded
    ]
    rest = events_of((await actrio("sessions", "replay", "trip", "--from-seq", "2")).out)
    assert rest == again[2:]


async def test_fork_begins_with_the_others_history(actrio: Any) -> None:
    """A fork at a record has the history up to there, and its own life."""
    await say(actrio, "trip", "One.")
    seq = (await view(actrio, "trip"))["turns"][-1]["end_seq"]
    await say(actrio, "trip", "Two.")
    done = await actrio("sessions", "fork", "trip", "--at", str(seq), "--as", "other")
    assert (done.code, done.out) == (0, "other\n")
    await say(actrio, "other", "Three.")
    assert said(await view(actrio, "other")) == ["One.", "Three."]
    assert said(await view(actrio, "trip")) == ["One.", "Two."]
    unnamed = await actrio("sessions", "fork", "trip")
    assert said(await view(actrio, unnamed.out.strip())) == ["One.", "Two."]
    taken = await actrio("sessions", "fork", "trip", "--as", "other")
    assert taken.code == 75
    beyond = await actrio("sessions", "fork", "trip", "--at", "9999")
    assert beyond.code == 2
    assert "sessions show" in beyond.err


async def test_rewind_takes_back_what_came_after(actrio: Any) -> None:
    """The history is as it was then; the next message goes on from there."""
    await say(actrio, "trip", "One.")
    seq = (await view(actrio, "trip"))["turns"][-1]["end_seq"]
    await say(actrio, "trip", "Two.")
    assert (await actrio("sessions", "rewind", "trip", "--to", str(seq))).code == 0
    await say(actrio, "trip", "Three.")
    assert said(await view(actrio, "trip")) == ["One.", "Three."]
    assert (await actrio("sessions", "rewind", "trip", "--to", "9999")).code == 2
    assert (await actrio("sessions", "rewind", "trip")).code == 2


async def test_export_and_import_are_the_same_session(actrio: Any, folder: Path) -> None:
    """Through a file or standard output, under its own name in another store or a new one here."""
    await say(actrio, "trip", "One.")
    await say(actrio, "trip", "Two.")
    printed = await actrio("sessions", "export", "trip")
    assert (await actrio("sessions", "export", "trip", "trip.jsonl")).code == 0
    assert (folder / "trip.jsonl").read_text() == printed.out
    taken = await actrio("sessions", "import", "trip.jsonl")
    assert taken.code == 75
    assert "--as" in taken.err
    done = await actrio("sessions", "import", "trip.jsonl", "--as", "again")
    assert (done.code, done.out) == (0, "again\n")
    assert said(await view(actrio, "again")) == ["One.", "Two."]
    await say(actrio, "again", "Three.")
    elsewhere = {"ACTRIO_DATA_DIR": str(folder / "elsewhere")}
    done = await actrio("sessions", "import", "trip.jsonl", env=elsewhere)
    assert (done.code, done.out) == (0, "trip\n")


async def test_a_fork_is_exported_whole(actrio: Any, folder: Path) -> None:
    """What it takes from its parent's journal is in the file."""
    await say(actrio, "trip", "One.")
    await actrio("sessions", "fork", "trip", "--as", "other")
    await say(actrio, "other", "Two.")
    await actrio("sessions", "export", "other", "other.jsonl")
    elsewhere = {"ACTRIO_DATA_DIR": str(folder / "elsewhere")}
    assert (await actrio("sessions", "import", "other.jsonl", env=elsewhere)).code == 0
    shown = await actrio("sessions", "show", "other", "--json", env=elsewhere)
    assert said(json.loads(shown.out)) == ["One.", "Two."]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        b"no json\n",
        b"[]\n",
        b'{"format":"other/1"}\n',
        b'{"format":"actrio.session/1","session":"x"}\n',
        b'{"format":"actrio.session/1","session":"x"}\n{"kind":"nothing.known","v":1,"body":{}}\n',
        b'{"format":"actrio.session/1","session":"x"}\n[]\n',
        b'{"format":"actrio.session/1","session":"x"}\n{"kind":"turn.ended","v":1,"body":{}}\n',
        (
            b'{"format":"actrio.session/1","session":"a/b"}\n'
            b'{"kind":"session.created","v":1,"body":{"agent":"a"}}\n'
        ),
        b"\xff\xfe",
    ],
)
async def test_a_file_that_is_no_session(actrio: Any, folder: Path, content: bytes) -> None:
    """It is told with what to do, and no session comes of it."""
    (folder / "in.jsonl").write_bytes(content)
    done = await actrio("sessions", "import", "in.jsonl")
    assert done.code == 2, done.err
    assert "internal error" not in done.err
    assert (await actrio("sessions", "list")).out == ""


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["import", "none.jsonl"], 66),
        (["import", "."], 74),
        (["export", "trip", "none/trip.jsonl"], 74),
    ],
)
async def test_files_that_are_not_there(actrio: Any, arguments: list[str], code: int) -> None:
    """What cannot be read is 66 or 74, what cannot be written 74; each says what to do."""
    await say(actrio, "trip", "One.")
    done = await actrio("sessions", *arguments)
    assert done.code == code
    assert "what to do:" in done.err
    assert "internal error" not in done.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["show", "nobody"],
        ["show", "nobody", "--json"],
        ["replay", "nobody"],
        ["fork", "nobody"],
        ["rewind", "nobody", "--to", "1"],
        ["export", "nobody"],
        ["answer", "nobody"],
    ],
)
async def test_an_unknown_session_is_66(actrio: Any, arguments: list[str]) -> None:
    """Every command says that there is none, and makes none."""
    done = await actrio("sessions", *arguments)
    assert done.code == 66
    assert "nobody" in done.err
    assert done.out == ""
    assert (await actrio("sessions", "list")).out == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ["list", "--limit", "0"],
        ["show"],
        ["prune", "--older-than", "soon"],
        ["prune"],
        ["replay", "trip", "--from-seq", "x"],
        ["nothing"],
    ],
)
async def test_wrong_usage(actrio: Any, arguments: list[str]) -> None:
    """A mistake in the command is told without a traceback."""
    done = await actrio("sessions", *arguments)
    assert done.code in {2, 78}
    assert "Traceback" not in done.err
    assert done.err


async def test_verify_and_repair(actrio: Any, environment: dict[str, str]) -> None:
    """A store that checks is 0, a flipped bit is 1 with its place, and repair keeps the rest."""
    await say(actrio, "trip", "One.")
    await say(actrio, "other", "Two.")
    done = await actrio("sessions", "verify")
    assert (done.code, done.out) == (0, "")
    assert "all of it checks" in done.err
    assert (await actrio("sessions", "repair")).code == 0
    store = Path(environment["ACTRIO_DATA_DIR"])
    (segment,) = [
        path for path in store.rglob("*") if path.is_file() and b"One." in path.read_bytes()
    ]
    data = bytearray(segment.read_bytes())
    data[data.index(b"One.")] ^= 1
    segment.write_bytes(data)
    damaged = await actrio("sessions", "verify")
    assert damaged.code == 1
    assert segment.name in damaged.out
    report = json.loads((await actrio("sessions", "verify", "--json")).out)
    assert report["problems"]
    shown = await actrio("sessions", "show", "trip")
    assert shown.code == 74
    repaired = await actrio("sessions", "repair")
    assert repaired.code == 0
    assert "trip" in repaired.out
    assert (await actrio("sessions", "verify")).code == 0
    assert said(await view(actrio, "other")) == ["Two."]


async def test_verify_of_nothing(actrio: Any) -> None:
    """Where nothing was kept yet, nothing is wrong and nothing is made."""
    done = await actrio("sessions", "verify")
    assert done.code == 0, done.err
    assert (await actrio("sessions", "repair")).code == 0


async def test_prune_removes_what_was_not_used(actrio: Any, started: Any) -> None:
    """Only what is old and not open; what it frees is told."""
    await say(actrio, "old", "x")
    await trio.sleep(2.1)
    await say(actrio, "young", "x")
    none = await actrio("sessions", "prune", "--older-than", "1h")
    assert none.code == 0
    assert "(0 sessions removed" in none.err
    done = await actrio("sessions", "prune", "--older-than", "2s")
    assert done.code == 0
    assert "(1 sessions removed" in done.err
    listed = await actrio("sessions", "list")
    assert listed.out.startswith("young")


async def test_help_names_every_option(actrio: Any) -> None:
    """Each command has a help page with all that it takes."""
    done = await actrio("sessions", "answer", "--help")
    assert done.code == 0
    for option in ("--deny", "--text", "--note", "--agent", "What the model is told"):
        assert option in done.out
