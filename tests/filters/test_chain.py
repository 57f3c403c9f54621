"""The composition: order, short-circuits, errors, deadlines."""

from __future__ import annotations

import attrs
import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from actrio.errors import (
    ActorFailed,
    FilterFailed,
    InvalidRequest,
    ProviderUnreachable,
    TurnAborted,
)
from actrio.filters import (
    AgentInput,
    Filter,
    after_agent,
    after_model,
    after_tool,
    around_agent,
    around_model,
    around_tool,
    before_agent,
    before_model,
    before_tool,
    compile_chain,
)
from actrio.messages import (
    AssistantMessage,
    ModelInput,
    ModelOutput,
    Text,
    ToolCall,
    ToolResult,
    TurnResult,
    user_message,
)

OUTPUT = ModelOutput(AssistantMessage((Text("hi"),)), "stop")
INPUT = ModelInput(model="m", messages=())


class Model:
    """An innermost model stage that keeps what it was given."""

    def __init__(self, *outcomes):
        self.seen = []
        self.outcomes = list(outcomes)

    async def __call__(self, payload):
        self.seen.append(payload)
        await trio.lowlevel.checkpoint()
        outcome = self.outcomes.pop(0) if self.outcomes else OUTPUT
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome


def unreachable():
    return ProviderUnreachable("No answer.", provider="p", category="network")


# --- order -----------------------------------------------------------------------------------


def traced(form, number, trace):
    def mark(value):
        trace.append((number, "in" if isinstance(value, ModelInput) else "out"))
        if isinstance(value, ModelInput):
            return attrs.evolve(value, instructions=f"{value.instructions}>{number}")
        return attrs.evolve(value, model=f"{value.model}<{number}")

    async def around(payload, proceed):
        return mark(await proceed(mark(payload)))

    async def mark_async(value):
        await trio.lowlevel.checkpoint()
        return mark(value)

    return {
        "around": lambda: around_model(around, name=str(number)),
        "before": lambda: before_model(mark),
        "after": lambda: after_model(mark_async),
    }[form]()


@given(st.lists(st.sampled_from(["around", "before", "after"]), max_size=8))
async def test_every_chain_is_an_onion(forms):
    """Each filter sees each message exactly once: payloads in listed order, outcomes in reverse."""
    trace = []
    model = Model()
    chain = compile_chain(
        [traced(form, number, trace) for number, form in enumerate(forms)], "model", model
    )
    outcome = await chain(INPUT)

    going_in = [n for n, form in enumerate(forms) if form != "after"]
    coming_out = [n for n, form in reversed(list(enumerate(forms))) if form != "before"]
    assert trace == [(n, "in") for n in going_in] + [(n, "out") for n in coming_out]
    assert model.seen[0].instructions == "".join(f">{n}" for n in going_in)
    assert outcome.model == "".join(f"<{n}" for n in coming_out)


@given(
    st.lists(st.sampled_from(["around", "before", "after"]), max_size=6),
    st.integers(min_value=0, max_value=6),
    st.sampled_from(["around", "before"]),
)
async def test_a_short_circuit_leaves_out_what_is_further_in_and_nothing_else(forms, at, kind):
    """Filters outside of the one that answers see its answer; those inside see nothing."""
    at = min(at, len(forms))
    trace = []

    async def answer_instead(payload, proceed):
        return OUTPUT

    stop = around_model(answer_instead) if kind == "around" else before_model(lambda _: OUTPUT)
    chain_filters = [traced(form, number, trace) for number, form in enumerate(forms)]
    chain_filters.insert(at, stop)
    model = Model()
    outcome = await compile_chain(chain_filters, "model", model)(INPUT)

    outside = list(enumerate(forms))[:at]
    going_in = [n for n, form in outside if form != "after"]
    coming_out = [n for n, form in reversed(outside) if form != "before"]
    assert model.seen == []
    assert trace == [(n, "in") for n in going_in] + [(n, "out") for n in coming_out]
    assert outcome.model == "".join(f"<{n}" for n in coming_out)


def test_no_filters_cost_nothing():
    """Without a filter of the path, the innermost function itself is the chain."""
    model = Model()
    assert compile_chain([], "model", model) is model
    assert compile_chain([before_tool(lambda call: None)], "model", model) is model


async def test_the_agent_path():
    """Filters of the agent path see AgentInput and TurnResult."""
    seen = []

    async def turn(payload):
        seen.append(payload.message.text)
        return TurnResult(outcome="completed", stop_reason="end_turn", text="answer")

    async def around(payload, proceed):
        result = await proceed(payload)
        return attrs.evolve(result, text=result.text + "!")

    chain = compile_chain(
        [
            before_agent(lambda given: attrs.evolve(given, message=user_message("changed"))),
            around_agent(around),
            after_agent(lambda result: attrs.evolve(result, text=result.text + "?")),
        ],
        "agent",
        turn,
    )
    result = await chain(AgentInput("s", "t", "a", user_message("original")))
    assert (seen, result.text) == (["changed"], "answer?!")


async def test_the_tool_path():
    """Filters of the tool path see ToolCall and ToolResult."""

    async def run(call):
        return ToolResult(call.id, call.name, call.arguments)

    async def around(call, proceed):
        return await proceed(call)

    chain = compile_chain(
        [
            before_tool(lambda call: attrs.evolve(call, arguments='{"a":1}')),
            around_tool(around),
            after_tool(lambda result: attrs.evolve(result, text=f"<{result.text}>")),
        ],
        "tool",
        run,
    )
    assert (await chain(ToolCall("1", "t"))).text == '<{"a":1}>'


# --- errors ----------------------------------------------------------------------------------


def raising(error):
    def filter_that_raises(value):
        raise error

    return filter_that_raises


@pytest.mark.parametrize("on_error", ["fail", "skip"])
@pytest.mark.parametrize("make", [before_model, after_model])
async def test_a_refusal_passes_unchanged(make, on_error):
    """An ActrioError that is no BugError is how a filter says no, in both modes."""
    refusal = InvalidRequest("No.")
    chain = compile_chain([make(on_error=on_error)(raising(refusal))], "model", Model())
    with pytest.raises(InvalidRequest) as caught:
        await chain(INPUT)
    assert caught.value is refusal


@pytest.mark.parametrize("error", [ZeroDivisionError("by zero"), ActorFailed("boom")])
async def test_a_failing_filter_is_named(error):
    """A filter's own exception becomes FilterFailed with filter, stage and cause."""
    chain = compile_chain([before_model(name="redact")(raising(error))], "model", Model())
    with pytest.raises(FilterFailed, match=r"before_model filter 'redact' raised") as caught:
        await chain(INPUT)
    assert caught.value.__cause__ is error
    assert caught.value.data == {"filter": "redact", "stage": "before_model"}


async def test_skip_before_goes_on_with_the_original_payload(logs):
    """A skipped filter that had not proceeded leaves the path as if it were not there, logged."""
    model = Model()
    chain = compile_chain([before_model(on_error="skip")(raising(KeyError("x")))], "model", model)
    assert await chain(INPUT) is OUTPUT
    assert model.seen == [INPUT]
    assert [(log["event"], log["stage"]) for log in logs] == [("filter skipped", "before_model")]


async def test_skip_after_uses_the_outcome_it_had():
    """A skipped filter that fails after proceed does not make the path run again."""
    model = Model()

    async def fails_late(payload, proceed):
        await proceed(payload)
        raise KeyError("late")

    chain = compile_chain(
        [
            around_model(on_error="skip")(fails_late),
            after_model(on_error="skip")(raising(KeyError("x"))),
        ],
        "model",
        model,
    )
    assert await chain(INPUT) is OUTPUT
    assert len(model.seen) == 1


@pytest.mark.parametrize("on_error", ["fail", "skip"])
async def test_errors_from_further_in_are_not_the_filters(on_error):
    """What proceed raises passes a filter unchanged, in both modes, whatever its type."""
    error = ZeroDivisionError("inner bug")

    async def passing(payload, proceed):
        return await proceed(payload)

    async def in_a_nursery(payload, proceed):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.lowlevel.checkpoint)
            return await proceed(payload)

    make = around_model(on_error=on_error)
    chain = compile_chain([make(passing), make(in_a_nursery)], "model", Model(error))
    with pytest.raises(ZeroDivisionError) as caught:
        await chain(INPUT)
    assert caught.value is error


async def test_a_refusal_out_of_a_nursery_is_still_a_refusal():
    """A group with one error in it counts as that error."""

    async def refuse():
        raise InvalidRequest("No.")

    async def in_a_nursery(payload, proceed):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(refuse)
        return await proceed(payload)

    with pytest.raises(InvalidRequest, match="No"):
        await compile_chain([around_model(in_a_nursery)], "model", Model())(INPUT)


async def test_failing_while_answering_an_inner_error():
    """A filter that breaks on an inner error is blamed; where it is skipped, the error goes on."""
    error = unreachable()

    async def breaks(payload, proceed):
        try:
            return await proceed(payload)
        except ProviderUnreachable:
            raise KeyError("broken") from None

    with pytest.raises(FilterFailed, match="KeyError"):
        await compile_chain([around_model(breaks)], "model", Model(error))(INPUT)
    with pytest.raises(ProviderUnreachable) as caught:
        await compile_chain([around_model(on_error="skip")(breaks)], "model", Model(error))(INPUT)
    assert caught.value is error


async def test_nothing_to_go_on_with_fails_even_when_skipping():
    """Where the filter cancelled proceed, skipping would repeat effects, so the path fails."""
    started = 0

    async def forever(payload):
        nonlocal started
        started += 1
        await trio.sleep_forever()

    async def cancels(payload, proceed):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(proceed, payload)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        raise KeyError("after that")

    with pytest.raises(FilterFailed, match="KeyError"):
        await compile_chain([around_model(on_error="skip")(cancels)], "model", forever)(INPUT)
    assert started == 1


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (
            before_model(lambda value: "text"),
            "returned a value of type str, expected ModelInput, ModelOutput or None",
        ),
        (
            after_model(lambda value: INPUT),
            "returned a value of type ModelInput, expected ModelOutput or None",
        ),
    ],
)
async def test_wrong_answers_of_one_sided_filters_are_named(made: Filter, text):
    """A filter that returns something else than promised fails with both said, once."""
    with pytest.raises(FilterFailed, match=text) as caught:
        await compile_chain([made], "model", Model())(INPUT)
    assert caught.value.__cause__ is None
    skipping = attrs.evolve(made, on_error="skip")
    assert await compile_chain([skipping], "model", Model())(INPUT) is OUTPUT


async def test_wrong_answers_of_around_filters_are_named():
    """The same holds for what an around filter returns and for what it gives proceed."""

    async def forgets(payload, proceed):
        await proceed(payload)

    async def gives_text(payload, proceed):
        return await proceed("text")

    with pytest.raises(FilterFailed, match="returned None, expected ModelOutput"):
        await compile_chain([around_model(forgets)], "model", Model())(INPUT)
    with pytest.raises(FilterFailed, match="gave proceed a value of type str, expected ModelInput"):
        await compile_chain([around_model(gives_text)], "model", Model())(INPUT)


async def test_proceed_is_called_once_unless_declared():
    """A second proceed is refused, except for a model filter that declares repeats."""
    model = Model(unreachable())

    async def retry(payload, proceed):
        try:
            return await proceed(payload)
        except ProviderUnreachable:
            return await proceed(payload)

    with pytest.raises(FilterFailed, match="second time") as caught:
        await compile_chain([around_model(retry)], "model", Model(unreachable()))(INPUT)
    assert "repeats=True" in caught.value.remedy
    assert await compile_chain([around_model(repeats=True)(retry)], "model", model)(INPUT) is OUTPUT
    assert len(model.seen) == 2

    async def twice(call, proceed):
        await proceed(call)
        return await proceed(call)

    async def run(call):
        return ToolResult(call.id, call.name, "x")

    with pytest.raises(FilterFailed, match="second time") as caught:
        await compile_chain([around_tool(twice)], "tool", run)(ToolCall("1", "t"))
    assert "repeats" not in caught.value.remedy


async def test_proceed_ends_with_its_filter():
    """A continuation kept for later does nothing but fail."""
    kept = []

    async def keeps(payload, proceed):
        kept.append(proceed)
        return OUTPUT

    model = Model()
    await compile_chain([around_model(keeps)], "model", model)(INPUT)
    with pytest.raises(FilterFailed, match="after it had ended"):
        await kept[0](INPUT)
    assert model.seen == []


# --- deadlines and cancellation ---------------------------------------------------------------


async def test_the_clock_stops_inside_proceed(autojump_clock):
    """Only the filter's own time counts, before and after proceed together."""

    async def slow_model(payload):
        await trio.sleep(100)
        return OUTPUT

    def spending(before, after):
        async def spends(payload, proceed):
            await trio.sleep(before)
            output = await proceed(payload)
            await trio.sleep(after)
            return output

        return around_model(deadline_seconds=3)(spends)

    assert await compile_chain([spending(1, 1)], "model", slow_model)(INPUT) is OUTPUT
    assert trio.current_time() == 102
    with pytest.raises(FilterFailed, match="past its deadline of 3 s"):
        await compile_chain([spending(2, 2)], "model", slow_model)(INPUT)
    assert trio.current_time() == 102 + 103
    with pytest.raises(FilterFailed, match="past its deadline"):
        await compile_chain([spending(4, 0)], "model", slow_model)(INPUT)
    assert trio.current_time() == 205 + 3


async def test_overdue_filters_can_be_skipped(autojump_clock):
    """With skip, an overdue filter costs its deadline and nothing else."""
    model = Model()

    async def hangs(payload):
        await trio.sleep_forever()

    async def hangs_late(payload, proceed):
        await proceed(payload)
        await trio.sleep_forever()

    made = [
        before_model(deadline_seconds=1, on_error="skip")(hangs),
        around_model(deadline_seconds=2, on_error="skip")(hangs_late),
    ]
    assert await compile_chain(made, "model", model)(INPUT) is OUTPUT
    assert trio.current_time() == 3
    assert len(model.seen) == 1


async def test_an_overdue_sync_filter_does_not_begin_the_rest(mock_clock):
    """A sync function cannot be interrupted; its overrun counts as soon as it returns."""
    model = Model()

    def blocks(payload):
        mock_clock.jump(5)

    with pytest.raises(FilterFailed, match="past its deadline"):
        await compile_chain([before_model(deadline_seconds=1)(blocks)], "model", model)(INPUT)
    assert model.seen == []
    with pytest.raises(FilterFailed, match="past its deadline"):
        await compile_chain([after_model(deadline_seconds=1)(blocks)], "model", model)(INPUT)


async def test_parallel_proceeds_share_one_clock(autojump_clock):
    """A filter that races two calls is not charged for either."""

    async def slow_model(payload):
        await trio.sleep(10 if payload.instructions else 20)
        return OUTPUT

    async def race(payload, proceed):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(proceed, payload)
            nursery.start_soon(proceed, attrs.evolve(payload, instructions="fast"))
        await trio.sleep(0.5)
        return OUTPUT

    made = around_model(deadline_seconds=1, repeats=True)(race)
    assert await compile_chain([made], "model", slow_model)(INPUT) is OUTPUT
    assert trio.current_time() == 20.5


@pytest.mark.parametrize("on_error", ["fail", "skip"])
async def test_cancellation_passes_every_filter(autojump_clock, on_error):
    """Cancelled is nobody's failure, and leaves nothing running."""
    gone = []

    async def forever(payload):
        try:
            await trio.sleep_forever()
        finally:
            gone.append(True)

    async def around(payload, proceed):
        return await proceed(payload)

    chain = compile_chain(
        [around_model(on_error=on_error, deadline_seconds=1)(around)], "model", forever
    )
    with trio.move_on_after(5) as scope:
        await chain(INPUT)
    assert scope.cancelled_caught
    assert gone == [True]


async def test_aborting_the_turn_is_a_refusal_too():
    """TurnAborted passes as every purposeful error does."""
    made = before_model(raising(TurnAborted("Enough.", reason="budget")))
    with pytest.raises(TurnAborted):
        await compile_chain([made], "model", Model())(INPUT)
