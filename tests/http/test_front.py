"""What holds for every request, whatever it asks for."""

from __future__ import annotations

import json

import httpx
import pytest
import trio

from actrio.errors import (
    KINDS,
    Conflict,
    LimitExceeded,
    NotFound,
    NotSupported,
    Overloaded,
    ProviderError,
    TurnAborted,
)
from actrio.http import HttpLimits, HttpSettings, _problems
from actrio.http._call import Call
from actrio.http._operations import Operation, make_paths
from actrio.http._problems import problem, refusal_of
from actrio.http._routes import all_operations

TOKEN = "0123456789abcdef0123"


async def test_a_token_is_asked_for_everywhere_but_by_probes(serving):
    """Without it 401, with it 200; probes are open."""
    http = HttpSettings()
    async with serving(http=http, env={"ACTRIO_HTTP_TOKEN": TOKEN}) as service:
        async with service.client() as client:
            for path in ("/health", "/v1/models", "/openapi.json", "/agents", "/metrics"):
                refused = await client.get(path)
                assert refused.status_code == 401
                assert refused.headers["www-authenticate"].startswith("Bearer")
                allowed = await client.get(path, headers={"authorization": f"Bearer {TOKEN}"})
                assert allowed.status_code == 200
            assert (await client.get("/livez")).status_code == 200
            assert (await client.get("/readyz")).json() == {"status": "ready"}


async def test_every_answer_has_an_id(serving):
    """The id is in the header, and in the body of a failure."""
    async with serving() as service, service.client() as client:
        answer = await client.get("/nothing")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["requestId"] == answer.headers["x-request-id"]
    assert answer.json()["code"] == "not_found"
    assert set(answer.json()) >= {"type", "title", "status", "detail", "message", "details"}


async def test_methods_are_told(serving):
    """405 lists what there is; HEAD is a GET without its body, and not for streams."""
    async with serving() as service, service.client() as client:
        refused = await client.put("/health")
        assert refused.status_code == 405
        assert refused.headers["allow"] == "GET"
        head = await client.head("/health")
        assert (head.status_code, head.content) == (200, b"")
        assert (await client.head("/v1/sessions/x/events")).status_code == 405
        assert (await client.request("FROB", "/health")).status_code == 405


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 422),
        (b"{", 400),
        (b"\xff\xfe", 400),
        (b"nan", 400),
        (b'{"model": 1}', 422),
        (b'{"model":"scripted:echo","messages":[]}', 422),
        (b'{"a":' + b"[" * 100 + b"]" * 100 + b"}", 400),
        (b"[" * 100_000, 400),
        (b'{"model":"\\ud800","messages":[{"role":"user","content":"x"}]}', 400),
    ],
)
async def test_bad_bodies_are_refused(serving, body, status):
    """No body ends in a 5xx, and the shape of the refusal is OpenAI's there."""
    async with serving() as service, service.client() as client:
        answer = await client.post("/v1/chat/completions", content=body)
    assert answer.status_code == status
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


async def test_a_foreign_page_is_refused_and_a_listed_one_is_answered(serving):
    """CORS answers only for listed origins."""
    http = HttpSettings(origins=("https://app.example",))
    async with serving(http=http) as service, service.client() as client:
        refused = await client.get("/health", headers={"origin": "https://evil.example"})
        assert refused.status_code == 403
        assert "access-control-allow-origin" not in refused.headers
        listed = {"origin": "https://app.example"}
        allowed = await client.get("/health", headers=listed)
        assert allowed.headers["access-control-allow-origin"] == "https://app.example"
        preflight = await client.options("/v1/sessions", headers=listed)
        assert preflight.status_code == 204
        assert "POST" in preflight.headers["access-control-allow-methods"]


async def test_a_broken_endpoint_harms_only_its_own_request(serving):
    """A bug is a 500 with an id and nothing of its text; the next request is served."""

    async def broken(_call: Call):
        raise RuntimeError("sk-secretsecretsecretsecret and other text")

    async with serving() as service:
        operation = Operation(
            id="x", method="GET", path="/broken", summary="", tag="", endpoint=broken
        )
        service.app.front._paths = make_paths((operation, *all_operations()))
        async with service.client() as client:
            answer = await client.get("/broken")
            assert answer.status_code == 500
            assert "secret" not in answer.text
            assert (await client.get("/livez")).status_code == 200


async def test_one_caller_too_busy_is_429_and_all_together_503(serving):
    """The two bounds are told apart, with when to come back."""
    limits = HttpLimits(calls_per_caller=1)
    async with serving(http=HttpSettings(limits=limits)) as service, service.client() as client:
        async with client.stream(
            "POST",
            "/v1/chat/completions",
            json=chat("scripted:tokens?tokens=50&itl=50ms", stream=True),
        ) as stream:
            assert stream.status_code == 200
            refused = await client.get("/v1/models")
            assert refused.status_code == 429
            assert refused.headers["retry-after"] == "1"
            assert refused.headers["retry-after-ms"] == "1000"
            assert refused.headers["x-should-retry"] == "true"
    async with serving(http=HttpSettings(limits=HttpLimits(calls=1))) as service:
        async with service.client() as client:
            async with client.stream(
                "POST",
                "/v1/chat/completions",
                json=chat("scripted:tokens?tokens=50&itl=50ms", stream=True),
            ):
                refused = await client.get("/health")
        assert refused.status_code == 503
        told = refused.json()
        assert told["error"] == "backpressure"
        assert (told["retryAfterMs"], told["limit"], told["inFlight"]) == (1000, 1, 1)


async def test_facade_turns_are_bounded(serving):
    """One turn too many of the façade is 503 in OpenAI's shape."""
    http = HttpSettings(limits=HttpLimits(facade_turns=1))
    async with serving(http=http) as service, service.client() as client:
        slow = chat("scripted:tokens?tokens=50&itl=50ms", stream=True)
        async with client.stream("POST", "/v1/chat/completions", json=slow):
            refused = await client.post("/v1/chat/completions", json=chat("scripted:echo"))
    assert refused.status_code == 503
    assert refused.json()["error"]["code"] == "backpressure"


def chat(model, *, stream=False):
    return {"model": model, "stream": stream, "messages": [{"role": "user", "content": "Go."}]}


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (NotFound("x"), 404, "not_found"),
        (Conflict("x"), 409, "conflict"),
        (LimitExceeded("x"), 422, "limit_exceeded"),
        (NotSupported("x"), 501, "not_supported"),
        (Overloaded("x"), 503, "backpressure"),
        (TurnAborted("x"), 409, "cancelled"),
        (ProviderError("x", provider="p", category="rate_limit"), 429, "rate_limit"),
        (ProviderError("x", provider="p", category="timeout"), 504, "provider_error"),
        (ProviderError("x", provider="p", category="server"), 502, "provider_error"),
        (RuntimeError("secret"), 500, "internal"),
        (ExceptionGroup("g", [NotFound("x")]), 404, "not_found"),
    ],
)
def test_errors_have_their_status_and_code(error, status, code):
    """One table for all failures."""
    refusal = refusal_of(error)
    told = problem(refusal)
    assert (refusal.status, told["code"]) == (status, code)
    assert "secret" not in json.dumps(told)


def test_every_kind_has_a_title():
    """No kind of the table is told without one."""
    missing = KINDS.keys() - _problems._TITLES.keys() - {"not_initialized"}
    assert not missing


def test_not_supported_has_the_older_name_beside_it():
    """`not_migrated` is the older contract's word for it."""
    assert problem(refusal_of(NotSupported("x")))["details"]["alias"] == "not_migrated"


async def test_metrics_are_prometheus_text_with_bounded_labels(serving):
    """Ids and names of clients never become labels."""
    async with serving() as service, service.client() as client:
        for number in range(5):
            await client.get(f"/v1/sessions/unknown-{number}")
            await client.get(f"/nothing/{number}")
            await client.request(f"M{number}", "/health")
        answer = await client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = answer.text.splitlines()
    assert (
        'actrio_http_requests_total{route="/v1/sessions/{session}",method="GET",status="404"} 5'
        in lines
    )
    assert "unknown-" not in answer.text
    assert 'method="M1"' not in answer.text
    for line in lines:
        assert line.startswith("#") or len(line.rsplit(" ", 1)) == 2


async def test_health_names_what_is_missing(serving):
    """A provider without its key is not-configured with the variable named."""
    async with serving() as service, service.client() as client:
        told = (await client.get("/health")).json()
    found = {each["provider"]: each for each in told["providers"]}
    assert told["status"] == "ok"
    assert found["scripted"]["status"] == "available"
    assert found["openai"]["status"] == "not-configured"
    assert found["openai"]["missingEnv"] == ["OPENAI_API_KEY"]
    assert "chat" in found["scripted"]["capabilities"]


async def test_it_can_be_mounted_in_another_program(serving):
    """The application answers under any ASGI server; here called directly."""
    async with serving() as service:
        transport = httpx.ASGITransport(app=service.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            assert (await client.get("/livez")).json() == {"status": "alive"}
            answer = await client.post("/v1/chat/completions", json=chat("scripted:echo"))
            assert answer.json()["choices"][0]["message"]["content"] == "Go."
        await trio.lowlevel.checkpoint()
