"""A turn's events as what a person reads. Pure: it says what to write where, and writes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Literal

import attrs

from actrio.messages import (
    ApprovalRequested,
    ItemCompleted,
    ItemDelta,
    ItemStarted,
    ToolCall,
    ToolResult,
    TurnEvent,
    TurnResult,
)

__all__ = ["Narrator", "Spoken", "ending_of"]

REMARK_CHARS_MAX: Final = 160
"""A tool's arguments and result are shown in one line of a wide terminal, not in full."""


@attrs.frozen(slots=True)
class Spoken:
    """One piece: of the ``answer``, a ``remark`` beside it, or the ``end`` of the answer's line."""

    way: Literal["answer", "remark", "end"]
    text: str = ""


class Narrator:
    """Turns the events of one turn into pieces, in order."""

    __slots__ = ("_streamed",)

    def __init__(self) -> None:
        self._streamed: set[str] = set()

    def tell(self, event: TurnEvent) -> Iterator[Spoken]:
        match event:
            case ItemStarted(kind="message"):
                yield Spoken("end")
            case ItemDelta(kind="message", item=item, text=text):
                self._streamed.add(item)
                yield Spoken("answer", text)
            case ItemStarted(kind="tool_call", call=ToolCall() as call):
                yield Spoken("end")
                yield Spoken("remark", _line(f"→ {call.name} {call.arguments}"))
            case ItemCompleted(kind="tool_call", result=ToolResult() as result):
                mark = "✗" if result.is_error else "←"
                yield Spoken("remark", _line(f"{mark} {result.name} {result.text}"))
            case ApprovalRequested(question=question):
                yield Spoken("end")
                yield Spoken("remark", _line(f"? {question}"))
            case ItemCompleted(kind="message", status="superseded"):
                yield Spoken("end")
                yield Spoken("remark", "(the provider broke off; the answer starts anew)")
            case ItemCompleted(kind="message", item=item, text=text) if item not in self._streamed:
                yield Spoken("answer", text)


def _line(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= REMARK_CHARS_MAX else f"{flat[: REMARK_CHARS_MAX - 1]}…"


def ending_of(result: TurnResult) -> str | None:
    """Return what to remark where a turn completed but not by its own free end."""
    match result.stop_reason:
        case "max_tokens":
            return "the answer was cut: the model reached its limit of tokens (options.max_tokens)"
        case "refusal":
            return "the model, or its provider's filter, refused"
        case "max_steps":
            return "the turn was stopped: it used up its steps (--max-steps)"
        case _:
            return None
