"""The Gemini wire format: ``generateContent``, its stream, and ``batchEmbedContents``. Pure."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from actrio.errors import ContextWindowExceeded, ProviderError, ProviderProtocolError
from actrio.messages import EmbedInput, EmbedOutput, ModelInput
from actrio.providers.dialects._dialect import WireRequest
from actrio.providers.dialects._gemini_embed import (
    EMBED_BATCH_MAX,
    embed_output,
    encode_embed_request,
    model_names,
)
from actrio.providers.dialects._gemini_encode import encode_request, model_path
from actrio.providers.dialects._gemini_errors import error_from_answer
from actrio.providers.dialects._gemini_read import GeminiReader

__all__ = ["Gemini"]


@attrs.frozen(slots=True)
class Gemini:
    """The dialect of Google's Gemini API; implements `Dialect`.

    ``ModelOptions.vendor`` is merged into the body last: objects member by member, ``tools`` by
    adding, everything else in place of ours.

    Attributes:
        provider: The provider's name, for error texts.
        models_path: Where the models are listed; see `model_names`.
    """

    provider: str = "gemini"
    models_path: str = "/models?pageSize=1000"

    def key_headers(self, key: str) -> Mapping[str, str]:
        """Return the header that carries the key; in the URL it would reach logs."""
        return {"x-goog-api-key": key}

    def request(self, call: ModelInput) -> WireRequest:
        """Return a model call as it is sent.

        Raises:
            NotSupported: An option that this wire format cannot carry; names it.
            InvalidRequest: Text that is no Unicode, values that are no JSON, or no model name.
        """
        verb = "streamGenerateContent?alt=sse" if call.stream else "generateContent"
        return WireRequest(f"/{model_path(call.model)}:{verb}", encode_request(call))

    def reader(self, call: ModelInput, content_type: str) -> GeminiReader:
        """Return a reader for one answer to ``call``.

        Raises:
            ProviderProtocolError: An answer of that type is none of this wire format.
        """
        media_type = content_type.partition(";")[0].strip().lower()
        if media_type == "text/event-stream":
            streamed = True
        elif media_type == "application/json":
            streamed = False  # a gateway without streams answers whole
        elif not media_type:
            streamed = call.stream
        else:
            raise ProviderProtocolError(
                f"{self.provider} answered the call to {call.model!r} with {media_type[:80]!r}.",
                provider=self.provider,
                category="protocol",
                remedy="Check that base_url points to the Gemini API.",
            )
        return GeminiReader(call, provider=self.provider, streamed=streamed)

    def error_from(
        self, status: int, headers: Mapping[str, str], body: bytes, *, model: str
    ) -> ProviderError | ContextWindowExceeded:
        """Return the error that an answer with an error status amounts to."""
        return error_from_answer(status, headers, body, provider=self.provider, model=model)

    def embed_request(self, call: EmbedInput) -> WireRequest:
        """Return an embedding call as it is sent.

        Raises:
            InvalidRequest: No texts, text that is no Unicode, or no model name.
        """
        path = f"/{model_path(call.model)}:batchEmbedContents"
        return WireRequest(path, encode_embed_request(call))

    def embed_output(self, call: EmbedInput, body: bytes) -> EmbedOutput:
        """Return the vectors in an answer; shortened ones are not of unit length.

        Raises:
            ProviderError: The body is not of this wire format, or has another number of vectors.
            ContextWindowExceeded: In place of vectors, the vendor says that a text is too long.
        """
        return embed_output(call, body, provider=self.provider)

    @property
    def embed_batch_max(self) -> int:
        """Texts in one embedding request."""
        return EMBED_BATCH_MAX

    def model_names(self, body: bytes) -> tuple[str, ...]:
        """Return the names of the models in an answer of ``models_path``.

        Raises:
            ProviderError: The body is not of this wire format.
        """
        return model_names(body, provider=self.provider)
