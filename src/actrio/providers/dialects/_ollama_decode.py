"""What Ollama answers, line by line or whole, as deltas.

A line of a stream and a whole answer have the same shape, and so do ``/api/chat`` and
``/api/generate`` but for where the text is. ``done: true`` ends an answer; without it there is
none, however much text came.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import attrs
import msgspec

from actrio.errors import (
    ActrioError,
    ContextWindowExceeded,
    ProviderError,
    ProviderProtocolError,
    StreamTruncated,
)
from actrio.messages import (
    AssistantMessage,
    Delta,
    FinishDelta,
    FinishReason,
    ModelInput,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    Usage,
    UsageDelta,
)
from actrio.providers.dialects._openai_chat_errors import error_from_facts, facts_of
from actrio.sansio import Line, LineReader, LineTooLong

__all__ = ["OllamaReader", "in_answer_error", "protocol_error"]

ANSWER_BYTES_MAX: Final = 32 * 1024 * 1024
"""Of an answer that is not streamed; as much as a request may have."""

CALLS_MAX: Final = 512
"""Tool calls in one answer. A model that repeats itself has been seen to write eight."""

_FINISH: Final[Mapping[str, FinishReason]] = {"stop": "stop", "length": "length"}


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: msgspec.Raw = msgspec.Raw(b"")


class _Call(msgspec.Struct):
    id: Any = None
    function: _Function | None = None


class _Message(msgspec.Struct):
    content: str | None = None
    thinking: str | None = None
    tool_calls: list[_Call] | None = None


class _Answer(msgspec.Struct):
    """One line, or the whole; ``response`` and its ``thinking`` are those of /api/generate."""

    model: str | None = None
    created_at: Any = None
    message: _Message | None = None
    response: str | None = None
    thinking: str | None = None
    done: bool | None = None
    done_reason: str | None = None
    prompt_eval_count: Any = None
    eval_count: Any = None
    error: Any = None
    status: Any = None


_decode_answer = msgspec.json.Decoder(_Answer).decode


def protocol_error(
    provider: str, model: str, what: str, data: bytes = b""
) -> ProviderProtocolError:
    """Return the error for an answer that ``what`` (a verb phrase); quotes ``data``."""
    quoted = f": {data[:120].decode('utf-8', 'replace')!r}" if data else ""
    return ProviderProtocolError(
        f"The answer of {provider} for model {model!r} {what}{quoted}.",
        provider=provider,
        category="protocol",
        remedy="Check that base_url points to an Ollama server, without a path.",
    )


def in_answer_error(
    provider: str, model: str, error: Any, status: Any = None, *, in_stream: bool
) -> ProviderError | ContextWindowExceeded:
    """Return the error that stands in an answer whose status was a success."""
    facts = facts_of(error)
    if isinstance(status, int) and 400 <= status <= 599:
        facts = attrs.evolve(facts, status=status)
    return error_from_facts(facts, {}, provider=provider, model=model, in_stream=in_stream)


class OllamaReader:
    """Reads one answer; of no use for a second one.

    Args:
        provider: The provider's name, for error texts.
        call: What is answered; its calls' ids are not given out again.
        lines: The answer is one object per line; else it is one document.
    """

    __slots__ = (
        "_asked_model",
        "_body",
        "_body_bytes",
        "_calls",
        "_failure",
        "_ids",
        "_lines",
        "_provider",
        "done",
        "model",
        "response_id",
    )

    def __init__(self, provider: str, call: ModelInput, *, lines: bool) -> None:
        self._provider = provider
        self._asked_model = call.model
        self._lines = LineReader() if lines else None
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._calls = 0
        self._ids = {
            made.id
            for message in call.messages
            if isinstance(message, AssistantMessage)
            for made in message.tool_calls
        }
        self._failure: ActrioError | None = None
        self.done = False
        self.model = call.model
        self.response_id = ""  # Ollama gives none

    def feed(self, data: bytes) -> list[Delta]:
        """Return what ``data`` adds; see `AnswerReader`."""
        if self._failure is not None:
            raise self._failure
        if self.done:
            return []
        if self._lines is None:
            self._keep(data)
            return []
        return self._take_lines(self._lines.feed(data))

    def close(self) -> list[Delta]:
        """Return what only the end of the body completes; see `AnswerReader`."""
        if self._failure is not None:
            raise self._failure
        if self.done:
            return []
        deltas = self._close_lines() if self._lines is not None else self._whole()
        if not self.done:
            raise self.truncated("ended without done:true")
        return deltas

    def truncated(self, how: str) -> StreamTruncated:
        """Return the error for an answer that ``how`` (a verb phrase)."""
        return StreamTruncated(
            f"The answer of {self._provider} for model {self._asked_model!r} {how}; "
            "what arrived is not complete.",
            provider=self._provider,
            # Retryable: cut streams come from restarts and proxies, and the next call may do well.
            category="network",
            in_stream=self._lines is not None,
            remedy="Try again.",
        )

    def _keep(self, data: bytes) -> None:
        self._body.append(data)
        self._body_bytes += len(data)
        if self._body_bytes > ANSWER_BYTES_MAX:
            self._body.clear()
            self._failure = self._error(f"is larger than {ANSWER_BYTES_MAX} bytes")
            raise self._failure

    def _whole(self) -> list[Delta]:
        deltas: list[Delta] = []
        body = b"".join(self._body)
        if not body:
            raise self.truncated("is empty")
        self._take(body, deltas)
        return deltas

    def _close_lines(self) -> list[Delta]:
        assert self._lines is not None
        deltas: list[Delta] = []
        for line in self._lines.close():
            try:
                self._take_line(line, deltas)
            except ProviderProtocolError:
                # A last line without its end that cannot be read is the torn end of a stream.
                raise self.truncated("ended in the middle of a line") from None
        return deltas

    def _take_lines(self, lines: list[Line | LineTooLong]) -> list[Delta]:
        deltas: list[Delta] = []
        try:
            for line in lines:
                self._take_line(line, deltas)
                if self.done:
                    break
        except ActrioError as error:
            self._failure = error
            self.done = True
            if not deltas:
                raise
        return deltas

    def _take_line(self, line: Line | LineTooLong, deltas: list[Delta]) -> None:
        if isinstance(line, LineTooLong):
            raise self._error(f"has a line of more than {line.bytes_max} bytes")
        self._take(line.data, deltas)

    def _take(self, data: bytes, deltas: list[Delta]) -> None:
        try:
            answer = _decode_answer(data)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            raise self._error(f"is no Ollama answer ({error})", data) from None
        if answer.error:
            raise in_answer_error(
                self._provider,
                self._asked_model,
                answer.error,
                answer.status,
                in_stream=self._lines is not None,
            )
        if answer.model:
            self.model = answer.model
        message = answer.message
        if message is None:
            message = _Message(answer.response, answer.thinking)
        if message.thinking:
            deltas.append(ThinkingDelta(message.thinking))
        if message.content:
            deltas.append(TextDelta(message.content))
        if message.tool_calls:
            deltas.extend(self._call(call, answer.created_at) for call in message.tool_calls)
        if answer.done:
            self._finish(answer, deltas)

    def _call(self, call: _Call, created_at: Any) -> ToolCallDelta:
        index = self._calls
        self._calls += 1
        if self._calls > CALLS_MAX:
            raise self._error(f"has more than {CALLS_MAX} tool calls")
        function = call.function or _Function()
        call_id = self._unused_id(call.id, created_at, index)
        return ToolCallDelta(index, call_id, function.name or "", _arguments(function.arguments))

    def _unused_id(self, told: Any, created_at: Any, index: int) -> str:
        """Return an id by which a result can name its call, no other call having it.

        Old servers give none. The time of the answer makes it unlike those of turns that have
        left the conversation; what is still in it is looked up.
        """
        if isinstance(told, str) and told and told not in self._ids:
            self._ids.add(told)
            return told
        time = "".join(filter(str.isalnum, created_at)) if isinstance(created_at, str) else ""
        stem = f"call_{time[:32]}_" if time else "call_"
        number = index
        while f"{stem}{number}" in self._ids:
            number += 1
        self._ids.add(f"{stem}{number}")
        return f"{stem}{number}"

    def _finish(self, answer: _Answer, deltas: list[Delta]) -> None:
        if answer.prompt_eval_count is not None or answer.eval_count is not None:
            usage = Usage(_count(answer.prompt_eval_count), _count(answer.eval_count))
            deltas.append(UsageDelta(usage))
        raw = answer.done_reason or ""
        reason: FinishReason = _FINISH.get(raw, "other")
        if self._calls and reason == "stop":
            reason = "tool_calls"  # Ollama says stop for calls, too
        deltas.append(FinishDelta(reason, raw))
        self.done = True

    def _error(self, what: str, data: bytes = b"") -> ProviderProtocolError:
        return protocol_error(self._provider, self._asked_model, what, data)


def _arguments(raw: msgspec.Raw) -> str:
    """Return the object as the text it came as; some proxies send the text in a string."""
    text = bytes(raw).decode("utf-8", "replace")
    if text[:1] != '"':
        return "" if text == "null" else text
    try:
        return msgspec.json.decode(text, type=str)
    except msgspec.DecodeError:
        return text


def _count(value: Any) -> int:
    return value if isinstance(value, int) and value > 0 else 0
