"""What each recorded interface is to us: a wire format, a call, and a family of request bodies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import attrs

from actrio.errors import NotSupported
from actrio.messages import EmbedInput, ModelInput, user_message
from actrio.providers._catalog import CATALOG, make_dialect
from actrio.providers._settings import DialectName
from actrio.providers.contract._exchange import Exchange
from actrio.providers.contract._recorded import objects
from actrio.providers.contract._requests_anthropic import read_anthropic
from actrio.providers.contract._requests_chat import read_chat, read_embeddings
from actrio.providers.contract._requests_gemini import read_gemini, read_gemini_embeddings
from actrio.providers.contract._requests_ollama import read_ollama
from actrio.providers.contract._requests_responses import read_responses
from actrio.providers.dialects import Dialect

__all__ = ["Asked", "asked_of", "dialect_of"]

_FORMATS: Final[Mapping[str, DialectName]] = {
    "chat": "openai",
    "openai_compat": "openai",
    "embeddings": "openai",
    "responses": "responses",
    "messages": "anthropic",
}
"""By the second part of an interface's name; what is missing is the vendor's own format."""


@attrs.frozen(slots=True)
class Asked:
    """A recorded request as our call.

    Attributes:
        family: Whose spelling its body has, for comparing; empty where it could not be read.
    """

    call: ModelInput | EmbedInput
    family: str = ""


def dialect_of(exchange: Exchange) -> Dialect:
    """Return the wire format that reads ``exchange``.

    Raises:
        NotSupported: The exchange is of no vendor or interface that is known here.
    """
    vendor, _, interface = exchange.api.partition(".")
    if vendor not in CATALOG:
        raise NotSupported(
            f"Exchange {exchange.id}: there is no vendor {vendor[:80]!r}.",
            remedy=f"Its api begins with one of {', '.join(CATALOG)}.",
        )
    native = next(iter(CATALOG[vendor].dialects))
    kind = native if exchange.api == "ollama.chat" else _FORMATS.get(interface, native)
    return make_dialect(kind, exchange.provider, vendor=vendor)


def asked_of(exchange: Exchange) -> Asked:
    """Return the recorded request as a call; a plain one where it has no body that we can read."""
    body = exchange.asked
    embeds = exchange.kind == "embedding" or "embed" in exchange.api
    if body is not None:
        read = _embed_call(exchange, body) if embeds else _model_call(exchange, body)
        if read is not None:
            return read
    if embeds:
        return Asked(EmbedInput(exchange.model, ("text",)))
    return Asked(ModelInput(exchange.model, (user_message("ping"),), stream=exchange.stream))


def _model_call(exchange: Exchange, body: Mapping[str, Any]) -> Asked | None:
    stream, interface = exchange.stream, exchange.api.partition(".")[2]
    if exchange.api in {"ollama.chat", "ollama.generate"}:
        return Asked(read_ollama(body, stream=stream), "ollama")
    if interface == "generate":
        return Asked(read_gemini(body, exchange.model, stream=stream), "gemini")
    if interface == "messages":
        return Asked(read_anthropic(body, stream=stream), "anthropic")
    if interface == "responses":
        return Asked(read_responses(body, exchange.provider, stream=stream), "responses")
    if objects(body.get("messages")):
        return Asked(read_chat(body, stream=stream), "chat")
    return None


def _embed_call(exchange: Exchange, body: Mapping[str, Any]) -> Asked:
    if exchange.api == "gemini.embed":
        return Asked(read_gemini_embeddings(body, exchange.model), "gemini_embedding")
    return Asked(read_embeddings(body), "embedding")
