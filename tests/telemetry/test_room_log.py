"""A room's log: nothing is loaded before the first line, and the first line is as safe as any."""

from __future__ import annotations

import subprocess
import sys

import pytest
import structlog
from structlog.testing import capture_logs

from actrio.telemetry import RoomLog

FRESH = """
import sys
from actrio.telemetry import RoomLog
log = RoomLog("actrio.room")
{lines}
print(*(name for name in ("structlog", "rich") if name in sys.modules))
"""


def said(lines: str) -> tuple[str, str]:
    """Return standard output and error of a fresh interpreter that logs ``lines``."""
    code = FRESH.format(lines=lines)
    environment = {"SOME_API_KEY": "sesame-open-thyself", "PATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    return done.stdout.strip(), done.stderr


def test_details_are_dropped_where_nobody_listens():
    """Without structlog nobody has asked for details, and it is not loaded to drop them."""
    assert said("log.debug('a detail'); log.info('as it should be')") == ("", "")


def test_the_first_line_goes_to_standard_error_without_secrets():
    """Nobody has configured anything: a warning is written, not to stdout and not with a key."""
    out, error = said("log.warning('refused', key='sesame-open-thyself')")
    assert out == "structlog rich"
    assert "refused" in error
    assert "sesame" not in error


def test_the_program_s_own_configuration_holds():
    """What the program set up, even after the log was made, has the last word."""
    out, error = said(
        "import structlog\n"
        "structlog.configure(processors=[structlog.processors.JSONRenderer()],\n"
        "    logger_factory=structlog.PrintLoggerFactory(file=sys.stderr))\n"
        "log.info('mine', number=1)"
    )
    assert out == "structlog rich"
    assert error == '{"number": 1, "event": "mine"}\n'


@pytest.mark.parametrize("level", ["debug", "info", "warning", "error"])
def test_each_level_arrives_as_itself(level):
    """A line has its level, its event and its fields."""
    structlog.reset_defaults()
    structlog.configure(cache_logger_on_first_use=False)
    try:
        with capture_logs() as lines:
            getattr(RoomLog("actrio.room"), level)("happened", number=1)
    finally:
        structlog.reset_defaults()
    assert lines == [{"event": "happened", "log_level": level, "number": 1}]
