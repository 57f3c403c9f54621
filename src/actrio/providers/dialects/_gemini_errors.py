"""What Gemini says when it refuses, as our errors.

Google tells a failure as a ``google.rpc.Status``: a code, a canonical status word, a message, and
typed details. A bad key is status 400 and only its detail says so; how long to wait stands in a
detail, not in a header. The category is found by a ladder, first rung that holds.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, Final

import attrs
import msgspec

from actrio.errors import ContextWindowExceeded, ErrorCategory, ProviderError

__all__ = ["GeminiFacts", "error_from_answer", "error_from_facts", "facts_of"]

MESSAGE_CHARACTERS_MAX: Final = 500
"""Of a foreign error text. Enough for every recorded message, and no page of HTML."""

DETAILS_MAX: Final = 100
"""Details looked at. Google sends up to three."""

_STATUS_OF_WORD: Final[Mapping[str, int]] = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "OUT_OF_RANGE": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "RESOURCE_EXHAUSTED": 429,
    "CANCELLED": 499,
    "INTERNAL": 500,
    "UNKNOWN": 500,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}
_KEY_REASONS: Final = {"API_KEY_INVALID", "API_KEY_EXPIRED", "API_KEY_SERVICE_BLOCKED"}
_CONTEXT_TEXT: Final = re.compile(
    r"token count .{0,40}exceeds the maximum number of tokens|context (?:window|length) exceed"
    r"|exceeds? the maximum context|prompt is too long",
    re.IGNORECASE,
)
_BILLING_TEXT: Final = re.compile(r"credit balance|prepayment credits are depleted", re.IGNORECASE)
_RETRY_IN: Final = re.compile(r"retry in (\d{1,9}(?:\.\d{1,12})?)(ms|s)\b")
_DURATION: Final = re.compile(r"(\d{1,9}(?:\.\d{1,12})?)s")

_REMEDIES: Final[Mapping[str, str]] = {
    "auth": "Check the API key (GOOGLE_API_KEY or GEMINI_API_KEY) and what it may be used for.",
    "quota": "Add credit or raise the spending limit in Google AI Studio; waiting will not help.",
    "rate_limit": "Send less at once, or try again later.",
    "not_found": "Check the model's name against the provider's list.",
    "overloaded": "Try again later, or use another model.",
    "server": "Try again; if it lasts, look at the provider's status page.",
    "timeout": "Try again, or ask for less in one call.",
    "invalid_request": "Change the request as the provider says.",
}
_CONTEXT_REMEDY: Final = (
    "Shorten the prompt or the tool results, "
    "start a new session, or use a model with a larger window."
)


@attrs.frozen(slots=True)
class GeminiFacts:
    """What a ``google.rpc.Status`` says.

    Attributes:
        status: The HTTP status, or what stands for it inside a stream.
        word: The canonical name, for example ``RESOURCE_EXHAUSTED``.
        reason: Of the ``ErrorInfo`` detail, for example ``API_KEY_INVALID``.
        retry_delay_seconds: Of the ``RetryInfo`` detail.
    """

    message: str = ""
    status: int | None = None
    word: str = ""
    reason: str = ""
    retry_delay_seconds: float | None = None


def error_from_answer(
    status: int, headers: Mapping[str, str], body: bytes, *, provider: str, model: str
) -> ProviderError | ContextWindowExceeded:
    """Return the error that an answer with an error status amounts to.

    Args:
        status: The HTTP status; it counts, whatever the body says.
        headers: With lower-case names.
        body: As much of it as was read.
        provider: The provider's name, for the text.
        model: The model asked for, for the text.
    """
    facts = attrs.evolve(_body_facts(status, headers, body), status=status)
    return error_from_facts(facts, headers, provider=provider, model=model, in_stream=False)


def error_from_facts(
    facts: GeminiFacts,
    headers: Mapping[str, str],
    *,
    provider: str,
    model: str,
    in_stream: bool,
) -> ProviderError | ContextWindowExceeded:
    """Return the error that ``facts`` amount to."""
    category = _category(facts)
    told = f" with status {facts.status}" if facts.status is not None else ""
    where = f" in its stream{told}" if in_stream else told
    text = " ".join(facts.message.split())[:MESSAGE_CHARACTERS_MAX] or "it gave no reason"
    message = f"{provider} refused the call to {model!r}{where}: {text.rstrip('.')}."
    if category == "context_length":
        data = {"provider": provider, "model": model, "status": facts.status}
        return ContextWindowExceeded(message, remedy=_CONTEXT_REMEDY, data=data)
    code = facts.reason or facts.word
    return ProviderError(
        message,
        provider=provider,
        category=category,
        status=facts.status,
        # Google tells no request id; a gateway in between may.
        request_id=headers.get("x-request-id"),
        retry_after_seconds=_retry_after(headers, facts),
        in_stream=in_stream,
        remedy=_REMEDIES[category],
        data={"code": code} if code else None,
    )


def facts_of(value: Any) -> GeminiFacts:
    """Return the facts of a decoded ``error`` member: an object, or just a text."""
    if not isinstance(value, dict):
        return GeminiFacts(message=value if isinstance(value, str) else "")
    code, word = value.get("code"), value.get("status")
    word = word if isinstance(word, str) else ""
    is_status = isinstance(code, int) and 400 <= code <= 599
    details = value.get("details")
    details = details[:DETAILS_MAX] if isinstance(details, list) else []
    return GeminiFacts(
        message=_string(value.get("message")),
        status=code if is_status else _STATUS_OF_WORD.get(word),
        word=word,
        reason=next(filter(None, (_detail(each, "ErrorInfo", "reason") for each in details)), ""),
        retry_delay_seconds=next(
            (
                seconds
                for each in details
                if (seconds := _duration(_detail(each, "RetryInfo", "retryDelay"))) is not None
            ),
            None,
        ),
    )


def _detail(detail: Any, type_name: str, member: str) -> str:
    if not isinstance(detail, dict):
        return ""
    if not _string(detail.get("@type")).endswith(f"google.rpc.{type_name}"):
        return ""
    return _string(detail.get(member))


def _string(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _duration(text: str) -> float | None:
    found = _DURATION.fullmatch(text)
    return float(found[1]) if found else None


def _body_facts(status: int, headers: Mapping[str, str], body: bytes) -> GeminiFacts:
    if 300 <= status < 400:
        return GeminiFacts(f"it redirects to {headers.get('location', 'elsewhere')}")
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return GeminiFacts(_page_text(body))
    if isinstance(value, list) and value:
        value = value[0]  # a stream that was not asked for as SSE is one array, its error too
    if isinstance(value, dict):
        return facts_of(value.get("error") or value)
    return facts_of(value)


def _page_text(body: bytes) -> str:
    text = body[:100_000].decode("utf-8", "replace")
    title = re.search(r"<title>(.{1,200}?)</title>", text, re.IGNORECASE | re.DOTALL)
    if title:
        return f"it sent a web page titled {' '.join(title[1].split())!r}"
    if text.lstrip()[:1] == "<":
        return "it sent a web page, not JSON"
    return text


def _category(facts: GeminiFacts) -> ErrorCategory:
    status = facts.status
    # 401 and 429 never mean length, whatever words their text uses.
    if status not in {401, 403, 404, 429} and _CONTEXT_TEXT.search(facts.message):
        return "context_length"
    if facts.reason in _KEY_REASONS:
        return "auth"
    if status == 402 or _BILLING_TEXT.search(facts.message):
        return "quota"
    if status in {401, 403}:
        return "auth"
    if status == 404:
        return "not_found"
    if status == 429:
        return "rate_limit"
    return _transient_category(status)


def _transient_category(status: int | None) -> ErrorCategory:
    if status in {408, 504}:
        return "timeout"
    if status in {503, 529, 498}:
        return "overloaded"
    if status is None or status >= 500:
        return "server"
    return "invalid_request"


def _retry_after(headers: Mapping[str, str], facts: GeminiFacts) -> float | None:
    for name, scale in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        seconds = _number(headers.get(name))
        if seconds is not None:
            return seconds * scale
    if facts.retry_delay_seconds is not None:
        return facts.retry_delay_seconds
    if found := _RETRY_IN.search(facts.message):
        return float(found[1]) * (0.001 if found[2] == "ms" else 1.0)
    return None


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None
