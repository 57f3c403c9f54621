"""All operations of the service, in the order of the documentation."""

from __future__ import annotations

import functools
from typing import Any

from actrio.http._approvals import APPROVALS
from actrio.http._blobs import BLOBS
from actrio.http._call import Answer, Call
from actrio.http._events import EVENTS
from actrio.http._health import HEALTH
from actrio.http._management import MANAGEMENT
from actrio.http._native_agents import NATIVE_AGENTS
from actrio.http._native_sessions import NATIVE_SESSIONS
from actrio.http._native_turns import NATIVE_TURNS
from actrio.http._openai import OPENAI
from actrio.http._openapi import openapi_document
from actrio.http._operations import Operation, Reply
from actrio.http._responses import RESPONSES
from actrio.http._seed import SEED
from actrio.http._seed_messages import SEED_MESSAGES
from actrio.wire import json_line

__all__ = ["all_operations", "document"]


async def _openapi(_call: Call) -> Answer:
    return Answer(200, document())


_OPENAPI = Operation(
    id="getOpenApi",
    method="GET",
    path="/openapi.json",
    summary="This description.",
    tag="health",
    endpoint=_openapi,
    replies={200: Reply("OpenAPI 3.1.", dict[str, Any])},
)


def all_operations() -> tuple[Operation, ...]:
    """Return every operation."""
    return (
        *HEALTH,
        *SEED,
        *SEED_MESSAGES,
        _OPENAPI,
        *NATIVE_AGENTS,
        *NATIVE_SESSIONS,
        *NATIVE_TURNS,
        *EVENTS,
        *APPROVALS,
        *BLOBS,
        *MANAGEMENT,
        *OPENAI,
        *RESPONSES,
    )


@functools.cache
def document() -> bytes:
    """Return the OpenAPI document as JSON."""
    return json_line(openapi_document(all_operations()))
