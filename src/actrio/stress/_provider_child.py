"""The scripted provider as a process of its own, so that it does not share a core with what is
measured.

It prints ``{"port":N}``, then answers each line on standard input with one line of statistics,
and ends when standard input ends: so it cannot outlive whoever started it, however that ended.
"""

from __future__ import annotations

import sys

import attrs
import trio

from actrio.providers.scripted import ScriptedServer
from actrio.wire import json_line

__all__ = ["main"]


async def _serve_until_eof() -> None:
    server = ScriptedServer()
    async with trio.open_nursery() as nursery:
        port = await nursery.start(server.serve)
        _tell({"port": port})
        while await trio.to_thread.run_sync(sys.stdin.buffer.readline, abandon_on_cancel=True):
            _tell(attrs.asdict(server.statistics()))
        nursery.cancel_scope.cancel()


def _tell(value: object) -> None:
    sys.stdout.buffer.write(json_line(value))
    sys.stdout.buffer.flush()


def main() -> int:
    """Run the process."""
    trio.run(_serve_until_eof)
    return 0


if __name__ == "__main__":
    sys.exit(main())
