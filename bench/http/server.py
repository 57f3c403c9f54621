"""The server under load, as a process of its own; prints its port.

``python -m bench.http.server [PROVIDER_URL]``: with an address, the agent ``bench`` talks to it.
"""

from __future__ import annotations

import sys

import trio

from actrio.agents import Agent
from actrio.http import HttpLimits, HttpServer, HttpSettings, http_app, listen_http, serve_http
from actrio.providers import ProviderSettings
from actrio.runtime import Limits, Settings, open_runtime
from bench.peers.work import MODEL


async def main() -> None:
    http = HttpSettings(
        limits=HttpLimits(connections=4000, calls_per_caller=4000), keep_alive_seconds=600
    )
    providers = {}
    model = "scripted:demo"
    if len(sys.argv) > 1:
        providers["openai"] = ProviderSettings(base_url=f"{sys.argv[1]}/v1")
        model = f"openai:{MODEL}"
    settings = Settings(limits=Limits(turns=2000), providers=providers)
    # Nothing here is a real key; the provider at that address takes any.
    async with open_runtime(settings, env={"OPENAI_API_KEY": "none"}) as runtime:
        agents = [Agent("assistant", model="scripted:demo"), Agent("bench", model=model)]
        app = http_app(runtime, http, agents=agents, env={})
        async with trio.open_nursery() as nursery:
            server: HttpServer = await nursery.start(
                serve_http, app, await listen_http("127.0.0.1:0")
            )
            sys.stdout.write(server.addresses[0].rpartition(":")[2] + "\n")
            sys.stdout.flush()


trio.run(main)
