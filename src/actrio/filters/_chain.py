"""The composition: how filters become one function, and what happens when one of them fails.

The first filter listed is the outermost: it sees the payload first and the outcome last. All of
them run in the task of the turn (or of the tool call) that they filter; there is no task, queue
or actor of their own, so a cancelled turn ends them as it ends everything else.

Whose fault an exception is decides what becomes of it. Filter code calls ``proceed``, so most
exceptions that leave a filter are not its own: they came from further in and pass unchanged. An
`ActrioError` that is no `BugError` was raised on purpose, to refuse. What remains is the filter's
own failure, and ``on_error`` decides between ending the path and going on without the filter.
Going on means: use the outcome that ``proceed`` gave, raise what ``proceed`` raised, or, where it
was never called, call the rest of the path with the original payload. Only where ``proceed`` was
begun and ended without either (the filter cancelled it) is there nothing to go on with, because
doing it again could repeat effects; then the path fails in both modes.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final, Literal, overload

import trio

from actrio.errors import ActrioError, BugError, FilterFailed
from actrio.filters._filter import (
    OUTCOMES,
    PAYLOADS,
    AgentProceed,
    Filter,
    FilterPath,
    ModelProceed,
    ToolProceed,
)
from actrio.telemetry import RoomLog

__all__ = ["compile_chain"]

_log = RoomLog("actrio.filters")

_NOTHING: Final = object()


@overload
def compile_chain(
    filters: Iterable[Filter], path: Literal["agent"], innermost: AgentProceed
) -> AgentProceed: ...
@overload
def compile_chain(
    filters: Iterable[Filter], path: Literal["model"], innermost: ModelProceed
) -> ModelProceed: ...
@overload
def compile_chain(
    filters: Iterable[Filter], path: Literal["tool"], innermost: ToolProceed
) -> ToolProceed: ...
def compile_chain(
    filters: Iterable[Filter], path: FilterPath, innermost: Callable[[Any], Awaitable[Any]]
) -> Callable[[Any], Awaitable[Any]]:
    """Return ``innermost`` with the filters of ``path`` around it, the first listed outermost.

    Args:
        filters: Filters of any stage; those of other paths are left out. A runtime's filters are
            listed before an agent's, so that they stand outside of them.
        path: ``"agent"``, ``"model"`` or ``"tool"``.
        innermost: What the filters stand around. Without filters it is returned as it is.

    *Cancellation*: passes through every filter; what they began is gone when it has passed.

    *Failure*: raises what ``innermost`` raises, what a filter refuses with, or `FilterFailed`.
    """
    chain = innermost
    for each in reversed([each for each in filters if each.path == path]):
        chain = functools.partial(_pass_through, each, chain)
    return chain


async def _pass_through(each: Filter, inner: Callable[[Any], Awaitable[Any]], payload: Any) -> Any:
    passage = _Passage(each, inner)
    try:
        with passage.scope:
            return await passage.run(payload)
    except Exception as error:
        # Filter code is foreign: whatever it raises must end up named, and on the right desk.
        failure = passage.judge(error)
    else:
        # Only the passage's own deadline can have ended the block without a return.
        failure = passage.failure(f"ran past its deadline of {each.deadline_seconds:g} s")
    finally:
        passage.over = True
    return await passage.go_on_without(payload, failure)


class _Passage:
    """One payload on its way through one filter, and what ``proceed`` has done so far."""

    __slots__ = (
        "called",
        "deadline_left",
        "each",
        "inner",
        "inner_errors",
        "inside",
        "outcome",
        "over",
        "own_failure",
        "scope",
    )

    def __init__(self, each: Filter, inner: Callable[[Any], Awaitable[Any]]) -> None:
        self.each = each
        self.inner = inner
        seconds = math.inf if each.deadline_seconds is None else each.deadline_seconds
        self.scope = trio.CancelScope(deadline=trio.current_time() + seconds)
        # Time left when the clock was stopped; meaningful only while inside > 0.
        self.deadline_left = seconds
        # How many calls of proceed are under way: more than one where a filter may repeat and
        # does so in parallel. The clock runs only at zero.
        self.inside = 0
        self.called = 0
        self.over = False
        self.outcome: Any = _NOTHING
        self.inner_errors: list[Exception] = []
        # The failure this passage itself raised inside the filter, so that it is not named twice.
        self.own_failure: FilterFailed | None = None

    async def run(self, payload: Any) -> Any:
        each = self.each
        if each.form == "around":
            return self._outcome(await each.function(payload, self.proceed))
        if each.form == "before":
            answer = await self._called(payload)
            if isinstance(answer, OUTCOMES[each.path]):
                return answer
            return await self.proceed(payload if answer is None else answer)
        outcome = await self.proceed(payload)
        answer = await self._called(outcome)
        return outcome if answer is None else self._outcome(answer)

    async def _called(self, value: Any) -> Any:
        answer = self.each.function(value)
        if inspect.isawaitable(answer):
            answer = await answer
        if self.scope.cancel_called:
            # A sync function had no schedule point at which its overrun could have ended it.
            await trio.lowlevel.checkpoint()
        return answer

    async def proceed(self, payload: Any) -> Any:
        """Hand ``payload`` to the rest of the path and return its outcome."""
        self._check_proceed(payload)
        if self.scope.cancel_called:
            # Overdue already, without a schedule point that could have told: do not begin.
            await trio.lowlevel.checkpoint()
        self.called += 1
        self._stop_clock()
        try:
            self.outcome = outcome = await self.inner(payload)
        except Exception as error:
            # Remembered, not handled: it tells the path's errors from the filter's own.
            self.inner_errors.append(error)
            raise
        finally:
            self._start_clock()
        return outcome

    def _check_proceed(self, payload: Any) -> None:
        each = self.each
        if self.over:
            raise self.failure("called proceed after it had ended")
        if self.called and not each.repeats:
            remedy = "Call proceed once"
            if each.stage == "around_model":
                remedy += ", or declare the filter with @around_model(repeats=True)"
            raise self._own(f"called proceed a second time, for one {each.path} call", remedy)
        expected = PAYLOADS[each.path]
        if not isinstance(payload, expected):
            verb = "returned" if each.form == "before" else "gave proceed"
            wanted = expected.__name__
            if each.form == "before":
                wanted += f", {OUTCOMES[each.path].__name__} or None"
            raise self._own(f"{verb} {_kind(payload)}, expected {wanted}")

    def _outcome(self, answer: Any) -> Any:
        expected = OUTCOMES[self.each.path]
        if isinstance(answer, expected):
            return answer
        wanted = expected.__name__ + (" or None" if self.each.form == "after" else "")
        raise self._own(f"returned {_kind(answer)}, expected {wanted}")

    def _stop_clock(self) -> None:
        if self.inside == 0 and self.each.deadline_seconds is not None:
            self.deadline_left = self.scope.deadline - trio.current_time()
            self.scope.deadline = math.inf
        self.inside += 1

    def _start_clock(self) -> None:
        self.inside -= 1
        if self.inside == 0 and self.each.deadline_seconds is not None:
            self.scope.deadline = trio.current_time() + self.deadline_left

    def _own(self, what: str, remedy: str | None = None) -> FilterFailed:
        self.own_failure = self.failure(what, remedy)
        return self.own_failure

    def failure(self, what: str, remedy: str | None = None) -> FilterFailed:
        each = self.each
        return FilterFailed(
            f"The {each.stage} filter {each.name!r} {what}.",
            remedy=remedy or "Correct the filter, or give it on_error='skip'.",
            data={"filter": each.name, "stage": each.stage},
        )

    def judge(self, error: Exception) -> FilterFailed:
        """Return the filter's failure that ``error`` is, or raise it where it is none."""
        for candidate in (error, _sole(error)):
            if any(candidate is inner for inner in self.inner_errors):
                raise candidate
            if candidate is self.own_failure:
                return self.own_failure
        sole = _sole(error)
        if isinstance(sole, ActrioError) and not isinstance(sole, BugError):
            raise sole
        failure = self.failure(f"raised {type(sole).__name__}: {_short(sole)}")
        failure.__cause__ = error
        return failure

    async def go_on_without(self, payload: Any, failure: FilterFailed) -> Any:
        """Do as ``on_error`` says."""
        nothing_to_go_on_with = (
            self.called > 0 and self.outcome is _NOTHING and not self.inner_errors
        )
        if self.each.on_error == "fail" or nothing_to_go_on_with:
            raise failure
        _log.warning(
            "filter skipped",
            filter=self.each.name,
            stage=self.each.stage,
            problem=failure.message,
            exc_info=failure,
        )
        if self.outcome is not _NOTHING:
            return self.outcome
        if self.inner_errors:
            raise self.inner_errors[-1]
        return await self.inner(payload)


def _sole(error: Exception) -> Exception:
    """Return the one exception in ``error``'s group; a nursery in a filter makes such groups."""
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def _kind(value: Any) -> str:
    return "None" if value is None else f"a value of type {type(value).__name__}"


def _short(error: Exception) -> str:
    text = str(error)
    return text if len(text) <= 200 else text[:199] + "…"
