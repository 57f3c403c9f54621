"""What a wire format is to a connection: a request value to bytes, bytes to deltas. Pure.

A reader takes the body as it comes, split anywhere, and does its own framing (SSE, lines, one JSON
document), because only the dialect knows what an answer to *its* request may look like. The
connection knows HTTP, time and failure; a dialect knows none of these.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import attrs

from actrio.errors import ContextWindowExceeded, ProviderError, StreamTruncated
from actrio.messages import Delta, EmbedInput, EmbedOutput, ModelInput

__all__ = ["AnswerReader", "Dialect", "WireRequest"]


@attrs.frozen(slots=True)
class WireRequest:
    """One HTTP request, but for the host and the key.

    Attributes:
        path: Appended to the endpoint's base_url; may hold the model and a query.
        body: JSON.
        headers: Those of the wire format itself, for example ``anthropic-version``.
    """

    path: str
    body: bytes
    headers: Mapping[str, str] = attrs.field(factory=dict)


class AnswerReader(Protocol):
    """Reads one answer with a success status; of no use for a second one."""

    @property
    def done(self) -> bool:
        """Whether nothing that follows counts, so that the connection need not read on."""

    @property
    def model(self) -> str:
        """The model that answered, by the vendor's own account."""

    @property
    def response_id(self) -> str:
        """The vendor's id of the answer, or empty."""

    def feed(self, data: bytes) -> list[Delta]:
        """Return what ``data`` adds.

        Raises:
            ProviderError: The vendor reports a failure inside its answer, or sent what is not of
                this wire format, or too much of it. What came before in ``data`` is lost unless it
                was returned: a reader that fails in the middle returns first and raises on the
                next call.
            ContextWindowExceeded: That failure is about the length of the conversation.
        """

    def close(self) -> list[Delta]:
        """Return what only the end of the body completes.

        Raises:
            StreamTruncated: The model never said why it stopped.
            ProviderError: As in `feed`.
        """

    def truncated(self, how: str) -> StreamTruncated:
        """Return the error for an answer that ``how`` (a verb phrase: "was cut (…)")."""


class Dialect(Protocol):
    """The wire format of one vendor, with that vendor's deviations."""

    @property
    def provider(self) -> str:
        """The provider's name, for error texts and as the maker of its vendor items."""

    def key_headers(self, key: str) -> Mapping[str, str]:
        """Return the headers that carry the key."""

    def request(self, call: ModelInput) -> WireRequest:
        """Return a model call as it is sent.

        Raises:
            NotSupported: A part or option that this wire format cannot carry; names it.
            InvalidRequest: Text that is no Unicode, or values that are no JSON.
        """

    def reader(self, call: ModelInput, content_type: str) -> AnswerReader:
        """Return a reader for one answer to ``call``.

        Raises:
            ProviderProtocolError: An answer of that type is none of this wire format.
        """

    def error_from(
        self, status: int, headers: Mapping[str, str], body: bytes, *, model: str
    ) -> ProviderError | ContextWindowExceeded:
        """Return the error that an answer with an error status amounts to."""

    def embed_request(self, call: EmbedInput) -> WireRequest:
        """Return an embedding call as it is sent.

        Raises:
            NotSupported: This vendor has no embeddings; says who has.
        """

    def embed_output(self, call: EmbedInput, body: bytes) -> EmbedOutput:
        """Return the vectors in an answer.

        Raises:
            ProviderError: The body is not of this wire format, or has another number of vectors.
        """

    @property
    def embed_batch_max(self) -> int:
        """Texts in one embedding request; 0 where there are no embeddings."""
