"""Forks and rewinds: from every record, of forks, without their parents, and what goes on after."""

from __future__ import annotations

import attrs
import pytest
import trio

from actrio import Agent, before_model, open_runtime, tool
from actrio.errors import Conflict, InvalidRequest, NotFound
from actrio.journal import Checkpoint, SessionRewound, TurnEnded
from actrio.messages import HistoryChanged
from actrio.runtime import Limits, Settings, StoreSettings
from actrio.sessions import oldest_records, read_state
from actrio.testing import history_problems

RAN: list[str] = []


@tool
async def look(city: str) -> str:
    """Look."""
    RAN.append(city)
    await trio.sleep(1)
    return f"seen {city}"


@tool(approval="ask")
async def launch(city: str) -> str:
    """Launch."""
    RAN.append(city)
    return f"launched at {city}"


ECHO = Agent("echo", model="scripted:echo")
BUSY = Agent("busy", model="scripted:demo?tools=2&ttft=100ms", tools=[look, launch])
SETTINGS = Settings(limits=Limits(idle_seconds=300))


@pytest.fixture
def settings(tmp_path):
    store = StoreSettings(kind="embedded", folder=str(tmp_path))
    return attrs.evolve(SETTINGS, store=store)


async def lived(runtime, session_id="s"):
    """A session with everything in it: tools, decisions, steering, cancels, rollbacks, state."""
    session = await runtime.open_session(BUSY, id=session_id)

    async def decided(turn, decision):
        while True:
            view = await session.view()
            if turn in {each.turn for each in view.turns if each.end_seq}:
                return
            for asked in (each for each in view.approvals if each.turn == turn):
                await session.answer(asked.approval, decision, note="so be it")
            await trio.sleep(0.1)

    for decision in ("approved", "denied"):
        accepted = await session.submit(f"go {decision}")
        await trio.sleep(0.5)
        await session.submit("and this", if_busy="steer")
        await decided(accepted.turn, decision)
        await session.change_state({"decision": decision})
    await session.submit("cancelled")
    await trio.sleep(0.5)
    session.cancel()
    await session.submit("rolled back")
    await trio.sleep(0.5)
    last = await session.submit("last", if_busy="rollback")
    never = await session.submit("never", if_busy="queue")
    session.cancel(never.turn)
    await decided(last.turn, "approved")
    assert (await session.view()).status == "idle"
    return session


async def test_a_fork_from_every_record_opens_and_is_valid(autojump_clock):
    """Whatever was open there is ended in the fork; nothing runs; the parent is not touched."""
    calls = []

    @before_model
    def count(payload):
        calls.append(history_problems(payload.messages))

    async with open_runtime(SETTINGS, env={}, filters=[count]) as runtime:
        await lived(runtime)
        whole = await oldest_records(runtime.store, "s")
        before = await runtime.view("s")
        model_calls, tool_runs = len(calls), len(RAN)
        kinds = {type(each.record) for each in whole}
        assert len(kinds) >= 11
        for stored in whole:
            fork = await runtime.fork("s", at=stored.seq)
            view = await runtime.view(fork)
            assert history_problems(view.history) == []
            assert (view.parent, view.parent_seq) == ("s", stored.seq)
            assert (view.status, view.approvals, view.agent) == ("idle", (), "busy")
            assert (view.seq, view.metrics.runs, view.turns) == (0, 0, ())
        assert (len(calls), len(RAN)) == (model_calls, tool_runs)
        assert await runtime.view("s") == before
        last = await runtime.view(await runtime.fork("s"))
        assert (last.history, last.state) == (before.history, before.state)
        assert calls == [[]] * model_calls


async def test_a_fork_goes_on_by_itself(autojump_clock, check_journal, users):
    """Both go on from the same past; each has its own numbers, turns and state."""
    async with open_runtime(SETTINGS, env={}) as runtime:
        session = await runtime.open_session(ECHO, id="s", user="ann", labels={"a": "b"})
        await session.ask("one")
        await session.change_state({"x": 1})
        at = (await session.view()).last_seq
        await session.ask("two")
        assert await runtime.fork("s", at=at, new_id="f") == "f"
        fork = await runtime.reopen("f")
        assert users(fork.history) == ["one"]
        await fork.ask("other")
        await fork.change_state({"x": 2})
        view = await check_journal(runtime, "f")
        assert users(view.history) == ["one", "other"]
        assert (view.user, view.labels, view.state) == ("ann", {"a": "b"}, {"x": 2})
        assert view.created_at > 0
        assert [each.seq for each in await runtime.events("f")] == list(range(1, view.seq + 1))
        view = await check_journal(runtime, "s")
        assert users(view.history) == ["one", "two"]
        assert view.state == {"x": 1}
        await trio.sleep(1000)  # asleep and back
        fork = await runtime.reopen("f")
        assert (await fork.ask("more")).text == "more"
        assert users((await check_journal(runtime, "f")).history) == ["one", "other", "more"]


async def test_forks_of_forks_of_forks(autojump_clock, check_journal, users, settings):
    """Each begins with all that was said on the way to it, here and in the next process."""
    async with open_runtime(settings, env={}) as runtime:
        name = "s"
        await runtime.open_session(ECHO, id=name)
        for depth in range(5):
            session = await runtime.reopen(name)
            await session.ask(str(depth))
            name = await runtime.fork(name, new_id=f"f{depth}")
            await session.ask("aside")
        assert users((await runtime.view("f4")).history) == list("01234")
        assert (await runtime.view("f4")).created_at > 0
    async with open_runtime(settings, env={}) as runtime:
        runtime.register(ECHO)
        for depth in range(5):
            session = await runtime.reopen(f"f{depth}")
            await session.ask("now")
            view = await check_journal(runtime, f"f{depth}")
            said = users(view.history)
            assert [each for each in said if each != "aside"][: depth + 1] == [
                str(number) for number in range(depth + 1)
            ]
            assert said[-1] == "now"


@pytest.mark.parametrize("awake", [True, False])
async def test_forks_outlive_their_parents(
    awake, autojump_clock, check_journal, users, plain, settings
):
    """Deleting copies what they begin with; they open, go on, and tell their events as before."""
    async with open_runtime(settings, env={}) as runtime:
        session = await runtime.open_session(ECHO, id="s")
        await session.ask("one")
        await runtime.fork("s", new_id="f")
        await runtime.fork("f", new_id="g")
        fork = await runtime.reopen("f")
        await fork.ask("two")
        await runtime.fork("f", new_id="h")
        told = await runtime.events("f")
        if not awake:
            await trio.sleep(1000)
            assert runtime.statistics().sessions_resident == 0
        await runtime.delete_session("s")
        assert plain(await runtime.events("f")) == plain(told)
        await fork.ask("three")
        assert users((await check_journal(runtime, "f")).history) == ["one", "two", "three"]
        await runtime.delete_session("f")
        with pytest.raises(NotFound):
            await runtime.view("f")
    async with open_runtime(settings, env={}) as runtime:
        runtime.register(ECHO)
        assert [each.session for each in await runtime.sessions()] == ["g", "h"]
        for name, said in (("g", ["one"]), ("h", ["one", "two"])):
            session = await runtime.reopen(name)
            await session.ask("end")
            view = await check_journal(runtime, name)
            assert users(view.history) == [*said, "end"]
            events = await runtime.events(name)
            assert [each.seq for each in events] == list(range(1, view.seq + 1))


async def test_a_parent_is_deleted_while_its_fork_runs(autojump_clock, check_journal, users):
    """The running turn never hears of it."""
    agent = Agent("slow", model="scripted:tokens?tokens=200&itl=10ms")
    async with open_runtime(SETTINGS, env={}) as runtime:
        session = await runtime.open_session(agent, id="s")
        await session.ask("one")
        for number in range(20):
            await runtime.fork("s", new_id=f"f{number}")
        accepted = []
        forks = [await runtime.reopen(f"f{number}") for number in range(20)]
        async with trio.open_nursery() as nursery:
            for number, fork in enumerate(forks):
                accepted.append(await fork.submit("two"))
                nursery.start_soon(fork.change_state, {"n": number})
            nursery.start_soon(runtime.delete_session, "s")
            for number, fork in enumerate(forks):
                nursery.start_soon(fork.change_state, {"m": number})
        for number, (fork, turn) in enumerate(zip(forks, accepted, strict=True)):
            assert (await fork.wait(turn.turn)).outcome == "completed"
            view = await check_journal(runtime, fork.id)
            assert users(view.history) == ["one", "two"]
            assert view.state == {"n": number, "m": number}


async def test_a_session_without_a_name_can_be_forked_and_kept(autojump_clock, users):
    """The fork holds everything itself: what it began with is gone when its block is left."""
    async with open_runtime(SETTINGS, env={}) as runtime:
        async with runtime.session(ECHO) as session:
            await session.ask("one")
            name = await runtime.fork(session.id)
        view = await runtime.view(name)
        assert users(view.history) == ["one"]
        again = await runtime.reopen(name)
        assert (await again.ask("two")).text == "two"


async def test_a_fork_stays_whole_where_old_records_are_trimmed(autojump_clock, users):
    """With a retention, what a fork begins with is not left to its parent."""
    store = StoreSettings(retention="30d")
    async with open_runtime(attrs.evolve(SETTINGS, store=store), env={}) as runtime:
        session = await runtime.open_session(ECHO, id="s")
        await session.ask("one")
        name = await runtime.fork("s")
        assert any(isinstance(each.record, Checkpoint) for each in await runtime.store.read(name))
        assert users((await runtime.view(name)).history) == ["one"]


async def test_a_forks_name_must_be_free(autojump_clock, check_journal):
    """Conflict, whether the other session is in memory, asleep or in use; it goes on unharmed."""
    async with open_runtime(SETTINGS, env={}) as runtime:
        await (await runtime.open_session(ECHO, id="s")).ask("one")
        other = await runtime.open_session(ECHO, id="other")
        await other.ask("mine")
        with pytest.raises(Conflict):
            await runtime.fork("s", new_id="other")
        assert (await other.ask("still mine")).text == "still mine"
        await trio.sleep(1000)
        with pytest.raises(Conflict):
            await runtime.fork("s", new_id="other")
        assert (await other.ask("and now")).text == "and now"
        await check_journal(runtime, "other")
        with pytest.raises(NotFound):
            await runtime.answer("free", "nosuch", "approved")
        assert await runtime.fork("s", new_id="free") == "free"
        assert (await (await runtime.reopen("free")).ask("two")).text == "two"
        for wrong in ("", "a/b", "x" * 300):
            with pytest.raises(InvalidRequest):
                await runtime.fork("s", new_id=wrong)
        with pytest.raises(NotFound):
            await runtime.fork("nosuch")
        for at in (0, -1, 10_000):
            with pytest.raises(InvalidRequest, match="record"):
                await runtime.fork("s", at=at)


# --- rewind


async def test_a_session_rewinds_to_every_turn_boundary_and_every_record(
    autojump_clock, check_journal, plain
):
    """The history is a beginning of what it was; numbers, costs and turns go on."""
    async with open_runtime(SETTINGS, env={}) as runtime:
        session = await lived(runtime)
        whole = await oldest_records(runtime.store, "s")
        events = await runtime.events("s")
        before = await session.view()
        runs = len(RAN)
        for stored in reversed(whole):
            then = await read_state(runtime.store, "s", stored.seq)
            view = await runtime.rewind("s", stored.seq)
            assert await check_journal(runtime, "s") == view
            assert view.status == "idle"
            if not then.open:
                assert view.history == tuple(then.history)
                assert view.state == then.values
            assert view.metrics == before.metrics
            assert view.created_at == before.created_at
        view = await session.view()
        assert view.history == ()
        assert len(RAN) == runs
        after = await runtime.events("s", limit=10_000)
        assert plain(after[: len(events)]) == plain(events)
        assert [each.seq for each in after] == list(range(1, len(events) + len(whole) + 1))
        assert all(isinstance(each, HistoryChanged) for each in after[len(events) :])


async def test_a_session_goes_on_after_a_rewind(autojump_clock, check_journal, users, settings):
    """The next turn follows what is left; subscribers see one line of numbers; so does a replay."""
    async with open_runtime(settings, env={}) as runtime:
        session = await runtime.open_session(ECHO, id="s")
        ends = []
        for text in "abc":
            await session.ask(text)
            ends.append((await session.view()).last_seq)
        await session.change_state({"x": 1})
        async with session.subscribe(0) as listened:
            view = await runtime.rewind("s", ends[0])
            assert users(view.history) == ["a"]
            assert view.state == {}
            await session.ask("d")
            seen = []
            while len(seen) < (await session.view()).seq:
                seen.append(await listened.__anext__())
        assert [each.seq for each in seen if each.n is None] == list(range(1, len(seen) + 1))
        view = await check_journal(runtime, "s")
        assert users(view.history) == ["a", "d"]
        assert view.metrics.runs == 4
        assert [each.state for each in view.turns] == ["completed"] * 4
        # Back to before the rewind: what was taken back is still on record.
        view = await runtime.rewind("s", ends[2])
        assert users(view.history) == ["a", "b", "c"]
        assert (await session.ask("e")).text == "e"
    async with open_runtime(settings, env={}) as runtime:
        session = await runtime.open_session(ECHO, id="s")
        assert users((await check_journal(runtime, "s")).history) == ["a", "b", "c", "e"]
        assert [e.seq for e in await runtime.events("s")] == list(
            range(1, (await session.view()).seq + 1)
        )
        kinds = [type(each.record) for each in await oldest_records(runtime.store, "s")]
        assert kinds.count(SessionRewound) == 2
        assert kinds.count(TurnEnded) == 5


async def test_what_cannot_be_rewound_is_refused(autojump_clock, check_journal):
    """While a turn is open, to records there are not, of sessions there are not; nothing changes."""
    agent = Agent("slow", model="scripted:echo?ttft=1s")
    async with open_runtime(SETTINGS, env={}) as runtime:
        session = await runtime.open_session(agent, id="s")
        await session.ask("a")
        accepted = await session.submit("b")
        with pytest.raises(Conflict):
            await runtime.rewind("s", 3)
        with pytest.raises(Conflict):
            await session.compact("short")
        await session.wait(accepted.turn)
        before = await session.view()
        for to in (0, -3, before.last_seq + 1):
            with pytest.raises(InvalidRequest):
                await runtime.rewind("s", to)
        with pytest.raises(NotFound):
            await runtime.rewind("nosuch", 1)
        assert await check_journal(runtime, "s") == before


async def test_a_fork_rewinds_within_itself(autojump_clock, check_journal, users):
    """To its first record of its own it has its parent's past; a rewound session forks too."""
    async with open_runtime(SETTINGS, env={}) as runtime:
        session = await runtime.open_session(ECHO, id="s")
        await session.ask("a")
        await runtime.fork("s", new_id="f")
        fork = await runtime.reopen("f")
        await fork.ask("b")
        await fork.ask("c")
        view = await runtime.rewind("f", 2)
        assert users(view.history) == ["a"]
        await fork.ask("d")
        assert users((await check_journal(runtime, "f")).history) == ["a", "d"]
        again = await runtime.fork("f")
        assert users((await runtime.view(again)).history) == ["a", "d"]
        assert (await (await runtime.reopen(again)).ask("e")).text == "e"


async def test_a_long_session_forks_and_rewinds_over_its_checkpoints(
    autojump_clock, check_journal, users
):
    """Records before a checkpoint are read from the beginning; those after, from it."""
    async with open_runtime(SETTINGS, env={}) as runtime:
        session = await runtime.open_session(ECHO, id="s")
        ends = []
        for number in range(120):
            await session.ask(str(number))
            ends.append((await session.view()).last_seq)
        records = await oldest_records(runtime.store, "s")
        assert sum(isinstance(each.record, Checkpoint) for each in records) >= 2
        for place in (0, 30, 60, 119):
            view = await runtime.view(await runtime.fork("s", at=ends[place]))
            assert users(view.history) == [str(n) for n in range(place + 1)]
        assert [e.seq for e in await runtime.events("s", limit=10_000)] == list(
            range(1, (await session.view()).seq + 1)
        )
        pages, after = [], 0
        while page := await runtime.events("s", from_seq=after, limit=77):
            assert len(page) <= 77
            pages += page
            after = page[-1].seq
        assert [each.seq for each in pages] == list(range(1, after + 1))
        view = await runtime.rewind("s", ends[30])
        assert len(users(view.history)) == 31
        await check_journal(runtime, "s")
