from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import attrs
import pytest
import trio
import trio.testing

from actrio.rpc import Connection, ConnectionLimits, Ending, Methods


@attrs.define
class Peer:
    """The client's end of a connection whose outbound side holds nothing the client has not read."""

    connection: Connection
    inbound: trio.testing.MemorySendStream
    outbound: Any
    own_outbound: Any
    ending: Ending | None = None
    buffered: bytes = b""

    async def send(self, *messages: Any) -> None:
        lines = [m if isinstance(m, bytes) else json.dumps(m).encode() + b"\n" for m in messages]
        await self.inbound.send_all(b"".join(lines))

    async def call(self, id: Any, method: str, **params: Any) -> None:
        await self.send({"jsonrpc": "2.0", "id": id, "method": method, "params": params})

    async def receive(self) -> dict[str, Any]:
        while b"\n" not in self.buffered:
            data = await self.outbound.receive_some()
            assert data, "the connection ended"
            self.buffered += data
        line, self.buffered = self.buffered.split(b"\n", 1)
        message = json.loads(line)
        assert message["jsonrpc"] == "2.0"
        return message

    async def serve(self, methods: Methods, task_status: Any = trio.TASK_STATUS_IGNORED) -> None:
        task_status.started()
        self.ending = await self.connection.run(methods)
        await self.own_outbound.aclose()


@pytest.fixture
def connect(nursery) -> Callable[..., Any]:
    async def connect(limits: ConnectionLimits | None = None, **methods: Any) -> Peer:
        inbound, receive = trio.testing.memory_stream_one_way_pair()
        send, outbound = trio.testing.lockstep_stream_one_way_pair()
        peer = Peer(Connection(receive, send, limits=limits), inbound, outbound, send)
        await nursery.start(peer.serve, Methods(**methods))
        return peer

    return connect
