"""What travels between a turn and a provider connection: one request in, deltas and an output out.

One exchange::

    turn                                 connection
      │  ModelInput                          │
      ├─────────────────────────────────────►│  encode, send, read
      │        (TextDelta, TextDelta, …)     │  one tuple per socket read
      │◄─────────────────────────────────────┤
      │        (UsageDelta, FinishDelta)     │
      │◄─────────────────────────────────────┤
      │  fold(deltas) is the ModelOutput     │

There is one ``Fold`` for everybody, so a live stream, a replay and a test agree by construction.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import attrs

from actrio.messages._parts import (
    AssistantMessage,
    FinishReason,
    Message,
    Text,
    Thinking,
    ToolCall,
    Usage,
)

__all__ = [
    "Delta",
    "FinishDelta",
    "Fold",
    "ModelInput",
    "ModelOptions",
    "ModelOutput",
    "TextDelta",
    "ThinkingDelta",
    "ToolCallDelta",
    "ToolChoice",
    "ToolSpec",
    "UsageDelta",
    "fold",
]

ToolChoice = Literal["auto", "none", "required"]


@attrs.frozen(slots=True)
class ToolSpec:
    """A tool as a model sees it: name, what it is for, JSON Schema of its arguments."""

    name: str
    description: str
    parameters: Mapping[str, Any] = attrs.field(hash=False)


@attrs.frozen(slots=True)
class ModelOptions:
    """Sampling and shape. ``None`` leaves the choice to the provider."""

    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    tool_choice: ToolChoice = "auto"
    response_schema: Mapping[str, Any] | None = attrs.field(default=None, hash=False)


@attrs.frozen(slots=True)
class ModelInput:
    """One model call. ``model`` is the provider's own name, without the provider prefix."""

    model: str
    messages: tuple[Message, ...]
    instructions: str = ""
    tools: tuple[ToolSpec, ...] = ()
    options: ModelOptions = ModelOptions()
    stream: bool = True


@attrs.frozen(slots=True)
class TextDelta:
    """A piece of visible text."""

    text: str


@attrs.frozen(slots=True)
class ThinkingDelta:
    """A piece of reasoning; a signature closes the part it belongs to."""

    text: str
    signature: str | None = None


@attrs.frozen(slots=True)
class ToolCallDelta:
    """A fragment of the call at ``index``; ``id`` and ``name`` count only where non-empty."""

    index: int
    id: str = ""
    name: str = ""
    arguments: str = ""


@attrs.frozen(slots=True)
class UsageDelta:
    """Usage so far; the last one of a stream wins."""

    usage: Usage


@attrs.frozen(slots=True)
class FinishDelta:
    """Why the model stopped: normalised, and as the vendor wrote it."""

    reason: FinishReason
    raw: str = ""


Delta = TextDelta | ThinkingDelta | ToolCallDelta | UsageDelta | FinishDelta


@attrs.frozen(slots=True)
class ModelOutput:
    """A finished model call."""

    message: AssistantMessage
    finish_reason: FinishReason
    usage: Usage = Usage()
    model: str = ""
    request_id: str | None = None


class _CallDraft:
    __slots__ = ("arguments", "id", "name")

    def __init__(self) -> None:
        self.id = ""
        self.name = ""
        self.arguments: list[str] = []


class Fold:
    """Folds deltas into a `ModelOutput`, in time linear in their number.

    Adjacent text (or thinking) becomes one part; a tool call keeps its fragments until the end.
    """

    __slots__ = ("_calls", "_finish", "_order", "_usage")

    def __init__(self) -> None:
        # Parts in the order in which they began.
        self._order: list[_TextDraft | _CallDraft] = []
        self._calls: dict[int, _CallDraft] = {}
        self._usage = Usage()
        self._finish: FinishReason | None = None

    @property
    def finished(self) -> bool:
        """Whether the model said why it stopped."""
        return self._finish is not None

    def add(self, delta: Delta) -> None:
        match delta:
            case TextDelta(text):
                self._text("text", text, None)
            case ThinkingDelta(text, signature):
                self._text("thinking", text, signature)
            case ToolCallDelta():
                self._call(delta)
            case UsageDelta(usage):
                self._usage = usage
            case FinishDelta(reason):
                self._finish = reason

    def _text(self, kind: str, text: str, signature: str | None) -> None:
        last = self._order[-1] if self._order else None
        if not isinstance(last, _TextDraft) or last.kind != kind or last.signature is not None:
            if not text and signature is None:
                return
            last = _TextDraft(kind)
            self._order.append(last)
        last.pieces.append(text)
        if signature is not None:
            last.signature = signature

    def _call(self, delta: ToolCallDelta) -> None:
        draft = self._calls.get(delta.index)
        if draft is None:
            draft = self._calls[delta.index] = _CallDraft()
            self._order.append(draft)
        if delta.id:
            draft.id = delta.id
        if delta.name:
            draft.name = delta.name
        if delta.arguments:
            draft.arguments.append(delta.arguments)

    def message(self) -> AssistantMessage:
        """Return what has arrived so far."""
        parts: list[Text | Thinking | ToolCall] = []
        position = 0
        for draft in self._order:
            if isinstance(draft, _CallDraft):
                call_id = draft.id or f"call_{position}"
                parts.append(ToolCall(call_id, draft.name, "".join(draft.arguments) or "{}"))
                position += 1
            elif draft.kind == "text":
                parts.append(Text("".join(draft.pieces)))
            else:
                parts.append(Thinking("".join(draft.pieces), draft.signature))
        return AssistantMessage(tuple(parts))

    def output(self, *, model: str = "", request_id: str | None = None) -> ModelOutput:
        """Return the finished output; a call without a reason to stop counts as ``other``."""
        message = self.message()
        finish: FinishReason = self._finish or "other"
        if finish == "stop" and message.tool_calls:
            finish = "tool_calls"
        return ModelOutput(message, finish, self._usage, model, request_id)

    @property
    def usage(self) -> Usage:
        return self._usage


class _TextDraft:
    __slots__ = ("kind", "pieces", "signature")

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.pieces: list[str] = []
        self.signature: str | None = None


def fold(deltas: Iterable[Delta]) -> ModelOutput:
    """Fold a whole sequence of deltas into the output they amount to."""
    state = Fold()
    for delta in deltas:
        state.add(delta)
    return state.output()
