"""The one seam to the HTTP library: httpx, or its maintained continuation httpx2.

Both have the same API; which one is loaded is decided here and seen nowhere else, and no other
module knows their exceptions. HTTP/1.1 only: neither of them resets a cancelled HTTP/2 stream, so
a provider would go on generating for nobody, and after a hundred of those the connection refuses
all further work.

Why lanes: the pool of httpx looks at every connection for every request, which costs 10-21 ms of
CPU per request at 200 connections. Several clients of at most ten connections each cost 0.6 ms.
They are made as they are needed and share one TLS context, because loading the certificate
authorities costs 30-54 ms each time.
"""

from __future__ import annotations

import importlib
import importlib.util
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, MutableMapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress
from functools import lru_cache
from typing import Any, Final
from weakref import WeakKeyDictionary

import attrs
import trio

from actrio.errors import ConfigError, NotConfigured
from actrio.providers._http_errors import Rows, Talk, Translated, rows_of
from actrio.providers._settings import HttpChoice, ProviderSettings

__all__ = ["LANE_CONNECTIONS", "Answer", "HttpLibrary", "Talk", "Transport", "load_http"]

LANE_CONNECTIONS: Final = 10
"""Connections of one client: where the pool's own search stays below its other costs."""

URLS_MAX: Final = 64
"""Parsed addresses kept: each costs as much as reading an answer, and a program has a few."""

PIECES: Final = "actrio.pieces"
"""The response extension by which the fast transport hands out a body's pieces themselves."""

CLOSE_SECONDS: Final = 1.0
"""How long closing a socket may take; it never waits for the other side, so this never passes."""


@attrs.frozen(slots=True)
class Answer:
    """An answer whose body is still to be read; header names are lower-case."""

    status: int
    headers: Mapping[str, str]
    pieces: AsyncIterator[bytes]


Transport = Callable[[str, Mapping[str, str], bytes], Awaitable[Answer]]
"""Stands in the network's place: given URL, headers and body, returns the answer. `ConnectionError`
and `TimeoutError`, raised by it or by the answer's pieces, are told as the network's own."""


@attrs.frozen(slots=True)
class HttpLibrary:
    """httpx or httpx2, loaded; over the network, or over a ``transport`` in its place."""

    name: str
    _module: Any = attrs.field(repr=False)
    _body_type: Callable[[bytes], Any] = attrs.field(repr=False)
    _url: Callable[[str], Any] = attrs.field(repr=False)
    _target: Callable[[str], Any] = attrs.field(repr=False)
    _rows: Rows = attrs.field(repr=False)
    _fast_type: Any = attrs.field(default=None, repr=False)  # None where httptools is missing
    transport: Transport | None = attrs.field(default=None, repr=False)
    # What carries the requests of a client that has the fast transport beneath it.
    _fast_lanes: MutableMapping[Any, Any] = attrs.field(factory=WeakKeyDictionary, repr=False)

    def tls_context(self) -> Any:
        """Return a new TLS context with the certificate authorities loaded: slow, so share it."""
        return self._module.create_ssl_context()

    def client(self, settings: ProviderSettings, tls_context: Any, *, trust_env: bool) -> Any:
        """Return one lane's client.

        Raises:
            ConfigError: The environment's proxy settings cannot be used.
            NotConfigured: The fast transport is asked for, and httptools is not installed.
        """
        if settings.transport == "fast" and self._fast_type is None:
            raise NotConfigured(
                'The transport "fast" needs httptools 0.6.4 or newer, which is not installed.',
                remedy="Install it (pip install 'httptools>=0.7'), or set transport = \"auto\".",
            )
        try:
            return self._client(settings, tls_context, trust_env=trust_env)
        except ImportError as error:
            raise ConfigError(
                f"The environment asks for a proxy that {self.name} cannot use yet: {error}",
                remedy="Install what it names, or unset ALL_PROXY, HTTP_PROXY and HTTPS_PROXY.",
            ) from None
        except (ValueError, self._module.InvalidURL):
            # Their text is not quoted: a proxy's address may hold a password.
            raise ConfigError(
                "The environment's proxy settings are no proxy addresses.",
                remedy="Correct or unset ALL_PROXY, HTTP_PROXY, HTTPS_PROXY and NO_PROXY.",
            ) from None

    def _client(self, settings: ProviderSettings, tls_context: Any, *, trust_env: bool) -> Any:
        module = self._module
        transport = self._transport(settings, tls_context, trust_env=trust_env)
        client = module.AsyncClient(
            transport=transport,
            verify=tls_context,
            http2=False,
            trust_env=trust_env,
            follow_redirects=False,  # a redirect would carry the key to who knows where
            timeout=module.Timeout(
                connect=settings.connect_seconds,
                read=None,  # told by the connection, which knows a delta from a sign of life
                write=settings.idle_seconds,
                pool=None,  # a lane never gets more calls than it has connections
            ),
            limits=module.Limits(
                max_connections=LANE_CONNECTIONS,
                max_keepalive_connections=LANE_CONNECTIONS if settings.keepalive_seconds else 0,
                keepalive_expiry=settings.keepalive_seconds,
            ),
        )
        if self._fast_type is not None and isinstance(transport, self._fast_type):
            from actrio.providers._fast_post import FastLane  # late: it needs httptools

            seconds = {"connect": settings.connect_seconds, "write": settings.idle_seconds}
            self._fast_lanes[client] = FastLane(
                transport, {**seconds, "read": math.inf, "pool": math.inf}
            )
        return client

    def _transport(self, settings: ProviderSettings, tls_context: Any, *, trust_env: bool) -> Any:
        """Return what carries the requests; None: the library's own transport."""
        if self.transport is not None:
            return in_memory(self._module, self.transport)
        if settings.transport == "httpx" or self._fast_type is None:
            return None
        if trust_env and _proxies():
            return None
        return self._fast_type(
            tls_context,
            connections_max=LANE_CONNECTIONS,
            kept_max=LANE_CONNECTIONS,
            keep_seconds=settings.keepalive_seconds,
        )

    def translated(self, talk: Talk) -> Translated:
        """Turn the library's exceptions, and only those, into ours; see `Translated`."""
        return Translated(self._rows, talk)

    def post(
        self, client: Any, url: str, *, headers: Mapping[str, str], body: bytes
    ) -> AbstractAsyncContextManager[Answer]:
        """Send ``body`` and give the answer; after the block its socket is closed or free again.

        The pieces are raw: ask for ``identity``, and nothing in between can fail.

        *Cancellation*: closes the socket; shielded while it does, for at most ``CLOSE_SECONDS``.
        """
        lane = self._fast_lanes.get(client)
        target = self._target(url) if lane is not None else None
        if lane is None or target is None:
            return self._post_through(client, url, headers=headers, body=body)
        from actrio.providers._fast_post import FastPost  # it was imported with the lane

        return FastPost(self._module, lane, target, headers, body)

    @asynccontextmanager
    async def _post_through(
        self, client: Any, url: str, *, headers: Mapping[str, str], body: bytes
    ) -> AsyncIterator[Answer]:
        """Send it the library's way.

        The library reads through six nested async generators, and sends from one. One that is
        left at a ``yield`` is finished by the garbage collector, later and with a warning. So the
        body is sent from a plain iterator, and on every way out the response is closed first (on
        HTTP/1.1: its socket) and then what was read already is run through, at most one read's
        worth; it ends in the library's own error of a closed socket.
        """
        request = client.build_request("POST", self._url(url), headers=headers, content=body)
        request.stream = self._body_type(body)
        response = await client.send(request, stream=True)
        pieces = response.extensions.get(PIECES) or response.aiter_raw()
        try:
            yield Answer(response.status_code, dict(response.headers.items()), pieces)
        finally:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + CLOSE_SECONDS):
                await response.aclose()
                with suppress(*(kind for kind, _ in self._rows)):
                    async for _ in pieces:
                        pass


def _body_type(module: Any) -> Callable[[bytes], Any]:
    class Body(module.AsyncByteStream):  # type: ignore[misc]
        """A request body that is no async generator, so a cancel while it is sent leaves none."""

        def __init__(self, data: bytes) -> None:
            self._data: bytes | None = data

        def __aiter__(self) -> Body:
            return self

        async def __anext__(self) -> bytes:
            if self._data is None:
                raise StopAsyncIteration
            data, self._data = self._data, None
            return data

    return Body


def in_memory(module: Any, transport: Transport) -> Any:
    """Return ``transport`` in the library's own form."""

    class Pieces(module.AsyncByteStream):  # type: ignore[misc]
        def __init__(self, pieces: AsyncIterator[bytes]) -> None:
            self._pieces: AsyncIterator[bytes] | None = pieces

        def __aiter__(self) -> Pieces:
            return self

        async def __anext__(self) -> bytes:
            if self._pieces is None:
                raise module.StreamClosed
            with translated():
                return await anext(self._pieces)

        async def aclose(self) -> None:
            pieces, self._pieces = self._pieces, None
            if pieces is not None and hasattr(pieces, "aclose"):
                await pieces.aclose()

    class InMemory(module.AsyncBaseTransport):  # type: ignore[misc]
        async def handle_async_request(self, request: Any) -> Any:
            body = b"".join([piece async for piece in request.stream])
            with translated():
                answer = await transport(str(request.url), dict(request.headers.items()), body)
            pieces = Pieces(answer.pieces)
            return module.Response(answer.status, headers=dict(answer.headers), stream=pieces)

    @contextmanager
    def translated() -> Iterator[None]:
        try:
            yield
        except ConnectionRefusedError as error:
            raise module.ConnectError(str(error)) from None
        except ConnectionError as error:
            raise module.ReadError(str(error)) from None
        except TimeoutError as error:
            raise module.ConnectTimeout(str(error)) from None

    return InMemory()


def load_http(choice: HttpChoice = "auto", transport: Transport | None = None) -> HttpLibrary:
    """Load the HTTP library that the settings ask for.

    Args:
        choice: Which one.
        transport: What stands in the network's place, for tests.

    Raises:
        NotConfigured: It is not installed.
    """
    wanted = ("httpx2", "httpx") if choice == "auto" else (choice,)
    name = next((one for one in wanted if importlib.util.find_spec(one) is not None), None)
    if name is None:
        raise NotConfigured(
            f"The HTTP library {choice} is not installed.",
            remedy="Install it (pip install 'actrio[httpx2]'), or set http = \"auto\".",
        )
    module = importlib.import_module(name)
    url = lru_cache(URLS_MAX)(module.URL)

    @lru_cache(URLS_MAX)
    def target(address: str) -> Any:
        from actrio.providers._fast_post import target_of

        return target_of(module, url(address))

    return HttpLibrary(
        name,
        module,
        _body_type(module),
        url,
        target,
        rows_of(module),
        _fast_type(module),
        transport,
    )


def _fast_type(module: Any) -> Any:
    """Return the fast transport below ``module``; None without a parser that can be told enough."""
    try:
        from httptools import HttpResponseParser
    except ImportError:
        return None
    if not hasattr(HttpResponseParser, "set_dangerous_leniencies"):
        return None  # older than 0.6.4, which other programs' requirements may hold back
    from actrio.providers._fast_transport import transport_type

    return transport_type(module, PIECES)


def _proxies() -> bool:
    """Whether the environment names one that the library would take."""
    from urllib.request import getproxies  # slow to load, and httpx has loaded it by now

    return any(getproxies().get(scheme) for scheme in ("http", "https", "all"))
