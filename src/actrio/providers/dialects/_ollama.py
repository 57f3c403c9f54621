"""Ollama's own wire format: ``/api/chat``, ``/api/embed`` and ``/api/tags``. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import attrs
import msgspec

from actrio.errors import ContextWindowExceeded, ProviderError
from actrio.messages import EmbedInput, EmbedOutput, ModelInput, Usage
from actrio.providers.dialects._dialect import WireRequest
from actrio.providers.dialects._ollama_decode import (
    OllamaReader,
    in_answer_error,
    protocol_error,
)
from actrio.providers.dialects._ollama_encode import encode_chat, encode_embed
from actrio.providers.dialects._openai_chat_errors import error_from_answer

__all__ = ["OllamaChat"]

EMBED_BATCH_MAX: Final = 256
"""Texts in one request. The server names no limit, but answers only when it has done them all:
at a few hundred a second on a plain machine this keeps an answer within seconds."""

_LINES: Final = {"application/x-ndjson", "application/ndjson", "application/jsonlines"}
_EITHER: Final = {"", "application/json", "application/octet-stream", "text/plain"}


class _Embeddings(msgspec.Struct):
    """The answer of /api/embed; ``embedding`` is that of the older /api/embeddings."""

    model: str | None = None
    embeddings: list[list[float]] | None = None
    embedding: list[float] | None = None
    prompt_eval_count: Any = None
    error: Any = None


class _Model(msgspec.Struct):
    name: str = ""
    model: str = ""


class _Models(msgspec.Struct):
    models: list[_Model] | None = None
    error: Any = None


_decode_embeddings = msgspec.json.Decoder(_Embeddings).decode
_decode_models = msgspec.json.Decoder(_Models).decode


@attrs.frozen(slots=True)
class OllamaChat:
    """The dialect of an Ollama server, on this machine or in its cloud.

    ``vendor`` members of the options are further members of the body (``keep_alive``); those in
    an ``options`` object (``num_ctx``) join the other sampling options.

    Attributes:
        provider: The provider's name, for error texts.
        models_path: Where the server lists its models; see `model_names`.
    """

    provider: str = "ollama"
    models_path: str = "/api/tags"

    @property
    def embed_batch_max(self) -> int:
        return EMBED_BATCH_MAX

    def key_headers(self, key: str) -> Mapping[str, str]:
        """Return the headers that carry the key; a local server asks for none."""
        return {"authorization": f"Bearer {key}"} if key else {}

    def request(self, call: ModelInput) -> WireRequest:
        """Return a model call as it is sent; see `Dialect`."""
        return WireRequest("/api/chat", encode_chat(call))

    def reader(self, call: ModelInput, content_type: str) -> OllamaReader:
        """Return a reader for one answer to ``call``; see `Dialect`."""
        kind = content_type.partition(";")[0].strip().lower()
        if kind not in _LINES and kind not in _EITHER:
            raise protocol_error(self.provider, call.model, f"is {kind}")
        return OllamaReader(self.provider, call, lines=kind in _LINES or call.stream)

    def error_from(
        self, status: int, headers: Mapping[str, str], body: bytes, *, model: str
    ) -> ProviderError | ContextWindowExceeded:
        """Return the error that an answer with an error status amounts to."""
        error = error_from_answer(status, headers, body, provider=self.provider, model=model)
        if isinstance(error, ProviderError) and error.category == "not_found":
            error.remedy = f"Pull it first (ollama pull {model}), or check the base_url."
        return error

    def embed_request(self, call: EmbedInput) -> WireRequest:
        """Return an embedding call as it is sent; see `Dialect`.

        Ollama makes no difference between queries and documents, so ``purpose`` does not go along.
        """
        return WireRequest("/api/embed", encode_embed(call))

    def embed_output(self, call: EmbedInput, body: bytes) -> EmbedOutput:
        """Return the vectors in an answer; see `Dialect`."""
        try:
            answer = _decode_embeddings(body)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            what = f"has no embeddings ({error})"
            raise protocol_error(self.provider, call.model, what, body) from None
        if answer.error:
            raise in_answer_error(self.provider, call.model, answer.error, in_stream=False)
        vectors = answer.embeddings
        if vectors is None:
            vectors = [] if answer.embedding is None else [answer.embedding]
        if len(vectors) != len(call.texts) or not all(vectors):
            what = f"has {sum(map(bool, vectors))} vectors for {len(call.texts)} texts"
            raise protocol_error(self.provider, call.model, what)
        count = answer.prompt_eval_count
        usage = Usage(count if isinstance(count, int) and count > 0 else 0)
        return EmbedOutput(tuple(map(tuple, vectors)), usage, answer.model or call.model)

    def model_names(self, body: bytes) -> tuple[str, ...]:
        """Return the names of the models in an answer of ``models_path``.

        Raises:
            ProviderError: The body is not of this wire format.
        """
        try:
            answer = _decode_models(body)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            what = f"is no list of models ({error})"
            raise protocol_error(self.provider, "", what, body) from None
        if answer.models is None:
            raise protocol_error(self.provider, "", "is no list of models", body)
        return tuple(model.model or model.name for model in answer.models)
