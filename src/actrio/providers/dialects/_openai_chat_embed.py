"""What OpenAI's form of embeddings and of a list of models is on the wire. Pure."""

from __future__ import annotations

import base64
import binascii
import sys
from array import array
from typing import Any

import msgspec

from actrio.errors import NotSupported, ProviderProtocolError
from actrio.messages import EmbedInput, EmbedOutput
from actrio.providers.dialects._openai_chat_deviations import Deviations
from actrio.providers.dialects._openai_chat_encode import as_json
from actrio.providers.dialects._openai_chat_wire import usage_of

__all__ = ["EmbedAnswer", "decode_answer", "embed_body", "embed_output", "model_names"]


class _Vector(msgspec.Struct):
    embedding: list[float] | str
    index: int | None = None


class EmbedAnswer(msgspec.Struct):
    """A whole answer; the last members are those of an error in its place."""

    data: list[_Vector] | None = None
    usage: Any = None
    model: str | None = None
    error: Any = None
    errors: Any = None


class _Model(msgspec.Struct):
    id: str


class _Models(msgspec.Struct):
    data: list[_Model]


_decode = msgspec.json.Decoder(EmbedAnswer).decode
_decode_models = msgspec.json.Decoder(_Models).decode


def embed_body(call: EmbedInput, provider: str, deviations: Deviations) -> bytes:
    """Return the request body.

    Raises:
        NotSupported: This vendor has no embeddings.
        InvalidRequest: Text that is no Unicode.
    """
    if deviations.embed_batch_max == 0:
        raise NotSupported(
            f"{provider} has no embeddings.",
            remedy="Use openai, gemini, ollama, openrouter, glm4, siliconflow or modelscope.",
        )
    body: dict[str, Any] = {"model": call.model, "input": list(call.texts)}
    if deviations.embed_encoding is not None:
        body["encoding_format"] = deviations.embed_encoding
    if call.dimensions is not None:
        body["dimensions"] = call.dimensions
    return as_json(body, call.model)


def decode_answer(body: bytes, provider: str, model: str) -> EmbedAnswer:
    """Return the decoded body, which may still tell an error.

    Raises:
        ProviderProtocolError: It is not of this wire format.
    """
    try:
        return _decode(body)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise _wrong(f"is no list of vectors ({error})", provider, model) from None


def embed_output(answer: EmbedAnswer, call: EmbedInput, provider: str) -> EmbedOutput:
    """Return the vectors in the order of the texts.

    Raises:
        ProviderProtocolError: Their number or their form is wrong.
    """
    found = answer.data or []
    if len(found) != len(call.texts):
        what = f"has {len(found)} vectors for {len(call.texts)} texts"
        raise _wrong(what, provider, call.model)
    # Not every endpoint numbers them; where none has a number, they stand in order.
    numbered = any(one.index is not None for one in found)
    places = [one.index if numbered else place for place, one in enumerate(found)]
    if set(places) != set(range(len(found))):
        raise _wrong("numbers its vectors wrongly", provider, call.model)
    vectors: list[tuple[float, ...]] = [()] * len(found)
    for place, one in zip(places, found, strict=True):
        vectors[place or 0] = _vector(one.embedding, provider, call.model)
    return EmbedOutput(tuple(vectors), usage_of(answer.usage), answer.model or call.model)


def model_names(body: bytes, provider: str) -> tuple[str, ...]:
    """Return the models in an answer to ``GET /models``.

    Raises:
        ProviderProtocolError: The body is no list of models.
    """
    try:
        return tuple(model.id for model in _decode_models(body).data)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise ProviderProtocolError(
            f"The answer of {provider} is no list of models ({error}).",
            provider=provider,
            category="protocol",
            remedy="Check that base_url points to an OpenAI-compatible endpoint.",
        ) from None


def _vector(value: list[float] | str, provider: str, model: str) -> tuple[float, ...]:
    if isinstance(value, list):
        return tuple(value)
    numbers = array("f")
    try:
        numbers.frombytes(base64.b64decode(value, validate=True))
    except (binascii.Error, ValueError):
        raise _wrong("has a vector that is no base64 of floats", provider, model) from None
    if sys.byteorder == "big":
        numbers.byteswap()  # on the wire they are little-endian
    return tuple(numbers)


def _wrong(what: str, provider: str, model: str) -> ProviderProtocolError:
    return ProviderProtocolError(
        f"The answer of {provider} to an embedding call for model {model!r} {what}.",
        provider=provider,
        category="protocol",
        remedy="Check that base_url points to an OpenAI-compatible endpoint.",
    )
