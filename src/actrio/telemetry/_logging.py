"""Logs through structlog: to a terminal for people, as JSON lines on request, never on stdout.

Standard output belongs to answers and to protocols. A log line there would be read by a client
as a broken message, so a stream that ends in file descriptor 1 is refused.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Mapping
from typing import Any, Literal, TextIO, get_args

from actrio.errors import InvalidRequest

__all__ = ["LogLevel", "configure_logging", "keep_logs_off_stdout"]

LogLevel = Literal["debug", "info", "warning", "error", "critical"]


def configure_logging(
    *,
    json: bool = False,
    level: LogLevel = "info",
    stream: TextIO | None = None,
    env: Mapping[str, str] | None = None,
) -> None:
    """Send the process's structlog events to ``stream``, without secrets.

    An application that configures structlog itself need not call this; it should put
    `RedactSecrets` before and after its renderer.

    Args:
        json: One JSON object per line instead of text for people.
        level: The lowest level that is written.
        stream: Where to; standard error by default.
        env: More variables whose secret values must not appear, see `RedactSecrets`.

    Raises:
        InvalidRequest: ``stream`` is standard output, or there is no such level.
    """
    target = sys.stderr if stream is None else stream
    if _is_standard_output(target):
        raise InvalidRequest(
            "Logs cannot go to standard output, which belongs to answers and protocols.",
            remedy="Pass sys.stderr or an open file.",
        )
    if level not in get_args(LogLevel):
        raise InvalidRequest(
            f"There is no log level {level!r}.",
            remedy=f"Use one of {', '.join(get_args(LogLevel))}.",
        )
    import structlog  # late, see `RoomLog`

    from actrio.telemetry._redaction import RedactSecrets

    redact = RedactSecrets(env)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.StackInfoRenderer(),
            structlog.processors.format_exc_info,
            redact,
            _json_renderer() if json else _text_renderer(target),
            redact,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(file=target),
        cache_logger_on_first_use=False,
    )


def keep_logs_off_stdout() -> None:
    """Where nobody has configured structlog yet, send warnings and worse to standard error.

    structlog's own default is to print everything to standard output, which may be a protocol of
    the program that embeds us. Whoever configures structlog, before or after, has the last word.
    In a program that has not loaded structlog nothing is done: `RoomLog` asks again before our
    first line.
    """
    structlog = sys.modules.get("structlog")
    if structlog is not None and not structlog.is_configured():
        configure_logging(level="warning")


def _json_renderer() -> Any:
    import structlog

    return structlog.processors.JSONRenderer(default=repr, ensure_ascii=True)


def _text_renderer(stream: TextIO) -> Any:
    import structlog

    # Not the default exception formatter: it prints local variables, and with them secrets.
    return structlog.dev.ConsoleRenderer(
        colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback
    )


def _is_standard_output(stream: TextIO) -> bool:
    if stream in {sys.stdout, sys.__stdout__}:
        return True
    try:
        return stream.fileno() == 1
    except (AttributeError, io.UnsupportedOperation, ValueError):
        return False
