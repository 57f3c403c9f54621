"""The client's leaving and the process's death, at every point of a turn."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
import trio
import trio.testing

DEMO = "scripted:demo?itl=2ms"
TOOL = {"name": "look_up", "parameters": {"type": "object", "properties": {}}}


async def begin(client) -> str:
    await client.call("session/create", id="swept", model=DEMO, tools=[TOOL])
    client.on_request = lambda _: {"text": "found"}
    return (await client.call("turn/start", session="swept", prompt="Look it up."))["turn"]


async def count_lines(talk) -> int:
    """Return how many lines a whole turn is."""
    async with talk(declare={"capabilities": {"tools": True}}) as client:
        turn = await begin(client)
        seen = 0
        while not client.of("turn.completed"):
            message = await client.receive()
            seen += 1
            if message.get("method") == "event":
                client.events.append(message["params"])
        assert client.events[-1]["turn"] == turn
    return seen


@pytest.mark.parametrize("on_eof", ["drain", "cancel"])
async def test_end_of_input_at_every_point_of_a_turn(talk, tmp_path, on_eof):
    """Wherever the input ends, a turn that began ends with one last event, the server with 0."""
    ends = set()
    for stop in range(await count_lines(talk)):
        folder = tmp_path / str(stop)
        declare = {"capabilities": {"tools": True}}
        async with talk(declare=declare, on_eof=on_eof, folder=folder) as client:
            await begin(client)
            for _ in range(stop):
                if client.of("turn.completed"):
                    break
                message = await client.receive()
                if message.get("method") == "event":
                    client.events.append(message["params"])
            await client.stdin.send_eof()
            client.on_request = None
            events = client.events + [
                m["params"] for m in await client.rest() if m.get("method") == "event"
            ]
        last = [e["type"] for e in events if e["type"].startswith("turn.")]
        if not last:
            assert on_eof == "cancel"  # it had not begun: it stays in line for the next opening
            continue
        assert last[0] == "turn.started" or on_eof == "cancel"
        assert last[-1] in {"turn.completed", "turn.cancelled"}
        assert events[-1]["type"] == last[-1]
        ends.add(last[-1])
    assert "turn.completed" in ends if on_eof == "drain" else "turn.cancelled" in ends


CHILD = '''
import subprocess

async def child(seconds: int = 1) -> str:
    """Start a program and wait for it."""
    import trio
    done = await trio.run_process(["sleep", "30"], check=False)
    return str(done.returncode)
'''


@pytest.mark.parametrize("seen", [0, 2, 3, 5, 8])
async def test_killed_at_a_point_of_a_turn_it_can_be_resumed(serve, tmp_path, seen):
    """After SIGKILL no half line is out; a new process has the session, and goes on with the turn."""
    (tmp_path / "child.py").write_text(CHILD)
    (tmp_path / "actrio.toml").write_text(
        f'[agents.slow]\nmodel = "{DEMO}"\ntools = ["child:child"]\n'
    )
    async with serve() as client:
        await client.call("session/create", id="killed", agent="slow")
        turn = (await client.call("turn/start", session="killed", prompt="Go."))["turn"]
        for _ in range(seen):
            if client.of("item.started") and client.events[-1].get("kind") == "tool_call":
                break
            message = await client.receive()
            client.events.append(message["params"])
        client.process.kill()
        await client.process.wait()
        data = b""
        while more := await client.stdout.receive_some():
            data += more
        assert not data or data.endswith(b"\n")
    async with serve() as client:
        info = await client.call("session/get", session="killed")
        assert info["turns"][0]["turn"] == turn
        await client.call("session/subscribe", session="killed", **{"from": 0})
        (told,) = (await client.call("session/get", session="killed"))["turns"]
        if told["resumable"]:
            again = await client.call("turn/start", session="killed", resume=True)
        else:
            # Accepted and not begun when the process died: it goes on by itself.
            again = {"turn": turn}
        await client.until("turn.started", again["turn"])
        await client.call("turn/cancel", turn=again["turn"], session="killed")
        await client.until("turn.cancelled", again["turn"])


async def test_a_turn_that_waits_for_a_program_leaves_none_behind(serve, tmp_path):
    """With SIGTERM in the middle of a tool's child, the child is gone when the server is."""
    (tmp_path / "child.py").write_text(CHILD)
    (tmp_path / "actrio.toml").write_text(
        f'[agents.slow]\nmodel = "{DEMO}"\ntools = ["child:child"]\n'
    )
    async with serve() as client:
        await client.call("session/create", id="s", agent="slow")
        await client.call("turn/start", session="s", prompt="Go.")
        while not children_of(client.process.pid):
            await client.call("ping")
        (child,) = children_of(client.process.pid)
        client.process.send_signal(signal.SIGTERM)
        assert await client.process.wait() == 143
        with trio.fail_after(2):
            while is_running(child):
                await trio.sleep(0.02)


def is_running(pid: int) -> bool:
    """Whether there is such a process that has not ended; an orphan may wait for its reaper."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def children_of(pid: int) -> list[int]:
    place = Path(f"/proc/{pid}/task/{pid}/children")
    if not place.exists():
        pytest.skip("needs /proc to see children")
    return [int(each) for each in place.read_text().split()]
