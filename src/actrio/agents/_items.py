"""Turns a model's deltas and a step's tool calls into item events.

An item begins with its first delta and is completed by the finished output, which is what counts
where the two differ (a filter may have changed it). One socket read is at most one delta per item.
"""

from __future__ import annotations

from collections.abc import Sequence

from actrio.feeds import TurnFeed
from actrio.messages import (
    AssistantMessage,
    AttemptSuperseded,
    Delta,
    ItemCompleted,
    ItemDelta,
    ItemKind,
    ItemStarted,
    ItemStatus,
    RefusalDelta,
    TextDelta,
    Thinking,
    ThinkingDelta,
    ToolCall,
    ToolResult,
)

__all__ = ["Items"]


class Items:
    """The items of one turn, as its owner sees them."""

    __slots__ = ("_attempt", "_calls", "_count", "_feed", "_open", "_turn")

    def __init__(self, turn: str, feed: TurnFeed) -> None:
        self._turn = turn
        self._feed = feed
        self._count = 0
        self._attempt = 1
        # Begun and not completed, with the text so far; at most one of each kind.
        self._open: dict[ItemKind, tuple[str, list[str]]] = {}
        self._calls: dict[int, str] = {}

    def _new_id(self) -> str:
        self._count += 1
        return f"{self._turn}.{self._count}"

    async def hear(self, batch: Sequence[Delta]) -> None:
        """Tell of what one read brought; text beside text is told as one delta."""
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

    async def _tell_delta(self, kind: ItemKind, text: str) -> None:
        item = await self._begun(kind)
        self._open[kind][1].append(text)
        await self._feed.tell(ItemDelta, item=item, kind=kind, text=text, attempt=self._attempt)

    async def _begun(self, kind: ItemKind) -> str:
        if kind not in self._open:
            item = self._new_id()
            self._open[kind] = (item, [])
            await self._feed.tell(ItemStarted, item=item, kind=kind)
        return self._open[kind][0]

    async def complete(self, message: AssistantMessage) -> None:
        """Tell of a finished model call."""
        thinking = "".join(part.text for part in message.parts if isinstance(part, Thinking))
        texts: tuple[tuple[ItemKind, str], ...] = (
            ("thinking", thinking),
            ("message", message.text),
        )
        for kind, text in texts:
            if text or kind in self._open:
                item = await self._begun(kind)
                del self._open[kind]
                await self._feed.tell(ItemCompleted, item=item, kind=kind, text=text)

    async def close(self, status: ItemStatus) -> None:
        """Complete what is open, because its model call came to nothing."""
        while self._open:
            kind = next(iter(self._open))
            item, pieces = self._open.pop(kind)
            await self._feed.tell(
                ItemCompleted, item=item, kind=kind, status=status, text="".join(pieces)
            )

    async def begin_attempt(self) -> None:
        """A model call begins; what an earlier attempt of the same step showed is superseded."""
        if self._open:
            await self.close("superseded")
            self._attempt += 1

    # -- tool calls (a `CallObserver` of the tools room) -------------------------------------------

    async def started(self, call: ToolCall) -> None:
        item = self._calls[id(call)] = self._new_id()
        await self._feed.tell(ItemStarted, item=item, kind="tool_call", call=call)

    async def finished(self, call: ToolCall, result: ToolResult) -> None:
        await self._feed.tell(
            ItemCompleted,
            item=self._calls.pop(id(call)),
            kind="tool_call",
            status="failed" if result.is_error else "completed",
            call=call,
            result=result,
        )

    async def sealed(self, calls: Sequence[ToolCall], results: Sequence[ToolResult]) -> None:
        """Tell of the calls that the step's end cut off."""
        for call, result in zip(calls, results, strict=True):
            item = self._calls.pop(id(call), None)
            if item is not None:
                await self._feed.tell(
                    ItemCompleted,
                    item=item,
                    kind="tool_call",
                    status="cancelled",
                    call=call,
                    result=result,
                )
