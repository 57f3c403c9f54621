"""The mailbox's ring against the memory channel that it took the place of: put 64, take 64."""

from __future__ import annotations

from typing import Any

import trio

from actrio.actors import Actor, ChildSpec, Context, open_actor_system
from bench.kernel.measure import N, measured

CAPACITY = 64
ROUNDS = N // CAPACITY * 4


class Nobody(Actor[Any]):
    async def receive(self, message: Any, ctx: Context) -> None: ...


async def channel() -> float:
    send, receive = trio.open_memory_channel[object](CAPACITY)
    item = object()

    async def go() -> None:
        for _ in range(ROUNDS):
            for _ in range(CAPACITY):
                send.send_nowait(item)
            for _ in range(CAPACITY):
                receive.receive_nowait()

    return ROUNDS * CAPACITY / await measured(go)


async def ring() -> float:
    """The mailbox itself, without the cell around it: nobody receives meanwhile."""
    async with open_actor_system() as system:
        cell = (await system.spawn(ChildSpec("nobody", Nobody))).cell
        mailbox, item = cell.mailbox, cell.envelope("x")

        async def go() -> None:
            for _ in range(ROUNDS):
                for _ in range(CAPACITY):
                    mailbox.offer(cell, item)
                for _ in range(CAPACITY):
                    mailbox.take()

        return ROUNDS * CAPACITY / await measured(go)
