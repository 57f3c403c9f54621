"""What the nine decorators make, and what they refuse at decoration time."""

from __future__ import annotations

import functools

import pytest

from actrio import filters
from actrio.errors import InvalidRequest
from actrio.filters import (
    Filter,
    after_tool,
    around_agent,
    around_model,
    around_tool,
    before_agent,
    before_model,
)

STAGES = [
    f"{form}_{path}"
    for form in ("before", "around", "after")
    for path in ("agent", "model", "tool")
]


async def passing(payload, proceed):
    return await proceed(payload)


def looking(value):
    return None


@pytest.mark.parametrize("stage", STAGES)
def test_each_stage_has_a_decorator_that_makes_its_filter(stage):
    """The nine decorators are there, documented, and make filters that know their stage."""
    decorate = getattr(filters, stage)
    function = passing if stage.startswith("around") else looking
    made = decorate(function)
    assert isinstance(made, Filter)
    assert (made.stage, made.name, made.on_error) == (stage, function.__name__, "fail")
    assert f"{made.form}_{made.path}" == stage
    assert decorate.__doc__
    assert repr(decorate) == f"<decorator {stage}>"


def test_options_are_kept():
    """A decorator with options makes a filter with these options."""
    made = around_model(name="retry", deadline_seconds=2, on_error="skip", repeats=True)(passing)
    assert (made.name, made.deadline_seconds, made.on_error, made.repeats) == (
        "retry",
        2,
        "skip",
        True,
    )


def test_partials_and_callable_objects_may_be_filters():
    """Anything callable with the right arguments will do, also without a name of its own."""

    class Counting:
        async def __call__(self, payload, proceed):
            return await proceed(payload)

    def tagged(value, *, tag):
        return None

    assert around_tool(Counting()).name == "Counting"
    assert before_model(functools.partial(tagged, tag="x")).name == "tagged"


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: around_agent(looking), "not an async function"),
        (lambda: before_agent(passing), "cannot be called with"),
        (lambda: after_tool(lambda: None), "cannot be called with"),
        (lambda: before_agent(3), "not a function"),
        (lambda: before_agent(deadline_seconds=0)(looking), "deadline_seconds=0"),
        (lambda: before_agent(deadline_seconds=float("nan"))(looking), "deadline_seconds=nan"),
        (lambda: before_agent(on_error="ignore")(looking), "on_error='ignore'"),
    ],
)
def test_wrong_shapes_are_refused_when_decorated(make, text):
    """What can be seen to be wrong does not wait for a turn, and the error says what to do."""
    with pytest.raises(InvalidRequest, match=text) as caught:
        make()
    assert caught.value.remedy
