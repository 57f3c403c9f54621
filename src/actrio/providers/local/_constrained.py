"""Tools for a model whose chat template knows none: describe them, and bound the answer.

The server compiles a JSON Schema to a grammar and lets the model write nothing else. So the
schema offers each tool as ``{"tool": NAME, "arguments": {…}}`` and the plain reply as
``{"answer": TEXT}``: a call is well-formed by construction, whatever the model's size. What the
grammar cannot give is judgement. Measured with smollm2 on twelve questions and one, three and
five tools: it chose rightly 17 times of 31, because it prefers to call something, whatever was
said; and after a turn that was answered in words 11 times, because it repeats what it did.
Examples in the prompt made it worse (they are copied). Two things helped: to offer only tools
that share a word with the question, and none where none does; and to show it only the question
while it chooses. So it chose rightly 30 times of 31, with and without an earlier turn. That is
``focused``, for the bundled model alone: it also misses a tool that the question does not name,
and larger models judge better with all they can see.

One exchange, as the model sees it::

    system     You are a helpful assistant.
               You can call these functions: …
    user       What is the weather in Paris?
    assistant  {"tool": "get_weather", "arguments": {"city": "Paris"}}
                                              the tool runs; then, without a constraint:
    system     You are a helpful assistant.
    user       What is the weather in Paris?
    assistant  I will call get_weather.
    user       The result is: 14°C, light rain
               Now answer my question: What is the weather in Paris?

The question is said again because a small model has lost it by then: of eight results, each asked
for with and without earlier conversation, smollm2 used 16 of 16 with it and 3 of 16 without.

Pure: `ModelInput` in, `ModelInput` out. `ConstrainedReader` is the way back.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import attrs

from actrio.messages import (
    AssistantMessage,
    Message,
    ModelInput,
    Text,
    ToolMessage,
    ToolResult,
    ToolSpec,
    UserMessage,
)

__all__ = ["constrain", "offered_tools"]


def offered_tools(
    request: ModelInput, *, tool_rounds: int, focused: bool = False
) -> tuple[ToolSpec, ...]:
    """Return the tools that the model may call in this step; none means a plain answer.

    Args:
        request: The step's input, with its whole history.
        tool_rounds: Rounds of calls allowed since the last user message.
        focused: Whether to offer only tools that share a word with that message.
    """
    if request.options.tool_choice == "none" or _rounds(request.messages) >= tool_rounds:
        return ()
    if not focused or request.options.tool_choice == "required":
        return request.tools
    question = _question(request.messages)
    return tuple(tool for tool in request.tools if _matches(tool, question))


def constrain(request: ModelInput, *, tool_rounds: int, focused: bool = False) -> ModelInput:
    """Return ``request`` without tools, meaning the same to a model that knows none.

    The arguments are those of `offered_tools`. Where tools are offered, the answer is bound to a
    call of one of them or an ``answer``; an own response schema then bounds the ``answer``.
    ``focused`` also hides what was said before the question while tools are offered.
    """
    offered = offered_tools(request, tool_rounds=tool_rounds, focused=focused)
    instructions, options = request.instructions, request.options
    messages = _in_words(request.messages)
    if offered:
        required = options.tool_choice == "required"
        instructions = " ".join(filter(None, (instructions, _describe(offered, required))))
        schema = _schema(offered, None if required else options.response_schema or _TEXT)
        options = attrs.evolve(options, response_schema=schema)
        if focused:
            messages = _in_words(request.messages[_question_place(request.messages) :])
    return attrs.evolve(
        request,
        messages=messages,
        instructions=instructions,
        tools=(),
        options=attrs.evolve(options, tool_choice="auto"),
    )


# ---- what is offered -------------------------------------------------------------------------


def _question_place(messages: Sequence[Message]) -> int:
    """Return where the last user message stands, or 0."""
    for place in range(len(messages) - 1, -1, -1):
        if isinstance(messages[place], UserMessage):
            return place
    return 0


def _rounds(messages: Sequence[Message]) -> int:
    """Count the assistant messages with tool calls since the last user message."""
    since = messages[_question_place(messages) :]
    return sum(isinstance(m, AssistantMessage) and bool(m.tool_calls) for m in since)


def _question(messages: Sequence[Message]) -> str:
    last = messages[_question_place(messages)] if messages else None
    return last.text if isinstance(last, UserMessage) else ""


_STEM_LETTERS: Final = 5  # "count", "counts" and "counting" are one word; "weather" keeps its sense
_STOP_TEXT: Final = (
    "a an and are can could do does for from give how i in is it its many me my name of on or our "
    "please tell that the their this to use was what when where which who will with would you "
    "your string number value get set"
)
_STOP_WORDS: Final = frozenset(_STOP_TEXT.split())


def _stems(text: str) -> set[str]:
    found = re.findall(r"[^\W\d_]+", text.casefold())
    return {word[:_STEM_LETTERS] for word in found if word not in _STOP_WORDS}


def _matches(tool: ToolSpec, question: str) -> bool:
    """Whether name, description or argument names share a word with ``question``.

    Numbers have no words, so a question with digits matches a tool that needs a number.
    """
    properties = tool.parameters.get("properties", {})
    required = tool.parameters.get("required", ())
    about = " ".join((tool.name.replace("_", " "), tool.description, *properties))
    if _stems(about.replace("_", " ")) & _stems(question):
        return True
    needs_number = any(
        properties[name].get("type") in {"number", "integer"}
        for name in required
        if isinstance(properties.get(name), Mapping)
    )
    return needs_number and re.search(r"\d", question) is not None


# ---- instructions and schema -----------------------------------------------------------------

_TEXT: Final = {"type": "string"}


def _describe(tools: Iterable[ToolSpec], required: bool) -> str:
    lines = ["You can call these functions:"]
    for tool in tools:
        summary = " ".join(tool.description.split())
        properties = json.dumps(_plain(tool.parameters.get("properties", {})), ensure_ascii=False)
        lines.append(f"- {tool.name}: {summary} Parameters: {properties}")
    rule = 'To call a function reply with JSON {"tool": name, "arguments": {...}}.'
    lines.append(rule if required else f'{rule} Otherwise reply with JSON {{"answer": text}}.')
    return "\n".join(lines)


def _schema(tools: Sequence[ToolSpec], answer: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the schema of one call or, where ``answer`` is a schema, of an answer.

    ``$ref`` points into its own document, so a schema that has any is moved whole under the new
    root's ``$defs`` and its references are prefixed with its new place.
    """
    defs: dict[str, Any] = {}

    def placed(schema: Mapping[str, Any], name: str) -> dict[str, Any]:
        plain = _plain(schema)
        if not _has_ref(plain):
            return dict(plain)
        defs[name] = _moved(plain, f"#/$defs/{name}")
        return {"$ref": f"#/$defs/{name}"}

    choices = [
        _closed(tool={"const": tool.name}, arguments=_arguments(placed(tool.parameters, f"t{n}")))
        for n, tool in enumerate(tools)
    ]
    if answer is not None:
        choices.append(_closed(answer=placed(answer, "answer")))
    return {"anyOf": choices, "$defs": defs} if defs else {"anyOf": choices}


def _closed(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _arguments(schema: dict[str, Any]) -> dict[str, Any]:
    """Arguments are an object, also where the tool's schema forgot to say so."""
    return schema if "type" in schema or "$ref" in schema else {"type": "object", **schema}


def _plain(value: Any) -> Any:
    """Return ``value`` in dicts and lists only, which is what JSON encoders know."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def _has_ref(value: Any) -> bool:
    if isinstance(value, dict):
        return isinstance(value.get("$ref"), str) or any(map(_has_ref, value.values()))
    return isinstance(value, list) and any(map(_has_ref, value))


def _moved(value: Any, place: str) -> Any:
    """Return a schema with its references prefixed by where it now stands."""
    if isinstance(value, list):
        return [_moved(item, place) for item in value]
    if not isinstance(value, dict):
        return value
    moved = {key: _moved(item, place) for key, item in value.items()}
    reference = value.get("$ref")
    if isinstance(reference, str) and reference.startswith("#"):
        moved["$ref"] = place + reference[1:]
    return moved


# ---- history in words ------------------------------------------------------------------------


def _in_words(messages: Iterable[Message]) -> tuple[Message, ...]:
    """Return the history with calls and results as sentences, and roles that alternate.

    Many chat templates refuse two messages of one role in a row, so neighbours are joined.
    """
    told: list[UserMessage | AssistantMessage] = []
    question = ""
    for message in messages:
        if isinstance(message, UserMessage):
            question = message.text.strip()
        new = _told(message, question)
        if not new.parts:
            continue
        last = told[-1] if told else None
        if isinstance(last, UserMessage) and isinstance(new, UserMessage):
            told[-1] = UserMessage((*last.parts, Text("\n\n"), *new.parts))
        elif isinstance(last, AssistantMessage) and isinstance(new, AssistantMessage):
            told[-1] = AssistantMessage((Text(f"{last.text}\n{new.text}"),))
        else:
            told.append(new)
    return tuple(told)


_REPEATED_CHARACTERS_MAX: Final = 500
"""A longer question is not said again: it would take its room in the window twice."""


def _told(message: Message, question: str) -> UserMessage | AssistantMessage:
    match message:
        case UserMessage():
            return message
        case AssistantMessage():
            names = [call.name for call in message.tool_calls]
            calls = f"I will call {' and '.join(names)}." if names else ""
            words = " ".join(filter(None, (message.text, calls)))
            return AssistantMessage((Text(words),) if words else ())
        case ToolMessage(results):
            lines = [_result(result, alone=len(results) == 1) for result in results]
            repeated = 0 < len(question) <= _REPEATED_CHARACTERS_MAX
            lines.append(f"Now answer my question{': ' + question if repeated else '.'}")
            return UserMessage((Text("\n".join(lines)),))


def _result(result: ToolResult, *, alone: bool) -> str:
    text = result.text.strip()
    if result.is_error:
        return f"The call of {result.name} failed: {text}"
    return f"The result is: {text}" if alone else f"The result of {result.name} is: {text}"
