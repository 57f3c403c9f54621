"""The turn machine: every row of its table, and its laws for any sequence of answers."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actrio.agents._turn import (
    CallModel,
    Finish,
    RunTools,
    TurnLimits,
    after_model,
    after_tools,
    begin,
    sealed,
)
from actrio.errors import (
    ContextWindowExceeded,
    OutputInvalid,
    ProviderError,
    StepLimitExceeded,
    TurnAborted,
)
from actrio.messages import (
    AssistantMessage,
    ModelOutput,
    Text,
    ToolCall,
    ToolMessage,
    ToolResult,
    Usage,
    UserMessage,
    user_message,
)
from actrio.testing import history_problems

USER = user_message("hi")
LIMITS = TurnLimits(steps_max=3, output_retries=1)


def said(text="", *, calls=0, finish="stop"):
    parts = ([Text(text)] if text else []) + [ToolCall(f"c{n}", "t") for n in range(calls)]
    return ModelOutput(AssistantMessage(tuple(parts)), finish, Usage(1, 2))


def results(calls):
    return [ToolResult(call.id, call.name, "ok") for call in calls]


def number(text):
    if not text.isdigit():
        raise ValueError("not a number")
    return int(text)


def test_a_plain_answer_completes_the_turn():
    """stop without calls: completed, end_turn, usage counted."""
    state, command = begin(USER, LIMITS)
    assert command == CallModel()
    state, command = after_model(state, said("hello"), None)
    assert command == Finish("completed", "end_turn")
    assert (state.text, state.usage, state.phase) == ("hello", Usage(1, 2), "done")
    assert sealed(state) == (USER, said("hello").message)


def test_calls_run_and_the_model_is_asked_again():
    """With calls the tools run, and their results are the next thing the model sees."""
    state, _ = begin(USER, LIMITS)
    state, command = after_model(state, said(calls=2, finish="tool_calls"), None)
    assert isinstance(command, RunTools)
    state, command = after_tools(state, results(command.calls))
    assert command == CallModel()
    assert state.steps == 2
    assert isinstance(state.added[-1], ToolMessage)


def test_the_step_limit_fails_the_turn_and_seals_its_calls():
    """Calls after the last step are answered as never started, and the error names the limit."""
    state, _ = begin(USER, TurnLimits(1, 0))
    state, command = after_model(state, said(calls=1), None)
    assert isinstance(command, Finish)
    assert isinstance(command.error, StepLimitExceeded)
    assert command.stop_reason == "max_steps"
    kept = sealed(state, error=command.error)
    assert kept[-1].results[0].state == "sealed"
    assert history_problems(kept) == []


@pytest.mark.parametrize(
    ("finish", "outcome", "stop"),
    [
        ("length", "completed", "max_tokens"),
        ("content_filter", "completed", "refusal"),
        ("error", "failed", "error"),
        ("other", "completed", "end_turn"),
    ],
)
def test_each_finish_reason_has_its_ending(finish, outcome, stop):
    """The table's rows for answers without calls."""
    state, _ = begin(USER, LIMITS)
    _, command = after_model(state, said("x", finish=finish), None)
    assert (command.outcome, command.stop_reason) == (outcome, stop)
    assert isinstance(command.error, ProviderError) == (outcome == "failed")


@pytest.mark.parametrize("finish", ["content_filter", "error"])
def test_calls_of_an_answer_that_was_stopped_never_run(finish):
    """A filtered or broken answer is no wish to run its tools; they are sealed as not started."""
    state, _ = begin(USER, LIMITS)
    state, command = after_model(state, said(calls=2, finish=finish), None)
    assert isinstance(command, Finish)
    kept = sealed(state, error=command.error)
    assert [result.state for result in kept[-1].results] == ["sealed", "sealed"]
    assert history_problems(kept) == []


def test_a_wrong_output_goes_back_and_then_fails():
    """An invalid answer is corrected as often as allowed; then the turn fails as such."""
    state, _ = begin(USER, LIMITS)
    state, command = after_model(state, said("one"), number)
    assert command == CallModel()
    assert "not a number" in state.added[-1].text
    _, right = after_model(state, said("1"), number)
    assert right == Finish("completed", "end_turn", output=1)
    _, wrong = after_model(state, said("uno"), number)
    assert isinstance(wrong.error, OutputInvalid)


def test_a_cut_answer_keeps_its_text_but_not_its_calls():
    """Half a tool call was never made; half a sentence was said."""
    state, _ = begin(USER, LIMITS)
    partial = AssistantMessage((Text("half a"), ToolCall("c", "t", '{"x')))
    assert sealed(state, partial=partial) == (USER, AssistantMessage((Text("half a"),)))


def test_nothing_is_kept_of_a_turn_that_outgrew_the_window():
    """Otherwise every later turn would outgrow it too."""
    state, _ = begin(USER, LIMITS)
    assert sealed(state, error=ContextWindowExceeded("too long")) == ()


@attrs.frozen
class Answer:
    """One model answer of a random turn."""

    text: str
    calls: int
    finish: str


answers = st.lists(
    st.builds(
        Answer,
        st.sampled_from(["", "7", "words"]),
        st.integers(0, 3),
        st.sampled_from(["stop", "tool_calls", "length", "content_filter", "error", "other"]),
    ),
    min_size=1,
    max_size=8,
)


@given(answers, st.integers(1, 5), st.integers(0, 2), st.booleans(), st.integers(0, 20))
def test_any_turn_ends_once_within_its_steps_and_can_be_sealed_at_any_point(
    given_answers, steps_max, retries, typed, stop_after
):
    """Whatever the model says: at most steps_max calls, one Finish, a valid history throughout."""
    state, command = begin(USER, TurnLimits(steps_max, retries))
    queue = list(given_answers)
    for moves in range(60):
        for error in (None, TurnAborted("x")):
            assert history_problems(sealed(state, error=error)) == []
        if isinstance(command, Finish) or moves == stop_after or not queue:
            break
        if isinstance(command, RunTools):
            state, command = after_tools(state, results(command.calls))
        else:
            answer = queue.pop(0)
            output = said(answer.text, calls=answer.calls, finish=answer.finish)
            state, command = after_model(state, output, number if typed else None)
    assert state.steps <= steps_max
    assert isinstance(state.added[0], UserMessage)
    if isinstance(command, Finish):
        assert (command.error is None) == (command.outcome == "completed")
        assert state.phase == "done"
