"""``/v1/responses``: an agent as a model of OpenAI's newer interface."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

from actrio.http._call import Answer, Call, json_answer
from actrio.http._facade import FacadeTurn, ServedModel
from actrio.http._openai_chat import stop_frame, superseded
from actrio.http._operations import Operation, Reply
from actrio.http._problems import openai_error, refusal_of
from actrio.http._responses_read import read_response
from actrio.http._responses_types import ResponseRequest
from actrio.http._shelf import Kept
from actrio.http._sse import named_frame
from actrio.http._stream import EventStream
from actrio.messages import (
    AssistantMessage,
    ItemCompleted,
    ItemDelta,
    Text,
    TurnResult,
    Usage,
)
from actrio.wire import json_line

if TYPE_CHECKING:
    from actrio.http._openai_read import Asked

__all__ = ["RESPONSES"]

_DECODER: Final = msgspec.json.Decoder(ResponseRequest)


async def _create(call: Call) -> Answer | None:
    request: ResponseRequest = await call.read(_DECODER)
    desk = call.desk
    previous = request.previous_response_id
    kept = desk.shelf.get(previous) if previous else None
    asked = read_response(request, kept.conversation if kept else ())
    served = desk.facade.resolve(request.model)
    writer = _Writer(served, request)
    with desk.facade_turn():
        if request.stream:
            stream = EventStream(call, lazy=True)

            async def produce(stream: EventStream) -> None:
                async with desk.facade.turn(served, asked) as turn:
                    await writer.stream(turn, stream)
                _keep(call, request, asked, turn, await writer.finish(turn, stream))

            await stream.run(produce, last_words=stop_frame, late=True)
            return None
        async with call.while_here():
            async with desk.facade.turn(served, asked) as turn:
                await writer.listen(turn)
            turn.turn.result.raise_for_outcome()
            told = writer.told(turn)
            _keep(call, request, asked, turn, told)
            return json_answer(told)
    raise AssertionError("while_here either returns or raises")


def _keep(
    call: Call, request: ResponseRequest, asked: Asked, turn: FacadeTurn, told: Mapping[str, Any]
) -> None:
    if request.store is False or told["status"] == "failed":
        return
    new = (asked.prompt,) if asked.prompt is not None else ()
    parts = [Text(text) for text in _said(told) if text]
    answer = AssistantMessage((*parts, *turn.calls) or (Text(""),))
    conversation = (*asked.history, *new, answer)
    size = call.body_bytes + len(json_line(told))
    if request.previous_response_id:
        size += call.desk.shelf.get(request.previous_response_id).size
    call.desk.shelf.put(told["id"], Kept(conversation, told, size))


def _said(told: Mapping[str, Any]) -> list[str]:
    return [
        part["text"]
        for item in told["output"]
        if item["type"] == "message"
        for part in item["content"]
    ]


class _Writer:
    """Writes one response, whole or as its stream of events."""

    def __init__(self, served: ServedModel, request: ResponseRequest) -> None:
        self._served = served
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
        self._id = f"resp_{turn.turn.id}"

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
            "model": self._served.id,
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
        self._id = f"resp_{turn.turn.id}"
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


async def _get(call: Call) -> Answer:
    return json_answer(call.desk.shelf.get(call.path["response"]).told)


async def _delete(call: Call) -> Answer:
    id = call.path["response"]
    call.desk.shelf.drop(id)
    return json_answer({"id": id, "object": "response", "deleted": True})


_ANY: Final = dict[str, Any]

RESPONSES = (
    Operation(
        id="createResponse",
        method="POST",
        path="/v1/responses",
        summary="One turn of an agent, going on from an earlier response where one is named.",
        tag="openai",
        endpoint=_create,
        body=ResponseRequest,
        replies={200: Reply("The response.", _ANY, ("application/json", "text/event-stream"))},
        fails=(404, 409, 422, 501, 502, 504, 507),
        shape="openai",
        streams=True,
    ),
    Operation(
        id="getResponse",
        method="GET",
        path="/v1/responses/{response}",
        summary="A response that is kept.",
        tag="openai",
        endpoint=_get,
        replies={200: Reply("The response.", _ANY)},
        fails=(404,),
        shape="openai",
    ),
    Operation(
        id="deleteResponse",
        method="DELETE",
        path="/v1/responses/{response}",
        summary="Forget a response.",
        tag="openai",
        endpoint=_delete,
        replies={200: Reply("It is gone.", _ANY)},
        fails=(404,),
        shape="openai",
    ),
)
