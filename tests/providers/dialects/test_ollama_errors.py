from __future__ import annotations

import json
from pathlib import Path

import pytest

from actrio.errors import ContextWindowExceeded, ProviderError
from actrio.messages import EmbedInput
from actrio.providers.dialects import OllamaChat

FIXTURES = Path(__file__).parents[3] / "fixtures" / "ollama"


@pytest.mark.parametrize(
    ("status", "text", "category"),
    [
        (400, "invalid think value", "invalid_request"),
        (400, '"small" does not support tools', "invalid_request"),
        (401, "unauthorized", "auth"),
        (402, "payment required", "quota"),
        (404, "model 'small' not found", "not_found"),
        (429, "too many requests", "rate_limit"),
        (500, "the model failed to generate a response", "server"),
        (502, "upstream error", "server"),
        (503, "server busy, please try again. maximum pending requests exceeded", "overloaded"),
    ],
)
def test_the_category_is_found(status: int, text: str, category: str) -> None:
    """Ollama's errors are a status and a text."""
    body = json.dumps({"error": text}).encode()
    error = OllamaChat().error_from(status, {}, body, model="small")
    assert isinstance(error, ProviderError)
    assert (error.category, error.status, error.in_stream) == (category, status, False)
    assert text.rstrip(".") in error.message
    assert error.remedy


def test_a_missing_model_is_to_be_pulled() -> None:
    """The remedy is the command."""
    body = (FIXTURES / "error_not_found.json").read_bytes()
    error = OllamaChat().error_from(404, {}, body, model="small")
    assert "ollama pull small" in str(error)


def test_a_conversation_beyond_the_window_has_its_own_error() -> None:
    """It is a limit, not a failure of the server."""
    body = (FIXTURES / "error_context_length.json").read_bytes()
    error = OllamaChat().error_from(400, {}, body, model="small")
    assert isinstance(error, ContextWindowExceeded)


def test_an_error_in_place_of_vectors_is_raised() -> None:
    """An embedding answer may hold an error, too."""
    with pytest.raises(ProviderError, match="boom"):
        OllamaChat().embed_output(EmbedInput("small", ("a",)), b'{"error":"boom"}')


@pytest.mark.parametrize("body", [b"", b"<html>", b"\xff", b"[[", b'"text"', b'{"error":{"a":1}}'])
def test_any_body_is_an_error_of_its_status(body: bytes) -> None:
    """A proxy's page in front of the server changes nothing."""
    error = OllamaChat().error_from(502, {}, body, model="small")
    assert isinstance(error, ProviderError)
    assert error.category == "server"
