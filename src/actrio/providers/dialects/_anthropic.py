"""The Anthropic messages wire format: a call to bytes, an answer to deltas. Pure.

The parts of it: `_anthropic_encode` and `_anthropic_options` write a request, `_anthropic_read`
and `_anthropic_blocks` read an answer, `_anthropic_errors` reads a refusal, `_anthropic_models`
holds what depends on the model.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, NoReturn

import attrs
import msgspec

from actrio.errors import ContextWindowExceeded, NotSupported, ProviderError
from actrio.messages import EmbedInput, EmbedOutput, ModelInput
from actrio.providers.dialects._anthropic_encode import encode_request
from actrio.providers.dialects._anthropic_errors import Peer, error_from_answer
from actrio.providers.dialects._anthropic_read import StreamReader, WholeReader
from actrio.providers.dialects._dialect import AnswerReader, WireRequest

__all__ = ["AnthropicMessages"]

_HEADERS: Final = {"anthropic-version": "2023-06-01"}  # there has been no other since
_MODELS_PATH: Final = "/v1/models?limit=1000"  # the largest page; the recorded list has 9


class _Model(msgspec.Struct):
    id: str


class _Models(msgspec.Struct):
    data: list[_Model]


@attrs.frozen(slots=True)
class AnthropicMessages:
    """The dialect of one provider that speaks the Anthropic messages API.

    Attributes:
        provider: The provider's name, for error texts.
        vendor: Whose models answer. Items, signatures and encrypted reasoning are good only for the
            vendor that made them.
        key_as: How the key travels: Anthropic's own keys in ``x-api-key``, its OAuth tokens and the
            keys of most imitations as a bearer token.
        path: Appended to a base_url without ``/v1``, as in the vendor's own client.
    """

    provider: str = "anthropic"
    vendor: str = "anthropic"
    key_as: Literal["x-api-key", "bearer"] = "x-api-key"
    path: str = "/v1/messages"

    def key_headers(self, key: str) -> Mapping[str, str]:
        if self.key_as == "bearer":
            return {"authorization": f"Bearer {key}"}
        return {"x-api-key": key}

    def request(self, call: ModelInput) -> WireRequest:
        body = encode_request(call, self.vendor)
        return WireRequest(self.path, body, _HEADERS)

    def reader(self, call: ModelInput, content_type: str) -> AnswerReader:
        peer = Peer(self.provider, call.model)
        kind = content_type.partition(";")[0].strip().lower()
        if kind == "text/event-stream":
            return StreamReader(peer, self.vendor)
        if kind.endswith("json"):
            return WholeReader(peer, self.vendor)
        if kind:
            raise peer.protocol_error(f"has the content type {content_type[:80]!r}")
        # Some proxies drop the type; then it is what was asked for.
        return StreamReader(peer, self.vendor) if call.stream else WholeReader(peer, self.vendor)

    def error_from(
        self, status: int, headers: Mapping[str, str], body: bytes, *, model: str
    ) -> ProviderError | ContextWindowExceeded:
        return error_from_answer(status, headers, body, Peer(self.provider, model))

    def models_request(self) -> WireRequest:
        """Return the question for the list of models, a GET; the cheapest way to try a key."""
        return WireRequest(_MODELS_PATH, b"", _HEADERS)

    def model_ids(self, body: bytes) -> list[str]:
        """Return the models in an answer to `models_request`.

        Raises:
            ProviderProtocolError: The body is no list of models.
        """
        try:
            return [model.id for model in msgspec.json.decode(body, type=_Models).data]
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            peer = Peer(self.provider, "")
            raise peer.protocol_error(f"is no list of models ({error})", body) from None

    def embed_request(self, call: EmbedInput) -> WireRequest:
        self._has_no_embeddings(call)

    def embed_output(self, call: EmbedInput, body: bytes) -> EmbedOutput:  # noqa: ARG002
        self._has_no_embeddings(call)

    @property
    def embed_batch_max(self) -> int:
        return 0

    def _has_no_embeddings(self, call: Any) -> NoReturn:
        raise NotSupported(
            f"{self.provider} has no embeddings, so model {call.model!r} cannot make any.",
            remedy="Use openai, gemini, ollama, openrouter, glm4, siliconflow or modelscope.",
        )
