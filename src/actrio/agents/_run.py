"""The shell around the turn machine: carries its commands out, records what came of them, and can
be asked at any moment how the turn ends if it ends now.

Everything that waits is here and nothing that decides (`_turn.py`). Where a turn is cancelled,
this object stays behind with what it knows: `ending` then says, without waiting, which records
bring the turn to its end.

A record is written before what it tells of can have effects outside (a model call, a tool with
side effects), and before anybody is told of it. Where two follow each other at once, they are
written together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Literal

import attrs
import trio

from actrio.agents._agent import Prepared
from actrio.agents._book import Interrupted, TurnBook
from actrio.agents._items import Items
from actrio.agents._turn import (
    CallModel,
    Command,
    Finish,
    RunTools,
    TurnLimits,
    TurnState,
    after_model,
    after_tools,
    begin,
    steered,
)
from actrio.errors import ActrioError, ContextWindowExceeded, FilterFailed, TurnAborted
from actrio.feeds import TurnFeed
from actrio.filters import AgentInput, compile_chain
from actrio.journal import (
    ModelOutcome,
    Record,
    StepBegun,
    ToolFinished,
    ToolSealed,
    ToolStarted,
    TurnBegun,
    TurnEnded,
)
from actrio.messages import (
    AssistantMessage,
    Delta,
    Fold,
    Message,
    ModelInput,
    ModelOutput,
    Thinking,
    ToolCall,
    ToolResult,
    TurnResult,
    UserMessage,
)
from actrio.tools import CallLedger, Leave, Tool, run_calls, seal
from actrio.wire import error_to_dict

__all__ = ["TurnRun"]


class TurnRun:
    """One turn, from the user's message to its result.

    Args:
        prepared: The agent as it is now.
        history: What was said before.
        turn: The turn's id.
        message: What the user says.
        feed: Where live events go.
        book: Where records go, and what else the session does for the turn.
        session: The session's id.
        first: Records to be written with the turn's first.
        interrupted: How far the turn had come, where it goes on after a person's decision.
    """

    def __init__(
        self,
        prepared: Prepared,
        history: tuple[Message, ...],
        *,
        turn: str,
        message: UserMessage,
        feed: TurnFeed,
        book: TurnBook,
        session: str,
        first: Sequence[Record] = (),
        interrupted: Interrupted | None = None,
    ) -> None:
        self._prepared = prepared
        self._history = history
        self._turn = turn
        self._message = message
        self._feed = feed
        self._book = book
        self._session = session
        self._items = Items(turn, feed)
        limits = TurnLimits(prepared.agent.steps_max, prepared.agent.output_retries)
        self._state: TurnState = begin(message, limits)[0]
        self._interrupted = interrupted
        self._begun = False  # False: a filter answered in the machine's place
        if interrupted is not None:
            self._restore(interrupted)
        self._partial: Fold | None = None  # of the model call in work
        self._ledger: CallLedger | None = None  # of the tools in work
        self._output: Any = None  # as JSON has it
        self._unwritten: list[Record] = list(first)
        self._called_at = self._began = trio.current_time()
        self._call_began: dict[int, float] = {}
        self._agent_filters = any(each.path == "agent" for each in prepared.filters)

    async def run(self) -> TurnResult:
        """Run the turn and return what came of it.

        *Backpressure*: paced by whoever reads the feed.
        *Cancellation*: provider stream and tools have ended; ask `ending` what to write.
        *Failure*: what fails within the turn is its result; a broken filter is raised.
        """
        agent = self._prepared.agent
        chain = compile_chain(self._prepared.filters, "agent", self._steps)
        result = await chain(
            AgentInput(self._session, self._turn, agent.name, self._message, door=self._book)
        )
        try:
            self._output = agent.as_json(result.output)
        except (TypeError, ValueError) as error:
            # The agent's own output has one, so a filter has put another in its place.
            raise FilterFailed(
                f"The output of turn {self._turn} has no JSON form: {error}.",
                remedy="Let agent filters give outputs of builtins, attrs classes or dataclasses.",
            ) from error
        return attrs.evolve(result, turn=self._turn)

    async def _steps(self, payload: AgentInput) -> TurnResult:
        output_type = self._prepared.agent.output
        check = output_type.read if output_type is not None else None
        command: Command = self._begin(payload.message)
        correction: UserMessage | None = None
        try:
            while True:
                match command:
                    case CallModel():
                        output = await self._step(correction)
                        self._state, command = after_model(self._state, output, check)
                        self._partial = None
                        command, correction = await self._steered(command)
                        if not isinstance(command, Finish) or self._agent_filters:
                            await self._write()
                    case RunTools(calls):
                        results = await self._run_tools(calls)
                        self._state, command = after_tools(self._state, results)
                        self._ledger = None
                        correction = None
                    case Finish():
                        return self._result(command)
        except ActrioError as error:
            return self._failed(error)

    def _begin(self, message: UserMessage) -> Command:
        if (former := self._interrupted) is not None:
            self._items.begin_step(former.steps)
            return RunTools(former.calls)
        self._begun = True
        self._state = attrs.evolve(self._state, added=(message,))
        changed = message if message != self._message else None
        self._unwritten.append(self._turn_begun(changed))
        return CallModel()

    def _restore(self, former: Interrupted) -> None:
        """Be where the turn was put aside: with the calls of its last answer open."""
        self._begun = True
        self._state = attrs.evolve(
            self._state,
            added=former.added,
            phase="tools",
            steps=former.steps,
            usage=former.usage,
            text=former.text,
            output_retries_left=self._state.output_retries_left - former.corrections,
        )

    def _turn_begun(self, message: UserMessage | None) -> TurnBegun:
        agent = self._prepared.agent
        return TurnBegun(turn=self._turn, agent=agent.name, model=agent.model, message=message)

    async def _steered(self, command: Command) -> tuple[Command, UserMessage | None]:
        """Let what came to steer the turn keep it from ending; say what the model is told."""
        if isinstance(command, CallModel):
            last = self._state.added[-1]
            return command, last if isinstance(last, UserMessage) else None
        if isinstance(command, Finish) and self._book.steered:
            state = steered(self._state, command)
            if state is not None:
                self._state = state
                await self._write()
                return CallModel(), None
        return command, None

    async def _step(self, correction: UserMessage | None) -> ModelOutput:
        prepared, agent, state = self._prepared, self._prepared.agent, self._state
        self._items.begin_step(state.steps)
        step = StepBegun(
            turn=self._turn, step=state.steps, model=agent.model, correction=correction
        )
        before, self._unwritten = self._unwritten, []
        try:
            taken = await self._book.begin_step(before, step)
        except BaseException:
            self._unwritten[:0] = before
            raise
        await self._book.settle()
        if taken:
            self._state = state = attrs.evolve(state, added=(*state.added, *taken))
        options = agent.options
        if agent.output is not None:
            options = attrs.evolve(options, response_schema=agent.output.schema)
        self._partial = Fold()
        self._called_at = trio.current_time()
        call_model = compile_chain(prepared.filters, "model", self._call_model)
        output = await call_model(
            ModelInput(
                model=prepared.model,
                messages=(*self._history, *state.added),
                instructions=agent.instructions,
                tools=prepared.tools.specs,
                options=options,
                caller=self._session,
            )
        )
        if self._feed.live:
            await self._items.expect(output.message)
        self._unwritten.append(self._outcome(output))
        return output

    def _outcome(
        self,
        output: ModelOutput | None,
        status: Literal["completed", "cancelled", "failed"] = "completed",
        error: ActrioError | None = None,
    ) -> ModelOutcome:
        cut = self._partial.message() if output is None and self._partial is not None else None
        return ModelOutcome(
            turn=self._turn,
            step=self._state.steps,
            attempt=self._items.attempt,
            status=status,
            output=output,
            partial=cut.shown if cut is not None else "",
            partial_thinking=_thinking(cut) if cut is not None else "",
            error=error_to_dict(error) if error is not None else None,
            run_seconds=round(trio.current_time() - self._called_at, 6),
        )

    async def _call_model(self, payload: ModelInput) -> ModelOutput:
        """The innermost of the model path: one attempt on the provider's connection."""
        await self._items.begin_attempt()
        fold = self._partial = Fold()

        async def hear(batch: Sequence[Delta]) -> None:
            # In the connection's task, read by read: see `Ref.ask`.
            fold.extend(batch)
            if self._feed.live:
                await self._items.hear(batch)

        output: ModelOutput = await self._prepared.connection.ask(payload, each=hear)
        return output

    async def _run_tools(self, calls: Sequence[ToolCall]) -> tuple[ToolResult, ...]:
        former = self._interrupted
        self._ledger = CallLedger(calls, former.results if former is not None else {})
        self._interrupted = None
        results = await run_calls(
            calls,
            self._prepared.tools,
            session=self._session,
            turn=self._turn,
            agent=self._prepared.agent.name,
            filters=self._prepared.filters,
            watch=self,
            desk=self,
            ledger=self._ledger,
        )
        # What a model is shown it may repeat, and its deltas are told as they come.
        return self._book.kept(results)

    async def _write(self, *records: Record, sync: bool = False, keep: bool = False) -> None:
        """Write what was kept back, and ``records`` behind it.

        What could not be written is kept back again; of ``records`` only with ``keep``, where they
        tell of what has happened already.
        """
        before, self._unwritten = self._unwritten, []
        if before or records:
            try:
                await self._book.write(*before, *records, sync=sync)
            except BaseException:
                self._unwritten[:0] = (*before, *records) if keep else before
                raise
            await self._book.settle()

    # -- what the tool path tells and asks (`StepObserver`, `TurnDesk` of the tools room) ----------

    async def started(self, index: int, call: ToolCall) -> None:
        self._call_began[index] = trio.current_time()
        if self._feed.live:
            await self._items.begin_call(index, call)

    async def begun(self, index: int, call: ToolCall, tool: Tool) -> None:
        await self._write(
            ToolStarted(
                turn=self._turn,
                step=self._state.steps,
                position=index,
                call_id=call.id,
                name=tool.name,
                side_effects=not tool.read_only,
            ),
            # A crash must not hide that something was begun which cannot be taken back.
            sync=not tool.read_only,
        )

    async def finished(
        self, index: int, _call: ToolCall, result: ToolResult, run_seconds: float
    ) -> None:
        await self._write(
            ToolFinished(
                turn=self._turn,
                step=self._state.steps,
                position=index,
                result=result,
                run_seconds=round(run_seconds, 6),
            ),
            keep=True,
        )

    async def permit(self, index: int, call: ToolCall, _tool: Tool) -> Leave:
        return await self._book.permit(self._state.steps, index, call)

    async def ask_person(
        self, index: int, call: ToolCall, question: str, choices: tuple[str, ...]
    ) -> str:
        return await self._book.ask_person(self._state.steps, index, call, question, choices)

    @property
    def state(self) -> Mapping[str, Any]:
        return self._book.state

    async def change_state(
        self, values: Mapping[str, Any], *, remove: Sequence[str] = (), by: str
    ) -> Mapping[str, Any]:
        return await self._book.change_state(values, remove=remove, by=by)

    # -- ways out ----------------------------------------------------------------------------------

    def ending(
        self, result: TurnResult, *, resumable: bool = False, kept: bool = True
    ) -> Sequence[Record]:
        """Return the records with which the turn ends now. Changes nothing, never waits.

        Args:
            result: What came of it.
            resumable: Whether it was cut off and can be continued.
            kept: Whether what was said stays in the history.
        """
        return tuple(self._ending(result, resumable=resumable, kept=kept))

    def _ending(self, result: TurnResult, *, resumable: bool, kept: bool) -> Iterator[Record]:
        yield from self._unwritten
        error = result.error
        if not self._begun:
            yield self._turn_begun(None)
        if self._partial is not None:
            failed = result.outcome == "failed"
            yield self._outcome(None, "failed" if failed else "cancelled", error)
        if self._ledger is not None:
            yield from self._sealed(self._ledger, error)
        elif self._state.open_calls:
            # With an interruption: a filter ended the turn before it came to its calls again.
            results = self._interrupted.results if self._interrupted is not None else {}
            yield from self._sealed(CallLedger(self._state.open_calls, results), error)
        reason = error.reason if isinstance(error, TurnAborted) else str(error or "")
        shown = self._state.text if self._partial is None else None
        yield TurnEnded(
            turn=self._turn,
            outcome=result.outcome,
            stop_reason=result.stop_reason,
            reason=reason,
            text=result.text if shown is not None and result.text != shown else None,
            output=self._output,
            steps=result.steps,
            usage=result.usage,
            error=error_to_dict(error) if error is not None else None,
            resumable=resumable,
            kept=kept and not isinstance(error, ContextWindowExceeded),
            run_seconds=round(trio.current_time() - self._began, 6),
        )

    def _sealed(self, ledger: CallLedger, error: ActrioError | None) -> Iterator[Record]:
        if isinstance(error, TurnAborted):
            reason = f"the turn was cancelled ({error.reason})"
        else:
            reason = "the turn failed" if error is not None else "the turn ended"
        for index, result in enumerate(seal(ledger, reason=reason)):
            if ledger.results[index] is None:
                yield ToolSealed(
                    turn=self._turn,
                    step=self._state.steps,
                    position=index,
                    result=result,
                    progress=ledger.progress(index),
                )

    def failed(self, error: ActrioError) -> TurnResult:
        """Return the result of a turn that ``error`` ended."""
        return self._ended("failed", error)

    _failed: Final = failed

    def cancelled(self, error: TurnAborted) -> TurnResult:
        """Return the result of a turn that was cancelled; partial text is kept."""
        return self._ended("cancelled", error)

    def _ended(self, outcome: Literal["failed", "cancelled"], error: ActrioError) -> TurnResult:
        partial = self._partial.message().shown if self._partial is not None else ""
        return TurnResult(
            outcome=outcome,
            stop_reason="error" if outcome == "failed" else "cancelled",
            text=partial or self._state.text,
            usage=self._state.usage,
            steps=self._state.steps if self._begun else 0,
            error=error,
            turn=self._turn,
        )

    def _result(self, finish: Finish) -> TurnResult:
        return TurnResult(
            outcome=finish.outcome,
            stop_reason=finish.stop_reason,
            text=self._state.text,
            output=finish.output,
            usage=self._state.usage,
            steps=self._state.steps,
            error=finish.error,
            turn=self._turn,
        )


def _thinking(message: AssistantMessage) -> str:
    return "".join(part.text for part in message.parts if isinstance(part, Thinking))
