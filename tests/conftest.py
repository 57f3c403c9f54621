"""What all tests share."""

from __future__ import annotations

import logging

import pytest
import structlog
from structlog.testing import capture_logs


@pytest.fixture
def logs():
    """The lines that are logged, details too, whatever an earlier test has set up."""
    structlog.reset_defaults()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG))
    with capture_logs() as lines:
        yield lines
    structlog.reset_defaults()
