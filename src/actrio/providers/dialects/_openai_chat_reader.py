"""One chat completion answer from its bytes: framing, bounds, and failure after what came. Pure."""

from __future__ import annotations

from typing import Final

from actrio.errors import ActrioError, LimitExceeded, StreamTruncated
from actrio.messages import Delta
from actrio.providers.dialects._openai_chat_decode import OpenAiChatDecoder
from actrio.sansio import SseReader

__all__ = ["ANSWER_BYTES_MAX", "StreamReader", "WholeReader"]

ANSWER_BYTES_MAX: Final = 32 * 1024 * 1024
"""Of an answer that is not streamed; as much as a request may have."""


class _Reader:
    """What both ways of answering share."""

    __slots__ = ("_decoder", "_failure", "done", "model", "response_id")

    def __init__(self, decoder: OpenAiChatDecoder) -> None:
        self._decoder = decoder
        self._failure: ActrioError | None = None
        self.done = False
        self.model = decoder.model
        self.response_id = decoder.response_id

    def truncated(self, how: str) -> StreamTruncated:
        return self._decoder.truncated(how)

    def _fail(self, error: ActrioError, deltas: list[Delta]) -> list[Delta]:
        """Raise ``error``, or keep it for the next call where something came before it."""
        self.done = True
        if not deltas:
            raise error
        self._failure = error
        return deltas

    def _note_progress(self) -> None:
        decoder = self._decoder
        self.done, self.model, self.response_id = decoder.done, decoder.model, decoder.response_id

    def _raise_kept(self) -> None:
        if self._failure is not None:
            raise self._failure


class StreamReader(_Reader):
    """Reads server-sent events."""

    __slots__ = ("_events",)

    def __init__(self, decoder: OpenAiChatDecoder) -> None:
        super().__init__(decoder)
        self._events = SseReader()

    def feed(self, data: bytes) -> list[Delta]:
        self._raise_kept()
        deltas: list[Delta] = []
        decoder = self._decoder
        try:
            events = self._events.feed(data)
        except LimitExceeded as error:
            return self._fail(decoder.protocol_error(f"is too much: {error.message}"), deltas)
        try:
            for event in events:
                deltas += decoder.feed(event)
        except ActrioError as error:
            return self._fail(error, deltas)
        except RecursionError:
            return self._fail(decoder.protocol_error("is nested too deep"), deltas)
        self._note_progress()
        return deltas

    def close(self) -> list[Delta]:
        self._raise_kept()
        return self._decoder.close(leftover=self._events.close())


class WholeReader(_Reader):
    """Reads one JSON document."""

    __slots__ = ("_body",)

    def __init__(self, decoder: OpenAiChatDecoder) -> None:
        super().__init__(decoder)
        self._body = bytearray()

    def feed(self, data: bytes) -> list[Delta]:
        self._raise_kept()
        self._body += data
        if len(self._body) > ANSWER_BYTES_MAX:
            what = f"is larger than {ANSWER_BYTES_MAX} bytes"
            return self._fail(self._decoder.protocol_error(what), [])
        return []

    def close(self) -> list[Delta]:
        self._raise_kept()
        try:
            deltas = self._decoder.decode_whole(bytes(self._body))
        except RecursionError:
            raise self._decoder.protocol_error("is nested too deep") from None
        self._note_progress()
        self.done = True
        return deltas
