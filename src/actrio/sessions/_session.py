"""Sessions and turns as a program holds them: small clients of the session actor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Literal, Self, cast

import trio

from actrio.actors import Ref, ReplyStream
from actrio.agents import Agent
from actrio.errors import ActorStopped, ActrioError, Conflict, TurnAborted
from actrio.feeds import Subscription, merge_deltas
from actrio.messages import (
    AnswerApproval,
    CancelTurn,
    ChangeState,
    CompactHistory,
    IfBusy,
    Message,
    ReadSession,
    SessionView,
    StartTurn,
    TurnAccepted,
    TurnEvent,
    TurnResult,
    UserMessage,
    WaitTurn,
    user_message,
)
from actrio.sessions._desk import SessionDesk
from actrio.sessions._session_actor import CONTINUE
from actrio.sessions._state import SessionState

__all__ = ["Prompt", "Session", "Turn"]

Prompt = str | UserMessage | list[Any] | tuple[Any, ...]
"""What the user says: text, parts, or a finished message."""


class Session:
    """A conversation. Made by `Runtime.session`; any task of the program may use it."""

    def __init__(
        self,
        session_id: str,
        agent: Agent,
        ref: Ref[Any],
        desk: SessionDesk,
        if_busy: IfBusy | None = None,
    ) -> None:
        self.id = session_id
        self.agent = agent
        self.ref = ref
        self._desk = desk
        self._if_busy: IfBusy | None = if_busy

    @property
    def _state(self) -> SessionState:
        state = self._desk.live.get(self.id)
        if state is None:
            raise Conflict(
                f"Session {self.id} is not in memory.",
                remedy="Ask for `await session.view()`, or hold it open with `runtime.session(…)`.",
            )
        return state

    @property
    def history(self) -> tuple[Message, ...]:
        """Everything said so far that a model is shown; always valid for a provider.

        Raises:
            Conflict: The session has left memory; `view` reads it.
        """
        return tuple(self._state.history)

    @property
    def turns(self) -> int:
        """Turns that have ended, however they ended.

        Raises:
            Conflict: The session has left memory; `view` reads it.
        """
        return self._state.turns_ended

    def __repr__(self) -> str:
        return f"<Session {self.id} of {self.agent.name}>"

    # -- turns that belong to the caller -----------------------------------------------------------

    def turn(self, prompt: Prompt, *, if_busy: IfBusy | None = None, id: str | None = None) -> Turn:
        """Return a turn that begins when its ``async with`` block is entered.

        Args:
            prompt: What the user says: text, parts, or a finished message.
            if_busy: In place of the agent's own ``if_busy``.
            id: The turn's id, where the caller has one.

        Raises:
            InvalidRequest: The prompt is empty or of a wrong type.
            LimitExceeded: The prompt is too long.
        """
        return Turn(self.ref, self._start(prompt, if_busy, id))

    async def ask(self, prompt: Prompt, *, if_busy: IfBusy | None = None) -> TurnResult:
        """Run a whole turn and return its result.

        *Backpressure*: waits for a turn slot of the runtime, and behind this session's own turns.
        *Cancellation*: the turn has ended when this returns; the session takes the next message.

        Raises:
            ActrioError: The turn failed or was cancelled by somebody else.
        """
        result: TurnResult = await self.ref.ask(self._start(prompt, if_busy, None))
        return result.raise_for_outcome()

    def _start(
        self,
        prompt: Prompt,
        if_busy: IfBusy | None,
        id: str | None,
        **more: Any,
    ) -> StartTurn:
        turn = id or self._desk.new_id("t")
        return StartTurn(turn, user_message(prompt), if_busy or self._if_busy, **more)

    # -- turns that go on by themselves ------------------------------------------------------------

    async def submit(
        self,
        prompt: Prompt,
        *,
        if_busy: IfBusy | None = None,
        id: str | None = None,
        key: str = "",
        caller: str = "",
    ) -> TurnAccepted:
        """Hand a turn over to the session and return once it is accepted, which is recorded.

        It goes on whatever becomes of the caller, across a restart of the process too.

        Args:
            prompt: What the user says.
            if_busy: In place of the agent's own ``if_busy``.
            id: The turn's id, where the caller has one.
            key: Idempotency key: a second call with it joins the first one's turn.
            caller: Who says it, for the record.

        *Cancellation*: cancelled means it was not accepted, or that it was and goes on.

        Raises:
            Conflict: A turn runs, and ``if_busy`` is ``reject``.
            Overloaded: As many turns wait in the session as may.
            StorageError: It could not be recorded.
        """
        start = self._start(prompt, if_busy, id, owned=False, key=key, caller=caller)
        return cast("TurnAccepted", await self.ref.ask(start))

    async def resume(self, turn: str | None = None, *, id: str | None = None) -> TurnAccepted:
        """Continue a turn that a shutdown or a crash cut off, as a turn of its own.

        The model is called anew, which costs; no tool is run again.

        Args:
            turn: Which; by default the last one that was cut off.
            id: The new turn's id, where the caller has one.

        Raises:
            Conflict: There is no such turn, or it was not cut off.
        """
        if turn is None:
            cut = [each.turn for each in (await self.view()).turns if each.resumable]
            if not cut:
                raise Conflict(
                    f"No turn of session {self.id} was cut off lately.",
                    remedy="There is nothing to continue; send a message.",
                )
            turn = cut[-1]
        start = self._start(CONTINUE, None, id, owned=False, resumes=turn)
        return cast("TurnAccepted", await self.ref.ask(start))

    async def wait(self, turn: str) -> TurnResult:
        """Return the result of a turn when it has ended; at once if it has.

        Raises:
            NotFound: The session has had no such turn.
        """
        return cast("TurnResult", await self.ref.ask(WaitTurn(turn)))

    def cancel(self, turn: str | None = None, *, reason: str = "user") -> None:
        """Cancel a turn by its id, or the one that runs; its owner sees ``turn.cancelled``.

        Returns at once. A turn that has ended already is left as it is.
        """
        try:
            self.ref.control(CancelTurn(turn, reason))
        except ActorStopped:
            return  # its turns have ended, which is what was asked for

    def subscribe(self, from_seq: int | None = None, *, pace: bool = False) -> Subscription:
        """Return all events of the session behind event ``from_seq``: what was, then what comes.

        ``async with session.subscribe(n) as events: async for event in events: …``. Replayed are
        recorded events; they go over into live ones without a gap or a duplicate. Where records
        are no longer kept, a `Gap` says so.

        Args:
            from_seq: The bookmark: the ``seq`` of the last event already seen, 0 for all. Only
                what comes from now on where None.
            pace: Let turns wait for this reader, for up to the runtime's ``stall_seconds``. A
                reader that is not waited for loses deltas when it falls behind, nothing else.

        Raises:
            Overloaded: On entry: the session has as many subscribers as it may.
        """
        return self._desk.feeds.subscribe(self.id, from_seq, pace=pace)

    # -- the session itself ------------------------------------------------------------------------

    async def view(self) -> SessionView:
        """Return the session as a value: history, state, turns, approvals, metrics."""
        return cast("SessionView", await self.ref.ask(ReadSession()))

    async def change_state(
        self, values: Mapping[str, Any], *, remove: Sequence[str] = (), by: str = ""
    ) -> Mapping[str, Any]:
        """Change ``session.state`` and return it.

        Args:
            values: Keys and their new values, as JSON has them.
            remove: Keys that go.
            by: Who does it, for the record.

        Raises:
            InvalidRequest: A value has no JSON form.
            LimitExceeded: The state would grow beyond its bound.
        """
        change = ChangeState(dict(values), tuple(remove), by)
        return cast("Mapping[str, Any]", await self.ref.ask(change))

    async def answer(
        self,
        approval: str,
        decision: Literal["approved", "denied", "answered"],
        *,
        answer: str = "",
        by: str = "",
        note: str = "",
    ) -> None:
        """Decide what a person was asked; see `ApprovalRequested`.

        Args:
            approval: Its id.
            decision: About a call: approved or denied; about a question: answered or denied.
            answer: What the tool is told, where it asked.
            by: Who decides.
            note: What the model is told with it.

        Raises:
            NotFound: It was decided already, or its turn has ended.
        """
        await self.ref.ask(AnswerApproval(approval, decision, answer, by, note))

    async def compact(self, summary: str, *, messages: int | None = None) -> SessionView:
        """Let ``summary`` stand for the oldest messages of the history.

        Args:
            summary: What the model is shown in their place.
            messages: How many, cut back to whole turns; all where None.

        Raises:
            Conflict: A turn is open.
        """
        return cast("SessionView", await self.ref.ask(CompactHistory(summary, messages)))


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
