"""Reads one answer of the Anthropic messages API, streamed or whole. Pure.

What a stream may hold beside its blocks: pings, events of types not known yet, and an error as its
last event. Only a ``stop_reason`` ends an answer: a stream without one was cut, whatever came last.
Usage is told at the beginning and again, cumulatively, with the stop; what the second one does not
mention stays as the first one said.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from actrio.errors import (
    ContextWindowExceeded,
    LimitExceeded,
    ProviderError,
    StreamTruncated,
)
from actrio.messages import Delta, FinishDelta, FinishReason, Usage, UsageDelta
from actrio.providers.dialects._anthropic_blocks import BlockDelta, Blocks
from actrio.providers.dialects._anthropic_errors import Peer, facts_of
from actrio.sansio import SseEvent, SseReader

__all__ = ["ANSWER_BYTES_MAX", "StreamReader", "WholeReader"]

ANSWER_BYTES_MAX: Final = 64 * 1024 * 1024
"""Of one answer. 128,000 tokens in single-token events are 20 MiB; search results come on top."""

_FINISH: Final[Mapping[str, FinishReason]] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "content_filter",
    "pause_turn": "pause",
    "compaction": "pause",
}


class _Message(msgspec.Struct):
    type: Any = None
    id: Any = None
    model: Any = None
    content: list[msgspec.Raw] | None = None
    stop_reason: Any = None
    usage: Any = None
    error: Any = None
    request_id: Any = None


class _Event(msgspec.Struct):
    type: str = ""
    index: int = 0
    delta: BlockDelta | None = None
    content_block: msgspec.Raw = msgspec.Raw()
    message: _Message | None = None
    usage: Any = None
    error: Any = None
    request_id: Any = None


_decode_event = msgspec.json.Decoder(_Event).decode
_decode_message = msgspec.json.Decoder(_Message).decode

_NO_JSON: Final = (msgspec.DecodeError, UnicodeError, RecursionError)


class _Answer:
    """What is known of an answer so far; the part that both readers share."""

    __slots__ = ("_blocks", "_peer", "_raw_finish", "_usage", "done", "model", "response_id")

    def __init__(self, peer: Peer, vendor: str) -> None:
        self._peer = peer
        self._blocks = Blocks(peer, vendor)
        self._raw_finish: str | None = None
        self._usage: dict[str, Any] = {}
        self.done = False
        self.model = peer.model
        self.response_id = ""

    def truncated(self, how: str) -> StreamTruncated:
        """Return the error for an answer that ``how`` (a verb phrase)."""
        return self._peer.truncated(how)

    def _take_message(self, message: _Message, deltas: list[Delta]) -> None:
        if message.model and isinstance(message.model, str):
            self.model = message.model
        if message.id and isinstance(message.id, str):
            self.response_id = self._blocks.response_id = message.id
        for index, block in enumerate(message.content or ()):
            self._blocks.begin(index, block, deltas)
            self._blocks.stop(index, deltas)
        self._take_usage(message.usage, deltas)

    def _take_usage(self, usage: Any, deltas: list[Delta]) -> None:
        if isinstance(usage, dict):
            self._usage.update((name, value) for name, value in usage.items() if value is not None)
            deltas.append(UsageDelta(_usage(self._usage)))

    def _finish(self, raw: str, deltas: list[Delta]) -> None:
        self._blocks.stop_all(deltas)
        if raw != self._raw_finish:
            self._raw_finish = raw
            deltas.append(FinishDelta(_FINISH.get(raw, "other"), raw))


class StreamReader(_Answer):
    """Reads a stream of server-sent events; see `AnswerReader`."""

    __slots__ = ("_bytes", "_failure", "_sse")

    def __init__(self, peer: Peer, vendor: str) -> None:
        super().__init__(peer, vendor)
        self._sse = SseReader()
        self._bytes = 0
        self._failure: ProviderError | ContextWindowExceeded | None = None

    def feed(self, data: bytes) -> list[Delta]:
        """Return what ``data`` adds; a failure in its middle is raised by the next call."""
        if self._failure is not None:
            raise self._failure
        deltas: list[Delta] = []
        if self.done:
            return deltas
        try:
            for event in self._events(data):
                self._take(event, deltas)
                if self.done:
                    break
        except (ProviderError, ContextWindowExceeded) as failure:
            # No need to read on: `close` raises it as well.
            self._failure, self.done = failure, True
            if not deltas:
                raise
        return deltas

    def close(self) -> list[Delta]:
        """Check that the answer is complete."""
        if self._failure is not None:
            raise self._failure
        if self._raw_finish is None:
            cut = self._sse.close() and not self.done
            where = "in the middle of an event" if cut else "without a stop_reason"
            raise self.truncated(f"ended {where}")
        return []

    def _events(self, data: bytes) -> list[SseEvent]:
        self._bytes += len(data)
        if self._bytes > ANSWER_BYTES_MAX:
            raise self._peer.protocol_error(f"has more than {ANSWER_BYTES_MAX} bytes")
        try:
            return self._sse.feed(data)
        except LimitExceeded as error:
            raise self._peer.protocol_error(f"is too much: {error.message}") from error

    def _take(self, event: SseEvent, deltas: list[Delta]) -> None:
        data = event.data
        if not data:
            return
        if data == "[DONE]":  # not of this API, but of endpoints that imitate it
            self.done = True
            return
        try:
            self._take_event(_decode_event(data), event, deltas)
        except _NO_JSON as error:
            raise self._peer.protocol_error(f"holds no valid event ({error})", data) from None

    def _take_event(self, wire: _Event, event: SseEvent, deltas: list[Delta]) -> None:
        kind = wire.type or event.event
        if kind == "content_block_delta":
            if wire.delta is not None:
                self._blocks.extend(wire.index, wire.delta, event.data, deltas)
        elif kind == "content_block_start":
            self._blocks.begin(wire.index, wire.content_block, deltas)
        elif kind == "content_block_stop":
            self._blocks.stop(wire.index, deltas)
        elif kind == "message_start":
            if wire.message is not None:
                self._take_message(wire.message, deltas)
        elif kind == "message_delta":
            self._take_usage(wire.usage, deltas)
            if wire.delta is not None and isinstance(wire.delta.stop_reason, str):
                self._finish(wire.delta.stop_reason, deltas)
        elif kind == "message_stop":
            self.done = True
        elif kind == "error" or (kind == "message" and wire.error):
            facts = facts_of(wire.error, wire.request_id)
            raise self._peer.refused(facts, {}, in_stream=True)


class WholeReader(_Answer):
    """Reads an answer that is one JSON document; see `AnswerReader`."""

    __slots__ = ("_bytes", "_pieces")

    def __init__(self, peer: Peer, vendor: str) -> None:
        super().__init__(peer, vendor)
        self._pieces: list[bytes] = []
        self._bytes = 0

    def feed(self, data: bytes) -> list[Delta]:
        """Keep ``data``: one document is read at its end."""
        self._bytes += len(data)
        if self._bytes > ANSWER_BYTES_MAX:
            raise self._peer.protocol_error(f"has more than {ANSWER_BYTES_MAX} bytes")
        self._pieces.append(data)
        return []

    def close(self) -> list[Delta]:
        """Return the whole answer."""
        body = b"".join(self._pieces)
        self._pieces = []
        try:
            message = _decode_message(body)
            return self._deltas(message, body)
        except _NO_JSON as error:
            if "truncated" in str(error) or not body.strip():
                raise self.truncated("ended in the middle of its JSON") from None
            raise self._peer.protocol_error(f"is no valid message ({error})", body) from None

    def _deltas(self, message: _Message, body: bytes) -> list[Delta]:
        if message.error or message.type == "error":
            facts = facts_of(message.error, message.request_id)
            raise self._peer.refused(facts, {}, in_stream=False)
        if message.content is None:
            raise self._peer.protocol_error("has no content", body)
        deltas: list[Delta] = []
        self._take_message(message, deltas)
        # A whole body cannot be cut unnoticed, so a missing reason is only a missing reason.
        raw = message.stop_reason
        self._finish(raw if isinstance(raw, str) else "", deltas)
        self.done = True
        return deltas


def _usage(usage: Mapping[str, Any]) -> Usage:
    cached = _count(usage.get("cache_read_input_tokens"))
    written = _count(usage.get("cache_creation_input_tokens"))
    details = usage.get("output_tokens_details")
    thinking = details.get("thinking_tokens") if isinstance(details, dict) else None
    return Usage(
        # The vendor counts only what was neither read from its cache nor written to it.
        input_tokens=_count(usage.get("input_tokens")) + cached + written,
        output_tokens=_count(usage.get("output_tokens")),
        cached_input_tokens=cached,
        reasoning_tokens=_count(thinking),
    )


def _count(value: Any) -> int:
    return value if type(value) is int and value > 0 else 0
