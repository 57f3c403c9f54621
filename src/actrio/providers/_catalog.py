"""Which providers there are, and what a call to one needs. Data and pure decisions.

Known by name are the vendors in `CATALOG`; any other name is an OpenAI-compatible endpoint from
the settings. A vendor's own variables (``OPENAI_BASE_URL``) are defaults as in its own SDK: what
the settings say comes first.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import SplitResult, urlsplit

import attrs

from actrio.errors import ActrioError, ConfigError, NotConfigured, NotFound
from actrio.providers._endpoint import Endpoint
from actrio.providers._settings import ProviderSettings, ProviderStatus
from actrio.providers.dialects import MaxTokensField, OpenAiChat

__all__ = ["BUILT_IN", "CATALOG", "Access", "known_providers", "resolve", "status_of"]

BUILT_IN: Final = ("local", "scripted")
"""Providers that need no endpoint in the settings: they are part of actrio."""

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@attrs.frozen(slots=True)
class Vendor:
    """What is known about a vendor without any settings."""

    base_url: str
    api_key_env: str
    base_url_env: str
    max_tokens_field: MaxTokensField


CATALOG: Final[Mapping[str, Vendor]] = {
    "openai": Vendor(
        base_url="https://api.openai.com/v1",
        api_key_env="OPENAI_API_KEY",
        base_url_env="OPENAI_BASE_URL",
        max_tokens_field="max_completion_tokens",
    ),
}


@attrs.frozen(slots=True)
class Access:
    """All that a connection to one provider needs.

    Attributes:
        loopback: The endpoint is on this machine: no key is needed, no proxy is asked.
    """

    name: str
    endpoint: Endpoint
    dialect: OpenAiChat
    loopback: bool


def known_providers(settings: Mapping[str, ProviderSettings]) -> list[str]:
    """Return the names of all providers, known or configured."""
    return sorted({*CATALOG, *BUILT_IN, *settings})


def resolve(name: str, settings: Mapping[str, ProviderSettings], env: Mapping[str, str]) -> Access:
    """Return what a connection to ``name`` needs.

    Raises:
        NotFound: There is no such provider.
        NotConfigured: It is disabled, or has no key or base_url; names what is missing.
        ConfigError: Its base_url or dialect cannot be used.
    """
    vendor = CATALOG.get(name)
    chosen = settings.get(name)
    if vendor is None and chosen is None:
        raise _unknown(name, settings)
    chosen = chosen or ProviderSettings()
    check_enabled(name, settings)
    if chosen.dialect != "openai":
        raise ConfigError(
            f"providers.{name}.dialect is {chosen.dialect!r}.",
            remedy="Set it to openai (chat completions); there is no other yet.",
        )
    base_url = chosen.base_url or _vendor_base_url(vendor, env)
    if base_url is None:
        raise NotConfigured(
            f"Provider {name!r} has no base_url.",
            remedy=f'Set it in actrio.toml: [providers.{name}] base_url = "https://…/v1"',
        )
    url = _checked_url(name, base_url)
    loopback = _is_loopback(url)
    key = _key(name, chosen, vendor, env, needed=not loopback)
    field = vendor.max_tokens_field if vendor is not None else "max_tokens"
    return Access(name, Endpoint(base_url.rstrip("/"), key), OpenAiChat(name, field), loopback)


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


def status_of(
    name: str, settings: Mapping[str, ProviderSettings], env: Mapping[str, str]
) -> ProviderStatus:
    """Return whether ``name`` can be used; asks nothing over the network."""
    chosen = settings.get(name)
    if chosen is not None and not chosen.enabled:
        return ProviderStatus(name, "disabled", remedy=f"Set providers.{name}.enabled = true.")
    if name in BUILT_IN:
        return ProviderStatus(name, "available")
    try:
        resolve(name, settings, env)
    except ActrioError as error:
        missing = error.data.get("missing_env")
        return ProviderStatus(name, "not-configured", missing, error.remedy or error.message)
    return ProviderStatus(name, "available")


def _unknown(name: str, settings: Mapping[str, ProviderSettings]) -> NotFound:
    section = name if _NAME.fullmatch(name) else "NAME"
    return NotFound(
        f"There is no provider {name[:80]!r}.",
        remedy=(
            f"Use one of {', '.join(known_providers(settings))}, or add an OpenAI-compatible one "
            f'to actrio.toml: [providers.{section}] base_url = "https://…/v1" '
            'api_key_env = "…_API_KEY"'
        ),
    )


def _vendor_base_url(vendor: Vendor | None, env: Mapping[str, str]) -> str | None:
    return (env.get(vendor.base_url_env) or vendor.base_url) if vendor is not None else None


def _checked_url(name: str, base_url: str) -> SplitResult:
    try:
        url = urlsplit(base_url)
        valid = url.scheme in {"http", "https"} and bool(url.hostname) and url.port != 0
        (url.hostname or "").encode("idna")
    except ValueError:  # UnicodeError, of a host that no resolver takes, is one too
        valid = False
    if not valid or not base_url.isprintable() or " " in base_url:
        raise ConfigError(
            f"providers.{name}.base_url is no web address.",
            remedy="Write it like https://host/v1 or http://127.0.0.1:8080/v1.",
        )
    if url.username or url.password or url.query or url.fragment:
        raise ConfigError(
            f"providers.{name}.base_url holds a user, a query or a fragment.",
            remedy="Give only scheme, host, port and path; the key goes into api_key_env's variable.",
        )
    return url


def _is_loopback(url: SplitResult) -> bool:
    host = url.hostname or ""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _key(
    name: str,
    chosen: ProviderSettings,
    vendor: Vendor | None,
    env: Mapping[str, str],
    *,
    needed: bool,
) -> str | None:
    default = vendor.api_key_env if vendor is not None else _default_variable(name)
    variable = chosen.api_key_env or default
    key = env.get(variable, "").strip()
    if not key:
        if chosen.api_key_env is None and not needed:
            return None
        raise NotConfigured(
            f"Provider {name!r} has no API key: {variable} is not set.",
            remedy=f"Set {variable} in the environment or in .env.",
            data={"missing_env": variable},
        )
    if not key.isascii() or not key.isprintable() or " " in key:
        raise NotConfigured(
            f"The value of {variable} cannot be an API key: it holds spaces or special characters.",
            remedy=f"Set {variable} to the key alone.",
            data={"missing_env": variable},
        )
    return key


def _default_variable(name: str) -> str:
    return f"{re.sub(r'[^A-Za-z0-9]+', '_', name).upper()}_API_KEY"
