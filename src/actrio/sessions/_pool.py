"""The session pool: which sessions there are, who holds them open, and what is done to them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, Final, Literal

import attrs
import trio

from actrio.actors import ActorSystem, ChildSpec, Ref, RouteSpec
from actrio.agents import Agent, OpenModel
from actrio.errors import (
    ActorStopped,
    ActrioError,
    Conflict,
    InvalidRequest,
    NotFound,
    Overloaded,
    SessionOwned,
    StorageError,
)
from actrio.feeds import STALL_SECONDS
from actrio.filters import Filter
from actrio.journal import PassingStore, Record, SessionEntry
from actrio.messages import (
    AnswerApproval,
    CancelTurn,
    ChangeState,
    CompactHistory,
    IfBusy,
    OpenSession,
    PendingApproval,
    ReadSession,
    RewindSession,
    SessionView,
    StartTurn,
    TurnEvent,
    WaitTurn,
)
from actrio.sessions._desk import Feeds, SessionDesk
from actrio.sessions._forks import Parents, fork_records
from actrio.sessions._journal import Store, read_records, read_state, replay_from
from actrio.sessions._known_agents import KnownAgents
from actrio.sessions._line import TurnSlots
from actrio.sessions._session import Session
from actrio.sessions._session_actor import (
    BeginSession,
    KeepWhole,
    RemoveSession,
    RunTurn,
    SessionActor,
    StopTurns,
)
from actrio.tools import ToolLimits

__all__ = ["PoolLimits", "SessionPool"]

HANDLINGS_MAX: Final = 100_000
"""Deferred handlings of one session. It bounds nothing: its turns are bounded by ``queue_max``, and
those who wait for their ends by `WAITERS_MAX`; whoever was held up here would hold up answers."""

OWNED_POLL_SECONDS: Final = 0.25
"""How often to look whether another process has let go of a session that is waited for."""


@attrs.frozen(slots=True, kw_only=True)
class PoolLimits:
    """Bounds of all sessions together, see `actrio.runtime.Limits`."""

    turns: int
    turns_waiting: int = 10_000
    sessions: int
    resident: int
    idle_seconds: float
    tool_threads: int
    stall_seconds: float = STALL_SECONDS
    approval_seconds: float = 60.0
    retention_seconds: float | None = None


@attrs.define(slots=True, eq=False)
class _Opened:
    agent: Agent
    ref: Ref[Any]
    holders: int = 1
    passing: bool = False  # has no name: nothing of it is kept


class SessionPool:
    """Opens and closes sessions, each under a restart budget of its own.

    Args:
        system: Where the actors live.
        store: Where sessions are kept.
        open_model: Finds the provider connection of a model string.
        filters: The runtime's filters.
        limits: Bounds.
        owner: Who writes, in words for another process that is refused.
        redact: Takes out of a record what must not be kept.
        clock: Seconds since the epoch.
        new_id: Makes an id with a prefix.
    """

    def __init__(
        self,
        system: ActorSystem,
        *,
        store: Store,
        open_model: OpenModel,
        filters: tuple[Filter, ...],
        limits: PoolLimits,
        owner: str,
        clock: Callable[[], float],
        new_id: Callable[[str], str],
        redact: Callable[[Record], Record] | None = None,
    ) -> None:
        self._system = system
        self._store = store
        self._limits = limits
        self._new_id = new_id
        self.agents = KnownAgents(
            system,
            filters=filters,
            open_model=open_model,
            # One box for all sessions of an agent: each turn that runs may have a tool at work.
            tool_limits=ToolLimits(parallel_max=limits.turns, threads_max=limits.tool_threads),
        )
        self.slots = TurnSlots(limits.turns, limits.turns_waiting)
        # Sessions without a name live as long as their block; they are never in the real store.
        self._passing_store = PassingStore(now=clock)
        self._passing: set[str] = set()
        self._opened: dict[str, _Opened] = {}
        # Being stopped: a name is free again only when its last actor is gone.
        self._going: dict[str, Ref[Any]] = {}
        # Opening has several steps: one at a time for each name, so that it is taken once.
        self._opening: dict[str, trio.Lock] = {}
        self._parents = Parents(store, self.ref)
        self._desk = SessionDesk(
            store_of=self._store_of,
            passing=self._passing,
            owner=owner,
            prepare=self.agents.prepare,
            agent=self.agents.definition,
            slots=self.slots,
            feeds=Feeds(self._store_of, clock=clock, stall_seconds=limits.stall_seconds),
            clock=clock,
            new_id=new_id,
            approval_seconds=limits.approval_seconds,
            retention_seconds=limits.retention_seconds,
            redact=redact,
        )

    async def start(self) -> None:
        """Start the supervisors; sessions last, so that they are stopped first."""
        await self.agents.start()
        accepts = (
            StartTurn,
            OpenSession,
            ReadSession,
            WaitTurn,
            ChangeState,
            AnswerApproval,
            CompactHistory,
            RewindSession,
            CancelTurn,
            RunTurn,
            BeginSession,
            KeepWhole,
            StopTurns,
            RemoveSession,
        )
        await self._system.route(
            RouteSpec(
                "/sessions/{id}",
                lambda values: SessionActor(values["id"], self._desk),
                idle_seconds=self._limits.idle_seconds,
                resident_max=self._limits.resident,
                child=ChildSpec(
                    "session",
                    _routed,
                    restart="transient",  # one that was removed ends by itself
                    accepts=accepts,
                    concurrency=HANDLINGS_MAX,
                ),
            )
        )

    def close(self) -> None:
        """End all subscriptions; the actors are stopped by their system."""
        self._desk.feeds.close()

    def _store_of(self, session: str) -> Store:
        return self._passing_store if session in self._passing else self._store

    # -- opening and closing -----------------------------------------------------------------------

    async def open(
        self,
        agent: Agent | None,
        *,
        id: str | None = None,
        passing: bool = False,
        pin: bool = False,
        if_busy: IfBusy | None = None,
        insist: bool = False,
        wait: bool = False,
        **about: Any,
    ) -> Session:
        """Open a session, or hold one open that is open already; see `Runtime.open_session`.

        Args:
            agent: Whose session; the one that its record names where None.
            id: Its id; a new one where None.
            passing: Nothing of it is kept when it is closed.
            pin: It stays in memory while it is held.
            if_busy: For all turns of this holder.
            insist: Take it from another process that writes it.
            wait: Wait until another process has let go of it.
            about: User, labels and cache policy of a new session.
        """
        session_id = id if id is not None else self._new_id("s")
        lock = self._opening.setdefault(session_id, trio.Lock())
        try:
            async with lock:
                return await self._open(
                    agent, session_id, passing, pin, if_busy, insist=insist, wait=wait, about=about
                )
        finally:
            if not lock.locked():
                self._opening.pop(session_id, None)

    async def _open(
        self,
        agent: Agent | None,
        session_id: str,
        passing: bool,
        pin: bool,
        if_busy: IfBusy | None,
        *,
        insist: bool,
        wait: bool,
        about: dict[str, Any],
    ) -> Session:
        if (going := self._going.get(session_id)) is not None:
            await self._system.stop(going)
            self._going.pop(session_id, None)
        opened = self._opened.get(session_id)
        if opened is None:
            if len(self._opened) >= self._limits.sessions:
                raise Overloaded(
                    f"{self._limits.sessions} sessions are open.",
                    remedy="Close some, or raise limits.sessions.",
                    data={"limit": self._limits.sessions},
                )
            try:
                if passing:
                    self._passing.add(session_id)
                opened = await self._first_holder(agent, session_id, insist, wait, about)
            except BaseException:
                self._passing.discard(session_id)
                raise
        else:
            if agent is not None and opened.agent != agent:
                raise _other_agent(session_id, opened.agent.name)
            opened.holders += 1
        if pin:
            self._desk.pins[session_id] = self._desk.pins.get(session_id, 0) + 1
            if session_id not in self._desk.live:
                await self._woken(session_id, opened)
        return Session(session_id, opened.agent, opened.ref, self._desk, if_busy)

    async def _woken(self, session_id: str, opened: _Opened) -> None:
        """Wake a session for a holder who is in the books already, and is taken out if it fails."""
        try:
            await opened.ref.ask(ReadSession())
        except BaseException:
            with trio.CancelScope(shield=True) as scope:
                scope.deadline = trio.current_time() + self._system.cancel_grace_seconds
                await self.close_session(session_id, pinned=True)
            raise

    async def _first_holder(
        self,
        agent: Agent | None,
        session_id: str,
        insist: bool,
        wait: bool,
        about: dict[str, Any],
    ) -> _Opened:
        if agent is None:
            agent = self.agents.definition((await self.view(session_id)).agent)
        await self.agents.actor(agent)
        self.agents.hold(agent.name)
        try:
            # First: what stands in the session's line begins when it is open.
            self.agents.register(agent)
            ref = self.ref(session_id)
            message = OpenSession(agent.name, agent.model, insist=insist, **about)
            view = await self._asked(ref, message, wait=wait)
        except BaseException:
            self.agents.let_go(agent.name)
            raise
        passing = session_id in self._passing
        if not passing:
            self._parents.remember(session_id, view.parent)
        opened = self._opened[session_id] = _Opened(agent, ref, passing=passing)
        return opened

    async def _asked(self, ref: Ref[Any], message: OpenSession, *, wait: bool) -> SessionView:
        while True:
            try:
                view: SessionView = await ref.ask(message)
            except SessionOwned:
                if not wait:
                    raise
            else:
                return view
            await trio.sleep(OWNED_POLL_SECONDS)

    def ref(self, session_id: str) -> Ref[Any]:
        """Return a session's address, whether there is such a session or not.

        Raises:
            InvalidRequest: It cannot be a session's id.
        """
        if not session_id or "/" in session_id:
            raise InvalidRequest(
                f"{session_id!r} cannot be a session's id.",
                remedy="Use 1 to 200 printable characters without a slash.",
            )
        return self._system.ref(f"/sessions/{session_id}")

    async def close_session(
        self,
        session_id: str,
        *,
        pinned: bool = False,
        mode: Literal["detach", "after_turn", "cancel"] = "cancel",
    ) -> None:
        """Let go of a session; with its last holder its turns end, as ``mode`` says.

        *Cancellation*: the session is let go of; its actor ends on its own, within its bound.
        """
        opened = self._opened.get(session_id)
        if opened is None:
            return
        if pinned and session_id in self._desk.pins:  # else it was deleted, and made anew
            self._desk.pins[session_id] -= 1
            if not self._desk.pins[session_id]:
                del self._desk.pins[session_id]
        opened.holders -= 1
        if opened.holders:
            return
        del self._opened[session_id]
        self.agents.let_go(opened.agent.name)
        if mode == "detach" and not opened.passing:
            return
        if mode == "after_turn":
            await self._until_idle(session_id, opened.ref)
            if session_id in self._opened:
                return  # somebody has opened it meanwhile, and holds it
        self._going[session_id] = opened.ref
        try:
            state = self._desk.live.get(session_id)
            if state is not None and state.open:
                with contextlib.suppress(ActrioError):  # where it cannot be told, it is stopped
                    await opened.ref.ask(StopTurns())
            with contextlib.suppress(ActorStopped):  # with the whole tree
                await self._system.stop(opened.ref)
            if opened.passing:
                store = self._passing_store
                await store.remove(await store.claim(session_id, "nobody", insist=True))
        finally:
            self._passing.discard(session_id)
        # Not where this was cancelled: whoever opens it next waits for its actor's end.
        self._going.pop(session_id, None)

    async def _until_idle(self, session_id: str, ref: Ref[Any]) -> None:
        while (state := self._desk.live.get(session_id)) is not None and state.line:
            if state.open[state.line[0]].waits:
                return  # for a person, perhaps for days
            await ref.ask(WaitTurn(state.line[0]))

    @property
    def open_count(self) -> int:
        return len(self._opened)

    @property
    def resident_count(self) -> int:
        return len(self._desk.live)

    # -- what is known of sessions, open or not ----------------------------------------------------

    async def list(self, *, after: str = "", limit: int = 100) -> tuple[SessionEntry, ...]:
        """Return sessions of the store in the order of their ids."""
        return await self._store.list(after=after, limit=limit)

    async def view(self, session_id: str) -> SessionView:
        """Return a session as a value, read from the store where it is not in memory.

        Raises:
            NotFound: There is no such session.
        """
        state = self._desk.live.get(session_id)
        if state is None or not state.agent:
            state = await read_state(self._store_of(session_id), session_id)
        else:
            await trio.lowlevel.checkpoint()
        return state.view()

    async def events(
        self, session_id: str, *, from_seq: int = 0, limit: int = 1000
    ) -> tuple[TurnEvent, ...]:
        """Return recorded events behind ``from_seq``, from the journal."""
        found = await replay_from(
            self._store_of(session_id), session_id, from_seq, events_max=limit
        )
        return tuple(found.events[:limit])  # type: ignore[arg-type]

    async def approvals(self, *, after: str = "", limit: int = 100) -> tuple[PendingApproval, ...]:
        """Return what waits for a person in any session, asleep or not."""
        found: list[PendingApproval] = []
        for entry in await self._store.list(after=after, limit=limit, waiting_only=True):
            with contextlib.suppress(NotFound):  # deleted since
                found += (await self.view(entry.session)).approvals
        return tuple(found)

    async def answer(self, session_id: str, message: AnswerApproval) -> None:
        """Hand a person's decision to a session, which wakes it."""
        await self.ref(session_id).ask(message)

    async def rewind(self, session_id: str, to_seq: int) -> SessionView:
        """Take back what came after record ``to_seq``."""
        view: SessionView = await self.ref(session_id).ask(RewindSession(to_seq))
        return view

    async def fork(self, session_id: str, *, at: int | None, new_id: str | None) -> str:
        """Make a session that begins with another one's history, by reference.

        Raises:
            NotFound: There is no such session.
            InvalidRequest: It has no record ``at``.
            Conflict: The new id is taken.
        """
        store = self._store_of(session_id)
        records = await read_records(store, session_id, at)
        parent = await read_state(store, session_id, records[-1].seq)
        child = new_id if new_id is not None else self._new_id("s")
        self.ref(child)
        # What is passing leaves no records, and what a checkpoint stands for may be trimmed.
        trimmed = self._limits.retention_seconds is not None
        made = fork_records(parent, records, child, copy=trimmed or session_id in self._passing)
        await self.ref(child).ask(BeginSession(made))
        return child

    async def delete(self, session_id: str) -> None:
        """Remove a session with all its records; forks that begin with it get a copy first.

        Raises:
            NotFound: There is no such session.
            SessionOwned: Another process writes it.
        """
        await self._parents.copy_to_forks(session_id)
        opened = self._opened.pop(session_id, None)
        if opened is not None:
            self.agents.let_go(opened.agent.name)
            self._desk.pins.pop(session_id, None)
        await self.ref(session_id).ask(RemoveSession())

    async def prune(self, older_than_seconds: float) -> int:
        """Remove sessions that are not open and were last written longer ago; return how many.

        One that another process has open, or that cannot be read, is left as it is.
        """
        oldest = self._desk.clock() - older_than_seconds
        removed, after = 0, ""
        while entries := await self._store.list(after=after, limit=1000):
            after = entries[-1].session
            for entry in entries:
                if entry.updated >= oldest or entry.session in self._opened or entry.waiting:
                    continue
                try:
                    await self.delete(entry.session)
                except (Conflict, NotFound, StorageError):
                    continue
                removed += 1
        return removed


def _routed() -> Any:
    raise AssertionError("a route makes its own factory")


def _other_agent(session_id: str, name: str) -> Conflict:
    return Conflict(
        f"Session {session_id} belongs to agent {name!r}.",
        remedy="Open it with that agent, or use another id.",
    )
