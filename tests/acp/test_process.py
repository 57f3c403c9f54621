from __future__ import annotations

import json
import signal
import time

import pytest
import trio

SLOW = "scripted:tokens?itl=20ms&tokens=500"

NOISY = '''
import os, subprocess, sys, time

def shout() -> str:
    """Write where a protocol might be."""
    print("stray", flush=True)
    os.write(1, b"raw\\n")
    subprocess.run(["sh", "-c", "echo child; echo child >&2; cat"], check=True)
    for _ in range(64):
        sys.stderr.write("x" * 16384)
        os.write(2, b"y" * 16384)
    return "done"

def stick() -> str:
    """Hold a thread."""
    time.sleep(60)
    return ""
'''

PAY = '''
from actrio import tool

@tool(approval="ask")
def pay() -> str:
    """Pay."""
    return "paid"
'''

CLERK = '[agents.clerk]\nmodel = "scripted:demo"\ntools = ["ask:pay"]\n'


@pytest.fixture
def noisy(folder):
    """An agent whose tool writes to every descriptor there is, and one whose tool holds a thread."""
    (folder / "noisy.py").write_text(NOISY)
    (folder / "actrio.toml").write_text(
        '[agents.loud]\nmodel = "scripted:demo"\ntools = ["noisy:shout"]\n'
        '[agents.stuck]\nmodel = "scripted:demo"\ntools = ["noisy:stick"]\n'
    )


async def test_session_of_one_process_is_loaded_by_the_next(started):
    """The store is in files unless the settings say otherwise, and the journal has it all."""
    async with started("-m", "scripted:echo") as editor:
        session = await editor.new()
        await editor.ask(session, "Remember me.")
        await editor.stdin.aclose()
        await editor.rest()
        assert await editor.process.wait() == 0
    async with started("-m", "scripted:echo") as editor:
        await editor.load(session)
        assert editor.text("user_message_chunk") == "Remember me."
        assert editor.text() == "Remember me."


async def test_a_session_has_one_process_at_a_time(started):
    """While one editor has it open, another one is told so."""
    async with started("-m", "scripted:echo") as one, started("-m", "scripted:echo") as two:
        session = await one.new()
        params = {"sessionId": session, "cwd": "/x", "mcpServers": []}
        assert (await two.error("session/load", **params))["code"] == -32004
        await one.call("session/close", sessionId=session)
        await two.load(session)


async def test_nothing_else_reaches_the_wire(started, noisy):
    """Prints, children and two megabytes on an undrained stderr: every line is the protocol's."""
    async with started("--agent", "loud") as editor:
        assert await editor.ask(await editor.new()) == "end_turn"
        assert editor.updates("tool_call_update")[-1]["status"] == "completed"
        await editor.stdin.aclose()
        await editor.rest()
        assert await editor.process.wait() == 0
        assert all(message.get("jsonrpc") == "2.0" for message in editor.seen)


async def test_end_of_input_ends_it_in_order(started):
    """A running turn is cancelled and answered, and the process is gone within two seconds."""
    async with started("-m", SLOW) as editor:
        prompt = await editor.prompt(await editor.new())
        await editor.until_update("agent_message_chunk")
        began = time.monotonic()
        await editor.stdin.aclose()
        last = (await editor.rest())[-1]
        assert last["id"] == prompt
        assert last["result"] == {"stopReason": "cancelled"}
        assert await editor.process.wait() == 0
        assert time.monotonic() - began < 2


async def test_end_of_input_ends_it_whatever_holds_it(started, noisy):
    """A tool stuck in a thread delays the end by no more."""
    async with started("--agent", "stuck") as editor:
        await editor.prompt(await editor.new())
        await editor.until_update("tool_call")
        began = time.monotonic()
        await editor.stdin.aclose()
        assert await editor.process.wait() == 0
        assert time.monotonic() - began < 2.2


async def test_a_permission_nobody_can_give_any_more(started, folder):
    """At the end of input an open question ends with its turn; the session can be loaded again."""
    (folder / "ask.py").write_text(PAY)
    (folder / "actrio.toml").write_text(CLERK)
    async with started("--agent", "clerk") as editor:
        session = await editor.new()
        await editor.prompt(session)
        await editor.until_request("session/request_permission")
        await editor.stdin.aclose()
        await editor.rest()
        assert await editor.process.wait() == 0
    async with started("--agent", "clerk") as editor:
        await editor.load(session)
        assert editor.updates("tool_call_update")[-1]["status"] == "failed"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
async def test_signal_ends_it(started, number, code):
    """One signal: the running prompt is answered as cancelled, and the shell's code is returned."""
    async with started("-m", SLOW) as editor:
        await editor.prompt(await editor.new())
        await editor.until_update("agent_message_chunk")
        editor.process.send_signal(number)
        assert (await editor.rest())[-1]["result"] == {"stopReason": "cancelled"}
        assert await editor.process.wait() == code


async def test_vanished_reader_ends_it_quietly(started):
    """When nobody reads any more it ends with exit code 0 and nothing on stderr."""
    async with started("-m", SLOW) as editor:
        await editor.prompt(await editor.new())
        await editor.until_update("agent_message_chunk")
        await editor.stdout.aclose()
        with trio.fail_after(5):
            assert await editor.process.wait() == 0
        assert await editor.process.stderr.receive_some() == b""


async def test_its_log_is_a_file_of_its_own(started, folder, tmp_path):
    """What happens inside is in acp.jsonl of the user's state folder, not on standard error."""
    (folder / "actrio.toml").write_text('[log]\nlevel = "debug"\n')
    async with started("-m", "scripted:echo") as editor:
        await editor.call("session/new", cwd="/x", mcpServers=[{"name": "files", "command": "/x"}])
        await editor.stdin.aclose()
        await editor.rest()
        assert await editor.process.wait() == 0
        assert await editor.process.stderr.receive_some() == b""
    (log,) = tmp_path.rglob("acp.jsonl")
    assert [json.loads(line)["event"] for line in log.read_text().splitlines()]
    assert not list(tmp_path.rglob("stdio.jsonl"))


async def test_wrong_settings_are_told_on_stderr(started, folder):
    """What is wrong before the protocol begins is told as by every command."""
    (folder / "actrio.toml").write_text("nonsense = 1\n")
    async with started(initialize=False) as editor:
        assert await editor.process.wait() == 78
        assert b"nonsense" in await editor.process.stderr.receive_some()
        assert await editor.rest() == []


async def test_killed_while_a_permission_is_open(started, folder):
    """The next process loads the session: the turn has ended with it, and the next prompt runs."""
    (folder / "ask.py").write_text(PAY)
    (folder / "actrio.toml").write_text(CLERK)
    async with started("--agent", "clerk") as editor:
        session = await editor.new()
        await editor.prompt(session)
        await editor.until_request("session/request_permission")
        editor.process.kill()
        await editor.process.wait()
    async with started("--agent", "clerk") as editor:
        await editor.load(session)
        assert editor.updates("tool_call_update")[-1]["status"] == "failed"
        editor.answers["session/request_permission"] = {
            "result": {"outcome": {"outcome": "selected", "optionId": "allow_once"}}
        }
        assert await editor.ask(session) == "end_turn"
