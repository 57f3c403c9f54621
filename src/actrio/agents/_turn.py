"""The turn machine: what a turn does next, decided without waiting for anything.

A turn is one user input until the agent yields; a step is one model call and its tools. The shell
(`_run.py`) carries commands out and comes back with what happened::

    begin ──CallModel──► calling ──after_model──┬─RunTools─► tools ──after_tools─┐
                           ▲  ▲                 │                                │
                           │  └──CallModel──────┼────────────────────────────────┘
                           │    (corrected)     │
                           └────────────────────┤
                                                └─Finish─► done

What follows a model's answer, first row that fits:

    ==================  ==========================  ==============================================
    finish reason       and                         then
    ==================  ==========================  ==============================================
    content_filter                                  Finish completed refusal, calls sealed
    error                                           Finish failed, calls sealed
    (any) with calls    a step is left              RunTools
    (any) with calls    no step is left             Finish failed max_steps, calls sealed
    length              no output type              Finish completed max_tokens
    (any)               no output type              Finish completed end_turn
    (any)               output valid                Finish completed end_turn, with the value
    (any)               invalid, retry and step left  CallModel, with what was wrong
    (any)               invalid                     Finish failed OutputInvalid
    ==================  ==========================  ==============================================

Where something was said to steer the turn, `steered` lets it go on instead of finishing. Calls that
no step is left for, or that a refusal came with, are sealed by the shell: each tool call in a
history has exactly one result, so the next request is one that a provider accepts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import attrs

from actrio.errors import (
    ActrioError,
    OutputInvalid,
    ProviderError,
    StepLimitExceeded,
)
from actrio.messages import (
    AssistantMessage,
    Message,
    ModelOutput,
    Outcome,
    StopReason,
    Text,
    ToolCall,
    ToolMessage,
    ToolResult,
    Usage,
    UserMessage,
)

__all__ = [
    "CallModel",
    "Command",
    "Finish",
    "OutputCheck",
    "RunTools",
    "TurnLimits",
    "TurnState",
    "after_model",
    "after_tools",
    "begin",
    "steered",
]

OutputCheck = Callable[[str], Any]
"""Returns the value in an answer's text, or raises ValueError saying what is wrong with it."""

Phase = Literal["calling", "tools", "done"]


@attrs.frozen(slots=True)
class TurnLimits:
    """What a turn may use up."""

    steps_max: int
    output_retries: int


@attrs.frozen(slots=True)
class TurnState:
    """Everything that decides what a turn does next."""

    limits: TurnLimits
    # What this turn adds to the history, complete up to the last finished model call or tool round.
    added: tuple[Message, ...]
    phase: Phase = "calling"
    steps: int = 1  # model calls begun
    usage: Usage = Usage()
    output_retries_left: int = 0
    text: str = ""  # of the last finished step

    @property
    def open_calls(self) -> tuple[ToolCall, ...]:
        """The calls of the last answer, where it is the last that was said: they have no results.

        They are paired with results by position: ids come from models and need not be unique.
        """
        last = self.added[-1] if self.added else None
        return last.tool_calls if isinstance(last, AssistantMessage) else ()


@attrs.frozen(slots=True)
class CallModel:
    """Ask the model, with the history and everything this turn has added."""


@attrs.frozen(slots=True)
class RunTools:
    """Run these calls; come back with their results in this order."""

    calls: tuple[ToolCall, ...]


@attrs.frozen(slots=True)
class Finish:
    """The turn is over."""

    outcome: Outcome
    stop_reason: StopReason
    error: ActrioError | None = None
    output: Any = None


Command = CallModel | RunTools | Finish


def begin(user: UserMessage, limits: TurnLimits) -> tuple[TurnState, CallModel]:
    """Begin a turn with what the user said."""
    state = TurnState(limits=limits, added=(user,), output_retries_left=limits.output_retries)
    return state, CallModel()


def after_model(
    state: TurnState, output: ModelOutput, check: OutputCheck | None
) -> tuple[TurnState, Command]:
    """Decide what follows a finished model call."""
    assert state.phase == "calling"
    state = attrs.evolve(
        state,
        added=(*state.added, output.message),
        usage=state.usage + output.usage,
        text=output.message.shown,
    )
    match output.finish_reason:
        case "content_filter":
            return _done(state, Finish("completed", "refusal"))
        case "error":
            return _done(state, Finish("failed", "error", _ended_in_error(output)))
    calls = output.message.tool_calls
    if calls and state.steps < state.limits.steps_max:
        return attrs.evolve(state, phase="tools"), RunTools(calls)
    if calls:
        return _done(state, Finish("failed", "max_steps", _out_of_steps(state.limits)))
    if check is None:
        stop: StopReason = "max_tokens" if output.finish_reason == "length" else "end_turn"
        return _done(state, Finish("completed", stop))
    return _judge_output(state, output, check)


def _judge_output(
    state: TurnState, output: ModelOutput, check: OutputCheck
) -> tuple[TurnState, Command]:
    try:
        value = check(output.message.text)
    except ValueError as problem:
        if state.output_retries_left and state.steps < state.limits.steps_max:
            return _ask_again(state, str(problem))
        error = OutputInvalid(
            f"The model's answer does not match the output type: {problem}.",
            remedy="Simplify the type, say more in the instructions, or take a larger model.",
        )
        return _done(state, Finish("failed", "error", error))
    return _done(state, Finish("completed", "end_turn", output=value))


def _ask_again(state: TurnState, problem: str) -> tuple[TurnState, Command]:
    correction = UserMessage(
        (Text(f"That answer was not usable: {problem}. Answer again, with only the JSON."),)
    )
    return attrs.evolve(
        state,
        added=(*state.added, correction),
        steps=state.steps + 1,
        output_retries_left=state.output_retries_left - 1,
    ), CallModel()


def after_tools(state: TurnState, results: Sequence[ToolResult]) -> tuple[TurnState, CallModel]:
    """Go on with the model once all tools of the step have a result."""
    assert state.phase == "tools"
    asked = state.open_calls
    assert [call.id for call in asked] == [result.call_id for result in results], (
        "every call has its result, in call order"
    )
    return attrs.evolve(
        state,
        phase="calling",
        added=(*state.added, ToolMessage(tuple(results))),
        steps=state.steps + 1,
    ), CallModel()


def steered(state: TurnState, finish: Finish) -> TurnState | None:
    """Return the state in which a turn goes on that would have ended, because more was said.

    None where it cannot: it did not complete, or has no step left; what was said is then the next
    turn.
    """
    if finish.outcome != "completed" or finish.output is not None:
        return None
    if finish.stop_reason == "refusal" or state.steps >= state.limits.steps_max:
        return None
    return attrs.evolve(state, phase="calling", steps=state.steps + 1)


def _done(state: TurnState, finish: Finish) -> tuple[TurnState, Finish]:
    return attrs.evolve(state, phase="done"), finish


def _out_of_steps(limits: TurnLimits) -> StepLimitExceeded:
    return StepLimitExceeded(
        f"The agent used all of its {limits.steps_max} steps and still wanted tools.",
        remedy="Raise steps_max of the agent, or give it fewer or better tools.",
    )


def _ended_in_error(output: ModelOutput) -> ActrioError:
    return ProviderError(
        f"The provider ended the answer of {output.model or 'the model'} with an error.",
        provider="",
        category="server",
        request_id=output.request_id,
        in_stream=True,
        remedy="Try again; if it stays, ask the provider with the request id.",
    )
