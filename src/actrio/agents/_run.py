"""The shell around the turn machine: carries its commands out, and can be asked at any moment
what the session should keep.

Everything that waits is here and nothing that decides (`_turn.py`). Where a turn is cancelled,
this object stays behind with what it knows: `seal` then says, without waiting, what remains.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from actrio.agents._agent import Prepared
from actrio.agents._items import Items
from actrio.agents._turn import (
    CallModel,
    Finish,
    RunTools,
    TurnLimits,
    TurnState,
    after_model,
    after_tools,
    begin,
    sealed,
)
from actrio.errors import ActrioError, TurnAborted
from actrio.feeds import TurnFeed
from actrio.filters import AgentInput, compile_chain
from actrio.messages import (
    AssistantMessage,
    Fold,
    Message,
    ModelInput,
    ModelOutput,
    StartTurn,
    StepStarted,
    StopReason,
    Text,
    ToolCall,
    ToolResult,
    TurnResult,
    TurnStarted,
)
from actrio.tools import CallLedger, run_calls, seal

__all__ = ["TurnRun"]


class TurnRun:
    """One turn, from the user's message to its result.

    Args:
        prepared: The agent as it is now.
        history: What was said before.
        start: The user's message and the turn's id.
        feed: Where events go.
        session: The session's id.
    """

    def __init__(
        self,
        prepared: Prepared,
        history: tuple[Message, ...],
        start: StartTurn,
        feed: TurnFeed,
        *,
        session: str,
    ) -> None:
        self._prepared = prepared
        self._history = history
        self._start = start
        self._feed = feed
        self._session = session
        self._items = Items(start.turn, feed)
        limits = TurnLimits(prepared.agent.steps_max, prepared.agent.output_retries)
        self._state: TurnState = begin(start.message, limits)[0]
        self._begun = False  # False: a filter answered in the machine's place
        self._partial: Fold | None = None  # of the model call in work
        self._ledger: CallLedger | None = None  # of the tools in work
        self._model = compile_chain(prepared.filters, "model", self._call_model)

    async def run(self) -> TurnResult:
        """Run the turn and return what came of it.

        *Backpressure*: paced by whoever reads the feed.
        *Cancellation*: provider stream and tools have ended; ask `seal` what to keep.
        *Failure*: what fails within the turn is its result; a broken filter is raised.
        """
        agent = self._prepared.agent
        await self._feed.tell(TurnStarted, agent=agent.name, model=agent.model)
        chain = compile_chain(self._prepared.filters, "agent", self._steps)
        result = await chain(
            AgentInput(self._session, self._start.turn, agent.name, self._start.message)
        )
        result = attrs.evolve(result, turn=self._start.turn)
        if not self._begun and result.text:
            # A filter answered: the session keeps that as the answer.
            answer = AssistantMessage((Text(result.text),))
            self._state = attrs.evolve(self._state, added=(*self._state.added, answer))
        return result

    async def _steps(self, payload: AgentInput) -> TurnResult:
        self._begun = True
        self._state = attrs.evolve(self._state, added=(payload.message,))
        output_type = self._prepared.agent.output
        check = output_type.read if output_type is not None else None
        command: CallModel | RunTools | Finish = CallModel()
        try:
            while True:
                match command:
                    case CallModel():
                        output = await self._step()
                        self._state, command = after_model(self._state, output, check)
                        self._partial = None
                    case RunTools(calls):
                        results = await self._run_tools(calls)
                        self._state, command = after_tools(self._state, results)
                        self._ledger = None
                    case Finish():
                        return self._result(command)
        except ActrioError as error:
            await self.close_items(error)
            return self.failed(error)

    async def _step(self) -> ModelOutput:
        prepared, agent = self._prepared, self._prepared.agent
        await self._feed.tell(StepStarted, step=self._state.steps)
        options = agent.options
        if agent.output is not None:
            options = attrs.evolve(options, response_schema=agent.output.schema)
        output = await self._model(
            ModelInput(
                model=prepared.model,
                messages=(*self._history, *self._state.added),
                instructions=agent.instructions,
                tools=prepared.tools.specs,
                options=options,
                caller=self._session,
            )
        )
        await self._items.complete(output.message)
        return output

    async def _call_model(self, payload: ModelInput) -> ModelOutput:
        """The innermost of the model path: one attempt on the provider's connection."""
        await self._items.begin_attempt()
        fold = self._partial = Fold()
        async with self._prepared.connection.stream(payload, credit=8) as batches:
            async for batch in batches:
                for delta in batch:
                    fold.add(delta)
                if self._feed.live:
                    await self._items.hear(batch)
        output: ModelOutput = batches.result
        return output

    async def _run_tools(self, calls: Sequence[ToolCall]) -> tuple[ToolResult, ...]:
        self._ledger = CallLedger(calls)
        return await run_calls(
            calls,
            self._prepared.tools,
            session=self._session,
            turn=self._start.turn,
            agent=self._prepared.agent.name,
            filters=self._prepared.filters,
            observe=self._items,
            ledger=self._ledger,
        )

    # -- ways out ----------------------------------------------------------------------------------

    def seal(self, error: ActrioError | None) -> tuple[Message, ...]:
        """Return what the session keeps of this turn if it ends now. Changes nothing, never waits."""
        return sealed(
            self._state,
            results=self._sealed_results(error),
            partial=self._partial.message() if self._partial is not None else None,
            error=error,
        )

    def _sealed_results(self, error: ActrioError | None) -> tuple[ToolResult, ...]:
        if self._ledger is None:
            return ()
        if isinstance(error, TurnAborted):
            return seal(self._ledger, reason=f"the turn was cancelled ({error.reason})")
        return seal(self._ledger, reason="the turn failed")

    async def close_items(self, error: ActrioError) -> None:
        """Complete the items that the end cut off, so that each one begun is completed."""
        await self._items.close("cancelled" if isinstance(error, TurnAborted) else "failed")
        if self._ledger is not None:
            await self._items.sealed(self._ledger.calls, self._sealed_results(error))

    def failed(self, error: ActrioError) -> TurnResult:
        """Return the result of a turn that ``error`` ended."""
        return self._ended("failed", "error", error)

    def cancelled(self, error: TurnAborted) -> TurnResult:
        """Return the result of a turn that was cancelled; partial text is kept."""
        return self._ended("cancelled", "cancelled", error)

    def _ended(self, outcome: str, stop_reason: StopReason, error: ActrioError) -> TurnResult:
        partial = self._partial.message().shown if self._partial is not None else self._state.text
        return TurnResult(
            outcome=outcome,  # type: ignore[arg-type]
            stop_reason=stop_reason,
            text=partial,
            usage=self._state.usage,
            steps=self._state.steps if self._begun else 0,
            error=error,
            turn=self._start.turn,
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
            turn=self._start.turn,
        )
