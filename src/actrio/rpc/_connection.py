"""One JSON-RPC connection over lines: a reader, a writer, and one task per request.

::

    bytes ──► LineReader ──► parse_line ──► reader ──┬─► control: called here, answered here
                                                     └─► call: a task of the connection
    bytes ◄── LineWriter ◄── Outbox ◄── answers (control queue), notifications (queue per channel)

**The reader never waits for the peer to read.** That is what makes a cancel heard while the peer's
pipe is full: answers go to the control queue without waiting, notifications wait in the tasks that
send them, each on its own channel's bound. So a client that never reads costs 64 lines per session
and stops the turns behind them, and nothing else. One that goes on asking without reading the
answers is given up at 512 of them.

**Both sides ask.** Requests of ours have ids ``srv-N``; answers to them are matched by the reader.
At the end of input nobody can answer any more, and who waits is told so at once.

**Who may end it.** The end of input, `finish`, a broken or stalled peer, too many bad lines.
A method's exception may not: it becomes an error answer, and if it was unforeseen, a log entry.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import trio

from actrio.rpc._calls import RunningCalls
from actrio.rpc._faults import fault, logged_fault
from actrio.rpc._limits import ConnectionLimits, ConnectionStatistics, Ending
from actrio.rpc._methods import Methods
from actrio.rpc._outbox import Mergeable
from actrio.rpc._outward import Outward
from actrio.rpc._writer import LineWriter
from actrio.sansio import (
    INVALID_REQUEST,
    PARSE_ERROR,
    Bad,
    Line,
    LineReader,
    LineTooLong,
    Notification,
    Request,
    RequestId,
    notification,
    parse_line,
    response,
)

__all__ = ["Connection"]

Control = Callable[[Mapping[str, Any]], Any]


class Connection:
    """A JSON-RPC peer at the other end of a pair of byte streams.

    Args:
        receive: Where its lines come from. The connection does not close it.
        send: Where ours go. Nobody else may write to it. The connection does not close it.
        limits: The bounds of this connection.

    *Failure*: nothing in here raises for what the peer does; `run` returns why it ended.
    """

    def __init__(
        self,
        receive: trio.abc.ReceiveStream,
        send: trio.abc.SendStream,
        *,
        limits: ConnectionLimits | None = None,
    ) -> None:
        self.limits = limits or ConnectionLimits()
        self._receive = receive
        self._writer = LineWriter(send, self.limits)
        self._outward = Outward(self._writer, self.limits)
        self._methods = Methods()
        self._ignored = self._protocol_errors = self._errors_in_a_row = 0
        self._ending: Ending | None = None
        self._refusing = False
        # Set when nothing but running calls keeps the connection.
        self._finished = trio.Event()
        self._reading, self._calling, self._flushing = (trio.CancelScope() for _ in range(3))
        self._calls = RunningCalls(self._outward, self.limits, self._idle)

    # The life of a connection

    async def run(self, methods: Methods) -> Ending:
        """Serve the peer until the connection ends, and return why it did.

        *Cancellation*: cancels all running requests; what is queued is not written any more.
        """
        self._methods = methods
        self._outward.methods = methods
        self._writer.on_stall = methods.stalled or self._writer.on_stall
        async with trio.open_nursery() as lines:
            lines.start_soon(self._write)
            lines.start_soon(self._writer.watch)
            with self._calling:
                async with trio.open_nursery() as self._calls.tasks:
                    with self._reading:
                        await self._read()
                    self._outward.asked.end()
                    await self._finished.wait()
            self._writer.no_more()
            with self._flushing:
                await self._writer.wait_ended()
            lines.cancel_scope.cancel()
        return self._ending or "closed"

    def refuse_new(self) -> None:
        """Take no new requests; controls are still heard, and nothing ends by this."""
        self._refusing = True

    def finish(self, *, grace_seconds: float | None = None) -> None:
        """Take no new requests and end when the running ones have.

        Controls are still heard until then. A second call may shorten the grace.

        Args:
            grace_seconds: After this long running requests are cancelled, and what is queued by
                then is not written any more; ``None`` waits for all of it.
        """
        self._ending = self._ending or "closed"
        self._refusing = True
        if grace_seconds is not None:
            deadline = trio.current_time() + grace_seconds
            self._calling.deadline = min(self._calling.deadline, deadline)
            self._flushing.deadline = min(self._flushing.deadline, deadline)
        self._finished.set()
        if not self._calls.running:
            self._reading.cancel()

    @property
    def finishing(self) -> bool:
        """Whether new requests are refused."""
        return self._refusing

    def _idle(self) -> None:
        """Hear no more controls once the last call has ended and nothing else is waited for."""
        if self._finished.is_set():
            self._reading.cancel()

    # Lines out: see `Outward`

    async def notify(self, channel: str, method: str, params: Mapping[str, Any]) -> None:
        """Queue a notification on ``channel``; those of one channel leave in order.

        *Backpressure*: waits while the channel is full, that is, while the peer does not read.
        *Cancellation*: cancelled here, the notification was not queued.

        Raises:
            InvalidRequest: ``params`` have no JSON form.
            LimitExceeded: It is longer than a line may be, and cannot be shrunk.
            trio.BrokenResourceError: The connection has ended.
        """
        await self._outward.put(channel, notification(method, params))

    async def send(self, channel: str, message: Mergeable) -> None:
        """Queue a notification that may be merged with its neighbours, see `notify`.

        Its line must not be longer than `ConnectionLimits` allows, alone or merged.
        """
        if not self._writer.put_nowait(channel, message):
            await self._writer.put(channel, message)

    def notify_ahead(self, method: str, params: Mapping[str, Any]) -> None:
        """Queue a small notification past everything but answers, without waiting.

        Raises:
            InvalidRequest: ``params`` have no JSON form.
            LimitExceeded: It is longer than a line may be.
        """
        self._outward.put_control(notification(method, params))

    async def request(
        self, method: str, params: Mapping[str, Any], *, channel: str | None = None
    ) -> Any:
        """Ask the peer and return its result.

        Args:
            method: The method.
            params: Its parameters by name.
            channel: The request leaves behind what is queued there; ``None``: past everything.

        *Backpressure*: waits for the channel, and for one of `ConnectionLimits.asked_max` places.
        *Cancellation*: the peer is told that the request is taken back, and its answer is ignored.

        Raises:
            PeerError: The peer answered with an error.
            InvalidRequest, LimitExceeded: As for `notify`.
            trio.BrokenResourceError: Nobody can answer any more.
        """
        return await self._outward.request(method, params, channel)

    def statistics(self) -> ConnectionStatistics:
        """Return what the connection holds now and has seen so far."""
        return ConnectionStatistics(
            in_flight=len(self._calls),
            peak_in_flight=self._calls.peak_in_flight,
            running=self._calls.running,
            asked=len(self._outward.asked),
            ignored=self._ignored,
            protocol_errors=self._protocol_errors,
            refused=self._calls.refused,
            outbox=self._writer.statistics(),
        )

    async def _write(self) -> None:
        ending = await self._writer.run()
        if ending != "done":
            self._end(ending)

    def _end(self, ending: Ending) -> None:
        """End at once: nobody is there to hear more than what is queued."""
        self._ending = ending
        self._refusing = True
        self._flushing.deadline = min(
            self._flushing.deadline, trio.current_time() + self.limits.flush_seconds
        )
        self._finished.set()
        self._reading.cancel()
        self._calling.cancel()

    # Lines in

    async def _read(self) -> None:
        lines = LineReader(self.limits.line_bytes_max)
        while True:
            if self._writer.control_full and not await self._answers_are_read():
                self._end("stalled")
                return
            try:
                data = await self._receive.receive_some(self.limits.read_bytes_max)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                self._end("broken")
                return
            for line in lines.feed(data) if data else lines.close():
                self._take_line(line)
                if self._errors_in_a_row > self.limits.protocol_errors_max:
                    self._end("protocol")
                    return
            if not data:
                self._end_of_input()
                return

    async def _answers_are_read(self) -> bool:
        """Wait until the peer has read an answer, and return whether it did so in time."""
        with trio.move_on_after(self.limits.unread_seconds) as scope:
            await self._writer.wait_control_room()
        return not scope.cancelled_caught

    def _end_of_input(self) -> None:
        self._ending = "eof"
        self.refuse_new()
        # Before anything waits for an answer that nobody can give any more.
        self._outward.asked.end()
        if self._methods.ended is not None:
            self._methods.ended()
        else:
            self.finish()

    def _take_line(self, line: Line | LineTooLong) -> None:
        if isinstance(line, LineTooLong):
            text = f"The line is longer than {line.bytes_max} bytes; it was skipped."
            facts = {"reason": "line_too_long", "limit": line.bytes_max}
            self._protocol_error(None, INVALID_REQUEST, text, **facts)
            return
        message = parse_line(line.data)
        if isinstance(message, Bad):
            cut = "" if line.terminated else " The input ended inside this line."
            self._protocol_error(message.id, message.code, message.message + cut)
            return
        self._errors_in_a_row = 0
        if isinstance(message, Request):
            self._take_request(message)
        elif isinstance(message, Notification):
            self._take_notification(message)
        elif not self._outward.asked.settle(message):
            # A response to nothing, or to what was taken back.
            self._ignored += 1

    def _protocol_error(self, id: RequestId | None, code: int, message: str, **facts: Any) -> None:
        self._protocol_errors += 1
        self._errors_in_a_row += 1
        kind = "parse" if code == PARSE_ERROR else "invalid_request"
        remedy = "Send one JSON-RPC 2.0 object per line."
        self._outward.put_fault(id, fault(kind, message, remedy=remedy, code=code, **facts))

    def _take_request(self, request: Request) -> None:
        refusal = self._refusal(request)
        if refusal is not None:
            self._outward.put_fault(request.id, refusal)
            return
        control = self._control(request.method)
        if control is not None:
            self._answer_control(request, control)
            return
        method = self._methods.calls.get(request.method)
        if method is None:
            self._outward.put_fault(request.id, self._methods.unknown(request.method))
            return
        refusal = self._calls.no_room(request.method, self._methods, refusing=self._refusing)
        if refusal is not None:
            self._outward.put_fault(request.id, refusal)
            return
        self._calls.start(request, method)

    def _refusal(self, request: Request) -> dict[str, Any] | None:
        """Return why the request is not even looked up, or ``None``."""
        if self._calls.find(request.id) is not None:
            return fault(
                "invalid_request",
                f"Another request with id {request.id!r} is still running.",
                remedy="Use an id again only after its answer.",
            )
        if not isinstance(request.params, Mapping):
            return fault(
                "invalid_params",
                f"{request.method[:100]!r} takes its parameters by name.",
                remedy="Send params as an object.",
            )
        return self._methods.admit(request.method)

    def _take_notification(self, message: Notification) -> None:
        control = self._control(message.method)
        if (
            control is None
            or not isinstance(message.params, Mapping)
            or self._methods.admit(message.method) is not None
        ):
            self._ignored += 1
            return
        try:
            control(message.params)
        # A control's bug must not end the reader; a notification has no answer to carry it.
        except Exception as error:
            logged_fault(error, message.method)

    # Controls: called by the reader, so they overtake whatever is queued

    def _control(self, method: str) -> Control | None:
        if method in {"$/cancelRequest", "$/cancel_request"}:
            return self._cancel_request
        return self._methods.controls.get(method)

    def _answer_control(self, request: Request, control: Control) -> None:
        assert isinstance(request.params, Mapping)
        try:
            self._outward.put_control(response(request.id, control(request.params)))
        # A control's bug must not end the reader, and with it every other request.
        except Exception as error:
            self._outward.put_fault(request.id, logged_fault(error, request.method))

    def _cancel_request(self, params: Mapping[str, Any]) -> dict[str, bool]:
        id = params.get("id", params.get("requestId"))
        known = isinstance(id, (str, int)) and not isinstance(id, bool)
        call = self._calls.find(id) if isinstance(id, (str, int)) and known else None
        if call is not None:
            call.cancel()
        return {"cancelled": call is not None}
