"""The peer's requests while they run: one task each, and an answer to every one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import trio

from actrio.rpc._faults import fault, logged_fault
from actrio.rpc._limits import ConnectionLimits
from actrio.rpc._methods import Call, Methods
from actrio.rpc._outward import Outward
from actrio.sansio import Request, RequestId, error_response, response

__all__ = ["RunningCalls"]


class RunningCalls:
    """The calls of one connection.

    Args:
        outward: Where answers go.
        limits: The bounds of the connection.
        on_idle: Called when the last running one has ended.

    Attributes:
        tasks: Where they run; set before the first.
        running: Those whose work goes on, answered or not.
        peak_in_flight: The most at once without an answer.
        refused: Those for which there was no room.
    """

    def __init__(
        self, outward: Outward, limits: ConnectionLimits, on_idle: Callable[[], None]
    ) -> None:
        self._outward = outward
        self._limits = limits
        self._on_idle = on_idle
        # Keys keep their type: 1 and "1" are two requests.
        self._in_flight: dict[RequestId, Call] = {}
        self.tasks: trio.Nursery | None = None
        self.running = self.peak_in_flight = self.refused = 0

    def __len__(self) -> int:
        """Return how many have no answer yet."""
        return len(self._in_flight)

    def find(self, id: RequestId) -> Call | None:
        """Return the call that has this id and no answer yet."""
        return self._in_flight.get(id)

    def no_room(self, method: str, methods: Methods, *, refusing: bool) -> dict[str, Any] | None:
        """Return why no further call may start now, or ``None``."""
        limits, waiting, running = self._limits, len(self._in_flight), self.running
        urgent = method in methods.urgent
        if refusing and not urgent:
            text = "This connection is shutting down and takes no new requests."
            return fault("conflict", text, remedy="Start a new one.")
        more = limits.urgent_max if urgent else 0
        if waiting < limits.in_flight_max + more and running < limits.running_max + more:
            return None
        self.refused += 1
        full = waiting >= limits.in_flight_max
        return fault(
            "overloaded",
            f"This connection has {waiting} unanswered requests and {running} at work.",
            remedy="Wait for answers, or send fewer requests at once.",
            retryable=True,
            scope="connection",
            limit=limits.in_flight_max if full else limits.running_max,
            in_flight=waiting if full else running,
            retry_after_ms=limits.retry_after_ms,
        )

    def start(self, request: Request, method: Callable[[Call], Awaitable[Any]]) -> None:
        """Begin a call: its plain part here, the rest in a task of its own."""
        assert self.tasks is not None
        assert isinstance(request.params, Mapping)
        call = Call(request.id, request.method, request.params, respond=self._respond)
        try:
            work = method(call)
        # The part of a method that runs here must not end the reader either.
        except Exception as error:
            self._outward.put_fault(call.id, logged_fault(error, call.method))
            return
        self._in_flight[call.id] = call
        self.peak_in_flight = max(self.peak_in_flight, len(self._in_flight))
        self.running += 1
        self.tasks.start_soon(self._serve, call, work, name=f"rpc {call.method[:60]}")

    async def _serve(self, call: Call, work: Awaitable[Any]) -> None:
        try:
            await self._answer(call, await self._outcome(call, work))
        except trio.BrokenResourceError:
            # The peer is gone, and so is whoever wanted the answer.
            pass
        except BaseExceptionGroup as group:
            # The connection is being cancelled and something failed on the way out.
            cancelled, rest = group.split(trio.Cancelled)
            if not isinstance(rest, ExceptionGroup):
                raise
            logged_fault(rest, call.method)
            if cancelled is not None:
                raise cancelled from None
        finally:
            self._answered(call)
            self.running -= 1
            if not self.running:
                self._on_idle()

    async def _outcome(self, call: Call, work: Awaitable[Any]) -> dict[str, Any]:
        """Return the answer to ``call``; only the connection's own end leaves as an exception."""
        try:
            with call.scope:
                result = await work
        # Whatever a method raises is its own failure; the other requests go on.
        except Exception as error:
            return error_response(call.id, logged_fault(error, call.method))
        if call.cancel_asked:
            return error_response(call.id, fault("cancelled", f"{call.method} was cancelled."))
        return response(call.id, result)

    async def _answer(self, call: Call, message: dict[str, Any]) -> None:
        if call.answered:
            return
        try:
            await self._outward.put(call.channel, message)
        except trio.BrokenResourceError:
            raise
        # The result has no JSON form; whatever the writer raised for it, only this call fails.
        except Exception as error:
            self._outward.put_fault(call.id, logged_fault(error, call.method))

    def _respond(self, call: Call, result: Any) -> None:
        self._outward.put_control(response(call.id, result))
        self._answered(call)

    def _answered(self, call: Call) -> None:
        call.answered = True
        # The peer may have used the id again while an answered call went on.
        if self._in_flight.get(call.id) is call:
            del self._in_flight[call.id]
