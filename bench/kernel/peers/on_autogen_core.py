"""autogen-core: its single-threaded runtime on asyncio. Rates per second of process CPU time."""

import asyncio
import json
import resource
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from autogen_core import (
    AgentId,
    DefaultTopicId,
    MessageContext,
    RoutedAgent,
    SingleThreadedAgentRuntime,
    TypeSubscription,
    message_handler,
)

N = 2_000


@dataclass
class Number:
    value: int


class Echo(RoutedAgent):
    handled = 0

    def __init__(self) -> None:
        super().__init__("echo")

    @message_handler
    async def echo(self, message: Number, ctx: MessageContext) -> Number:  # noqa: ARG002
        Echo.handled += 1
        return message


def rss_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


async def rate(count: int, work: Callable[[], Awaitable[None]]) -> float:
    started = time.process_time()
    await work()
    return count / (time.process_time() - started)


async def main() -> None:
    found: dict[str, Any] = {"version": version("autogen-core")}
    runtime = SingleThreadedAgentRuntime()
    await Echo.register(runtime, "echo", Echo)
    runtime.start()
    echo = AgentId("echo", "one")

    async def ask(count: int = N) -> None:
        for n in range(count):
            await runtime.send_message(Number(n), echo)

    async def ask_together() -> None:
        await asyncio.gather(*(ask(N // 100) for _ in range(100)))

    async def publish() -> None:
        Echo.handled = 0
        for n in range(N):
            await runtime.publish_message(Number(n), DefaultTopicId("topic", "one"))
        while Echo.handled < N:  # noqa: ASYNC110 - it offers nothing to wait for
            await asyncio.sleep(0)

    await ask(10)
    found["ask_1"] = max([await rate(N, ask) for _ in range(3)])
    found["ask_100"] = max([await rate(N, ask_together) for _ in range(3)])
    before = rss_bytes()
    for n in range(2000):
        await runtime.send_message(Number(n), AgentId("echo", f"other{n}"))
    found["idle"] = (rss_bytes() - before) / 2000
    await runtime.add_subscription(TypeSubscription("topic", "echo"))
    found["tell"] = max([await rate(N, publish) for _ in range(3)])
    await runtime.stop()
    print(json.dumps(found))


asyncio.run(main())
