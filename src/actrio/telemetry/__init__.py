"""What a running actrio tells of itself: logs, without secrets."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from actrio.telemetry._logging import LogLevel as LogLevel
    from actrio.telemetry._logging import configure_logging as configure_logging
    from actrio.telemetry._logging import keep_logs_off_stdout as keep_logs_off_stdout
    from actrio.telemetry._redaction import RedactSecrets as RedactSecrets
    from actrio.telemetry._redaction import redact as redact
    from actrio.telemetry._room_log import RoomLog as RoomLog
    from actrio.telemetry._secrets import REDACTED as REDACTED
    from actrio.telemetry._secrets import secrets_of as secrets_of
else:
    from actrio._doors import open_door

    __getattr__, __dir__, __all__ = open_door(
        __name__,
        {
            "_logging": "LogLevel configure_logging keep_logs_off_stdout",
            "_redaction": "RedactSecrets redact",
            "_room_log": "RoomLog",
            "_secrets": "REDACTED secrets_of",
        },
    )
