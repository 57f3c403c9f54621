"""The whole service as one ASGI application, for our server or for somebody else's."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, MutableMapping
from typing import Any

import trio

from actrio.agents import Agent
from actrio.http._agents import AgentDirectory
from actrio.http._call import Receive, Send
from actrio.http._desk import Desk
from actrio.http._front import Front
from actrio.http._gate import AccessRules, refuse_open
from actrio.http._routes import all_operations
from actrio.http._settings import HttpSettings, read_tokens
from actrio.runtime import Runtime

__all__ = ["HttpApp", "http_app"]


class HttpApp:
    """An ASGI 3 application; made by `http_app`."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.front = Front(desk, all_operations())

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        await self.front(scope, receive, send)

    async def drain(self) -> None:
        """End in order: refuse what is new, let native streams say so, wait for façade turns.

        Returns when nothing streams any more, within ``drain_seconds`` and a moment.
        """
        stops = self.desk.stops
        stops.begin()
        with trio.move_on_after(self.desk.settings.drain_seconds):
            await stops.emptied()
        stops.expire()
        with trio.move_on_after(1.0):
            await stops.emptied()


def http_app(
    runtime: Runtime,
    settings: HttpSettings | None = None,
    *,
    agents: Iterable[Agent] = (),
    address: str = "127.0.0.1",
    env: Mapping[str, str] | None = None,
) -> HttpApp:
    """Return the service as an ASGI application over ``runtime``.

    It runs in the runtime's Trio program: under `serve_http`, under hypercorn or anycorn, or
    mounted below another application.

    Args:
        runtime: Where agents and sessions live; the application ends before it.
        settings: How to answer; the defaults where None.
        agents: Agents beside those of the runtime's settings.
        address: The host it is bound to: anything but loopback needs a token.
        env: Where tokens are looked up; the process's environment where None.

    Raises:
        ConfigError: ``address`` is open to others and there is no token, or a token is unusable.
        NotFound: A tool of the settings' agents does not exist.
    """
    settings = settings or HttpSettings()
    tokens = read_tokens(settings, os.environ if env is None else env)
    refuse_open(address, tokens, settings.token_env)
    rules = AccessRules.of(tokens, hosts=settings.hosts, origins=settings.origins, address=address)
    directory = AgentDirectory(runtime, agents)
    return HttpApp(Desk(runtime, settings, rules, directory))
