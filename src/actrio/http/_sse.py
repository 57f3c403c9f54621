"""Server-sent events as bytes: whole events in, frames out.

One ``data:`` line each, because the JSON of an event never holds a line end.
"""

from __future__ import annotations

import random
from typing import Final, cast

from actrio.errors import InvalidRequest
from actrio.http._values import event_as_told
from actrio.messages import Event, Gap, TurnEvent
from actrio.wire import event_to_json

__all__ = [
    "KEEP_ALIVE",
    "STREAM_HEADERS",
    "data_frame",
    "event_frame",
    "named_frame",
    "retry_frame",
    "starting_point",
]

KEEP_ALIVE: Final = b": ka\n\n"

STREAM_HEADERS: Final = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
)


def retry_frame(retry_ms: int, jitter: random.Random) -> bytes:
    """Return the first frame of a stream: when to come back, spread so that not all come at once."""
    return b"retry: %d\n\n" % round(retry_ms * jitter.uniform(0.5, 1.5))


def event_frame(event: Event) -> bytes:
    """Return an event as a frame; only a recorded event has an id, because it is the bookmark."""
    data = event_to_json(cast("TurnEvent", event_as_told(event)))
    kind = event.type.encode()
    if event.recorded and not isinstance(event, Gap):
        return b"id: %d\nevent: %s\ndata: %s\n" % (event.seq, kind, data)
    return b"event: %s\ndata: %s\n" % (kind, data)


def named_frame(name: str, line: bytes) -> bytes:
    """Return one JSON line as a frame of the type ``name``, without an id."""
    return b"event: %s\ndata: %s\n" % (name.encode(), line)


def data_frame(line: bytes) -> bytes:
    """Return one JSON line as a frame without a type, as OpenAI's streams have them."""
    return b"data: %s\n" % line


def starting_point(last_event_id: str | None, query: str | None) -> int | None:
    """Return after which event a stream begins; ``None`` is from now on.

    ``Last-Event-ID`` beats ``?from=``: a browser repeats the address it was first given.

    Raises:
        InvalidRequest: It is no number.
    """
    given = last_event_id or query
    if not given:
        return None
    if not given.isascii() or not given.isdigit() or len(given) > 18:
        raise InvalidRequest(
            f"{given[:40]!r} is no event number.", remedy="Send the id of the last event received."
        )
    return int(given)
