"""The server under load, as a process of its own; prints its port."""

from __future__ import annotations

import sys

import trio

from actrio.http import HttpLimits, HttpServer, HttpSettings, http_app, listen_http, serve_http
from actrio.runtime import Limits, Settings, open_runtime


async def main() -> None:
    settings = HttpSettings(
        limits=HttpLimits(connections=4000, calls_per_caller=4000), keep_alive_seconds=600
    )
    async with open_runtime(Settings(limits=Limits(turns=2000))) as runtime:
        app = http_app(runtime, settings, env={})
        async with trio.open_nursery() as nursery:
            server: HttpServer = await nursery.start(
                serve_http, app, await listen_http("127.0.0.1:0")
            )
            sys.stdout.write(server.addresses[0].rpartition(":")[2] + "\n")
            sys.stdout.flush()


trio.run(main)
