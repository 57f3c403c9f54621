"""The exceptions of the HTTP library, told as ours."""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable
from typing import Any, Final, Literal

import attrs

from actrio.errors import (
    ActrioError,
    ConfigError,
    ProviderProtocolError,
    ProviderUnreachable,
    StreamTruncated,
)

__all__ = ["Rows", "Talk", "Translated", "rows_of"]


@attrs.frozen(slots=True)
class _Row:
    """How one exception of the library is told.

    ``sort`` says whose matter it is; ``cuts`` that it cuts an answer that had begun.
    """

    exception: str
    sort: Literal["network", "timeout", "protocol", "config"]
    what: str
    remedy: str
    cuts: bool = False


_NET_REMEDY: Final = "Check the network and base_url, or try again."
_TABLE: Final = (
    # The first row that matches counts, so special exceptions stand before general ones.
    _Row("ConnectTimeout", "timeout", "took too long to accept a connection", _NET_REMEDY),
    _Row("ReadTimeout", "timeout", "sent nothing for too long", "Try again."),
    _Row("WriteTimeout", "timeout", "took nothing for too long", "Try again."),
    _Row("PoolTimeout", "timeout", "had no free connection", "Raise max_connections."),
    _Row("ConnectError", "network", "cannot be reached", "Check base_url and the network."),
    _Row("ProxyError", "network", "cannot be reached through the proxy", "Check HTTPS_PROXY."),
    _Row("NetworkError", "network", "broke the connection off", _NET_REMEDY, cuts=True),
    _Row("RemoteProtocolError", "network", "ended the connection early", _NET_REMEDY, cuts=True),
    _Row(
        "LocalProtocolError", "config", "cannot be sent this request", "Check headers and base_url."
    ),
    _Row("UnsupportedProtocol", "config", "has an unusable base_url", "Use http:// or https://."),
    _Row("InvalidURL", "config", "has an unusable base_url", "Write it like https://host/v1."),
    _Row("HTTPError", "network", "could not be talked to", _NET_REMEDY, cuts=True),
    _Row("StreamError", "protocol", "could not be read", "Try again."),
)

_HUNG_UP: Final = re.compile("disconnected|closed connection")
"""How the libraries tell an end that came too early from bytes that are no HTTP: by words only."""

_UNTRUSTED: Final = _Row(
    "",
    "protocol",
    "shows a certificate that is not trusted",
    "Check base_url; behind a proxy that looks into TLS, name its authority in SSL_CERT_FILE.",
)
_NO_TLS: Final = _Row("", "protocol", "speaks no TLS that we do", "Check base_url: http or https?")

_BROKEN_OFF: Final = frozenset({"UNEXPECTED_EOF_WHILE_READING"})
"""TLS errors that only say that the connection ended."""

_NO_HTTP: Final = _Row("", "protocol", "answered with something that is no HTTP", "Check base_url.")


@attrs.define(slots=True)
class Talk:
    """Where one call stands, so that a failure can be told rightly.

    Attributes:
        truncated: Makes the error for an answer that is cut in its middle; None before it began.
    """

    provider: str
    model: str
    truncated: Callable[[str], StreamTruncated] | None = None

    @property
    def in_stream(self) -> bool:
        return self.truncated is not None


Rows = tuple[tuple[type[Exception], _Row], ...]
"""The table, with the exceptions of one library."""


def rows_of(module: Any) -> Rows:
    """Return the table for ``module``, which is httpx or httpx2."""
    return tuple((getattr(module, row.exception), row) for row in _TABLE)


class Translated:
    """``with Translated(rows, talk):`` turns the library's exceptions, and only those, into ours.

    Raises:
        ProviderUnreachable: No answer, or silence.
        StreamTruncated: An answer that had begun was cut.
        ProviderProtocolError: What came is no HTTP.
        ConfigError: The request cannot even be sent.
    """

    __slots__ = ("_rows", "_talk")

    def __init__(self, rows: Rows, talk: Talk) -> None:
        self._rows = rows
        self._talk = talk

    def __enter__(self) -> None:
        return

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, Exception) and isinstance(error, tuple(one for one, _ in self._rows)):
            # Its own text may quote headers.
            raise _told(_row_of(error, self._rows), error, self._talk) from None


def _row_of(error: Exception, rows: Rows) -> _Row:
    row = next(row for kind, row in rows if isinstance(error, kind))
    if row.exception == "ConnectError":
        return _row_of_tls(error) or row
    if row.exception == "RemoteProtocolError" and not _HUNG_UP.search(str(error)):
        return _NO_HTTP
    return row


def _row_of_tls(error: BaseException) -> _Row | None:
    """Return the row of the TLS failure behind ``error``; the libraries say nothing of it."""
    behind: BaseException | None = error
    while behind is not None:
        if isinstance(behind, ssl.SSLCertVerificationError):
            return attrs.evolve(_UNTRUSTED, what=f"{_UNTRUSTED.what} ({behind.verify_message})")
        if isinstance(behind, ssl.SSLError) and behind.reason not in _BROKEN_OFF:
            return attrs.evolve(_NO_TLS, what=f"{_NO_TLS.what} ({behind.reason})")
        behind = behind.__cause__ or behind.__context__
    return None


def _told(row: _Row, error: Exception, talk: Talk) -> ActrioError:
    detail = " ".join(str(error).split())[:200]
    what = f"{row.what} ({detail})" if detail else row.what
    if talk.truncated is not None and row.cuts:
        return talk.truncated(f"was cut ({detail or type(error).__name__})")
    message = f"{talk.provider}, asked for {talk.model!r}, {what}."
    if row.sort == "config":
        return ConfigError(message, remedy=row.remedy)
    kind = ProviderProtocolError if row.sort == "protocol" else ProviderUnreachable
    return kind(
        message,
        provider=talk.provider,
        category=row.sort,
        in_stream=talk.in_stream,
        remedy=row.remedy,
    )
