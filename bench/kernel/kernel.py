"""The same exchanges through the kernel, and those that only it has."""

from __future__ import annotations

from typing import Any

import trio

from actrio.actors import (
    Actor,
    Backoff,
    ChildSpec,
    Context,
    MailboxSpec,
    Ref,
    RouteSpec,
    SupervisorSpec,
    open_actor_system,
)
from actrio.errors import MailboxFull
from bench.kernel.measure import N, each_of, measured


class Echo(Actor[Any]):
    async def receive(self, message: Any, ctx: Context) -> Any:
        if message == "stream":
            for n in range(N):
                await ctx.emit(n)
        return message


async def ask(clients: int, *, deadline: bool = False) -> float:
    async with open_actor_system() as system:
        ref = await system.spawn(ChildSpec("echo", Echo))

        async def in_time(n: int) -> Any:
            with trio.fail_after(10):
                return await ref.ask(n)

        return N / await measured(lambda: each_of(clients, in_time if deadline else ref.ask))


async def tell() -> float:
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


async def tell_awaited() -> float:
    async with open_actor_system() as system:
        ref = await system.spawn(ChildSpec("echo", Echo))

        async def feed() -> None:
            for n in range(N):
                await ref.tell(n)
            await ref.ask("end")

        return N / await measured(feed)


class Member(Actor[Any]):
    """One of a ring: passes on what it gets until all have passed on N together."""

    left = 0
    done: trio.Event

    def __init__(self) -> None:
        self.next: Ref[Any] | None = None

    async def receive(self, message: Any, ctx: Context) -> None:  # noqa: ARG002
        if isinstance(message, Ref):
            self.next = message
            return
        Member.left -= 1
        if Member.left > 0:
            assert self.next is not None
            self.next.tell_nowait(message)
        else:
            Member.done.set()


async def ring(size: int, tokens: int) -> float:
    async with open_actor_system() as system:
        pool = await system.supervise(SupervisorSpec("ring", stop_order="together"))
        members = [await system.spawn(ChildSpec(str(n), Member), under=pool) for n in range(size)]
        for at, member in enumerate(members):
            await member.ask(members[(at + 1) % size])
        Member.left, Member.done = N, trio.Event()

        async def go() -> None:
            for token in range(tokens):
                members[token * size // tokens].tell_nowait(token)
            await Member.done.wait()

        return N / await measured(go)


async def stream() -> float:
    async with open_actor_system() as system:
        ref = await system.spawn(ChildSpec("echo", Echo))

        async def consume() -> None:
            async with ref.stream("stream") as items:
                async for _ in items:
                    pass

        return N / await measured(consume)


async def spawn_and_stop(count: int) -> float:
    async with open_actor_system() as system:

        async def go() -> None:
            for _ in range(count):
                await system.stop(await system.spawn(ChildSpec("one", Echo)))

        return count / await measured(go)


async def wake_and_sleep(count: int) -> float:
    """Routed addresses: brought up by a message, and put to sleep by the next one."""
    async with open_actor_system() as system:
        await system.route(RouteSpec("/echo/{id}", lambda _: Echo(), resident_max=1))
        refs = [system.ref(f"/echo/{n}") for n in range(64)]

        async def go() -> None:
            for n in range(count):
                await refs[n % 64].ask(n)

        return count / await measured(go)


async def deep_tree(depth: int) -> float:
    """A supervisor in a supervisor in a supervisor …, started, asked at the bottom, stopped."""

    async def go() -> None:
        async with open_actor_system() as system:
            under = None
            for _ in range(depth):
                under = await system.supervise(SupervisorSpec("deeper"), under=under)
            ref = await system.spawn(ChildSpec("echo", Echo), under=under)
            assert await ref.ask("x") == "x"
            assert len(system.tree().walk()) == depth + 2

    return 1 / await measured(go)


class Poisoned(Actor[str]):
    async def receive(self, message: str, ctx: Context) -> str:  # noqa: ARG002
        if message == "crash":
            raise RuntimeError(message)
        return message


async def restart_storm(count: int) -> float:
    """All members of a pool crash at once; measured until each has answered again."""
    async with open_actor_system() as system:
        pool = await system.supervise(
            SupervisorSpec("pool", on_exceeded="quarantine", stop_order="together")
        )
        backoff = Backoff(initial_seconds=0)
        refs = [
            await system.spawn(
                ChildSpec(str(n), Poisoned, backoff=backoff, mailbox=MailboxSpec(capacity=2)),
                under=pool,
            )
            for n in range(count)
        ]

        async def go() -> None:
            for ref in refs:
                ref.tell_nowait("crash")
            for ref in refs:
                await ref.ask("up")

        return count / await measured(go)
