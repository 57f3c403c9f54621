"""OpenAPI 3.1, generated from the route table and from the types that read and write."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from actrio.http._operations import Operation, Reply
from actrio.http._version import VERSION

__all__ = ["openapi_document"]

_PROBLEM: Final[dict[str, Any]] = {
    "type": "object",
    "description": "problem+json, with the older contract's code, message and details.",
    "required": ["type", "title", "status", "detail", "code", "message", "details", "kind"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string", "examples": ["backpressure", "not_found", "timeout"]},
        "message": {"type": "string"},
        "details": {"type": "object"},
        "kind": {"type": "string"},
        "retryable": {"type": "boolean"},
        "remedy": {"type": "string"},
        "requestId": {"type": "string"},
        "error": {"type": "string", "const": "backpressure"},
        "retryAfterMs": {"type": "integer"},
        "limit": {"type": "integer"},
        "inFlight": {"type": "integer"},
    },
}
_OPENAI_ERROR: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
            },
        }
    },
}

_ALWAYS: Final[Mapping[int, str]] = {
    401: "A bearer token is needed.",
    403: "This host name or origin may not call.",
    429: "This caller does too much at once; Retry-After and retry-after-ms say when again.",
    500: "A bug; the service's log has it under the request's id.",
    503: "Too busy, stopping, or something is not configured; Retry-After where waiting helps.",
}
_WITH_BODY: Final[Mapping[int, str]] = {
    400: "The body is not JSON, or not of this shape.",
    408: "The body did not come in time.",
    413: "The body is too large.",
    422: "A value is understood and cannot be served.",
}
_FAILURES: Final[Mapping[int, str]] = {
    400: "A value is wrong.",
    404: "There is no such thing.",
    409: "The state does not allow it now.",
    416: "The range begins behind the end.",
    422: "A value is understood and cannot be served.",
    501: "This cannot be done here; the remedy says what to do instead.",
    502: "The model provider failed.",
    504: "It took too long.",
    507: "The store failed.",
}
_PARAMETER: Final = re.compile(r"\{(\w+)(?::\w+)?\}")
_WITHOUT_TOKEN: Final = ("/livez", "/readyz")


def openapi_document(operations: Iterable[Operation]) -> dict[str, Any]:
    """Return the description of ``operations``."""
    found = tuple(operations)
    schemas, components = _schemas(found)
    paths: dict[str, dict[str, Any]] = {}
    for operation in found:
        path = _PARAMETER.sub(r"{\1}", operation.path)
        told = _operation(operation, schemas)
        paths.setdefault(path, {})[operation.method.lower()] = told
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "actrio",
            "version": VERSION,
            "description": "Supervised agents: native routes, the older contract, OpenAI's API.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": {**components, "Problem": _PROBLEM, "OpenAiError": _OPENAI_ERROR},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}, {}],
    }


def _schemas(operations: tuple[Operation, ...]) -> tuple[dict[Any, Any], dict[str, Any]]:
    """Return the schema of each type that is named, and the components that they refer to."""
    types: list[Any] = []
    for operation in operations:
        named = [operation.body, *(reply.type for reply in operation.replies.values())]
        types += [each for each in named if each is not None and each not in types]
    made, components = msgspec.json.schema_components(
        types, schema_hook=_unknown_type, ref_template="#/components/schemas/{name}"
    )
    return dict(zip(map(_key, types), made, strict=True)), components


def _unknown_type(_type: Any) -> dict[str, Any]:
    return {}


def _key(type_: Any) -> str:
    return repr(type_)


def _operation(operation: Operation, schemas: Mapping[Any, Any]) -> dict[str, Any]:
    told: dict[str, Any] = {
        "operationId": operation.id,
        "summary": operation.summary,
        "tags": [operation.tag],
        "responses": _responses(operation, schemas),
    }
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in _PARAMETER.findall(operation.path)
    ]
    parameters += [
        {
            "name": each.name,
            "in": each.place,
            "required": False,
            "description": each.description,
            "schema": dict(each.schema),
        }
        for each in operation.parameters
    ]
    if parameters:
        told["parameters"] = parameters
    if operation.body is not None:
        told["requestBody"] = {
            "required": operation.body_required,
            "content": {"application/json": {"schema": schemas[_key(operation.body)]}},
        }
    if operation.path in _WITHOUT_TOKEN:
        told["security"] = []
    return told


def _responses(operation: Operation, schemas: Mapping[Any, Any]) -> dict[str, Any]:
    failures = dict(_ALWAYS)
    if operation.body is not None:
        failures |= _WITH_BODY
    if operation.parameters:
        status = 400 if operation.strict else 422
        failures[status] = "A parameter is wrong."
    failures |= {status: _FAILURES[status] for status in operation.fails}
    if operation.strict:
        failures.pop(422, None)
    told = {
        str(status): _failure(text, operation)
        for status, text in sorted(failures.items())
        if status not in operation.replies
    }
    for status, reply in operation.replies.items():
        told[str(status)] = _reply(reply, schemas)
    return dict(sorted(told.items()))


def _failure(text: str, operation: Operation) -> dict[str, Any]:
    problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    openai = {"application/json": {"schema": {"$ref": "#/components/schemas/OpenAiError"}}}
    return {"description": text, "content": openai if operation.shape == "openai" else problem}


def _reply(reply: Reply, schemas: Mapping[Any, Any]) -> dict[str, Any]:
    told: dict[str, Any] = {"description": reply.description}
    if reply.type is not None:
        schema = schemas[_key(reply.type)]
        told["content"] = {
            media: {"schema": schema if media == "application/json" else {"type": "string"}}
            for media in reply.media
        }
    return told
