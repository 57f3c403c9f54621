"""Sessions that a version wrote open for ever, mean what they meant, and go on."""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
from pathlib import Path
from typing import get_args

import pytest
import trio

from actrio import Agent, open_runtime, tool
from actrio.journal import LargeValues, Record, open_embedded_store
from actrio.runtime import Settings, StoreSettings
from actrio.sessions import fold, oldest_records
from actrio.sessions._state import snapshot_of
from actrio.testing import history_problems

ROOT = Path(__file__).resolve().parents[2]
FIXTURES = ROOT / "fixtures" / "sessions"
RAN = []


@pytest.fixture(scope="module")
def tool_of():
    """The program that writes the sessions of a version."""
    path = ROOT / "tools" / "make_session_fixture.py"
    spec = importlib.util.spec_from_file_location("make_session_fixture", path)
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@tool
async def look(place: str) -> str:
    """Look at a place."""
    RAN.append("look")
    return place


@tool
async def send(to: str) -> str:
    """Send something."""
    RAN.append("send")
    return to


@tool(approval="ask")
async def risk() -> str:
    """Do something that a person must allow."""
    RAN.append("risk")
    return "risked"


KEEPER = Agent("keeper", model="scripted:echo?tools=0", tools=[look, send, risk])


def store_of(version, folder):
    shutil.copytree(FIXTURES / version / "store", folder / "default")
    return folder


@pytest.mark.parametrize("version", [path.name for path in sorted(FIXTURES.iterdir())])
async def test_what_a_version_wrote_means_the_same(tool_of, version, tmp_path):
    """State and events of each session, field by field."""
    expected = json.loads((FIXTURES / version / "expected.json").read_text())
    found = await tool_of.meaning(store_of(version, tmp_path) / "default")
    assert found == expected


async def test_each_kind_of_record_is_among_them(tmp_path):
    """A kind that is added needs a session here that has it."""
    kinds = set()
    async with open_embedded_store(store_of("v1", tmp_path) / "default") as embedded:
        store = LargeValues(embedded)
        for entry in await store.list():
            records = await oldest_records(store, entry.session)
            kinds |= {type(stored.record) for stored in records}
            if entry.session != "fork":  # whose beginning stands elsewhere
                from_last = fold(entry.session, await store.read(entry.session))
                assert snapshot_of(from_last) == snapshot_of(fold(entry.session, records))
    assert kinds == set(get_args(Record))


async def test_they_are_written_the_same_way_twice(tool_of, tmp_path):
    """Nothing in the files depends on when or where they were written."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        await tool_of.write(tmp_path / name)
        tool_of.clean(tmp_path / name)
    files = [path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*.*")]
    assert len(files) == 3
    for path in files:
        assert (tmp_path / "one" / path).read_bytes() == (tmp_path / "two" / path).read_bytes()


async def test_each_of_them_goes_on(tmp_path):
    """What was cut off is sealed, what waited still waits, what stood in line runs."""
    RAN.clear()
    settings = Settings(store=StoreSettings(kind="embedded", folder=str(store_of("v1", tmp_path))))
    async with open_runtime(settings, env={}) as runtime:
        for each in await runtime.sessions():
            session = await runtime.open_session(KEEPER, id=each.session)
            assert history_problems((await session.view()).history) == []
        waiting = await runtime.approvals()
        assert [(each.session, each.approval) for each in waiting] == [
            ("waiting", "a_1"),
            ("waiting-asleep", "a_1"),
        ]
        for each in await runtime.sessions():
            session = await runtime.reopen(each.session)
            while (view := await session.view()).status != "idle":
                # Whoever wakes it shows another call than was asked about: it is asked again.
                for asked in view.approvals:
                    await session.answer(asked.approval, "approved", by="u_1")
                await trio.sleep(0.001)
            assert (await session.ask("and now?")).outcome == "completed"
            view = await session.view()
            assert (history_problems(view.history), view.status) == ([], "idle")
        for name in ("waiting", "waiting-asleep"):
            turns = {each.turn: each.state for each in (await runtime.view(name)).turns}
            assert (turns["t_1"], turns["t_2"]) == ("completed", "completed")
            assert turns["t_3"] == "completed"
            assert turns["t_4"] == "cancelled"  # its owner is gone
        broken = (await runtime.view("broken")).turns[0]
        assert (broken.state, broken.reason, broken.resumable) == ("cancelled", "crash", True)
    assert RAN == ["risk", "risk"]  # each once, as decided; nothing was run again
