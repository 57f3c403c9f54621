"""Which failures are tried again, when, and what a provider may say about it."""

from __future__ import annotations

import json
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actrio.errors import (
    ContextWindowExceeded,
    ErrorCategory,
    InvalidRequest,
    NotSupported,
    ProviderError,
    StreamTruncated,
)
from actrio.providers import ConnectionLimits, ProviderSettings
from actrio.providers._retry import Attempted, retry_delay, stated_delay
from actrio.testing import MemoryNetwork, Reply

LIMITS = ConnectionLimits()
PASSING = {"rate_limit", "overloaded", "timeout", "server", "network"}


def failure(category: ErrorCategory, retry_after: float | None = None) -> ProviderError:
    return ProviderError("no", provider="p", category=category, retry_after_seconds=retry_after)


def delay(error, *, number=1, seconds=0.0, limits=LIMITS, stated=None, chance=0.0, **more):
    return retry_delay(
        error, Attempted(number, seconds, **more), limits, stated=stated, chance=chance
    )


@pytest.mark.parametrize("category", get_args(ErrorCategory))
def test_only_what_passes_is_tried_again(category):
    """Never for quota, auth, invalid requests, length, filters or a broken format."""
    assert (delay(failure(category)) is not None) == (category in PASSING)


@pytest.mark.parametrize(
    "error", [ContextWindowExceeded("long"), InvalidRequest("bad"), NotSupported("no")]
)
def test_errors_of_the_caller_are_never_tried_again(error):
    """Whoever has to change the call is told at once."""
    assert delay(error) is None


def test_a_stream_that_was_shown_is_not_begun_again_unless_that_is_wanted():
    """The asker would see the beginning twice."""
    cut = StreamTruncated("cut", provider="p", category="network", in_stream=True)
    assert delay(cut, shown=True) is None
    assert delay(cut, shown=False) is not None
    assert delay(cut, shown=True, limits=ConnectionLimits(restart_streams=True)) is not None


def test_the_provider_can_forbid_it():
    """``x-should-retry: false`` counts; ``true`` makes no safe retry of an unsafe one."""
    assert delay(failure("server"), may_retry=False) is None
    assert delay(failure("server"), may_retry=True) is not None
    assert delay(failure("quota"), may_retry=True) is None


def test_delays_double_to_eight_seconds():
    """0.5, 1, 2, 4, 8, 8 …"""
    limits = ConnectionLimits(retries_max=7)
    delays = [delay(failure("server"), number=n, limits=limits) for n in range(1, 9)]
    assert delays == [0.5, 1, 2, 4, 8, 8, 8, None]


def test_a_stated_delay_is_waited_out_or_not_at_all():
    """By the call itself for a failing server; a pause is the connection's; too long is too long."""
    assert delay(failure("server"), stated=30.0) == 30.0
    assert delay(failure("rate_limit"), stated=30.0) == 0.5
    assert delay(failure("server"), stated=121.0) is None
    assert delay(failure("rate_limit"), stated=121.0) is None


@given(
    st.sampled_from(sorted(PASSING)),
    st.integers(1, 20),
    st.floats(0, 300),
    st.none() | st.floats(0, 300),
    st.floats(0, 1),
    st.integers(0, 10),
    st.floats(0, 200),
)
def test_a_schedule_is_bounded_in_count_and_time(
    category, number, seconds, stated, chance, retries, total
):
    """No attempt begins beyond the count, or later than the time allows; jitter only adds."""
    limits = ConnectionLimits(retries_max=retries, retry_seconds=total)
    got = delay(
        failure(category),
        number=number,
        seconds=seconds,
        stated=stated,
        chance=chance,
        limits=limits,
    )
    if got is None:
        return
    assert number <= retries
    assert seconds + got <= total
    assert got >= delay(
        failure(category), number=number, seconds=0, limits=ConnectionLimits(retries_max=20)
    )
    if category in {"server", "timeout", "network"} and stated:
        assert got >= stated


NOW = 1_763_000_000.0
DATE = "Thu, 13 Nov 2025 02:13:20 GMT"  # NOW


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "30"}, 30.0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after-ms": "250", "retry-after": "1"}, 0.25),
        ({"retry-after": "Thu, 13 Nov 2025 02:13:50 GMT", "date": DATE}, 30.0),
        ({"retry-after": "Thu, 13 Nov 2025 02:13:50 GMT"}, 30.0),
        ({"retry-after": "Thu, 13 Nov 2025 02:13:10 GMT", "date": DATE}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "inf"}, None),
        ({"x-ratelimit-reset-requests": "2m59.5s", "x-ratelimit-remaining-requests": "0"}, 179.5),
        ({"x-ratelimit-reset-requests": "6ms", "x-ratelimit-remaining-requests": "0"}, 0.006),
        ({"x-ratelimit-reset-requests": "2m59.5s", "x-ratelimit-remaining-requests": "7"}, None),
        ({"x-ratelimit-reset": "1763000012000", "x-ratelimit-remaining": "0"}, 12.0),
        ({"x-ratelimit-reset": "1763000012", "x-ratelimit-remaining": "0"}, 12.0),
        (
            {
                "x-ratelimit-reset-tokens-minute": "11.25",
                "x-ratelimit-remaining-tokens-minute": "0",
                "x-ratelimit-reset-requests-day": "5000",
                "x-ratelimit-remaining-requests-day": "100",
            },
            11.25,
        ),
        (
            {
                "anthropic-ratelimit-tokens-remaining": "0",
                "anthropic-ratelimit-tokens-reset": "2025-11-13T02:13:40Z",
                "anthropic-ratelimit-requests-remaining": "0",
                "anthropic-ratelimit-requests-reset": "2025-11-13T02:13:25Z",
                "date": DATE,
            },
            20.0,
        ),
        ({"x-ratelimit-reset": "never", "x-ratelimit-remaining": "0"}, None),
    ],
)
def test_every_form_of_a_stated_delay(headers, seconds):
    """Seconds, milliseconds, dates, and the reset of a quota that is used up."""
    got = stated_delay(failure("rate_limit"), headers, NOW)
    assert got == (None if seconds is None else pytest.approx(seconds))


def test_what_the_dialect_read_comes_first():
    """RetryInfo in a body, for example, is known only to the dialect."""
    error = failure("rate_limit", retry_after=17.0)
    assert stated_delay(error, {"retry-after": "30"}, NOW) == 17.0


KEYED = ("OPENAI", "GROQ", "ANTHROPIC", "GEMINI", "OPENROUTER")

RETRY_INFO = {
    "error": {
        "code": 429,
        "message": "Quota exceeded.",
        "status": "RESOURCE_EXHAUSTED",
        "details": [
            {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "17s"},
        ],
    }
}


@pytest.mark.parametrize(
    ("model", "headers", "body", "seconds"),
    [
        ("openai:m", {"retry-after": "17"}, {}, 17),
        ("openai:m", {"retry-after-ms": "17000"}, {}, 17),
        (
            "groq:m",
            {"x-ratelimit-reset-tokens": "17s", "x-ratelimit-remaining-tokens": "0"},
            {},
            17,
        ),
        ("openai:m", {}, {"error": {"message": "Please try again in 17s."}}, 17),
        ("anthropic:m", {"retry-after": "17"}, {"type": "error", "error": {}}, 17),
        (
            "anthropic:m",
            {
                "date": DATE,
                "anthropic-ratelimit-requests-remaining": "0",
                "anthropic-ratelimit-requests-reset": "2025-11-13T02:13:37Z",
            },
            {"type": "error", "error": {"type": "rate_limit_error", "message": "no"}},
            17,
        ),
        ("gemini:m", {}, RETRY_INFO, 17),
        (
            "openrouter:m",
            {"x-ratelimit-reset": "1763000017000", "x-ratelimit-remaining": "0", "date": DATE},
            {},
            17,
        ),
    ],
)
async def test_each_vendors_delay_pauses_its_connection(
    autojump_clock, offline, model, headers, body, seconds
):
    """From header or body to one pause, through the real dialect of the vendor."""
    told = {"content-type": "application/json", **headers}
    network = MemoryNetwork([Reply(429, told, (json.dumps(body).encode(),))])
    name = model.partition(":")[0]
    env = {f"{vendor}_API_KEY": "sk-0123456789" for vendor in KEYED}
    others = {name: ProviderSettings(limits=ConnectionLimits(retries_max=1))}
    async with offline(network, env=env, others=others) as client:
        with pytest.raises(ProviderError) as caught:
            await client.call(model)
    assert caught.value.category == "rate_limit"
    assert caught.value.retry_after_seconds == pytest.approx(seconds)
    first, second = (request.at for request in network.requests)
    assert seconds <= second - first <= seconds * 1.1 + 0.01


@given(
    st.dictionaries(
        st.sampled_from(
            ["retry-after", "retry-after-ms", "date", "x-ratelimit-reset", "x-ratelimit-remaining"]
        ),
        st.text(max_size=30),
    )
)
def test_no_header_is_a_crash(headers):
    """Whatever stands there: a number that is not negative, or nothing."""
    got = stated_delay(failure("rate_limit"), headers, NOW)
    assert got is None or got >= 0
