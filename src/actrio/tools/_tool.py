"""A tool: a function, what a model is told about it, and the rules under which it runs."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable
from typing import Any, Final, Literal, get_args, overload

import attrs

from actrio.errors import InvalidRequest
from actrio.messages import ToolSpec
from actrio.tools._signature import ToolSignature, innermost_function, read_signature

__all__ = ["OUTPUT_BYTES_MAX", "TIMEOUT_SECONDS", "Tool", "ToolApproval", "tool"]

ToolApproval = Literal["never", "ask"]
"""Whether a person is asked before each call: never, or each time."""

TIMEOUT_SECONDS: Final = 60.0
"""How long one call may take by default: a slow web request fits, a hung one ends the same minute."""

OUTPUT_BYTES_MAX: Final = 64 * 1024
"""Largest result by default: about 16 000 tokens, which still fits a small model's window."""

_NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")
"""What every provider accepts as a function's name."""


@attrs.frozen(slots=True, repr=False)
class Tool:
    """A function that a model may call; made by `tool`, and still callable as the function.

    Attributes:
        function: The function itself.
        spec: What a model is told: name, description, JSON Schema of the arguments.
        timeout_seconds: How long one call may take.
        read_only: Whether it has no side effects; told to whoever decides about permission.
        exclusive: Whether no other call of the same step may run beside it.
        output_bytes_max: Where its result is cut.
        approval: Whether a person must give leave before each call.
        signature: How its arguments are read.
        needs_instance: Whether it was defined in a class and is not bound to an instance yet.
    """

    function: Callable[..., Any]
    spec: ToolSpec
    timeout_seconds: float = TIMEOUT_SECONDS
    read_only: bool = False
    exclusive: bool = False
    output_bytes_max: int = OUTPUT_BYTES_MAX
    approval: ToolApproval = "never"
    # Follows from the function; two tools made of one function alike are equal.
    signature: ToolSignature = attrs.field(kw_only=True, eq=False)
    needs_instance: bool = attrs.field(default=False, kw_only=True)

    def __repr__(self) -> str:
        return f"<tool {self.name}>"

    @property
    def name(self) -> str:
        """Its name, as models call it."""
        return self.spec.name

    @property
    def is_async(self) -> bool:
        """Whether it runs in Trio's own thread; others run in threads of their own."""
        call = getattr(self.function, "__call__", None)  # noqa: B004 - its kind is asked
        return inspect.iscoroutinefunction(self.function) or inspect.iscoroutinefunction(call)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function itself, without schema, deadline or bound."""
        return self.function(*args, **kwargs)

    def __get__(self, instance: object | None, owner: type | None = None) -> Tool:
        """Bind a tool that was defined in a class to an instance, as Python binds methods."""
        if instance is None or not self.needs_instance:
            return self
        bound = self.function.__get__(instance, owner)
        return attrs.evolve(self, function=bound, needs_instance=False)


@overload
def tool(function: Callable[..., Any], /) -> Tool: ...
@overload
def tool(
    *,
    name: str | None = ...,
    description: str | None = ...,
    timeout_seconds: float = ...,
    read_only: bool = ...,
    exclusive: bool = ...,
    output_bytes_max: int = ...,
    approval: ToolApproval = ...,
) -> Callable[[Callable[..., Any]], Tool]: ...
def tool(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    timeout_seconds: float = TIMEOUT_SECONDS,
    read_only: bool = False,
    exclusive: bool = False,
    output_bytes_max: int = OUTPUT_BYTES_MAX,
    approval: ToolApproval = "never",
) -> Tool | Callable[[Callable[..., Any]], Tool]:
    """Make a tool of a sync or async function, with or without options.

    The schema comes from the signature and the annotations (``Annotated[int, msgspec.Meta(ge=1)]``
    is respected), the descriptions from the docstring. A parameter annotated `ToolContext` is
    injected. What the function returns becomes the result's text: a string as it is, ``None`` as
    ``done``, anything else as JSON.

    Args:
        function: The function. A sync one runs in a thread.
        name: What models call it; the function's name by default.
        description: What it is for; the docstring by default.
        timeout_seconds: How long one call may take.
        read_only: Declares that it has no side effects.
        exclusive: Lets it run alone among the calls of its step, in program order.
        output_bytes_max: Where its result is cut, in bytes.
        approval: ``"ask"``: a person must give leave before each call, and may take days for it;
            where nobody can be asked, the call is not run, and its result says so.

    Raises:
        InvalidRequest: A model could not call it: an argument without a type or with one that
            JSON has no form for, ``*args``, a name no provider accepts, a generator; or an option
            has no such value.

    *Cancellation*: an async tool is cancelled where it waits. A thread cannot be stopped: at a
    deadline or a cancel the thread of a sync tool is abandoned, runs on by itself, keeps its
    place among `ToolLimits.threads_max`, and its result is discarded. Give sync tools timeouts
    of their own for what they wait for, or write them async.
    """

    def made(function: Callable[..., Any]) -> Tool:
        label = _checked_name(function, name)
        _check_options(label, timeout_seconds, output_bytes_max, approval)
        needs_instance = _is_method_in_class(function)
        signature = read_signature(
            function, label, skip_first=needs_instance, description=description
        )
        return Tool(
            function=function,
            spec=ToolSpec(label, signature.description, signature.schema),
            timeout_seconds=timeout_seconds,
            read_only=read_only,
            exclusive=exclusive,
            output_bytes_max=output_bytes_max,
            approval=approval,
            signature=signature,
            needs_instance=needs_instance,
        )

    return made if function is None else made(function)


def _checked_name(function: Callable[..., Any], name: str | None) -> str:
    given: object = function
    if not callable(given) or isinstance(given, Tool):
        kind = "a tool already" if isinstance(given, Tool) else "not a function"
        raise InvalidRequest(
            f"What was given to @tool is {kind}.", remedy="Decorate a function, once."
        )
    label = str(getattr(innermost_function(function), "__name__", "")) if name is None else name
    if label == "__call__":
        label = type(function).__name__
    if _NAME.fullmatch(label) is None:
        raise InvalidRequest(
            f"No provider accepts {label!r} as a tool's name.",
            remedy="Give one of 1 to 64 ASCII letters, digits, _ and -: @tool(name=…).",
        )
    return label


def _check_options(
    label: str, timeout_seconds: float, output_bytes_max: int, approval: str
) -> None:
    if not timeout_seconds > 0 or math.isnan(timeout_seconds):
        raise InvalidRequest(
            f"The tool {label!r} has timeout_seconds={timeout_seconds}.",
            remedy="Give a number above zero.",
        )
    if output_bytes_max < 1:
        raise InvalidRequest(
            f"The tool {label!r} has output_bytes_max={output_bytes_max}.",
            remedy="Give at least one byte.",
        )
    if approval not in get_args(ToolApproval):
        raise InvalidRequest(
            f"The tool {label!r} has approval={approval!r}.",
            remedy="Write approval='ask' to ask a person before each call, or 'never'.",
        )


def _is_method_in_class(function: Callable[..., Any]) -> bool:
    """Whether ``function`` is being defined in a class body, to be bound later."""
    if not inspect.isfunction(function):
        return False
    scope, _, _ = function.__qualname__.rpartition(".")
    parameters = list(inspect.signature(function).parameters.values())
    return (
        bool(scope)
        and not scope.endswith("<locals>")
        and bool(parameters)
        and parameters[0].name == "self"
        and parameters[0].annotation is inspect.Parameter.empty
    )
