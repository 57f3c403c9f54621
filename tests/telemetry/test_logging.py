from __future__ import annotations

import io
import json as json_module
import sys
from collections.abc import Iterator

import pytest
import structlog

from actrio.errors import InvalidRequest
from actrio.telemetry import configure_logging


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    yield
    structlog.reset_defaults()


def test_logs_go_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    """By default people read on stderr, and stdout stays empty."""
    configure_logging(level="info")
    log = structlog.get_logger()
    log.info("started", sessions=3)
    log.debug("not shown")
    out, err = capsys.readouterr()
    assert out == ""
    assert "started" in err
    assert "sessions=3" in err
    assert "not shown" not in err


def test_standard_output_is_refused() -> None:
    """A stream that is stdout is refused, since protocols live there."""
    with pytest.raises(InvalidRequest, match="standard output"):
        configure_logging(stream=sys.stdout)


def test_unknown_level_is_refused() -> None:
    """A level that does not exist is refused with those that do."""
    with pytest.raises(InvalidRequest, match="debug, info"):
        configure_logging(level="loud")  # type: ignore[arg-type]


@pytest.mark.parametrize("json", [False, True])
def test_secrets_reach_no_log(json: bool) -> None:
    """A secret in a message, a field, a nested value and an exception's text is not written."""
    stream = io.StringIO()
    configure_logging(json=json, stream=stream, env={"SOME_TOKEN": "the-secret-value"})
    log = structlog.get_logger()
    try:
        raise ValueError("the-secret-value was refused")
    except ValueError as error:
        log.exception("the-secret-value", a={"b": ["the-secret-value"]}, error=error)
    written = stream.getvalue()
    assert "the-secret-value" not in written
    assert written.count("[redacted]") >= 4
    assert "Traceback" in written


def test_json_is_one_object_per_line() -> None:
    """With json each event is one line of JSON with event, level and time."""
    stream = io.StringIO()
    configure_logging(json=True, stream=stream)
    structlog.get_logger().warning("line one\nline two\u2028", odd={1, 2}.__class__)
    (line,) = stream.getvalue().splitlines()
    told = json_module.loads(line)
    assert told["event"] == "line one\nline two\u2028"
    assert told["level"] == "warning"
    assert told["timestamp"].endswith("Z")


def test_local_variables_are_not_printed() -> None:
    """A traceback for people shows code, not the values of variables."""
    stream = io.StringIO()
    configure_logging(stream=stream)
    hidden = f"value-{1000 + 234}"
    try:
        raise KeyError(len(hidden))
    except KeyError:
        structlog.get_logger().exception("failed")
    assert "value-1234" not in stream.getvalue()
