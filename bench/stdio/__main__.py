"""The stdio front end over real pipes, in one table.

``python -m bench.stdio``: two minutes. ``--seconds N``: how long the client that never reads is
watched (10; the target speaks of 60). ``--json`` prints the rows as JSON.

Wall-clock figures of a whole machine: run it on an idle one. What is to be reached stands beside
what was measured.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Any

import attrs
import trio

from actrio.messages import ItemDelta
from actrio.rpc import Connection, Methods
from actrio.stdio._event_lines import DeltaLine
from bench.stdio.peer import Peer, served

READER = "import os\nn = 0\nwhile d := os.read(0, 1 << 20): n += d.count(b'\\n')\nprint(n)"


@attrs.frozen
class Row:
    """One line; ``at_least`` or ``at_most`` is what is to be reached."""

    what: str
    unit: str
    value: float
    at_least: float | None = None
    at_most: float | None = None

    @property
    def reached(self) -> bool | None:
        if self.at_least is not None:
            return self.value >= self.at_least
        return None if self.at_most is None else self.value <= self.at_most


class Counted:
    """A connection into a real pipe, and a process at its other end that reads and counts lines."""

    def __init__(self) -> None:
        read, write = os.pipe()
        self._reader = subprocess.Popen(
            [sys.executable, "-c", READER], stdin=read, stdout=subprocess.PIPE
        )
        os.close(read)
        self._send = trio.lowlevel.FdStream(write)
        idle, _keep = os.pipe()
        self.connection = Connection(trio.lowlevel.FdStream(idle), self._send)

    async def lines(self) -> int:
        await self._send.aclose()
        assert self._reader.stdout is not None
        count = int(self._reader.stdout.read())
        self._reader.wait()
        return count


async def wire_rate(seconds: float) -> Row:
    """Small events of one session, by the way that the server's pumps go."""
    counted = Counted()
    names = {"session": "s_3f9a61c27e05", "turn": "t_8c04be7d1f36"}
    began = time.perf_counter()
    count = 0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(counted.connection.run, Methods())
        while (now := time.perf_counter()) < began + seconds:
            for _ in range(32):
                count += 1
                # Two items in turn, so that nothing can be merged: each event is a line.
                item = f"i{count % 2}"
                event = ItemDelta(
                    seq=2, n=count, ts=now, kind="message", text="word ", item=item, **names
                )
                await counted.connection.send("s", DeltaLine(event))
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    spent = time.perf_counter() - began
    return Row(
        "small events to one reading client, a line each",
        "1/s",
        await counted.lines() / spent,
        50_000,
    )


async def whole_rate(tokens: int) -> Row:
    """Lines of a turn of the fastest script, through everything there is."""
    async with served() as peer:
        await peer.call("initialize")
        session = (await peer.call("session/create", model=f"scripted:tokens?tokens={tokens}"))[
            "session"
        ]
        began = time.perf_counter()
        await peer.send("turn/start", session=session, prompt="x")
        words = lines = 0
        while True:
            batch = await peer.lines()
            lines += len(batch)
            words += sum(
                json.loads(line)["params"]["text"].count(" ")
                for line in batch
                if b"item.delta" in line
            )
            if any(b"turn.completed" in line for line in batch):
                break
        spent = time.perf_counter() - began
    return Row(
        "tokens of one turn, model to client, merged where it falls behind", "1/s", words / spent
    )


async def gaps(sessions: int, tokens: int = 100) -> dict[str, list[float]]:
    """Return the gaps between deltas of each of so many sessions that stream at once."""
    async with served() as peer:
        await peer.call("initialize")
        names = []
        for _ in range(sessions):
            model = f"scripted:tokens?itl=50ms&tokens={tokens}"
            names.append((await peer.call("session/create", model=model))["session"])
        for name in names:
            await peer.send("turn/start", session=name, prompt="x")
        last: dict[str, float] = {}
        found: dict[str, list[float]] = defaultdict(list)
        left = sessions
        while left:
            for line in await peer.lines():
                now = time.perf_counter()
                if b'"item.delta"' in line:
                    name = line.partition(b'"session":"')[2][:14].decode()
                    if name in last:
                        found[name].append(now - last[name])
                    last[name] = now
                left -= b'"turn.completed"' in line
    return found


def p95(values: list[float]) -> float:
    return sorted(values)[int(len(values) * 0.95)]


async def fairness() -> list[Row]:
    single = statistics.median([p95(each) for _ in range(2) for each in (await gaps(1)).values()])
    many = await gaps(200)
    of_each = sorted(p95(each) for each in many.values())
    return [
        Row("p95 gap of a single session (50 ms model)", "ms", single * 1000),
        Row(
            "200 sessions at once: worst session's p95 gap, of a single one's",
            "times",
            of_each[-1] / single,
            None,
            2,
        ),
        Row(
            "200 sessions at once: median session's p95 gap, of a single one's",
            "times",
            of_each[100] / single,
        ),
    ]


async def stream_forever(
    stream: trio.SocketStream, seen: dict[str, float], gone: trio.Event
) -> None:
    """Answer as an OpenAI server that never stops, and note when the client is gone."""
    head = (
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    )
    chunk = (
        b'data: {"id":"c","object":"chat.completion.chunk","model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":"word "}}]}\n\n'
        * 50
    )
    request = b""
    while b"\r\n\r\n" not in request:
        request += await stream.receive_some()

    async def hear() -> None:
        while await stream.receive_some():
            pass
        seen["gone"] = time.perf_counter()
        gone.set()
        nursery.cancel_scope.cancel()

    try:
        await stream.send_all(head)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(hear)
            while True:
                await stream.send_all(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n")
    except* trio.BrokenResourceError:
        seen.setdefault("gone", time.perf_counter())
        gone.set()


async def unread(seconds: float) -> list[Row]:
    """A client that never reads, a provider that never stops, and a turn that waits for its client."""
    return await _endless(
        f"[limits]\nstall_seconds = {seconds + 60:g}\n",
        functools.partial(_unread, seconds=seconds),
    )


async def left_behind() -> list[Row]:
    """The same with the bounds as they are: after 30 s the turn goes on without its client."""
    return await _endless("", _left_behind)


async def _endless(
    settings: str, work: Callable[[Peer, dict[str, float], trio.Event], Awaitable[list[Row]]]
) -> list[Row]:
    seen: dict[str, float] = {}
    gone = trio.Event()
    async with trio.open_nursery() as nursery:
        answer = functools.partial(stream_forever, seen=seen, gone=gone)
        listeners = await nursery.start(
            functools.partial(trio.serve_tcp, answer, 0, host="127.0.0.1")
        )
        port = listeners[0].socket.getsockname()[1]
        table = f'[providers.forever]\nbase_url = "http://127.0.0.1:{port}/v1"\napi_key_env = "NOBODY_API_KEY"\n'
        os.environ["NOBODY_API_KEY"] = "none"
        async with served("--on-eof", "cancel", settings=table + settings) as peer:
            rows = await work(peer, seen, gone)
        nursery.cancel_scope.cancel()
    return rows


async def filled(peer: Peer) -> int:
    """Wait until the queues are full, and return the memory then; a turn waits 30 s at most."""
    sizes = [0, peer.resident_bytes()]
    for _ in range(20):
        if sizes[-1] - sizes[-2] < 500_000:
            break
        await trio.sleep(1)
        sizes.append(peer.resident_bytes())
    return sizes[-1]


async def _unread(
    peer: Peer, seen: dict[str, float], gone: trio.Event, *, seconds: float
) -> list[Row]:
    turn = await _forever(peer)
    first = peer.resident_bytes()
    before, highest = await filled(peer), 0
    for _ in range(int(seconds * 4)):
        await trio.sleep(0.25)
        highest = max(highest, peer.resident_bytes())
    began = time.perf_counter()
    await peer.send("turn/cancel", turn=turn)
    with trio.move_on_after(5):
        await gone.wait()
    cancelled = seen.get("gone", began + 5) - began
    assert peer.process.stdin is not None
    began = time.perf_counter()
    await peer.process.stdin.aclose()
    await peer.process.wait()
    ended = time.perf_counter() - began
    return [
        Row(
            "never-reading client: what fills until the provider waits",
            "MB",
            (before - first) / 1e6,
        ),
        Row(
            f"never-reading client: growth after that, in {seconds:g} s",
            "MB",
            (highest - before) / 1e6,
            None,
            5,
        ),
        Row(
            "never-reading client: its turn/cancel reaches the provider",
            "ms",
            cancelled * 1000,
            None,
            50,
        ),
        Row("never-reading client: EOF (cancel) to the process's end", "s", ended, None, 1),
    ]


async def _left_behind(peer: Peer, _seen: dict[str, float], gone: trio.Event) -> list[Row]:
    await _forever(peer)
    first = highest = peer.resident_bytes()
    with trio.move_on_after(120):
        while not gone.is_set():
            await trio.sleep(0.1)
            highest = max(highest, peer.resident_bytes())
    return [
        Row(
            "never-reading client left behind after 30 s: the most its turn takes, until its bound",
            "MB",
            (highest - first) / 1e6,
        )
    ]


async def _forever(peer: Peer) -> str:
    await peer.call("initialize")
    session = (await peer.call("session/create", model="forever:m"))["session"]
    return str((await peer.call("turn/start", session=session, prompt="x"))["turn"])


async def unread_answers() -> Row:
    """Requests without reading, until the server hangs up."""
    async with served() as peer:
        await peer.call("initialize")
        count = 0
        began = time.perf_counter()
        try:
            while peer.process.poll() is None and time.perf_counter() < began + 20:
                await peer.send("ping")
                count += 1
        except trio.BrokenResourceError:
            pass
    return Row("answers left unread when the server hung up, pipe included", "", count)


async def first_answer(rounds: int) -> Row:
    times = []
    for _ in range(rounds):
        async with served() as peer:
            await peer.call("initialize")
            times.append(time.perf_counter() - peer.started)
    return Row(
        "process start to the answer to initialize (best of rounds)",
        "ms",
        min(times) * 1000,
        None,
        400,
    )


async def measure(seconds: float) -> list[Row]:
    return [
        await first_answer(7),
        await wire_rate(2),
        await whole_rate(100_000),
        *await fairness(),
        *await unread(seconds),
        *await left_behind(),
        await unread_answers(),
    ]


def shown(rows: list[Row]) -> str:
    lines = []
    for row in rows:
        goal: Any = row.at_least if row.at_least is not None else row.at_most
        sign = "≥" if row.at_least is not None else "≤"
        told = "" if goal is None else f"{sign} {goal:,g}  {'yes' if row.reached else 'NO'}"
        lines.append(f"{row.what:<70} {row.value:>12,.1f} {row.unit:<6} {told}")
    return "\n".join(lines)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args(arguments)
    rows = trio.run(measure, chosen.seconds)
    if chosen.json:
        print(json.dumps([{**attrs.asdict(row), "reached": row.reached} for row in rows], indent=1))
    else:
        print(shown(rows))
    return 0 if all(row.reached is not False for row in rows) else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
