"""A bare loop of httpx on Trio.

With ``"own": true`` each session has a client of its own and all share one TLS context; without,
one client serves all, as one would write it first. httpx's pool looks through all its requests
whenever one of them changes, so that is quadratic in the number of streams.
"""

from __future__ import annotations

from typing import Any

from bench.peers.harness import Heard, Meter
from bench.peers.work import prompt

meter = Meter("bare httpx", "trio", "httpx", "orjson")
with meter.importing():
    import httpx
    import trio

    from bench.peers.clients.bare_body import Events, request_body

HEADERS = {"content-type": "application/json", "authorization": "Bearer none"}


class Clients:
    """Lends a client for each turn."""

    def __init__(self, *, own: bool) -> None:
        self._own = own
        self._context = httpx.create_ssl_context()
        self._free: list[httpx.AsyncClient] = []
        self._shared = self._client()

    def _client(self) -> httpx.AsyncClient:
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
        return httpx.AsyncClient(verify=self._context, timeout=60, headers=HEADERS, limits=limits)

    def take(self) -> httpx.AsyncClient:
        if not self._own:
            return self._shared
        return self._free.pop() if self._free else self._client()

    def give_back(self, client: httpx.AsyncClient) -> None:
        if self._own:
            self._free.append(client)


async def setup() -> Clients:
    await trio.lowlevel.checkpoint()
    return Clients(own=meter.load.get("own", False))


async def turn(clients: Clients, number: int, heard: Heard) -> None:
    client = clients.take()
    url = f"{meter.load['url']}/chat/completions"
    messages: list[dict[str, Any]] = [{"role": "user", "content": prompt(number)}]
    while True:
        events = Events()
        body = request_body(messages, tools=meter.load["tools"])
        async with client.stream("POST", url, content=body) as answer:
            answer.raise_for_status()
            async for data in answer.aiter_raw():
                if text := events.text(data):
                    heard(text)
        assert events.done
        if not events.calls:
            break
        messages += events.messages_after_tools()
    clients.give_back(client)


if __name__ == "__main__":
    meter.run_trio(setup, turn)
