"""pykka: an actor is a thread. Rates per second of process CPU time."""

import json
import resource
import threading
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pykka

N = 10_000
ACTORS = 2_000


class Echo(pykka.ThreadingActor):
    def on_receive(self, message: Any) -> Any:
        return message


def rss_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def rate(count: int, work: Callable[[], None]) -> float:
    started = time.process_time()
    work()
    return count / (time.process_time() - started)


def ask(ref: Any, count: int) -> None:
    for n in range(count):
        ref.ask(n)


def ask_from_threads(ref: Any, clients: int) -> None:
    threads = [threading.Thread(target=ask, args=(ref, N // clients)) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def tell(ref: Any) -> None:
    for n in range(N):
        ref.tell(n)
    ref.ask("end")


def spawn_and_stop() -> None:
    for _ in range(1000):
        Echo.start().stop()


def best(count: int, work: Callable[[], None]) -> float:
    return max(rate(count, work) for _ in range(3))


found: dict[str, Any] = {"version": version("pykka")}
before = rss_bytes()
refs = [Echo.start() for _ in range(ACTORS)]
time.sleep(0.2)
found["idle"] = (rss_bytes() - before) / ACTORS
for ref in refs:
    ref.stop(block=False)
echo = Echo.start()
found["ask_1"] = best(N, lambda: ask(echo, N))
found["ask_100"] = best(N, lambda: ask_from_threads(echo, 100))
found["tell"] = best(N, lambda: tell(echo))
found["spawn"] = best(1000, spawn_and_stop)
echo.stop()
print(json.dumps(found))
