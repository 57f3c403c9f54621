"""What can be set about the HTTP service, and what bounds it."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, Literal

import attrs

from actrio.errors import ConfigError
from actrio.wire import structure

__all__ = ["HttpLimits", "HttpSettings", "read_http_settings", "read_tokens"]

TOKEN_VARIABLE: Final = "ACTRIO_HTTP_TOKEN"  # noqa: S105 - the name of a variable, not a token

_PREFIX: Final = "ACTRIO_HTTP__"

_TOKEN_CHARACTERS_MIN: Final = 16
"""A shorter token can be guessed in a night."""


def _more_than_zero(_instance: Any, attribute: attrs.Attribute[Any], value: float) -> None:
    if not value > 0:
        raise ConfigError(f"{attribute.name} is {value}.", remedy="Write a number above zero.")


def _bound(default: float) -> Any:
    return attrs.field(default=default, validator=_more_than_zero)


@attrs.frozen(slots=True, kw_only=True)
class HttpLimits:
    """Bounds of the service. What goes beyond one is refused with a status that says so.

    Attributes:
        head_bytes: Request line and headers together; as much as nginx and Apache take.
        body_bytes: A request's body: a million tokens of text, or a photograph in base64.
        json_depth: Nesting of a JSON body; no contract here goes below ten.
        head_seconds: From a request's first byte to the end of its head.
        body_idle_seconds: Between two pieces of a body.
        body_seconds: For a whole body, so that one byte at a time does not last for ever.
        keep_alive_seconds: An idle connection between two requests; browsers give up at 60 to 115.
        write_seconds: A client that takes nothing for so long is gone.
        connections: Open at once; one more is answered 503. Each costs about 20 kB.
        calls: Requests in work at once; one more is answered 503.
        calls_per_caller: Of one caller (a token, else a network address); one more gets 429.
        facade_turns: Turns of the OpenAI façade in work at once; one more is answered 503.
    """

    head_bytes: int = _bound(16 * 1024)
    body_bytes: int = _bound(4 * 1024 * 1024)
    json_depth: int = _bound(64)
    head_seconds: float = _bound(10.0)
    body_idle_seconds: float = _bound(30.0)
    body_seconds: float = _bound(300.0)
    keep_alive_seconds: float = _bound(75.0)
    write_seconds: float = _bound(30.0)
    connections: int = _bound(1024)
    calls: int = _bound(4096)
    calls_per_caller: int = _bound(1024)
    facade_turns: int = _bound(512)


@attrs.frozen(slots=True, kw_only=True)
class HttpSettings:
    """How the service answers.

    Attributes:
        token_env: The variable that holds the bearer tokens, separated by commas.
        token_file: A file with one token per line, beside those of the variable.
        hosts: Names under which clients may reach it, beside the loopback ones.
        origins: Origins of web pages that may call it (CORS); its own pages always may.
        stream_status: 200, or 207 for clients of the older contract (EventSource refuses it).
        on_disconnect: What becomes of a native turn whose client leaves.
        raw_models: Whether the OpenAI façade also serves models that no agent stands for.
        rate_limit_headers: Whether answers tell how much their caller may still do at once, in the
            ``RateLimit`` headers of a draft standard.
        keep_alive_seconds: Silence after which a stream gets a comment, so that proxies keep it.
        retry_ms: How long an EventSource waits before it comes back, before jitter.
        drain_seconds: How long façade turns may go on when the service stops.
        limits: Bounds.
    """

    token_env: str = TOKEN_VARIABLE
    token_file: Path | None = None
    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    stream_status: Literal[200, 207] = 200
    on_disconnect: Literal["continue", "cancel"] = "continue"
    raw_models: bool = True
    rate_limit_headers: bool = False
    keep_alive_seconds: float = _bound(15.0)
    retry_ms: int = _bound(1000)
    drain_seconds: float = _bound(3.0)
    limits: HttpLimits = HttpLimits()


def read_http_settings(
    said: Iterable[str] = (), env: Mapping[str, str] | None = None, **own: Any
) -> HttpSettings:
    """Return the settings that a command line and the environment amount to.

    Every setting has a name on both: ``stream_status=207`` and ``limits.body_bytes=1000000``, or
    ``ACTRIO_HTTP__STREAM_STATUS`` and ``ACTRIO_HTTP__LIMITS__BODY_BYTES``. Values are as in a TOML
    file; text may stand without quotes, and names of a list with commas between them.

    Args:
        said: ``name=value``; wins over the environment.
        env: The environment.
        own: Defaults of the program, in place of those of `HttpSettings`.

    Raises:
        ConfigError: There is no such setting, or a value is not of its kind; says where.
    """
    found: dict[str, Any] = {"limits": {}, **own}
    for name in sorted(env or ()):
        if name.startswith(_PREFIX):
            key = name.removeprefix(_PREFIX).lower().replace("__", ".")
            _put(found, key, (env or {})[name], source=f"environment variable {name}")
    for text in said:
        key, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(
                f"--http-set {text[:100]}: there is no value.", remedy="Write name=value."
            )
        _put(found, key.strip(), value.strip(), source=f"--http-set {key.strip()[:100]}")
    return structure(HttpSettings, found, source="the settings of the HTTP service")


def _put(found: dict[str, Any], key: str, text: str, *, source: str) -> None:
    """Put one setting where it belongs, once it is known to be right by itself."""
    table, _, name = key.rpartition(".")
    value: Any = text
    if name in {"hosts", "origins"} and not text.startswith("["):
        value = [part.strip() for part in text.split(",") if part.strip()]
    elif name not in {"token_env", "token_file", "on_disconnect"}:
        try:
            parsed = tomllib.loads(f"value = {text}")
        except tomllib.TOMLDecodeError:
            parsed = {}
        value = parsed["value"] if len(parsed) == 1 else text
    elif text[:1] == text[-1:] == '"' and len(text) > 1:
        value = text[1:-1]
    one = {table: {name: value}} if table else {name: value}
    structure(HttpSettings, one, source=source)
    (found["limits"] if table else found)[name] = value


def read_tokens(settings: HttpSettings, env: Mapping[str, str]) -> tuple[str, ...]:
    """Return the bearer tokens that ``settings`` name; none means that none is asked for.

    Raises:
        ConfigError: The file cannot be read, or a token is too short to be one.
    """
    found = [part.strip() for part in env.get(settings.token_env, "").split(",")]
    if settings.token_file is not None:
        try:
            found += settings.token_file.read_text(encoding="utf-8").split()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"{settings.token_file}: the file of HTTP tokens cannot be read.",
                remedy="Make it a readable text file with one token per line.",
            ) from error
    tokens = tuple(token for token in found if token)
    if any(len(token) < _TOKEN_CHARACTERS_MIN or not token.isascii() for token in tokens):
        raise ConfigError(
            "An HTTP token is too short, or holds characters that a header cannot.",
            remedy=f"Use {_TOKEN_CHARACTERS_MIN} ASCII characters or more: openssl rand -hex 24.",
        )
    return tokens
