"""The one tool path. Every call of every model goes this way, and there is no other.

::

    started (observer)
    before_tool and around_tool filters            may change, answer or refuse the call
      is there such a tool, is it switched on       else the result says so
      arguments: size, JSON, schema                 else the result lists what is wrong
      approval, where the tool asks for it          waits for a person, for days if need be
      a free place among parallel_max               waits
      the tool's own deadline begins
        begun (desk): on record                     else the step ends
        run                                         in this task, or in a thread
      the result as text, within its bound
    around_tool and after_tool filters
    ledger: finished
    finished (observer)

Whatever goes wrong with a call is its result, for the model to act on: a refusal by a filter (any
`CallerError`) is one too. What ends the whole step is a filter that is broken (`FilterFailed`) or
that asks for it by raising another `ActrioError`, such as `TurnAborted`; and a desk that cannot
keep a record or ask a person, because nothing runs that is not on record.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, Protocol, TypeVar

import attrs
import trio

from actrio.errors import CallerError, InvalidRequest
from actrio.filters import Filter, compile_chain
from actrio.messages import ToolCall, ToolResult, ToolResultState
from actrio.tools._arguments import ArgumentsInvalid, read_arguments
from actrio.tools._box import ToolBox
from actrio.tools._desk import TurnDesk, no_person_text, refusal_text
from actrio.tools._ledger import CallLedger
from actrio.tools._output import bounded
from actrio.tools._run import Run
from actrio.tools._step import Step
from actrio.tools._tool import OUTPUT_BYTES_MAX, Tool

__all__ = ["CallObserver", "StepObserver", "run_calls"]

_NAME_EXCERPT = 80
"""Characters of an unknown name that are quoted; no real name is longer than 64."""

T = TypeVar("T")


class StepObserver(Protocol):
    """Hears of each call, in the call's own task; sync or async.

    ``index`` is the call's position in the model's answer, because ids need not be unique there.
    """

    def started(self, index: int, call: ToolCall, /) -> Awaitable[None] | None:
        """Hear that ``call`` is on its way; not called for one that has its result already."""

    def finished(
        self, index: int, call: ToolCall, result: ToolResult, run_seconds: float, /
    ) -> Awaitable[None] | None:
        """Hear what came of ``call``; not called when the step ended first.

        ``run_seconds`` is how long its function ran, without the time for which it waited for a
        person; 0 where it did not run.
        """


class CallObserver(Protocol):
    """Hears of each call, in the call's own task; sync or async."""

    def started(self, call: ToolCall, /) -> Awaitable[None] | None:
        """Hear that ``call`` is on its way."""

    def finished(self, call: ToolCall, result: ToolResult, /) -> Awaitable[None] | None:
        """Hear what came of ``call``; not called when the step ended first."""


async def run_calls(
    calls: Sequence[ToolCall],
    box: ToolBox,
    *,
    session: str,
    turn: str,
    agent: str,
    filters: Sequence[Filter] = (),
    observe: CallObserver | None = None,
    watch: StepObserver | None = None,
    ledger: CallLedger | None = None,
    desk: TurnDesk | None = None,
) -> tuple[ToolResult, ...]:
    """Run the calls of one step and return one result for each, in call order.

    Calls run in parallel, except that a tool declared ``exclusive`` runs alone, after all calls
    before it and before all calls after it.

    Args:
        calls: The calls of one model answer.
        box: The tools there are.
        session: The session's id, for `ToolContext`.
        turn: The turn's id, for `ToolContext`.
        agent: The agent's name, for `ToolContext`.
        filters: The filters of the turn; those of the tool path are used, first listed outermost.
            A filter that renames a call does not change whom it runs beside.
        observe: Hears when each call starts and finishes.
        watch: Hears the same, with positions and times; give one of the two.
        ledger: Keeps how far each call has come; made for exactly these calls. Give one to be
            able to `seal` the step when it ends early, or, made with results, to resume a step:
            calls that have a result are not run, and their observer hears nothing of them.
        desk: What the turn offers: a record before each run, a person to ask, the session's
            state. Without one, tools with ``approval="ask"`` are not run.

    Raises:
        InvalidRequest: The ledger is for other calls, or of a step that was begun; or two
            observers were given.
        FilterFailed: A filter is broken.
        ActrioError: A filter or the desk ended the step with it.

    *Backpressure*: calls wait for one of `ToolLimits.parallel_max` places; a call that waits for
    a person holds none.

    *Cancellation*: passes at once. Every task that was started is gone; the thread of a sync tool
    is left behind, see `tool`. The ledger tells how far each call had come.

    *Failure*: a call that fails is a result. Only filters, the desk and the observer can end the
    step; then the other calls are cancelled, and the first error is raised as it is.
    """
    if ledger is None:
        ledger = CallLedger(calls)
    _check_ledger(ledger, calls)
    ears = _ears(observe, watch)
    await trio.lowlevel.checkpoint()
    step = Step(box, ledger, session, turn, agent, tuple(filters), desk)
    for group in _groups(ledger.calls, box):
        left = [index for index in group if ledger.results[index] is None]
        if left:
            await _run_group(step, left, ears)
    results = tuple(result for result in ledger.results if result is not None)
    assert len(results) == len(ledger.calls)
    return results


def _check_ledger(ledger: CallLedger, calls: Sequence[ToolCall]) -> None:
    if ledger.calls != tuple(calls):
        raise InvalidRequest("The ledger was made for other calls.", remedy="Make one per step.")
    if not {"waiting", "finished"}.issuperset(ledger.states):
        raise InvalidRequest(
            "The ledger is of a step that was begun.",
            remedy="Seal its calls, and resume with CallLedger(calls, results).",
        )


def _ears(observe: CallObserver | None, watch: StepObserver | None) -> StepObserver | None:
    if observe is None:
        return watch
    if watch is not None:
        raise InvalidRequest("A step was given two observers.", remedy="Give `watch` only.")
    return _Positioned(observe)


def _groups(calls: Sequence[ToolCall], box: ToolBox) -> Iterator[list[int]]:
    """Yield the positions of calls that run together, in program order."""

    def is_exclusive(index: int) -> bool:
        found = box.find(calls[index].name)
        return found is not None and found.exclusive

    for exclusive, indices in itertools.groupby(range(len(calls)), is_exclusive):
        if exclusive:
            yield from ([index] for index in indices)
        else:
            yield list(indices)


async def _run_group(step: Step, indices: Sequence[int], ears: StepObserver | None) -> None:
    """Run calls beside each other, and raise the first error as it is."""
    if len(indices) == 1:
        await _CallOnItsWay(step, indices[0], ears).go()
        return
    errors: list[Exception] = []
    async with trio.open_nursery() as nursery:

        async def run(index: int) -> None:
            try:
                await _CallOnItsWay(step, index, ears).go()
            except Exception as error:
                # Raised below, as it is: one error must not become a group of one.
                errors.append(error)
                nursery.cancel_scope.cancel(reason="another call of the step failed")

        for index in indices:
            nursery.start_soon(run, index, name=f"tool {step.ledger.calls[index].name}")
    if errors:
        raise errors[0]


class _CallOnItsWay:
    """One call on the path drawn above."""

    __slots__ = ("_desk_error", "_ears", "_index", "_run_seconds", "_step")

    def __init__(self, step: Step, index: int, ears: StepObserver | None) -> None:
        self._step = step
        self._index = index
        self._ears = ears
        self._run_seconds = 0.0
        # What the desk raised; it ends the step, whatever a filter makes of it.
        self._desk_error: Exception | None = None

    async def go(self) -> None:
        step, index = self._step, self._index
        call = step.ledger.calls[index]
        if self._ears is not None:
            await _heard(self._ears.started(index, call))
        result = await self._filtered(call)
        # A filter may have made its result for another call; the model asked under this id.
        result = attrs.evolve(result, call_id=call.id, name=call.name)
        step.ledger.finish(index, result)
        if self._ears is not None:
            await _heard(self._ears.finished(index, call, result, self._run_seconds))

    async def _filtered(self, call: ToolCall) -> ToolResult:
        chain = compile_chain(self._step.filters, "tool", self._perform)
        try:
            result = await chain(call)
        except CallerError as refusal:
            # The innermost raises one for the desk only, so a filter said no to this call.
            result = _result(call, "error", str(refusal))
        if self._desk_error is not None:
            raise self._desk_error
        return result

    async def _perform(self, call: ToolCall) -> ToolResult:
        """Do what the filters stand around: find, read, ask, run, bound."""
        box = self._step.box
        if self._index >= box.limits.calls_max:
            return _result(
                call,
                "error",
                f"Not run: at most {box.limits.calls_max} calls are run in one step. "
                "Call again with fewer.",
            )
        found = box.find(call.name)
        if found is None:
            name = call.name[:_NAME_EXCERPT]
            text = f"There is no tool {name!r}. {box.suggestion(name)}"
            return _result(call, "error", text)
        if found.name in box.disabled:
            text = f"The tool {found.name!r} is switched off. {box.suggestion(call.name)}"
            return _result(call, "disabled", text)
        try:
            arguments = read_arguments(found.name, found.signature, call.arguments)
        except ArgumentsInvalid as problem:
            return _result(call, "error", str(problem))
        if found.approval == "ask":
            refusal = await self._refusal(call, found)
            if refusal:
                return _result(call, "error", refusal)
        return await self._run_function(call, found, arguments)

    async def _refusal(self, call: ToolCall, found: Tool) -> str:
        """Ask a person; return why the call may not run, or nothing where it may."""
        step, index = self._step, self._index
        if step.desk is None:
            return no_person_text(found.name)
        step.ledger.ask(index)
        with step.box._slots.person_asked():  # noqa: SLF001 - the box lends its counts to this path
            leave = await self._at_desk(functools.partial(step.desk.permit, index, call, found))
        step.ledger.decide(index)
        return "" if leave.approved else refusal_text(found.name, leave)

    async def _run_function(
        self, call: ToolCall, found: Tool, arguments: dict[str, Any]
    ) -> ToolResult:
        step, index = self._step, self._index
        on_begin = None
        if step.desk is not None:
            begun = functools.partial(step.desk.begun, index, call, found)
            on_begin = functools.partial(self._at_desk, begun)
        run = Run(step, index, call, found, arguments, on_begin=on_begin)
        try:
            state, text = await run.outcome()
        finally:
            self._run_seconds = run.run_seconds
        if state == "success":
            # Only here: a small bound must not cut the advice in an error.
            text = bounded(text, found.output_bytes_max)
            return ToolResult(call.id, call.name, text)
        return _result(call, state, text)

    async def _at_desk(self, ask: Callable[[], Awaitable[T]]) -> T:
        try:
            return await ask()
        except Exception as error:
            # Remembered, not handled: it tells the desk's errors from a filter's refusal.
            self._desk_error = error
            raise


class _Positioned:
    """A `CallObserver`, which hears neither positions nor times, as a `StepObserver`."""

    __slots__ = ("_observe",)

    def __init__(self, observe: CallObserver) -> None:
        self._observe = observe

    def started(self, _index: int, call: ToolCall, /) -> Awaitable[None] | None:
        return self._observe.started(call)

    def finished(
        self, _index: int, call: ToolCall, result: ToolResult, _run_seconds: float, /
    ) -> Awaitable[None] | None:
        return self._observe.finished(call, result)


def _result(call: ToolCall, state: ToolResultState, text: str) -> ToolResult:
    return ToolResult(call.id, call.name, bounded(text, OUTPUT_BYTES_MAX), state)


async def _heard(answer: Awaitable[None] | None) -> None:
    if answer is not None:
        await answer
