"""Chat completion chunks to deltas. Pure; the framing is in ``_openai_chat_reader``.

What it forgives, because real endpoints do it: missing or empty ids and names in later fragments,
``null`` or object arguments, a missing index, reasoning under two names, a repeated finish, usage
that comes early, late or twice (the last one wins), comments and unknown fields. What it does not
forgive: an answer that never says why it stopped. ``[DONE]`` proves nothing; only a
``finish_reason`` ends an answer.
"""

from __future__ import annotations

from typing import Any, Final, NoReturn

import attrs
import msgspec

from actrio.errors import ProviderProtocolError, StreamTruncated
from actrio.messages import (
    CitationDelta,
    Delta,
    FinishDelta,
    RefusalDelta,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    UsageDelta,
    VendorItemDelta,
)
from actrio.providers.dialects._openai_chat_deviations import Deviations
from actrio.providers.dialects._openai_chat_errors import error_from_facts, facts_of
from actrio.providers.dialects._openai_chat_items import (
    OPENROUTER,
    ReasoningDetails,
    citation_of,
    vendor_item,
)
from actrio.providers.dialects._openai_chat_wire import (
    Call,
    Choice,
    Chunk,
    Function,
    Piece,
    arguments_of,
    decode_chunk,
    decode_plain,
    finish_of,
    signature_of,
    text_of,
    usage_of,
)
from actrio.sansio import SseEvent

__all__ = ["OpenAiChatDecoder"]

CALLS_MAX: Final = 256
"""Tool calls in one answer. Vendors allow 128 tools; more calls than that are a runaway model."""


class OpenAiChatDecoder:
    """Decodes one answer; of no use for a second one.

    Attributes:
        done: The stream said ``[DONE]``; nothing that follows counts.
        finished: The model said why it stopped.
        known: The answer has told who answers.
        model: The model that answered, by the provider's own account.
        response_id: The provider's id of the answer, or empty.
    """

    __slots__ = (
        "_asked_model",
        "_calls",
        "_details",
        "_deviations",
        "_last_index",
        "_provider",
        "_raw_finish",
        "done",
        "finished",
        "known",
        "model",
        "response_id",
    )

    def __init__(self, provider: str, model: str, deviations: Deviations) -> None:
        self._provider = provider
        self._asked_model = model
        self._deviations = deviations
        self._calls: dict[int, bool] = {}  # index -> whether it has got an id
        self._details: ReasoningDetails | None = None
        self._last_index = 0
        self._raw_finish: str | None = None
        self.done = False
        self.finished = False
        self.known = False
        self.model = model
        self.response_id = ""

    def plain_text(self, block: bytes) -> str | None:
        """Return the text of an event that says nothing else; None for every other event.

        Only once it is `known` who answers, and before the answer is `done`: it changes neither.

        Args:
            block: One event without its blank line.
        """
        if block[:6] != b"data: ":
            return None
        try:
            chunk = decode_plain(block[6:])
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            return (
                None  # it says more, or is broken, or is several lines: all that is told elsewhere
            )
        return chunk.choices[0].delta.content or None

    def feed(self, event: SseEvent) -> list[Delta]:
        """Return what one event of a stream adds.

        Raises:
            ProviderError: The provider reports a failure inside its stream.
            ContextWindowExceeded: That failure is about the length of the conversation.
            ProviderProtocolError: The event is not of this wire format.
        """
        data = event.data
        if self.done or not data:
            return []
        if data == "[DONE]":
            self.done = True
            return []
        chunk = self._chunk(data)
        deltas: list[Delta] = []
        self._event(chunk, deltas, is_error=event.event == "error")
        return deltas

    def _event(self, chunk: Chunk, deltas: list[Delta], *, is_error: bool) -> None:
        if is_error or self._is_error(chunk):
            self._raise_error(chunk, in_stream=True)
        self._note_identity(chunk)
        for choice in chunk.choices or ():
            if choice.index == 0:
                self._choice(choice, choice.delta or choice.message, deltas, in_stream=True)
        _add_usage(chunk, deltas)

    def decode_whole(self, body: bytes) -> list[Delta]:
        """Return what an answer that was not streamed amounts to.

        Raises:
            ProviderError: The provider reports a failure in place of an answer.
            ContextWindowExceeded: That failure is about the length of the conversation.
            ProviderProtocolError: The body is not of this wire format.
        """
        chunk = self._chunk(body)
        if self._is_error(chunk):
            self._raise_error(chunk, in_stream=False)
        if not chunk.choices:
            raise self.protocol_error("has no choices", body)
        self._note_identity(chunk)
        deltas: list[Delta] = []
        choice = next((one for one in chunk.choices if one.index == 0), chunk.choices[0])
        self._choice(choice, choice.message or choice.delta, deltas, in_stream=False)
        if not self.finished:
            # A whole body cannot be cut unnoticed, so a missing reason is only a missing reason.
            self._finish(choice, "", deltas)
        _add_usage(chunk, deltas)
        return deltas

    def close(self, *, leftover: bool = False) -> list[Delta]:
        """Return what only the end completes; check that the answer is complete.

        Args:
            leftover: Bytes that form no whole event were left over.

        Raises:
            StreamTruncated: The model never said why it stopped.
        """
        if not self.finished:
            where = "in the middle of an event" if leftover else "without a finish_reason"
            raise self.truncated(f"ended {where}")
        deltas: list[Delta] = []
        self._give_details(deltas)
        return deltas

    def truncated(self, how: str) -> StreamTruncated:
        """Return the error for a stream that ``how`` (a verb phrase)."""
        return StreamTruncated(
            f"The stream of {self._provider} for model {self._asked_model!r} {how}; "
            "what arrived is not a complete answer.",
            provider=self._provider,
            # Retryable: cut streams come from restarts and proxies, and the next call may do well.
            category="network",
            in_stream=True,
            remedy="Try again.",
        )

    def protocol_error(self, what: str, data: str | bytes = b"") -> ProviderProtocolError:
        """Return the error for an answer that ``what`` (a verb phrase); quotes ``data``."""
        shown = data[:120]
        text = shown.decode("utf-8", "replace") if isinstance(shown, bytes) else shown
        quoted = f": {text!r}" if text else ""
        return ProviderProtocolError(
            f"The answer of {self._provider} for model {self._asked_model!r} {what}{quoted}.",
            provider=self._provider,
            category="protocol",
            remedy="Check that base_url points to an OpenAI-compatible endpoint.",
        )

    def _chunk(self, data: str | bytes) -> Chunk:
        try:
            return decode_chunk(data)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            raise self.protocol_error(f"is no chat completion ({error})", data) from None

    def _note_identity(self, chunk: Chunk) -> None:
        # The first chunk that tells them; nobody changes them within an answer.
        if not self.known:
            self.known = bool(chunk.id or chunk.model)
            self.model = chunk.model or self.model
            self.response_id = chunk.id if isinstance(chunk.id, str) else ""

    @staticmethod
    def _is_error(chunk: Chunk) -> bool:
        if chunk.error or chunk.errors:
            return True
        return chunk.choices is None and isinstance(chunk.message, str)

    def _raise_error(self, chunk: Chunk, *, in_stream: bool) -> NoReturn:
        bare = {"message": chunk.message, "code": chunk.code, "type": chunk.type}
        self._raise(chunk.error or chunk.errors or bare, chunk.status_code, in_stream=in_stream)

    def _raise(self, error: Any, status: Any, *, in_stream: bool) -> NoReturn:
        facts = facts_of(error)
        if facts.status is None and isinstance(status, int):
            facts = attrs.evolve(facts, status=status)
        raise error_from_facts(
            facts,
            {},
            provider=self._provider,
            model=self._asked_model,
            in_stream=in_stream,
            business_codes=self._deviations.business_codes,
        )

    def _choice(
        self, choice: Choice, piece: Piece | None, deltas: list[Delta], *, in_stream: bool
    ) -> None:
        if choice.error:
            self._raise(choice.error, None, in_stream=in_stream)
        if piece is not None:
            if thinking := text_of(piece.reasoning_content) or text_of(piece.reasoning):
                deltas.append(ThinkingDelta(thinking))
            if piece.reasoning_details:
                self._add_details(piece.reasoning_details)
            if text := text_of(piece.content):
                deltas.append(TextDelta(text))
            if piece.refusal:
                deltas.append(RefusalDelta(piece.refusal))
            for position, call in enumerate(piece.tool_calls or ()):
                deltas.append(self._call(call, position, whole=choice.message is not None))
            if piece.annotations or piece.images or piece.executed_tools:
                deltas.extend(_beside(piece))
        if choice.finish_reason:
            self._finish(choice, choice.finish_reason, deltas)

    def _add_details(self, details: Any) -> None:
        if self._deviations.reasoning_back != "reasoning_details":
            return
        if self._details is None:
            self._details = ReasoningDetails()
        if not self._details.add(details):
            raise self.protocol_error("has too many pieces of reasoning")

    def _give_details(self, deltas: list[Delta]) -> None:
        if self._details is not None:
            deltas.extend(VendorItemDelta(item) for item in self._details.take())

    def _call(self, call: Call, position: int, *, whole: bool) -> ToolCallDelta:
        index = call.index
        if index is None:
            starts_new = bool(call.id) and bool(self._calls)
            index = position if whole else self._last_index + (1 if starts_new else 0)
        self._last_index = index
        self._calls[index] = bool(call.id) or self._calls.get(index, False)
        if len(self._calls) > CALLS_MAX:
            raise self.protocol_error(f"has more than {CALLS_MAX} tool calls")
        function = call.function or Function()
        return ToolCallDelta(
            index,
            call.id or "",
            function.name or "",
            arguments_of(function.arguments),
            signature_of(call.extra_content) if call.extra_content else None,
        )

    def _finish(self, choice: Choice, raw: str, deltas: list[Delta]) -> None:
        if raw == self._raw_finish:
            return
        if not self.finished:
            deltas.extend(self._invented_ids())
            self._give_details(deltas)
        self.finished = True
        self._raw_finish = raw
        deltas.append(FinishDelta(finish_of(choice), raw))

    def _invented_ids(self) -> list[ToolCallDelta]:
        """Give an id to each call that never got one, so that its result can name it."""
        stem = self.response_id or "call"
        return [
            ToolCallDelta(index, id=f"{stem}_{index}")
            for index, has_id in self._calls.items()
            if not has_id
        ]


def _beside(piece: Piece) -> list[Delta]:
    """Return citations, and what a vendor's own tools did."""
    deltas: list[Delta] = []
    for annotation in _listed(piece.annotations):
        citation = citation_of(annotation)
        if citation is not None:
            deltas.append(CitationDelta(citation))
        else:
            deltas.append(VendorItemDelta(vendor_item(OPENROUTER, "annotation", annotation)))
    others = [(OPENROUTER, "image", image) for image in _listed(piece.images)]
    others += [("groq", "executed_tool", tool) for tool in _listed(piece.executed_tools)]
    deltas += [VendorItemDelta(vendor_item(*other)) for other in others]
    return deltas


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _add_usage(chunk: Chunk, deltas: list[Delta]) -> None:
    # Groq tells the usage of a stream in its own extension, whether asked to or not.
    usage = chunk.usage or (isinstance(chunk.x_groq, dict) and chunk.x_groq.get("usage"))
    if usage:
        deltas.append(UsageDelta(usage_of(usage)))
