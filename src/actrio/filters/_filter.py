"""What a filter is: a function, the stage it stands on, and its rules.

Three paths cross a turn, and each has a payload going in and an outcome coming out::

    path     payload       outcome        once per
    agent    AgentInput    TurnResult     turn
    model    ModelInput    ModelOutput    step
    tool     ToolCall      ToolResult     tool call

A filter stands on one of them, in one of three forms:

``around``
    ``async def f(payload, proceed) -> outcome``. It may change the payload, call ``proceed`` or
    answer in its place, and change the outcome.
``before``
    ``def f(payload)`` gives another payload, an outcome (the rest of the path is left out), or
    ``None`` for "go on as it is".
``after``
    ``def f(outcome)`` gives another outcome, or ``None`` for "as it is". It runs when the path
    gave an outcome, also a short-circuited one, and not when the path raised.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, Generic, Literal, Protocol, TypeVar, cast, overload

import attrs

from actrio.errors import InvalidRequest, NotSupported
from actrio.messages import (
    ModelInput,
    ModelOutput,
    ToolCall,
    ToolResult,
    TurnResult,
    UserMessage,
)

__all__ = [
    "OUTCOMES",
    "PAYLOADS",
    "AgentInput",
    "AgentProceed",
    "Filter",
    "FilterPath",
    "FilterStage",
    "ModelProceed",
    "ToolProceed",
    "after_agent",
    "after_model",
    "after_tool",
    "around_agent",
    "around_model",
    "around_tool",
    "before_agent",
    "before_model",
    "before_tool",
]

FilterPath = Literal["agent", "model", "tool"]
FilterForm = Literal["before", "around", "after"]
FilterStage = Literal[
    "before_agent",
    "around_agent",
    "after_agent",
    "before_model",
    "around_model",
    "after_model",
    "before_tool",
    "around_tool",
    "after_tool",
]
OnError = Literal["fail", "skip"]


class StateDoor(Protocol):
    """The way to a session's state."""

    @property
    def state(self) -> Mapping[str, Any]: ...

    async def change_state(
        self, values: Mapping[str, Any], *, remove: Sequence[str] = (), by: str
    ) -> Mapping[str, Any]: ...


@attrs.frozen(slots=True)
class AgentInput:
    """What enters the agent path: one user message on its way into one turn."""

    session: str
    turn: str
    agent: str
    message: UserMessage
    _door: StateDoor | None = attrs.field(default=None, repr=False, eq=False, alias="door")

    @property
    def state(self) -> Mapping[str, Any]:
        """``session.state`` as it is now; empty where the turn belongs to no session."""
        return self._door.state if self._door is not None else {}

    async def change_state(
        self, values: Mapping[str, Any], *, remove: Sequence[str] = (), by: str = "filter"
    ) -> Mapping[str, Any]:
        """Change ``session.state`` under the session's one writer, and return it.

        Args:
            values: Keys and their new values, as JSON has them.
            remove: Keys that go.
            by: Who does it, for the record.

        Raises:
            NotSupported: The turn belongs to no session.
            LimitExceeded: The state would grow beyond its bound.
        """
        if self._door is None:
            raise NotSupported(
                "This turn has no session whose state could change.",
                remedy="Run the filter within a session.",
            )
        return await self._door.change_state(values, remove=remove, by=by)


AgentProceed = Callable[[AgentInput], Awaitable[TurnResult]]
ModelProceed = Callable[[ModelInput], Awaitable[ModelOutput]]
ToolProceed = Callable[[ToolCall], Awaitable[ToolResult]]

PAYLOADS: Final[Mapping[FilterPath, type]] = MappingProxyType(
    {"agent": AgentInput, "model": ModelInput, "tool": ToolCall}
)
OUTCOMES: Final[Mapping[FilterPath, type]] = MappingProxyType(
    {"agent": TurnResult, "model": ModelOutput, "tool": ToolResult}
)


@attrs.frozen(slots=True)
class Filter:
    """One filter, ready to be put into a chain; made by the nine decorators of this room.

    Attributes:
        stage: Where it stands.
        function: What it does.
        name: How errors and logs call it.
        deadline_seconds: Its own time for one payload; ``None`` is no limit. The clock stands
            still while it is inside ``proceed``.
        on_error: What happens when it raises, overruns or returns something else than promised.
        repeats: Whether it may call ``proceed`` more than once.
    """

    stage: FilterStage
    function: Callable[..., Any] = attrs.field(repr=False)
    name: str
    deadline_seconds: float | None = None
    on_error: OnError = "fail"
    repeats: bool = False

    @property
    def path(self) -> FilterPath:
        """Which of the three paths it stands on."""
        return cast("FilterPath", self.stage.partition("_")[2])

    @property
    def form(self) -> FilterForm:
        """Whether it stands before, around or after what it filters."""
        return cast("FilterForm", self.stage.partition("_")[0])


def _is_async(function: Callable[..., Any]) -> bool:
    call = getattr(function, "__call__", None)  # noqa: B004 - its kind is asked, not its presence
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(call)


def _check(made: Filter) -> Filter:
    """Return ``made`` itself; what can be seen to be wrong now must not wait for a turn."""
    where = f"The {made.stage} filter {made.name!r}"
    shape = "(payload, proceed)" if made.form == "around" else "(value)"
    if not callable(made.function):
        raise InvalidRequest(
            f"{where} is not a function.", remedy=f"Decorate a function that takes {shape}."
        )
    if made.form == "around" and not _is_async(made.function):
        raise InvalidRequest(
            f"{where} is not an async function, and only an async function can await proceed.",
            remedy="Write `async def`, or use a before or after filter.",
        )
    try:
        inspect.signature(made.function).bind(*([None] * (2 if made.form == "around" else 1)))
    except TypeError as error:
        raise InvalidRequest(
            f"{where} cannot be called with {shape}: {error}.",
            remedy=f"Let it take exactly {shape}.",
        ) from None
    if made.deadline_seconds is not None and not made.deadline_seconds > 0:
        raise InvalidRequest(
            f"{where} has deadline_seconds={made.deadline_seconds}.",
            remedy="Give a number above zero, or None for no limit.",
        )
    if made.on_error not in ("fail", "skip"):
        raise InvalidRequest(
            f"{where} has on_error={made.on_error!r}.", remedy='Use "fail" or "skip".'
        )
    return made


def _name_of(function: Callable[..., Any]) -> str:
    inner = getattr(function, "func", function)  # a partial has no name of its own
    return str(getattr(inner, "__name__", type(inner).__name__))


F = TypeVar("F", bound=Callable[..., Any])


class StageDecorator(Generic[F]):
    """Makes a `Filter` for one stage, with or without options."""

    def __init__(self, stage: FilterStage, doc: str) -> None:
        self._stage: FilterStage = stage
        self.__doc__ = doc

    def __repr__(self) -> str:
        return f"<decorator {self._stage}>"

    @overload
    def __call__(self, function: F, /) -> Filter: ...
    @overload
    def __call__(
        self,
        /,
        *,
        name: str | None = ...,
        deadline_seconds: float | None = ...,
        on_error: OnError = ...,
    ) -> Callable[[F], Filter]: ...
    def __call__(
        self,
        function: F | None = None,
        /,
        *,
        name: str | None = None,
        deadline_seconds: float | None = None,
        on_error: OnError = "fail",
    ) -> Filter | Callable[[F], Filter]:
        """Make a filter of ``function``.

        Args:
            function: What it does; sync or async for before and after, async for around.
            name: How errors and logs call it; its own name by default.
            deadline_seconds: Its own time for one payload, without the time inside ``proceed``.
                A sync function cannot be interrupted; its overrun shows when it returns.
            on_error: ``"fail"`` ends the path with `FilterFailed`; ``"skip"`` logs it and goes
                on as if the filter were not there.

        Raises:
            InvalidRequest: The function has the wrong shape, or an option is out of range.

        *Failure*: an `ActrioError` that is not a `BugError` is a refusal and passes unchanged,
        whatever ``on_error`` says. So does an error that came out of ``proceed``.
        """

        def made(function: F) -> Filter:
            label = name or _name_of(function)
            return _check(Filter(self._stage, function, label, deadline_seconds, on_error))

        return made if function is None else made(function)


class RepeatableDecorator(StageDecorator[F]):
    """As `StageDecorator`, for a stage on which ``proceed`` may be called more than once."""

    @overload
    def __call__(self, function: F, /) -> Filter: ...
    @overload
    def __call__(
        self,
        /,
        *,
        name: str | None = ...,
        deadline_seconds: float | None = ...,
        on_error: OnError = ...,
        repeats: bool = ...,
    ) -> Callable[[F], Filter]: ...
    def __call__(
        self,
        function: F | None = None,
        /,
        *,
        name: str | None = None,
        deadline_seconds: float | None = None,
        on_error: OnError = "fail",
        repeats: bool = False,
    ) -> Filter | Callable[[F], Filter]:
        """Make a filter of ``function``; see `StageDecorator`.

        Args:
            function: As there.
            name: As there.
            deadline_seconds: As there.
            on_error: As there.
            repeats: Whether it may call ``proceed`` again, as a retry does. How often is the
                filter's own bound to set.
        """

        def made(function: F) -> Filter:
            label = name or _name_of(function)
            return _check(Filter(self._stage, function, label, deadline_seconds, on_error, repeats))

        return made if function is None else made(function)


_AroundAgent = Callable[[AgentInput, AgentProceed], Awaitable[TurnResult]]
_AroundModel = Callable[[ModelInput, ModelProceed], Awaitable[ModelOutput]]
_AroundTool = Callable[[ToolCall, ToolProceed], Awaitable[ToolResult]]
_AgentAnswer = AgentInput | TurnResult | None
_ModelAnswer = ModelInput | ModelOutput | None
_ToolAnswer = ToolCall | ToolResult | None
_BeforeAgent = Callable[[AgentInput], _AgentAnswer | Awaitable[_AgentAnswer]]
_BeforeModel = Callable[[ModelInput], _ModelAnswer | Awaitable[_ModelAnswer]]
_BeforeTool = Callable[[ToolCall], _ToolAnswer | Awaitable[_ToolAnswer]]
_AfterAgent = Callable[[TurnResult], TurnResult | Awaitable[TurnResult | None] | None]
_AfterModel = Callable[[ModelOutput], ModelOutput | Awaitable[ModelOutput | None] | None]
_AfterTool = Callable[[ToolResult], ToolResult | Awaitable[ToolResult | None] | None]

around_agent: Final = StageDecorator[_AroundAgent](
    "around_agent", "Stand around a whole turn: `async def f(input, proceed) -> TurnResult`."
)
before_agent: Final = StageDecorator[_BeforeAgent](
    "before_agent", "See a turn's input first: `def f(input) -> AgentInput | TurnResult | None`."
)
after_agent: Final = StageDecorator[_AfterAgent](
    "after_agent", "See a turn's result last: `def f(result) -> TurnResult | None`."
)
around_model: Final = RepeatableDecorator[_AroundModel](
    "around_model", "Stand around a model call: `async def f(input, proceed) -> ModelOutput`."
)
before_model: Final = StageDecorator[_BeforeModel](
    "before_model", "See a model call first: `def f(input) -> ModelInput | ModelOutput | None`."
)
after_model: Final = StageDecorator[_AfterModel](
    "after_model", "See a model's output: `def f(output) -> ModelOutput | None`."
)
around_tool: Final = StageDecorator[_AroundTool](
    "around_tool", "Stand around a tool call: `async def f(call, proceed) -> ToolResult`."
)
before_tool: Final = StageDecorator[_BeforeTool](
    "before_tool", "See a tool call first: `def f(call) -> ToolCall | ToolResult | None`."
)
after_tool: Final = StageDecorator[_AfterTool](
    "after_tool", "See a tool's result: `def f(result) -> ToolResult | None`."
)
