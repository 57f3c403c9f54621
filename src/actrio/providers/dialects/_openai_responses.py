"""The OpenAI responses wire format: a call to bytes, an answer to deltas. Pure.

The server is asked to keep nothing (``store: false``): the whole conversation goes along each
time, and reasoning models' own reasoning with it, encrypted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import attrs

from actrio.errors import (
    ActrioError,
    ContextWindowExceeded,
    LimitExceeded,
    NotSupported,
    ProviderError,
    StreamTruncated,
)
from actrio.messages import Delta, EmbedInput, EmbedOutput, ModelInput
from actrio.providers.dialects._dialect import Dialect, WireRequest
from actrio.providers.dialects._openai_chat_errors import error_from_answer
from actrio.providers.dialects._openai_responses_decode import ResponsesDecoder
from actrio.providers.dialects._openai_responses_encode import ResponsesHost, encode_request
from actrio.sansio import SseReader

__all__ = ["OpenAiResponses", "ResponsesStreamReader", "ResponsesWholeReader"]

ANSWER_BYTES_MAX: Final = 32 * 1024 * 1024
"""Of an answer that is not streamed; as much as a request may have."""

EVENT_BYTES_MAX: Final = 16 * 1024 * 1024
"""Of one event. The last one repeats the whole answer, with the images that a tool has made."""


@attrs.frozen(slots=True)
class OpenAiResponses:
    """The dialect of one provider.

    ``vendor`` members of the options join the body: objects member by member (``reasoning``,
    ``text``), lists by appending (``tools``, ``include``), anything else in place of ours.

    Attributes:
        provider: The provider's name, for error texts and for the items that go back to it.
        host: Whose reading of the format it is.
        embeddings: The dialect that makes this provider's embeddings, which are none of this
            wire format; None for a provider without.
    """

    provider: str
    host: ResponsesHost = "openai"
    path: str = "/responses"
    embeddings: Dialect | None = None

    @property
    def embed_batch_max(self) -> int:
        return self.embeddings.embed_batch_max if self.embeddings is not None else 0

    def key_headers(self, key: str) -> Mapping[str, str]:
        """Return the headers that carry the key."""
        return {"authorization": f"Bearer {key}"} if key else {}

    def request(self, call: ModelInput) -> WireRequest:
        """Return a model call as it is sent; see `Dialect`."""
        return WireRequest(self.path, encode_request(call, self.provider, self.host))

    def reader(
        self, call: ModelInput, content_type: str
    ) -> ResponsesStreamReader | ResponsesWholeReader:
        """Return a reader for one answer to ``call``; see `Dialect`."""
        decoder = ResponsesDecoder(self.provider, call.model)
        kind = content_type.partition(";")[0].strip().lower()
        if kind == "text/event-stream" or (not kind and call.stream):
            return ResponsesStreamReader(decoder)
        if kind in {"application/json", ""}:
            return ResponsesWholeReader(decoder)
        raise decoder.protocol_error(f"is {kind}")

    def error_from(
        self, status: int, headers: Mapping[str, str], body: bytes, *, model: str
    ) -> ProviderError | ContextWindowExceeded:
        """Return the error that an answer with an error status amounts to."""
        return error_from_answer(status, headers, body, provider=self.provider, model=model)

    def embed_request(self, call: EmbedInput) -> WireRequest:
        """Return an embedding call as it is sent; see `Dialect`."""
        return self._embedder().embed_request(call)

    def embed_output(self, call: EmbedInput, body: bytes) -> EmbedOutput:
        """Return the vectors in an answer; see `Dialect`."""
        return self._embedder().embed_output(call, body)

    def _embedder(self) -> Dialect:
        if self.embeddings is None:
            raise NotSupported(
                f"Embeddings: {self.provider}'s responses API makes none.",
                remedy="Use a provider with dialect 'openai', or openai:text-embedding-3-small.",
            )
        return self.embeddings


class _Reader:
    """What both forms of an answer share."""

    __slots__ = ("_decoder", "_failure")

    def __init__(self, decoder: ResponsesDecoder) -> None:
        self._decoder = decoder
        self._failure: ActrioError | None = None

    @property
    def done(self) -> bool:
        return self._decoder.done or self._failure is not None

    @property
    def model(self) -> str:
        return self._decoder.model

    @property
    def response_id(self) -> str:
        return self._decoder.response_id

    def truncated(self, how: str) -> StreamTruncated:
        return self._decoder.truncated(how)


class ResponsesStreamReader(_Reader):
    """Reads one answer as server-sent events; see `AnswerReader`."""

    __slots__ = ("_events",)

    def __init__(self, decoder: ResponsesDecoder) -> None:
        super().__init__(decoder)
        self._events = SseReader(EVENT_BYTES_MAX)

    def feed(self, data: bytes) -> list[Delta]:
        if self._failure is not None:
            raise self._failure
        deltas: list[Delta] = []
        try:
            for event in self._events.feed(data):
                self._decoder.event(event, deltas)
        except LimitExceeded as error:
            self._fail(self._too_much(error), deltas)
        except ProviderError as error:
            self._fail(error, deltas)
        return deltas

    def close(self) -> list[Delta]:
        if self._failure is not None:
            raise self._failure
        if not self._decoder.done:
            torn = self._events.close()
            where = "in the middle of an event" if torn else "without its last event"
            raise self.truncated(f"ended {where}")
        return []

    def _too_much(self, error: LimitExceeded) -> ActrioError:
        if isinstance(error, ContextWindowExceeded):
            return error
        return self._decoder.protocol_error(f"is too much: {error.message}")

    def _fail(self, error: ActrioError, deltas: list[Delta]) -> None:
        self._failure = error
        if not deltas:
            raise error


class ResponsesWholeReader(_Reader):
    """Reads one answer as one JSON document; see `AnswerReader`."""

    __slots__ = ("_body", "_body_bytes")

    def __init__(self, decoder: ResponsesDecoder) -> None:
        super().__init__(decoder)
        self._body: list[bytes] = []
        self._body_bytes = 0

    def feed(self, data: bytes) -> list[Delta]:
        if self._failure is not None:
            raise self._failure
        self._body.append(data)
        self._body_bytes += len(data)
        if self._body_bytes > ANSWER_BYTES_MAX:
            self._body.clear()
            self._failure = self._decoder.protocol_error(f"is over {ANSWER_BYTES_MAX} bytes")
            raise self._failure
        return []

    def close(self) -> list[Delta]:
        if self._failure is not None:
            raise self._failure
        body = b"".join(self._body)
        if not body:
            raise self.truncated("is empty")
        return self._decoder.whole(body)
