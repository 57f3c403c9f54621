"""What the Anthropic API says when it refuses, as our errors.

The envelope is ``{"type":"error","error":{"type","message","details"},"request_id"}``, as an answer
with an error status and as the last event of a stream alike. A stream has no status, so there the
type alone decides.
"""

from __future__ import annotations

import datetime as dt
import email.utils
import math
import re
from collections.abc import Mapping
from typing import Any, Final

import attrs
import msgspec

from actrio.errors import (
    ContextWindowExceeded,
    ErrorCategory,
    ProviderError,
    ProviderProtocolError,
    StreamTruncated,
)

__all__ = ["ErrorFacts", "Peer", "error_from_answer", "facts_of"]

MESSAGE_CHARACTERS_MAX: Final = 500
"""Of a foreign error text. Enough for every recorded message, and no page of HTML."""

_CONTEXT_TEXT: Final = re.compile(
    r"(?:prompt|input) is too long|maximum context"
    r"|exceeds? (?:the )?(?:available |model'?s )?context",
    re.IGNORECASE,
)
# A spending limit comes as 429, an empty purse as 400; neither is cured by waiting.
_QUOTA_CODES: Final = frozenset({"billing_error", "enforced_spend_limit_reached"})
_BY_STATUS: Final[Mapping[int, ErrorCategory]] = {
    401: "auth",
    402: "quota",
    403: "auth",
    404: "not_found",
    408: "timeout",
    429: "rate_limit",
    498: "overloaded",
    503: "overloaded",
    504: "timeout",
    529: "overloaded",
}
_BY_TYPE: Final[Mapping[str, ErrorCategory]] = {
    "authentication_error": "auth",
    "permission_error": "auth",
    "billing_error": "quota",
    "not_found_error": "not_found",
    "rate_limit_error": "rate_limit",
    "timeout_error": "timeout",
    "overloaded_error": "overloaded",
    "api_error": "server",
    "request_too_large": "invalid_request",
    "invalid_request_error": "invalid_request",
}
_REMEDIES: Final[Mapping[str, str]] = {
    "auth": "Check the API key, and that its workspace may use this model.",
    "quota": "Add credit or raise the spending limit at the provider; waiting will not help.",
    "rate_limit": "Send less at once, or try again later.",
    "not_found": "Check the model's name and the base_url against the provider's list.",
    "overloaded": "Try again later, or use another model.",
    "server": "Try again; if it lasts, look at the provider's status page.",
    "timeout": "Try again with a stream, or ask for less in one call.",
    "invalid_request": "Change the request as the provider says.",
}
_CONTEXT_REMEDY: Final = (
    "Shorten the prompt or the tool results, "
    "start a new session, or use a model with a larger window."
)
_LIMITS: Final = ("requests", "tokens", "input-tokens", "output-tokens")


@attrs.frozen(slots=True)
class ErrorFacts:
    """What an error envelope says.

    Attributes:
        status: The HTTP status; None inside a stream, whose status was a success.
        code: The finer reason, where the vendor gives one.
    """

    status: int | None = None
    type: str = ""
    code: str = ""
    message: str = ""
    request_id: str | None = None


@attrs.frozen(slots=True)
class Peer:
    """Who was asked for which model; words every error about an answer."""

    provider: str
    model: str

    def protocol_error(self, what: str, data: str | bytes = b"") -> ProviderProtocolError:
        """Return the error for an answer that ``what`` (a verb phrase); quotes ``data``."""
        shown = data[:120]
        text = shown.decode("utf-8", "replace") if isinstance(shown, bytes) else shown
        quoted = f": {text!r}" if text else ""
        return ProviderProtocolError(
            f"The answer of {self.provider} for model {self.model!r} {what}{quoted}.",
            provider=self.provider,
            category="protocol",
            remedy="Check that base_url points to an endpoint of the Anthropic messages API.",
        )

    def truncated(self, how: str) -> StreamTruncated:
        """Return the error for an answer that ``how`` (a verb phrase)."""
        return StreamTruncated(
            f"The answer of {self.provider} for model {self.model!r} {how}; "
            "what arrived is not complete.",
            provider=self.provider,
            # Retryable: cut streams come from restarts and proxies, and the next call may do well.
            category="network",
            in_stream=True,
            remedy="Try again.",
        )

    def refused(
        self, facts: ErrorFacts, headers: Mapping[str, str], *, in_stream: bool
    ) -> ProviderError | ContextWindowExceeded:
        """Return the error that ``facts`` amount to."""
        return _error(facts, headers, self, in_stream=in_stream)


def error_from_answer(
    status: int, headers: Mapping[str, str], body: bytes, peer: Peer
) -> ProviderError | ContextWindowExceeded:
    """Return the error that an answer with an error status amounts to.

    Args:
        status: The HTTP status.
        headers: With lower-case names.
        body: As much of it as was read.
        peer: Who was asked.
    """
    facts = attrs.evolve(_body_facts(status, headers, body), status=status)
    return _error(facts, headers, peer, in_stream=False)


def _error(
    facts: ErrorFacts, headers: Mapping[str, str], peer: Peer, *, in_stream: bool
) -> ProviderError | ContextWindowExceeded:
    category = _category(facts)
    where = f" with status {facts.status}" if facts.status else " in its answer"
    text = " ".join(facts.message.split())[:MESSAGE_CHARACTERS_MAX] or "it gave no reason"
    message = f"{peer.provider} refused the call to {peer.model!r}{where}: {text.rstrip('.')}."
    if category == "context_length":
        data = {"provider": peer.provider, "model": peer.model, "status": facts.status}
        return ContextWindowExceeded(message, remedy=_CONTEXT_REMEDY, data=data)
    return ProviderError(
        message,
        provider=peer.provider,
        category=category,
        status=facts.status,
        request_id=headers.get("request-id") or facts.request_id,
        retry_after_seconds=_retry_after(headers),
        in_stream=in_stream,
        remedy=_REMEDIES[category],
        data=_data(facts, headers),
    )


def facts_of(error: Any, request_id: Any = None) -> ErrorFacts:
    """Return what a decoded ``error`` member says: an object, or just a text."""
    told_id = request_id if isinstance(request_id, str) else None
    if not isinstance(error, dict):
        return ErrorFacts(message=error if isinstance(error, str) else "", request_id=told_id)
    details = error.get("details")
    code = details.get("error_code") if isinstance(details, dict) else None
    return ErrorFacts(
        type=_text(error.get("type")),
        code=_text(code),
        message=_text(error.get("message")),
        request_id=told_id,
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _body_facts(status: int, headers: Mapping[str, str], body: bytes) -> ErrorFacts:
    if 300 <= status < 400:
        return ErrorFacts(message=f"it redirects to {headers.get('location', 'elsewhere')}")
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ErrorFacts(message=_page_text(body))
    if isinstance(value, dict):
        return facts_of(value.get("error") or value, value.get("request_id"))
    return facts_of(value)


def _page_text(body: bytes) -> str:
    text = body[: 64 * 1024].decode("utf-8", "replace")  # a title stands at the top
    title = re.search(r"<title>(.{1,200}?)</title>", text, re.IGNORECASE | re.DOTALL)
    if title:
        return f"it sent a web page titled {' '.join(title[1].split())!r}"
    if text.lstrip()[:1] == "<":
        return "it sent a web page, not JSON"
    return text


def _category(facts: ErrorFacts) -> ErrorCategory:
    status, kind = facts.status, facts.type
    # These never mean length, whatever words their text uses.
    if status not in {401, 403, 404, 429} and _CONTEXT_TEXT.search(facts.message):
        return "context_length"
    if {kind, facts.code} & _QUOTA_CODES or "credit balance" in facts.message:
        return "quota"
    if status is not None and status in _BY_STATUS:
        return _BY_STATUS[status]
    if status is not None and status >= 500:
        return _BY_TYPE[kind] if kind in {"timeout_error", "overloaded_error"} else "server"
    return _BY_TYPE.get(kind, "server" if status is None else "invalid_request")


def _data(facts: ErrorFacts, headers: Mapping[str, str]) -> dict[str, Any]:
    data: dict[str, Any] = {}
    if code := facts.code or facts.type:
        data["code"] = code
    # The vendor's own word on whether to try again, beside the category's.
    if (verdict := headers.get("x-should-retry")) in {"true", "false"}:
        data["should_retry"] = verdict == "true"
    return data


def _retry_after(headers: Mapping[str, str]) -> float | None:
    for value, scale in (
        (headers.get("retry-after-ms"), 0.001),
        (headers.get("retry-after"), 1.0),
    ):
        seconds = _number(value)
        if seconds is not None:
            return seconds * scale
    now = _http_date(headers.get("date"))
    if now is None:
        return None
    at = _http_date(headers.get("retry-after"))
    if at is None:
        at = _latest_reset(headers)
    return None if at is None else max(0.0, at - now)


def _latest_reset(headers: Mapping[str, str]) -> float | None:
    """Return when the last of the limits that are used up has room again."""
    prefix = "anthropic-ratelimit"
    resets = [
        _rfc3339(headers.get(f"{prefix}-{limit}-reset"))
        for limit in _LIMITS
        if headers.get(f"{prefix}-{limit}-remaining") == "0"
    ]
    return max((reset for reset in resets if reset is not None), default=None)


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None


def _http_date(text: str | None) -> float | None:
    try:
        return email.utils.parsedate_to_datetime(text or "").timestamp()
    except (ValueError, OverflowError):
        return None


def _rfc3339(text: str | None) -> float | None:
    try:
        at = dt.datetime.fromisoformat(text or "")
        return at.timestamp() if at.tzinfo else None
    except (ValueError, OverflowError):
        return None
