from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from actrio.errors import ContextWindowExceeded, NotSupported, ProviderError, ProviderProtocolError
from actrio.messages import EmbedInput
from actrio.providers.dialects import AnthropicMessages

FIXTURES = Path(__file__).parents[3] / "fixtures" / "anthropic"


def refused(status: int, body: Any, **headers: str) -> ProviderError:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    told = {name.replace("_", "-"): value for name, value in headers.items()}
    error = AnthropicMessages().error_from(status, told, raw, model="claude-small-5")
    assert isinstance(error, ProviderError)
    return error


def envelope(kind: str, message: str = "No.") -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"}


@pytest.mark.parametrize(
    ("status", "kind", "category"),
    [
        (400, "invalid_request_error", "invalid_request"),
        (401, "authentication_error", "auth"),
        (402, "billing_error", "quota"),
        (403, "permission_error", "auth"),
        (404, "not_found_error", "not_found"),
        (408, "", "timeout"),
        (413, "request_too_large", "invalid_request"),
        (429, "rate_limit_error", "rate_limit"),
        (500, "api_error", "server"),
        (500, "overloaded_error", "overloaded"),
        (503, "", "overloaded"),
        (504, "timeout_error", "timeout"),
        (529, "overloaded_error", "overloaded"),
        (418, "new_error", "invalid_request"),
        (599, "new_error", "server"),
    ],
)
def test_each_refusal_has_its_category(status: int, kind: str, category: str) -> None:
    """Status and type say what sort of failure it is."""
    error = refused(status, envelope(kind))
    assert (error.category, error.status, error.in_stream) == (category, status, False)
    assert error.request_id == "req_1"
    assert error.remedy
    assert "'claude-small-5'" in error.message


@pytest.mark.parametrize(
    ("name", "status"), [("error_credit_balance", 400), ("error_spending_limit", 429)]
)
def test_money_is_not_cured_by_waiting(name: str, status: int) -> None:
    """An empty purse and a spending limit are quota, whatever status they come with."""
    error = refused(status, (FIXTURES / f"{name}.json").read_bytes())
    assert (error.category, error.retryable) == ("quota", False)


@pytest.mark.parametrize(
    "body",
    [
        (FIXTURES / "error_context_length.json").read_bytes(),
        json.dumps(
            envelope(
                "invalid_request_error",
                "input length and `max_tokens` exceed context limit: 190000 + 32000 > 200000",
            )
        ).encode(),
    ],
)
def test_a_prompt_that_is_too_long_is_its_own_error(body: bytes) -> None:
    """The caller learns what to do about the conversation's length."""
    error = AnthropicMessages().error_from(400, {}, body, model="claude-small-5")
    assert isinstance(error, ContextWindowExceeded)
    assert error.data["status"] == 400


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry_after": "12"}, 12.0),
        ({"retry_after": "1.5", "retry_after_ms": "250"}, 0.25),
        ({"retry_after": "soon"}, None),
        ({"retry_after": "-1"}, None),
        (
            {
                "date": "Fri, 09 Jan 2026 01:45:00 GMT",
                "retry_after": "Fri, 09 Jan 2026 01:45:20 GMT",
            },
            20.0,
        ),
        (
            {
                "date": "Fri, 09 Jan 2026 01:45:00 GMT",
                "anthropic_ratelimit_requests_remaining": "0",
                "anthropic_ratelimit_requests_reset": "2026-01-09T01:45:42Z",
                "anthropic_ratelimit_tokens_remaining": "100",
                "anthropic_ratelimit_tokens_reset": "2026-01-09T02:00:00Z",
            },
            42.0,
        ),
        ({"anthropic_ratelimit_tokens_remaining": "0", "date": "never"}, None),
    ],
)
def test_how_long_to_wait(headers: dict[str, str], seconds: float | None) -> None:
    """The header says it; else the reset of the limit that is used up does."""
    assert refused(429, envelope("rate_limit_error"), **headers).retry_after_seconds == seconds


def test_the_vendors_word_on_trying_again_is_kept() -> None:
    """The finer code and ``x-should-retry`` are facts for whoever decides about a retry."""
    error = refused(429, envelope("rate_limit_error"), x_should_retry="false", request_id="req_2")
    assert error.data == {"code": "rate_limit_error", "should_retry": False}
    assert error.request_id == "req_2"


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"<html><title>502 Bad\n gateway</title></html>", "titled '502 Bad gateway'"),
        (b"<p>no", "sent a web page"),
        (b"plain words", "plain words"),
        (b"", "gave no reason"),
        (b'"just text"', "just text"),
        (b'{"message": "no envelope"}', "no envelope"),
        (b'{"error": [1]}', "gave no reason"),
        (b"\xff\xfe", "status 502"),
        (b"[" * 50_000, "status 502"),
    ],
)
def test_bodies_of_any_kind_make_a_readable_text(body: bytes, told: str) -> None:
    """Proxies answer in their own way; the text stays short and says what there is."""
    error = refused(502, body)
    assert told in error.message
    assert error.category == "server"
    assert len(error.message) < 700


def test_a_redirect_is_named() -> None:
    """A wrong base_url is found faster with the place it points to."""
    assert "https://example.org" in refused(307, b"", location="https://example.org").message


def test_the_list_of_models_is_read() -> None:
    """Only the ids count; anything else is told as no list."""
    dialect = AnthropicMessages()
    body = (FIXTURES / "models.json").read_bytes()
    assert dialect.model_ids(body) == ["claude-small-5", "claude-large-5"]
    request = dialect.models_request()
    assert request.path.startswith("/v1/models")
    assert "anthropic-version" in request.headers
    with pytest.raises(ProviderProtocolError, match="no list of models"):
        dialect.model_ids(b'{"data": [3]}')


def test_there_are_no_embeddings() -> None:
    """The text says who has them."""
    dialect, call = AnthropicMessages(), EmbedInput("claude-small-5", ("a",))
    assert dialect.embed_batch_max == 0
    with pytest.raises(NotSupported, match="openai, gemini, ollama"):
        dialect.embed_request(call)
    with pytest.raises(NotSupported):
        dialect.embed_output(call, b"")
