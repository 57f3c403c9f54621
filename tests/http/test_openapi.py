"""The description, and that the service keeps to it."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import jsonschema_rs
import pytest
import trio

from actrio.http._openapi import openapi_document
from actrio.http._routes import all_operations, document


def test_every_operation_is_described_once():
    """Ids are unique, and each path and method of the table is in the document."""
    operations = all_operations()
    assert len({each.id for each in operations}) == len(operations)
    told = json.loads(document())
    assert told["openapi"] == "3.1.0"
    count = sum(len(methods) for methods in told["paths"].values())
    assert count == len(operations)
    for path, methods in told["paths"].items():
        for method in methods.values():
            assert method["summary"].endswith("."), path
            assert "500" in method["responses"]


def test_every_reference_leads_somewhere():
    """No $ref of the document is broken, and every schema is one."""
    told = json.loads(document())
    text = json.dumps(told)
    for name in {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}:
        assert name in told["components"]["schemas"]
    for schema in told["components"]["schemas"].values():
        jsonschema_rs.meta.validate(
            {**schema, "$schema": "https://json-schema.org/draft/2020-12/schema"}
        )


def test_it_is_generated_from_the_same_types():
    """A member of a body is in the document because the body has it."""
    told = openapi_document(all_operations())
    body = told["components"]["schemas"]["TurnBody"]
    assert set(body["properties"]) == {"prompt", "parts", "if_busy", "id", "deadline_ms"}
    assert "modelId" in told["components"]["schemas"]["ModelConfig"]["properties"]


@pytest.mark.slow
async def test_schemathesis_finds_no_undocumented_answer(tmp_path):
    """An independent reader of the document asks everything: no 500, and none undocumented."""
    environment = {**os.environ, "HOME": str(tmp_path)}
    process = await trio.lowlevel.open_process(
        [sys.executable, "-m", "actrio", "serve", "--http", "127.0.0.1:0"],
        stdout=subprocess.PIPE,
        cwd=tmp_path,
        env=environment,
    )
    try:
        url = (await process.stdout.receive_some(1000)).decode().strip()
        done = await trio.run_process(
            [
                *(sys.executable, "-m", "schemathesis.cli", "run", f"{url}/openapi.json"),
                *("--phases", "examples,coverage,fuzzing", "--max-examples", "8"),
                *("--checks", "status_code_conformance,content_type_conformance"),
                *("--seed", "7", "--generation-deterministic", "--no-color"),
                *("--request-timeout", "5", "--exclude-operation-id", "getEvents"),
                *("--suppress-health-check", "all"),
            ],
            capture_stdout=True,
            capture_stderr=True,
            cwd=tmp_path,
            env=environment,
            check=False,
        )
        async with await trio.open_tcp_stream("127.0.0.1", int(url.rpartition(":")[2])) as stream:
            await stream.send_all(
                b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
            )
            metrics = b"".join([piece async for piece in stream])
    finally:
        process.kill()
        await process.wait()
        await process.stdout.aclose()
    assert b'status="200"' in metrics
    assert b'status="500"' not in metrics
    assert done.returncode == 0, done.stdout.decode()[-6000:] + done.stderr.decode()[-2000:]
