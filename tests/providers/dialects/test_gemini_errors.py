from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actrio.errors import ContextWindowExceeded, ProviderError
from actrio.messages import ModelInput
from actrio.providers.dialects import Gemini

FIXTURES = Path(__file__).parents[3] / "fixtures" / "gemini"


def refused(status: int, body: Any, **headers: str) -> ProviderError:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    told = {name.replace("_", "-"): value for name, value in headers.items()}
    error = Gemini().error_from(status, told, raw, model="gemini-test")
    assert isinstance(error, ProviderError)
    return error


@pytest.mark.parametrize(
    ("name", "category"),
    [
        ("bad_key", "auth"),
        ("no_key", "auth"),
        ("unknown_model", "not_found"),
        ("rate_limit", "rate_limit"),
        ("precondition", "invalid_request"),
        ("internal", "server"),
        ("overloaded", "overloaded"),
        ("deadline", "timeout"),
    ],
)
def test_categories(name: str, category: str) -> None:
    """Each refusal has its category, its status, the vendor's words and a remedy."""
    body = (FIXTURES / f"error_{name}.json").read_bytes()
    told = json.loads(body)["error"]
    error = refused(told["code"], body)
    assert (error.category, error.status, error.in_stream) == (category, told["code"], False)
    assert error.message.startswith("gemini refused the call to 'gemini-test' with status ")
    assert told["message"].rstrip(".") in error.message
    assert error.remedy


def test_a_bad_key_is_told_by_its_detail() -> None:
    """Status 400 alone would blame the request."""
    body = (FIXTURES / "error_bad_key.json").read_bytes()
    error = refused(400, body)
    assert error.data == {"code": "API_KEY_INVALID"}
    assert not error.retryable


def test_too_long_a_conversation_is_its_own_error() -> None:
    """The remedy says how to shorten it."""
    body = (FIXTURES / "error_context_length.json").read_bytes()
    error = Gemini().error_from(400, {}, body, model="gemini-test")
    assert isinstance(error, ContextWindowExceeded)
    assert error.data["status"] == 400
    assert "larger window" in str(error)


def test_the_delay_stands_in_the_body() -> None:
    """Google tells how long to wait in a detail; a header of a gateway comes first."""
    body = (FIXTURES / "error_rate_limit.json").read_bytes()
    assert refused(429, body).retry_after_seconds == 48.0
    assert refused(429, body, retry_after="3").retry_after_seconds == 3.0
    assert refused(429, body, retry_after_ms="250").retry_after_seconds == 0.25


@pytest.mark.parametrize(
    ("delay", "message", "seconds"),
    [
        ("0.5s", "", 0.5),
        ("7.123456789s", "", 7.123456789),
        ("soon", "", None),
        ("-3s", "", None),
        ("1e9s", "", None),
        (7, "Please retry in 12.5s.", 12.5),
        (None, "Please retry in 250ms.", 0.25),
        ("", "later", None),
    ],
)
def test_forms_of_the_delay(delay: Any, message: str, seconds: float | None) -> None:
    """A delay that cannot be read is none; the message may tell it, too."""
    detail = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay}
    error = refused(429, {"error": {"message": message, "details": [detail]}})
    assert error.retry_after_seconds == seconds


def test_an_error_inside_an_array_is_read() -> None:
    """A stream that was not asked for as events tells its error in an array."""
    body = (FIXTURES / "error_in_array.json").read_bytes()
    assert "thought_signature" in refused(400, body).message


@pytest.mark.parametrize(
    ("status", "body", "category", "text"),
    [
        (402, {"error": {"message": "pay"}}, "quota", "pay"),
        (429, {"error": {"message": "Your prepayment credits are depleted."}}, "quota", "prepay"),
        (401, {"error": {"status": "UNAUTHENTICATED"}}, "auth", "no reason"),
        (403, b"<html><title>Forbidden\nhere</title>", "auth", "'Forbidden here'"),
        (502, b"<html>", "server", "web page"),
        (503, b"", "overloaded", "no reason"),
        (408, b"late", "timeout", "late"),
        (413, b"\xff\xfe", "invalid_request", "413"),
        (429, {"error": "slow down"}, "rate_limit", "slow down"),
        (429, [], "rate_limit", "no reason"),
        (302, b"", "invalid_request", "https://example.org"),
        (400, b"[" * 100_000, "invalid_request", "["),
    ],
)
def test_other_bodies(status: int, body: Any, category: str, text: str) -> None:
    """A proxy's page, a bare text or nothing at all is told by its status."""
    error = refused(status, body, location="https://example.org")
    assert error.category == category
    assert text in error.message
    assert len(error.message) < 700


@pytest.mark.parametrize(
    ("error", "category", "status"),
    [
        ({"status": "RESOURCE_EXHAUSTED"}, "rate_limit", 429),
        ({"code": 500, "status": "INTERNAL"}, "server", 500),
        ({"message": "?"}, "server", None),
        ({"code": 14, "status": "UNAVAILABLE"}, "overloaded", 503),
    ],
)
def test_an_error_in_a_stream_tells_its_own_status(
    error: object, category: str, status: int | None
) -> None:
    """The answer's status was 200 long ago; Google's word stands for the one that failed it."""
    reader = Gemini().reader(ModelInput("gemini-test", ()), "text/event-stream")
    with pytest.raises(ProviderError) as caught:
        reader.feed(f"data: {json.dumps({'error': error})}\r\n\r\n".encode())
    assert (caught.value.category, caught.value.status) == (category, status)
    assert caught.value.in_stream


@given(
    st.integers(300, 599),
    st.binary(max_size=200)
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=20),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(
                    ["error", "code", "message", "status", "details", "@type", "reason"]
                ),
                inner,
            )
        ),
    ).map(lambda value: json.dumps(value).encode()),
)
def test_no_body_breaks_the_reading_of_an_error(status: int, body: bytes) -> None:
    """Whatever comes with an error status, it is one of our errors."""
    error = Gemini().error_from(status, {}, body, model="gemini-test")
    assert isinstance(error, (ProviderError, ContextWindowExceeded))
    assert str(error)
