"""What a scripted server has seen: counted while it runs, told as a frozen value."""

from __future__ import annotations

import attrs

__all__ = ["ServerCounts", "ServerStatistics"]


@attrs.frozen(slots=True)
class ServerStatistics:
    """What a scripted server has seen so far.

    Attributes:
        connections_open: Connections open now.
        connections_peak: Most connections open at once.
        connections: Connections ever made.
        requests: Requests read whole.
        streams_open: Answers on their way now, streamed or not.
        streams_peak: Most answers on their way at once.
        deltas: Deltas written.
        disconnects: Answers that ended because the peer left.
        errors: Connections that ended by a mistake of the server.
    """

    connections_open: int = 0
    connections_peak: int = 0
    connections: int = 0
    requests: int = 0
    streams_open: int = 0
    streams_peak: int = 0
    deltas: int = 0
    disconnects: int = 0
    errors: int = 0


@attrs.define(slots=True)
class ServerCounts:
    """The counters behind `ServerStatistics`; written by one server's connections only."""

    connections_open: int = 0
    connections_peak: int = 0
    connections: int = 0
    requests: int = 0
    streams_open: int = 0
    streams_peak: int = 0
    deltas: int = 0
    disconnects: int = 0
    errors: int = 0

    def open_connection(self) -> None:
        self.connections += 1
        self.connections_open += 1
        self.connections_peak = max(self.connections_peak, self.connections_open)

    def close_connection(self) -> None:
        self.connections_open -= 1

    def begin_request(self) -> str:
        """Count a request and return its id."""
        self.requests += 1
        return f"req_{self.requests}"

    def begin_stream(self) -> None:
        self.streams_open += 1
        self.streams_peak = max(self.streams_peak, self.streams_open)

    def end_stream(self, *, disconnected: bool) -> None:
        self.streams_open -= 1
        self.disconnects += disconnected

    def statistics(self) -> ServerStatistics:
        return ServerStatistics(**attrs.asdict(self))
