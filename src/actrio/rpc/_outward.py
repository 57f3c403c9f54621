"""Messages on their way out: as lines that are not too long, and requests that wait for answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import trio

from actrio.errors import LimitExceeded
from actrio.rpc._asked import Asked, OpenRequests
from actrio.rpc._limits import ConnectionLimits
from actrio.rpc._methods import Methods
from actrio.rpc._writer import LineWriter
from actrio.sansio import RequestId, error_response, notification
from actrio.wire import json_line

__all__ = ["Outward"]


class Outward:
    """What a connection sends.

    Args:
        writer: Writes it.
        limits: The bounds of the connection.

    Attributes:
        methods: The front end's, for what it says about messages that go out.
        asked: Requests of ours without an answer.
    """

    def __init__(self, writer: LineWriter, limits: ConnectionLimits) -> None:
        self._writer = writer
        self._limits = limits
        self.methods = Methods()
        self.asked = OpenRequests(limits.asked_max)

    async def put(self, channel: str | None, message: dict[str, Any]) -> None:
        """Queue ``message`` on its channel, or with ``None`` past everything; see `Connection`."""
        line = await self._fitted(message)
        if channel is None:
            self._writer.put_control(line)
        else:
            await self._writer.put(channel, line)

    def put_control(self, message: dict[str, Any]) -> None:
        """Queue a small message past everything, without waiting."""
        line = json_line(message)
        if len(line) > self._limits.line_out_bytes_max:
            raise self._too_long(len(line))
        self._writer.put_control(line)

    def put_fault(self, id: RequestId | None, error: Mapping[str, Any]) -> None:
        """Queue the answer that a request failed; ``None`` where no id could be read."""
        self._writer.put_control(json_line(error_response(id, error)))

    async def request(self, method: str, params: Mapping[str, Any], channel: str | None) -> Any:
        """Ask the peer and return its result; see `Connection.request`."""
        async with self.asked.places:
            asked = self.asked.begin(method)
            try:
                await self.put(
                    channel, {"jsonrpc": "2.0", "id": asked.id, "method": method, "params": params}
                )
                asked.sent = True
                return await asked.answer()
            except trio.Cancelled:
                if asked.sent:
                    self._take_back(asked)
                raise
            finally:
                self.asked.forget(asked)

    def _take_back(self, asked: Asked) -> None:
        method = self.methods.cancel_method
        name = "id" if method == "$/cancelRequest" else "requestId"
        self.put_control(notification(method, {name: asked.id}))

    async def _fitted(self, message: dict[str, Any]) -> bytes:
        """Return the line of ``message``, shrunk where it would be too long."""
        line = json_line(message)
        size = len(line)
        if size > self._limits.line_out_bytes_max and self.methods.shrink is not None:
            line = json_line(await self.methods.shrink(message))
        if len(line) > self._limits.line_out_bytes_max:
            raise self._too_long(size)
        return line

    def _too_long(self, size: int) -> LimitExceeded:
        limit = self._limits.line_out_bytes_max
        return LimitExceeded(
            f"The message has {size} bytes; a line holds at most {limit}.",
            remedy="Ask for less at once.",
            data={"limit": limit, "size": size},
        )
