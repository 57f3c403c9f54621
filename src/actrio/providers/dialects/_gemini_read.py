"""Reads one answer of Gemini: bytes, split anywhere, to deltas.

A stream is server-sent events without names and without an end mark. An event is as whole as an
answer: parts, usage so far, and in the last one a ``finishReason``. So the end of the body ends
an answer only where a reason to stop was seen; without one the stream was cut. A blocked prompt
has no candidates and a ``blockReason`` in their place.

Each part goes back to the vendor as it came, with its own signature. Two neighbouring texts of
which only the second is signed must therefore stay two parts; since text joins text when deltas
are folded, the first is closed by an empty signature, which is none on the way back.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from typing import Any, Final, NoReturn

import msgspec

from actrio.errors import (
    ContextWindowExceeded,
    LimitExceeded,
    ProviderError,
    ProviderProtocolError,
    StreamTruncated,
)
from actrio.messages import (
    AssistantMessage,
    Citation,
    CitationDelta,
    Delta,
    FinishDelta,
    FinishReason,
    ModelInput,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    UsageDelta,
    VendorItem,
    VendorItemDelta,
)
from actrio.providers.dialects._gemini_errors import error_from_facts, facts_of
from actrio.providers.dialects._gemini_wire import (
    FINISH,
    THINKING_MARK,
    VENDOR,
    Candidate,
    Chunk,
    FunctionCall,
    Part,
    WireUsage,
    citations_of,
    decode_chunk,
    decode_chunks,
    invented_id,
    usage_of,
    vendor_parts,
)
from actrio.sansio import SseReader

__all__ = ["GeminiReader"]

ANSWER_BYTES_MAX: Final = 64 * 1024 * 1024
"""Longest answer that is not streamed, and longest event. A model that draws sends each picture
whole and in base64: four pictures of 4K resolution fit."""

BLOCKS_MAX: Final = 4096
"""Calls, items and citations in one answer; the largest recorded answer has 12."""

_ID_FORBIDDEN: Final = re.compile(r"[^A-Za-z0-9_-]+")


class GeminiReader:
    """An `AnswerReader` for one answer of Gemini.

    Args:
        call: What is being answered.
        provider: The provider's name, for error texts.
        streamed: The answer comes as events, not as one JSON document.
    """

    __slots__ = (
        "_asked_model",
        "_begun",
        "_blocks",
        "_body",
        "_body_bytes",
        "_calls",
        "_cited",
        "_failure",
        "_history",
        "_ids",
        "_provider",
        "_raw_finish",
        "_sse",
        "_text_open",
        "_usage",
        "done",
        "model",
        "response_id",
    )

    def __init__(self, call: ModelInput, *, provider: str, streamed: bool) -> None:
        self._provider = provider
        self._asked_model = call.model
        self._history = call.messages
        self._sse = SseReader(ANSWER_BYTES_MAX) if streamed else None
        self._begun = False  # a byte that tells the framing has come
        self._body: list[bytes] = []  # of an answer that is not streamed
        self._body_bytes = 0
        self._failure: ProviderError | ContextWindowExceeded | None = None
        self._raw_finish: str | None = None
        self._usage: WireUsage | None = None  # not yet told
        self._text_open = False  # the last part is a text without a signature
        self._calls = 0
        self._ids: set[str] = set()
        self._cited: set[Citation] = set()
        self._blocks = 0
        self.done = False
        self.model = call.model
        self.response_id = ""

    def feed(self, data: bytes) -> list[Delta]:
        """Return what ``data`` adds."""
        if self._failure is not None:
            raise self._failure
        if self.done:
            return []
        deltas: list[Delta] = []
        try:
            self._take(data, deltas)
        except (ProviderError, ContextWindowExceeded) as error:
            self._failure = error
        except LimitExceeded as error:
            self._failure = self._protocol_error(f"is too large: {error.message}")
        self._tell_usage(deltas)
        if self._failure is not None:
            self.done = True
            if not deltas:
                raise self._failure
            # What came before it is returned first; the next call raises.
        return deltas

    def close(self) -> list[Delta]:
        """Return what only the end of the body completes."""
        if self._failure is not None:
            raise self._failure
        deltas: list[Delta] = []
        if self._sse is None:
            if not self.done:
                self._whole(str(b"".join(self._body), "utf-8", "replace"), deltas)
                self._tell_usage(deltas)
        elif self._raw_finish is None:
            cut = self._sse.close()
            raise self.truncated(f"ended {'in an event' if cut else 'without a finishReason'}")
        self._body = []
        self.done = True
        return deltas

    def truncated(self, how: str) -> StreamTruncated:
        """Return the error for an answer that ``how`` (a verb phrase)."""
        return StreamTruncated(
            f"The answer of {self._provider} for model {self._asked_model!r} {how}; "
            "what arrived is not complete.",
            provider=self._provider,
            # Retryable: cut answers come from restarts and proxies, and the next call may do well.
            category="network",
            in_stream=True,
            remedy="Try again.",
        )

    # -- framing -----------------------------------------------------------------------------------

    def _take(self, data: bytes, deltas: list[Delta]) -> None:
        if not self._begun:
            self._begin(data)
        if self._sse is None:
            self._keep(data)
            return
        for event in self._sse.feed(data):
            self._event(event.data, deltas)

    def _begin(self, data: bytes) -> None:
        """Find out whether a stream is one: Google sends documents under the type of events."""
        start = data.lstrip()[:1]
        self._begun = bool(start)
        if start in {b"{", b"["}:
            self._sse = None

    def _keep(self, data: bytes) -> None:
        self._body.append(data)
        self._body_bytes += len(data)
        if self._body_bytes > ANSWER_BYTES_MAX:
            self._body = []
            raise self._protocol_error(f"is longer than {ANSWER_BYTES_MAX} bytes")

    def _event(self, data: str, deltas: list[Delta]) -> None:
        if not data or data == "[DONE]":  # Google sends no end mark, some gateways add one
            return
        try:
            chunk = decode_chunk(data)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            raise self._protocol_error(f"holds no valid event ({error})", data) from None
        self._chunk(chunk, (data, 0), deltas)

    def _whole(self, body: str, deltas: list[Delta]) -> None:
        try:
            value = decode_chunks(body)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            if "truncated" in str(error):
                raise self.truncated("was cut") from None
            raise self._protocol_error(f"is no valid answer ({error})", body) from None
        chunks = value if isinstance(value, list) else [value]
        for number, chunk in enumerate(chunks):
            self._chunk(chunk, (body, number), deltas)
        if self._raw_finish is None:
            if not any(chunk.candidates or chunk.usage_metadata for chunk in chunks):
                raise self._protocol_error("has neither candidates nor usage", body)
            # A whole body cannot be cut unnoticed, so a missing reason is only a missing reason.
            self._finish("", deltas)

    def _protocol_error(self, what: str, data: str = "") -> ProviderProtocolError:
        quoted = f": {data[:120]!r}" if data else ""
        return ProviderProtocolError(
            f"The answer of {self._provider} for model {self._asked_model!r} {what}{quoted}.",
            provider=self._provider,
            category="protocol",
            remedy="Check that base_url points to the Gemini API.",
        )

    # -- content -----------------------------------------------------------------------------------

    def _chunk(self, chunk: Chunk, source: tuple[str, int], deltas: list[Delta]) -> None:
        if chunk.error:
            self._raise_error(chunk.error)
        if chunk.model_version:
            self.model = chunk.model_version
        if chunk.response_id:
            self.response_id = chunk.response_id
        for number, candidate in enumerate(chunk.candidates or ()):
            if not candidate.index:
                self._candidate(candidate, (*source, number), deltas)
                break
        else:
            self._blocked(chunk, deltas)
        if chunk.usage_metadata is not None:
            self._usage = chunk.usage_metadata

    def _tell_usage(self, deltas: list[Delta]) -> None:
        """Tell the usage so far, once for each read: every event repeats it."""
        if self._usage is not None:
            deltas.append(UsageDelta(usage_of(self._usage)))
            self._usage = None

    def _raise_error(self, error: Any) -> NoReturn:
        raise error_from_facts(
            facts_of(error),
            {},
            provider=self._provider,
            model=self._asked_model,
            in_stream=self._sse is not None,
        )

    def _blocked(self, chunk: Chunk, deltas: list[Delta]) -> None:
        feedback = chunk.prompt_feedback
        if feedback is not None and feedback.block_reason:
            self._finish(f"promptFeedback:{feedback.block_reason}", deltas)

    def _candidate(
        self, candidate: Candidate, source: tuple[str, int, int], deltas: list[Delta]
    ) -> None:
        begun = len(deltas)
        parts = (candidate.content.parts if candidate.content is not None else None) or []
        raw: list[tuple[str, str]] | None = None
        for position, part in enumerate(parts):
            if part.function_call is not None:
                self._call(part.function_call, part.thought_signature, deltas)
            elif part.text is not None:
                self._text(part, part.text, deltas)
            else:
                raw = raw or self._parts_again(source)
                self._other(part, *raw[position], deltas)
        if candidate.grounding_metadata or candidate.citation_metadata:
            self._cite(citations_of(candidate), begun, deltas)
        if candidate.finish_reason:
            self._finish(candidate.finish_reason, deltas)

    def _parts_again(self, source: tuple[str, int, int]) -> list[tuple[str, str]]:
        try:
            return vendor_parts(*source)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            raise self._protocol_error(f"holds no valid part ({error})", source[0]) from None

    def _text(self, part: Part, text: str, deltas: list[Delta]) -> None:
        signature = part.thought_signature or None
        if not text and signature is None:
            return
        if part.thought:
            self._text_open = False
            marked = None if signature is None else THINKING_MARK + signature
            deltas.append(ThinkingDelta(text, marked))
            return
        if signature is not None and self._text_open:
            deltas.append(TextDelta("", ""))
        self._text_open = signature is None
        deltas.append(TextDelta(text, signature))

    def _call(self, call: FunctionCall, signature: str | None, deltas: list[Delta]) -> None:
        self._count_block()
        self._text_open = False
        index, call_id = self._calls, call.id
        self._calls += 1
        if not call_id or call_id in self._ids:
            call_id = self._new_id(index)
        self._ids.add(call_id)
        deltas.append(
            ToolCallDelta(index, call_id, call.name or "", call.arguments(), signature or None)
        )

    def _new_id(self, index: int) -> str:
        """Return an id that no call of the conversation has; deterministic, so replays agree."""
        taken = {
            call.id
            for message in self._history
            if isinstance(message, AssistantMessage)
            for call in message.tool_calls
        }
        stem = _ID_FORBIDDEN.sub("_", self.response_id)[:40] or "call"
        ids = (invented_id(stem, number) for number in itertools.count(index))
        return next(new for new in ids if new not in taken and new not in self._ids)

    def _other(self, part: Part, kind: str, data: str, deltas: list[Delta]) -> None:
        """Take a part of a kind that only the vendor understands, or a bare signature."""
        if not kind:
            self._text(part, "", deltas)
            return
        self._count_block()
        self._text_open = False
        deltas.append(VendorItemDelta(VendorItem(VENDOR, kind, data)))

    def _cite(self, citations: Iterable[Citation], begun: int, deltas: list[Delta]) -> None:
        """Tell each source once, in front of an empty signed part: that has no words to cite."""
        place = len(deltas)
        while place > begun and isinstance(last := deltas[place - 1], TextDelta) and not last.text:
            place -= 1
        for citation in citations:
            # Later events repeat the sources of earlier ones.
            if citation not in self._cited:
                self._count_block()
                self._cited.add(citation)
                deltas.insert(place, CitationDelta(citation))
                place += 1

    def _count_block(self) -> None:
        self._blocks += 1
        if self._blocks > BLOCKS_MAX:
            raise self._protocol_error(f"has more than {BLOCKS_MAX} calls, items and citations")

    def _finish(self, raw: str, deltas: list[Delta]) -> None:
        if raw == self._raw_finish:
            return
        self._raw_finish = raw
        deltas.append(FinishDelta(self._reason(raw), raw))

    def _reason(self, raw: str) -> FinishReason:
        if raw.startswith("promptFeedback:"):
            return "content_filter"
        if raw == "STOP" and self._calls:
            return "tool_calls"
        return FINISH.get(raw, "other")
