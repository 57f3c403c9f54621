from __future__ import annotations

import pytest

from actrio.errors import ConfigError, NotConfigured, NotFound
from actrio.providers import ProviderSettings, ProviderStatus
from actrio.providers._catalog import resolve, status_of


def test_openai_needs_only_its_key() -> None:
    """The catalog knows where it is and how it calls things."""
    access = resolve("openai", {}, {"OPENAI_API_KEY": " sk-1 \n"})
    assert access.endpoint.base_url == "https://api.openai.com/v1"
    assert access.endpoint.api_key == "sk-1"
    assert access.dialect.max_tokens_field == "max_completion_tokens"
    assert not access.loopback


def test_a_key_is_in_no_repr() -> None:
    """Whoever logs an access logs no secret."""
    assert "sk-123456" not in repr(resolve("openai", {}, {"OPENAI_API_KEY": "sk-123456"}))
    assert "secret-value" not in repr(ProviderSettings(headers={"X-Team": "secret-value"}))


@pytest.mark.parametrize(
    ("settings", "env", "base_url"),
    [
        ({}, {"OPENAI_BASE_URL": "http://proxy.example/v1/"}, "http://proxy.example/v1"),
        (
            {"openai": ProviderSettings(base_url="https://mine.example/v1")},
            {"OPENAI_BASE_URL": "http://proxy.example/v1"},
            "https://mine.example/v1",
        ),
    ],
)
def test_where_openai_is(settings, env, base_url) -> None:
    """The settings come first, then the vendor's own variable."""
    access = resolve("openai", settings, {"OPENAI_API_KEY": "k", **env})
    assert access.endpoint.base_url == base_url


def test_a_compatible_endpoint_comes_from_the_settings() -> None:
    """Any name with a base_url is a provider; its key is in a variable of its own name."""
    settings = {"my-groq": ProviderSettings(base_url="https://api.groq.com/openai/v1")}
    access = resolve("my-groq", settings, {"MY_GROQ_API_KEY": "k"})
    assert access.endpoint.api_key == "k"
    assert access.dialect.provider == "my-groq"
    assert access.dialect.max_tokens_field == "max_tokens"


@pytest.mark.parametrize("host", ["127.0.0.1:1", "localhost", "[::1]:8080", "box.localhost"])
def test_loopback_needs_no_key(host: str) -> None:
    """A server on this machine may have none, and is given one only where one is set."""
    settings = {"here": ProviderSettings(base_url=f"http://{host}/v1")}
    assert resolve("here", settings, {}).endpoint.api_key is None
    assert resolve("here", settings, {}).loopback
    assert resolve("here", settings, {"HERE_API_KEY": "k"}).endpoint.api_key == "k"


@pytest.mark.parametrize(
    ("name", "settings", "kind", "words"),
    [
        ("nope", {}, NotFound, "local, openai, scripted"),
        ("nope", {}, NotFound, r"\[providers\.nope\] base_url"),
        ("no]pe", {}, NotFound, r"\[providers\.NAME\]"),
        ("openai", {}, NotConfigured, "OPENAI_API_KEY"),
        ("mine", {"mine": ProviderSettings()}, NotConfigured, "base_url"),
        (
            "mine",
            {"mine": ProviderSettings(base_url="https://h/v1", api_key_env="MY_KEY")},
            NotConfigured,
            "Set MY_KEY",
        ),
        (
            "mine",
            {"mine": ProviderSettings(base_url="http://127.0.0.1/v1", api_key_env="MY_KEY")},
            NotConfigured,
            "Set MY_KEY",
        ),
        ("openai", {"openai": ProviderSettings(enabled=False)}, NotConfigured, "disabled"),
        ("openai", {"openai": ProviderSettings(dialect="x")}, ConfigError, "dialect"),
    ],
)
def test_what_is_missing_is_named(name, settings, kind, words) -> None:
    """Each refusal says what is missing and where it goes."""
    with pytest.raises(kind, match=words):
        resolve(name, settings, {})


@pytest.mark.parametrize(
    "base_url",
    [
        "api.openai.com/v1",
        "ftp://host/v1",
        "https:///v1",
        "http://host:99999/v1",
        "http://host:0/v1",
        "http://[::1/v1",
        "http://user:secret@host/v1",
        "http://host/v1?key=secret",
        "http://host/v1#x",
        "http://ho st/v1",
        "http://host\n/v1",
        f"http://{'a' * 64}.example/v1",
        "",
    ],
)
def test_a_wrong_base_url_is_told_without_quoting_it(base_url: str) -> None:
    """A base_url may hold a secret by mistake, so the text names only its key."""
    settings = {"mine": ProviderSettings(base_url=base_url)}
    with pytest.raises((ConfigError, NotConfigured), match="base_url") as caught:
        resolve("mine", settings, {"MINE_API_KEY": "k"})
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("key", ["sk 1", "sk\n1", "sk-é", "sk\x001"])
def test_a_key_that_cannot_be_a_header_is_told_without_quoting_it(key: str) -> None:
    """A key with a newline would break the request apart."""
    with pytest.raises(NotConfigured, match="OPENAI_API_KEY cannot be") as caught:
        resolve("openai", {}, {"OPENAI_API_KEY": key})
    assert key not in str(caught.value)


@pytest.mark.parametrize(
    "fields",
    [
        {"max_connections": 0},
        {"max_connections": 1.5},
        {"max_connections": True},
        {"connect_seconds": 0},
        {"idle_seconds": float("nan")},
        {"idle_seconds": float("inf")},
        {"http": "aiohttp"},
        {"headers": {"X Y": "a"}},
        {"headers": {"X": "a\r\nY: b"}},
        {"headers": {"Authorization": "Bearer x"}},
    ],
)
def test_wrong_settings_are_refused(fields) -> None:
    """Each field says what it takes."""
    with pytest.raises(ConfigError, match=next(iter(fields))):
        ProviderSettings(**fields)


def test_the_status_of_each_state() -> None:
    """A provider is available, not configured with the variable named, or disabled."""
    off = {"openai": ProviderSettings(enabled=False)}
    assert status_of("openai", {}, {"OPENAI_API_KEY": "k"}) == ProviderStatus("openai", "available")
    missing = status_of("openai", {}, {})
    assert (missing.state, missing.missing_env) == ("not-configured", "OPENAI_API_KEY")
    assert missing.remedy
    assert status_of("openai", off, {}).state == "disabled"
    assert status_of("scripted", {}, {}).state == "available"
