"""The ``[providers.NAME]`` settings, and what is said about each provider."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, Literal, get_args

import attrs

from actrio.errors import ConfigError, NotConfigured
from actrio.providers._limits import ConnectionLimits

__all__ = [
    "DialectName",
    "HttpChoice",
    "ProviderSettings",
    "ProviderState",
    "ProviderStatus",
    "TransportChoice",
    "check_enabled",
]

DialectName = Literal["openai", "responses", "anthropic", "gemini", "ollama"]
HttpChoice = Literal["auto", "httpx", "httpx2"]
TransportChoice = Literal["auto", "fast", "httpx"]
ProviderState = Literal["available", "not-configured", "disabled"]

CONNECTIONS_MAX: Final = 10_000  # beyond the ports of one address; a larger number is a typo
SECONDS_MAX: Final = 86_400.0

_WORD: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")  # it becomes part of a URL

_KEY_HEADERS: Final = {"authorization", "api-key", "x-api-key", "x-goog-api-key"}


def _number(low: float, high: float, *, whole: bool = False) -> Any:
    def check(_instance: Any, attribute: Any, value: Any) -> None:
        fits = isinstance(value, int) if whole else isinstance(value, (int, float))
        if not fits or isinstance(value, bool) or not low <= value <= high:
            sort = "a whole number" if whole else "a number"
            raise ConfigError(
                f"providers.*.{attribute.name} is {value!r}.",
                remedy=f"Set it to {sort} from {low:g} to {high:g}.",
            )

    return check


def _one_of(choices: Any, *, optional: bool = False) -> Any:
    def check(_instance: Any, attribute: Any, value: Any) -> None:
        if value not in get_args(choices) and not (optional and value is None):
            raise ConfigError(
                f"providers.*.{attribute.name} is {value!r}.",
                remedy=f"Set it to one of {', '.join(get_args(choices))}.",
            )

    return check


def _path_word(_instance: Any, attribute: Any, value: str | None) -> None:
    if value is not None and not _WORD.fullmatch(value):
        raise ConfigError(
            f"providers.*.{attribute.name} is {value[:80]!r}.",
            remedy="Use letters, digits, '.', '_' and '-', as the vendor writes it.",
        )


def _plain_headers(_instance: Any, _attribute: Any, value: Mapping[str, str]) -> None:
    for name, text in value.items():
        token = name.replace("-", "").replace("_", "").isalnum() and name.isascii()
        if not token or not text.isprintable() or not text.isascii():
            # The value may be a secret, so only the name is told.
            raise ConfigError(
                f"providers.*.headers: {name!r} cannot be sent as an HTTP header.",
                remedy="Use letters, digits and '-' in names and printable ASCII in values.",
            )
        if name.lower() in _KEY_HEADERS:
            raise ConfigError(
                f"providers.*.headers may not hold {name}.",
                remedy='Name the variable that holds the key: api_key_env = "…".',
            )


@attrs.frozen(slots=True, kw_only=True)
class ProviderSettings:
    """One ``[providers.NAME]`` table.

    Attributes:
        base_url: Where the endpoint is, up to and with its version (``…/v1``); ``{region}`` in it
            stands for the region.
        api_key_env: The variable that holds the key. Default: the vendor's own, or
            ``NAME_API_KEY``; an endpoint on loopback needs none.
        vendor: The known vendor whose endpoint this is, where NAME is another: a second key, or a
            proxy. It gives the defaults and the deviations of the wire format.
        dialect: The wire format: ``openai`` (chat completions), ``responses`` (OpenAI's other
            one), ``anthropic``, ``gemini`` or ``ollama``. Default: the vendor's own; chat
            completions where there is none.
        region: Which of a vendor's places, for example ``intl``; or what fills the base_url.
        api_version: Azure's dated interface: the model's name is that of a deployment below
            ``base_url`` (``https://NAME.openai.azure.com/openai``).
        headers: Further request headers; their values count as secrets.
        max_connections: Calls in work at once; further ones wait in order.
        connect_seconds: How long a connection may take to come up.
        idle_seconds: How long the provider may be silent between two reads.
        keepalive_seconds: How long an unused connection is kept for the next call; 0 closes each
            one after its answer. 30 covers a tool between two steps, and few servers give up
            sooner.
        enabled: False refuses every call to it.
        http: Which HTTP library; ``auto`` takes httpx2 where it is installed.
        transport: What carries its requests: ``fast`` reads answers in C code, ``httpx`` is the
            library's own. ``auto`` takes ``fast`` where ``httptools`` is installed. Through a
            proxy it is always the library's own.
        limits: Quota, queue, retries, time limits, circuit and fallback; a table of its own.
    """

    base_url: str | None = None
    api_key_env: str | None = None
    vendor: str | None = None
    dialect: DialectName | None = attrs.field(
        default=None, validator=_one_of(DialectName, optional=True)
    )
    region: str | None = attrs.field(default=None, validator=_path_word)
    api_version: str | None = attrs.field(default=None, validator=_path_word)
    headers: Mapping[str, str] = attrs.field(
        factory=dict, repr=lambda value: str(list(value)), validator=_plain_headers
    )
    max_connections: int = attrs.field(
        default=100, validator=_number(1, CONNECTIONS_MAX, whole=True)
    )
    connect_seconds: float = attrs.field(default=10.0, validator=_number(0.001, SECONDS_MAX))
    idle_seconds: float = attrs.field(default=120.0, validator=_number(0.001, SECONDS_MAX))
    keepalive_seconds: float = attrs.field(default=30.0, validator=_number(0, SECONDS_MAX))
    enabled: bool = True
    http: HttpChoice = attrs.field(default="auto", validator=_one_of(HttpChoice))
    transport: TransportChoice = attrs.field(default="auto", validator=_one_of(TransportChoice))
    limits: ConnectionLimits = ConnectionLimits()


@attrs.frozen(slots=True)
class ProviderStatus:
    """Whether a provider can be used, and what to do where it cannot.

    Attributes:
        missing_env: The variable that is not set, where that is all.
        can: What it can do, as far as anybody knows.
    """

    name: str
    state: ProviderState
    missing_env: str | None = None
    remedy: str | None = None
    can: tuple[str, ...] = ()


def check_enabled(name: str, settings: Mapping[str, ProviderSettings]) -> None:
    """Raise where the settings switch ``name`` off.

    Raises:
        NotConfigured: They do.
    """
    chosen = settings.get(name)
    if chosen is not None and not chosen.enabled:
        raise NotConfigured(
            f"Provider {name!r} is disabled in the settings.",
            remedy=f"Set enabled = true under [providers.{name}], or use another provider.",
        )
