"""Sessions and turns as a program holds them: small clients of the session actor."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import trio

from actrio.actors import Ref, ReplyStream
from actrio.agents import Agent, IfBusy
from actrio.errors import ActorStopped, ActrioError, Conflict, TurnAborted
from actrio.feeds import merge_deltas
from actrio.messages import (
    CancelTurn,
    Message,
    StartTurn,
    TurnEvent,
    TurnResult,
    UserMessage,
    user_message,
)
from actrio.sessions._record import SessionRecord

__all__ = ["Session", "Turn"]


class Session:
    """A conversation. Made by `Runtime.session`; any task of the program may use it."""

    def __init__(
        self, record: SessionRecord, ref: Ref[StartTurn], new_id: Callable[[str], str]
    ) -> None:
        self._record = record
        self._new_id = new_id
        self.ref = ref

    @property
    def id(self) -> str:
        return self._record.id

    @property
    def agent(self) -> Agent:
        return self._record.agent

    @property
    def history(self) -> tuple[Message, ...]:
        """Everything said so far that a model is shown; always valid for a provider."""
        return tuple(self._record.history)

    @property
    def turns(self) -> int:
        """Turns that have ended, however they ended."""
        return self._record.turns

    def __repr__(self) -> str:
        return f"<Session {self.id} of {self.agent.name}, {len(self._record.history)} messages>"

    def turn(
        self,
        prompt: str | UserMessage | list[Any] | tuple[Any, ...],
        *,
        if_busy: IfBusy | None = None,
        id: str | None = None,
    ) -> Turn:
        """Return a turn that begins when its ``async with`` block is entered.

        Args:
            prompt: What the user says: text, parts, or a finished message.
            if_busy: In place of the agent's own ``if_busy``.
            id: The turn's id, where the caller has one.

        Raises:
            InvalidRequest: The prompt is empty or of a wrong type.
            LimitExceeded: The prompt is too long.
        """
        message = user_message(prompt)
        return Turn(self.ref, StartTurn(id or self._new_id("t"), message, if_busy))

    async def ask(
        self,
        prompt: str | UserMessage | list[Any] | tuple[Any, ...],
        *,
        if_busy: IfBusy | None = None,
    ) -> TurnResult:
        """Run a whole turn and return its result.

        *Backpressure*: waits for a turn slot of the runtime, and behind this session's own turns.
        *Cancellation*: the turn has ended when this returns; the session takes the next message.

        Raises:
            ActrioError: The turn failed or was cancelled by somebody else.
        """
        message = user_message(prompt)
        result: TurnResult = await self.ref.ask(StartTurn(self._new_id("t"), message, if_busy))
        return result.raise_for_outcome()

    def cancel(self, turn: str | None = None, *, reason: str = "user") -> None:
        """Cancel a turn by its id, or the one that runs; its owner sees ``turn.cancelled``.

        Returns at once. A turn that has ended already is left as it is.
        """
        try:
            self.ref.control(CancelTurn(turn, reason))
        except ActorStopped:
            return  # its turns have ended, which is what was asked for


class Turn:
    """One turn, owned by whoever has entered its block.

    ``async with session.turn("…") as turn: async for event in turn: …``; iteration ends with the
    turn and never raises for the turn's own failure, `result` tells. Leaving the block early
    cancels the turn, and it has ended when the block has.
    """

    def __init__(self, ref: Ref[StartTurn], start: StartTurn) -> None:
        self._start = start
        # 64 events ahead keep a reader busy over several scheduler passes; deltas beyond merge.
        self._stream: ReplyStream = ref.stream(start, credit=64, merge=merge_deltas)
        self._refusal: ActrioError | None = None
        self._entered = False

    @property
    def id(self) -> str:
        return self._start.turn

    async def __aenter__(self) -> Self:
        if self._entered:
            raise Conflict(f"Turn {self.id} was entered already.", remedy="Make a new one.")
        self._entered = True
        try:
            await self._stream.__aenter__()
        except ActrioError as error:
            self._refusal = error
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._refusal is None:
            await self._stream.__aexit__(kind, error, trace)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> TurnEvent:
        if not self._entered:
            raise Conflict(
                f"Turn {self.id} was not entered.",
                remedy="Write `async with session.turn(…) as turn:` and iterate inside the block.",
            )
        if self._refusal is not None:
            await trio.lowlevel.checkpoint()
            raise StopAsyncIteration
        try:
            event: TurnEvent = await self._stream.__anext__()
        except ActrioError as error:
            self._refusal = error
            raise StopAsyncIteration from None
        return event

    @property
    def result(self) -> TurnResult:
        """What came of the turn; there after the block, also when its entry was cancelled.

        Raises:
            Conflict: The turn has not ended.
        """
        result = self._stream.result
        if isinstance(result, TurnResult):
            return result
        refused = self._refusal or self._stream.error
        if refused is not None:
            return TurnResult(outcome="failed", stop_reason="error", error=refused, turn=self.id)
        if not self._entered or self._stream.open:
            raise Conflict(
                f"Turn {self.id} has not ended.", remedy="Read result after the async with block."
            )
        error = TurnAborted(f"Turn {self.id} was cancelled before it began.", reason="owner")
        return TurnResult(outcome="cancelled", stop_reason="cancelled", error=error, turn=self.id)
