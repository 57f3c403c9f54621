"""JSON-RPC 2.0, one message per line: bytes in, values out, and the objects that go back.

What is accepted is a little wider than the standard, and what is refused is said exactly:

====================================================  =======  ==================
line                                                  code     id in the answer
====================================================  =======  ==================
not UTF-8, not JSON, NaN or Infinity                  -32700   null
nested deeper than `NESTING_MAX`                      -32700   null
an integer beyond 64 bits, a float beyond a double    -32700   null
an array (a batch)                                    -32600   null
a string, a number, ``true``, ``null``                -32600   null
``id`` null, float, boolean, object, array, too long  -32600   null
``jsonrpc`` present and not ``"2.0"``                 -32600   that of the line
``method`` not a string, ``params`` not structured    -32600   that of the line
neither ``method`` nor ``result`` nor ``error``       -32600   that of the line
====================================================  =======  ==================

A missing ``jsonrpc`` member is tolerated (codex clients leave it out), ``params: null`` counts as
absent. An ``id`` goes back with its type: ``1`` and ``"1"`` are two requests.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, TypeGuard

import attrs
import msgspec

__all__ = [
    "ID_LENGTH_MAX",
    "INVALID_PARAMS",
    "INVALID_REQUEST",
    "NESTING_MAX",
    "PARSE_ERROR",
    "Bad",
    "Inbound",
    "Notification",
    "Request",
    "RequestId",
    "Response",
    "error_object",
    "error_response",
    "notification",
    "parse_line",
    "response",
]

PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
INVALID_PARAMS: Final = -32602

NESTING_MAX: Final = 128
"""Deepest nesting of a line. JSON Schemas of real tools stay under 20; every walk over a message
may recurse, and the interpreter's own limit would depend on where the reader was called."""

ID_LENGTH_MAX: Final = 256
"""Longest string id. Ids are kept while a request runs and are echoed; a UUID has 36."""

RequestId = str | int


@attrs.frozen(slots=True)
class Request:
    """The peer wants an answer with this ``id``."""

    id: RequestId
    method: str
    params: Mapping[str, Any] | list[Any]


@attrs.frozen(slots=True)
class Notification:
    """The peer wants no answer."""

    method: str
    params: Mapping[str, Any] | list[Any]


@attrs.frozen(slots=True)
class Response:
    """The peer's answer to a request of ours; exactly one of ``result`` and ``error`` counts."""

    id: RequestId
    result: Any = None
    error: Mapping[str, Any] | None = None


@attrs.frozen(slots=True)
class Bad:
    """A line that is none of these; ``code``, ``message`` and ``id`` belong in the answer."""

    code: int
    message: str
    id: RequestId | None = None


Inbound = Request | Notification | Response | Bad

_decoder: Final = msgspec.json.Decoder()
_LONG_NUMBER: Final = re.compile(rb"[0-9]{19}")
_INT_MIN, _INT_MAX = -(2**63), 2**64 - 1  # what a JSON writer can send back as it came


def parse_line(line: bytes) -> Inbound:
    """Return what one line says; never raises, whatever the bytes are."""
    try:
        value = _decoder.decode(line)
    except UnicodeDecodeError:
        return Bad(PARSE_ERROR, "The line is not UTF-8.")
    except RecursionError:
        return Bad(PARSE_ERROR, _TOO_DEEP)
    except msgspec.DecodeError as error:
        return Bad(PARSE_ERROR, f"The line is not JSON: {error}.")
    excess = _excess(line, value)
    if excess is not None:
        return Bad(PARSE_ERROR, excess)
    if isinstance(value, dict):
        return _message(value)
    if isinstance(value, list):
        return Bad(INVALID_REQUEST, "Batches are not supported; send one object per line.")
    return Bad(INVALID_REQUEST, "A message must be a JSON object.")


_TOO_DEEP: Final = f"The line is nested deeper than {NESTING_MAX} levels."


def _excess(line: bytes, value: Any) -> str | None:
    """Return what is out of bounds in a well-formed line.

    The walk costs more than the decoding, and almost no line needs it: as many brackets as the
    limit, or 19 digits in a row, are needed to break a bound.
    """
    brackets = line.count(b"[") + line.count(b"{")
    if brackets <= NESTING_MAX and _LONG_NUMBER.search(line) is None:
        return None
    level, depth = [value], 0
    while level:
        below: list[Any] = []
        for item in level:
            if isinstance(item, (dict, list)):
                if depth == NESTING_MAX:
                    return _TOO_DEEP
                below.extend(item.values() if isinstance(item, dict) else item)
            elif isinstance(item, int) and not _INT_MIN <= item <= _INT_MAX:
                return "The line holds an integer beyond 64 bits."
        level, depth = below, depth + 1
    return None


def _message(value: dict[str, Any]) -> Inbound:
    id: RequestId | None = None
    if "id" in value:
        raw = value["id"]
        if not _is_id(raw):
            return Bad(
                INVALID_REQUEST,
                f"id must be an integer or a string of at most {ID_LENGTH_MAX} characters.",
            )
        id = raw
    if value.get("jsonrpc", "2.0") != "2.0":
        return Bad(INVALID_REQUEST, 'jsonrpc must be "2.0".', id)
    if "method" in value:
        return _call(value, id)
    if "result" in value or "error" in value:
        return _answer(value, id)
    return Bad(INVALID_REQUEST, "The message has no method.", id)


def _is_id(value: Any) -> TypeGuard[RequestId]:
    if isinstance(value, str):
        return len(value) <= ID_LENGTH_MAX
    return isinstance(value, int) and not isinstance(value, bool)


def _call(value: dict[str, Any], id: RequestId | None) -> Inbound:
    method, params = value["method"], value.get("params")
    if not isinstance(method, str):
        return Bad(INVALID_REQUEST, "method must be a string.", id)
    if params is None:
        params = {}
    if not isinstance(params, (dict, list)):
        return Bad(INVALID_REQUEST, "params must be an object or an array.", id)
    return Notification(method, params) if id is None else Request(id, method, params)


def _answer(value: dict[str, Any], id: RequestId | None) -> Inbound:
    # Never answered with its own id: the two directions share no namespace, and the peer may be
    # waiting for something else under that id.
    error = value.get("error")
    if id is None:
        return Bad(INVALID_REQUEST, "A response needs the id of its request.")
    if error is not None and not isinstance(error, dict):
        return Bad(INVALID_REQUEST, "The error of a response must be an object.")
    return Response(id, value.get("result"), error)


def notification(method: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """Return a notification of ours."""
    return {"jsonrpc": "2.0", "method": method, "params": params}


def response(id: RequestId, result: Any) -> dict[str, Any]:
    """Return the answer to the peer's request ``id``."""
    return {"jsonrpc": "2.0", "id": id, "result": result}


def error_object(code: int, message: str, data: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the ``error`` member of an answer."""
    fields: dict[str, Any] = {"code": code, "message": message}
    if data:
        fields["data"] = data
    return fields


def error_response(id: RequestId | None, error: Mapping[str, Any]) -> dict[str, Any]:
    """Return the answer that request ``id`` failed; ``None`` where no id could be read."""
    return {"jsonrpc": "2.0", "id": id, "error": error}
