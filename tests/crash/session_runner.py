"""Kill a process that runs sessions, again and again, and count what is lost or done twice.

``python tests/crash/session_runner.py FOLDER KILLS`` prints one line of JSON and fails if anything
was wrong. Each life is forked from this process, which has no threads. It opens a runtime on the
folder's store and runs turns with tools: submitted and owned, with every busy policy, cancels,
approvals and state changes. What was acknowledged it says over a pipe; what its tools did stands
in a file of their own, synced. It is killed by its parent at a random moment, or by itself at the
n-th operation of its disk. Then another process reads the journal and compares, and every few
lives a whole runtime is opened in which every session must come to an end and go on.
"""

from __future__ import annotations

import functools
import json
import os
import random
import signal
import sys
import traceback
from collections import Counter
from pathlib import Path

import attrs
import trio

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "sessions")]

from kill_runner import FatalDisk, _forked, _read_all  # noqa: E402
from programs import Checks  # noqa: E402

import actrio.journal._embedded as embedded  # noqa: E402
from actrio import Agent, ToolContext, before_model, open_runtime, tool  # noqa: E402
from actrio.errors import ActrioError  # noqa: E402
from actrio.journal import (  # noqa: E402
    ApprovalDecided,
    InputAccepted,
    RealDisk,
    StateChanged,
    StepBegun,
    TurnBegun,
    TurnEnded,
)
from actrio.runtime import Limits, Settings, StoreSettings  # noqa: E402
from actrio.sessions import read_state, replayed  # noqa: E402
from actrio.sessions._journal import SessionJournal  # noqa: E402
from actrio.testing import history_problems  # noqa: E402

SESSIONS = tuple(f"s{number}" for number in range(4))
LIVES_PER_FOLDER = 20
GO_ON_EVERY = 5
POLICIES = ("queue", "queue", "interrupt", "steer", "rollback", "reject")


def settings_of(folder, durability="batch"):
    limits = Limits(idle_seconds=0.1, approval_seconds=0.02, queue_turns=6)
    store = StoreSettings(kind="embedded", folder=str(folder / "store"), durability=durability)
    return Settings(store=store, limits=limits)


def noted(folder, name, line):
    """Add a line to a file that survives what kills this process, and return when it is there."""
    fd = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(fd, f"{line}\n".encode())
    os.fsync(fd)
    os.close(fd)


def agent_of(folder):
    """Make the agent whose tools leave traces in ``folder``."""

    def effect(ctx):
        noted(folder, "effects", f"{ctx.session} {ctx.turn} {ctx.call_id}")

    @tool(read_only=True)
    async def look(place: str) -> str:
        """Look at a place."""
        return f"nothing in {place}"

    @tool
    async def act(ctx: ToolContext, what: str) -> str:
        """Do something that cannot be undone."""
        effect(ctx)
        await trio.sleep(0.002)
        return f"did {what}"

    @tool
    async def keep(ctx: ToolContext, what: str) -> str:
        """Keep something in the session's state."""
        effect(ctx)
        await ctx.change_state({f"kept {ctx.turn}": what})
        return "kept"

    @tool(approval="ask")
    async def risk(ctx: ToolContext, what: str) -> str:
        """Do something that a person must allow."""
        effect(ctx)
        return f"risked {what}"

    @before_model
    def counted(call):
        noted(folder, "calls", call.caller)
        return call

    tools = [act, look, keep, risk]
    return Agent("killed", model="scripted:demo?tools=4&itl=1ms", tools=tools, filters=[counted])


# -- a life ----------------------------------------------------------------------------------------


async def _live(folder, durability, life, pipe):
    chance = random.Random(life)

    def say(*words):
        os.write(pipe, f"{' '.join(map(str, words))}\n".encode())

    async with (
        open_runtime(settings_of(folder, durability), env={}) as runtime,
        trio.open_nursery() as nursery,
    ):
        agent = agent_of(folder)
        nursery.start_soon(_person, runtime, chance, say)
        for name in SESSIONS:
            session = await runtime.open_session(agent, id=name)
            nursery.start_soon(_listen, session, say)
            nursery.start_soon(_submit, session, chance, life, say)
            nursery.start_soon(_own, session, chance, life)


async def _submit(session, chance, life, say):
    number = 0
    while True:
        number += 1
        turn = f"{life}-{number}"
        try:
            if chance.random() < 0.3:
                await session.change_state({f"k{turn}": number})
                say("state", session.id, f"k{turn}", number)
            else:
                await session.submit(f"do {turn}", id=turn, if_busy=chance.choice(POLICIES))
                say("accepted", session.id, turn)
        except ActrioError:
            pass
        if chance.random() < 0.1:
            session.cancel()
        await trio.sleep(chance.uniform(0, 0.03))


async def _own(session, chance, life):
    number = 0
    while True:
        number += 1
        await trio.sleep(chance.uniform(0, 0.05))
        with trio.move_on_after(chance.uniform(0, 0.1)):
            try:
                async with session.turn(f"own {number}", id=f"{life}-own{number}") as turn:
                    async for _ in turn:
                        pass
            except ActrioError:
                pass


async def _listen(session, say):
    async with session.subscribe(0) as events:
        async for event in events:
            if event.recorded and event.n is None:
                say("event", session.id, event.seq, type(event).__name__, event.turn or "-")


async def _person(runtime, chance, say):
    while True:
        await trio.sleep(0.01)
        for each in await runtime.approvals():
            decision = chance.choice(("approved", "denied")) if chance else "approved"
            try:
                await runtime.answer(each.session, each.approval, decision)
            except ActrioError:
                continue
            say("answered", each.session, each.approval, decision)


# -- what is left of it ----------------------------------------------------------------------------


@attrs.define
class Findings:
    """What was wrong, and what was counted; stands where `Checks` expects its world."""

    problems: list[str] = attrs.field(factory=list)
    counts: Counter[str] = attrs.field(factory=Counter)
    unbegun: dict[str, set[str]] = attrs.field(factory=dict)

    def wrong(self, what):
        self.problems.append(what)


def _lines(folder, name):
    path = folder / name
    return path.read_text().splitlines() if path.exists() else []


async def _check(folder, acknowledged):
    found = Findings()
    async with embedded.open_embedded_store(folder / "store" / "default") as store:
        if not (await store.verify()).ok:
            found.wrong("the store does not verify")
        listed = {entry.session for entry in await store.list()}
        for name in SESSIONS:
            records = await store.read(name, 1) if name in listed else ()
            _compare(folder, found, name, records, acknowledged)
            if records:
                state = await read_state(store, name)
                # What is open has not ended; a turn that begins must find the rest valid.
                if problems := history_problems(state.history):
                    found.wrong(f"{name}: {problems}")
    return found


def _compare(folder, found, name, records, acknowledged):
    checks = Checks(found, name)
    checks.read(records)
    said = [words[2:] for words in acknowledged if words[1] == name and words[0] == "accepted"]
    wanted = [turn for (turn,) in said]
    there = [one.record.turn for one in records if isinstance(one.record, InputAccepted)]
    kept = [turn for turn in there if turn in set(wanted)]
    if kept != wanted:
        found.wrong(f"{name}: accepted {wanted}, kept {kept}")
    _compare_values(found, name, records, acknowledged)
    events = {event.seq: event for event in replayed(name, records)}
    for words in acknowledged:
        if words[:2] == ("event", name):
            event = events.get(int(words[2]))
            told = (type(event).__name__, getattr(event, "turn", "") or "-")
            if told != words[3:]:
                found.wrong(f"{name}: {words} was told, the journal says {told}")
    effects = Counter(line for line in _lines(folder, "effects") if line.startswith(f"{name} "))
    for line, times in effects.items():
        _, turn, call = line.split()
        found.counts["effects"] += times
        if times > checks.started[turn, call]:
            found.wrong(f"{line}: {times} times, {checks.started[turn, call]} on record")
    calls = _lines(folder, "calls").count(name)
    steps = sum(isinstance(one.record, StepBegun) for one in records)
    if calls > steps:
        found.wrong(f"{name}: {calls} model calls, {steps} on record")
    begun = {one.record.turn for one in records if isinstance(one.record, TurnBegun)}
    owned = {one.record.turn for one in records if getattr(one.record, "owned", False)}
    found.unbegun[name] = set(checks.open) - begun - owned


def _compare_values(found, name, records, acknowledged):
    changes = [one.record.values for one in records if isinstance(one.record, StateChanged)]
    decided = [one.record for one in records if isinstance(one.record, ApprovalDecided)]
    for words in acknowledged:
        there = wanted = None
        if words[:2] == ("state", name):
            there = [each[words[2]] for each in changes if words[2] in each]
            wanted = [int(words[3])]
        elif words[:2] == ("answered", name):
            there = [each.decision for each in decided if each.approval == words[2]]
            wanted = [words[3]]
        if there != wanted:
            found.wrong(f"{name}: {words} is there as {there}")


async def _go_on(folder, found):
    """Every session comes to its end, what was in line has run, and another turn works."""
    async with (
        open_runtime(settings_of(folder), env={}) as runtime,
        trio.open_nursery() as beside,
    ):
        beside.start_soon(_person, runtime, None, lambda *_: None)
        agent = agent_of(folder)
        async with trio.open_nursery() as nursery:
            for name in SESSIONS:
                nursery.start_soon(_go_on_with, runtime, agent, name, found)
        beside.cancel_scope.cancel()


async def _go_on_with(runtime, agent, name, found):
    session = await runtime.open_session(agent, id=name)
    with trio.move_on_after(30) as scope:
        while (view := await session.view()).status != "idle":
            await trio.sleep(0.002)
        result = await session.ask("one more")
    if scope.cancelled_caught:
        found.wrong(f"{name} does not come to its end: {view.turns} {view.approvals}")
        return
    view = await session.view()
    if problems := history_problems(view.history):
        found.wrong(f"{name}, gone on: {problems}")
    if result.outcome != "completed":
        found.wrong(f"{name}: another turn ended {result.outcome}")
    records = await runtime.store.read(name, 1)
    ended = {one.record.turn: one.record for one in records if type(one.record) is TurnEnded}
    taken = {each for one in records if type(one.record) is StepBegun for each in one.record.taken}
    for turn in found.unbegun.get(name, set()) - taken:
        if turn not in ended or ended[turn].outcome != "completed":
            found.wrong(f"{name}: {turn} stood in line: {ended.get(turn)}")
    found.counts["gone on"] += 1


async def _judged(folder, acknowledged, go_on):
    found = await _check(folder, acknowledged)
    if go_on and not found.problems:
        await _go_on(folder, found)
        found.unbegun.clear()
        again = await _check(folder, acknowledged)
        found.problems += again.problems
    return found


def _answer(folder, acknowledged, go_on, pipe):
    try:
        found = trio.run(_judged, folder, acknowledged, go_on)
        told = {"problems": found.problems[:5], "counts": found.counts}
    except BaseException as error:
        told = {"problems": ["".join(traceback.format_exception(error))], "counts": {}}
    os.write(pipe, json.dumps(told).encode())


# -- kill, compare, again --------------------------------------------------------------------------


def _one_life(folder, life, chance):
    """Run and kill one; return what it acknowledged, and whether it was killed."""
    at_boundary = life % 2
    step = 1 + chance.randrange(120) if at_boundary else 10**9
    moment = ("before", "halfway", "after")[life // 2 % 3]
    durability = ("batch", "always")[life // LIVES_PER_FOLDER % 2]

    def work(pipe):
        embedded.RealDisk = lambda root: FatalDisk(root, step, moment)
        SessionJournal.checkpoint_records = 20
        trio.run(_live, folder, durability, life, pipe)

    child, pipe = _forked(work)
    data, ended = _read_all(pipe, 0.6 if at_boundary else chance.uniform(0.02, 0.4))
    if not ended:
        os.kill(child, signal.SIGKILL)
        data += _read_all(pipe, 5)[0]
    os.close(pipe)
    status = os.waitpid(child, 0)[1]
    killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    # A line that the kill cut in two was not received by anybody.
    return [tuple(line.split()) for line in data.decode().split("\n")[:-1]], killed


def main(root: Path, kills: int) -> dict[str, object]:
    assert embedded.RealDisk is RealDisk
    chance = random.Random(kills)
    totals: Counter[str] = Counter()
    problems: list[str] = []
    acknowledged: list[tuple[str, ...]] = []
    life = 0
    while totals["kills"] < kills:
        folder = root / f"{life // LIVES_PER_FOLDER:04}"
        if life % LIVES_PER_FOLDER == 0:
            acknowledged = []
            folder.mkdir()
        words, killed = _one_life(folder, life, chance)
        acknowledged += words
        totals["kills"] += killed
        totals["lives"] += 1
        totals.update(each[0] for each in words)
        go_on = life % GO_ON_EVERY == GO_ON_EVERY - 1
        child, pipe = _forked(functools.partial(_answer, folder, acknowledged, go_on))
        answer, _ = _read_all(pipe, 120)
        os.close(pipe)
        os.waitpid(child, 0)
        told = json.loads(answer or '{"problems": ["no answer"], "counts": {}}')
        totals["gone on"] += told["counts"].get("gone on", 0)
        totals["effects"] = totals["effects"] + told["counts"].get("effects", 0) * go_on
        for each in told["problems"]:
            problems.append(f"life {life} in {folder}: {each}")
            print(problems[-1][-6000:], file=sys.stderr)
        if len(problems) >= 5 or totals["lives"] > 3 * kills + 10:
            break
        life += 1
    return {**totals, "problems": len(problems)}


if __name__ == "__main__":
    told = main(Path(sys.argv[1]), int(sys.argv[2]))
    print(json.dumps(told))
    sys.exit(1 if told["problems"] else 0)
