"""One response as OpenAI's clients read it: whole, as its stream of events, or from its record."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import msgspec

from actrio.http._facade import FacadeTurn
from actrio.http._openai_chat import superseded
from actrio.http._problems import openai_error, refusal_of
from actrio.http._responses_types import ResponseRequest
from actrio.http._sse import named_frame
from actrio.http._stream import EventStream
from actrio.messages import (
    TERMINAL_EVENTS,
    ItemCompleted,
    ItemDelta,
    TurnEvent,
    TurnResult,
    Usage,
)
from actrio.wire import json_line

__all__ = ["ResponseWriter"]


class ResponseWriter:
    """Writes one response.

    Args:
        model: What answers, as the client names it.
        request: What the client asked; parts of it are told again.
    """

    def __init__(self, model: str, request: ResponseRequest) -> None:
        self._model = model
        self._request = request
        self._created = int(time.time())
        self._id = ""
        self._output: list[dict[str, Any]] = []
        self._number = 0
        self._open: dict[str, str] = {}  # items begun: id to kind
        self._attempt = 1

    # -- whole -------------------------------------------------------------------------------------

    async def listen(self, turn: FacadeTurn) -> None:
        """Read the turn to its end, and keep its finished items."""
        async for event in turn.turn:
            if isinstance(event, ItemCompleted) and event.status == "completed" and event.text:
                self._output.append(_item(event.item, event.kind, event.text))
        self._id = turn.response

    def told(self, turn: FacadeTurn, *, status: str = "") -> dict[str, Any]:
        """Return the response as one object."""
        result = turn.turn.result
        if not status:
            incomplete = result.stop_reason in {"max_tokens", "refusal"}
            status = "failed" if result.error else "incomplete" if incomplete else "completed"
            self._output += [] if status == "failed" else _calls(turn)
        return self._object(status, result)

    def _object(self, status: str, result: TurnResult | None) -> dict[str, Any]:
        request = self._request
        error = None
        if result is not None and result.error is not None:
            told = openai_error(refusal_of(result.error))["error"]
            error = {"code": "server_error", "message": told["message"]}
        reasons = {"max_tokens": "max_output_tokens", "refusal": "content_filter"}
        reason = reasons.get(result.stop_reason) if result is not None else None
        return {
            "id": self._id,
            "object": "response",
            "created_at": self._created,
            "status": status,
            "error": error,
            "incomplete_details": {"reason": reason} if reason else None,
            "instructions": request.instructions,
            "max_output_tokens": request.max_output_tokens,
            "metadata": request.metadata or {},
            "model": self._model,
            "output": list(self._output),
            "parallel_tool_calls": request.parallel_tool_calls is not False,
            "previous_response_id": request.previous_response_id,
            "store": request.store is not False,
            "temperature": request.temperature,
            "text": {"format": {"type": "text"}},
            "tool_choice": msgspec.to_builtins(request.tool_choice) or "auto",
            "tools": msgspec.to_builtins(request.tools or []),
            "top_p": request.top_p,
            "truncation": "disabled",
            "usage": None if result is None else _usage(result.usage),
        }

    # -- as a stream -------------------------------------------------------------------------------

    async def _send(self, stream: EventStream, type: str, **members: Any) -> None:
        told = {"type": type, "sequence_number": self._number, **members}
        self._number += 1
        await stream.send(named_frame(type, json_line(told)))

    async def _begin(self, turn: FacadeTurn, stream: EventStream) -> None:
        if self._id:
            return
        self._id = turn.response
        response = self._object("in_progress", None)
        await self._send(stream, "response.created", response=response)
        await self._send(stream, "response.in_progress", response=response)

    async def stream(self, turn: FacadeTurn, stream: EventStream) -> None:
        """Send what the turn says, as it says it."""
        async for event in turn.turn:
            if isinstance(event, ItemDelta):
                await self._begin(turn, stream)
                if event.attempt != self._attempt and self._output:
                    raise superseded()
                self._attempt = event.attempt
                await self._delta(stream, event)
            elif isinstance(event, ItemCompleted) and event.item in self._open:
                await self._done(stream, event)

    async def _delta(self, stream: EventStream, event: ItemDelta) -> None:
        if event.item not in self._open:
            self._open[event.item] = event.kind
            self._output.append(_item(event.item, event.kind, None))
            index = len(self._output) - 1
            added = {"output_index": index, "item": self._output[-1]}
            await self._send(stream, "response.output_item.added", **added)
            place = {"item_id": event.item, "output_index": index}
            if event.kind == "message":
                await self._send(
                    stream,
                    "response.content_part.added",
                    **place,
                    content_index=0,
                    part=_text_part(""),
                )
            else:
                part = {"type": "summary_text", "text": ""}
                await self._send(
                    stream,
                    "response.reasoning_summary_part.added",
                    **place,
                    summary_index=0,
                    part=part,
                )
        place = self._place(event.item)
        if event.kind == "message":
            members = {**place, "content_index": 0, "delta": event.text, "logprobs": []}
            await self._send(stream, "response.output_text.delta", **members)
        else:
            members = {**place, "summary_index": 0, "delta": event.text}
            await self._send(stream, "response.reasoning_summary_text.delta", **members)

    def _place(self, item: str) -> dict[str, Any]:
        index = next(i for i, each in enumerate(self._output) if each["id"] == item)
        return {"item_id": item, "output_index": index}

    async def _done(self, stream: EventStream, event: ItemCompleted) -> None:
        place = self._place(event.item)
        kind = self._open.pop(event.item)
        done = self._output[place["output_index"]] = _item(event.item, kind, event.text)
        if kind == "message":
            text = {"content_index": 0, "text": event.text, "logprobs": []}
            await self._send(stream, "response.output_text.done", **place, **text)
            part = {"content_index": 0, "part": _text_part(event.text)}
            await self._send(stream, "response.content_part.done", **place, **part)
        else:
            text = {"summary_index": 0, "text": event.text}
            await self._send(stream, "response.reasoning_summary_text.done", **place, **text)
            summary = {"type": "summary_text", "text": event.text}
            part = {"summary_index": 0, "part": summary}
            await self._send(stream, "response.reasoning_summary_part.done", **place, **part)
        index = place["output_index"]
        await self._send(stream, "response.output_item.done", output_index=index, item=done)

    async def finish(self, turn: FacadeTurn, stream: EventStream) -> dict[str, Any]:
        """Send how the turn ended, and return the whole response.

        Raises:
            ActrioError: It failed before anything was sent, so there is a status for it.
        """
        result = turn.turn.result
        if result.error is not None and not stream.begun:
            raise result.error
        await self._begin(turn, stream)
        if result.error is None:
            for call in _calls(turn):
                await self._call(stream, call)
        status = "failed" if result.error else "completed"
        if result.error is None and result.stop_reason in {"max_tokens", "refusal"}:
            status = "incomplete"
        told = self.told(turn, status=status)
        await self._send(stream, f"response.{status}", response=told)
        return told

    async def _call(self, stream: EventStream, call: dict[str, Any]) -> None:
        index = len(self._output)
        begun = {**call, "arguments": "", "status": "in_progress"}
        await self._send(stream, "response.output_item.added", output_index=index, item=begun)
        place = {"item_id": call["id"], "output_index": index}
        text = call["arguments"]
        await self._send(stream, "response.function_call_arguments.delta", **place, delta=text)
        done = {**place, "arguments": text, "name": call["name"]}
        await self._send(stream, "response.function_call_arguments.done", **done)
        self._output.append(call)
        await self._send(stream, "response.output_item.done", output_index=index, item=call)

    # -- from its record ---------------------------------------------------------------------------

    def recorded(self, id: str, events: Sequence[TurnEvent]) -> dict[str, Any]:
        """Return a response as its turn's recorded events tell it."""
        self._id, result = id, None
        self._created = int(events[0].ts) if events else 0
        for event in events:
            if isinstance(event, ItemCompleted) and event.status == "completed" and event.text:
                self._output.append(_item(event.item, event.kind, event.text))
            elif isinstance(event, TERMINAL_EVENTS):
                result = event.result
        incomplete = result is not None and result.stop_reason in {"max_tokens", "refusal"}
        return self._object("incomplete" if incomplete else "completed", result)


def _text_part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _item(id: str, kind: str, text: str | None) -> dict[str, Any]:
    """Return an output item; ``text`` None: it begins."""
    status = "in_progress" if text is None else "completed"
    if kind == "thinking":
        summary = [] if text is None else [{"type": "summary_text", "text": text}]
        return {"id": id, "type": "reasoning", "summary": summary, "status": status}
    content = [] if text is None else [_text_part(text)]
    return {
        "id": id,
        "type": "message",
        "role": "assistant",
        "status": status,
        "content": content,
    }


def _calls(turn: FacadeTurn) -> list[dict[str, Any]]:
    return [
        {
            "id": f"fc_{call.id}",
            "type": "function_call",
            "call_id": call.id,
            "name": call.name,
            "arguments": call.arguments,
            "status": "completed",
        }
        for call in turn.calls
    ]


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_input_tokens},
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.total_tokens,
    }
