"""The conversation as frozen values: parts, messages, usage.

Nothing here knows a vendor. A dialect translates these to bytes and back; a session keeps them.
``arguments`` of a tool call stay the JSON text the model wrote, because only the tool knows how
to read them and because a provider must get back exactly what it sent.
"""

from __future__ import annotations

from typing import Any, ClassVar, Final, Literal

import attrs

from actrio.errors import InvalidRequest, LimitExceeded

__all__ = [
    "AssistantMessage",
    "Citation",
    "Document",
    "FinishReason",
    "Image",
    "Message",
    "Part",
    "Refusal",
    "Text",
    "Thinking",
    "ToolCall",
    "ToolMessage",
    "ToolResult",
    "ToolResultState",
    "Usage",
    "UserMessage",
    "VendorItem",
    "user_message",
]

FinishReason = Literal["stop", "tool_calls", "length", "content_filter", "pause", "error", "other"]

ToolResultState = Literal["success", "error", "timeout", "disabled", "sealed"]
"""``sealed``: the call never got a result of its own (cancel, crash, limit); its text says why."""


@attrs.frozen(slots=True)
class Citation:
    """Where a piece of text comes from, as far as the vendor says.

    Attributes:
        source: A URL, a title or a document's id.
        title: How the vendor calls it.
        quote: The cited words.
        vendor: The vendor's own object, as JSON text.
    """

    source: str
    title: str = ""
    quote: str = ""
    vendor: str = ""


@attrs.frozen(slots=True)
class Text:
    """Visible text; ``signature`` must go back unchanged where a vendor asks (Gemini)."""

    type: ClassVar[str] = "text"
    text: str
    signature: str | None = None
    citations: tuple[Citation, ...] = ()


@attrs.frozen(slots=True)
class Thinking:
    """Reasoning that a model showed; ``signature`` must go back unchanged where a vendor asks.

    The text may be empty: some vendors show only that there was reasoning.
    """

    type: ClassVar[str] = "thinking"
    text: str
    signature: str | None = None


@attrs.frozen(slots=True)
class Refusal:
    """The model declined, in its own words."""

    type: ClassVar[str] = "refusal"
    text: str


@attrs.frozen(slots=True)
class VendorItem:
    """Something that only its vendor understands, and that must go back to it unchanged.

    Encrypted or redacted reasoning, and the calls and results of tools that the vendor itself
    runs. A dialect sends back its own and leaves out the others'.

    Attributes:
        vendor: The dialect that made it, for example ``anthropic``.
        kind: The vendor's type of it, for example ``redacted_thinking``.
        data: The vendor's object, as JSON text.
    """

    type: ClassVar[str] = "vendor_item"
    vendor: str
    kind: str
    data: str = attrs.field(repr=lambda data: f"<{len(data)} characters>")


def _one_source(instance: Any, _attribute: Any, _value: Any) -> None:
    if (instance.data is None) == (instance.url is None):
        raise InvalidRequest(
            f"{type(instance).__name__} needs exactly one of data and url.",
            remedy="Give the bytes as data, or a link as url, not both.",
        )


@attrs.frozen(slots=True)
class Image:
    """A picture, as bytes or as a link."""

    type: ClassVar[str] = "image"
    media_type: str = "image/png"
    data: bytes | None = attrs.field(default=None, repr=lambda b: f"<{len(b or b'')} bytes>")
    url: str | None = attrs.field(default=None, validator=_one_source)


@attrs.frozen(slots=True)
class Document:
    """A file for the model to read, as bytes or as a link."""

    type: ClassVar[str] = "document"
    media_type: str = "application/pdf"
    name: str | None = None
    data: bytes | None = attrs.field(default=None, repr=lambda b: f"<{len(b or b'')} bytes>")
    url: str | None = attrs.field(default=None, validator=_one_source)


@attrs.frozen(slots=True)
class ToolCall:
    """A model's wish to run a tool; ``arguments`` is the JSON text as it wrote it."""

    type: ClassVar[str] = "tool_call"
    id: str
    name: str
    arguments: str = "{}"
    signature: str | None = None


@attrs.frozen(slots=True)
class ToolResult:
    """What came of a tool call, as the model will read it."""

    type: ClassVar[str] = "tool_result"
    call_id: str
    name: str
    text: str
    state: ToolResultState = "success"

    @property
    def is_error(self) -> bool:
        return self.state != "success"


Part = Text | Thinking | Refusal | Image | Document | ToolCall | VendorItem


@attrs.frozen(slots=True)
class Usage:
    """Tokens spent. Input includes cached tokens, output includes reasoning tokens."""

    input_tokens: int = 0
    output_tokens: int = 0
    cached_input_tokens: int = 0
    reasoning_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        return self.input_tokens + self.output_tokens

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cached_input_tokens + other.cached_input_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
        )


@attrs.frozen(slots=True)
class UserMessage:
    """What a person, or a program in a person's place, said."""

    role: ClassVar[str] = "user"
    parts: tuple[Text | Image | Document, ...]

    @property
    def text(self) -> str:
        return "".join(part.text for part in self.parts if isinstance(part, Text))


@attrs.frozen(slots=True)
class AssistantMessage:
    """What a model said; parts in the order in which they began.

    Attributes:
        vendor: The provider that said it, or empty; signatures mean something only there.
    """

    role: ClassVar[str] = "assistant"
    parts: tuple[Text | Thinking | Refusal | ToolCall | VendorItem, ...]
    vendor: str = attrs.field(default="", eq=False)

    def for_vendor(self, vendor: str) -> AssistantMessage:
        """Return it as ``vendor`` may be sent it: without what another vendor signed.

        An agent may change its model within a session, and a foreign signature is refused.
        """
        if self.vendor in ("", vendor):
            return self
        parts = tuple(
            attrs.evolve(part, signature=None)
            if isinstance(part, (Text, Thinking, ToolCall)) and part.signature is not None
            else part
            for part in self.parts
        )
        return attrs.evolve(self, parts=parts)

    @property
    def text(self) -> str:
        return "".join(part.text for part in self.parts if isinstance(part, Text))

    @property
    def refusal(self) -> str:
        return "".join(part.text for part in self.parts if isinstance(part, Refusal))

    @property
    def shown(self) -> str:
        """What a person is shown: the text, or the refusal where there is none."""
        return self.text or self.refusal

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        return tuple(part for part in self.parts if isinstance(part, ToolCall))


@attrs.frozen(slots=True)
class ToolMessage:
    """The results of one step's tool calls, in call order."""

    role: ClassVar[str] = "tool"
    results: tuple[ToolResult, ...]


Message = UserMessage | AssistantMessage | ToolMessage

PROMPT_BYTES_MAX: Final = 4 * 1024 * 1024
"""Largest text of one user message. 4 MiB is a million tokens, beyond every model's window."""


def user_message(
    content: str | Text | Image | Document | UserMessage | list[Any] | tuple[Any, ...],
) -> UserMessage:
    """Return ``content`` as a user message.

    Args:
        content: A string, a part, a sequence of these, or a finished message.

    Raises:
        InvalidRequest: It is empty or of another type.
        LimitExceeded: Its text is longer than `PROMPT_BYTES_MAX`.
    """
    if isinstance(content, UserMessage):
        return content
    items = content if isinstance(content, (list, tuple)) else (content,)
    parts: list[Text | Image | Document] = []
    for item in items:
        if isinstance(item, str):
            parts.append(Text(item))
        elif isinstance(item, (Text, Image, Document)):
            parts.append(item)
        else:
            raise InvalidRequest(
                f"A user message cannot hold {type(item).__name__!r}.",
                remedy="Pass a str, Text, Image or Document, or a list of these.",
            )
    size_bytes = sum(
        len(part.text.encode(errors="surrogatepass")) for part in parts if isinstance(part, Text)
    )
    if size_bytes > PROMPT_BYTES_MAX:
        raise LimitExceeded(
            f"The prompt has {size_bytes} bytes of text; the limit is {PROMPT_BYTES_MAX}.",
            remedy="Shorten it, or give it to the agent as a document or through a tool.",
            data={"bytes": size_bytes, "bytes_max": PROMPT_BYTES_MAX},
        )
    if not any(not isinstance(part, Text) or part.text.strip() for part in parts):
        raise InvalidRequest(
            "The prompt is empty.", remedy="Pass some text, an image or a document."
        )
    return UserMessage(tuple(parts))
