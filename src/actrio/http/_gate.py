"""Who may ask: token, host and origin. Pure decisions on a request's head.

A page in a browser on this machine can reach every loopback port. Two checks keep it out: its
``Origin`` is refused unless it is ours or listed, and ``Host`` must be a name of ours, so that a
name which its owner points at 127.0.0.1 (DNS rebinding) is refused as well.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

import attrs

from actrio.errors import ConfigError

__all__ = ["OPEN_PATHS", "AccessRules", "Caller", "Denied", "admit", "is_loopback", "refuse_open"]

OPEN_PATHS: Final = frozenset({"/livez", "/readyz"})
"""What an orchestrator asks without a token; both tell one word."""

_LOOPBACK_NAMES: Final = frozenset({"localhost", "127.0.0.1", "::1"})


@attrs.frozen(slots=True)
class Caller:
    """On whose behalf a request is made: what is counted and bounded together.

    Attributes:
        name: A token's fingerprint, or a network address.
        origin: The web page's origin where CORS answers are due.
    """

    name: str
    origin: str = ""


@attrs.frozen(slots=True)
class Denied:
    """Why a request is not let in. ``status`` is 401 or 403."""

    status: int
    message: str
    remedy: str


@attrs.frozen(slots=True)
class AccessRules:
    """What is asked of each request.

    Attributes:
        digests: Of the tokens; none where no token is asked for.
        hosts: Names that ``Host`` may have, without port; empty: any.
        origins: Foreign origins that may call.
    """

    digests: tuple[bytes, ...]
    hosts: frozenset[str]
    origins: frozenset[str]

    @classmethod
    def of(
        cls,
        tokens: tuple[str, ...],
        *,
        hosts: tuple[str, ...] = (),
        origins: tuple[str, ...] = (),
        address: str = "127.0.0.1",
    ) -> AccessRules:
        """Return the rules for a service bound to ``address``."""
        names = {host.lower() for host in hosts} | _LOOPBACK_NAMES | {address.lower()}
        # Behind a public address nobody knows all names, and the token keeps rebinding out.
        any_host = not is_loopback(address) and not hosts
        return cls(
            tuple(_digest(token) for token in tokens),
            frozenset() if any_host else frozenset(names),
            frozenset(origin.lower().rstrip("/") for origin in origins),
        )


def is_loopback(address: str) -> bool:
    """Whether only this machine can reach ``address``."""
    if address.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(address.strip("[]")).is_loopback
    except ValueError:
        return False


def refuse_open(address: str, tokens: tuple[str, ...], token_env: str) -> None:
    """Raise where everybody could reach the service and nobody is asked for a token.

    Raises:
        ConfigError: ``address`` is not loopback and there is no token.
    """
    if not tokens and not is_loopback(address):
        raise ConfigError(
            f"Everybody who reaches {address} could use the agents and what their tools can do.",
            remedy=f"Set {token_env} (openssl rand -hex 24), or bind 127.0.0.1.",
        )


def admit(path: str, headers: Mapping[str, str], peer: str, rules: AccessRules) -> Caller | Denied:
    """Decide whether a request may go on.

    Args:
        path: Its path.
        headers: By lower-case name.
        peer: The client's network address.
        rules: What is asked.
    """
    host = headers.get("host", "")
    if rules.hosts and _without_port(host) not in rules.hosts:
        return Denied(403, "This server has no such host name.", "Use 127.0.0.1, or list the name.")
    origin = headers.get("origin", "").lower().rstrip("/")
    foreign = bool(origin) and urlsplit(origin).netloc != host.lower()
    if foreign and origin not in rules.origins:
        return Denied(403, "Pages of this origin may not call.", "List the origin in the settings.")
    name = peer
    if rules.digests and path not in OPEN_PATHS:
        scheme, _, token = headers.get("authorization", "").partition(" ")
        digest = _digest(token.strip())
        # Every token is compared, whichever matched: time tells nothing.
        matches = [hmac.compare_digest(digest, known) for known in rules.digests]
        if scheme.lower() != "bearer" or not any(matches):
            return Denied(401, "A bearer token is needed.", "Send Authorization: Bearer <token>.")
        name = "token:" + digest.hex()[:8]
    return Caller(name, origin if foreign else "")


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("latin-1", "replace")).digest()


def _without_port(host: str) -> str:
    host = host.strip().lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]
