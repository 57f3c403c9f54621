"""What a running tool may ask of its turn: a person, and the session's state."""

from __future__ import annotations

import threading

import attrs
import pytest
import trio
import trio.testing

from actrio.errors import Conflict, InvalidRequest, LimitExceeded, NotSupported, StorageFull
from actrio.messages import ToolCall
from actrio.tools import CallLedger, ToolBox, ToolContext, ToolLimits, run_calls, seal, tool

IDS = {"session": "s", "turn": "t", "agent": "a"}


class Watch:
    def __init__(self):
        self.run_seconds = []

    def started(self, index, call):
        pass

    def finished(self, index, call, result, run_seconds):
        self.run_seconds.append(run_seconds)


async def test_a_tool_asks_without_place_and_without_clock(make_desk, autojump_clock):
    """An answer may take days: others run meanwhile, and the deadline is for the tool's own work."""

    @tool(timeout_seconds=5)
    async def ask(context: ToolContext) -> str:
        await trio.sleep(3)
        answer = await context.ask_person("Which one?", ["red", "blue"])
        await trio.sleep(1)
        return f"{answer} at {trio.current_time():g}"

    @tool(timeout_seconds=200)
    async def other() -> None:
        await trio.sleep(100)

    desk, watch = make_desk(), Watch()
    box = ToolBox([ask, other], limits=ToolLimits(parallel_max=1))
    results = []
    async with trio.open_nursery() as nursery:

        async def step(name):
            call = ToolCall(name, name)
            results.extend(await run_calls([call], box, **IDS, desk=desk, watch=watch))

        nursery.start_soon(step, "ask")
        await trio.sleep(1)
        nursery.start_soon(step, "other")
        await trio.sleep(49)
        now = box.statistics()
        assert (now.running, now.waiting, now.asking) == (1, 0, 1)
        desk.answer(0, "blue")
        await trio.sleep(1)
        # Answered, and in line for a place.
        now = box.statistics()
        assert (now.running, now.waiting, now.asking) == (1, 1, 0)
    assert ("ask", 0, "Which one?", ("red", "blue")) in desk.heard
    # From 3 to 103 it waited: for the person, then for the place that the other call had.
    assert [each.text for each in results] == ["done", "blue at 104"]
    assert watch.run_seconds == [100, 4]
    assert box.statistics().peak == 1


async def test_the_deadline_goes_on_after_the_answer(run, make_desk, autojump_clock):
    """What was left of it is left, also after several questions at once."""

    @tool(timeout_seconds=5)
    async def ask(context: ToolContext) -> None:
        await trio.sleep(2)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(context.ask_person, "One?")
            nursery.start_soon(context.ask_person, "Two?")
        await trio.sleep_forever()

    desk = make_desk()
    async with trio.open_nursery() as nursery:

        async def person():
            await trio.sleep(10)
            desk.answer(0, "yes")

        nursery.start_soon(person)
        (result,) = await run([ask], ("ask", ""), desk=desk)
    assert result.state == "timeout"
    assert trio.current_time() == 13


async def test_a_tool_may_give_up_waiting(make_desk, autojump_clock):
    """Its own scope ends the question at once, also where no place is free."""

    @tool
    async def ask(context: ToolContext) -> str:
        with trio.move_on_after(5):
            return await context.ask_person("Well?")
        return f"gave up at {trio.current_time():g}"

    @tool(timeout_seconds=200)
    async def other() -> None:
        await trio.sleep(100)

    desk = make_desk()
    box = ToolBox([ask, other], limits=ToolLimits(parallel_max=1))
    results = []
    async with trio.open_nursery() as nursery:

        async def step(name):
            results.extend(await run_calls([ToolCall(name, name)], box, **IDS, desk=desk))

        nursery.start_soon(step, "ask")
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(step, "other")
    assert [each.text for each in results] == ["gave up at 5", "done"]
    results = await run_calls([ToolCall("1", "ask")], box, **IDS, desk=desk)
    assert results[0].text == "gave up at 105"
    assert box.statistics().running == 0
    assert desk.withdrawn == [0, 0]


async def test_cancelled_while_a_tool_asks(make_desk):
    """The call was running, so its effects are unknown; the question is withdrawn."""

    @tool
    async def ask(context: ToolContext) -> str:
        return await context.ask_person("Well?")

    desk = make_desk()
    box = ToolBox([ask])
    ledger = CallLedger([ToolCall("1", "ask")])
    async with trio.open_nursery() as nursery:

        async def step():
            await run_calls(ledger.calls, box, **IDS, ledger=ledger, desk=desk)

        nursery.start_soon(step)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert desk.withdrawn == [0]
    assert ledger.progress(0) == "effects_unknown"
    assert "unknown" in seal(ledger)[0].text
    now = box.statistics()
    assert (now.running, now.asking) == (0, 0)


async def test_the_state_is_read_and_changed(run, make_desk):
    """A tool reads the state as it is now, changes it in its own name, and cannot write into it."""

    @tool
    async def count(context: ToolContext) -> int:
        before = context.state.get("n", 0)
        changed = await context.change_state({"n": before + 1}, remove=["old"])
        assert changed == context.state
        with pytest.raises(TypeError):
            context.state["n"] = 9
        return context.state["n"]

    desk = make_desk()
    await desk.change_state({"old": 1, "n": 4}, by="")
    (result,) = await run([count], ("count", ""), desk=desk)
    assert result.text == "5"
    assert desk.state == {"n": 5}
    assert desk.changed_by == ["", "tool count"]


@pytest.mark.parametrize("name", ["ask_person", "change_state"])
async def test_what_the_desk_raises_the_tool_gets(run, make_desk, name):
    """It may act on it; where it does not, the error is its result and the step goes on."""

    class Full(make_desk):
        async def change_state(self, values, *, remove=(), by):
            raise StorageFull("No room.")

    @tool
    async def act(context: ToolContext) -> None:
        await getattr(context, name)({"a": 1} if name == "change_state" else "Well?")

    (result,) = await run([act], ("act", ""), desk=Full(call0=StorageFull("No room.")))
    assert (result.state, result.text) == ("error", "StorageFull: No room.")


async def test_without_a_desk_a_tool_is_told_what_to_do(run):
    """Outside of a session there is nobody and no state."""

    @tool
    async def look(context: ToolContext) -> list[str]:
        texts = []
        for attempt in (
            lambda: context.ask_person("Well?"),
            lambda: context.change_state({}),
        ):
            with pytest.raises(NotSupported) as caught:
                await attempt()
            texts.append(str(caught.value))
        for attempt in (
            lambda: context.state,
            lambda: context.ask_person_sync("Well?"),
            lambda: context.change_state_sync({}),
        ):
            with pytest.raises(NotSupported) as caught:
                attempt()
            texts.append(str(caught.value))
        assert all("runtime.session(" in each for each in texts)
        return texts

    (result,) = await run([look], ("look", ""))
    assert "The tool 'look' cannot ask a person" in result.text


@pytest.mark.parametrize(
    ("question", "choices", "error"),
    [
        (" ", (), InvalidRequest),
        ("Well?", "yes", InvalidRequest),
        ("Well?", [1], InvalidRequest),
        ("x" * 20_000, (), LimitExceeded),
        ("Well?", ["x" * 20_000], LimitExceeded),
        ("Well?", ["x"] * 33, LimitExceeded),
    ],
)
async def test_questions_are_checked_before_anybody_reads_them(
    run, make_desk, question, choices, error
):
    """Nothing, no list, or too much of it is the tool author's error."""

    @tool
    async def ask(context: ToolContext) -> None:
        with pytest.raises(error):
            await context.ask_person(question, choices)
        with pytest.raises(InvalidRequest):
            await context.change_state({}, remove="key")

    desk = make_desk()
    (result,) = await run([ask], ("ask", ""), desk=desk)
    assert result.text == "done"
    assert [what for what, *_ in desk.heard] == ["begun"]


async def test_a_context_ends_with_its_call(run, make_desk):
    """Kept beyond it, it refuses: the question would belong to no call."""
    kept = []

    @tool
    async def keep(context: ToolContext) -> None:
        kept.append(context)

    await run([keep], ("keep", ""), desk=make_desk())
    with pytest.raises(Conflict, match="has ended"):
        await kept[0].ask_person("Well?")
    with pytest.raises(Conflict, match="has ended"):
        await kept[0].change_state({})


async def test_a_question_that_outlives_its_call_takes_no_place(run, make_desk):
    """A task that the tool left elsewhere gets its answer, and holds nothing."""
    desk = make_desk()
    async with trio.open_nursery() as nursery:

        @tool
        async def leave(context: ToolContext) -> None:
            nursery.start_soon(context.ask_person, "Well?")
            await trio.testing.wait_all_tasks_blocked()

        box = ToolBox([leave])
        await run(box, ("leave", ""), desk=desk)
        desk.answer(0, "late")
    assert (box.statistics().running, box.statistics().asking) == (0, 0)


def test_the_desk_is_no_part_of_the_context_as_a_value():
    """Two contexts with the same facts are equal, and the repr shows facts only."""
    context = ToolContext("s", "t", "a", "c", "x", 1.0)
    other = attrs.evolve(context, desk=object())
    assert context == other
    assert hash(context) == hash(other)
    assert "desk" not in repr(other)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        context.tool = "y"


# --- threads: real ones -----------------------------------------------------------------------


async def test_a_sync_tool_asks_and_changes_state_from_its_thread(make_desk):
    """It gives its place away and its clock stands still, as with an async tool."""
    main = threading.get_ident()

    @tool
    def ask(context: ToolContext) -> str:
        assert threading.get_ident() != main
        answer = context.ask_person_sync("Which one?", ["red"])
        context.change_state_sync({"answer": answer})
        return f"{context.state['answer']} {'old' in context.state}"

    desk = make_desk()
    await desk.change_state({"old": 1}, by="")
    box = ToolBox([ask], limits=ToolLimits(parallel_max=1, threads_max=1))
    results = []
    async with trio.open_nursery() as nursery:

        async def step():
            results.extend(await run_calls([ToolCall("1", "ask")], box, **IDS, desk=desk))

        nursery.start_soon(step)
        with trio.fail_after(30):
            while not box.statistics().asking:
                await trio.sleep(0.001)
        assert box.statistics().running == 0
        assert box.statistics().threads == 1
        desk.answer(0, "red")
    assert results[0].text == "red True"
    assert desk.changed_by == ["", "tool ask"]


async def test_a_cancel_ends_a_thread_that_asks(make_desk):
    """The question is withdrawn before the step is gone, and the thread is not left for ever."""
    ends = []

    @tool
    def ask(context: ToolContext) -> None:
        try:
            context.ask_person_sync("Well?")
        except BaseException as error:
            ends.append(error)
            raise

    desk = make_desk()
    box = ToolBox([ask])
    ledger = CallLedger([ToolCall("1", "ask")])
    async with trio.open_nursery() as nursery:

        async def step():
            await run_calls(ledger.calls, box, **IDS, ledger=ledger, desk=desk)

        nursery.start_soon(step)
        with trio.fail_after(30):
            while not box.statistics().asking:
                await trio.sleep(0.001)
        nursery.cancel_scope.cancel()
    assert desk.withdrawn == [0]
    assert ledger.states == ("running",)
    with trio.fail_after(30):
        while box.statistics().threads:
            await trio.sleep(0.001)
    assert [type(each) for each in ends] == [trio.Cancelled]
    assert box.statistics().late == 1


async def test_a_thread_that_is_left_behind_cannot_ask(make_desk):
    """Past its deadline nobody waits for it: asking ends it at once."""
    go, ends = threading.Event(), []

    @tool(timeout_seconds=0.05)
    def ask(context: ToolContext) -> None:
        go.wait(30)
        try:
            context.ask_person_sync("Well?")
        except BaseException as error:
            ends.append(type(error))
            raise

    desk = make_desk()
    box = ToolBox([ask])
    (result,) = await run_calls([ToolCall("1", "ask")], box, **IDS, desk=desk)
    assert result.state == "timeout"
    go.set()
    with trio.fail_after(30):
        while box.statistics().threads:
            await trio.sleep(0.001)
    assert [what for what, *_ in desk.heard] == ["begun"] * bool(ends)
    assert ends in ([trio.Cancelled], [])


async def test_errors_cross_the_line_as_they_are(run, make_desk):
    """What the desk or the check raises is raised in the thread, and a tool's own error is its own."""

    @tool
    def ask(context: ToolContext) -> None:
        with pytest.raises(InvalidRequest, match="asked nothing"):
            context.ask_person_sync("")
        context.ask_person_sync("Well?")

    @tool
    def fail(context: ToolContext) -> None:
        raise LookupError("mine")

    results = await run(
        [ask, fail], ("ask", ""), ("fail", ""), desk=make_desk(call0=StorageFull("No room."))
    )
    assert results[0].text == "StorageFull: No room."
    assert results[1].text == "LookupError: mine"


async def test_the_blocking_form_is_refused_in_trios_own_thread(run, make_desk):
    """It would stop everything, so it says what to write."""

    @tool
    async def wrong(context: ToolContext) -> None:
        context.ask_person_sync("Well?")

    @tool
    def disguised(context: ToolContext):
        async def late():
            with pytest.raises(InvalidRequest, match="own thread"):
                context.ask_person_sync("Well?")
            return await context.ask_person("Well?")

        return late()

    results = await run(
        [wrong, disguised], ("wrong", ""), ("disguised", ""), desk=make_desk(call1="yes")
    )
    assert results[0].text.startswith("InvalidRequest: The tool 'wrong' is async")
    assert results[1].text == "yes"


async def test_a_thread_of_the_tools_own_is_ended_too(run, make_desk):
    """Trio does not know it, so it gets an error of ours when its call has ended."""
    ends = []
    done = threading.Event()

    @tool
    def start(context: ToolContext) -> None:
        def own():
            try:
                context.ask_person_sync("Well?")
            except Exception as error:
                ends.append(type(error).__name__)
            done.set()

        threading.Thread(target=own).start()

    (result,) = await run([start], ("start", ""), desk=make_desk())
    assert result.text == "done"
    await trio.to_thread.run_sync(done.wait, 30)
    assert ends == ["TurnAborted"]
