"""What an OpenAI-compatible endpoint says when it refuses, as our errors. Pure.

The category is found by a ladder, first rung that holds: the vendor's own numeric code, context
length, quota, auth, moderation, not found, rate limit, timeout, overloaded, server, invalid
request.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import attrs
import msgspec

from actrio.errors import (
    ContextWindowExceeded,
    ErrorCategory,
    ProviderError,
)
from actrio.providers.dialects._openai_chat_delay import delay_seconds

__all__ = ["ErrorFacts", "error_from_answer", "error_from_facts", "facts_of", "request_id_of"]

MESSAGE_CHARACTERS_MAX: Final = 500
"""Of a foreign error text. Enough for every recorded message, and no page of HTML."""

_CONTEXT_CODES: Final = {"context_length_exceeded", "exceed_context_size_error"}
_CONTEXT_TEXT: Final = re.compile(
    r"maximum context length|max(?:imum)? context|context (?:window|size|length) (?:exceed|limit)"
    r"|exceeds? the (?:available |model'?s )?context|(?:prompt|input) (?:is )?too long"
    r"|reduce the length of the (?:messages|prompt|input)|maximum prompt length",
    re.IGNORECASE,
)
_QUOTA_CODES: Final = {
    "insufficient_quota",
    "credit_balance_exhausted",
    "organization_spend_limit_exceeded",
    "project_spend_limit_exceeded",
    "organization_usage_limit_exceeded",
    "billing_hard_limit_reached",
    "billing_not_active",
    "payment_required",
    "payment_required_error",
    "billing_error",
    "enforced_spend_limit_reached",
}
_AUTH_CODES: Final = {"invalid_api_key", "authentication_error", "API_KEY_INVALID"}
_GOOGLE_BAD_KEY: Final = "API_KEY_INVALID"
_FILTER_CODES: Final = {"content_filter", "content_policy_violation", "moderation_blocked"}
_NOT_FOUND_CODES: Final = {"model_not_found", "not_found_error"}
_RATE_CODES: Final = {"rate_limit_exceeded", "rate_limit_error", "slow_down"}
_OVERLOADED_CODES: Final = {"server_is_overloaded", "overloaded_error", "capacity_exceeded"}
_SERVER_CODES: Final = {"server_error", "api_error", "internal_server_error"}

_REQUEST_ID_HEADERS: Final = (
    "x-request-id",
    "request-id",
    "x-generation-id",
    "x-siliconcloud-trace-id",
)
_REMEDIES: Final[Mapping[str, str]] = {
    "auth": "Check the API key, and that it may use this model.",
    "quota": "Add credit or raise the spending limit at the provider; waiting will not help.",
    "rate_limit": "Send less at once, or try again later.",
    "content_filter": "The provider's moderation refused it; change the prompt.",
    "not_found": "Check the model's name and the base_url against the provider's list.",
    "overloaded": "Try again later, or use another model.",
    "server": "Try again; if it lasts, look at the provider's status page.",
    "timeout": "Try again, or ask for less in one call.",
    "invalid_request": "Change the request as the provider says.",
}
_CONTEXT_REMEDY: Final = (
    "Shorten the prompt or the tool results, "
    "start a new session, or use a model with a larger window."
)


_NO_CODES: Final[Mapping[str, ErrorCategory]] = MappingProxyType({})


@attrs.frozen(slots=True)
class ErrorFacts:
    """What an error body says, whatever its envelope.

    Attributes:
        flagged: The vendor's moderation stopped it.
        reason: Google's word for the cause.
        delay: How long to wait, as the body tells it apart from its text.
    """

    message: str = ""
    code: str = ""
    type: str = ""
    status: int | None = None
    flagged: bool = False
    reason: str = ""
    delay: str = ""


def error_from_answer(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    provider: str,
    model: str,
    business_codes: Mapping[str, ErrorCategory] = _NO_CODES,
) -> ProviderError | ContextWindowExceeded:
    """Return the error that an answer with an error status amounts to.

    Args:
        status: The HTTP status.
        headers: With lower-case names.
        body: As much of it as was read.
        provider: The provider's name, for the text.
        model: The model asked for, for the text.
        business_codes: The vendor's own codes.
    """
    facts = _body_facts(status, headers, body)
    return error_from_facts(
        attrs.evolve(facts, status=status),
        headers,
        provider=provider,
        model=model,
        in_stream=False,
        business_codes=business_codes,
    )


def error_from_facts(
    facts: ErrorFacts,
    headers: Mapping[str, str],
    *,
    provider: str,
    model: str,
    in_stream: bool,
    business_codes: Mapping[str, ErrorCategory] = _NO_CODES,
) -> ProviderError | ContextWindowExceeded:
    """Return the error that ``facts`` amount to."""
    category = business_codes.get(facts.code) or _category(facts)
    where = " in its stream" if in_stream else f" with status {facts.status}"
    text = " ".join(facts.message.split())[:MESSAGE_CHARACTERS_MAX] or "it gave no reason"
    message = f"{provider} refused the call to {model!r}{where}: {text.rstrip('.')}."
    if category == "context_length":
        data = {"provider": provider, "model": model, "status": facts.status}
        if in_stream:
            data["in_stream"] = True
        return ContextWindowExceeded(message, remedy=_CONTEXT_REMEDY, data=data)
    delay = delay_seconds(headers, facts.message, facts.delay)
    return ProviderError(
        message,
        provider=provider,
        category=category,
        status=facts.status,
        request_id=request_id_of(headers),
        retry_after_seconds=delay,
        in_stream=in_stream,
        remedy=_REMEDIES[category],
        data={"code": facts.code or facts.type} if facts.code or facts.type else None,
    )


def facts_of(value: Any) -> ErrorFacts:
    """Return the facts of a decoded error value: an object, or just a text."""
    if isinstance(value, list) and value:
        value = value[0]  # Google puts its error, envelope and all, into a list
    if not isinstance(value, dict):
        return ErrorFacts(message=value if isinstance(value, str) else "")
    if isinstance(value.get("error"), dict):
        value = value["error"]
    metadata = _dict(value.get("metadata"))
    raw = metadata.get("raw")
    message = _text(value.get("message"))
    if isinstance(raw, str):
        message = f"{message}: {raw}"
    google = _google_details(value.get("details"))
    return ErrorFacts(
        message=message,
        code=_text(value.get("code")),
        type=_text(value.get("type")) or _text(value.get("status")),
        status=_status(value.get("status_code", value.get("code"))),
        flagged="reasons" in metadata or "flagged_input" in metadata,
        reason=_text(google.get("reason")),
        delay=_text(google.get("retryDelay")),
    )


def request_id_of(headers: Mapping[str, str]) -> str | None:
    """Return the provider's own id of the request, for its support."""
    return next((headers[name] for name in _REQUEST_ID_HEADERS if headers.get(name)), None)


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        return ""
    return str(value)


def _status(value: Any) -> int | None:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) == 3:
        value = int(value)
    return value if isinstance(value, int) and 400 <= value <= 599 else None


def _google_details(value: Any) -> dict[str, Any]:
    """Return the members of all detail objects as one; each name is of one of them only."""
    merged: dict[str, Any] = {}
    for detail in value if isinstance(value, list) else ():
        merged.update(_dict(detail))
    return merged


def _body_facts(status: int, headers: Mapping[str, str], body: bytes) -> ErrorFacts:
    if 300 <= status < 400:
        return ErrorFacts(f"it redirects to {headers.get('location', 'elsewhere')}")
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ErrorFacts(_page_text(body))
    if isinstance(value, dict):
        # The envelopes seen: error, errors, and none at all.
        return facts_of(value.get("error") or value.get("errors") or value)
    return facts_of(value)


def _page_text(body: bytes) -> str:
    text = body.decode("utf-8", "replace")
    title = re.search(r"<title>(.{1,200}?)</title>", text, re.IGNORECASE | re.DOTALL)
    if title:
        return f"it sent a web page titled {' '.join(title[1].split())!r}"
    if text.lstrip()[:1] == "<":
        return "it sent a web page, not JSON"
    return text


def _category(facts: ErrorFacts) -> ErrorCategory:
    status, words = facts.status, {facts.code, facts.type}
    # 401 and 429 never mean length, whatever words their text uses.
    may_be_length = status not in {401, 403, 404, 429}
    if may_be_length and (words & _CONTEXT_CODES or _CONTEXT_TEXT.search(facts.message)):
        return "context_length"
    if facts.reason == _GOOGLE_BAD_KEY:
        return "auth"
    if words & _QUOTA_CODES or status == 402 or "credit balance" in facts.message:
        return "quota"
    if status == 401 or words & _AUTH_CODES:
        return "auth"
    moderated = facts.flagged or "moderation" in facts.message.lower()
    if words & _FILTER_CODES or (status == 403 and moderated):
        return "content_filter"
    if status == 403:
        return "auth"
    if status == 404 or words & _NOT_FOUND_CODES or "not a valid model ID" in facts.message:
        return "not_found"
    return _transient_category(status, words)


def _transient_category(status: int | None, words: set[str]) -> ErrorCategory:
    if status == 429 or (status is None and words & _RATE_CODES):
        return "rate_limit"
    if status in {408, 504} or "timeout_error" in words:
        return "timeout"
    if status in {503, 529, 498} or words & _OVERLOADED_CODES:
        return "overloaded"
    if (status is not None and status >= 500) or words & _SERVER_CODES:
        return "server"
    if status is not None or "invalid_request_error" in words:
        return "invalid_request"
    return "server"
