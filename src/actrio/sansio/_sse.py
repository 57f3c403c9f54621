"""Server-sent events: bytes in, whole events out, bounded.

A stream is cut into events at C speed: line ends are made uniform with ``bytes.replace`` (only
where a CR is present at all), events are separated with one ``bytes.split`` on the blank line,
and the common event (one ``data:`` line) is recognised without splitting it into lines. Text is
decoded per event, never per read, so a cut inside a UTF-8 sequence needs no care. Bytes that do
not complete an event are kept as a list and joined once, so a long event that trickles in costs
time linear in its length.

Only LF, CR and CRLF end a line. ``str.splitlines`` is never used: it would also cut at U+2028,
which JSON may hold unescaped.
"""

from __future__ import annotations

from typing import Final

import attrs

from actrio.errors import LimitExceeded

__all__ = ["EVENT_BYTES_MAX", "SseEvent", "SseReader"]

EVENT_BYTES_MAX: Final = 4 * 1024 * 1024
"""Largest event. A whole tool call with a file in its arguments fits; a runaway peer does not."""

_BOM: Final = b"\xef\xbb\xbf"


@attrs.frozen(slots=True)
class SseEvent:
    """One event: its type (``message`` where the stream names none), data and last event id."""

    event: str
    data: str
    id: str = ""


class SseReader:
    """Turns the bytes of one stream into events, however the bytes are cut.

    Args:
        event_bytes_max: Largest number of bytes of one event, its comments included.
    """

    __slots__ = (
        "_after_cr",
        "_at_start",
        "_ends_with_newline",
        "_event_bytes_max",
        "_last_id",
        "_rest",
        "_rest_bytes",
    )

    def __init__(self, event_bytes_max: int = EVENT_BYTES_MAX) -> None:
        self._event_bytes_max = event_bytes_max
        self._at_start = True  # a byte order mark may still come
        self._after_cr = False  # the last byte was a CR: an LF that follows belongs to it
        self._rest: list[bytes] = []  # no blank line in it, not even across its pieces
        self._rest_bytes = 0
        self._ends_with_newline = False
        self._last_id = ""

    def feed(self, data: bytes) -> list[SseEvent]:
        """Return the events that ``data`` completes.

        Raises:
            LimitExceeded: An event is longer than the bound; the reader is of no more use, and
                events completed by the same bytes are lost.
        """
        if self._at_start:
            data = self._skip_bom(data)
        if self._after_cr or b"\r" in data:
            data = self._uniform_line_ends(data)
        if not data:
            return []
        joins_blank_line = self._ends_with_newline and data[0] == 10
        if not joins_blank_line and b"\n\n" not in data:
            self._keep(data)
            return []
        if self._rest:
            self._rest.append(data)
            data = b"".join(self._rest)
            self._rest = []
            self._rest_bytes = 0
        *blocks, rest = data.split(b"\n\n")
        self._ends_with_newline = False
        if rest:
            self._keep(rest)
        return self._events(blocks)

    def close(self) -> bool:
        """Return whether an unfinished event was left over; it is dropped, as the format says."""
        return any(piece.strip(b"\n") for piece in self._rest)

    def _skip_bom(self, data: bytes) -> bytes:
        data = b"".join((*self._rest, data))
        self._rest = []
        self._rest_bytes = 0
        if len(data) < len(_BOM) and _BOM.startswith(data):
            if data:
                self._rest = [data]
                self._rest_bytes = len(data)
            return b""
        self._at_start = False
        return data.removeprefix(_BOM)

    def _uniform_line_ends(self, data: bytes) -> bytes:
        if self._after_cr and data:
            data = data.removeprefix(b"\n")
            self._after_cr = False
        if data.endswith(b"\r"):
            self._after_cr = True
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _keep(self, data: bytes) -> None:
        self._rest.append(data)
        self._rest_bytes += len(data)
        self._ends_with_newline = data.endswith(b"\n")
        if self._rest_bytes > self._event_bytes_max:
            raise self._too_long()

    def _too_long(self) -> LimitExceeded:
        return LimitExceeded(
            f"A server-sent event is longer than {self._event_bytes_max} bytes.",
            remedy="Ask the other side for smaller events, or raise event_bytes_max.",
        )

    def _events(self, blocks: list[bytes]) -> list[SseEvent]:
        events = []
        limit = self._event_bytes_max
        for block in blocks:
            if len(block) > limit:
                raise self._too_long()
            if block.startswith(b"data: ") and b"\n" not in block:
                events.append(
                    SseEvent("message", str(block[6:], "utf-8", "replace"), self._last_id)
                )
            elif event := self._event(block):
                events.append(event)
        return events

    def _event(self, block: bytes) -> SseEvent | None:
        name = ""
        data: list[str] = []
        for line in str(block, "utf-8", "replace").split("\n"):
            field, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if field == "data":
                data.append(value)
            elif field == "event":
                name = value
            elif field == "id" and "\0" not in value:
                self._last_id = value
        if not data:
            return None
        return SseEvent(name or "message", "\n".join(data), self._last_id)
