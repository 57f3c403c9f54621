"""The management contract below /v1/runtime/actrio, blobs, and the RateLimit headers."""

from __future__ import annotations

import pytest

from actrio.http import HttpLimits, HttpSettings

ROOT = "/v1/runtime/actrio"


async def test_an_agent_is_registered_and_its_session_told(serving):
    """The same registration again is answered alike; another one of the name is 409."""
    body = {
        "id": "helper",
        "modelRef": "scripted:echo",
        "memoryPolicy": {"windowSize": 5},
        "sessionPolicy": {},
        "hooks": {"before": "os:system"},
        "timeouts": {"runMs": 60_000},
    }
    async with serving() as service, service.client() as client:
        for _ in range(2):
            made = await client.post(f"{ROOT}/agents", json=body)
            assert made.status_code == 201, made.text
        assert {each["feature"] for each in made.json()["degraded"]} == {"hooks", "memoryPolicy"}
        other = {**body, "modelRef": "scripted:demo"}
        assert (await client.post(f"{ROOT}/agents", json=other)).status_code == 409
        await client.post("/v1/sessions", json={"agent": "helper", "id": "one", "user": "u"})
        await client.post("/v1/sessions/one/turns?wait=true", json={"prompt": "Hi."})
        record = (await client.get(f"{ROOT}/sessions/one")).json()
        assert [each["content"] for each in record["history"]] == ["Hi.", "Hi."]
        assert (record["userId"], record["metrics"]["runs"]) == ("u", 1)
        events = f"{ROOT}/telemetry/events?sessionId=one"
        items = (await client.get(events)).json()["items"]
        assert [each["eventId"] for each in items] == [f"one:{n}" for n in range(1, len(items) + 1)]
        some = (await client.get(f"{events}&eventType=turn.completed&limit=1")).json()["items"]
        assert [each["payload"]["result"]["text"] for each in some] == ["Hi."]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/workflows/w:run"),
        ("POST", "/benchmarks"),
        ("POST", "/parity-tests:run"),
        ("GET", "/support-matrix"),
        ("GET", "/telemetry/events"),
        ("GET", "/telemetry/events?sessionId=one&runtime=python"),
    ],
)
async def test_what_means_nothing_here_is_501_with_what_to_do(serving, method, path):
    """As not_supported, which clients of that contract know as not_migrated."""
    async with serving() as service, service.client() as client:
        answer = await client.request(method, ROOT + path, json={} if method == "POST" else None)
    told = answer.json()
    assert (answer.status_code, told["code"]) == (501, "not_supported")
    assert told["details"]["alias"] == "not_migrated"
    assert len(told["remedy"]) > 20


async def test_a_blob_is_read_whole_and_in_parts(serving):
    """Small and large ones; ranges as HTTP has them; nothing beyond the end."""
    data = bytes(range(256)) * 10_000
    async with serving() as service, service.client() as client:
        large = await service.runtime.blobs.put(data, media_type="text/html")
        small = await service.runtime.blobs.put(b"abc", media_type="text/plain")
        path = f"/v1/blobs/{large.id}"
        whole = await client.get(path)
        assert whole.content == data
        assert whole.headers["content-type"] == "application/octet-stream"
        assert (await client.get(f"/v1/blobs/{small.id}")).content == b"abc"

        async def part(text):
            answer = await client.get(path, headers={"range": text})
            return answer.status_code, answer.headers.get("content-range"), answer.content

        assert await part("bytes=5-9") == (206, "bytes 5-9/*", data[5:10])
        end = len(data)
        assert await part("bytes=1000000-") == (
            206,
            f"bytes 1000000-{end - 1}/{end}",
            data[1_000_000:],
        )
        assert (await part(f"bytes={end}-"))[0] == 416
        assert (await part("bytes=9-5"))[0] == 416
        for ignored in ("bytes=-5", "bytes=0-1,4-5", "lines=1-2"):
            assert await part(ignored) == (200, None, data)
        again = await client.get(path, headers={"if-none-match": whole.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        assert (await client.head(path)).status_code == 200
        assert (await client.get("/v1/blobs/b_" + "0" * 40)).status_code == 404
        assert (await client.get("/v1/blobs/nonsense")).status_code in {400, 422}


async def test_rate_limit_headers_are_there_where_they_are_wanted(serving):
    """How many more requests this caller may have in work; not unless it is set."""
    http = HttpSettings(rate_limit_headers=True, limits=HttpLimits(calls_per_caller=7))
    async with serving(http=http) as service, service.client() as client:
        answer = await client.get("/v1/models")
        assert answer.headers["ratelimit-policy"] == '"calls";q=7;qu="concurrent-requests"'
        assert answer.headers["ratelimit"] == '"calls";r=6'
    async with serving() as service, service.client() as client:
        assert "ratelimit" not in (await client.get("/v1/models")).headers
