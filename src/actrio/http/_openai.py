"""The OpenAI façade: agents as models, for every client that speaks OpenAI's interface."""

from __future__ import annotations

import base64
import struct
from typing import Any, Final

import msgspec

from actrio.errors import NotSupported
from actrio.http._call import Answer, Call, json_answer
from actrio.http._openai_chat import answer_chat
from actrio.http._openai_read import invalid
from actrio.http._openai_types import ChatRequest, EmbeddingRequest
from actrio.http._operations import Operation, Reply

__all__ = ["OPENAI"]

_CREATED: Final = 1_767_225_600
"""OpenAI's models have a date; ours have none that means anything, so all have one."""

_EMBEDDINGS: Final = msgspec.json.Decoder(EmbeddingRequest)


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": _CREATED, "owned_by": "actrio"}


async def _models(call: Call) -> Answer:
    data = [_model(name) for name in call.desk.facade.models()]
    return json_answer({"object": "list", "data": data})


async def _one_model(call: Call) -> Answer:
    return json_answer(_model(call.desk.facade.resolve(call.path["model"]).id))


async def _embeddings(call: Call) -> Answer:
    request: EmbeddingRequest = await call.read(_EMBEDDINGS)
    texts = [request.input] if isinstance(request.input, str) else request.input
    if not all(isinstance(text, str) for text in texts):
        raise invalid("Token numbers cannot be embedded here.", "input", "Send text.")
    if request.model.startswith("agent:") or ":" not in request.model:
        raise NotSupported(
            f"{request.model[:100]!r} has no embeddings: agents talk.",
            remedy="Name a model, as openai:text-embedding-3-small.",
            data={"param": "model"},
        )
    async with call.while_here():
        output = await call.desk.runtime.embed(
            request.model,
            [str(text) for text in texts],
            dimensions=request.dimensions,
        )
    data = [
        {"object": "embedding", "index": i, "embedding": _vector(vector, request.encoding_format)}
        for i, vector in enumerate(output.vectors)
    ]
    tokens = output.usage.input_tokens
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return json_answer({"object": "list", "data": data, "model": request.model, "usage": usage})


def _vector(vector: tuple[float, ...], form: str | None) -> Any:
    if form != "base64":
        return vector
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


_ANY: Final = dict[str, Any]

OPENAI = (
    Operation(
        id="listModels",
        method="GET",
        path="/v1/models",
        summary="Agents as models (agent:NAME), and raw models.",
        tag="openai",
        endpoint=_models,
        replies={200: Reply("The list.", _ANY)},
        shape="openai",
    ),
    Operation(
        id="getModel",
        method="GET",
        path="/v1/models/{model:path}",
        summary="One of them.",
        tag="openai",
        endpoint=_one_model,
        replies={200: Reply("The model.", _ANY)},
        fails=(404,),
        shape="openai",
    ),
    Operation(
        id="createChatCompletion",
        method="POST",
        path="/v1/chat/completions",
        summary="One turn of an agent over the client's own history, whole or as a stream.",
        tag="openai",
        endpoint=answer_chat,
        body=ChatRequest,
        replies={200: Reply("The answer.", _ANY, ("application/json", "text/event-stream"))},
        fails=(404, 409, 422, 501, 502, 504, 507),
        shape="openai",
        streams=True,
    ),
    Operation(
        id="createEmbedding",
        method="POST",
        path="/v1/embeddings",
        summary="One vector for each text.",
        tag="openai",
        endpoint=_embeddings,
        body=EmbeddingRequest,
        replies={200: Reply("The vectors.", _ANY)},
        fails=(404, 409, 422, 501, 502, 504),
        shape="openai",
    ),
)
