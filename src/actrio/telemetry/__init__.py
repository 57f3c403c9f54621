"""What a running actrio tells of itself: logs, without secrets."""

from actrio.telemetry._logging import LogLevel as LogLevel
from actrio.telemetry._logging import configure_logging as configure_logging
from actrio.telemetry._logging import keep_logs_off_stdout as keep_logs_off_stdout
from actrio.telemetry._redaction import REDACTED as REDACTED
from actrio.telemetry._redaction import RedactSecrets as RedactSecrets
from actrio.telemetry._redaction import redact as redact
from actrio.telemetry._redaction import secrets_of as secrets_of
