"""The floor: what the same exchange costs with bare Trio channels, tasks and a one-shot reply."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import trio

from bench.kernel.measure import N, each_of, measured

CAPACITY = 64


class Reply:
    """The cheapest one-shot reply that Trio allows."""

    __slots__ = ("done", "task", "value")

    def __init__(self) -> None:
        self.task: trio.lowlevel.Task | None = None
        self.done = False
        self.value: Any = None

    def set(self, value: Any) -> None:
        self.value, self.done = value, True
        if self.task is not None:
            trio.lowlevel.reschedule(self.task)

    async def get(self) -> Any:
        if not self.done:
            self.task = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(lambda _: trio.lowlevel.Abort.SUCCEEDED)
        return self.value


async def ask(clients: int, *, deadline: bool = False) -> float:
    send, receive = trio.open_memory_channel[tuple[int, Reply]](CAPACITY)

    async def echo() -> None:
        async for value, reply in receive:
            reply.set(value)

    async def exchange(n: int) -> Any:
        reply = Reply()
        await send.send((n, reply))
        return await reply.get()

    async def in_time(n: int) -> Any:
        with trio.fail_after(10):
            return await exchange(n)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(echo)
        spent = await measured(lambda: each_of(clients, in_time if deadline else exchange))
        nursery.cancel_scope.cancel()
    return N / spent


async def tell() -> float:
    """Fill with send_nowait, empty with receive_nowait: the fastest that a channel goes."""
    send, receive = trio.open_memory_channel[int](CAPACITY)

    async def drain() -> None:
        while True:
            await receive.receive()
            try:
                while True:
                    receive.receive_nowait()
            except trio.WouldBlock:
                pass

    async def feed() -> None:
        for n in range(N):
            try:
                send.send_nowait(n)
            except trio.WouldBlock:
                await send.send(n)

    return await _with_receiver(drain, feed)


async def tell_awaited() -> float:
    send, receive = trio.open_memory_channel[int](CAPACITY)

    async def drain() -> None:
        async for _ in receive:
            pass

    async def feed() -> None:
        for n in range(N):
            await send.send(n)

    return await _with_receiver(drain, feed)


async def _with_receiver(
    drain: Callable[[], Awaitable[None]], feed: Callable[[], Awaitable[None]]
) -> float:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(drain)
        spent = await measured(feed)
        nursery.cancel_scope.cancel()
    return N / spent


async def ring(size: int, tokens: int) -> float:
    """Tokens go around a ring of tasks until all have made N hops together."""
    channels = [trio.open_memory_channel[int](CAPACITY) for _ in range(size)]
    left = N
    done = trio.Event()

    async def member(at: int) -> None:
        nonlocal left
        send, receive = channels[(at + 1) % size][0], channels[at][1]
        async for token in receive:
            left -= 1
            if left <= 0:
                done.set()
                return
            send.send_nowait(token)

    async def go() -> None:
        for token in range(tokens):
            channels[token * size // tokens][0].send_nowait(token)
        await done.wait()

    async with trio.open_nursery() as nursery:
        for at in range(size):
            nursery.start_soon(member, at)
        await trio.lowlevel.checkpoint()
        spent = await measured(go)
        nursery.cancel_scope.cancel()
    return N / spent


async def stream() -> float:
    """One channel send and receive for each item, buffer 32."""
    send, receive = trio.open_memory_channel[int](32)

    async def produce() -> None:
        async with send:
            for n in range(N):
                await send.send(n)

    async def consume() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(produce)
            async for _ in receive:
                pass

    return N / await measured(consume)


async def spawn_and_stop(count: int) -> float:
    """A task with its channel, started, run to its first receive, and ended."""

    async def member(receive: trio.MemoryReceiveChannel[int], ended: trio.Event) -> None:
        async for _ in receive:
            pass
        ended.set()

    async def go() -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(count):
                send, receive = trio.open_memory_channel[int](CAPACITY)
                ended = trio.Event()
                nursery.start_soon(member, receive, ended)
                await trio.lowlevel.checkpoint()
                send.close()
                await ended.wait()

    return count / await measured(go)
