"""A client's turns: started, streamed to it, waited for, cancelled."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Final

import attrs
import trio

from actrio.errors import NotFound
from actrio.messages import (
    TERMINAL_EVENTS,
    Outcome,
    TurnCancelled,
    TurnCompleted,
    TurnEvent,
    TurnFailed,
    TurnResult,
)
from actrio.rpc import Call, Connection
from actrio.runtime import Session, Turn
from actrio.wire import event_to_dict

__all__ = ["ENDED_TURNS_MAX", "ClientTurns"]

ENDED_TURNS_MAX: Final = 256
"""Ended turns whose results are kept for `turn/wait`; as many as there can be unanswered requests."""

_ENDS: Final[Mapping[Outcome, type[TurnCompleted | TurnFailed | TurnCancelled]]] = {
    "completed": TurnCompleted,
    "failed": TurnFailed,
    "cancelled": TurnCancelled,
}


@attrs.define(slots=True, eq=False)
class _ClientTurn:
    """``result`` is there once ``ended`` is set and all events are queued."""

    id: str
    session: Session
    ended: trio.Event = attrs.field(factory=trio.Event)
    result: dict[str, Any] = attrs.field(factory=dict)


class ClientTurns:
    """The turns of one connection.

    Args:
        connection: Where their events go, each session on a channel of its own.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        # Oldest first; ended ones are forgotten from the front.
        self._turns: OrderedDict[str, _ClientTurn] = OrderedDict()

    @property
    def running(self) -> int:
        """Turns that have not ended here."""
        return sum(not turn.ended.is_set() for turn in self._turns.values())

    async def run(
        self,
        call: Call,
        session: Session,
        turn: Turn,
        *,
        wait: bool,
        queues: bool,
        entered: trio.Event,
    ) -> dict[str, Any]:
        """Run a turn for ``call``, stream its events, and return its result.

        Args:
            call: The request. It is answered at acceptance, or with ``wait`` at the end, behind
                all events of the turn.
            session: Whose turn it is; nobody else uses it.
            turn: The turn.
            wait: When to answer.
            queues: Whether a busy session takes it, too.
            entered: Set when the session has it, in its place in the line.

        *Backpressure*: waits for the client to read.

        Raises:
            ActrioError: The session refused the turn.
        """
        before = self._unended(session)
        # Turns that have not ended here include all that have not ended there.
        # If it can refuse, its first event will tell that it did not.
        sure = not before or (queues and len(before) <= session.agent.queue_max)
        own = self._remember(_ClientTurn(turn.id, session))
        try:
            async with turn:
                entered.set()
                if wait:
                    call.channel = session.id
                    # An orderly end: its last events leave, and the answer behind them.
                    call.on_cancel = lambda: session.cancel(turn.id, reason="request cancelled")
                elif sure:
                    call.respond({"turn": turn.id})
                last = await self._stream(call, session, turn, before)
            own.result = _result_to_dict(turn.result)
            await self._see_to_the_end(call, session, turn.result, last)
        finally:
            own.ended.set()
        return own.result

    def _unended(self, session: Session) -> list[_ClientTurn]:
        return [
            turn
            for turn in self._turns.values()
            if turn.session is session and not turn.ended.is_set()
        ]

    async def _stream(
        self, call: Call, session: Session, turn: Turn, before: list[_ClientTurn]
    ) -> TurnEvent | None:
        """Send the turn's events, behind those of the turns before it, and return the last one.

        A turn that begins has nobody running beside it, but the last events of the one before may
        still wait for the client. A turn cancelled in the line says so at once.
        """
        last: TurnEvent | None = None
        async for event in turn:
            if last is None and call.channel is None and not call.answered:
                call.respond({"turn": turn.id})
            if last is None and not isinstance(event, TERMINAL_EVENTS):
                for earlier in before:
                    await earlier.ended.wait()
            last = event
            await self._connection.notify(session.id, "event", event_to_dict(event))
        return last

    async def _see_to_the_end(
        self, call: Call, session: Session, result: TurnResult, last: TurnEvent | None
    ) -> None:
        """Give a turn that was accepted its terminal event, if it has none."""
        if isinstance(last, TERMINAL_EVENTS):
            return
        if last is None and not call.answered and result.error is not None:
            del self._turns[result.turn]
            call.channel = None
            raise result.error
        # Its session was closed or has crashed, so nobody there could tell. The number is that
        # of a live-only event: the session's own numbering stays without a gap.
        event = _ENDS[result.outcome](
            session=session.id,
            turn=result.turn,
            seq=last.seq if last else 0,
            n=1 + ((last.n or 0) if last else 0),
            ts=time.time(),
            result=result,
        )
        await self._connection.notify(session.id, "event", event_to_dict(event))

    async def wait(self, call: Call, name: str) -> dict[str, Any]:
        """Return a turn's result when it has ended, behind its events.

        Raises:
            NotFound: There is no such turn, or it ended long ago.
        """
        turn = self._named(name)
        await turn.ended.wait()
        call.channel = turn.session.id
        return turn.result

    def cancel(self, name: str, *, reason: str) -> bool:
        """Ask for a turn's end and return true, or return false if it has ended.

        Raises:
            NotFound: There is no such turn, or it ended long ago.
        """
        turn = self._named(name)
        if turn.ended.is_set():
            return False
        turn.session.cancel(turn.id, reason=reason)
        return True

    def cancel_all(self, *, reason: str) -> None:
        """Ask for the end of every turn."""
        for turn in self._turns.values():
            if not turn.ended.is_set():
                turn.session.cancel(turn.id, reason=reason)

    async def end(self, session: Session, *, reason: str) -> None:
        """Cancel the turns of ``session`` and wait until their last events are queued."""
        unended = self._unended(session)
        for turn in unended:
            session.cancel(turn.id, reason=reason)
        for turn in unended:
            await turn.ended.wait()

    def _remember(self, turn: _ClientTurn) -> _ClientTurn:
        self._turns[turn.id] = turn
        ended = [name for name, old in self._turns.items() if old.ended.is_set()]
        for name in ended[: len(ended) - ENDED_TURNS_MAX] if len(ended) > ENDED_TURNS_MAX else ():
            del self._turns[name]
        return turn

    def _named(self, name: str) -> _ClientTurn:
        turn = self._turns.get(name)
        if turn is None:
            raise NotFound(
                f"This connection knows no turn {name[:100]!r}.",
                remedy=f"turn/start gives the ids; the last {ENDED_TURNS_MAX} ended ones are known.",
            )
        return turn


def _result_to_dict(result: TurnResult) -> dict[str, Any]:
    """Return a result in the shape that it has inside a terminal event."""
    event = _ENDS[result.outcome](session="", turn=result.turn, seq=0, ts=0.0, result=result)
    told: dict[str, Any] = event_to_dict(event)["result"]
    return told
