"""Which provider a name means, and what a connection to it needs. Pure decisions.

Known by name are the vendors in `CATALOG`; any other name is an endpoint from the settings. A
vendor's own variables (``OPENAI_BASE_URL``) are defaults as in its own client: what the settings
say comes first.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import SplitResult, urlsplit

import attrs

from actrio.errors import ActrioError, ConfigError, NotConfigured, NotFound
from actrio.providers._endpoint import Endpoint
from actrio.providers._settings import (
    DialectName,
    ProviderSettings,
    ProviderStatus,
    check_enabled,
)
from actrio.providers._vendors import CATALOG, Capability, Variable, Vendor
from actrio.providers.dialects import Deviations

if TYPE_CHECKING:
    from actrio.providers.dialects import Dialect, OpenAiChat

__all__ = [
    "BUILT_IN",
    "CATALOG",
    "Access",
    "capabilities_of",
    "known_providers",
    "make_dialect",
    "resolve",
    "status_of",
]

BUILT_IN: Final[Mapping[str, tuple[Capability, ...]]] = {
    "local": ("chat", "stream", "tools", "structured", "embeddings"),
    "scripted": ("chat", "stream", "tools", "embeddings"),
}
"""Providers that need no endpoint in the settings, because they are part of actrio."""

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

_DEFAULTS: Final = ProviderSettings()
_TUNED: Final = ("max_connections", "connect_seconds", "idle_seconds")
"""Settings that a vendor's own defaults may change where the operator left them alone."""


@attrs.frozen(slots=True)
class Access:
    """All that a connection to one provider needs.

    Attributes:
        loopback: The endpoint is on this machine: no key is needed, no proxy is asked.
        settings: The operator's, with the vendor's defaults and headers beneath them.
    """

    name: str
    endpoint: Endpoint
    dialect: Dialect
    loopback: bool
    settings: ProviderSettings


def known_providers(settings: Mapping[str, ProviderSettings]) -> list[str]:
    """Return the names of all providers, known or configured."""
    return sorted({*CATALOG, *BUILT_IN, *settings})


def resolve(name: str, settings: Mapping[str, ProviderSettings], env: Mapping[str, str]) -> Access:
    """Return what a connection to ``name`` needs.

    Raises:
        NotFound: There is no such provider.
        NotConfigured: It is disabled, or has no key or base_url; names what is missing.
        ConfigError: Its base_url, vendor, region or dialect cannot be used.
    """
    chosen = settings.get(name)
    if name not in CATALOG and chosen is None:
        raise _unknown(name, settings)
    chosen = chosen or _DEFAULTS
    check_enabled(name, settings)
    vendor_name = _vendor_name(name, chosen)
    vendor = CATALOG[vendor_name] if vendor_name is not None else None
    kind = _dialect_kind(name, chosen, vendor)
    variables = _key_variables(name, chosen, vendor)
    variable = next((one for one in variables if env.get(one, "").strip()), variables[0])
    base_url = _base_url(name, chosen, vendor, env, kind=kind, key_env=variable)
    url = _checked_url(name, base_url)
    loopback = _is_loopback(url)
    needed = not loopback and (vendor is None or vendor.key_needed)
    key = _key(name, variables, variable, env, needed=needed or chosen.api_key_env is not None)
    bearer = vendor is None or variable in vendor.bearer_env
    return Access(
        name,
        Endpoint(base_url.rstrip("/"), key),
        make_dialect(
            kind,
            name,
            vendor=vendor_name,
            api_version=chosen.api_version,
            bearer=bearer,
        ),
        loopback,
        _with_defaults(chosen, vendor, env),
    )


def make_dialect(
    kind: DialectName,
    provider: str,
    *,
    vendor: str | None = None,
    api_version: str | None = None,
    bearer: bool = False,
) -> Dialect:
    """Return a wire format of ``provider``.

    Args:
        vendor: The known vendor whose deviations hold.
        api_version: Azure's, for chat completions.
        bearer: Whether the key is a bearer token also where the format has a header of its own.
    """
    # Late, the format that is spoken and no other: each takes as long to load as all of httpcore.
    from actrio.providers import dialects

    deviations = CATALOG[vendor].deviations if vendor is not None else Deviations()
    match kind:
        case "openai":
            return _chat(provider, deviations, api_version)
        case "responses":
            host: Any = "openrouter" if vendor == "openrouter" else "openai"
            return dialects.OpenAiResponses(provider, host, embeddings=_chat(provider, deviations))
        case "anthropic":
            return dialects.AnthropicMessages(provider, key_as="bearer" if bearer else "x-api-key")
        case "gemini":
            return dialects.Gemini(provider)
        case "ollama":
            return dialects.OllamaChat(provider)


def _chat(provider: str, deviations: Deviations, api_version: str | None = None) -> OpenAiChat:
    from actrio.providers.dialects import OpenAiChat

    if api_version is None:
        return OpenAiChat(provider, deviations)
    return OpenAiChat(provider, deviations, "api-key", api_version)


def capabilities_of(name: str, settings: Mapping[str, ProviderSettings]) -> tuple[Capability, ...]:
    """Return what ``name`` can do, as far as anybody knows."""
    if name in BUILT_IN:
        return BUILT_IN[name]
    chosen = settings.get(name)
    vendor = CATALOG.get((chosen.vendor if chosen else None) or name)
    return vendor.can if vendor is not None else ()


def status_of(
    name: str, settings: Mapping[str, ProviderSettings], env: Mapping[str, str]
) -> ProviderStatus:
    """Return whether ``name`` can be used; asks nothing over the network."""
    chosen = settings.get(name)
    can = capabilities_of(name, settings)
    if chosen is not None and not chosen.enabled:
        remedy = f"Set providers.{name}.enabled = true."
        return ProviderStatus(name, "disabled", remedy=remedy, can=can)
    if name in BUILT_IN:
        return ProviderStatus(name, "available", can=can)
    try:
        resolve(name, settings, env)
    except ActrioError as error:
        missing = error.data.get("missing_env")
        remedy = error.remedy or error.message
        return ProviderStatus(name, "not-configured", missing, remedy, can)
    return ProviderStatus(name, "available", can=can)


def _vendor_name(name: str, chosen: ProviderSettings) -> str | None:
    if chosen.vendor is None:
        return name if name in CATALOG else None
    if chosen.vendor not in CATALOG:
        raise ConfigError(
            f"providers.{name}.vendor is {chosen.vendor[:80]!r}.",
            remedy=f"Set it to one of {', '.join(CATALOG)}, or leave it out.",
        )
    return chosen.vendor


def _dialect_kind(name: str, chosen: ProviderSettings, vendor: Vendor | None) -> DialectName:
    default: DialectName = next(iter(vendor.dialects)) if vendor is not None else "openai"
    kind = chosen.dialect or default
    if vendor is not None and chosen.base_url is None and kind not in vendor.dialects:
        raise ConfigError(
            f"providers.{name}.dialect is {kind!r}, which that vendor does not speak.",
            remedy=f"Set it to one of {', '.join(vendor.dialects)}, or set base_url as well.",
        )
    if chosen.api_version is not None and kind != "openai":
        raise ConfigError(
            f"providers.{name}.api_version is set, but the dialect is {kind!r}.",
            remedy='Leave it out; it belongs to dialect = "openai" at Azure.',
        )
    return kind


def _with_defaults(
    chosen: ProviderSettings, vendor: Vendor | None, env: Mapping[str, str]
) -> ProviderSettings:
    if vendor is None:
        return chosen
    tuned = {
        name: getattr(vendor.defaults, name)
        for name in _TUNED
        if getattr(chosen, name) == getattr(_DEFAULTS, name)
    }
    headers = {
        header: env[variable] for header, variable in vendor.header_env.items() if env.get(variable)
    }
    return attrs.evolve(chosen, headers={**headers, **chosen.headers}, **tuned)


# -- where ---------------------------------------------------------------------------------------


def _base_url(
    name: str,
    chosen: ProviderSettings,
    vendor: Vendor | None,
    env: Mapping[str, str],
    *,
    kind: DialectName,
    key_env: str,
) -> str:
    if chosen.base_url is not None:
        return _filled(name, chosen.base_url, chosen.region)
    if vendor is None:
        raise NotConfigured(
            f"Provider {name!r} has no base_url.",
            remedy=f'Set it in actrio.toml: [providers.{name}] base_url = "https://…/v1"',
        )
    if chosen.region is not None and chosen.region not in vendor.regions:
        regions = ", ".join(vendor.regions) or "none"
        raise ConfigError(
            f"providers.{name}.region is {chosen.region!r}, and that vendor has {regions}.",
            remedy="Set one of these, or leave it out, or set base_url.",
        )
    region = chosen.region or vendor.key_regions.get(key_env)
    told = _told_base_url(vendor, env) if chosen.region is None else None
    base_url = told or (vendor.regions[region] if region else vendor.base_url)
    return base_url.rstrip("/") + vendor.dialects.get(kind, "")


def _filled(name: str, base_url: str, region: str | None) -> str:
    if "{region}" not in base_url:
        return base_url
    if region is None:
        raise NotConfigured(
            f"providers.{name}.base_url has a place for a region, and no region is set.",
            remedy=f'Set it in actrio.toml: [providers.{name}] region = "…"',
        )
    return base_url.replace("{region}", region)


def _told_base_url(vendor: Vendor, env: Mapping[str, str]) -> str | None:
    for variable in vendor.base_url_env:
        if told := env.get(variable.name, "").strip():
            base_url = _as_url(told, variable).rstrip("/")
            return base_url if base_url.endswith(variable.adds) else base_url + variable.adds
    return None


def _as_url(told: str, variable: Variable) -> str:
    """Return a value as a URL; a server's own variable may be a host that it listens on."""
    if variable.port is None or "://" in told:
        return told
    host, _, port = told.rpartition(":") if re.search(r":\d+$", told) else (told, "", "")
    host = "127.0.0.1" if host in {"", "0.0.0.0", "[::]"} else host  # noqa: S104 - where to, not where at
    return f"http://{host}:{port or variable.port}"


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


# -- whose key -----------------------------------------------------------------------------------


def _key_variables(name: str, chosen: ProviderSettings, vendor: Vendor | None) -> tuple[str, ...]:
    if chosen.api_key_env is not None:
        return (chosen.api_key_env,)
    if vendor is None or name not in CATALOG:
        return (_default_variable(name),)
    return vendor.key_env


def _key(
    name: str, variables: tuple[str, ...], variable: str, env: Mapping[str, str], *, needed: bool
) -> str | None:
    key = env.get(variable, "").strip()
    if not key:
        if not needed:
            return None
        others = f" (or {' or '.join(variables[1:])})" if variables[1:] else ""
        raise NotConfigured(
            f"Provider {name!r} has no API key: {variable}{others} is not set.",
            remedy=f"Set {variable}{others} in the environment or in .env.",
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
