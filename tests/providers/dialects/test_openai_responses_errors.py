from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from actrio.errors import ContextWindowExceeded, ProviderError
from actrio.messages import ModelInput
from actrio.providers.dialects import OpenAiResponses

FIXTURES = Path(__file__).parents[3] / "fixtures" / "openai_responses"
DIALECT = OpenAiResponses("openai")


def refused(status: int, body: bytes, **headers: str) -> ProviderError:
    told = {name.replace("_", "-"): value for name, value in headers.items()}
    error = DIALECT.error_from(status, told, body, model="small")
    assert isinstance(error, ProviderError)
    return error


def test_an_unknown_model_is_not_found_though_the_status_is_400() -> None:
    """This API tells it in the code alone."""
    error = refused(400, (FIXTURES / "error_model_not_found.json").read_bytes())
    assert (error.category, error.status) == ("not_found", 400)


def test_a_conversation_beyond_the_window_has_its_own_error() -> None:
    """It is a limit, not a failure of the provider."""
    body = (FIXTURES / "error_context_length.json").read_bytes()
    assert isinstance(DIALECT.error_from(400, {}, body, model="small"), ContextWindowExceeded)


@pytest.mark.parametrize(
    ("status", "error", "category"),
    [
        (401, {"message": "no", "code": "invalid_api_key"}, "auth"),
        (403, {"message": "no"}, "auth"),
        (429, {"message": "q", "type": "insufficient_quota"}, "quota"),
        (429, {"message": "slow down", "code": "rate_limit_exceeded"}, "rate_limit"),
        (400, {"message": "bad", "code": "unsupported_file"}, "invalid_request"),
        (503, {"message": "busy", "code": "server_is_overloaded"}, "overloaded"),
        (500, {"message": "oops", "type": "server_error"}, "server"),
    ],
)
def test_the_category_is_found(status: int, error: Any, category: str) -> None:
    """The ladder of chat completions holds here, too."""
    found = refused(status, json.dumps({"error": error}).encode(), x_request_id="req_1")
    assert (found.category, found.status, found.in_stream) == (category, status, False)
    assert found.request_id == "req_1"


@pytest.mark.parametrize(
    ("code", "category"),
    [
        ("server_error", "server"),
        ("rate_limit_exceeded", "rate_limit"),
        ("invalid_prompt", "invalid_request"),
        ("invalid_api_key", "auth"),
        ("image_too_large", "invalid_request"),
        ("failed_to_download_image", "invalid_request"),
        ("image_content_policy_violation", "content_filter"),
        ("vector_store_timeout", "server"),
        (None, "server"),
    ],
)
def test_a_failed_response_has_only_its_code(code: str | None, category: str) -> None:
    """Inside a stream there is no status; the code says who is to blame."""
    error = {"code": code, "message": "It went wrong."}
    event = {"type": "response.failed", "response": {"status": "failed", "error": error}}
    reader = DIALECT.reader(ModelInput("small", ()), "text/event-stream")
    with pytest.raises(ProviderError, match="went wrong") as caught:
        reader.feed(f"data: {json.dumps(event)}\n\n".encode())
    assert (caught.value.category, caught.value.in_stream) == (category, True)


def test_how_long_to_wait_is_read_from_the_text() -> None:
    """An error event has no headers."""
    reader = DIALECT.reader(ModelInput("small", ()), "text/event-stream")
    with pytest.raises(ProviderError) as caught:
        reader.feed((FIXTURES / "error_event.sse").read_bytes())
    assert caught.value.retry_after_seconds == pytest.approx(2.5)


@pytest.mark.parametrize("event", ["response.failed", "response.cancelled"])
def test_a_failure_without_a_reason_is_still_one(event: str) -> None:
    """The status alone is enough."""
    data = json.dumps({"type": event, "response": {"error": None}})
    reader = DIALECT.reader(ModelInput("small", ()), "text/event-stream")
    with pytest.raises(ProviderError, match=event.rpartition(".")[2]):
        reader.feed(f"data: {data}\n\n".encode())


@pytest.mark.parametrize("body", [b"", b"<html>", b"\xff", b"[[", b'"text"', b'{"error":{"a":1}}'])
def test_any_body_is_an_error_of_its_status(body: bytes) -> None:
    """A proxy's page in front of the endpoint changes nothing."""
    assert refused(502, body).category == "server"
