"""The bounds of a connection, and what it counts."""

from __future__ import annotations

from typing import Literal

import attrs

from actrio.rpc._outbox import OutboxStatistics
from actrio.sansio import LINE_BYTES_MAX

__all__ = ["ConnectionLimits", "ConnectionStatistics", "Ending"]

Ending = Literal["eof", "closed", "broken", "stalled", "protocol"]
"""Why a connection ended: the peer's last byte, `Connection.finish`, a peer that went away, one
that stopped reading, one that sent too many bad lines."""


@attrs.frozen(slots=True, kw_only=True)
class ConnectionLimits:
    """The bounds of one connection.

    Attributes:
        line_bytes_max: Longest inbound line.
        line_out_bytes_max: Longest outbound line; a longer one is shrunk or refused. The Claude
            SDK's client reads 1 MiB by default.
        in_flight_max: Requests without an answer yet. 256 waiting calls saturate any client that
            waits for answers; the next one is refused at once instead of queueing unseen.
        urgent_max: Further ones that are urgent.
        running_max: Requests answered or not whose work goes on.
        asked_max: Requests of ours without an answer yet; further ones wait.
        control_lines_max: Answers that the peer may leave unread. A peer that reads at all has a
            handful; one with more does not read, and is given up after `unread_seconds`.
        unread_seconds: How long it has then to read one of them. A file of requests piped in
            comes faster than a pipe empties, so at once would be too soon.
        channel_lines_max: Lines queued per channel before its sender waits.
        channel_bytes_max: Bytes queued per channel before its sender waits.
        high_water_lines: Lines queued per channel before messages that can be merged are.
        write_bytes_max: Queued lines are joined up to this size per write; half of a Linux pipe.
        read_bytes_max: Bytes per read; bounds the answers that one read can cause.
        protocol_errors_max: Bad lines in a row before the connection closes: that peer speaks
            another protocol.
        retry_after_ms: What a refused caller is told to wait.
        stall_notice_seconds: A write without progress is told about after this long.
        stall_seconds: Longest time for one write, before the peer counts as gone.
        flush_seconds: Time to write what is queued after a close that does not drain.
    """

    line_bytes_max: int = LINE_BYTES_MAX
    line_out_bytes_max: int = 1024 * 1024
    in_flight_max: int = 256
    urgent_max: int = 64
    running_max: int = 1024
    asked_max: int = 256
    control_lines_max: int = 512
    unread_seconds: float = 1
    channel_lines_max: int = 64
    channel_bytes_max: int = 1024 * 1024
    high_water_lines: int = 32
    write_bytes_max: int = 32 * 1024
    read_bytes_max: int = 16 * 1024
    protocol_errors_max: int = 100
    retry_after_ms: int = 250
    stall_notice_seconds: float = 30
    stall_seconds: float = 300
    flush_seconds: float = 1


@attrs.frozen(slots=True, kw_only=True)
class ConnectionStatistics:
    """What a connection holds now and has seen so far.

    Attributes:
        in_flight: Requests without an answer.
        peak_in_flight: The most of them at once.
        running: Requests whose work goes on, answered or not.
        asked: Requests of ours without an answer.
        ignored: Lines that ask for no answer and had no meaning here.
        protocol_errors: Bad lines.
        refused: Requests refused because a bound was reached.
        outbox: What waits to be written.
    """

    in_flight: int
    peak_in_flight: int
    running: int
    asked: int
    ignored: int
    protocol_errors: int
    refused: int
    outbox: OutboxStatistics
