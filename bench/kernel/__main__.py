"""The kernel against the raw Trio floor, in one run: `python -m bench.kernel` (or `make bench`).

Rates are best of three on process CPU time, because a shared machine makes wall time a lottery.
The floor is what the same exchange costs with a bare Trio channel and a one-shot reply slot.
"""

from __future__ import annotations

import gc
import os
import platform
import resource
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import trio

from actrio.actors import Actor, ChildSpec, Context, MailboxSpec, SupervisorSpec, open_actor_system
from actrio.errors import MailboxFull

N = int(os.environ.get("BENCH_N", "50000"))
ACTORS = int(os.environ.get("BENCH_ACTORS", "10000"))


class Echo(Actor[Any]):
    async def receive(self, message: Any, ctx: Context) -> Any:
        if message == "stream":
            for n in range(N):
                await ctx.emit(n)
        return message


class Reply:
    """The floor's one-shot reply."""

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


async def clients(ask: Callable[[int], Awaitable[Any]], count: int) -> None:
    async def client() -> None:
        for n in range(N // count):
            await ask(n)

    async with trio.open_nursery() as nursery:
        for _ in range(count):
            nursery.start_soon(client)


async def floor_ask(count: int) -> float:
    send, receive = trio.open_memory_channel[tuple[int, Reply]](64)

    async def echo() -> None:
        async for value, reply in receive:
            reply.set(value)

    async def ask(n: int) -> Any:
        reply = Reply()
        await send.send((n, reply))
        return await reply.get()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(echo)
        spent = await measured(lambda: clients(ask, count))
        nursery.cancel_scope.cancel()
    return N / spent


async def kernel_ask(count: int) -> float:
    async with open_actor_system() as system:
        ref = await system.spawn(ChildSpec("echo", Echo))
        return N / await measured(lambda: clients(ref.ask, count))


async def floor_tell() -> float:
    send, receive = trio.open_memory_channel[int](64)

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

    async with trio.open_nursery() as nursery:
        nursery.start_soon(drain)
        spent = await measured(feed)
        nursery.cancel_scope.cancel()
    return N / spent


async def kernel_tell() -> float:
    async with open_actor_system() as system:
        ref = await system.spawn(ChildSpec("echo", Echo))

        async def feed() -> None:
            for n in range(N):
                try:
                    ref.tell_nowait(n)
                except MailboxFull:
                    await ref.tell(n)
            await ref.ask("end")

        return N / await measured(feed)


async def floor_stream() -> float:
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


async def kernel_stream() -> float:
    async with open_actor_system() as system:
        ref = await system.spawn(ChildSpec("echo", Echo))

        async def consume() -> None:
            async with ref.stream("stream") as items:
                async for _ in items:
                    pass

        return N / await measured(consume)


async def measured(work: Callable[[], Awaitable[None]]) -> float:
    started = time.process_time()
    await work()
    return time.process_time() - started


async def idle_actors() -> tuple[float, float, float]:
    """Return bytes per idle actor, and spawn and stop time of all of them in seconds."""
    gc.collect()
    before = _rss_bytes()
    async with open_actor_system() as system:
        pool = await system.supervise(
            SupervisorSpec("pool", on_exceeded="quarantine", stop_order="together")
        )
        started = time.process_time()
        for n in range(ACTORS):
            await system.spawn(ChildSpec(str(n), Echo, mailbox=MailboxSpec()), under=pool)
        spawned = time.process_time() - started
        gc.collect()
        each = (_rss_bytes() - before) / ACTORS
        started = time.process_time()
    return each, spawned, time.process_time() - started


def _rss_bytes() -> int:
    if sys.platform == "linux":
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * resource.getpagesize()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def best(measure: Callable[[], Awaitable[float]]) -> float:
    return max(trio.run(measure) for _ in range(3))


def row(name: str, floor: float, kernel: float) -> None:
    print(f"{name:24} {floor:>12,.0f} {kernel:>12,.0f} {kernel / floor:>8.2f}")


def main() -> None:
    print(f"Python {platform.python_version()}, trio {trio.__version__}, N={N:,}")
    print(f"{'per CPU second':24} {'raw Trio':>12} {'actrio':>12} {'ratio':>8}")
    for count in (1, 100):
        floor, kernel = best(lambda c=count: floor_ask(c)), best(lambda c=count: kernel_ask(c))  # type: ignore[misc]
        row(f"ask, {count} client(s)", floor, kernel)
    row("tell", best(floor_tell), best(kernel_tell))
    row("streamed items", best(floor_stream), best(kernel_stream))
    each, spawned, stopped = trio.run(idle_actors)
    print(
        f"{ACTORS:,} idle actors: {each:,.0f} bytes each, spawn {spawned:.2f} s, stop {stopped:.2f} s"
    )


if __name__ == "__main__":
    main()
