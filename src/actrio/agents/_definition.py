"""What an agent is: a frozen definition, with no state of its own."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import attrs
import msgspec

from actrio.errors import InvalidRequest
from actrio.filters import Filter
from actrio.messages import IfBusy, ModelOptions
from actrio.tools import Tool, tool

__all__ = ["Agent", "OutputType", "output_type"]


@attrs.frozen(slots=True)
class OutputType:
    """An agent's output type, made ready: its JSON Schema and a strict reader."""

    type: Any
    schema: Mapping[str, Any] = attrs.field(hash=False, eq=False)
    _decoder: msgspec.json.Decoder[Any] = attrs.field(repr=False, eq=False)

    def read(self, text: str) -> Any:
        """Return the value in ``text``.

        Raises:
            ValueError: With what is wrong, in words for the model.
        """
        try:
            return self._decoder.decode(_without_fence(text))
        except (msgspec.DecodeError, UnicodeEncodeError) as error:
            raise ValueError(str(error)) from error


def output_type(kind: Any) -> OutputType:
    """Make ``kind`` (an attrs class, dataclass, msgspec Struct or plain type) an output type.

    Raises:
        InvalidRequest: It has no JSON Schema.
    """
    try:
        (schema,), components = msgspec.json.schema_components(
            [kind], ref_template="#/$defs/{name}"
        )
        decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(kind, strict=True)
    except (TypeError, RuntimeError) as error:
        raise InvalidRequest(
            f"{kind!r} cannot be an output type: {error}",
            remedy="Use an attrs class, a dataclass, a msgspec Struct, or int, str, list, dict …",
        ) from error
    if "$ref" in schema:
        schema = dict(components[schema["$ref"].removeprefix("#/$defs/")])
        components = {name: part for name, part in components.items() if part != schema}
    if components:
        schema = {**schema, "$defs": components}
    return OutputType(kind, schema, decoder)


_FENCE = re.compile(r"^\s*```[a-zA-Z]*\s*\n(.*?)\n?\s*```\s*$", re.DOTALL)


def _without_fence(text: str) -> str:
    """Models without constrained output like to put JSON into a code fence."""
    found = _FENCE.match(text)
    return found.group(1) if found else text


def _tools(given: Any) -> tuple[Tool, ...]:
    return tuple(each if isinstance(each, Tool) else tool(each) for each in given)


def _output(given: Any) -> OutputType | None:
    return given if given is None or isinstance(given, OutputType) else output_type(given)


def _at_least(minimum: int) -> Callable[[Any, attrs.Attribute[Any], Any], None]:
    def check(instance: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
        if not isinstance(value, int) or value < minimum:
            raise InvalidRequest(
                f"{attribute.name} of agent {instance.name!r} is {value!r}.",
                remedy=f"Use a whole number of at least {minimum}.",
            )

    return check


def _named(_instance: Any, _attribute: Any, value: Any) -> None:
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", value):
        raise InvalidRequest(
            f"{value!r} cannot be an agent's name.",
            remedy="Use 1 to 64 letters, digits, dots, dashes and underscores.",
        )


@attrs.frozen(slots=True)
class Agent:
    """A definition: which model, told what, with which tools, within which limits.

    Args:
        name: Its address below ``/agents``.
        model: ``provider:model``, for example ``openai:gpt-4o`` or ``local:smollm2``.
        instructions: The system prompt.
        tools: Tools, or plain functions that become tools.
        output: A type that the answer must have; the validated value is ``TurnResult.output``.
        options: Sampling.
        steps_max: Model calls per turn. 10 lets a model use tools several times and still
            bounds what a confused one can spend.
        output_retries: How often a wrong answer goes back to the model.
        filters: This agent's filters, inside the runtime's.
        if_busy: What to do with a message that comes while a turn runs; see `IfBusy`.
        queue_max: Messages that may wait for their turn. 8 is a person typing ahead.
        window_tokens: How much of the history a model is shown, about; older turns are left out
            for good, and each time is recorded. All of it where None.
    """

    name: str = attrs.field(validator=_named)
    model: str = "scripted:demo"
    instructions: str = ""
    tools: tuple[Tool, ...] = attrs.field(default=(), converter=_tools)
    output: OutputType | None = attrs.field(default=None, converter=_output)
    options: ModelOptions = ModelOptions()
    steps_max: int = attrs.field(default=10, validator=_at_least(1))
    output_retries: int = attrs.field(default=2, validator=_at_least(0))
    filters: tuple[Filter, ...] = attrs.field(default=(), converter=tuple)
    if_busy: IfBusy = "queue"
    queue_max: int = attrs.field(default=8, validator=_at_least(0))
    window_tokens: int | None = attrs.field(
        default=None, validator=attrs.validators.optional(_at_least(1))
    )

    def as_json(self, value: Any) -> Any:
        """Return a value of the output type as JSON has it; None for None."""
        return None if value is None else msgspec.to_builtins(value)
