"""Chat completions, the wire format that OpenAI began and most vendors speak with deviations. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal
from urllib.parse import quote

import attrs

from actrio.errors import ContextWindowExceeded, ProviderError
from actrio.messages import EmbedInput, EmbedOutput, ModelInput
from actrio.providers.dialects._dialect import AnswerReader, WireRequest
from actrio.providers.dialects._openai_chat_decode import OpenAiChatDecoder
from actrio.providers.dialects._openai_chat_deviations import Deviations
from actrio.providers.dialects._openai_chat_embed import (
    decode_answer,
    embed_body,
    embed_output,
    model_names,
)
from actrio.providers.dialects._openai_chat_encode import encode_request
from actrio.providers.dialects._openai_chat_errors import (
    error_from_answer,
    error_from_facts,
    facts_of,
)
from actrio.providers.dialects._openai_chat_reader import StreamReader, WholeReader

__all__ = ["OpenAiChat"]

_STREAM_TYPE: Final = "text/event-stream"
_WHOLE_TYPE: Final = "application/json"


@attrs.frozen(slots=True)
class OpenAiChat:
    """Chat completions and embeddings of one vendor.

    Attributes:
        provider: The provider's name, for error texts.
        deviations: How this vendor differs.
        auth: Where the key goes: ``Authorization: Bearer``, or Azure's ``api-key``.
        api_version: Azure's dated interface, where the model's name is a deployment in the path.
        models_path: Where the list of models is.
    """

    provider: str
    deviations: Deviations = Deviations()
    auth: Literal["bearer", "api-key"] = "bearer"
    api_version: str | None = None
    models_path: str = "/models"

    def key_headers(self, key: str) -> Mapping[str, str]:
        if self.auth == "api-key":
            return {"api-key": key}
        return {"authorization": f"Bearer {key}"}

    def request(self, call: ModelInput) -> WireRequest:
        return WireRequest(self._path("/chat/completions", call.model), self.encode(call))

    def reader(self, call: ModelInput, content_type: str) -> AnswerReader:
        decoder = self.decoder(call.model)
        kind = content_type.partition(";")[0].strip().lower()
        if kind == _STREAM_TYPE or (not kind and call.stream):
            return StreamReader(decoder)
        if kind == _WHOLE_TYPE or not kind:
            return WholeReader(decoder)
        raise decoder.protocol_error(f"is of type {kind[:80]}")

    def error_from(
        self, status: int, headers: Mapping[str, str], body: bytes, *, model: str
    ) -> ProviderError | ContextWindowExceeded:
        return error_from_answer(
            status,
            headers,
            body,
            provider=self.provider,
            model=model,
            business_codes=self.deviations.business_codes,
        )

    def embed_request(self, call: EmbedInput) -> WireRequest:
        body = embed_body(call, self.provider, self.deviations)
        return WireRequest(self._path("/embeddings", call.model), body)

    def embed_output(self, call: EmbedInput, body: bytes) -> EmbedOutput:
        answer = decode_answer(body, self.provider, call.model)
        if answer.data is None and (error := answer.error or answer.errors):
            raise error_from_facts(
                facts_of(error),
                {},
                provider=self.provider,
                model=call.model,
                in_stream=False,
                business_codes=self.deviations.business_codes,
            )
        return embed_output(answer, call, self.provider)

    @property
    def embed_batch_max(self) -> int:
        return self.deviations.embed_batch_max

    def model_names(self, body: bytes) -> tuple[str, ...]:
        """Return the models in an answer to a GET of `models_path`.

        Raises:
            ProviderProtocolError: The body is no list of models.
        """
        return model_names(body, self.provider)

    def _path(self, path: str, model: str) -> str:
        if self.api_version is None:
            return path
        version = quote(self.api_version, safe="")
        return f"/deployments/{quote(model, safe='')}{path}?api-version={version}"

    def encode(self, request: ModelInput) -> bytes:
        """Return the request body.

        Raises:
            NotSupported: A part that this wire format cannot carry.
            InvalidRequest: Text that is no Unicode, or values that are no JSON.
        """
        return encode_request(request, self.provider, self.deviations)

    def decoder(self, model: str) -> OpenAiChatDecoder:
        """Return a decoder for one answer of ``model``."""
        return OpenAiChatDecoder(self.provider, model, self.deviations)
