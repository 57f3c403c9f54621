"""From a Python function to the parameters a model may fill in.

The signature says which parameters there are, the annotations what each may be, the docstring
what each is for. What no model could fill in is refused here, when the function is decorated,
because an error in a turn would come to somebody who cannot change the code.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any

import attrs
import msgspec

from actrio.errors import InvalidRequest
from actrio.tools._schema import object_schema, schema_of
from actrio.tools._tool_context import ToolContext

__all__ = ["Parameter", "ToolSignature", "innermost_function", "read_signature"]


@attrs.frozen(slots=True)
class Parameter:
    """One argument that a model may give.

    Attributes:
        decoder: Reads the argument's JSON strictly into the annotated type.
        nested: Whether objects with named fields may occur in it.
    """

    name: str
    annotation: Any
    required: bool
    decoder: msgspec.json.Decoder[Any]
    schema: Mapping[str, Any]
    nested: bool


@attrs.frozen(slots=True)
class ToolSignature:
    """What was read: parameters for the model, names to inject, and the texts for the model."""

    parameters: tuple[Parameter, ...]
    injected: tuple[str, ...]
    schema: Mapping[str, Any]
    description: str


def innermost_function(function: Callable[..., Any]) -> Any:
    """Return the plain function in a partial, a method, a decorated or a callable object."""
    seen = function
    while True:
        if isinstance(seen, functools.partial):
            seen = seen.func
        elif inspect.ismethod(seen):
            seen = seen.__func__
        elif hasattr(seen, "__wrapped__"):
            seen = seen.__wrapped__
        elif inspect.isroutine(seen) or inspect.isclass(seen):
            return seen
        else:
            seen = type(seen).__call__


def read_signature(
    function: Callable[..., Any], name: str, *, skip_first: bool, description: str | None
) -> ToolSignature:
    """Read ``function``; raises InvalidRequest where a model could not call it."""
    where = f"The tool {name!r}"
    _refuse_generators(function, where)
    declared = _declared(function, skip_first=skip_first)
    _refuse_kinds(declared, where)
    hints = _hints(function, declared, where)
    injected = tuple(each for each in declared if _is_tool_context(hints[each]))
    text, about = _docstring(function)
    parameters = tuple(
        _parameter(declared[each], hints[each], where) for each in declared if each not in injected
    )
    return ToolSignature(
        parameters=parameters,
        injected=injected,
        schema=object_schema(
            {each.name: each.annotation for each in parameters},
            {each.name: _extras(declared[each.name], about) for each in parameters},
            [each.name for each in parameters if each.required],
        ),
        description=text if description is None else description,
    )


def _refuse_generators(function: Callable[..., Any], where: str) -> None:
    inner = innermost_function(function)
    if inspect.isasyncgenfunction(inner) or inspect.isgeneratorfunction(inner):
        raise InvalidRequest(
            f"{where} is a generator, but a tool has one result.",
            remedy="Collect what it yields and return it.",
        )


def _declared(function: Callable[..., Any], *, skip_first: bool) -> dict[str, inspect.Parameter]:
    declared = dict(inspect.signature(function).parameters)
    if isinstance(function, functools.partial):
        # What the partial fixed by keyword is decided; a model has no say in it.
        declared = {key: each for key, each in declared.items() if key not in function.keywords}
    if skip_first:
        del declared[next(iter(declared))]
    return declared


def _refuse_kinds(declared: Mapping[str, inspect.Parameter], where: str) -> None:
    for name, each in declared.items():
        if each.kind in (each.VAR_POSITIONAL, each.VAR_KEYWORD):
            stars = "*" if each.kind is each.VAR_POSITIONAL else "**"
            raise InvalidRequest(
                f"{where} takes {stars}{name}, which has no schema.",
                remedy=f"Name each argument, or take one list or dict: `{name}: list[str]`.",
            )
        if each.kind is each.POSITIONAL_ONLY:
            raise InvalidRequest(
                f"{where} takes {name!r} by position only, but arguments come by name.",
                remedy="Remove the `/` from its signature.",
            )
        if each.annotation is each.empty:
            remedy = f"Write its type, as in `{name}: str`."
            if name in ("self", "cls"):
                remedy = "Decorate the bound method, as in `tool(instance.method)`."
            raise InvalidRequest(
                f"{where} has the parameter {name!r} without a type.", remedy=remedy
            )


def _hints(
    function: Callable[..., Any], declared: Mapping[str, inspect.Parameter], where: str
) -> dict[str, Any]:
    """Return the resolved type of each parameter; the return type is nobody's business here."""
    inner = innermost_function(function)
    # A type checker's import of ToolContext (`if TYPE_CHECKING:`) leaves no name at run time.
    module = {"ToolContext": ToolContext, **getattr(inner, "__globals__", {})}
    hints: dict[str, Any] = {}
    local: dict[str, Any] | None = None
    for name, each in declared.items():
        try:
            hint = _resolve(each.annotation, module, {})
        except NameError:
            # Types of an enclosing function: they are in its frame, which still runs.
            local = _enclosing_locals(module) if local is None else local
            try:
                hint = _resolve(each.annotation, module, local)
            except NameError as error:
                raise InvalidRequest(
                    f"{where} has the parameter {name!r} of type {each.annotation!r}, and {error}.",
                    remedy="Import or define that type where the function is defined, outside of "
                    "`if TYPE_CHECKING:`.",
                ) from None
        # `x: int = None` is an old way to write `x: int | None = None`.
        hints[name] = hint | None if each.default is None and isinstance(hint, type) else hint
    return hints


def _resolve(annotation: Any, module: dict[str, Any], local: dict[str, Any]) -> Any:
    holder = types.SimpleNamespace(__annotations__={"it": annotation})
    return typing.get_type_hints(holder, module, local, include_extras=True)["it"]


def _enclosing_locals(module: Mapping[str, Any]) -> dict[str, Any]:
    """Return the local names of the running frames of that module, the innermost winning."""
    names: dict[str, Any] = {}
    frame = inspect.currentframe()
    while frame is not None:
        if frame.f_globals.get("__name__") == module.get("__name__"):
            names = {**frame.f_locals, **names}
        frame = frame.f_back
    return names


def _is_tool_context(hint: Any) -> bool:
    return hint is ToolContext or ToolContext in typing.get_args(hint)


def _parameter(declared: inspect.Parameter, annotation: Any, where: str) -> Parameter:
    try:
        schema = schema_of(annotation)
        decoder = msgspec.json.Decoder(annotation)
    except TypeError as error:
        reason = str(error).strip().splitlines()[-1].rstrip(".")
        raise InvalidRequest(
            f"{where} has the parameter {declared.name!r} of type {_type_name(annotation)}, "
            f"which cannot come from JSON: {reason}.",
            remedy="Use str, int, float, bool, list, dict, Literal, an enum, a date, an attrs "
            "class, a dataclass or a TypedDict; or annotate it ToolContext to have it injected.",
        ) from None
    return Parameter(
        name=declared.name,
        annotation=annotation,
        required=declared.default is declared.empty,
        decoder=decoder,
        schema=schema,
        nested=b'"properties"' in msgspec.json.encode(schema),
    )


def _type_name(annotation: Any) -> str:
    return annotation.__qualname__ if isinstance(annotation, type) else str(annotation)


def _extras(declared: inspect.Parameter, about: Mapping[str, str]) -> dict[str, Any]:
    extras: dict[str, Any] = {}
    if declared.name in about:
        extras["description"] = about[declared.name]
    if declared.default is not declared.empty:
        # Where JSON has no form for it the schema does without; the function still has it.
        with contextlib.suppress(TypeError):
            extras["default"] = msgspec.to_builtins(declared.default, str_keys=True)
    return extras


def _docstring(function: Callable[..., Any]) -> tuple[str, dict[str, str]]:
    import docstring_parser  # late: a program without tools has no use for it

    raw = inspect.getdoc(innermost_function(function)) or ""
    try:
        parsed = docstring_parser.parse(raw)
    except docstring_parser.ParseError:
        return raw, {}
    about = {
        each.arg_name.lstrip("*"): " ".join(each.description.split())
        for each in parsed.params
        if each.description
    }
    return (parsed.description or "").strip(), about
