"""How a scripted provider refuses: the same status, headers and body in process and over HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import attrs
import msgspec

__all__ = ["REFUSALS", "Refusal", "refusal"]


@attrs.frozen(slots=True)
class Refusal:
    """An answer with an error status."""

    status: int
    body: bytes
    headers: Mapping[str, str] = attrs.field(factory=dict)


def refusal(
    status: int, message: str, *, type: str = "invalid_request_error", code: str | None = None
) -> Refusal:
    """Return a refusal in OpenAI's envelope."""
    error: dict[str, Any] = {"message": message, "type": type, "param": None, "code": code}
    return Refusal(status, msgspec.json.encode({"error": error}))


REFUSALS: Final[Mapping[str, Refusal]] = {
    "status401": refusal(401, "Incorrect API key provided (scripted).", code="invalid_api_key"),
    "status429": attrs.evolve(
        refusal(
            429,
            "Rate limit reached (scripted). Please try again in 1s.",
            type="requests",
            code="rate_limit_exceeded",
        ),
        headers={"retry-after": "1"},
    ),
    "status500": refusal(500, "The server had an error (scripted).", type="server_error"),
    "context": refusal(
        400,
        "This model's maximum context length is 4096 tokens (scripted). "
        "Please reduce the length of the messages.",
        code="context_length_exceeded",
    ),
}
