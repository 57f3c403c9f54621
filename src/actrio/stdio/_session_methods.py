"""``session/*``: open, look at, copy, let go of; and who gets their events."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import trio

from actrio.messages import PendingApproval, SessionView
from actrio.rpc import Call, Refused, fault
from actrio.runtime import Runtime
from actrio.stdio import _params as p
from actrio.stdio import _results as r
from actrio.stdio._agents import AgentChoice
from actrio.stdio._pump import SessionPump
from actrio.stdio._read import read_params
from actrio.stdio._sessions import ClientSession, ClientSessions
from actrio.stdio._turns import ClientTurns
from actrio.wire import json_line, plain

__all__ = ["SessionMethods", "approval_info"]

_CLOSE_SECONDS: Final = 1.0
"""For an orderly end of a session's turns. Only a client that does not read needs more."""

_PART_BYTES: Final = 512 * 1024
"""What one part of a history may take: it leaves room in a line for whatever it is quoted in."""


class SessionMethods:
    """What a client does with sessions.

    Args:
        runtime: Where they live.
        sessions: This client's.
        turns: This client's.
        agents: Whose sessions there can be.
    """

    def __init__(
        self,
        runtime: Runtime,
        sessions: ClientSessions,
        turns: ClientTurns,
        agents: AgentChoice,
    ) -> None:
        self._runtime = runtime
        self._sessions = sessions
        self._turns = turns
        self._agents = agents

    def calls(self) -> Mapping[str, Callable[[Call], Awaitable[Any]]]:
        return {
            "session/create": self._create,
            "session/list": self._list,
            "session/get": self._get,
            "session/history": self._history,
            "session/fork": self._fork,
            "session/close": self._close,
            "session/subscribe": self._subscribe,
            "session/unsubscribe": self._unsubscribe,
        }

    def _create(self, call: Call) -> Awaitable[Any]:
        params = read_params(call.method, call.params, p.SessionCreate)
        agent = self._agents.choose(params)
        own = self._sessions.create(params.id)
        own.if_busy = params.if_busy
        opened = own.line

        async def create() -> Any:
            try:
                session = await self._runtime.open_session(
                    agent,
                    id=params.id,
                    user=params.user,
                    labels=params.labels or None,
                    if_busy=params.if_busy,
                )
                self._sessions.opened(own, session)
                view = await session.view()
                pump = None
                if params.subscribe:
                    after = _after(call.method, params.from_, view)
                    pump = await self._sessions.subscribe(own, session, after)
                made = r.SessionCreated(
                    session=session.id,
                    agent=agent.name,
                    model=agent.model,
                    seq=view.seq,
                    subscribed=params.subscribe,
                )
                return _answered(call, made, pump)
            finally:
                if own.session is None:
                    self._sessions.forget(own)
                opened.set()

        return create()

    async def _list(self, call: Call) -> Any:
        params = read_params(call.method, call.params, p.WholeList)
        entries = await self._runtime.sessions(after=params.after, limit=params.limit)
        last = entries[-1].session if len(entries) == params.limit else None
        listed = [
            r.SessionEntryInfo(
                session=each.session,
                last_seq=each.last_seq,
                updated=each.updated,
                owner=each.owner or "",
                waiting=int(each.waiting),
            )
            for each in entries
        ]
        return r.told(r.SessionList(sessions=listed, next=last))

    async def _get(self, call: Call) -> Any:
        name = read_params(call.method, call.params, p.SessionNamed).session
        view = await self._view(name)
        own = self._sessions.find(name)
        return r.told(_info(view, subscribed=own is not None and own.pump is not None))

    async def _history(self, call: Call) -> Any:
        params = read_params(call.method, call.params, p.SessionHistory)
        history = (await self._view(params.session)).history
        messages: list[Mapping[str, Any]] = []
        size = 0
        for message in history[params.after : params.after + params.limit]:
            told = plain(message)
            size += len(json_line(told))
            # The first one always goes: where it is too long, blobs stand for parts of it.
            if messages and size > _PART_BYTES:
                break
            messages.append(told)
        end = params.after + len(messages)
        return r.told(
            r.SessionMessages(messages=messages, next=end if end < len(history) else None)
        )

    async def _view(self, name: str) -> SessionView:
        """Return a session as it is behind the requests that came before."""
        own = self._sessions.find(name)
        if own is not None:
            await own.line.wait()
        return await self._runtime.view(name)

    def _fork(self, call: Call) -> Awaitable[Any]:
        params = read_params(call.method, call.params, p.SessionFork)

        async def fork() -> Any:
            await self._view(params.session)
            name = await self._runtime.fork(params.session, at=params.at, new_id=params.id)
            return r.told(r.Forked(session=name))

        return fork()

    def _close(self, call: Call) -> Awaitable[Any]:
        params = read_params(call.method, call.params, p.SessionClose)
        own = self._sessions.place(params.session)
        before, after = own.stand_in_line()

        async def close() -> Any:
            try:
                await before.wait()
                await self._sessions.session(own)
                call.channel = own.name
                if params.mode == "cancel":
                    await self._cancel_turns(own)
                await self._runtime.close_session(own.name, mode=params.mode)
                await self._sessions.unsubscribe(own)
                self._sessions.closed(own, after)
                return r.told(r.Closed())
            finally:
                after.set()

        return close()

    async def _cancel_turns(self, own: ClientSession) -> None:
        """Cancel the client's turns there, and wait until it has been told."""
        with trio.move_on_after(_CLOSE_SECONDS):
            unended = self._turns.unended(own)
            for turn in unended:
                if own.session is not None:
                    own.session.cancel(turn.id, reason="session closed")
            for turn in unended:
                await turn.ended.wait()

    def _subscribe(self, call: Call) -> Awaitable[Any]:
        params = read_params(call.method, call.params, p.SessionSubscribe)
        own = self._sessions.place(params.session)
        before, after = own.stand_in_line()

        async def subscribe() -> Any:
            try:
                await before.wait()
                session = await self._sessions.session(own)
                view = await session.view()
                pump = await self._sessions.subscribe(
                    own, session, _after(call.method, params.from_, view)
                )
                return _answered(call, r.Subscribed(session=own.name, subscribed=True), pump)
            finally:
                after.set()

        return subscribe()

    def _unsubscribe(self, call: Call) -> Awaitable[Any]:
        name = read_params(call.method, call.params, p.SessionNamed).session
        own = self._sessions.place(name)
        before, after = own.stand_in_line()

        async def unsubscribe() -> Any:
            try:
                await before.wait()
                await self._sessions.session(own)
                await self._sessions.unsubscribe(own)
                # Behind what is queued of its events: nothing comes after this answer.
                call.channel = own.name
                return r.told(r.Subscribed(session=own.name, subscribed=False))
            finally:
                after.set()

        return unsubscribe()


def _answered(call: Call, result: Any, pump: SessionPump | None) -> None:
    """Answer, and only then let the events come that the client has asked for."""
    call.respond(r.told(result))
    if pump is not None:
        pump.go.set()


def _after(method: str, asked: int | None, view: SessionView) -> int:
    """Return the bookmark to begin behind; without one, that of now, so that nothing is missed.

    Raises:
        Refused: It is ahead of the session: what came until then would be left out unsaid.
    """
    if asked is not None and asked > view.seq:
        text = f"{method}: the session has no event {asked} yet; its last one is {view.seq}."
        raise Refused(fault("invalid_params", text, pointers=["/from"]))
    return view.seq if asked is None else asked


def _info(view: SessionView, *, subscribed: bool) -> r.SessionInfo:
    return r.SessionInfo(
        session=view.session,
        agent=view.agent,
        model=view.model,
        status=view.status,
        user=view.user,
        labels=dict(view.labels),
        state=dict(view.state),
        summary=view.summary,
        messages=len(view.history),
        turns=[
            r.TurnInfo(
                turn=each.turn,
                state=each.state,
                reason=each.reason,
                resumable=each.resumable,
                seq=each.seq,
                end_seq=each.end_seq,
                text=each.text,
            )
            for each in view.turns
        ],
        approvals=[approval_info(each) for each in view.approvals],
        usage=view.metrics.usage,
        parent=view.parent,
        created_at=view.created_at,
        updated_at=view.updated_at,
        seq=view.seq,
        last_seq=view.last_seq,
        subscribed=subscribed,
    )


def approval_info(pending: PendingApproval) -> r.ApprovalInfo:
    """Return what waits for a person, as the wire tells it."""
    call = pending.call
    return r.ApprovalInfo(
        session=pending.session,
        turn=pending.turn,
        approval=pending.approval,
        about=pending.about,
        question=pending.question,
        choices=list(pending.choices),
        call=None if call is None else r.call_told(call),
        asked_at=pending.asked_at,
    )
