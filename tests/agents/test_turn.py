"""The turn machine: every row of its table, and its laws for any sequence of answers."""

from __future__ import annotations

import copy

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
    steered,
)
from actrio.errors import OutputInvalid, ProviderError, StepLimitExceeded
from actrio.journal import (
    InputAccepted,
    ModelOutcome,
    StepBegun,
    StoredRecord,
    ToolFinished,
    ToolStarted,
    TurnBegun,
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
from actrio.sessions import SessionState, apply
from actrio.sessions._sealing import cut_off
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
    assert state.added == (USER, said("hello").message)


def test_calls_run_and_the_model_is_asked_again():
    """With calls the tools run, and their results are the next thing the model sees."""
    state, _ = begin(USER, LIMITS)
    state, command = after_model(state, said(calls=2, finish="tool_calls"), None)
    assert isinstance(command, RunTools)
    state, command = after_tools(state, results(command.calls))
    assert command == CallModel()
    assert state.steps == 2
    assert isinstance(state.added[-1], ToolMessage)


def test_the_step_limit_fails_the_turn_before_its_calls_run():
    """The error names the limit; the calls are left open, for the shell to seal."""
    state, _ = begin(USER, TurnLimits(1, 0))
    state, command = after_model(state, said(calls=1), None)
    assert isinstance(command, Finish)
    assert isinstance(command.error, StepLimitExceeded)
    assert command.stop_reason == "max_steps"
    assert len(state.open_calls) == 1


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
    """A filtered or broken answer is no wish to run its tools; they are left open."""
    state, _ = begin(USER, LIMITS)
    state, command = after_model(state, said(calls=2, finish=finish), None)
    assert isinstance(command, Finish)
    assert len(state.open_calls) == 2


@pytest.mark.parametrize(
    ("output", "steps_max", "goes_on"),
    [
        (said("done"), 3, True),
        (said("cut", finish="length"), 3, True),
        (said("done"), 1, False),
        (said("no", finish="content_filter"), 3, False),
        (said("oh", finish="error"), 3, False),
    ],
)
def test_a_turn_that_is_steered_goes_on_where_it_completed_and_has_a_step_left(
    output, steps_max, goes_on
):
    """Otherwise it ends as it would have, and what was said is the next turn."""
    state, _ = begin(USER, TurnLimits(steps_max, 0))
    state, command = after_model(state, output, None)
    again = steered(state, command)
    assert (again is not None) == goes_on
    if again is not None:
        assert (again.phase, again.steps, again.added) == ("calling", 2, state.added)


def test_a_turn_with_a_valid_output_is_not_steered():
    """It has what it was to give; a further answer would replace it."""
    state, _ = begin(USER, LIMITS)
    state, command = after_model(state, said("7"), number)
    assert steered(state, command) is None


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


class Story:
    """The records that a shell would write, folded, and what a cut-off at any point makes of them."""

    def __init__(self) -> None:
        self.state = SessionState("s")
        self.tell(InputAccepted(turn="t", message=USER), TurnBegun(turn="t"))

    def tell(self, *records) -> None:
        for record in records:
            apply(self.state, StoredRecord(self.state.last_seq + 1, 1, 0.0, record))

    def check_cut_off(self) -> None:
        """However far it came: each call has its result, and the turn an end."""
        cut = copy.deepcopy(self.state)
        for record in tuple(cut_off(cut, cut.open["t"], "crash")):
            apply(cut, StoredRecord(cut.last_seq + 1, 1, 0.0, record))
        assert history_problems(cut.history) == []
        assert isinstance(cut.history[0], UserMessage)
        assert not cut.open
        assert cut.ended["t"].resumable


@given(
    answers,
    st.integers(1, 5),
    st.integers(0, 2),
    st.booleans(),
    st.integers(0, 20),
    st.text(max_size=3),
)
def test_any_turn_ends_once_within_its_steps_and_can_be_cut_off_at_any_point(
    given_answers, steps_max, retries, typed, stop_after, half
):
    """Whatever the model says: at most steps_max calls, one Finish, a valid history throughout."""
    state, command = begin(USER, TurnLimits(steps_max, retries))
    queue, story = list(given_answers), Story()
    for moves in range(60):
        story.check_cut_off()
        if isinstance(command, Finish) or moves == stop_after or not queue:
            break
        if isinstance(command, RunTools):
            for place, result in enumerate(results(command.calls)):
                told = {"turn": "t", "step": state.steps, "position": place}
                story.tell(ToolStarted(call_id=result.call_id, name=result.name, **told))
                story.check_cut_off()
                story.tell(ToolFinished(result=result, **told))
                story.check_cut_off()
            state, command = after_tools(state, results(command.calls))
        else:
            answer = queue.pop(0)
            last = state.added[-1]
            correction = last if len(state.added) > 1 and last.role == "user" else None
            story.tell(StepBegun(turn="t", step=state.steps, correction=correction))
            story.check_cut_off()
            partial = ModelOutcome(turn="t", step=state.steps, status="cancelled", partial=half)
            cut = copy.deepcopy(story)
            cut.tell(partial)
            cut.check_cut_off()
            output = said(answer.text, calls=answer.calls, finish=answer.finish)
            story.tell(ModelOutcome(turn="t", step=state.steps, output=output))
            state, command = after_model(state, output, number if typed else None)
    assert state.steps <= steps_max
    assert isinstance(state.added[0], UserMessage)
    if isinstance(command, Finish):
        assert (command.error is None) == (command.outcome == "completed")
        assert state.phase == "done"
