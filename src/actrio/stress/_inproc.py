"""The whole runtime in this process, under load from beside it."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any, Final

import attrs
import trio

from actrio.errors import ActorStopped, ActrioError, Conflict
from actrio.messages import TERMINAL_EVENTS, ItemCompleted, ItemDelta, TurnResult
from actrio.runtime import Agent, Runtime, Session, open_runtime
from actrio.stress._provider import SCRIPTED, ScriptedProcess, faulty, scripted_process
from actrio.stress._served import PROVIDER, folder_figures, served_model, settings_of
from actrio.stress._targets import Look, StoreKind, Target, TargetSetup, look_at_tree
from actrio.stress._turns import Asked, Ending, Listener, ending_of_error

__all__ = ["open_inproc"]

CRASH_SECONDS: Final = 1.0
"""How long an actor may take to hear that it is to crash, on a loaded machine."""

CONNECTION_KILL_SHARE: Final = 0.02
"""Of the kills, how many hit a provider's connection: each takes all turns on it along."""


@asynccontextmanager
async def open_inproc(setup: TargetSetup) -> AsyncIterator[Target]:
    """Open a runtime to be put under load; a ``scripted:`` model answers from its own process."""
    async with AsyncExitStack() as stack:
        provider: ScriptedProcess | None = None
        if setup.model.startswith(SCRIPTED):
            provider = await stack.enter_async_context(scripted_process())
        settings = settings_of(setup, provider.base_url if provider else None)
        runtime = await stack.enter_async_context(open_runtime(settings, env=setup.env))
        yield _InProcess(runtime, setup, provider)


class _InProcess:
    """See `Target`."""

    shares_process = True
    gone = False

    def __init__(
        self, runtime: Runtime, setup: TargetSetup, provider: ScriptedProcess | None
    ) -> None:
        self.runtime = runtime
        self.setup = setup
        self.name = "inproc"
        self.store: StoreKind | None = setup.store
        self.pid: int | None = os.getpid()
        self.provider_pid = provider.pid if provider else None
        self._provider = provider
        self._agents: dict[str | None, Agent] = {}
        self.sessions: dict[str, Session] = {}
        self.killed: dict[str, float] = {}  # sessions that were crashed, and when

    @property
    def residents(self) -> int:
        return len(self._agents)

    def agent(self, fault: str | None) -> Agent:
        """Return the agent whose model fails so."""
        if fault not in self._agents:
            name = "stress" if fault is None else f"stress-{fault.partition('@')[0]}"
            model = served_model(faulty(self.setup.model, fault))
            self._agents[fault] = Agent(name, model=model)
        return self._agents[fault]

    @asynccontextmanager
    async def seat(self) -> AsyncIterator[_Seat]:
        seat = _Seat(self)
        try:
            await seat.sit()
            yield seat
        finally:
            with trio.CancelScope(shield=True) as scope:  # a close is bounded by itself
                scope.deadline = trio.current_time() + self.runtime.system.cancel_grace_seconds
                await seat.rise()

    async def look(self) -> Look:
        await trio.lowlevel.checkpoint()
        runtime = self.runtime
        nodes = runtime.tree().walk()
        statistics = runtime.statistics()
        connections = runtime.connections.statistics().values()
        return Look(
            mailboxes=look_at_tree(nodes),
            turns_waiting=statistics.turns_waiting,
            turns_peak=statistics.turns_peak,
            provider_waiting=sum(each.waiting for each in connections),
            provider_peak=sum(each.peak_waiting for each in connections),
            restarts=statistics.restarts,
            dead_letters=statistics.dead_letters,
        )

    async def kill(self, chance: float) -> bool:
        await trio.lowlevel.checkpoint()
        if chance < CONNECTION_KILL_SHARE:
            return self._kill_connection()
        sessions = list(self.sessions.values())
        if not sessions:
            return False
        place = (chance - CONNECTION_KILL_SHARE) / (1 - CONNECTION_KILL_SHARE)
        session = sessions[min(len(sessions) - 1, int(place * len(sessions)))]
        try:
            session.ref.control(_Poison())
        except ActorStopped:
            return False
        self.killed[session.id] = trio.current_time()
        return True

    def _kill_connection(self) -> bool:
        ref = self.runtime.system.whereis(f"/providers/{PROVIDER}")
        if ref is None:
            return False
        try:
            ref.tell_nowait(_Poison())
        except ActrioError:
            return False  # full, or on its way back from the last one
        return True

    async def ended(self) -> Mapping[str, int]:
        return await self._provider.settled() if self._provider else {}

    async def stored(self) -> Mapping[str, int]:
        figures = await folder_figures(self.setup.folder)
        if not figures:
            return {}
        checked = await self.runtime.store.verify()
        told = {"sessions": checked.sessions, "problems": len(checked.problems)}
        return {**figures, "frames": checked.frames, **told}


class _Poison:
    """A message that no actor survives: whatever is looked up on it raises."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(f"chaos: crashed on purpose (asked for {name})")


class _Seat:
    """See `Seat`: a session, renewed after some turns.

    Where the store is in memory the session has no name and is forgotten when it is closed: a
    named one would be kept for as long as the runtime, and a soak would measure the keeping.
    """

    def __init__(self, target: _InProcess) -> None:
        self._target = target
        self._session: Session | None = None
        self._unnamed: AbstractAsyncContextManager[Session] | None = None
        self._turns = 0

    async def turn(self, asked: Asked, heard: Listener) -> Ending:
        if asked.fate.fault is not None:
            return await self._turn_that_fails(asked, heard)
        if self._session is None or self._turns >= self._target.setup.session_turns:
            await self.rise()
            await self.sit()
        assert self._session is not None
        self._turns += 1
        ending = await _turn(self._session, asked, heard)
        ending = self._told_rightly(ending, asked, heard)
        if ending.label == "ActorStopped":  # set aside for good, or stopped: the next is a new one
            await self.rise()
        return ending

    def _told_rightly(self, ending: Ending, asked: Asked, heard: Listener) -> Ending:
        """Return the ending of a turn whose session may have been crashed here.

        Such a turn says that its owner left, who did not; or, where it had just ended, it has a
        result and no terminal event.
        """
        assert self._session is not None
        at = self._target.killed.get(self._session.id)
        hit = at is not None and heard.begun <= at + CRASH_SECONDS
        untold = ending.kind == "cancelled" or ending.label == "0 terminal events"
        if hit and untold and asked.fate.cancel_after is None:
            return attrs.evolve(ending, kind="failed", label="killed", crashed=True)
        return ending

    async def _turn_that_fails(self, asked: Asked, heard: Listener) -> Ending:
        """Run it in a session of its own, because a session's agent has one model."""
        async with self._target.runtime.session(self._target.agent(asked.fate.fault)) as session:
            return await _turn(session, asked, heard)

    async def sit(self) -> None:
        """Begin a conversation."""
        target = self._target
        agent = target.agent(None)
        if target.setup.folder is not None:
            session = await target.runtime.open_session(agent)
        else:
            self._unnamed = target.runtime.session(agent)
            session = await self._unnamed.__aenter__()
        self._session, self._turns = session, 0
        target.sessions[session.id] = session

    async def rise(self) -> None:
        """End the conversation."""
        session, self._session = self._session, None
        if session is None:
            return
        del self._target.sessions[session.id]
        self._target.killed.pop(session.id, None)
        unnamed, self._unnamed = self._unnamed, None
        if unnamed is not None:
            await unnamed.__aexit__(None, None, None)
        else:
            await self._target.runtime.close_session(session.id)


async def _turn(session: Session, asked: Asked, heard: Listener) -> Ending:
    terminals, left = 0, False
    heard.begins()
    async with session.turn(asked.prompt) as turn:
        async for event in turn:
            if isinstance(event, ItemDelta):
                if event.kind == "message":
                    heard.text(event.text)
                    if heard.slow:
                        await heard.pace()
            elif isinstance(event, ItemCompleted):
                heard.completed(event)
            elif isinstance(event, TERMINAL_EVENTS):
                terminals += 1
            if heard.leaves:
                left = True
                break
    try:
        if left and turn.result.error is None:  # it ended by itself, just before the client left
            return Ending("cancelled", "left", tokens=turn.result.usage.output_tokens)
        return _ending(turn.result, terminals)
    except Conflict as error:  # it says that it has not ended, and it will not any more
        return Ending("lost", "no end", str(error))


def _ending(result: TurnResult, terminals: int) -> Ending:
    if result.error is not None:
        return ending_of_error(result.error)
    if terminals != 1:
        return Ending("lost", f"{terminals} terminal events", result.turn)
    return Ending("completed", tokens=result.usage.output_tokens)
