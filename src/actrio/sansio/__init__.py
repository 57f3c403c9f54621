"""Bytes in, values out, bounded: SSE, lines, JSON-RPC. Pure: no I/O, no clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from actrio.sansio._jsonrpc import ID_LENGTH_MAX as ID_LENGTH_MAX
    from actrio.sansio._jsonrpc import INVALID_PARAMS as INVALID_PARAMS
    from actrio.sansio._jsonrpc import INVALID_REQUEST as INVALID_REQUEST
    from actrio.sansio._jsonrpc import NESTING_MAX as NESTING_MAX
    from actrio.sansio._jsonrpc import PARSE_ERROR as PARSE_ERROR
    from actrio.sansio._jsonrpc import Bad as Bad
    from actrio.sansio._jsonrpc import Inbound as Inbound
    from actrio.sansio._jsonrpc import Notification as Notification
    from actrio.sansio._jsonrpc import Request as Request
    from actrio.sansio._jsonrpc import RequestId as RequestId
    from actrio.sansio._jsonrpc import Response as Response
    from actrio.sansio._jsonrpc import error_object as error_object
    from actrio.sansio._jsonrpc import error_response as error_response
    from actrio.sansio._jsonrpc import notification as notification
    from actrio.sansio._jsonrpc import parse_line as parse_line
    from actrio.sansio._jsonrpc import response as response
    from actrio.sansio._ndjson import LINE_BYTES_MAX as LINE_BYTES_MAX
    from actrio.sansio._ndjson import Line as Line
    from actrio.sansio._ndjson import LineReader as LineReader
    from actrio.sansio._ndjson import LineTooLong as LineTooLong
    from actrio.sansio._sse import EVENT_BYTES_MAX as EVENT_BYTES_MAX
    from actrio.sansio._sse import SseEvent as SseEvent
    from actrio.sansio._sse import SseReader as SseReader
else:
    from actrio._doors import open_door

    __getattr__, __dir__, __all__ = open_door(
        __name__,
        {
            "_jsonrpc": "ID_LENGTH_MAX INVALID_PARAMS INVALID_REQUEST NESTING_MAX PARSE_ERROR Bad Inbound "
            "Notification Request RequestId Response error_object error_response notification "
            "parse_line response",
            "_ndjson": "LINE_BYTES_MAX Line LineReader LineTooLong",
            "_sse": "EVENT_BYTES_MAX SseEvent SseReader",
        },
    )
