"""One chat completion answer from its bytes: framing, bounds, and failure after what came. Pure."""

from __future__ import annotations

from typing import Final

import msgspec

from actrio.errors import ActrioError, LimitExceeded, StreamTruncated
from actrio.messages import Delta, TextDelta
from actrio.providers.dialects._openai_chat_decode import OpenAiChatDecoder
from actrio.providers.dialects._openai_chat_wire import decode_plain
from actrio.sansio import EVENT_BYTES_MAX, SseReader

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
    """Reads server-sent events.

    Nearly all events of a read are whole, and one line with a piece of text. These are cut and
    decoded here, without an event value in between; everything else goes through `SseReader`, and
    gives the same. On a fast network the first read is the whole answer.
    """

    __slots__ = ("_between", "_events", "_quick")

    def __init__(self, decoder: OpenAiChatDecoder) -> None:
        super().__init__(decoder)
        self._events = SseReader()
        self._between = True  # nothing of an event is kept, and the answer goes on
        self._quick = False  # and it is known who answers

    def feed(self, data: bytes) -> list[Delta]:
        if self._quick and data[:6] == b"data: " and data.find(b"\n\n") == len(data) - 2:
            # One event, as a slow model gives them. Two that another line end parts do not decode.
            try:
                text = decode_plain(data[6:-2]).choices[0].delta.content
            except (msgspec.MsgspecError, UnicodeError, RecursionError):
                text = ""
            if text and len(data) <= EVENT_BYTES_MAX:
                return [TextDelta(text)]
        if self._failure is not None:
            raise self._failure
        deltas: list[Delta] = []
        ends_event = data[-2:] == b"\n\n"
        try:
            if len(data) <= EVENT_BYTES_MAX and b"\r" not in data:
                self._feed_events(data, deltas)
            else:
                self._feed_framed(data, deltas)
        except ActrioError as error:
            self._between = self._quick = False
            return self._fail(error, deltas)
        except RecursionError:
            self._between = self._quick = False
            return self._fail(self._decoder.protocol_error("is nested too deep"), deltas)
        self._between = ends_event and not self.done
        self._quick = self._between and self._decoder.known
        return deltas

    def close(self) -> list[Delta]:
        self._raise_kept()
        return self._decoder.close(leftover=self._events.close())

    def _feed_events(self, data: bytes, deltas: list[Delta]) -> None:
        """Read the rest of an event that was cut, whole events, and the beginning of another."""
        whole = data.rfind(b"\n\n") + 2
        if whole < 2:
            self._feed_framed(data, deltas)
            return
        begin = 0
        if not self._between:
            begin = data.find(b"\n\n") + 2
            self._feed_framed(data[:begin], deltas)
        if begin < whole and not self._decoder.done:
            self._feed_blocks(data[begin:whole].split(b"\n\n"), deltas)
        if whole < len(data):
            self._feed_framed(data[whole:], deltas)

    def _feed_blocks(self, blocks: list[bytes], deltas: list[Delta]) -> None:
        """Decode whole events; neighbouring text becomes one delta."""
        decoder = self._decoder
        plain_text = decoder.plain_text
        texts: list[str] = []
        for block in blocks:
            text = plain_text(block) if decoder.known else None
            if text is not None:
                texts.append(text)
            elif block:
                _flush(texts, deltas)
                self._feed_framed(block + b"\n\n", deltas)
                if decoder.done:
                    return
        _flush(texts, deltas)

    def _feed_framed(self, data: bytes, deltas: list[Delta]) -> None:
        decoder = self._decoder
        try:
            events = self._events.feed(data)
        except LimitExceeded as error:
            raise decoder.protocol_error(f"is too much: {error.message}") from None
        for event in events:
            deltas += decoder.feed(event)
        self._note_progress()


def _flush(texts: list[str], deltas: list[Delta]) -> None:
    if texts:
        deltas.append(TextDelta(texts[0] if len(texts) == 1 else "".join(texts)))
        texts.clear()


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
