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

from collections.abc import Callable, Iterable, Mapping
from io import StringIO
from typing import Any, Literal

import attrs

from actrio.messages._parts import (
    AssistantMessage,
    Citation,
    FinishReason,
    Message,
    Refusal,
    Text,
    Thinking,
    ToolCall,
    Usage,
    VendorItem,
)

__all__ = [
    "AttemptSuperseded",
    "CitationDelta",
    "Delta",
    "EmbedInput",
    "EmbedOutput",
    "FinishDelta",
    "Fold",
    "ModelInput",
    "ModelOptions",
    "ModelOutput",
    "ReasoningEffort",
    "RefusalDelta",
    "TextDelta",
    "ThinkingDelta",
    "ToolCallDelta",
    "ToolChoice",
    "ToolSpec",
    "UsageDelta",
    "VendorItemDelta",
    "fold",
]

ToolChoice = Literal["auto", "none", "required"]
ReasoningEffort = Literal["off", "low", "medium", "high"]


@attrs.frozen(slots=True)
class ToolSpec:
    """A tool as a model sees it: name, what it is for, JSON Schema of its arguments."""

    name: str
    description: str
    parameters: Mapping[str, Any] = attrs.field(hash=False)


@attrs.frozen(slots=True)
class ModelOptions:
    """Sampling and shape. ``None`` leaves the choice to the provider.

    Args:
        reasoning: How much a reasoning model may think; ``off`` asks for none.
        reasoning_tokens: The same as a bound in tokens, for vendors that take one.
        cache_prompt: Ask the vendor to keep the prompt's beginning cached, where it is asked.
        vendor: Further members of the request body, as the vendor calls them.
    """

    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    tool_choice: ToolChoice = "auto"
    response_schema: Mapping[str, Any] | None = attrs.field(default=None, hash=False)
    reasoning: ReasoningEffort | None = None
    reasoning_tokens: int | None = None
    cache_prompt: bool = False
    vendor: Mapping[str, Any] = attrs.field(factory=dict, hash=False)


@attrs.frozen(slots=True)
class ModelInput:
    """One model call. ``model`` is the provider's own name, without the provider prefix.

    Args:
        caller: On whose behalf, for example a session: a connection serves its callers in turns.
        fallback: Whether another model may answer where the settings name one.
    """

    model: str
    messages: tuple[Message, ...]
    instructions: str = ""
    tools: tuple[ToolSpec, ...] = ()
    options: ModelOptions = ModelOptions()
    stream: bool = True
    caller: str = ""
    fallback: bool = True


@attrs.frozen(slots=True)
class TextDelta:
    """A piece of visible text; a signature closes the part it belongs to."""

    text: str
    signature: str | None = None


@attrs.frozen(slots=True)
class ThinkingDelta:
    """A piece of reasoning; a signature closes the part it belongs to."""

    text: str
    signature: str | None = None


@attrs.frozen(slots=True)
class RefusalDelta:
    """A piece of the model's refusal."""

    text: str


@attrs.frozen(slots=True)
class CitationDelta:
    """A source of the text so far; belongs to the text part that is open, or the last one."""

    citation: Citation


@attrs.frozen(slots=True)
class VendorItemDelta:
    """A whole vendor item, in its place among the parts."""

    item: VendorItem


@attrs.frozen(slots=True)
class ToolCallDelta:
    """A fragment of the call at ``index``; ``id`` and ``name`` count only where non-empty."""

    index: int
    id: str = ""
    name: str = ""
    arguments: str = ""
    signature: str | None = None


@attrs.frozen(slots=True)
class UsageDelta:
    """Usage so far; the last one of a stream wins."""

    usage: Usage


@attrs.frozen(slots=True)
class FinishDelta:
    """Why the model stopped: normalised, and as the vendor wrote it."""

    reason: FinishReason
    raw: str = ""


@attrs.frozen(slots=True)
class AttemptSuperseded:
    """The answer begins anew: what came before it was another attempt's, and counts no more.

    Args:
        attempt: The number of the attempt that begins.
    """

    attempt: int


Delta = (
    TextDelta
    | ThinkingDelta
    | RefusalDelta
    | CitationDelta
    | VendorItemDelta
    | ToolCallDelta
    | UsageDelta
    | FinishDelta
    | AttemptSuperseded
)


@attrs.frozen(slots=True)
class ModelOutput:
    """A finished model call."""

    message: AssistantMessage
    finish_reason: FinishReason
    usage: Usage = Usage()
    model: str = ""
    request_id: str | None = None
    finish_raw: str = ""


@attrs.frozen(slots=True)
class EmbedInput:
    """Texts to turn into vectors. ``model`` is the provider's own name.

    Args:
        dimensions: Length of the vectors, where the model can choose; None for its own.
        purpose: What the vectors are for, where the vendor makes a difference.
        caller: As in `ModelInput`.
    """

    model: str
    texts: tuple[str, ...]
    dimensions: int | None = None
    purpose: Literal["query", "document"] | None = None
    caller: str = ""


@attrs.frozen(slots=True)
class EmbedOutput:
    """One vector for each text, in the order of the texts."""

    vectors: tuple[tuple[float, ...], ...] = attrs.field(repr=lambda v: f"<{len(v)} vectors>")
    usage: Usage = Usage()
    model: str = ""


class _CallDraft:
    __slots__ = ("arguments", "id", "name", "signature")

    def __init__(self) -> None:
        self.id = ""
        self.name = ""
        self.arguments = StringIO()
        self.signature: str | None = None

    @property
    def size(self) -> int:
        return self.arguments.tell()


class _TextDraft:
    __slots__ = ("citations", "kind", "signature", "text")

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.text = StringIO()  # a token by itself would be ten times its text
        self.signature: str | None = None
        self.citations: list[Citation] = []

    @property
    def size(self) -> int:
        return self.text.tell()


class Fold:
    """Folds deltas into a `ModelOutput`, in time linear in their number.

    Adjacent text (thinking, refusal) becomes one part; a signature ends it. A tool call keeps its
    fragments until the end. A superseded attempt leaves nothing.
    """

    __slots__ = ("_calls", "_finish", "_order", "_plain", "_raw", "_usage")

    def __init__(self) -> None:
        self._restart()

    def _restart(self) -> None:
        # Parts in the order in which they began.
        self._order: list[_TextDraft | _CallDraft | VendorItem] = []
        # Adds to the last part, where that is a text that goes on.
        self._plain: Callable[[str], object] | None = None
        self._calls: dict[int, _CallDraft] = {}
        self._usage = Usage()
        self._finish: FinishReason | None = None
        self._raw = ""

    @property
    def finished(self) -> bool:
        """Whether the model said why it stopped."""
        return self._finish is not None

    @property
    def usage(self) -> Usage:
        return self._usage

    @property
    def size(self) -> int:
        """The characters of all that has arrived."""
        return sum(
            len(part.data) if isinstance(part, VendorItem) else part.size for part in self._order
        )

    def extend(self, deltas: Iterable[Delta]) -> None:
        """Take in the next deltas."""
        for delta in deltas:
            # Nearly all of them are plain text behind plain text, and each goes by here twice.
            if type(delta) is TextDelta and delta.signature is None and self._plain is not None:
                self._plain(delta.text)
            else:
                self.add(delta)

    def add(self, delta: Delta) -> None:
        """Take in the next delta."""
        self._take(delta)
        last = self._order[-1] if self._order else None
        if isinstance(last, _TextDraft) and last.kind == "text" and last.signature is None:
            self._plain = last.text.write
        else:
            self._plain = None

    def _take(self, delta: Delta) -> None:
        match delta:
            case TextDelta(text, signature):
                self._text("text", text, signature)
            case ThinkingDelta(text, signature):
                self._text("thinking", text, signature)
            case RefusalDelta(text):
                self._text("refusal", text, None)
            case ToolCallDelta():
                self._call(delta)
            case UsageDelta(usage):
                self._usage = usage
            case FinishDelta(reason, raw):
                self._finish, self._raw = reason, raw
            case CitationDelta(citation):
                self._cite(citation)
            case VendorItemDelta(item):
                self._order.append(item)
            case AttemptSuperseded():
                self._restart()

    def _text(self, kind: str, text: str, signature: str | None) -> None:
        last = self._order[-1] if self._order else None
        if not isinstance(last, _TextDraft) or last.kind != kind or last.signature is not None:
            if not text and signature is None:
                return
            last = _TextDraft(kind)
            self._order.append(last)
        last.text.write(text)
        if signature is not None:
            last.signature = signature

    def _cite(self, citation: Citation) -> None:
        for draft in reversed(self._order):
            if isinstance(draft, _TextDraft) and draft.kind == "text":
                draft.citations.append(citation)
                return
        draft = _TextDraft("text")
        draft.citations.append(citation)
        self._order.append(draft)

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
            draft.arguments.write(delta.arguments)
        if delta.signature is not None:
            draft.signature = delta.signature

    def message(self) -> AssistantMessage:
        """Return what has arrived so far."""
        parts: list[Text | Thinking | Refusal | ToolCall | VendorItem] = []
        calls = 0
        for draft in self._order:
            if isinstance(draft, VendorItem):
                parts.append(draft)
            elif isinstance(draft, _CallDraft):
                arguments = draft.arguments.getvalue() or "{}"
                call_id = draft.id or f"call_{calls}"
                parts.append(ToolCall(call_id, draft.name, arguments, draft.signature))
                calls += 1
            else:
                parts.append(_finished_text(draft))
        return AssistantMessage(tuple(parts))

    def output(self, *, model: str = "", request_id: str | None = None) -> ModelOutput:
        """Return the finished output; a call without a reason to stop counts as ``other``."""
        message = self.message()
        finish: FinishReason = self._finish or "other"
        if finish == "stop" and message.tool_calls:
            finish = "tool_calls"
        return ModelOutput(message, finish, self._usage, model, request_id, self._raw)


def _finished_text(draft: _TextDraft) -> Text | Thinking | Refusal:
    text = draft.text.getvalue()
    if draft.kind == "thinking":
        return Thinking(text, draft.signature)
    if draft.kind == "refusal":
        return Refusal(text)
    return Text(text, draft.signature, tuple(draft.citations))


def fold(deltas: Iterable[Delta]) -> ModelOutput:
    """Fold a whole sequence of deltas into the output they amount to."""
    state = Fold()
    for delta in deltas:
        state.add(delta)
    return state.output()
