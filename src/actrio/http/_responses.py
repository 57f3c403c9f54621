"""``/v1/responses``: an agent as a model of OpenAI's newer interface."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import attrs
import msgspec

from actrio.http._call import Answer, Call, json_answer
from actrio.http._facade import FacadeTurn, ServedModel
from actrio.http._lineage import (
    LABEL,
    Place,
    events_of,
    forget,
    history_at,
    place_of,
    previous_of,
)
from actrio.http._openai_chat import stop_frame
from actrio.http._operations import Operation, Reply
from actrio.http._responses_read import read_response
from actrio.http._responses_types import ResponseRequest
from actrio.http._responses_writer import ResponseWriter
from actrio.http._shelf import Kept
from actrio.http._stream import EventStream
from actrio.messages import AssistantMessage, Text, UserMessage
from actrio.wire import json_line, plain

if TYPE_CHECKING:
    from actrio.http._openai_read import Asked

__all__ = ["RESPONSES"]

_DECODER: Final = msgspec.json.Decoder(ResponseRequest)


async def _create(call: Call) -> Answer | None:
    request: ResponseRequest = await call.read(_DECODER)
    desk = call.desk
    served = desk.facade.resolve(request.model)
    asked, place, is_kept = await _asked(call, request, served)
    turns = (
        partial(desk.facade.kept_turn, served, asked, place)
        if is_kept
        else partial(desk.facade.turn, served, asked)
    )
    writer = ResponseWriter(served.id, request)
    with desk.facade_turn():
        if request.stream:
            stream = EventStream(call, lazy=True)

            async def produce(stream: EventStream) -> None:
                async with turns() as turn:
                    await writer.stream(turn, stream)
                told = await writer.finish(turn, stream)
                if not is_kept:
                    _shelve(call, request, asked, turn, told)

            await stream.run(produce, last_words=stop_frame, late=True)
            return None
        async with call.while_here():
            async with turns() as turn:
                await writer.listen(turn)
            turn.turn.result.raise_for_outcome()
            told = writer.told(turn)
            if not is_kept:
                _shelve(call, request, asked, turn, told)
            return json_answer(told)
    raise AssertionError("while_here either returns or raises")


async def _asked(
    call: Call, request: ResponseRequest, served: ServedModel
) -> tuple[Asked, Place | None, bool]:
    """Return what is asked, what it goes on from, and whether a session can carry it.

    Raises:
        NotFound: The response that it goes on from is not kept.
    """
    desk, previous = call.desk, request.previous_response_id
    shelved = desk.shelf.find(previous) if previous else None
    if shelved is not None:
        return read_response(request, shelved.conversation), None, False
    place = await place_of(desk.runtime, previous) if previous else None
    asked = read_response(request, ())
    said = [*asked.history, *([asked.prompt] if asked.prompt else ())]
    if (
        request.store is not False
        and desk.runtime.settings.store.kind == "embedded"
        and not asked.tools
        and all(isinstance(each, UserMessage) for each in said)
        and (place is None or desk.facade.is_of(served, place))
    ):
        parts = [part for each in said if isinstance(each, UserMessage) for part in each.parts]
        whole = attrs.evolve(asked, history=(), prompt=UserMessage(tuple(parts)))
        return whole, place, True
    if place is not None:
        asked = read_response(request, await history_at(desk.runtime, place))
    return asked, None, False


def _shelve(
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
        before = call.desk.shelf.find(request.previous_response_id)
        size += before.size if before is not None else len(json_line(plain(asked.history)))
    call.desk.shelf.put(told["id"], Kept(conversation, told, size))


def _said(told: Mapping[str, Any]) -> list[str]:
    return [
        part["text"]
        for item in told["output"]
        if item["type"] == "message"
        for part in item["content"]
    ]


async def _get(call: Call) -> Answer:
    id, runtime = call.path["response"], call.desk.runtime
    shelved = call.desk.shelf.find(id)
    if shelved is not None:
        return json_answer(shelved.told)
    place = await place_of(runtime, id)
    model = (await runtime.view(place.session)).labels.get(LABEL, place.agent)
    request = ResponseRequest(
        model=model, input="", previous_response_id=await previous_of(runtime, place)
    )
    return json_answer(ResponseWriter(model, request).recorded(id, await events_of(runtime, place)))


async def _delete(call: Call) -> Answer:
    id, desk = call.path["response"], call.desk
    if desk.shelf.find(id) is not None:
        desk.shelf.drop(id)
    else:
        await forget(desk.runtime, await place_of(desk.runtime, id))
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
        fails=(404, 507),
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
        fails=(404, 409, 507),
        shape="openai",
    ),
)
