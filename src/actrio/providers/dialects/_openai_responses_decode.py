"""What OpenAI's responses API answers, event by event or whole, as deltas.

An answer is a list of items (messages, function calls, reasoning, the vendor's own tools), each
at its ``output_index``. Deltas are passed on as they come. A finished item, and at the end the
whole answer, repeat what the deltas said: from these only what was never told is taken, so that
endpoints which leave deltas out lose nothing and those which send all of them say nothing twice.

Reasoning becomes thinking for the reader's eyes, and beside it, once finished, an item to be sent
back. Items of the vendor's own tools are kept to be sent back, too. An item that is still open
when the next one begins gets its place marked, so that it can go back where it stood.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final, NoReturn

import attrs
import msgspec

from actrio.errors import ProviderProtocolError, StreamTruncated
from actrio.messages import (
    CitationDelta,
    Delta,
    FinishDelta,
    FinishReason,
    RefusalDelta,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    UsageDelta,
    VendorItem,
    VendorItemDelta,
)
from actrio.providers.dialects._openai_chat_errors import error_from_facts, facts_of
from actrio.providers.dialects._openai_responses_wire import (
    PHASE,
    PLACE,
    Event,
    FunctionCall,
    ItemHead,
    MessageItem,
    ReasoningItem,
    Response,
    ResponseHead,
    citation_of,
    json_text,
    text_of,
    usage_of,
    vendor_of,
)
from actrio.sansio import SseEvent

__all__ = ["ResponsesDecoder"]

ITEMS_MAX: Final = 4096
"""Items in one answer. A research model with its own tools makes some hundreds."""

_UNREADABLE: Final = (msgspec.DecodeError, UnicodeError, RecursionError)

_INCOMPLETE: Final[Mapping[str, FinishReason]] = {
    "max_output_tokens": "length",
    "content_filter": "content_filter",
}
_BAD_INPUT: Final = ("invalid_", "image_", "unsupported_", "empty_image", "failed_to_download")
"""How codes begin that blame the request; told inside a stream they come without a status."""

_decode_event = msgspec.json.Decoder(Event).decode
_decode_head = msgspec.json.Decoder(ItemHead).decode
_decode_response = msgspec.json.Decoder(Response).decode
_decode_response_head = msgspec.json.Decoder(ResponseHead).decode
_decode_message = msgspec.json.Decoder(MessageItem).decode
_decode_call = msgspec.json.Decoder(FunctionCall).decode
_decode_reasoning = msgspec.json.Decoder(ReasoningItem).decode


class _Told:
    """What deltas have told of one item."""

    __slots__ = (
        "arguments",
        "call",
        "citations",
        "closed",
        "has_id",
        "item_id",
        "refusal",
        "text",
        "thought",
    )

    def __init__(self) -> None:
        self.item_id = ""
        self.text = False
        self.refusal = False
        self.thought = False
        self.citations = 0
        self.call = False
        self.has_id = False
        self.arguments = False
        self.closed = False


class ResponsesDecoder:
    """Decodes one answer; of no use for a second one.

    Attributes:
        done: The answer is complete; nothing that follows counts.
        model: The model that answered, by the provider's own account.
        response_id: The provider's id of the answer, or empty.
    """

    __slots__ = (
        "_asked_model",
        "_items",
        "_open",
        "_provider",
        "_vendor",
        "done",
        "model",
        "response_id",
    )

    def __init__(self, provider: str, model: str) -> None:
        self._provider = provider
        self._vendor = vendor_of(provider)
        self._asked_model = model
        self._items: dict[int, _Told] = {}
        self._open: list[_Told] = []  # begun, not yet passed on, and with nothing after them
        self.done = False
        self.model = model
        self.response_id = ""

    def event(self, event: SseEvent, deltas: list[Delta]) -> None:
        """Append what one event of a stream adds.

        Raises:
            ProviderError: The provider reports a failure inside its stream.
            ContextWindowExceeded: That failure is about the length of the conversation.
            ProviderProtocolError: The event is not of this wire format.
        """
        data = event.data
        # OpenRouter ends with [DONE] as chat completions do; it proves nothing.
        if self.done or not data or data == "[DONE]":
            return
        try:
            told = _decode_event(data)
            take = self._ACTIONS.get(told.type or event.event)
            if take is not None:
                take(self, told, deltas)
            elif told.error:
                self._raise_error(told.error, in_stream=True)
        except _UNREADABLE as error:
            raise self.protocol_error(f"it sent no valid event ({error})", data) from None

    def whole(self, body: bytes) -> list[Delta]:
        """Return what an answer that was not streamed amounts to.

        Raises:
            ProviderError: The provider reports a failure in place of an answer.
            ContextWindowExceeded: That failure is about the length of the conversation.
            ProviderProtocolError: The body is not of this wire format.
        """
        deltas: list[Delta] = []
        try:
            response = _decode_response(body)
            self._settle(response, deltas, in_stream=False)
        except _UNREADABLE as error:
            raise self.protocol_error(f"it sent no valid response ({error})", body) from None
        return deltas

    def truncated(self, how: str) -> StreamTruncated:
        """Return the error for an answer that ``how`` (a verb phrase)."""
        return StreamTruncated(
            f"The answer of {self._provider} for model {self._asked_model!r} {how}; "
            "what arrived is not complete.",
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
            remedy="Check that base_url points to an endpoint with OpenAI's responses API.",
        )

    def _told(self, index: int) -> _Told:
        told = self._items.get(index)
        if told is None:
            if len(self._items) >= ITEMS_MAX:
                raise self.protocol_error(f"has more than {ITEMS_MAX} items")
            told = self._items[index] = _Told()
        return told

    def _text(self, event: Event, deltas: list[Delta]) -> None:
        if text := text_of(event.delta):
            self._told(event.output_index).text = True
            deltas.append(TextDelta(text))

    def _refusal(self, event: Event, deltas: list[Delta]) -> None:
        if text := text_of(event.delta):
            self._told(event.output_index).refusal = True
            deltas.append(RefusalDelta(text))

    def _thinking(self, event: Event, deltas: list[Delta]) -> None:
        if text := text_of(event.delta):
            self._told(event.output_index).thought = True
            deltas.append(ThinkingDelta(text))

    def _arguments(self, event: Event, deltas: list[Delta]) -> None:
        if text := text_of(event.delta):
            told = self._told(event.output_index)
            told.call = told.arguments = True
            deltas.append(ToolCallDelta(event.output_index, arguments=text))

    def _annotation(self, event: Event, deltas: list[Delta]) -> None:
        self._told(event.output_index).citations += 1
        deltas.append(CitationDelta(citation_of(event.annotation)))

    def _item_begins(self, event: Event, deltas: list[Delta]) -> None:
        head = _decode_head(event.item)
        told = self._told(event.output_index)
        self._mark_places(deltas)
        if head.type == "function_call":
            self._name_call(event.output_index, told, _decode_call(event.item), deltas)
        elif head.type == "message":
            self._phase(head, deltas)
        elif item_id := text_of(head.id):
            told.item_id = item_id
            self._open.append(told)

    def _item_ends(self, event: Event, deltas: list[Delta]) -> None:
        self._close_item(event.output_index, event.item, deltas)

    def _identity(self, event: Event, _deltas: list[Delta]) -> None:
        if bytes(event.response):
            self._note_identity(_decode_response_head(event.response))

    def _end(self, event: Event, deltas: list[Delta]) -> None:
        response = _decode_response(event.response)
        if not isinstance(response.status, str):
            response.status = event.type.rpartition(".")[2]
        self._settle(response, deltas, in_stream=True)

    def _error(self, event: Event, _deltas: list[Delta]) -> None:
        bare = {"code": event.code, "message": event.message}
        self._raise_error(event.error or bare, in_stream=True)

    def _note_identity(self, told: Response | ResponseHead) -> None:
        self.model = text_of(told.model) or self.model
        self.response_id = text_of(told.id) or self.response_id

    def _raise_error(self, value: Any, *, in_stream: bool) -> NoReturn:
        facts = facts_of(value)
        if facts.code == "image_content_policy_violation":
            facts = attrs.evolve(facts, type="content_policy_violation")
        elif facts.status is None and facts.code.startswith(_BAD_INPUT):
            facts = attrs.evolve(facts, type="invalid_request_error")
        raise error_from_facts(
            facts, {}, provider=self._provider, model=self._asked_model, in_stream=in_stream
        )

    def _settle(self, response: Response, deltas: list[Delta], *, in_stream: bool) -> None:
        """Take what a whole answer says beyond its deltas, and end."""
        self._note_identity(response)
        status = text_of(response.status)
        if response.error or status in {"failed", "cancelled"}:
            self._raise_error(response.error or f"the response is {status}", in_stream=in_stream)
        if status in {"queued", "in_progress"}:
            raise self.protocol_error(f"is not finished ({status}); background mode is not read")
        if response.output is None and not in_stream:
            raise self.protocol_error("has no output")
        for index, raw in enumerate(response.output or ()):
            if not self._told(index).closed:
                self._close_item(index, raw, deltas)
        self._invent_ids(deltas)
        if response.usage is not None:
            deltas.append(UsageDelta(usage_of(response.usage)))
        deltas.append(self._finish(response))
        self.done = True

    def _finish(self, response: Response) -> FinishDelta:
        raw = text_of(response.status) or "completed"
        if raw == "incomplete":
            details = response.incomplete_details
            why = text_of(details.get("reason")) if isinstance(details, dict) else ""
            return FinishDelta(_INCOMPLETE.get(why, "other"), f"{raw}:{why}" if why else raw)
        if raw != "completed":
            return FinishDelta("other", raw)
        called = any(told.call for told in self._items.values())
        return FinishDelta("tool_calls" if called else "stop", raw)

    def _close_item(self, index: int, raw: msgspec.Raw, deltas: list[Delta]) -> None:
        head = _decode_head(raw)
        told = self._told(index)
        told.closed = True
        match head.type:
            case "message":
                self._close_message(told, head, _decode_message(raw), deltas)
            case "function_call":
                self._close_call(index, told, _decode_call(raw), deltas)
            case "reasoning":
                self._close_reasoning(told, raw, _decode_reasoning(raw), deltas)
            case kind:
                deltas.append(VendorItemDelta(VendorItem(self._vendor, kind, json_text(raw))))

    def _close_message(
        self, told: _Told, head: ItemHead, message: MessageItem, deltas: list[Delta]
    ) -> None:
        if not (told.text or told.refusal):
            self._phase(head, deltas)
        position = 0
        for part in message.content or ():
            if (text := text_of(part.text)) and not told.text:
                deltas.append(TextDelta(text))
            if (text := text_of(part.refusal)) and not told.refusal:
                deltas.append(RefusalDelta(text))
            for raw in part.annotations or ():
                position += 1
                if position > told.citations:
                    deltas.append(CitationDelta(citation_of(raw)))

    def _close_call(self, index: int, told: _Told, call: FunctionCall, deltas: list[Delta]) -> None:
        if not told.has_id:
            self._name_call(index, told, call, deltas)
        if not told.arguments and call.arguments:
            value = call.arguments
            text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
            deltas.append(ToolCallDelta(index, arguments=text))

    def _close_reasoning(
        self, told: _Told, raw: msgspec.Raw, reasoning: ReasoningItem, deltas: list[Delta]
    ) -> None:
        if not told.thought and reasoning.shown:
            deltas.append(ThinkingDelta(reasoning.shown))
        if reasoning.can_return:
            deltas.append(VendorItemDelta(VendorItem(self._vendor, "reasoning", json_text(raw))))

    def _mark_places(self, deltas: list[Delta]) -> None:
        late = [told.item_id for told in self._open if not told.closed]
        deltas.extend(self._note(PLACE, {"id": item_id}) for item_id in late)
        self._open.clear()

    def _note(self, kind: str, value: dict[str, str]) -> VendorItemDelta:
        return VendorItemDelta(VendorItem(self._vendor, kind, msgspec.json.encode(value).decode()))

    def _phase(self, head: ItemHead, deltas: list[Delta]) -> None:
        if phase := text_of(head.phase):
            deltas.append(self._note(PHASE, {"phase": phase}))

    def _name_call(self, index: int, told: _Told, call: FunctionCall, deltas: list[Delta]) -> None:
        call_id = text_of(call.call_id) or text_of(call.id)
        told.call = True
        told.has_id = bool(call_id)
        deltas.append(ToolCallDelta(index, call_id, text_of(call.name)))

    def _invent_ids(self, deltas: list[Delta]) -> None:
        """Give an id to each call that never got one, so that its result can name it."""
        stem = self.response_id or "call"
        deltas.extend(
            ToolCallDelta(index, id=f"{stem}_{index}")
            for index, told in self._items.items()
            if told.call and not told.has_id
        )

    _ACTIONS: ClassVar[Mapping[str, Callable[[ResponsesDecoder, Event, list[Delta]], None]]] = {
        "response.output_text.delta": _text,
        "response.refusal.delta": _refusal,
        "response.reasoning_summary_text.delta": _thinking,
        "response.reasoning_text.delta": _thinking,
        "response.function_call_arguments.delta": _arguments,
        "response.output_text.annotation.added": _annotation,
        "response.output_item.added": _item_begins,
        "response.output_item.done": _item_ends,
        "response.created": _identity,
        "response.in_progress": _identity,
        "response.completed": _end,
        "response.incomplete": _end,
        "response.failed": _end,
        "response.cancelled": _end,
        "error": _error,
    }
