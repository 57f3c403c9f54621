"""Lines out of a byte stream, in bounded memory.

A line ends with LF; a CR before it is dropped, blank lines are ignored, and one byte order mark
at the very start of the stream is forgiven, because Windows tools write it. What comes out does
not depend on how the bytes were cut into chunks.

A line longer than the limit is told once, at the byte that makes it too long, and the rest of it
is skipped without being kept: a peer that sends garbage for an hour costs one line of memory.
"""

from __future__ import annotations

from typing import Final

import attrs

__all__ = ["LINE_BYTES_MAX", "Line", "LineReader", "LineTooLong"]

LINE_BYTES_MAX: Final = 4 * 1024 * 1024
"""Longest inbound line. 4 MiB holds the longest prompt that a session takes (a million tokens);
MCP and ACP peers allow 10 to 32 MiB, the Claude SDK's client 1 MiB."""

_BOM: Final = b"\xef\xbb\xbf"


@attrs.frozen(slots=True)
class Line:
    """One line without its end. ``terminated`` is false only for the last one of a stream."""

    data: bytes
    terminated: bool = True


@attrs.frozen(slots=True)
class LineTooLong:
    """A line went over the limit; nothing of it was kept."""

    bytes_max: int


class LineReader:
    """Cuts a byte stream into lines.

    Args:
        line_bytes_max: Longest line, without its end and without the leading byte order mark.
    """

    __slots__ = ("_at_start", "_pending", "_skipping", "line_bytes_max")

    def __init__(self, line_bytes_max: int = LINE_BYTES_MAX) -> None:
        self.line_bytes_max = line_bytes_max
        # Never more than line_bytes_max + 4 bytes between two feeds (the mark and a CR).
        self._pending = bytearray()
        self._skipping = False
        self._at_start = True

    def feed(self, data: bytes | bytearray | memoryview) -> list[Line | LineTooLong]:
        """Take the next bytes and return the lines that they complete, in order."""
        lines: list[Line | LineTooLong] = []
        *ends, rest = bytes(data).split(b"\n")
        for piece in ends:
            self._end_line(piece, lines)
        self._keep(rest, lines)
        return lines

    def close(self) -> list[Line | LineTooLong]:
        """Return the last line if the stream ended without an LF; the reader is empty afterwards.

        It is marked ``terminated=False``: it may be whole (a file without a final newline) or the
        torn end of a peer that died, and only its content can tell.
        """
        lines: list[Line | LineTooLong] = []
        self._end_line(b"", lines)
        return [
            Line(line.data, terminated=False) if isinstance(line, Line) else line for line in lines
        ]

    def _end_line(self, piece: bytes, lines: list[Line | LineTooLong]) -> None:
        skipping, content = self._skipping, bytes(self._pending) + piece
        if self._at_start:
            content = content.removeprefix(_BOM)
        self._pending.clear()
        self._skipping = self._at_start = False
        if skipping:
            return
        content = content.removesuffix(b"\r")
        if len(content) > self.line_bytes_max:
            lines.append(LineTooLong(self.line_bytes_max))
        elif content and not content.isspace():
            lines.append(Line(content))

    def _keep(self, piece: bytes, lines: list[Line | LineTooLong]) -> None:
        if self._skipping or not piece:
            return
        self._pending += piece
        if self._too_long_already():
            self._pending.clear()
            self._skipping, self._at_start = True, False
            lines.append(LineTooLong(self.line_bytes_max))

    def _too_long_already(self) -> bool:
        """Whether no continuation could make the pending line short enough."""
        pending = self._pending
        length = len(pending)
        if self._at_start:
            if _BOM.startswith(pending):
                return False
            if pending.startswith(_BOM):
                length -= len(_BOM)
        # One byte over the limit is still fine where it is the CR of a CRLF.
        return length > self.line_bytes_max + (pending[-1] == 0x0D)
