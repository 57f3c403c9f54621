"""The OpenAI chat completions wire format: a call to bytes, an answer to deltas. Pure.

What the decoder forgives, because real endpoints do it: missing or empty ids and names in later
fragments, ``null`` or object arguments, a missing index, reasoning under two names, a repeated
finish, usage that comes early, late or twice (the last one wins), comments and unknown fields.
What it does not forgive: an answer that never says why it stopped. ``[DONE]`` proves nothing;
only a ``finish_reason`` ends an answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NoReturn

import attrs
import msgspec

from actrio.errors import (
    ContextWindowExceeded,
    ProviderError,
    ProviderProtocolError,
    StreamTruncated,
)
from actrio.messages import (
    Delta,
    FinishDelta,
    FinishReason,
    ModelInput,
    RefusalDelta,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    Usage,
    UsageDelta,
)
from actrio.providers.dialects._openai_chat_encode import MaxTokensField, encode_request
from actrio.providers.dialects._openai_chat_errors import (
    error_from_answer,
    error_from_facts,
    facts_of,
)
from actrio.sansio import SseEvent

__all__ = ["OpenAiChat", "OpenAiChatDecoder"]

_FINISH: Final[Mapping[str, FinishReason]] = {
    "stop": "stop",
    "eos": "stop",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "tool_use": "tool_calls",
    "length": "length",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "content_filter": "content_filter",
    "sensitive": "content_filter",
    "error": "error",
    "network_error": "error",
}


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: Any = None


class _Call(msgspec.Struct):
    index: int | None = None
    id: str | None = None
    function: _Function | None = None


class _Piece(msgspec.Struct):
    """A ``delta`` of a stream, or the ``message`` of a whole answer."""

    content: Any = None
    refusal: str | None = None
    reasoning_content: Any = None
    reasoning: Any = None
    tool_calls: list[_Call] | None = None


class _Choice(msgspec.Struct):
    index: int = 0
    delta: _Piece | None = None
    message: _Piece | None = None
    finish_reason: str | None = None


class _Chunk(msgspec.Struct):
    id: Any = None
    model: str | None = None
    choices: list[_Choice] | None = None
    usage: Any = None
    x_groq: Any = None
    error: Any = None
    status_code: Any = None
    message: Any = None
    code: Any = None


_decode_chunk = msgspec.json.Decoder(_Chunk).decode


@attrs.frozen(slots=True)
class OpenAiChat:
    """The dialect of one provider.

    Attributes:
        provider: The provider's name, for error texts.
        max_tokens_field: How this provider calls the bound on output.
    """

    provider: str
    max_tokens_field: MaxTokensField = "max_tokens"
    path: str = "/chat/completions"

    def encode(self, request: ModelInput) -> bytes:
        """Return the request body.

        Raises:
            NotSupported: A part that this wire format cannot carry.
            InvalidRequest: Text that is no Unicode, or values that are no JSON.
        """
        return encode_request(request, self.max_tokens_field)

    def decoder(self, model: str) -> OpenAiChatDecoder:
        """Return a decoder for one answer of ``model``."""
        return OpenAiChatDecoder(self.provider, model)

    def error_from(
        self, status: int, headers: Mapping[str, str], body: bytes, *, model: str
    ) -> ProviderError | ContextWindowExceeded:
        """Return the error that an answer with an error status amounts to."""
        return error_from_answer(status, headers, body, provider=self.provider, model=model)


class OpenAiChatDecoder:
    """Decodes one answer; of no use for a second one.

    Attributes:
        done: The stream said ``[DONE]``; nothing that follows counts.
        finished: The model said why it stopped.
        model: The model that answered, by the provider's own account.
        response_id: The provider's id of the answer, or empty.
    """

    __slots__ = (
        "_asked_model",
        "_calls",
        "_last_index",
        "_provider",
        "_raw_finish",
        "done",
        "finished",
        "model",
        "response_id",
    )

    def __init__(self, provider: str, model: str) -> None:
        self._provider = provider
        self._asked_model = model
        self._calls: dict[int, bool] = {}  # index -> whether it has got an id
        self._last_index = 0
        self._raw_finish: str | None = None
        self.done = False
        self.finished = False
        self.model = model
        self.response_id = ""

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
        if event.event == "error" or self._is_error(chunk):
            self._raise_error(chunk, in_stream=True)
        self._note_identity(chunk)
        deltas: list[Delta] = []
        for choice in chunk.choices or ():
            if choice.index == 0:
                self._choice(choice, choice.delta or choice.message, deltas)
        _add_usage(chunk, deltas)
        return deltas

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
        choice = chunk.choices[0]
        self._choice(choice, choice.message or choice.delta, deltas)
        if not self.finished:
            # A whole body cannot be cut unnoticed, so a missing reason is only a missing reason.
            self._finish("", deltas)
        _add_usage(chunk, deltas)
        return deltas

    def close(self, *, leftover: bool = False) -> None:
        """Check that the answer is complete, at the end of its stream.

        Args:
            leftover: Bytes that form no whole event were left over.

        Raises:
            StreamTruncated: The model never said why it stopped.
        """
        if not self.finished:
            where = "in the middle of an event" if leftover else "without a finish_reason"
            raise self.truncated(f"ended {where}")

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

    def _chunk(self, data: str | bytes) -> _Chunk:
        try:
            return _decode_chunk(data)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            raise self.protocol_error(f"it sent no valid chat completion ({error})", data) from None

    def _note_identity(self, chunk: _Chunk) -> None:
        if chunk.model:
            self.model = chunk.model
        if chunk.id and isinstance(chunk.id, str):
            self.response_id = chunk.id

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

    @staticmethod
    def _is_error(chunk: _Chunk) -> bool:
        return bool(chunk.error) or (chunk.choices is None and isinstance(chunk.message, str))

    def _raise_error(self, chunk: _Chunk, *, in_stream: bool) -> NoReturn:
        bare = {"message": chunk.message, "code": chunk.code}
        facts = facts_of(chunk.error or bare)
        if facts.status is None and isinstance(chunk.status_code, int):
            facts = attrs.evolve(facts, status=chunk.status_code)
        raise error_from_facts(
            facts, {}, provider=self._provider, model=self._asked_model, in_stream=in_stream
        )

    def _choice(self, choice: _Choice, piece: _Piece | None, deltas: list[Delta]) -> None:
        if piece is not None:
            if thinking := _text(piece.reasoning_content) or _text(piece.reasoning):
                deltas.append(ThinkingDelta(thinking))
            if text := _text(piece.content):
                deltas.append(TextDelta(text))
            if piece.refusal:
                deltas.append(RefusalDelta(piece.refusal))
            for position, call in enumerate(piece.tool_calls or ()):
                deltas.append(self._call(call, position, whole=choice.message is not None))
        if choice.finish_reason:
            self._finish(choice.finish_reason, deltas)

    def _call(self, call: _Call, position: int, *, whole: bool) -> ToolCallDelta:
        index = call.index
        if index is None:
            starts_new = bool(call.id) and bool(self._calls)
            index = position if whole else self._last_index + (1 if starts_new else 0)
        self._last_index = index
        self._calls[index] = bool(call.id) or self._calls.get(index, False)
        function = call.function or _Function()
        return ToolCallDelta(
            index, call.id or "", function.name or "", _arguments(function.arguments)
        )

    def _finish(self, raw: str, deltas: list[Delta]) -> None:
        if raw == self._raw_finish:
            return
        if not self.finished:
            deltas.extend(self._invented_ids())
        self.finished = True
        self._raw_finish = raw
        deltas.append(FinishDelta(_FINISH.get(raw, "other"), raw))

    def _invented_ids(self) -> list[ToolCallDelta]:
        """Give an id to each call that never got one, so that its result can name it."""
        stem = self.response_id or "call"
        return [
            ToolCallDelta(index, id=f"{stem}_{index}")
            for index, has_id in self._calls.items()
            if not has_id
        ]


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "".join(
            part["text"]
            for part in value
            if isinstance(part, dict) and isinstance(part.get("text"), str)
        )
    return ""


def _arguments(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        return msgspec.json.encode(value).decode()
    return ""


def _add_usage(chunk: _Chunk, deltas: list[Delta]) -> None:
    # Groq tells the usage of a stream in its own extension, whether asked to or not.
    usage = chunk.usage or (isinstance(chunk.x_groq, dict) and chunk.x_groq.get("usage"))
    if usage:
        deltas.append(UsageDelta(_usage(usage)))


def _usage(value: Any) -> Usage:
    if not isinstance(value, dict):
        return Usage()
    prompt = _details(value, "prompt_tokens_details")
    completion = _details(value, "completion_tokens_details")
    cached = _count(prompt.get("cached_tokens")) or _count(value.get("prompt_cache_hit_tokens"))
    return Usage(
        input_tokens=_count(value.get("prompt_tokens")),
        output_tokens=_count(value.get("completion_tokens")),
        cached_input_tokens=cached,
        reasoning_tokens=_count(completion.get("reasoning_tokens")),
    )


def _details(value: dict[str, Any], name: str) -> dict[str, Any]:
    details = value.get(name)
    return details if isinstance(details, dict) else {}


def _count(value: Any) -> int:
    return value if isinstance(value, int) and value > 0 else 0
