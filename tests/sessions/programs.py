"""Simulated programs over sessions: clients, a person, a store that fails, an end, a new beginning.

``python tests/sessions/programs.py [SEEDS [FIRST]]`` runs many and prints the first that fails.

A program has several lives over one store. In each, clients submit, ask, cancel, interrupt, steer,
roll back, change state, rewind, compact, listen and leave, a person answers (or does not), actors
are killed, and the store is slow and fails. A life ends by a stop, or, as a process killed does,
between any two writes. In the last life nothing fails, and everything must come to its end. What
is checked is in `Checks`; it reads the raw records with rules of its own.
"""

from __future__ import annotations

import random
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import attrs
import trio

from actrio import Agent, ToolContext, before_model, tool
from actrio.actors import open_actor_system
from actrio.errors import ActorFailed, ActrioError, StorageError, StorageUnavailable
from actrio.journal import (
    ApprovalAsked,
    ApprovalDecided,
    Checkpoint,
    InputAccepted,
    MemoryStore,
    ModelOutcome,
    SessionRewound,
    StepBegun,
    ToolFinished,
    ToolSealed,
    ToolStarted,
    TurnBegun,
    TurnEnded,
)
from actrio.messages import Gap
from actrio.providers import Connections
from actrio.runtime import Runtime, Settings
from actrio.sessions import PoolLimits, SessionPool, fold, read_state, replayed
from actrio.sessions._journal import CHECKPOINT_RECORDS, SessionJournal
from actrio.telemetry import keep_logs_off_stdout
from actrio.testing import history_problems, live_tasks, simulate
from actrio.wire import event_to_dict

POLICIES = ("queue", "reject", "interrupt", "steer", "rollback", None)
MODELS = (
    "demo?tools=3&itl=20ms&ttft=50ms",
    "demo?tools=4&itl=5ms",
    "demo?itl=100ms",
    "tokens?tokens=4&itl=50ms",
    "demo?tools=2&fault=cut@3",
    "demo?fault=unknowntool",
    "demo?tools=2&fault=badargs",
)


class _Killed(Exception):
    """What kills an actor here."""


class TroubledStore:
    """A store that takes its time, fails now and then, and may end in the middle.

    Args:
        store: Where records really are; what it has is what a new life finds.
        chance: Decides.
        failing: How likely a write is to fail.
    """

    def __init__(self, store: Any, chance: random.Random, failing: float) -> None:
        self._store = store
        self._chance = chance
        self.failing = failing
        self.writes_left: int | None = None  # until the process is as good as dead

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def _fail(self, likely: float) -> None:
        if self.writes_left == 0 or self._chance.random() < likely:
            raise StorageUnavailable("The simulated disk refuses.", remedy="Try again.")

    async def claim(self, *args: Any, **more: Any) -> Any:
        self._fail(self.failing / 2)
        return await self._store.claim(*args, **more)

    async def read(self, *args: Any, **more: Any) -> Any:
        self._fail(self.failing / 4)
        await trio.sleep(self._chance.choice((0, 0, 0.01)))
        return await self._store.read(*args, **more)

    async def append(self, *args: Any, **more: Any) -> Any:
        await trio.sleep(self._chance.choice((0, 0, 0, 0.001, 0.02)))
        self._fail(self.failing)
        with trio.CancelScope(shield=True):
            if self.writes_left:
                self.writes_left -= 1
            last = await self._store.append(*args, **more)
            await trio.sleep(self._chance.choice((0, 0, 0, 0.001, 0.05)))
        return last

    async def release(self, claim: Any) -> None:
        self._fail(0)
        await self._store.release(claim)


@attrs.define
class World:
    """What outlives a life, and what a program is made of."""

    ports: Any
    store: MemoryStore
    agent: Agent
    sessions: tuple[str, ...]
    approval_seconds: float
    idle_seconds: float
    resident: int
    checkpoint_records: int
    effects: Counter[tuple[str, str, str]] = attrs.field(factory=Counter)
    model_calls: Counter[str] = attrs.field(factory=Counter)
    accepted: set[tuple[str, str]] = attrs.field(factory=set)
    counts: Counter[str] = attrs.field(factory=Counter)
    problems: list[str] = attrs.field(factory=list)
    crashes_allowed: bool = False

    @property
    def chance(self) -> random.Random:
        return self.ports.random

    def wrong(self, what: str) -> None:
        self.problems.append(f"t={trio.current_time():.3f} {what}")


def make_world(ports: Any) -> World:
    """Draw an agent, its tools and the bounds of one program."""
    chance: random.Random = ports.random
    world: World

    async def work() -> None:
        await trio.sleep(chance.choice((0, 0, 0.01, 0.3)))

    def effect(ctx: ToolContext) -> None:
        world.effects[ctx.session, ctx.turn, ctx.call_id] += 1

    @tool(read_only=True)
    async def look(place: str) -> str:
        """Look at a place."""
        await work()
        return f"nothing in {place}"

    @tool
    async def act(ctx: ToolContext, what: str) -> str:
        """Do something that cannot be undone."""
        await work()
        effect(ctx)
        await work()
        return f"did {what}"

    @tool(approval="ask")
    async def risk(ctx: ToolContext, what: str) -> str:
        """Do something that a person must allow."""
        effect(ctx)
        await work()
        return f"risked {what}"

    @tool(exclusive=chance.random() < 0.3)
    async def wonder(ctx: ToolContext, about: str) -> str:
        """Ask a person and remember the answer."""
        effect(ctx)
        await ctx.change_state({"asked": ctx.call_id})
        answer = await ctx.ask_person(f"What of {about}?", ("yes", "no"))
        await ctx.change_state({"answer": answer}, remove=("asked",))
        return answer

    tools = chance.sample([look, act, risk, wonder], chance.randint(1, 4))
    agent = Agent(
        "sim",
        model=f"scripted:{chance.choice(MODELS)}",
        tools=tools,
        if_busy=chance.choice(POLICIES[:5]),
        queue_max=chance.choice((1, 3, 8)),
        window_tokens=chance.choice((None, None, 60)),
    )
    world = World(
        ports,
        MemoryStore(now=ports.clock.utc),
        agent,
        tuple(f"s{number}" for number in range(chance.randint(1, 3))),
        approval_seconds=chance.choice((0.2, 2.0, 60.0)),
        idle_seconds=chance.choice((0.5, 5.0, 300.0)),
        resident=chance.choice((1, 2, 10)),
        checkpoint_records=chance.choice((1, 5, 30, 200)),
    )
    return world


@asynccontextmanager
async def open_life(world: World, store: Any) -> AsyncIterator[Runtime]:
    """Open a runtime over ``store``; its actors may crash only by being killed."""

    def crashed(notice: Any) -> None:
        if not isinstance(notice.error, _Killed):
            world.wrong(f"{notice.path} crashed: {notice.error!r}")

    SessionJournal.checkpoint_records = world.checkpoint_records
    limits = PoolLimits(
        turns=100,
        sessions=100,
        resident=world.resident,
        idle_seconds=world.idle_seconds,
        tool_threads=1,
        approval_seconds=world.approval_seconds,
    )

    @before_model
    def counted(call: Any) -> Any:
        world.model_calls[call.caller] += 1
        return call

    keep_logs_off_stdout()
    async with open_actor_system(rng=world.chance) as system:
        system.observe(crashed)
        connections = Connections(system, settings={}, env={})
        await connections.start()
        pool = SessionPool(
            system,
            store=store,
            open_model=connections.open,
            filters=(counted,),
            limits=limits,
            owner="the simulation",
            clock=world.ports.clock.utc,
            new_id=world.ports.ids.new,
        )
        await pool.start()
        pool.agents.register(world.agent)
        try:
            yield Runtime(system, Settings(), connections, pool, store)
        finally:
            pool.close()


class Client:
    """One task of the program; it expects every refusal that is an `ActrioError`."""

    def __init__(self, world: World, runtime: Runtime, nursery: trio.Nursery) -> None:
        self._world = world
        self._runtime = runtime
        self._nursery = nursery
        self._turns: list[tuple[str, str]] = []

    async def run(self, operations: int) -> None:
        world = self._world
        for _ in range(operations):
            await trio.sleep(world.chance.choice((0, 0.001, 0.02, 0.2, 1.0)))
            name = world.chance.choice(OPERATIONS)
            try:
                await getattr(self, name)(world.chance.choice(world.sessions))
            except (ActrioError, BaseExceptionGroup) as error:
                only = error.exceptions if isinstance(error, BaseExceptionGroup) else (error,)
                if not all(isinstance(each, ActrioError) for each in only):
                    raise
                world.counts[f"{name}: {type(only[0]).__name__}"] += 1
                if isinstance(only[0], ActorFailed) and not world.crashes_allowed:
                    world.wrong(f"{name} met a crash: {only[0]}")
            else:
                world.counts[name] += 1

    async def _open(self, session: str) -> Any:
        return await self._runtime.open_session(self._world.agent, id=session)

    def _prompt(self) -> str:
        return f"input {self._world.ports.ids.new('p')}"

    async def submit(self, session: str) -> None:
        opened = await self._open(session)
        key = self._world.chance.choice(("", "", f"key{self._world.chance.randrange(4)}"))
        policy = self._world.chance.choice(POLICIES)
        accepted = await opened.submit(self._prompt(), if_busy=policy, key=key)
        self._turns.append((session, accepted.turn))
        self._world.accepted.add((session, accepted.turn))

    async def ask(self, session: str) -> None:
        opened = await self._open(session)
        with trio.move_on_after(self._world.chance.choice((0.01, 0.1, 0.5, 30))):
            await opened.ask(self._prompt(), if_busy=self._world.chance.choice(POLICIES))

    async def stream(self, session: str) -> None:
        """Own a turn and read it, slowly perhaps, or leave in the middle."""
        opened = await self._open(session)
        chance = self._world.chance
        leave_after = chance.choice((1, 5, 1000))
        with trio.move_on_after(30):
            policy = chance.choice(POLICIES)
            async with opened.turn(self._prompt(), if_busy=policy) as turn:
                last = 0
                async for event in turn:
                    if event.n is None:
                        if event.seq <= last:
                            self._world.wrong(f"{event} came after number {last}")
                        last = event.seq
                    await trio.sleep(chance.choice((0, 0, 0.05)))
                    leave_after -= 1
                    if not leave_after:
                        break

    async def hold(self, session: str) -> None:
        """Hold the session open for a while, as a program does."""
        async with self._runtime.session(self._world.agent, id=session) as held:
            await held.ask(self._prompt())
            found = history_problems(held.history)
            if found:
                self._world.wrong(f"{session}: {found}")

    async def wait(self, session: str) -> None:
        if self._turns:
            session, turn = self._world.chance.choice(self._turns)
            opened = await self._open(session)
            with trio.move_on_after(20):
                result = await opened.wait(turn)
                if result.outcome not in ("completed", "failed", "cancelled"):
                    self._world.wrong(f"{turn} ended with {result}")

    async def cancel(self, session: str) -> None:
        opened = await self._open(session)
        own = [turn for place, turn in self._turns if place == session]
        opened.cancel(self._world.chance.choice([None, None, *own]))

    async def change_state(self, session: str) -> None:
        opened = await self._open(session)
        number = self._world.chance.randrange(5)
        await opened.change_state({f"k{number}": [number]}, remove=(f"k{4 - number}",))

    async def resume(self, session: str) -> None:
        opened = await self._open(session)
        await opened.resume()

    async def rewind(self, session: str) -> None:
        view = await self._runtime.view(session)
        await self._runtime.rewind(session, self._world.chance.randint(1, view.last_seq))

    async def compact(self, session: str) -> None:
        opened = await self._open(session)
        await opened.compact("what was", messages=self._world.chance.choice((None, 2, 5)))

    async def fork(self, session: str) -> None:
        view = await self._runtime.view(session)
        at = self._world.chance.choice((None, self._world.chance.randint(1, view.last_seq)))
        child = await self._runtime.fork(session, at=at)
        if found := history_problems((await self._runtime.view(child)).history):
            self._world.wrong(f"fork {child} of {session} at {at}: {found}")

    async def kill(self, session: str) -> None:
        self._world.crashes_allowed = True
        cell = self._runtime.system.ref(f"/sessions/{session}").cell
        if cell.activation is not None:
            cell.activation.crash(_Killed())

    async def close(self, session: str) -> None:
        modes = ("detach", "after_turn", "cancel")
        with trio.move_on_after(5):
            await self._runtime.close_session(session, mode=self._world.chance.choice(modes))

    async def listen(self, session: str) -> None:
        opened = await self._open(session)
        after = self._world.chance.choice((0, 0, 3, None))
        self._nursery.start_soon(self._listen, opened, after)

    async def _listen(self, opened: Any, after: int | None) -> None:
        """Read all events; recorded ones have no gap, and are those that a replay gives."""
        chance, heard = self._world.chance, []
        events = opened.subscribe(after, pace=chance.random() < 0.5)
        try:
            async with events:
                with trio.move_on_after(chance.choice((1, 10, 100))):
                    async for event in events:
                        if event.n is None and not isinstance(event, Gap):
                            heard.append(event)
                        await trio.sleep(chance.choice((0, 0, 0, 0.1)))
        except ActrioError as error:
            self._world.counts[f"listen: {type(error).__name__}"] += 1
        numbers = [event.seq for event in heard]
        if heard and numbers != list(range(numbers[0], numbers[0] + len(numbers))):
            self._world.wrong(f"{opened.id} was heard with gaps: {numbers}")
        if after == 0 and heard and numbers[0] != 1:
            self._world.wrong(f"{opened.id} was heard from {numbers[0]} on")
        self._world.counts["events heard"] += len(heard)
        if heard:
            records = await self._world.store.read(opened.id, 1)
            told = {event.seq: event_to_dict(event) for event in replayed(opened.id, records)}
            for event in heard:
                if (again := told.get(event.seq)) != event_to_dict(event):
                    self._world.wrong(f"heard {event}\n  replayed {again}")


OPERATIONS = (
    *("submit",) * 8, *("ask",) * 3, *("stream",) * 4, "hold", *("wait",) * 2, *("cancel",) * 3,
    *("change_state",) * 2, "resume", "rewind", "compact", "fork", "kill", "close",
    *("listen",) * 2,
)  # fmt: skip


async def person(world: World, runtime: Runtime, *, always: bool = False) -> None:
    """Answer what is asked, in time, late, or never."""
    chance = world.chance
    while True:
        await trio.sleep(chance.choice((0.05, 0.5, 4.0)))
        try:
            for each in await runtime.approvals():
                if not always and chance.random() < 0.5:
                    continue
                decision = "answered" if each.about == "question" else "approved"
                decision = chance.choice((decision, decision, "denied"))
                await runtime.answer(each.session, each.approval, decision, answer="yes")
                world.counts["answered"] += 1
        except ActrioError as error:
            world.counts[f"answer: {type(error).__name__}"] += 1


# -- what holds ------------------------------------------------------------------------------------


async def compare(world: World, runtime: Runtime, session: str) -> None:
    """The live state is what its records fold into: all of them, and from the last checkpoint."""
    live = runtime._pool._desk.live.get(session)
    if live is None or not live.last_seq:
        return
    records = await world.store.read(session, 1)
    live = runtime._pool._desk.live.get(session)
    if live is None:
        return
    known = [stored for stored in records if stored.seq <= live.last_seq]
    whole = fold(session, known)
    world.counts["compared"] += 1
    marks = [at for at, stored in enumerate(known) if isinstance(stored.record, Checkpoint)]
    short = fold(session, known[marks[-1] :] if marks else known)
    for name, found in (("all records", whole), ("the last checkpoint", short)):
        for field in attrs.fields(type(live)):
            one, other = getattr(live, field.name), getattr(found, field.name)
            if one != other:
                world.wrong(
                    f"{session}.{field.name} at record {live.last_seq}: live\n    {one}\n"
                    f"  from {name}\n    {other}"
                )


async def inspector(world: World, runtime: Runtime) -> None:
    while True:
        await trio.sleep(world.chance.choice((0.01, 0.3, 2.0)))
        await compare(world, runtime, world.chance.choice(world.sessions))


class Checks:
    """Reads the records of one session with rules of its own, and knows nothing of the fold."""

    def __init__(self, world: World, session: str) -> None:
        self._world = world
        self._session = session
        self.open: dict[str, int] = {}  # turn: steps
        self.steps = 0
        self.ended: Counter[str] = Counter()
        self.calls: dict[tuple[str, int, int], str] = {}
        self.started: Counter[tuple[str, str]] = Counter()
        self.asked: dict[str, str] = {}
        self.begun: set[str] = set()
        self.keys: set[str] = set()
        self.calling: set[tuple[str, int]] = set()

    def wrong(self, stored: Any, why: str) -> None:
        self._world.wrong(f"{self._session}: {why}: {stored}")

    def read(self, records: Any) -> None:
        for place, stored in enumerate(records):
            if stored.seq != place + 1:
                self.wrong(stored, "is not next")
            record = stored.record
            turn = getattr(record, "turn", None)
            if isinstance(record, InputAccepted):
                if turn in self.open or turn in self.ended:
                    self.wrong(stored, "is accepted twice")
                self.open[turn] = 0
                if record.key in self.keys:
                    self.wrong(stored, "repeats a key")
                self.keys |= {record.key} - {""}
            elif turn is not None and turn not in self.open:
                self.wrong(stored, "is of a turn that is not open")
            elif isinstance(record, SessionRewound):
                self._world.counts["rewound"] += 1
            else:
                self._one(stored, record)

    def _one(self, stored: Any, record: Any) -> None:
        match record:
            case StepBegun(turn=turn, step=step, taken=taken):
                if step != self.open[turn] + 1:
                    self.wrong(stored, "is not the next step")
                self.open[turn] = step
                self.calling.add((turn, step))
                self.steps += 1
                for each in taken:
                    if each not in self.open:
                        self.wrong(stored, f"takes {each} in, which is not open")
                    self._end(stored, each)
            case ModelOutcome(turn=turn, step=step):
                if (turn, step) not in self.calling:
                    self.wrong(stored, "is the outcome of no call")
                self.calling.discard((turn, step))
                if record.output is not None:
                    for at in range(len(record.output.message.tool_calls)):
                        self.calls[turn, step, at] = "proposed"
            case ToolStarted(turn=turn, step=step, position=at):
                if self.calls.get((turn, step, at)) != "proposed":
                    self.wrong(stored, "is started again, or was not proposed")
                self.calls[turn, step, at] = "started"
                self.started[turn, record.call_id] += 1
            case ToolFinished() | ToolSealed():
                key = (record.turn, record.step, record.position)
                if self.calls.get(key) not in ("proposed", "started"):
                    self.wrong(stored, "has a result already")
                self.calls[key] = "done"
            case ApprovalAsked(turn=turn, approval=approval):
                self.asked[approval] = turn
            case ApprovalDecided(approval=approval):
                if self.asked.pop(approval, None) is None:
                    self.wrong(stored, "is not open to be decided")
            case TurnEnded(turn=turn):
                left = [key for key, how in self.calls.items() if key[0] == turn and how != "done"]
                if left:
                    self.wrong(stored, f"leaves calls without result: {left}")
                if turn in self.asked.values():
                    self.wrong(stored, "leaves an approval open")
                if record.error is not None and record.error.get("kind") == "internal":
                    self.wrong(stored, "tells of a bug")
                self._end(stored, turn)
                self._world.counts[f"ended: {record.outcome} {record.reason[:20]}"] += 1
            case TurnBegun(turn=turn):
                if turn in self.begun:
                    self.wrong(stored, "begins again")
                if any(each in self.open for each in self.begun):
                    self.wrong(stored, "begins while another runs")
                self.begun.add(turn)

    def _end(self, stored: Any, turn: str) -> None:
        self.open.pop(turn, None)
        self.ended[turn] += 1
        if self.ended[turn] > 1:
            self.wrong(stored, "ends again")


async def check(world: World) -> None:
    """Read every session's whole journal; nothing may be missing, twice, or invalid."""
    for session in world.sessions:
        try:
            records = await world.store.read(session, 1)
        except ActrioError:
            if any(place == session for place, _ in world.accepted):
                world.wrong(f"{session} is gone")
            continue
        checks = Checks(world, session)
        checks.read(records)
        state = await read_state(world.store, session)
        if found := history_problems(state.history):
            world.wrong(f"{session}: {found}")
        for place, turn in world.accepted:
            if place == session and turn not in checks.ended and turn not in checks.open:
                world.wrong(f"{session} has lost {turn}")
        if set(checks.open) != set(state.open):
            world.wrong(f"{session}: open are {set(checks.open)}, the state says {set(state.open)}")
        if world.model_calls[session] > checks.steps:
            world.wrong(
                f"{session}: {world.model_calls[session]} model calls, {checks.steps} steps"
            )
        for (where, turn, call), times in world.effects.items():
            if where == session and times > checks.started[turn, call]:
                world.wrong(f"{session}: {call} of {turn} ran {times} times")


async def last_life(world: World) -> None:
    """Nothing fails: every accepted turn ends, each session takes another one."""
    store = TroubledStore(world.store, world.chance, 0.0)
    async with open_life(world, store) as runtime, trio.open_nursery() as nursery:
        nursery.start_soon(_answer_all, world, runtime)
        for session in world.sessions:
            opened = await runtime.open_session(world.agent, id=session)
            while (view := await opened.view()).status != "idle":
                await opened.wait(next(each.turn for each in view.turns if _is_open(each)))
            try:
                await opened.ask("last words")
            except StorageError:
                raise
            except ActrioError:
                pass  # the model's own fault
            await compare(world, runtime, session)
        nursery.cancel_scope.cancel()


async def _answer_all(world: World, runtime: Runtime) -> None:
    while True:
        await trio.sleep(0.5)
        for each in await runtime.approvals():
            decision = "answered" if each.about == "question" else "approved"
            try:
                await runtime.answer(each.session, each.approval, decision, answer="yes")
            except ActrioError:
                continue  # its turn has just ended


def _is_open(turn: Any) -> bool:
    return turn.state in ("queued", "running", "waiting")


async def live(world: World) -> None:
    """One life, with trouble, until its end."""
    chance = world.chance
    store = TroubledStore(world.store, chance, chance.choice((0.0, 0.0, 0.02, 0.1)))
    if chance.random() < 0.4:
        store.writes_left = chance.randint(1, 120)
    world.crashes_allowed = False
    async with open_life(world, store) as runtime, trio.open_nursery() as beside:
        beside.start_soon(person, world, runtime)
        beside.start_soon(inspector, world, runtime)
        with trio.move_on_after(chance.choice((2.0, 20.0, 100.0))):
            async with trio.open_nursery() as nursery:
                for _ in range(chance.randint(1, 5)):
                    client = Client(world, runtime, beside)
                    nursery.start_soon(client.run, chance.randint(2, 10))
        for session in world.sessions:
            await compare(world, runtime, session)
        beside.cancel_scope.cancel()


async def program(ports: Any) -> World:
    """Live several lives over one store; return what was seen."""
    world = make_world(ports)
    before = live_tasks()
    for _ in range(ports.random.choice((1, 1, 2, 3))):
        await live(world)
        await check(world)
    await last_life(world)
    await check(world)
    for session in world.sessions:
        if (state := await read_state(world.store, session)).open:
            world.wrong(f"{session}: {list(state.open)} did not end")
    if live_tasks() != before:
        world.wrong(f"left behind: {live_tasks()}")
    return world


def run(seed: int) -> World:
    """Run the program of ``seed``; what was wrong is in its ``problems``."""
    try:
        return simulate(program, seed=seed, hang_seconds=60)
    finally:
        SessionJournal.checkpoint_records = CHECKPOINT_RECORDS


def main(arguments: list[str]) -> int:
    seeds, first = (int(each) for each in [*arguments, "1000", "0"][:2])
    if len(arguments) == 1:
        first = 0
    total: Counter[str] = Counter()
    for seed in range(first, first + seeds):
        try:
            world = run(seed)
        except BaseException:
            print(f"seed {seed}:", flush=True)
            raise
        total.update(world.counts)
        if world.problems:
            print(f"seed {seed}: {len(world.problems)} problems")
            for each in world.problems[:5]:
                print(" ", each[:3000])
            return 1
    for name, count in sorted(total.items()):
        print(f"{name:<50} {count:>9,}")
    print(f"{seeds:,} seeds, no problem")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
