"""Two processes and one session: told who has it, wait for it, or take it; nothing is written twice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import contextmanager

import pytest
import trio

from actrio import Agent, open_runtime
from actrio.errors import SessionFenced, SessionOwned
from actrio.runtime import Settings, StoreSettings
from actrio.testing import history_problems

OTHER = """
import json, sys
import trio
from actrio import Agent, open_runtime
from actrio.runtime import Settings, StoreSettings

def say(**told):
    print(json.dumps(told), flush=True)

async def main(folder, model):
    settings = Settings(store=StoreSettings(kind="embedded", folder=folder))
    agent = Agent("shared", model=model)
    async with open_runtime(settings, env={}) as runtime:
        session = await runtime.open_session(agent, id="s1")
        say(has="s1")
        line = await trio.to_thread.run_sync(sys.stdin.readline)
        while line:
            word, _, rest = line.strip().partition(" ")
            try:
                if word == "ask":
                    result = await session.ask(rest)
                    say(outcome=result.outcome)
                elif word == "own":
                    async with session.turn(rest) as turn:
                        async for event in turn:
                            if type(event).__name__ == "ItemDelta":
                                say(event="delta")
                    error = turn.result.error
                    say(outcome=turn.result.outcome, error=type(error).__name__, text=str(error))
                elif word == "close":
                    await runtime.close_session("s1")
                    say(closed="s1")
            except Exception as error:
                say(error=type(error).__name__, text=str(error), remedy=error.remedy)
            line = await trio.to_thread.run_sync(sys.stdin.readline)

trio.run(main, *sys.argv[1:])
"""


class Other:
    """Another process with a runtime on the same store, which does what it is told."""

    def __init__(self, process):
        self.process = process

    def tell(self, line):
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def hear(self):
        return json.loads(self.process.stdout.readline())

    async def heard(self):
        return await trio.to_thread.run_sync(self.hear)


@contextmanager
def other_process(folder, model="scripted:demo"):
    """Have another process open the session."""
    process = subprocess.Popen(
        [sys.executable, "-c", OTHER, str(folder), model],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONWARNINGS": "default"},
    )
    with process:
        other = Other(process)
        assert other.hear() == {"has": "s1"}
        try:
            yield other
        finally:
            process.kill()


SHARED = Agent("shared", model="scripted:demo")


def settings_of(folder):
    return Settings(store=StoreSettings(kind="embedded", folder=str(folder)))


async def test_the_second_process_is_told_who_has_the_session(tmp_path):
    """It is refused by name, reads all of it, sees it in the list, and may have it afterwards."""
    with other_process(tmp_path) as other:
        async with open_runtime(settings_of(tmp_path), env={}) as runtime:
            other.tell("ask hello")
            assert (await other.heard())["outcome"] == "completed"
            runtime.register(SHARED)
            for opened in (
                lambda: runtime.open_session(SHARED, id="s1"),
                lambda: runtime.reopen("s1"),
                lambda: runtime.delete_session("s1"),
                lambda: runtime.rewind("s1", 1),
            ):
                with pytest.raises(SessionOwned) as caught:
                    await opened()
                assert f"process {other.process.pid} " in caught.value.owner
                assert str(other.process.pid) in str(caught.value)
                assert caught.value.remedy
            view = await runtime.view("s1")
            assert [message.role for message in view.history] == ["user", "assistant"]
            assert str(other.process.pid) in (await runtime.sessions())[0].owner
            assert len(await runtime.events("s1")) > 3
            other.tell("close")
            assert await other.heard() == {"closed": "s1"}
            session = await runtime.open_session(SHARED, id="s1")
            assert (await session.ask("now me")).outcome == "completed"
            assert len((await session.view()).history) == 4


async def test_whoever_waits_gets_it_when_it_is_let_go_of(tmp_path):
    """Also when the other one is killed: a process that is gone owns nothing."""
    with other_process(tmp_path) as other:
        async with open_runtime(settings_of(tmp_path), env={}) as runtime:
            with trio.move_on_after(0.4) as scope:
                await runtime.open_session(SHARED, id="s1", wait=True)
            assert scope.cancelled_caught
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_ask_when_free, runtime)
                await trio.sleep(0.1)
                other.process.kill()
            view = await runtime.view("s1")
            assert history_problems(view.history) == []
            assert view.metrics.runs == 1


async def _ask_when_free(runtime):
    with trio.fail_after(20):
        async with runtime.session(SHARED, id="s1", wait=True) as session:
            assert (await session.ask("at last")).outcome == "completed"


async def test_whoever_insists_takes_it_and_the_other_writes_no_more(tmp_path):
    """The other's running turn ends with an error that says so; nothing of it comes afterwards."""
    with other_process(tmp_path, "scripted:tokens?tokens=400&itl=5ms") as other:
        async with open_runtime(settings_of(tmp_path), env={}) as runtime:
            other.tell("own a long one")
            assert await other.heard() == {"event": "delta"}
            mine = Agent("shared", model="scripted:demo")
            session = await runtime.open_session(mine, id="s1", insist=True)
            assert (await session.ask("mine now")).outcome == "completed"
            told = await other.heard()
            while "event" in told:
                told = await other.heard()
            assert told["outcome"] == "failed"
            assert told["error"] == "SessionFenced"
            assert str(os.getpid()) in told["text"]
            view = await session.view()
            assert [each.state for each in view.turns] == ["cancelled", "completed"]
            assert view.turns[0].reason == "crash"
            assert history_problems(view.history) == []
            other.tell("ask once more")
            told = await other.heard()
            assert told["error"] == SessionOwned.__name__
            assert str(os.getpid()) in told["text"]
            assert (await session.view()).last_seq == view.last_seq
            assert (await runtime.store.verify()).problems == ()


async def test_two_runtimes_of_one_process_are_two_owners(tmp_path):
    """They have one process's name, and still do not write one session together."""
    async with (
        open_runtime(settings_of(tmp_path), env={}) as one,
        open_runtime(settings_of(tmp_path), env={}) as two,
    ):
        session = await one.open_session(SHARED, id="s1")
        await session.ask("hello")
        with pytest.raises(SessionOwned):
            await two.open_session(SHARED, id="s1")
        taken = await two.open_session(SHARED, id="s1", insist=True)
        await taken.ask("taken")
        with pytest.raises((SessionFenced, SessionOwned)):
            await session.ask("mine?")
        assert (await taken.view()).metrics.runs == 2
