"""What a front end gives a connection: its methods, and who may call what now."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Literal

import attrs
import trio

from actrio.rpc._faults import fault
from actrio.rpc._outbox import OutboxStatistics
from actrio.sansio import LINE_BYTES_MAX, RequestId

__all__ = ["Call", "ConnectionLimits", "ConnectionStatistics", "Ending", "Methods"]

Ending = Literal["eof", "closed", "broken", "stalled", "protocol"]
"""Why a connection ended: the peer's last byte, `Connection.finish`, a peer that went away, one
that stopped reading, one that sent too many bad lines."""


@attrs.frozen(slots=True, kw_only=True)
class ConnectionLimits:
    """The bounds of one connection.

    Attributes:
        line_bytes_max: Longest inbound line.
        in_flight_max: Requests without an answer yet. 256 waiting calls saturate any client that
            waits for answers; the next one is refused at once instead of queueing unseen.
        running_max: Requests answered or not whose work goes on (turns that stream their events).
        control_lines_max: Answers queued before the reader stops reading; only a peer that never
            reads gets there.
        channel_lines_max: Lines queued per channel before its sender waits.
        channel_bytes_max: Bytes queued per channel before its sender waits.
        write_bytes_max: Queued lines are joined up to this size per write; half of a Linux pipe.
        read_bytes_max: Bytes per read; bounds the answers that one read can cause.
        protocol_errors_max: Bad lines in a row before the connection closes: that peer speaks
            another protocol.
        retry_after_ms: What a refused caller is told to wait.
        stall_seconds: Longest time for one write, before the peer counts as gone.
        flush_seconds: Time to write what is queued after a close that does not drain.
    """

    line_bytes_max: int = LINE_BYTES_MAX
    in_flight_max: int = 256
    running_max: int = 1024
    control_lines_max: int = 1024
    channel_lines_max: int = 64
    channel_bytes_max: int = 1024 * 1024
    write_bytes_max: int = 32 * 1024
    read_bytes_max: int = 16 * 1024
    protocol_errors_max: int = 100
    retry_after_ms: int = 250
    stall_seconds: float = 300
    flush_seconds: float = 1


@attrs.frozen(slots=True, kw_only=True)
class ConnectionStatistics:
    """What a connection holds now and has seen so far.

    Attributes:
        in_flight: Requests without an answer.
        peak_in_flight: The most of them at once.
        running: Requests whose work goes on, answered or not.
        ignored: Lines that ask for no answer and had no meaning here.
        protocol_errors: Bad lines.
        refused: Requests refused because a bound was reached.
        outbox: What waits to be written.
    """

    in_flight: int
    peak_in_flight: int
    running: int
    ignored: int
    protocol_errors: int
    refused: int
    outbox: OutboxStatistics


class Call:
    """One request while it runs.

    Attributes:
        id: The request's id.
        method: Its method.
        params: Its parameters by name.
        channel: Where the answer waits its turn. ``None`` lets it overtake every notification; a
            channel's name puts it behind all that was queued there before it.
        scope: Cancelled when the peer takes the request back.
        on_cancel: Called in that case instead, where a method ends in an orderly way by itself.
        cancel_asked: Whether the peer took the request back; the answer then says so.
        answered: Whether the answer is queued.
    """

    __slots__ = (
        "_respond",
        "answered",
        "cancel_asked",
        "channel",
        "id",
        "method",
        "on_cancel",
        "params",
        "scope",
    )

    def __init__(
        self,
        id: RequestId,
        method: str,
        params: Mapping[str, Any],
        *,
        respond: Callable[[Call, Any], None],
    ) -> None:
        self.id = id
        self.method = method
        self.params = params
        self.channel: str | None = None
        self.scope = trio.CancelScope()
        self.on_cancel: Callable[[], object] | None = None
        self.cancel_asked = False
        self.answered = False
        self._respond = respond

    def respond(self, result: Any) -> None:
        """Answer now, past everything queued, and go on; what the method returns is not sent.

        Raises:
            InvalidRequest: ``result`` has no JSON form.
        """
        self._respond(self, result)

    def cancel(self) -> None:
        """Take the request back."""
        self.cancel_asked = True
        if self.on_cancel is None:
            self.scope.cancel(reason="the peer cancelled the request")
        else:
            self.on_cancel()


def _everything(_method: str) -> dict[str, Any] | None:
    return None


def _unknown(method: str) -> dict[str, Any]:
    return fault("method_not_found", f"There is no method {method[:100]!r}.")


@attrs.frozen(slots=True, kw_only=True)
class Methods:
    """What a connection dispatches to.

    Attributes:
        calls: Each is called by the reader, in the order of the lines, and what it returns is
            awaited in a task of the connection; that gives the answer. Tasks start in no order,
            so a plain function that returns a coroutine is the place to stand in line.
        controls: Each is called by the reader itself, so it overtakes everything queued; plain
            functions, because they must not wait. They also work as notifications.
        admit: Says whether a method may be called now; an error object refuses it.
        unknown: The error object for a method that is in neither table.
        ended: Called at the end of input instead of `Connection.finish`.
    """

    calls: Mapping[str, Callable[[Call], Awaitable[Any]]] = attrs.field(factory=dict)
    controls: Mapping[str, Callable[[Mapping[str, Any]], Any]] = attrs.field(factory=dict)
    admit: Callable[[str], dict[str, Any] | None] = _everything
    unknown: Callable[[str], dict[str, Any]] = _unknown
    ended: Callable[[], None] | None = None
