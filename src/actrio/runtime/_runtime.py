"""The composition root: opens the tree that everything runs in.

::

    /                    root supervisor
    ├── providers        one connection actor per provider, and the local model's server
    ├── agents           one actor per definition: tool switches, limits
    └── sessions         one actor per session in memory, each with a restart budget of its own

Started in this order and stopped in reverse: sessions end while their providers still answer.
"""

from __future__ import annotations

import os
import secrets
import socket
import time
import traceback
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Literal

import attrs
import trio

from actrio.actors import ActorCrashed, ActorSnapshot, ActorSystem, open_actor_system
from actrio.agents import Agent
from actrio.errors import InvalidRequest
from actrio.filters import Filter
from actrio.journal import LargeValues, SessionEntry
from actrio.messages import (
    AnswerApproval,
    EmbedInput,
    EmbedOutput,
    IfBusy,
    PendingApproval,
    SessionView,
    SetTool,
    TurnEvent,
)
from actrio.providers import Connections
from actrio.runtime._secrets import record_redactor
from actrio.runtime._settings import Settings
from actrio.runtime._stores import open_store, start_housekeeping
from actrio.sessions import PoolLimits, Session, SessionPool
from actrio.telemetry import RoomLog, keep_logs_off_stdout

__all__ = ["Runtime", "RuntimeStatistics", "open_runtime"]

_log = RoomLog("actrio.runtime")


@attrs.frozen(slots=True, kw_only=True)
class RuntimeStatistics:
    """How full the runtime is. Each pair is what is measured, and the configured bound."""

    turns_running: int
    turns_waiting: int
    turns_peak: int
    turns_max: int
    turns_waiting_max: int
    turns_refused: int
    sessions_open: int
    sessions_max: int
    sessions_resident: int
    sessions_resident_max: int
    restarts: int
    dead_letters: Mapping[str, int]


class Runtime:
    """A running actrio; made by `open_runtime`.

    Attributes:
        store: Where sessions are kept.
        blobs: Where large values are kept.
    """

    def __init__(
        self,
        system: ActorSystem,
        settings: Settings,
        connections: Connections,
        pool: SessionPool,
        store: LargeValues,
    ) -> None:
        self.system = system
        self.settings = settings
        self.connections = connections
        self.store = store
        self.blobs = store.blobs
        self._pool = pool
        self._crashes = _Crashes()
        system.observe(self._crashes.told)

    # -- sessions that are held open ---------------------------------------------------------------

    @asynccontextmanager
    async def session(
        self,
        agent: Agent,
        *,
        id: str | None = None,
        user: str = "",
        if_busy: IfBusy | None = None,
        insist: bool = False,
        wait: bool = False,
    ) -> AsyncIterator[Session]:
        """Open a session for the length of a block.

        A session with an ``id`` is kept in the store, can be opened again later, and by several
        blocks at once; one without is forgotten when its block is left.

        Args:
            agent: Whose session.
            id: Its id: 1 to 200 printable characters without a slash.
            user: Whom a new session belongs to, for the record.
            if_busy: In place of the agent's own policy, for turns of this block.
            insist: Take it from another process that has it open; that one is refused from then on.
            wait: Wait until another process has let go of it.

        *Cancellation*: the session's turns have ended when the block has been left.

        Raises:
            Conflict: The id belongs to another agent's session.
            SessionOwned: Another process has it open; says which.
            Overloaded: As many sessions are open as there may be.
            StorageError: Its journal cannot be read or written.
        """
        session = await self._pool.open(
            agent,
            id=id,
            passing=id is None,
            pin=True,
            if_busy=if_busy,
            insist=insist,
            wait=wait,
            user=user,
        )
        try:
            yield session
        finally:
            with trio.CancelScope(shield=True) as scope:
                scope.deadline = trio.current_time() + self.system.cancel_grace_seconds
                await self._pool.close_session(session.id, pinned=True)

    async def open_session(
        self,
        agent: Agent | str,
        *,
        id: str | None = None,
        user: str = "",
        labels: Mapping[str, str] | None = None,
        cache_policy: str = "",
        if_busy: IfBusy | None = None,
        insist: bool = False,
        wait: bool = False,
    ) -> Session:
        """Open a session that stays open until `close_session`, for servers.

        It is kept in the store under its id, a new one where none is given, and leaves memory
        while it is idle.

        Raises:
            Conflict, SessionOwned, Overloaded, StorageError: As in `session`.
            NotFound: No agent has that name.
        """
        found = self._pool.agents.definition(agent) if isinstance(agent, str) else agent
        return await self._pool.open(
            found,
            id=id,
            if_busy=if_busy,
            insist=insist,
            wait=wait,
            user=user,
            labels=dict(labels or {}),
            cache_policy=cache_policy,
        )

    async def reopen(self, id: str, *, insist: bool = False, wait: bool = False) -> Session:
        """Open a session that there is, with the agent that its record names.

        Raises:
            NotFound: There is no such session, or its agent is not registered here.
            SessionOwned: Another process has it open.
        """
        return await self._pool.open(None, id=id, insist=insist, wait=wait)

    async def close_session(
        self, id: str, *, mode: Literal["detach", "after_turn", "cancel"] = "cancel"
    ) -> None:
        """Let go of a session that `open_session` opened; unknown ids are left as they are.

        Args:
            id: The session's id.
            mode: What becomes of its turns with its last holder: they go on (``detach``), are
                waited for (``after_turn``), or end now (``cancel``).
        """
        await self._pool.close_session(id, mode=mode)

    # -- all sessions, open or not -----------------------------------------------------------------

    async def sessions(self, *, after: str = "", limit: int = 100) -> tuple[SessionEntry, ...]:
        """Return the sessions of the store in the order of their ids.

        Args:
            after: Begin behind this id.
            limit: Most sessions of one answer.
        """
        return await self._pool.list(after=after, limit=limit)

    async def view(self, id: str) -> SessionView:
        """Return a session as a value, without opening it; also one that another process has open.

        Raises:
            NotFound: There is no such session.
        """
        return await self._pool.view(id)

    async def events(
        self, id: str, *, from_seq: int = 0, limit: int = 1000
    ) -> tuple[TurnEvent, ...]:
        """Return a session's recorded events behind ``from_seq``, as they were sent.

        They come from the journal: no provider is called and no tool is run.
        """
        return await self._pool.events(id, from_seq=from_seq, limit=limit)

    async def fork(self, id: str, *, at: int | None = None, new_id: str | None = None) -> str:
        """Make a session that begins with the history of another one; return its id.

        The history stands in the other's journal and is not copied. What is open there at that
        record is ended in the new session.

        Args:
            id: The session to begin with.
            at: Its last record that counts; all where None.
            new_id: The new session's id; a made-up one where None.

        Raises:
            NotFound: There is no such session.
            InvalidRequest: It has no such record.
            Conflict: There is a session ``new_id`` already.
        """
        return await self._pool.fork(id, at=at, new_id=new_id)

    async def rewind(self, id: str, to: int) -> SessionView:
        """Take back what came after record ``to``: it is kept, and no longer counts.

        What it cost stays counted, and what tools did stays done.

        Raises:
            NotFound: There is no such session.
            InvalidRequest: It has no such record.
            Conflict: A turn is open.
        """
        return await self._pool.rewind(id, to)

    async def delete_session(self, id: str) -> None:
        """End a session's turns and remove it with all its records.

        Raises:
            NotFound: There is no such session.
            SessionOwned: Another process has it open.
        """
        await self._pool.delete(id)

    async def prune(self, older_than_seconds: float) -> int:
        """Remove sessions that are not open and were last written longer ago; return how many."""
        return await self._pool.prune(older_than_seconds)

    async def approvals(self, *, after: str = "", limit: int = 100) -> tuple[PendingApproval, ...]:
        """Return what waits for a person in any session, asleep or not.

        Args:
            after: Begin behind this session's id.
            limit: Most sessions of one answer.
        """
        return await self._pool.approvals(after=after, limit=limit)

    async def answer(
        self,
        session: str,
        approval: str,
        decision: Literal["approved", "denied", "answered"],
        *,
        answer: str = "",
        by: str = "",
        note: str = "",
    ) -> None:
        """Decide what a person was asked in any session, which wakes it; see `Session.answer`.

        Raises:
            NotFound: It was decided already, or its turn has ended.
        """
        message = AnswerApproval(approval, decision, answer, by, note)
        await self._pool.answer(session, message)

    # -- agents ------------------------------------------------------------------------------------

    def register(self, agent: Agent) -> None:
        """Let ``agent`` be found by its name, by servers and by sessions that wake.

        Raises:
            Conflict: Another definition has that name, and sessions of it are open.
        """
        self._pool.agents.register(agent)

    def agents(self) -> tuple[Agent, ...]:
        """Return all agents that can be found by name."""
        return self._pool.agents.definitions

    def agent(self, name: str) -> Agent:
        """Return the agent of that name.

        Raises:
            NotFound: There is none.
        """
        return self._pool.agents.definition(name)

    async def set_tool(self, agent: Agent, name: str, *, enabled: bool) -> None:
        """Switch one of an agent's tools on or off, from the next turn on.

        Raises:
            NotFound: The agent has no such tool.
        """
        self._pool.agents.register(agent)
        ref = await self._pool.agents.actor(agent)
        await ref.ask(SetTool(name, enabled))

    async def embed(
        self,
        model: str,
        texts: Sequence[str],
        *,
        dimensions: int | None = None,
        purpose: Literal["query", "document"] | None = None,
    ) -> EmbedOutput:
        """Return one vector for each text, in order; as many requests as the vendor needs.

        Args:
            model: ``provider:model``, for example ``openai:text-embedding-3-small``.
            texts: What to embed.
            dimensions: Length of the vectors, where the model can choose.
            purpose: What they are for, where the vendor makes a difference.

        *Cancellation*: the provider's connections are closed when this returns.

        Raises:
            InvalidRequest: There is no text, or one of them is empty.
            NotSupported: The provider has no embeddings; says who has.
            ProviderError: As for a model call.
        """
        if isinstance(texts, str) or not texts or not all(text.strip() for text in texts):
            raise InvalidRequest(
                "embed needs at least one text, and no empty ones.",
                remedy="Pass a list of non-empty strings.",
            )
        connection, name = await self.connections.open(model)
        output: EmbedOutput = await connection.ask(
            EmbedInput(name, tuple(texts), dimensions, purpose)
        )
        return output

    def tree(self) -> ActorSnapshot:
        """Return the live tree of actors."""
        return self.system.tree()

    def statistics(self) -> RuntimeStatistics:
        return RuntimeStatistics(
            turns_running=self._pool.slots.taken,
            turns_waiting=self._pool.slots.waiting,
            turns_peak=self._pool.slots.peak,
            turns_max=self.settings.limits.turns,
            turns_waiting_max=self.settings.limits.turns_waiting,
            turns_refused=self._pool.slots.refused,
            sessions_open=self._pool.open_count,
            sessions_max=self.settings.limits.sessions,
            sessions_resident=self._pool.resident_count,
            sessions_resident_max=self.settings.limits.sessions_resident,
            restarts=self._crashes.restarts,
            dead_letters={str(k): v for k, v in self.system.dead_letters.counts.items()},
        )


@asynccontextmanager
async def open_runtime(
    settings: Settings | None = None,
    *,
    filters: Sequence[Filter] = (),
    env: Mapping[str, str] | None = None,
    clock: Callable[[], float] = time.time,
    new_id: Callable[[str], str] | None = None,
) -> AsyncIterator[Runtime]:
    """Open a runtime inside the running Trio program; leaving the block stops all of it.

    Several runtimes can live in one program: nothing is shared and nothing is global. No signal
    is handled and no event loop started.

    Args:
        settings: Providers, limits, local model; defaults where None.
        filters: Filters around every agent's own.
        env: Where keys are looked up; the process's environment where None.
        clock: Seconds since the epoch, for events.
        new_id: Makes an id from its prefix; random where None.

    *Cancellation*: every turn, stream, tool and child process has ended when the block has been
    left, and what was acknowledged is in the store.

    *Failure*: a crash inside is handled by supervision and shows in `Runtime.tree`; the block
    raises only its own errors, and `RestartBudgetExceeded` if a part that everything needs
    cannot be kept alive.
    """
    settings = settings if settings is not None else Settings()
    env = os.environ if env is None else env
    keep_logs_off_stdout()
    async with (
        open_store(settings.store, env=env, now=clock) as store,
        open_actor_system() as system,
    ):
        connections = Connections(
            system, settings=settings.providers, env=env, local=settings.local
        )
        await connections.start()
        pool = SessionPool(
            system,
            store=store,
            open_model=connections.open,
            filters=tuple(filters),
            limits=_pool_limits(settings),
            owner=f"process {os.getpid()} on {socket.gethostname()}",
            redact=record_redactor(env, settings.store.redact_fields),
            clock=clock,
            new_id=new_id or _random_id,
        )
        await pool.start()
        await start_housekeeping(system, pool, settings.store.retention_seconds)
        try:
            yield Runtime(system, settings, connections, pool, store)
        finally:
            pool.close()


def _pool_limits(settings: Settings) -> PoolLimits:
    limits = settings.limits
    return PoolLimits(
        turns=limits.turns,
        turns_waiting=limits.turns_waiting,
        sessions=limits.sessions,
        resident=limits.sessions_resident,
        idle_seconds=limits.idle_seconds,
        tool_threads=limits.tool_threads,
        stall_seconds=limits.stall_seconds,
        approval_seconds=limits.approval_seconds,
        retention_seconds=settings.store.retention_seconds,
    )


def _random_id(prefix: str) -> str:
    return f"{prefix}_{secrets.token_hex(6)}"


class _Crashes:
    """Logs each crash, and counts the restarts of actors that may be gone by now."""

    def __init__(self) -> None:
        self.restarts = 0

    def told(self, notice: ActorCrashed) -> None:
        self.restarts += notice.restart_in_seconds is not None
        _log_crash(notice)


def _log_crash(notice: ActorCrashed) -> None:
    _log.error(
        "actor crashed",
        path=notice.path,
        error=repr(notice.error),
        restart_in_seconds=notice.restart_in_seconds,
        # As text: a renderer of exceptions may print local variables, and with them secrets.
        traceback="".join(traceback.format_exception(notice.error)) if notice.error else None,
    )
