"""The session actor: the one writer of a conversation.

A turn is a deferred handling, so the actor hears a cancel while it runs. Turns stand in line and
run one at a time; whoever streams a turn owns it, and its leaving cancels it::

    StartTurn ──► refuse (busy, line full) | stand in line ──► slot ──► run ──► keep ──► answer
                                                 ▲               ▲       ▲
    CancelTurn, owner leaves, shutdown ──────────┴───────────────┴───────┘  ──► seal ──► keep

On every way out the history gets what `TurnRun.seal` says, in one synchronous step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import trio

from actrio.actors import Actor, Context, Ref
from actrio.agents import IfBusy, Prepared, TurnRun
from actrio.errors import ActrioError, Conflict, Overloaded, TurnAborted
from actrio.feeds import TurnFeed
from actrio.messages import (
    CancelTurn,
    Event,
    Outcome,
    PrepareTurn,
    StartTurn,
    TurnCancelled,
    TurnCompleted,
    TurnFailed,
    TurnResult,
)
from actrio.sessions._record import SessionRecord

__all__ = ["SessionActor", "TurnSlots"]


class TurnSlots:
    """Turns in flight in the whole runtime, bounded and first come, first served."""

    def __init__(self, turns_max: int) -> None:
        self._limiter = trio.CapacityLimiter(turns_max)
        self.peak = 0

    async def __aenter__(self) -> None:
        await self._limiter.acquire_on_behalf_of(trio.lowlevel.current_task())
        self.peak = max(self.peak, self.taken)

    async def __aexit__(self, *_exc: object) -> None:
        self._limiter.release_on_behalf_of(trio.lowlevel.current_task())

    @property
    def taken(self) -> int:
        return int(self._limiter.borrowed_tokens)

    @property
    def waiting(self) -> int:
        return int(self._limiter.statistics().tasks_waiting)


class _TurnInLine:
    """A turn that was accepted and has not ended."""

    __slots__ = ("cancel_reason", "first", "id", "kept", "run", "scope")

    def __init__(self, turn_id: str) -> None:
        self.id = turn_id
        self.scope = trio.CancelScope()
        self.cancel_reason = "owner"  # overwritten by a CancelTurn; else its owner left
        self.run: TurnRun | None = None  # once it has come to the head of the line
        self.first = trio.Event()  # set when no accepted turn stands before it
        self.kept = False  # its messages are in the history


class SessionActor(Actor[StartTurn]):
    """Takes `StartTurn` (streamed: events; answer: `TurnResult`) and, as control, `CancelTurn`.

    Args:
        record: The session itself.
        agent: Its agent's actor.
        slots: The runtime's turn slots.
        if_busy: What to do with a message while a turn runs.
        queue_max: Turns that may stand in line.
        clock: Seconds since the epoch, for events.
    """

    def __init__(
        self,
        record: SessionRecord,
        agent: Ref[PrepareTurn],
        slots: TurnSlots,
        *,
        if_busy: IfBusy,
        queue_max: int,
        clock: Callable[[], float],
    ) -> None:
        self._record = record
        self._agent = agent
        self._slots = slots
        self._if_busy = if_busy
        self._queue_max = queue_max
        self._clock = clock
        # Accepted and not ended, in order.
        self._turns: dict[str, _TurnInLine] = {}
        # Those of them that have not run to their end; the first one runs. A place is taken on
        # acceptance, because Trio starts the tasks of deferred handlings in no order.
        self._line: dict[str, _TurnInLine] = {}

    async def receive(self, message: StartTurn, ctx: Context) -> Any:
        if message.turn in self._turns:
            raise Conflict(
                f"Session {self._record.id} has a turn {message.turn} already.",
                remedy="Give each turn an id of its own, or none.",
            )
        if self._line:
            self._admit_behind(message)
        turn = self._turns[message.turn] = self._line[message.turn] = _TurnInLine(message.turn)
        self._call_first()
        return ctx.defer(self._turn, message, turn, ctx)

    def _admit_behind(self, message: StartTurn) -> None:
        if (message.if_busy or self._if_busy) == "reject":
            raise Conflict(
                f"Session {self._record.id} is busy with turn {next(iter(self._line))}.",
                remedy="Wait for its end, cancel it, or send with if_busy='queue'.",
            )
        if len(self._line) > self._queue_max:
            raise Overloaded(
                f"{self._queue_max} turns wait already in session {self._record.id}.",
                remedy="Send the next one when one of them has ended.",
                data={"limit": self._queue_max},
            )

    async def on_control(self, message: Any, _ctx: Context) -> None:
        assert isinstance(message, CancelTurn)
        wanted = message.turn if message.turn is not None else next(iter(self._turns), None)
        turn = self._turns.get(wanted) if wanted is not None else None
        if turn is not None and not turn.scope.cancel_called:
            turn.cancel_reason = message.reason
            turn.scope.cancel(reason=message.reason)

    # -- one turn ----------------------------------------------------------------------------------

    async def _turn(self, message: StartTurn, turn: _TurnInLine, ctx: Context) -> TurnResult:
        feed = TurnFeed(
            session=self._record.id,
            turn=message.turn,
            numbering=self._record.numbering,
            send=ctx.emit if ctx.is_stream else None,
            clock=self._clock,
        )
        result: TurnResult | None = None
        try:
            with turn.scope:
                try:
                    result = await self._in_line(message, turn, feed)
                finally:
                    del self._line[message.turn]
                    self._call_first()
            if result is None:
                result = self._cancelled(turn)
                if turn.run is not None and result.error is not None:
                    await turn.run.close_items(result.error)
            await feed.tell(_TERMINAL[result.outcome], result=result)
        except trio.Cancelled:
            # The owner left, or everything stops: nobody reads the feed any more.
            ctx.resolve(result or self._cancelled(turn))
            raise
        finally:
            self._keep(turn, None)  # only a crash comes here with something unkept
            del self._turns[message.turn]
            self._record.turns += 1
        return result

    async def _in_line(self, message: StartTurn, turn: _TurnInLine, feed: TurnFeed) -> TurnResult:
        await turn.first.wait()
        async with self._slots:
            try:
                prepared: Prepared = await self._agent.ask(PrepareTurn())
                history = tuple(self._record.history)
                turn.run = TurnRun(prepared, history, message, feed, session=self._record.id)
                result = await turn.run.run()
            except ActrioError as error:
                result = _failed(turn, error)
            # In one step with the run's end: the next turn in line must see this one's messages.
            self._keep(turn, result.error)
            return result

    def _call_first(self) -> None:
        if self._line:
            next(iter(self._line.values())).first.set()

    def _cancelled(self, turn: _TurnInLine) -> TurnResult:
        error = TurnAborted(
            f"Turn {turn.id} was cancelled ({turn.cancel_reason}).", reason=turn.cancel_reason
        )
        self._keep(turn, error)
        if turn.run is not None:
            return turn.run.cancelled(error)
        return TurnResult(outcome="cancelled", stop_reason="cancelled", error=error, turn=turn.id)

    def _keep(self, turn: _TurnInLine, error: ActrioError | None) -> None:
        """Put what the turn added into the history; the first call counts."""
        if turn.run is not None and not turn.kept:
            turn.kept = True
            self._record.history.extend(turn.run.seal(error))


def _failed(turn: _TurnInLine, error: ActrioError) -> TurnResult:
    if turn.run is not None:
        return turn.run.failed(error)
    return TurnResult(outcome="failed", stop_reason="error", error=error, turn=turn.id)


_TERMINAL: Final[dict[Outcome, type[Event]]] = {
    "completed": TurnCompleted,
    "failed": TurnFailed,
    "cancelled": TurnCancelled,
}
