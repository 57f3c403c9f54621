from __future__ import annotations

import pytest

from actrio.errors import ConfigError
from actrio.providers.local import LocalSettings


def test_the_defaults_are_valid():
    """Nothing must be set to run a local model."""
    assert LocalSettings().thread_count() >= 1
    assert LocalSettings(threads=3).thread_count() == 3


@pytest.mark.parametrize(
    "wrong",
    [
        {"context_tokens": 10},
        {"context_tokens": "4096"},
        {"context_tokens": 4096.5},
        {"threads": 0},
        {"threads": True},
        {"parallel": 65},
        {"tools": "json"},
        {"tool_rounds": -1},
        {"start_seconds": 0},
    ],
)
def test_a_wrong_setting_is_named(wrong):
    """Each wrong value is refused with its key and what is allowed."""
    (key,) = wrong
    with pytest.raises(ConfigError, match=f"local.{key}") as caught:
        LocalSettings(**wrong)
    assert caught.value.remedy
