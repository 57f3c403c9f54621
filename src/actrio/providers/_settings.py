"""The ``[providers.NAME]`` settings, and what is said about each provider."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, get_args

import attrs

from actrio.errors import ConfigError

__all__ = ["HttpChoice", "ProviderSettings", "ProviderState", "ProviderStatus"]

HttpChoice = Literal["auto", "httpx", "httpx2"]
ProviderState = Literal["available", "not-configured", "disabled"]

CONNECTIONS_MAX: Final = 10_000  # beyond the ports of one address; a larger number is a typo
SECONDS_MAX: Final = 86_400.0


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


def _known_library(_instance: Any, _attribute: Any, value: Any) -> None:
    if value not in get_args(HttpChoice):
        raise ConfigError(
            f"providers.*.http is {value!r}.",
            remedy=f"Set it to one of {', '.join(get_args(HttpChoice))}.",
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
        if name.lower() == "authorization":
            raise ConfigError(
                "providers.*.headers may not hold Authorization.",
                remedy='Name the variable that holds the key: api_key_env = "…".',
            )


@attrs.frozen(slots=True, kw_only=True)
class ProviderSettings:
    """One ``[providers.NAME]`` table.

    Attributes:
        base_url: Where an OpenAI-compatible endpoint is, up to and with its version (``…/v1``).
        api_key_env: The variable that holds the key. Default: the provider's own, or
            ``NAME_API_KEY``; an endpoint on loopback needs none.
        dialect: The wire format; ``openai`` is chat completions.
        headers: Further request headers; their values count as secrets.
        max_connections: Calls in work at once; further ones wait in order.
        connect_seconds: How long a connection may take to come up.
        idle_seconds: How long the provider may be silent between two reads.
        enabled: False refuses every call to it.
        http: Which HTTP library; ``auto`` takes httpx2 where it is installed.
    """

    base_url: str | None = None
    api_key_env: str | None = None
    dialect: str = "openai"
    headers: Mapping[str, str] = attrs.field(
        factory=dict, repr=lambda value: str(list(value)), validator=_plain_headers
    )
    max_connections: int = attrs.field(
        default=100, validator=_number(1, CONNECTIONS_MAX, whole=True)
    )
    connect_seconds: float = attrs.field(default=10.0, validator=_number(0.001, SECONDS_MAX))
    idle_seconds: float = attrs.field(default=120.0, validator=_number(0.001, SECONDS_MAX))
    enabled: bool = True
    http: HttpChoice = attrs.field(default="auto", validator=_known_library)


@attrs.frozen(slots=True)
class ProviderStatus:
    """Whether a provider can be used, and what to do where it cannot."""

    name: str
    state: ProviderState
    missing_env: str | None = None
    remedy: str | None = None
