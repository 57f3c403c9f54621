"""Embeddings of Gemini: ``batchEmbedContents`` with one request for each text, in their order."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from actrio.errors import ContextWindowExceeded, InvalidRequest, ProviderError
from actrio.errors import ProviderProtocolError as ProtocolError
from actrio.messages import EmbedInput, EmbedOutput, Usage
from actrio.providers.dialects._gemini_encode import as_json, model_path
from actrio.providers.dialects._gemini_errors import error_from_facts, facts_of
from actrio.providers.dialects._gemini_wire import WireUsage, usage_of

__all__ = ["EMBED_BATCH_MAX", "embed_output", "encode_embed_request", "model_names"]

EMBED_BATCH_MAX: Final = 100  # Gemini refuses more requests in one batch

_TASKS: Final = {"query": "RETRIEVAL_QUERY", "document": "RETRIEVAL_DOCUMENT"}


class _Vector(msgspec.Struct):
    values: list[float] = []


class _Embeddings(msgspec.Struct, rename="camel"):
    embeddings: list[_Vector] | None = None
    embedding: _Vector | None = None  # of embedContent, which takes one text
    usage_metadata: WireUsage | None = None
    error: Any = None


class _Model(msgspec.Struct):
    name: str


class _Models(msgspec.Struct):
    models: list[_Model] | None = None
    error: Any = None


_decode_embeddings: Final = msgspec.json.Decoder(_Embeddings).decode
_decode_models: Final = msgspec.json.Decoder(_Models).decode


def encode_embed_request(call: EmbedInput) -> bytes:
    """Return the request body.

    Raises:
        InvalidRequest: No texts, or text that is no Unicode.
    """
    if not call.texts:
        raise InvalidRequest("There are no texts to embed.", remedy="Pass at least one.")
    fields: dict[str, Any] = {"model": model_path(call.model)}
    if call.purpose is not None:
        fields["taskType"] = _TASKS[call.purpose]
    if call.dimensions is not None:
        fields["outputDimensionality"] = call.dimensions
    return as_json(
        lambda: {
            "requests": [{**fields, "content": {"parts": [{"text": text}]}} for text in call.texts]
        },
        call.model,
    )


def embed_output(call: EmbedInput, body: bytes, *, provider: str) -> EmbedOutput:
    """Return the vectors in an answer; shortened ones are not of unit length.

    Raises:
        ProviderError: The body is not of this wire format, or has another number of vectors.
        ContextWindowExceeded: In place of vectors, the vendor says that a text is too long.
    """
    answer = _decoded(_decode_embeddings, body, call.model, provider)
    vectors = answer.embeddings
    if vectors is None:
        vectors = [] if answer.embedding is None else [answer.embedding]
    lengths = {len(vector.values) for vector in vectors}
    if len(vectors) != len(call.texts) or len(lengths) > 1 or 0 in lengths:
        told = f"has {len(vectors)} vectors of {sorted(lengths)[:3]} values"
        raise _protocol_error(f"{told} for {len(call.texts)} texts", call.model, provider)
    usage = Usage() if answer.usage_metadata is None else usage_of(answer.usage_metadata)
    return EmbedOutput(tuple(tuple(vector.values) for vector in vectors), usage, call.model)


def model_names(body: bytes, *, provider: str) -> tuple[str, ...]:
    """Return the names in one page of the list of models, without ``models/``.

    Raises:
        ProviderError: The body is not of this wire format.
    """
    answer = _decoded(_decode_models, body, "", provider)
    return tuple(model.name.removeprefix("models/") for model in answer.models or ())


def _decoded(decode: Any, body: bytes, model: str, provider: str) -> Any:
    try:
        answer = decode(body)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise _protocol_error(f"is not of its wire format ({error})", model, provider) from None
    if answer.error:
        raise _told(answer.error, model, provider)
    return answer


def _told(error: Any, model: str, provider: str) -> ProviderError | ContextWindowExceeded:
    facts = facts_of(error)
    return error_from_facts(facts, {}, provider=provider, model=model, in_stream=False)


def _protocol_error(what: str, model: str, provider: str) -> ProtocolError:
    asked = f" for model {model!r}" if model else ""
    return ProtocolError(
        f"The answer of {provider}{asked} {what}.",
        provider=provider,
        category="protocol",
        remedy="Check that base_url points to the Gemini API.",
    )
