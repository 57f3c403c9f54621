"""``turn/*``: begin, wait, steer, cancel.

A request to begin a turn stands in its session's line, is accepted by the session (recorded, then
acknowledged), and from then on the turn goes on by itself; its events come by the session's
subscription. ``turn/wait`` and ``wait`` answer behind the last of them.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import trio

from actrio.errors import ActrioError, Conflict
from actrio.messages import Document, IfBusy, Image, Text, TurnAccepted, TurnResult
from actrio.rpc import Call, Connection, Refused, fault
from actrio.runtime import Session
from actrio.stdio import _params as p
from actrio.stdio import _results as r
from actrio.stdio._event_lines import result_told
from actrio.stdio._profile import ClientProfile
from actrio.stdio._read import read_params
from actrio.stdio._sessions import ClientSession, ClientSessions
from actrio.stdio._turns import ClientTurn, ClientTurns

__all__ = ["TurnMethods"]

Accept = Callable[[Session, str], Awaitable[TurnAccepted]]


class TurnMethods:
    """What a client does with turns.

    Args:
        connection: The client.
        sessions: Its sessions.
        turns: Its turns.
        profile: Returns what it said of itself.
    """

    def __init__(
        self,
        connection: Connection,
        sessions: ClientSessions,
        turns: ClientTurns,
        profile: Callable[[], ClientProfile],
    ) -> None:
        self._connection = connection
        self._sessions = sessions
        self._turns = turns
        self._profile = profile
        self._tasks: trio.Nursery | None = None
        self._stopped = False

    def run_in(self, tasks: trio.Nursery) -> None:
        """Let deadlines and the like wait in ``tasks``."""
        self._tasks = tasks

    def stop(self) -> None:
        """Begin no further turn, not even one whose request is here already."""
        self._stopped = True

    def calls(self) -> Mapping[str, Callable[[Call], Awaitable[Any]]]:
        return {
            "turn/start": self._start,
            "turn/steer": self._steer,
            "turn/wait": self._wait,
        }

    # Beginning

    def _start(self, call: Call) -> Awaitable[Any]:
        params = read_params(call.method, call.params, p.TurnStart)
        accept = self._accepting(params)
        return self._begun(
            call,
            params.session,
            accept,
            params.if_busy,
            wait=params.wait,
            deadline_ms=params.deadline_ms,
        )

    def _steer(self, call: Call) -> Awaitable[Any]:
        params = read_params(call.method, call.params, p.TurnSteer)
        content = _content(call.method, params.prompt, params.parts)
        return self._begun(call, params.session, self._submitting(content, "steer", ""), "steer")

    def _accepting(self, params: p.TurnStart) -> Accept:
        if params.resume is None or params.resume is False:
            content = _content("turn/start", params.prompt, params.parts)
            return self._submitting(content, params.if_busy, params.idempotency_key or "")
        if params.prompt is not None or params.parts is not None:
            raise _wrong("turn/start", "takes no prompt and no parts with resume", "/resume")
        which = None if params.resume is True else params.resume

        async def resume(session: Session, id: str) -> TurnAccepted:
            return await session.resume(which, id=id)

        return resume

    def _submitting(
        self, content: str | list[Text | Image | Document], if_busy: IfBusy | None, key: str
    ) -> Accept:
        async def submit(session: Session, id: str) -> TurnAccepted:
            caller = self._profile().name
            return await session.submit(content, if_busy=if_busy, id=id, key=key, caller=caller)

        return submit

    def _begun(
        self,
        call: Call,
        name: str,
        accept: Accept,
        if_busy: IfBusy | None,
        *,
        wait: bool = False,
        deadline_ms: int | None = None,
    ) -> Awaitable[Any]:
        """Stand in the session's line; the rest is awaited."""
        own = self._sessions.place(name)
        before, after = own.stand_in_line()
        self._turns.starting(+1)

        async def begin() -> Any:
            try:
                await before.wait()
                session = await self._sessions.session(own)
                turn, accepted = await self._accept(own, session, accept, if_busy)
            finally:
                after.set()
                self._turns.starting(-1)
            if deadline_ms is not None:
                assert self._tasks is not None
                self._tasks.start_soon(self._cancel_at, turn, session, deadline_ms / 1000)
            if wait:
                turn.answered.set()
                call.on_cancel = lambda: session.cancel(turn.id, reason="request cancelled")
                return await self._result(call, own, session, turn.id)
            told = r.TurnAcceptedInfo(
                turn=turn.id, position=accepted.position, seq=accepted.seq, joined=accepted.joined
            )
            call.respond(r.told(told))
            turn.answered.set()
            return None

        return begin()

    async def _accept(
        self, own: ClientSession, session: Session, accept: Accept, if_busy: IfBusy | None
    ) -> tuple[ClientTurn, TurnAccepted]:
        turn = self._turns.begin(f"t_{secrets.token_hex(6)}", own)
        accepted: TurnAccepted | None = None
        try:
            if self._stopped:
                raise Conflict("This connection is shutting down.", remedy="Start a new one.")
            accepted = await accept(session, turn.id)
        finally:
            if accepted is None or accepted.turn != turn.id:
                self._turns.refused(turn)
        if accepted.turn != turn.id:
            turn = self._turns.find(accepted.turn) or self._turns.begin(accepted.turn, own)
        # What the running turn takes in has no events of its own.
        if own.pump is None or accepted.joined or own.steers(if_busy):
            self.watch(turn)
        return turn, accepted

    async def _cancel_at(self, turn: ClientTurn, session: Session, seconds: float) -> None:
        with trio.move_on_after(seconds):
            await turn.ended.wait()
        if not turn.ended.is_set():
            session.cancel(turn.id, reason="deadline")

    # Ending

    def watch(self, turn: ClientTurn) -> None:
        """Learn of a turn's end from its session, because no event will tell."""
        assert self._tasks is not None
        self._tasks.start_soon(self._watch, turn)

    async def _watch(self, turn: ClientTurn) -> None:
        session = turn.session.session
        try:
            if session is not None:
                await session.wait(turn.id)
                if turn.session.pump is not None:
                    await self._told(turn.session, session)
        except ActrioError:
            pass  # its session is gone, and the turn with it
        self._turns.end(turn)

    def _wait(self, call: Call) -> Awaitable[Any]:
        params = read_params(call.method, call.params, p.TurnWait)
        turn = self._turns.find(params.turn)
        if turn is None and params.session is None:
            raise self._turns.unknown(params.turn)
        name = turn.session.name if turn is not None else params.session
        own = self._sessions.place(name or "")
        # Where it is open, a waiting request keeps nobody from beginning further turns.
        line = own.stand_in_line() if own.session is None else None

        async def wait() -> Any:
            try:
                if line is not None:
                    await line[0].wait()
                session = await self._sessions.session(own)
            finally:
                if line is not None:
                    line[1].set()
            return await self._result(call, own, session, params.turn)

        return wait()

    async def _result(self, call: Call, own: ClientSession, session: Session, id: str) -> Any:
        """Return a turn's result, behind its events."""
        result: TurnResult = await session.wait(id)
        turn = self._turns.find(id)
        if turn is not None:
            await turn.ended.wait()
        elif own.pump is not None:
            await self._told(own, session)
        call.channel = own.name
        return result_told(result)

    async def _told(self, own: ClientSession, session: Session) -> None:
        """Wait until all that the session has recorded is queued for the client."""
        seq = (await session.view()).seq
        if own.pump is not None:
            await own.pump.reached(seq)

    def cancel(self, params: Mapping[str, Any]) -> Any:
        """Cancel a turn; called by the reader."""
        wanted = read_params("turn/cancel", params, p.TurnCancel)
        turn = self._turns.find(wanted.turn)
        if turn is not None:
            if turn.ended.is_set() or turn.session.session is None:
                return r.told(r.Cancelled(cancelled=False))
            turn.session.session.cancel(turn.id, reason=wanted.reason)
            return r.told(r.Cancelled(cancelled=True))
        own = self._sessions.find(wanted.session) if wanted.session is not None else None
        if own is None or own.session is None:
            raise self._turns.unknown(wanted.turn)
        own.session.cancel(wanted.turn, reason=wanted.reason)
        return r.told(r.Cancelled(cancelled=True))


def _content(
    method: str, prompt: str | None, parts: list[p.PartParams] | None
) -> str | list[Text | Image | Document]:
    """Return what the user says.

    Raises:
        Refused: There is no content, or two.
    """
    if (prompt is None) == (parts is None):
        raise _wrong(method, "needs exactly one of prompt and parts", "/prompt")
    if prompt is not None:
        return prompt
    return [part.part() for part in parts or ()]


def _wrong(method: str, text: str, pointer: str) -> Refused:
    return Refused(fault("invalid_params", f"{method}: {text}.", pointers=[pointer]))
