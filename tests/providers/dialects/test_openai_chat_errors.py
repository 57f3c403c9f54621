from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from actrio.errors import ContextWindowExceeded, ProviderError
from actrio.providers._catalog import make_dialect
from actrio.providers.dialects import OpenAiChat

FIXTURES = Path(__file__).parents[3] / "fixtures" / "openai_chat"


def refused(status: int, body: Any, **headers: str) -> ProviderError:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    told = {name.replace("_", "-"): value for name, value in headers.items()}
    error = OpenAiChat("openai").error_from(status, told, raw, model="small")
    assert isinstance(error, ProviderError)
    return error


@pytest.mark.parametrize(
    ("status", "error", "category"),
    [
        (401, {"message": "no", "code": "invalid_api_key"}, "auth"),
        (403, {"message": "no"}, "auth"),
        (402, {"message": "pay"}, "quota"),
        (429, {"message": "q", "type": "insufficient_quota"}, "quota"),
        (404, {"message": "no such model"}, "not_found"),
        (400, {"message": "no", "code": "model_not_found"}, "not_found"),
        (429, {"message": "slow down"}, "rate_limit"),
        (408, {"message": "late"}, "timeout"),
        (504, {"message": "late"}, "timeout"),
        (503, {"message": "busy"}, "overloaded"),
        (529, {"message": "busy"}, "overloaded"),
        (500, {"message": "oops"}, "server"),
        (400, {"message": "bad", "code": "content_policy_violation"}, "content_filter"),
        (413, {"message": "Request too large", "code": "rate_limit_exceeded"}, "invalid_request"),
        (422, {"message": "bad"}, "invalid_request"),
    ],
)
def test_the_category_ladder(status: int, error: Any, category: str) -> None:
    """Status, code and text give the category, the first rung that holds."""
    found = refused(status, {"error": error})
    assert (found.category, found.status, found.in_stream) == (category, status, False)
    assert found.remedy


@pytest.mark.parametrize("name", ["error_context_length", "error_context_length_llama"])
def test_a_conversation_beyond_the_window_has_its_own_error(name: str) -> None:
    """It is a limit, not a failure of the provider, and says what to do."""
    body = (FIXTURES / f"{name}.json").read_bytes()
    error = OpenAiChat("openai").error_from(400, {}, body, model="small")
    assert isinstance(error, ContextWindowExceeded)
    for word in ("Shorten", "new session", "larger window"):
        assert word in str(error)
    assert error.data["model"] == "small"


def test_words_about_length_do_not_turn_a_rate_limit_into_one() -> None:
    """A refused rate that mentions the context stays a rate limit."""
    assert refused(429, {"error": {"message": "maximum context tokens"}}).category == "rate_limit"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry_after_ms": "19800", "retry_after": "20"}, 19.8),
        ({"retry_after": "7"}, 7.0),
        (
            {
                "retry_after": "Wed, 21 Oct 2026 07:28:10 GMT",
                "date": "Wed, 21 Oct 2026 07:28:00 GMT",
            },
            10.0,
        ),
        ({"retry_after": "nan"}, 5.289),
        ({"retry_after": "-3"}, 5.289),
        ({}, 5.289),
    ],
)
def test_how_long_to_wait(headers: dict[str, str], seconds: float) -> None:
    """The delay comes from the headers, else from the text, and never is nonsense."""
    body = {"error": {"message": "Please try again in 5.289s."}}
    assert refused(429, body, **headers).retry_after_seconds == pytest.approx(seconds)


def test_the_request_id_is_kept() -> None:
    """The provider's own id is there for its support."""
    assert refused(500, {}, x_request_id="req_1").request_id == "req_1"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"<html><head><title>502 Bad\n Gateway</title></head></html>", "titled '502 Bad Gateway'"),
        (b"<p>no title</p>", "web page"),
        (b"plain words", "plain words"),
        (b"", "gave no reason"),
        (b'"Api key is invalid"', "Api key is invalid"),
        (b'{"message": "bare"}', "bare"),
        (b'{"errors": {"message": "plural"}}', "plural"),
        (b"[1]", "gave no reason"),
        (b"\xff\xfe", "status 502"),
    ],
)
def test_every_envelope_is_read(body: bytes, words: str) -> None:
    """JSON in any envelope, a page or a text: the error says what is known."""
    error = refused(502, body)
    assert words in str(error)
    assert error.category == "server"


def test_long_texts_are_cut() -> None:
    """A page of text does not become a page of error."""
    assert len(str(refused(400, b"x" * 100_000))) < 700


def test_a_redirect_says_where_to() -> None:
    """A redirect is not followed, because it would carry the key along; the text tells it."""
    error = refused(301, b"", location="https://other.example/v1")
    assert "redirects to https://other.example/v1" in str(error)


@pytest.mark.parametrize(
    ("vendor", "status", "name", "category"),
    [
        ("glm4", 429, "error_glm_in_arrears", "quota"),
        ("siliconflow", 403, "error_siliconflow_balance", "quota"),
        ("siliconflow", 401, "error_siliconflow_text", "auth"),
        ("modelscope", 429, "error_modelscope_plural", "rate_limit"),
        ("modelscope", 400, "error_modelscope_request_id_beside", "invalid_request"),
        ("modelscope", 429, "error_modelscope_upstream", "rate_limit"),
        ("gemini", 400, "error_google_bad_key", "auth"),
        ("gemini", 429, "error_google_quota", "rate_limit"),
        ("openrouter", 403, "error_openrouter_moderation", "content_filter"),
        ("openrouter", 429, "error_openrouter_upstream", "rate_limit"),
        ("cerebras", 429, "error_cerebras_bare", "rate_limit"),
    ],
)
def test_the_vendors_own_envelopes(vendor: str, status: int, name: str, category: str) -> None:
    """Whatever stands around it, the error is found, and its category is what its vendor means."""
    body = (FIXTURES / f"{name}.json").read_bytes()
    error = make_dialect("openai", vendor, vendor=vendor).error_from(
        status, {}, body, model="small"
    )
    assert isinstance(error, ProviderError)
    assert (error.category, error.status) == (category, status)
    assert "it gave no reason" not in error.message


@pytest.mark.parametrize(
    ("code", "category"),
    [
        ("1000", "auth"),
        ("1211", "not_found"),
        ("1214", "invalid_request"),
        ("1234", "server"),
        ("1301", "content_filter"),
        ("1302", "rate_limit"),
        ("1305", "overloaded"),
        ("1308", "quota"),
    ],
)
def test_a_code_says_more_than_the_status(code: str, category: str) -> None:
    """One status stands for three different things; the code tells them apart."""
    body = json.dumps({"error": {"code": code, "message": "…"}}).encode()
    error = make_dialect("openai", "glm4", vendor="glm4").error_from(429, {}, body, model="small")
    assert isinstance(error, ProviderError)
    assert error.category == category


def test_a_code_for_length_is_its_own_error() -> None:
    """GLM's words for it are Chinese, its code is not."""
    body = json.dumps({"error": {"code": "1261", "message": "Prompt 超长"}}).encode()
    error = make_dialect("openai", "glm4", vendor="glm4").error_from(400, {}, body, model="small")
    assert isinstance(error, ContextWindowExceeded)


def test_google_tells_the_delay_in_the_body() -> None:
    """There is no header for it."""
    body = (FIXTURES / "error_google_quota.json").read_bytes()
    assert refused(429, body).retry_after_seconds == 48.0
