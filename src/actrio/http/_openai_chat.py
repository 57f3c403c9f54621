"""``/v1/chat/completions``: an agent as a model of OpenAI's chat interface."""

from __future__ import annotations

import time
from typing import Any, Final

import msgspec

from actrio.errors import ActrioError, ProviderError
from actrio.http._call import Answer, Call, json_answer
from actrio.http._facade import FacadeTurn, ServedModel
from actrio.http._openai_read import read_chat
from actrio.http._openai_types import ChatRequest
from actrio.http._problems import Refusal, openai_error, refusal_of
from actrio.http._sse import data_frame
from actrio.http._stream import EventStream
from actrio.messages import ItemCompleted, ItemDelta, TurnResult, Usage
from actrio.wire import json_line

__all__ = ["ChatWriter", "answer_chat", "stop_frame", "superseded"]

_FINISH: Final = {"end_turn": "stop", "max_tokens": "length", "refusal": "content_filter"}

_encode = msgspec.json.Encoder().encode


async def answer_chat(call: Call) -> Answer | None:
    """Answer a chat request, whole or as a stream."""
    request: ChatRequest = await call.read(_DECODER)
    asked = read_chat(request)
    facade = call.desk.facade
    served = facade.resolve(request.model)
    writer = ChatWriter(served, time.time())
    with call.desk.facade_turn():
        if request.stream:
            usage = request.stream_options is not None and request.stream_options.include_usage
            stream = EventStream(call, lazy=True)

            async def produce(stream: EventStream) -> None:
                async with facade.turn(served, asked) as turn:
                    await writer.stream(turn, stream)
                await writer.finish(turn, stream, usage=usage)

            await stream.run(produce, last_words=stop_frame, late=True)
            return None
        async with call.while_here():
            async with facade.turn(served, asked) as turn:
                text = await whole_text(turn)
            return json_answer(writer.whole(turn, text))
    raise AssertionError("while_here either returns or raises")


_DECODER: Final = msgspec.json.Decoder(ChatRequest)


async def whole_text(turn: FacadeTurn) -> tuple[str, str]:
    """Read a turn to its end; return what was said and what was thought, of all its steps.

    Raises:
        ActrioError: The turn failed.
    """
    said: list[str] = []
    thought: list[str] = []
    async for event in turn.turn:
        if isinstance(event, ItemCompleted) and event.status == "completed" and event.text:
            if event.kind == "message":
                said.append(event.text)
            elif event.kind == "thinking":
                thought.append(event.text)
    return "\n\n".join(said), "\n\n".join(thought)


def stop_frame() -> bytes:
    """Return what a façade stream is told when the service stops."""
    refusal = Refusal(
        status=503,
        kind="overloaded",
        message="The service is stopping.",
        remedy="Send it again when it has started.",
        retryable=True,
    )
    return data_frame(json_line(openai_error(refusal)))


def superseded() -> ActrioError:
    """Return the error of a stream whose beginning does not count any more."""
    return ProviderError(
        "The provider broke off and was asked again, after a part had been sent already.",
        provider="",
        category="server",
        in_stream=True,
        remedy="Send the request again; forget what has come.",
    )


class ChatWriter:
    """Writes one chat answer.

    Args:
        served: What answers.
        created: Seconds since the epoch.
    """

    def __init__(self, served: ServedModel, created: float) -> None:
        self._served = served
        self._created = int(created)
        self._id = ""
        self._prefix = b""
        self._said = False
        self._attempt = 1

    def _named(self, turn: FacadeTurn) -> None:
        self._id = f"chatcmpl-{turn.turn.id}"
        head = {
            "id": self._id,
            "object": "chat.completion.chunk",
            "created": self._created,
            "model": self._served.id,
        }
        # All chunks of an answer begin alike; encoding that once is most of the work saved.
        self._prefix = b"data: " + _encode(head)[:-1] + b',"choices":[{"index":0,"delta":'

    def _chunk(self, delta: bytes, finish: bytes = b"null") -> bytes:
        return b'%s%s,"finish_reason":%s}]}\n\n' % (self._prefix, delta, finish)

    async def stream(self, turn: FacadeTurn, stream: EventStream) -> None:
        """Send what the turn says, as it says it."""
        self._named(turn)
        item = ""
        async for event in turn.turn:
            if not isinstance(event, ItemDelta):
                continue
            if event.attempt != self._attempt and self._said:
                raise superseded()
            self._attempt = event.attempt
            text = event.text
            if event.item != item and event.kind == "message":
                text = "\n\n" + text if item else text
                item = event.item
            member = b"content" if event.kind == "message" else b"reasoning_content"
            role = b"" if self._said else b'"role":"assistant",'
            frame = self._chunk(b'{%s"%s":%s}' % (role, member, _text(text)))
            self._said = True
            await stream.send(frame)

    async def finish(self, turn: FacadeTurn, stream: EventStream, *, usage: bool) -> None:
        """Send how the turn ended.

        Raises:
            ActrioError: It failed before anything was sent, so there is a status for it.
        """
        result = turn.turn.result
        if result.error is not None:
            if not stream.begun:
                raise result.error
            await stream.send(data_frame(json_line(openai_error(refusal_of(result.error)))))
            return
        if not self._said:
            await stream.send(self._chunk(b'{"role":"assistant","content":""}'))
        if turn.calls:
            told = [{"index": i, **one} for i, one in enumerate(_calls(turn))]
            await stream.send(self._chunk(b'{"tool_calls":%s}' % _encode(told)))
        finish = _encode(_finish_reason(turn, result))
        last = self._chunk(b"{}", finish)
        if usage:
            head = self._prefix.partition(b',"choices":')[0]
            last += b'%s,"choices":[],"usage":%s}\n\n' % (head, _encode(_usage(result.usage)))
        await stream.send(last + b"data: [DONE]\n\n")

    def whole(self, turn: FacadeTurn, text: tuple[str, str]) -> dict[str, Any]:
        """Return the answer as one object.

        Raises:
            ActrioError: The turn failed.
        """
        result = turn.turn.result.raise_for_outcome()
        self._named(turn)
        said, thought = text
        message: dict[str, Any] = {"role": "assistant", "content": said or None, "refusal": None}
        if not said and not turn.calls:
            message["content"] = ""
        if thought:
            message["reasoning_content"] = thought
        if turn.calls:
            message["tool_calls"] = _calls(turn)
        return {
            "id": self._id,
            "object": "chat.completion",
            "created": self._created,
            "model": self._served.id,
            "choices": [
                {
                    "index": 0,
                    "message": message,
                    "logprobs": None,
                    "finish_reason": _finish_reason(turn, result),
                }
            ],
            "usage": _usage(result.usage),
        }


def _text(text: str) -> bytes:
    return json_line(text)[:-1]


def _finish_reason(turn: FacadeTurn, result: TurnResult) -> str:
    return "tool_calls" if turn.calls else _FINISH.get(result.stop_reason, "stop")


def _calls(turn: FacadeTurn) -> list[dict[str, Any]]:
    return [
        {
            "id": call.id,
            "type": "function",
            "function": {"name": call.name, "arguments": call.arguments},
        }
        for call in turn.calls
    ]


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_input_tokens},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
    }
