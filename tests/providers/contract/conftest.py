from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

CHAT_BODY = {
    "model": "gpt-4o-mini",
    "messages": [{"role": "user", "content": "Hi"}],
    "stream": True,
    "stream_options": {"include_usage": True},
}


@pytest.fixture(scope="session")
def fixtures() -> Path:
    """Where the answers of our own composing are."""
    return Path(__file__).parents[3] / "fixtures"


@pytest.fixture
def exchange(tmp_path: Path):
    """Write one exchange file: ``exchange("id", api=…, body=…, expected=…)``."""

    def write(
        name: str,
        *,
        body: str,
        expected: dict[str, Any],
        api: str = "openai.chat",
        kind: str = "chat_stream",
        status: int = 200,
        headers: dict[str, str] | None = None,
        asked: Any = CHAT_BODY,
        path: str = "/v1/chat/completions",
    ) -> Path:
        kinds = {"chat_stream": "text/event-stream"}
        value = {
            "schema": "llm-exchange/1",
            "id": name,
            "provider": api.partition(".")[0],
            "api": api,
            "kind": kind,
            "request": {
                "method": "POST",
                "url": f"https://vendor.example{path}",
                "stream": kind == "chat_stream",
                "headers": {},
                "body": asked,
            },
            "response": {
                "status": status,
                "headers": {
                    "content-type": kinds.get(kind, "application/json"),
                    **(headers or {}),
                },
                "body": body,
            },
            "expected": expected,
        }
        folder = tmp_path / "exchanges"
        folder.mkdir(exist_ok=True)
        (folder / f"{name}.json").write_text(json.dumps(value))
        return folder

    return write


@pytest.fixture
def four(exchange, fixtures) -> Path:
    """A folder with a stream, vectors, a list of models and a refusal, all as expected."""
    exchange(
        "a-stream",
        body=(fixtures / "openai_chat" / "text.sse").read_text(),
        expected={
            "outcome": "ok",
            "text": "Paris – oui\u2028!",
            "reasoning": None,
            "refusal": None,
            "tool_calls": [],
            "finish_reason": "stop",
            "usage": {"input_tokens": 9, "output_tokens": 4, "cached_input_tokens": 3},
        },
    )
    exchange(
        "b-vectors",
        api="openai.embeddings",
        kind="embedding",
        path="/v1/embeddings",
        asked={"model": "text-small", "input": ["one", "two"], "encoding_format": "base64"},
        body=(fixtures / "openai_embeddings" / "base64.json").read_text(),
        expected={
            "outcome": "ok",
            "embedding": {
                "count": 2,
                "dims": 2,
                "first8": [[0.5, -0.5], [0.0, 1.0]],
                "l2": [0.707107, 1.0],
            },
            "usage": {"input_tokens": 4},
        },
    )
    exchange(
        "c-models",
        api="groq.models",
        kind="models",
        asked=None,
        body='{"data": [{"id": "one"}]}',
        expected={"outcome": "ok", "models": {"count": 1, "ids": ["one"]}},
    )
    return exchange(
        "d-refusal",
        api="glm4.chat",
        kind="error",
        status=429,
        headers={"retry-after": "7"},
        body=(fixtures / "openai_chat" / "error_glm_in_arrears.json").read_text(),
        expected={
            "outcome": "error",
            "error": {"category": "quota", "http_status": 429, "in_stream": False},
        },
    )
