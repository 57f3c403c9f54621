"""The one tool path. Every call of every model goes this way, and there is no other.

::

    started (observer)
    before_tool and around_tool filters            may change, answer or refuse the call
      is there such a tool, is it switched on       else the result says so
      arguments: size, JSON, schema                 else the result lists what is wrong
      a free place among parallel_max               waits
      the tool's own deadline begins
        run                                         in this task, or in a thread
      the result as text, within its bound
    around_tool and after_tool filters
    ledger: finished
    finished (observer)

Whatever goes wrong with a call is its result, for the model to act on: a refusal by a filter (any
`CallerError`) is one too. What ends the whole step is a filter that is broken (`FilterFailed`) or
that asks for it by raising another `ActrioError`, such as `TurnAborted`.
"""

from __future__ import annotations

import functools
import inspect
import itertools
from collections.abc import Awaitable, Iterator, Sequence
from typing import Any, Protocol

import attrs
import structlog
import trio

from actrio.errors import CallerError, InvalidRequest
from actrio.filters import Filter, compile_chain
from actrio.messages import ToolCall, ToolResult, ToolResultState
from actrio.tools._arguments import ArgumentsInvalid, read_arguments
from actrio.tools._box import ToolBox
from actrio.tools._ledger import CallLedger
from actrio.tools._output import bounded, describe_error, text_of
from actrio.tools._threads import ThreadCall
from actrio.tools._tool import OUTPUT_BYTES_MAX, Tool
from actrio.tools._tool_context import ToolContext

__all__ = ["CallObserver", "run_calls"]

_NAME_EXCERPT = 80
"""Characters of an unknown name that are quoted; no real name is longer than 64."""

_log = structlog.get_logger("actrio.tools")


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
    ledger: CallLedger | None = None,
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
        ledger: Keeps how far each call has come; made for exactly these calls. Give one to be
            able to `seal` the step when it ends early.

    Raises:
        InvalidRequest: The ledger is for other calls.
        FilterFailed: A filter is broken.
        ActrioError: A filter ended the step with it.

    *Backpressure*: calls wait for one of `ToolLimits.parallel_max` places.

    *Cancellation*: passes at once. Every task that was started is gone; the thread of a sync tool
    is left behind, see `tool`. The ledger tells how far each call had come.

    *Failure*: a call that fails is a result. Only filters and the observer can end the step; then
    the other calls are cancelled, and the first error is raised as it is.
    """
    if ledger is None:
        ledger = CallLedger(calls)
    elif ledger.calls != tuple(calls):
        raise InvalidRequest("The ledger was made for other calls.", remedy="Make one per step.")
    await trio.lowlevel.checkpoint()
    step = _Step(box, ledger, session, turn, agent, tuple(filters), observe)
    for group in _groups(ledger.calls, box):
        await step.run_group(group)
    results = tuple(result for result in ledger.results if result is not None)
    assert len(results) == len(ledger.calls)
    return results


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


@attrs.frozen(slots=True)
class _Step:
    """What all calls of one step have in common."""

    box: ToolBox
    ledger: CallLedger
    session: str
    turn: str
    agent: str
    filters: tuple[Filter, ...]
    observe: CallObserver | None

    async def run_group(self, indices: Sequence[int]) -> None:
        if len(indices) == 1:
            await self._run_call(indices[0])
            return
        errors: list[Exception] = []
        async with trio.open_nursery() as nursery:

            async def run(index: int) -> None:
                try:
                    await self._run_call(index)
                except Exception as error:
                    # Raised below, as it is: one error must not become a group of one.
                    errors.append(error)
                    nursery.cancel_scope.cancel(reason="another call of the step failed")

            for index in indices:
                nursery.start_soon(run, index, name=f"tool {self.ledger.calls[index].name}")
        if errors:
            raise errors[0]

    async def _run_call(self, index: int) -> None:
        call = self.ledger.calls[index]
        if self.observe is not None:
            await _heard(self.observe.started(call))
        chain = compile_chain(self.filters, "tool", functools.partial(self._perform, index))
        try:
            result = await chain(call)
        except CallerError as refusal:
            # The innermost never raises one, so a filter said no to this call.
            result = _result(call, "error", str(refusal))
        # A filter may have made its result for another call; the model asked under this id.
        result = attrs.evolve(result, call_id=call.id, name=call.name)
        self.ledger.finish(index, result)
        if self.observe is not None:
            await _heard(self.observe.finished(call, result))

    async def _perform(self, index: int, call: ToolCall) -> ToolResult:
        """Do what the filters stand around: find, read, run, bound."""
        box = self.box
        if index >= box.limits.calls_max:
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
        return await self._run_in_place(index, call, found, arguments)

    async def _run_in_place(
        self, index: int, call: ToolCall, found: Tool, arguments: dict[str, Any]
    ) -> ToolResult:
        slots = self.box._slots  # noqa: SLF001 - the box lends its places to this path only
        async with slots.parallel:
            slots.peak = max(slots.peak, int(slots.parallel.borrowed_tokens))
            run = _Run(self, index, call, found, arguments)
            try:
                state, text = await run.outcome()
            finally:
                slots.finished += 1
        if state == "success":
            # Only here: a small bound must not cut the advice in an error.
            text = bounded(text, found.output_bytes_max)
            return ToolResult(call.id, call.name, text)
        return _result(call, state, text)


class _Run:
    """One call that has its place: the deadline, the function, and whatever comes of it."""

    __slots__ = ("_arguments", "_begun", "_call", "_found", "_index", "_step", "_thread")

    def __init__(
        self, step: _Step, index: int, call: ToolCall, found: Tool, arguments: dict[str, Any]
    ) -> None:
        self._step = step
        self._index = index
        self._call = call
        self._found = found
        self._arguments = arguments
        self._begun = False
        self._thread: ThreadCall | None = None

    async def outcome(self) -> tuple[ToolResultState, str]:
        """Run the function to its end, and say how it ended."""
        state, text = await self._ended()
        # Not reached by a cancel from outside: the ledger then still says running, which is true.
        if self._begun:
            self._step.ledger.end(self._index)
        return state, text

    async def _ended(self) -> tuple[ToolResultState, str]:
        try:
            with trio.move_on_after(self._found.timeout_seconds):
                return "success", text_of(await self._value())
        except (Exception, SystemExit) as error:
            # Whatever a tool raises is its result. SystemExit too: a tool that borrows a command
            # line's code must not end the program that serves everybody else.
            self._log(error)
            return "error", describe_error(error)
        except BaseExceptionGroup as group:
            # Tasks of the tool broke while they were being cancelled: the cancel goes on alone.
            cancelled, others = group.split(trio.Cancelled)
            if cancelled is None or (others is not None and not isinstance(others, Exception)):
                raise
            if others is not None:
                self._log(others)
            raise cancelled from None
        return "timeout", self._timeout_text()

    async def _value(self) -> Any:
        found = self._found
        function = functools.partial(found.function, **self._arguments, **self._injected())
        if found.is_async:
            self._begin()
            return await function()
        slots = self._step.box._slots  # noqa: SLF001 - as in _run_in_place
        self._thread = ThreadCall(function, slots.threads, slots.thread_counts, self._begin)
        value = await self._thread.run()
        # A decorator may hide that a function is async: then the thread gave its coroutine.
        return await value if inspect.isawaitable(value) else value

    def _begin(self) -> None:
        self._begun = True
        self._step.ledger.begin(self._index)

    def _injected(self) -> dict[str, ToolContext]:
        step = self._step
        context = ToolContext(
            session=step.session,
            turn=step.turn,
            agent=step.agent,
            call_id=self._call.id,
            tool=self._found.name,
            deadline=trio.current_effective_deadline(),
        )
        return dict.fromkeys(self._found.signature.injected, context)

    def _timeout_text(self) -> str:
        name, seconds = self._found.name, f"{self._found.timeout_seconds:g} s"
        if not self._begun:
            threads = self._step.box.limits.threads_max
            return (
                f"The tool {name!r} was not started: for {seconds} none of the {threads} threads "
                "for such tools became free. Nothing was done."
            )
        if self._thread is not None and self._thread.abandoned:
            return (
                f"The tool {name!r} did not end within {seconds}. It cannot be stopped and may "
                "still be at work; its result will be discarded."
            )
        return (
            f"The tool {name!r} did not end within {seconds} and was stopped. "
            "What it did until then is unknown."
        )

    def _log(self, error: BaseException) -> None:
        _log.debug(
            "tool raised",
            session=self._step.session,
            turn=self._step.turn,
            call=self._call.id,
            tool=self._found.name,
            exc_info=error,
        )


def _result(call: ToolCall, state: ToolResultState, text: str) -> ToolResult:
    return ToolResult(call.id, call.name, bounded(text, OUTPUT_BYTES_MAX), state)


async def _heard(answer: Awaitable[None] | None) -> None:
    if answer is not None:
        await answer
