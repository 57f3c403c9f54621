"""What a scripted model answers: a plan in time, from a spec and a model call. Pure.

The same spec and the same call give the same plan, always: randomness is seeded with both.
"""

from __future__ import annotations

import itertools
import json
import random
import re
from collections.abc import Iterator
from typing import Any, Final

import attrs

from actrio.messages import (
    Delta,
    FinishDelta,
    FinishReason,
    ModelInput,
    TextDelta,
    ToolCallDelta,
    ToolMessage,
    ToolResult,
    Usage,
    UsageDelta,
    UserMessage,
)
from actrio.providers.scripted._instance import instance_of
from actrio.providers.scripted._spec import FaultKind, ScriptSpec

__all__ = ["Fault", "Timed", "script"]

_DEMO: Final = (
    "Hello! I am actrio's scripted model: I answer with prepared words and think nothing. "
    "Everything around me is real: the session, the supervision and this stream of tokens."
)
_AFTER_TOOL: Final = "(These words are scripted; only the tool was real.)"
_TOKEN: Final = re.compile(r"\s*\S+\s*$|\s*\S+")
_TOKENS_DEFAULT: Final = 16
_QUOTE_CHARACTERS: Final = 300  # of a tool result: enough to recognise it
_ARGUMENT_FRAGMENT: Final = 12  # characters; small enough that real arguments come in pieces
_SLOW_SECONDS: Final = 1.0


@attrs.frozen(slots=True)
class Fault:
    """Here the provider misbehaves."""

    kind: FaultKind


@attrs.frozen(slots=True)
class Timed:
    """One item of a plan, ``delay_seconds`` after the one before it."""

    delay_seconds: float
    item: Delta | Fault


def script(spec: ScriptSpec, request: ModelInput) -> Iterator[Timed]:
    """Return the plan of one answer."""
    if spec.fault in {"status401", "status429", "status500", "context"}:
        return iter([Timed(spec.ttft_seconds, Fault(spec.fault))])
    return _timed(spec, _answer(spec, request))


def _timed(spec: ScriptSpec, deltas: Iterator[Delta]) -> Iterator[Timed]:
    """Give each delta its delay, and put the fault in its place."""
    between = max(spec.itl_seconds, _SLOW_SECONDS) if spec.fault == "slow" else spec.itl_seconds
    faulty = spec.fault in {"cut", "stall", "reset", "badjson"}
    delay = spec.ttft_seconds
    for position, delta in enumerate(deltas):
        if faulty and position >= spec.fault_at:
            break
        at_end = isinstance(delta, (FinishDelta, UsageDelta))
        yield Timed(delay if position == 0 or not at_end else 0.0, delta)
        delay = between
    if faulty and spec.fault is not None:
        # A place behind the end is the end: an answer that was to fail never succeeds silently.
        yield Timed(0.0, Fault(spec.fault))


def _answer(spec: ScriptSpec, request: ModelInput) -> Iterator[Delta]:
    turn = _Turn.of(request)
    rng = random.Random(f"{spec.seed}:{len(request.messages)}:{turn.text}")
    calls = _calls(spec, request, turn, rng)
    finish: FinishReason = "stop"
    produced = 0
    if calls:
        finish = "tool_calls"
        for delta in _call_deltas(calls, rng):
            produced += 1
            yield delta
    else:
        most = request.options.max_tokens
        for token in _tokens(spec, request, turn, rng):
            if most is not None and produced >= most:
                finish = "length"
                break
            produced += 1
            yield TextDelta(token)
    yield FinishDelta(finish, finish)
    yield UsageDelta(Usage(_input_tokens(request), produced))


# -- what the conversation says --------------------------------------------------------------------


@attrs.frozen(slots=True)
class _Turn:
    """The user's last text, and the tool results since."""

    text: str
    results: tuple[ToolResult, ...]

    @classmethod
    def of(cls, request: ModelInput) -> _Turn:
        results: list[ToolResult] = []
        for message in reversed(request.messages):
            if isinstance(message, UserMessage):
                return cls(message.text, tuple(results))
            if isinstance(message, ToolMessage):
                results[:0] = message.results
        return cls("", tuple(results))


def _input_tokens(request: ModelInput) -> int:
    """Count four characters as a token, as a rough and cheap stand-in."""
    characters = len(request.instructions)
    for message in request.messages:
        if isinstance(message, ToolMessage):
            characters += sum(len(result.text) for result in message.results)
        else:
            characters += len(message.text)
    return characters // 4 + 1


# -- tool calls ------------------------------------------------------------------------------------


@attrs.frozen(slots=True)
class _Call:
    name: str
    arguments: str


def _calls(spec: ScriptSpec, request: ModelInput, turn: _Turn, rng: random.Random) -> list[_Call]:
    required = request.options.tool_choice == "required"
    count = max(spec.tool_count, 1) if required else spec.tool_count
    if turn.results or not request.tools or request.options.tool_choice == "none":
        return []
    offered = [tool for tool in request.tools if spec.tool in {None, tool.name}]
    chosen = itertools.islice(itertools.cycle(offered), count if offered else 0)
    return [_call(spec, tool.name, tool.parameters, turn, rng) for tool in chosen]


def _call(spec: ScriptSpec, name: str, schema: Any, turn: _Turn, rng: random.Random) -> _Call:
    if spec.fault == "badargs":
        return _Call(name, '{"broken": ')
    arguments = instance_of(schema, rng, text=turn.text)
    text = json.dumps(arguments if isinstance(arguments, dict) else {}, ensure_ascii=False)
    return _Call("no_such_tool" if spec.fault == "unknowntool" else name, text)


def _call_deltas(calls: list[_Call], rng: random.Random) -> Iterator[Delta]:
    for index, call in enumerate(calls):
        yield ToolCallDelta(index, f"call_{rng.getrandbits(48):012x}", call.name)
        for at in range(0, len(call.arguments), _ARGUMENT_FRAGMENT):
            yield ToolCallDelta(index, arguments=call.arguments[at : at + _ARGUMENT_FRAGMENT])


# -- text ------------------------------------------------------------------------------------------


def _tokens(
    spec: ScriptSpec, request: ModelInput, turn: _Turn, rng: random.Random
) -> Iterator[str]:
    schema = request.options.response_schema
    if schema is not None:
        yield from _pieces(json.dumps(instance_of(schema, rng, text=turn.text)))
    elif spec.kind == "tokens" and spec.text is None:
        count = _TOKENS_DEFAULT if spec.tokens is None else spec.tokens
        for number in range(1, count + 1):
            yield f"w{number}" if number == count else f"w{number} "
    else:
        yield from _exactly(spec.tokens, _text(spec, turn))


def _text(spec: ScriptSpec, turn: _Turn) -> str:
    if spec.text is not None:
        return spec.text
    match spec.kind:
        case "echo":
            return turn.text
        case "json":
            return "{}"
        case _ if turn.results:
            return " ".join([*(_quote(result) for result in turn.results), _AFTER_TOOL])
        case _:
            return _DEMO


def _quote(result: ToolResult) -> str:
    text = result.text
    shown = text if len(text) <= _QUOTE_CHARACTERS else f"{text[:_QUOTE_CHARACTERS]}…"
    return f"The tool {result.name} {'failed' if result.is_error else 'answered'}: {shown}"


def _exactly(count: int | None, text: str) -> Iterator[str]:
    """Give ``text`` in tokens: all of it once, or round and round until there are ``count``."""
    tokens = _TOKEN.findall(text)
    if count is None or not tokens:
        yield from tokens
        return
    for number in range(count):
        token = tokens[number % len(tokens)]
        yield token if number < len(tokens) or token[:1].isspace() else f" {token}"


def _pieces(text: str) -> Iterator[str]:
    for at in range(0, len(text), _ARGUMENT_FRAGMENT):
        yield text[at : at + _ARGUMENT_FRAGMENT]
