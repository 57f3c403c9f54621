"""What a session's journal says as ``session/update``: the conversation as it was shown; pure.

The records are the truth here and not the history that a model is shown: what the window or a
summary has taken from the model, the person has still seen. What was rewound or rolled back no
longer counts for either.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from actrio.acp._content import blocks_of
from actrio.acp._updates import Toolbox, call_ended, chunks
from actrio.agents import call_item, message_item
from actrio.journal import (
    Checkpoint,
    InputAccepted,
    ModelOutcome,
    SessionRewound,
    StepBegun,
    StoredRecord,
    ToolFinished,
    ToolSealed,
    TurnBegun,
    TurnEnded,
)
from actrio.messages import (
    AssistantMessage,
    Message,
    Thinking,
    ToolMessage,
    UserMessage,
)
from actrio.sessions import fold

__all__ = ["replayed_updates", "title_of"]

TITLE_CHARACTERS_MAX = 80
"""As much as a list of conversations shows in one line."""


def title_of(history: Sequence[Message]) -> str | None:
    """Return a conversation's first words, for a list; ``None``: nothing was said."""
    for message in history:
        if isinstance(message, UserMessage) and message.text.strip():
            line = message.text.strip().splitlines()[0]
            return line[:TITLE_CHARACTERS_MAX]
    return None


def replayed_updates(
    session: str, records: Sequence[StoredRecord], tools: Toolbox
) -> Iterator[dict[str, Any]]:
    """Yield the updates that a client would have got, and what its user said, in order.

    Args:
        session: The session's id.
        records: Its records, the first of which, or the one behind it, may stand for older ones.
        tools: How calls are shown.
    """
    counted = _counted(records)
    base = [place for place, each in enumerate(counted[:2]) if isinstance(each.record, Checkpoint)]
    if base:
        before = fold(session, counted[: base[-1] + 1])
        yield from _said_before(before.history, tools)
    yield from _Told(tools).updates(counted)


def _counted(records: Iterable[StoredRecord]) -> list[StoredRecord]:
    """Return the records that no rewind has taken back."""
    counted: list[StoredRecord] = []
    for stored in records:
        if isinstance(stored.record, SessionRewound):
            to_seq = stored.record.to_seq
            counted = [each for each in counted if each.seq <= to_seq]
        counted.append(stored)
    return counted


def _said_before(history: Iterable[Message], tools: Toolbox) -> Iterator[dict[str, Any]]:
    """Yield what a checkpoint holds in the place of records."""
    items: list[str] = []
    for number, message in enumerate(history, 1):
        turn = f"before.{number}"
        match message:
            case UserMessage():
                yield from _user(message, turn)
            case AssistantMessage():
                yield from _assistant(message, turn, 1, 1, tools)
                items = [call_item(turn, 1, place) for place in range(len(message.tool_calls))]
            case ToolMessage(results):
                for item, result in zip(items, results, strict=False):
                    yield call_ended(item, result, completed=not result.is_error)


def _user(message: UserMessage, turn: str) -> Iterator[dict[str, Any]]:
    for block in blocks_of(message):
        yield {
            "sessionUpdate": "user_message_chunk",
            "content": block,
            "messageId": f"{turn}.u",
        }


def _assistant(
    message: AssistantMessage, turn: str, step: int, attempt: int, tools: Toolbox
) -> Iterator[dict[str, Any]]:
    thinking = "".join(part.text for part in message.parts if isinstance(part, Thinking))
    yield from chunks("thinking", thinking, message_item(turn, step, "thinking", attempt))
    yield from chunks("message", message.shown, message_item(turn, step, "message", attempt))
    for place, call in enumerate(message.tool_calls):
        told = tools.shown(call_item(turn, step, place), call)
        yield {"sessionUpdate": "tool_call", **told, "status": "pending"}


class _Told:
    """Goes through records in order; turns stand one after another in what it gives."""

    def __init__(self, tools: Toolbox) -> None:
        self._tools = tools
        self._inputs: dict[str, UserMessage] = {}
        self._turns: dict[str, list[dict[str, Any]]] = {}

    def updates(self, records: Iterable[StoredRecord]) -> Iterator[dict[str, Any]]:
        for stored in records:
            self._take(stored.record)
        for told in self._turns.values():
            yield from told

    def _take(self, record: Any) -> None:
        match record:
            case InputAccepted(turn=turn, message=UserMessage() as message):
                self._inputs[turn] = message
            case TurnBegun(turn=turn, message=changed):
                told = self._turns[turn] = []
                said = changed or self._inputs.pop(turn, None)
                if said is not None:
                    told += _user(said, turn)
            case StepBegun(turn=turn, taken=taken):
                for name in taken:
                    if name in self._inputs:
                        self._turn(turn).extend(_user(self._inputs.pop(name), name))
            case ModelOutcome(turn=turn):
                self._turn(turn).extend(self._outcome(record))
            case ToolFinished(turn=turn, result=result) | ToolSealed(turn=turn, result=result):
                completed = isinstance(record, ToolFinished) and not result.is_error
                item = call_item(turn, record.step, record.position)
                self._turn(turn).append(call_ended(item, result, completed=completed))
            case TurnEnded(turn=turn, kept=False):
                self._turns.pop(turn, None)
            case TurnEnded(turn=turn, text=str() as text, steps=0):
                # A filter answered in the model's place.
                self._turn(turn).extend(chunks("message", text, f"{turn}.m"))

    def _turn(self, turn: str) -> list[dict[str, Any]]:
        # Its beginning may stand before the oldest record that is kept.
        return self._turns.setdefault(turn, [])

    def _outcome(self, record: ModelOutcome) -> Iterator[dict[str, Any]]:
        turn, step, attempt = record.turn, record.step, record.attempt
        if record.output is not None:
            yield from _assistant(record.output.message, turn, step, attempt, self._tools)
            return
        thinking = message_item(turn, step, "thinking", attempt)
        yield from chunks("thinking", record.partial_thinking, thinking)
        yield from chunks("message", record.partial, message_item(turn, step, "message", attempt))
