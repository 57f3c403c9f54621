"""Turns a model's deltas and a step's tool calls into live events.

An item begins with its first delta. How it ends stands in the record of the model call or the tool
call, and that record is the ``item.completed`` event; where the two differ it counts. One socket
read is at most one delta per item. Items are named after their place, so that a replay gives them
the same names.
"""

from __future__ import annotations

from collections.abc import Sequence
from io import StringIO
from typing import Final

from actrio.feeds import TurnFeed
from actrio.messages import (
    AssistantMessage,
    AttemptSuperseded,
    Delta,
    ItemCompleted,
    ItemDelta,
    ItemKind,
    ItemStarted,
    RefusalDelta,
    TextDelta,
    Thinking,
    ThinkingDelta,
    ToolCall,
)

__all__ = ["Items", "call_item", "message_item"]

_LETTERS: Final[dict[ItemKind, str]] = {"message": "m", "thinking": "t"}


def message_item(turn: str, step: int, kind: ItemKind, attempt: int) -> str:
    """Return the name of what a model says in one step."""
    again = f"{attempt}" if attempt > 1 else ""
    return f"{turn}.{step}.{_LETTERS[kind]}{again}"


def call_item(turn: str, step: int, position: int) -> str:
    """Return the name of one tool call of a step."""
    return f"{turn}.{step}.{position}"


class Items:
    """The items of one turn, as those who listen see them begin."""

    __slots__ = ("_feed", "_open", "_step", "_turn", "attempt")

    def __init__(self, turn: str, feed: TurnFeed) -> None:
        self._turn = turn
        self._feed = feed
        self._step = 0
        self.attempt = 1
        # Begun and not completed, with name and text so far; at most one of each kind.
        self._open: dict[ItemKind, tuple[str, StringIO]] = {}

    def begin_step(self, step: int) -> None:
        """What follows belongs to ``step``."""
        self._step, self.attempt = step, 1
        self._open.clear()

    async def hear(self, batch: Sequence[Delta]) -> None:
        """Tell of what one read brought; text beside text is told as one delta."""
        if len(batch) == 1 and type(delta := batch[0]) is TextDelta:  # as nearly always
            if delta.text:
                await self._tell_delta("message", delta.text)
            return
        kind: ItemKind | None = None
        pieces: list[str] = []
        for delta in batch:
            if isinstance(delta, AttemptSuperseded):
                # What this read brought before it goes with it: nobody saw that yet.
                kind, pieces = None, []
                await self.begin_attempt()
                continue
            if isinstance(delta, (TextDelta, RefusalDelta)):
                heard: ItemKind = "message"
            elif isinstance(delta, ThinkingDelta):
                heard = "thinking"
            else:
                continue
            if not delta.text:
                continue
            if kind is not None and kind != heard:
                await self._tell_delta(kind, "".join(pieces))
                pieces = []
            kind = heard
            pieces.append(delta.text)
        if kind is not None:
            await self._tell_delta(kind, "".join(pieces))

    def _name(self, kind: ItemKind) -> str:
        return message_item(self._turn, self._step, kind, self.attempt)

    async def _tell_delta(self, kind: ItemKind, text: str) -> None:
        begun = self._open.get(kind)
        if begun is None:
            begun = self._open[kind] = (self._name(kind), StringIO())
            await self._feed.tell(ItemStarted, item=begun[0], kind=kind)
        begun[1].write(text)
        await self._feed.tell(ItemDelta, item=begun[0], kind=kind, text=text, attempt=self.attempt)

    async def expect(self, message: AssistantMessage) -> None:
        """Get ready for the record of a finished call: begin what was never heard, and end live
        what the record does not end because nothing is left of it.
        """
        thinking = any(isinstance(part, Thinking) and part.text for part in message.parts)
        there: dict[ItemKind, bool] = {"thinking": thinking, "message": bool(message.shown)}
        for kind, told in there.items():
            if told and kind not in self._open:
                await self._feed.tell(ItemStarted, item=self._name(kind), kind=kind)
            elif not told and kind in self._open:
                await self._feed.tell(ItemCompleted, item=self._name(kind), kind=kind)
        self._open.clear()

    async def begin_attempt(self) -> None:
        """A model call begins; what an earlier attempt of the same step showed is superseded."""
        if not self._open:
            return
        for kind, (name, told) in self._open.items():
            await self._feed.tell(
                ItemCompleted,
                item=name,
                kind=kind,
                status="superseded",
                text=told.getvalue(),
            )
        self._open.clear()
        self.attempt += 1

    async def begin_call(self, position: int, call: ToolCall) -> None:
        """A tool call has come to its place in the step."""
        item = call_item(self._turn, self._step, position)
        await self._feed.tell(ItemStarted, item=item, kind="tool_call", call=call)
