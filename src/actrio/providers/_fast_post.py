"""A POST straight into the fast transport, without httpx's client above it.

The client would build a request, merge headers, look for cookies, for a redirect and for somebody
to log in, and build a response: a third of what the whole exchange costs, and nothing that a
provider is asked for. What it adds to a request is added here: ``Host``, ``Connection``,
``Content-Length``. An address with a user in it goes through the client, which makes a login of
that. Cookies are not kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import attrs

from actrio.providers._fast_transport import origin_of, request_bytes
from actrio.providers._http import Answer

__all__ = ["FastLane", "FastPost", "Target", "target_of"]

_ENCODINGS: Final = ("ascii", "utf-8", "iso-8859-1")
"""Tried in this order on an answer's headers, as httpx does; the last one takes every byte."""


@attrs.frozen(slots=True)
class Target:
    """An address, taken apart once."""

    origin: tuple[str, str, int]
    path: bytes
    host: bytes


@attrs.frozen(slots=True, eq=False)
class FastLane:
    """The fast transport beneath one client, and how long each phase of a request may take."""

    transport: Any
    seconds: Mapping[str, float]


def target_of(module: Any, url: Any) -> Target | None:
    """Return where ``url`` leads; None where the client would do more than go there."""
    if url.userinfo:
        return None
    return Target(origin_of(module, url), url.raw_path, url.netloc)


class FastPost:
    """One POST: ``async with FastPost(…) as answer``; closed, or free again, after the block.

    Closing never waits, so nothing needs a shield.

    Args:
        module: Whose exceptions are raised.
        lane: What carries it.
    """

    __slots__ = ("_body", "_exchange", "_headers", "_lane", "_module", "_target")

    def __init__(
        self,
        module: Any,
        lane: FastLane,
        target: Target,
        headers: Mapping[str, str],
        body: bytes,
    ) -> None:
        self._module = module
        self._lane = lane
        self._target = target
        self._headers = headers
        self._body = body
        self._exchange: Any = None

    async def __aenter__(self) -> Answer:
        target, lane = self._target, self._lane
        # By lower-case name, so that what the settings give replaces what was there.
        headers = {
            b"host": (b"Host", target.host),
            b"connection": (b"Connection", b"keep-alive"),
            b"content-length": (b"Content-Length", b"%d" % len(self._body)),
        }
        for key, value in self._headers.items():
            name = key.encode("ascii")
            headers[name.lower()] = name, value.encode("ascii")
        payload, keep = request_bytes(
            self._module, b"POST", target.path, list(headers.values()), self._body
        )
        head, self._exchange = await lane.transport.send(
            target.origin, payload, keep, seconds=lane.seconds
        )
        return Answer(head.status, _told(head.headers), self._exchange)

    async def __aexit__(self, *_exc: object) -> None:
        self._exchange.end()


def _told(raw: list[tuple[bytes, bytes]]) -> dict[str, str]:
    """Return headers by lower-case name; one that stands several times is joined."""
    for encoding in _ENCODINGS:
        try:
            pairs = [(name.decode(encoding).lower(), value.decode(encoding)) for name, value in raw]
        except UnicodeDecodeError:
            continue
        break
    told: dict[str, str] = {}
    for name, value in pairs:
        told[name] = f"{told[name]}, {value}" if name in told else value
    return told
